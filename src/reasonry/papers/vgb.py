"""VGB, measured: exact laws under wrong, late and learned verifiers, decoders at equal cost, and texts that must do without a letter.

Composition only: the walk is `solve.vgb` on `solve.tree`, the exact laws `solve.vgb_law`, the baselines `solve.vgb_baselines`; trees,
models and verifiers are `vgb_task`, runs `vgb_lab` and `vgb_arms`, claims and rules `vgb_findings`, the page `vgb_page`.
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
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.papers.vgb_arms import constructions, one_seed
from reasonry.papers.vgb_findings import CLAIMS, Plan, Row, findings, measures
from reasonry.papers.vgb_page import report
from reasonry.papers.vgb_task import text_documents

PLAN = Plan()
JUDGE = 999
"""Seed of the model that scores texts; no arm is taught with it."""


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, seed by seed."""
    torch.set_num_threads(1)
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = characters()
    teaching = Teaching(plan.text_teaching, batch=plan.batch)
    judge = taught(path / "judge", fresh(SMALL, JUDGE), tokenizer, text_documents(tokenizer, JUDGE), teaching, JUDGE)
    rows = constructions()
    for seed in seeds:
        folder = path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        if not (folder / "rows.json").exists():
            write_whole(folder / "rows.json", msgspec.json.encode(one_seed(plan, seed, folder, judge)).decode())
        rows += msgspec.json.decode((folder / "rows.json").read_bytes(), type=list[Row])
        click.echo(f"seed {seed}: done", err=True)
    evidence = Evidence(
        paper="vgb",
        scale="trees of up to 65 thousand words known whole, by models of 90 thousand weights taught here, and texts of "
        f"{plan.length} characters",
        command=f"reasonry run vgb --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"laws are exact; at equal cost {plan.limit} verifier calls and {plan.limit} tokens a decoder, whichever is spent first",
        measures=measures(rows),
        findings=findings(plan, rows),
        meta={"plan": asdict(plan), "n": "seeds, with Student's interval; 1 where a construction is exact"},
    )
    write_whole(path / "report.html", report(plan, rows, evidence))
    return evidence


PAPER = Paper(
    slug="vgb",
    title="Taming imperfect process verifiers: a sampling perspective on backtracking",
    arxiv="2510.03149",
    method="reasonry.solve.vgb",
    summary="Decodes under a process verifier as a random walk over partial answers that may go back, so that the answers' law does not "
    "depend on the verifier's errors on the way.",
    differs=(
        "Models of 90 thousand weights taught here, on words of brackets and plain sentences; the paper's language model has 0.5B.",
        "The construction of Example 3.1 is read from summaries of the paper: values doubled after the first action, exact at answers.",
        "The paper's walk with momentum is left out: its transition was not available, and the known imitation changes the law.",
        "Block rejection is our reading: of n blocks the first accepted with chance V̂/M, else the last.",
        "Wrong values are four times too small where there is hope, and the mean hopeful value where there is none.",
        "A second model scores texts by its log-probability; nobody judges them.",
        "Laws of stepwise sampling are those of the attempts it does not give up where every way is closed.",
    ),
    fails_when="With a perfect verifier the walk only costs: fewer right answers than stepwise sampling at equal calls and tokens. A "
    "verifier that says zero inside closes that way for the walk too, until it is clipped. And where stepwise sampling may begin again "
    "whenever every way is closed, exact answers reject for it: with the verifier fitted here its law is no worse than the first leaf's.",
    claims=CLAIMS,
    run=run,
)
