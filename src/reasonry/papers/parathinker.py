"""ParaThinker, measured: paths side by side and one answer from them, against chains, votes and re-prefill of the same weights.

Composition only: decoding is `solve.parathinker` on the engine's sequences, votes `solve.parathinker_vote`, counted cost
`solve.parathinker_cost`; the task is `parathinker_task`, models `parathinker_start`, runs `parathinker_arms`, claims and rules
`parathinker_findings`, the page `parathinker_page`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import torch

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.parathinker_arms import counted, one_seed
from reasonry.papers.parathinker_findings import CLAIMS, Cell, Plan, findings, measures
from reasonry.papers.parathinker_page import report

PLAN = Plan()


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, model by model and seed by seed."""
    torch.set_num_threads(1)
    cells = counted()
    for seed in seeds:
        folder = path / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cells.json").exists():
            write_whole(folder / "cells.json", msgspec.json.encode(one_seed(plan, seed, folder)).decode())
        cells += msgspec.json.decode((folder / "cells.json").read_bytes(), type=list[Cell])
        click.echo(f"seed {seed}: done", err=True)
    evidence = Evidence(
        paper="parathinker",
        scale="a model of 93 thousand weights taught here, searching twelve candidates in paths of at most "
        f"{plan.B} tokens, on {plan.n} test problems a seed",
        command=f"reasonry run parathinker --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{plan.B} tokens a path, and equal total tokens: chains may take as many as all paths together",
        measures=measures(cells),
        findings=findings(plan, cells),
        meta={"plan": asdict(plan), "n": "seeds where there are several, with Student's interval or that over problems where it is wider"},
    )
    write_whole(path / "report.html", report(plan, cells, evidence))
    return evidence


PAPER = Paper(
    slug="parathinker",
    title="ParaThinker: native parallel thinking as a new paradigm to scale LLM test-time compute",
    arxiv="2509.04475",
    method="reasonry.solve.parathinker",
    summary="Thinks along several paths at once, isolated from one another on the same prompt, then answers reading the keys and values of "
    "all of them; taught on several paths of a teacher for each question.",
    differs=(
        "Models of 93 thousand weights taught here from nothing, on a search whose paths say themselves whether they found it; the paper's "
        "have 1.5B and 7B and were taught on mathematics.",
        "That a chain stays where it began is built into what the base was taught, so that there is something to widen.",
        "Every path that fails gives the same wrong answer: the vote is at its worst here, by construction.",
        "Thought embeddings begin at zero (the paper's at 0.02), so the model is its base before training.",
        "Examples hold one to four paths, and a share of them is cut where one path ends, as first-finish will.",
        "Flattened positions put paths the room of one apart, the paper's formula, in training and in sampling.",
        "One tag for all paths is an ablation of sampling alone; the model was trained with different ones.",
        "This is the second run. In the first, of 350 training steps, one of three seeds had not learnt to read its paths; 600 were set on "
        "validation problems, for every variant. The rules stayed, and the test problems are the same.",
    ),
    fails_when="A relay, where every step needs the one before it: width costs its tokens and buys nothing, and at equal total tokens "
    "hardly a path gets to the end. Nor does the summary find what no path found. And where time does not matter, a chain taught from the "
    "same paths one after another stops at the first that found it: for the tokens it takes, it is right about as often as the paths.",
    claims=CLAIMS,
    run=run,
)
