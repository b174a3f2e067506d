"""TRM, measured: whether recursion with deep supervision pays on 6×6 sudokus, which of its parts matter there, what noise adds to it.

Composition only: the network and its training are `worlds`, the arms are in `trm_arms`, claims and verdict rules in `trm_findings`, the
page in `trm_page`.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.papers.trm_arms import Plan, Read, arm, arms, puzzles_of, trained
from reasonry.papers.trm_findings import CLAIMS, findings, measures
from reasonry.papers.trm_page import report
from reasonry.worlds.grids import guesses

PLAN = Plan()


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment in one process with one thread, arm after arm; goes on from what `path` already holds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        reads: list[Read] = [row for seed in seeds for name in arms(plan) for row in arm(plan, name, seed, path)]
        needed = [n for seed in seeds for n in guesses(puzzles_of(plan, seed, path)[1], 6)]
    finally:
        torch.set_num_threads(threads)
    whole = reads[0]
    kind = "minimal puzzles" if plan.clues is None else f"{plan.clues} clues"
    evidence = Evidence(
        paper="trm",
        scale=f"networks of {whole.parameters:,} parameters ({plan.width} wide) on 6×6 sudokus, {kind}, {plan.puzzles:,} training puzzles",
        command=f"reasonry run trm --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{plan.steps} optimiser steps of {plan.batch} an arm; direct networks as many as the same {whole.flops:.2g} FLOPs pay for",
        measures=measures(plan, reads),
        findings=findings(plan, reads),
        meta={
            "plan": asdict(plan), "steps": dict(trained(plan)),
            "guesses": {"mean": sum(needed) / len(needed), "none": needed.count(0) / len(needed), "most": max(needed)},
            "n": "test puzzles over all seeds for shares of grids; seeds, with the smallest and largest as ends, for the others",
        },
    )  # fmt: skip
    write_whole(path / "report.html", report(plan, reads, evidence))
    return evidence


PAPER = Paper(
    slug="trm",
    title="Less is More: Recursive Reasoning with Tiny Networks",
    arxiv="2510.04871",
    method="reasonry.worlds.trm",
    summary="One tiny network improves an answer and a latent thought about it, step after step, supervised at every step; a grid is "
    "solved by refinement instead of one forward pass.",
    differs=(
        "6×6 sudokus and networks 48 wide, trained for minutes, instead of 9×9 and 512; rates are higher and the average is shorter.",
        "Half of the training puzzles are shown with some cells given away, in every arm; without them the first grid is solved later.",
        "Softmax instead of stablemax, and the gradient is clipped, in every arm; stablemax is the default of the shipped 9×9 recipe.",
        "Puzzles are made here; test solutions are none of the training ones up to renamed digits, but shuffled lines may reach them.",
        "Baselines that answer directly are our own networks without recursion, at the same training FLOPs; HRM itself is not trained. A "
        "decoder that writes the grid cell by cell stands for language models.",
    ),
    fails_when="Where the puzzles are easy every arm reaches the ceiling, and where nothing is solved in the first steps the halting head "
    "has nothing to learn from; a direct network given the depth and enough data closes the gap on easy puzzles.",
    claims=CLAIMS,
    run=run,
)
