"""Debate among small models whose conformity was learnt from data: when talk harms, what helps, and what the same calls buy without talk.

Everything here is composition: the exchange is `solve.exchange`, words and gate `solve.debate`, flips `probe.flips`, explicit dynamics
`solve.exchange.dynamics`. The tasks are `talk_task`, the models `talk_start`, cells and claims `talk_cells`, the debates `talk_arms`, rules
and figures `talk_findings`, the page `talk_page`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import torch

from reasonry.core import Evidence, Paper, open_run
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.talk_arms import Seed, examined
from reasonry.papers.talk_cells import CELLS, CLAIMS, Cell, Plan
from reasonry.papers.talk_findings import findings, measures
from reasonry.papers.talk_page import report

PLAN = Plan()


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN, cells: Sequence[Cell] = CELLS) -> Evidence:
    """The experiment; resumes what `path` already holds."""
    torch.set_num_threads(1)
    found, chances = {}, {}
    for seed in seeds:
        folder = path / f"seed-{seed}"
        open_run(folder, {**asdict(plan), "seed": seed}, resume=True)
        tell = lambda words, seed=seed: click.echo(f"seed {seed}: {words}", err=True)  # noqa: E731
        found[seed], chances[seed] = asyncio.run(examined(Seed(folder, plan, seed, tell, path / "models", cells)))
    evidence = Evidence(
        paper="talk-isnt-cheap",
        scale=f"decoders of two blocks and 90 thousand weights taught for {plan.teaching} steps, with more or fewer mistakes, and "
        f"{plan.further} more with revisions; {plan.questions} questions of each kind and seed",
        command=f"reasonry run talk-isnt-cheap --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{3 * (plan.rounds + 1)} answers for a question in every cell; the gate's checks are two verifier calls a changed answer",
        measures=measures(found, chances),
        findings=findings(found, chances, plan),
        meta={
            "plan": asdict(plan),
            "n": "seeds (intervals over seeds or over all their questions, the wider); questions for rates that divide; counts: seeds",
        },
    )
    write_whole(path / "report.html", report(plan, found, evidence))
    return evidence


PAPER = Paper(
    slug="talk-isnt-cheap",
    title="Talk isn't always cheap: failure modes of multi-agent debate",
    arxiv="2509.05396",
    method="reasonry.solve.debate",
    summary="Agents answer alone, then twice more after reading each other; counts who is talked into what, and tries what is recommended "
    "against it: independent checks, weights of credibility, votes over all rounds, early stops.",
    differs=(
        "Three strengths of a model of 90 thousand weights in place of GPT-4o-mini, Llama-3.1-8B and Mistral-7B; chained arithmetic "
        "with derivations and with bare answers in place of GSM8K and of the multiple choice of CommonSenseQA and MMLU: letters of options "
        "were tried, and stayed at chance in a pilot.",
        "Such models cannot be prompted, so they are taught the form of a revision; how often peers are right in those texts (50, 80 or "
        "95 %) is all that says whom to believe. Conformity is learnt from that, and nobody's flip is written by hand.",
        "A strength is how many mistakes the solutions have that a model was taught with, not how long it was taught: at this size "
        "arithmetic is learnt within a few steps, all at once.",
        "A revision where nobody shows the right answer demonstrates keeping one's own, so that revisions do not teach arithmetic. That "
        "looking again alone changes little is therefore mostly taught.",
        "Own answers and peers in those texts are made by a process that slips, not by models; wrong peers mostly share a mistake.",
        "With bare answers peers show a digit, and a revision is a digit; else all show and write derivations.",
        "This is the second run, with more teaching, on new questions and with the same rules. In a first one revisions were taught for 90 "
        "steps, and its own control gave it away: agents that were shown nobody lost their right answers too (.69 to .23), so that what "
        "was lost among peers was not conformity. Of the second run the gate's debates alone were "
        "made twice: at first it checked the wrong prompt.",
        "48 questions of each kind and 3 seeds, which draw questions and samples; the models are taught once, so intervals do not cover "
        "another teaching. All ten groups with 95 %; four mixed groups with 50 % and for controls and gate; one with 80 %. The design was "
        "400 questions, 5 seeds and all ten groups throughout, and was cut for time.",
        "The correctness payoff is a message, which our solver has (`payoff=yes`) and these models cannot read: it is not measured here.",
        "Ties are broken evenly, in expectation; the paper names no rule.",
        "Unrelated rationales are tried with derivations alone: a digit from another question looks like any digit.",
        "Gate, weights, votes over all rounds and early stops make the paper's recommendations concrete; it does not test them.",
    ),
    fails_when="Bare answers, which nobody can check: a strong agent between two weak ones gives up right answers for theirs. And words "
    "about something else, which these models follow as if they were peers'. Explicit rules show the rest without any model: where agents "
    "copy, the gain of a vote over one agent is lost.",
    claims=CLAIMS,
    run=run,
)
