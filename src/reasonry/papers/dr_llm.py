"""Dr.LLM, measured: a small model taught to bear skips, programs found by search, routers taught by them, and what could do as well.

Composition only: search is `solve.layer_search`, routers and engine are `accel.drllm`; items are `dr_llm_task`, parts `dr_llm_lab`, arms
`dr_llm_arms`, claims and rules `dr_llm_findings`, the page `dr_llm_page`.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import click
import msgspec
import torch

from reasonry.accel.drllm import fresh_routers, route
from reasonry.accel.drllm.execute import execute, fixed
from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.program import program_of
from reasonry.papers.dr_llm_arms import one_seed
from reasonry.papers.dr_llm_findings import CLAIMS, Figure, Plan, Row, Used, findings, measures
from reasonry.papers.dr_llm_lab import SHAPE, L, base
from reasonry.papers.dr_llm_page import report
from reasonry.papers.dr_llm_task import items
from reasonry.papers.taught import characters

PLAN = Plan()


class Seed(msgspec.Struct, frozen=True):
    """What one seed measured."""

    rows: list[Row]
    figures: list[Figure]
    used: list[Used]


async def identity(decoder: Decoder) -> tuple[float, bool]:
    """The largest difference of a logit decoded with the engine's cache from the same program computed anew, over 81 programs of the first
    four blocks; and whether the routed model with the knob at "run everything" is the base bit for bit."""
    prompt = items("chain", "validation", 9, 0)[-1].prompt
    apart, same = 0.0, True
    async with LocalLM(decoder, characters(), "base") as lm, route(lm, fresh_routers(decoder), 0.5) as routed:
        for counts in product((0, 1, 2), repeat=4):
            own = (*counts, *(1,) * (L - 4))
            with await lm.sequence(prompt[:3], program_of(own)) as s:
                for id in prompt[3:]:
                    await s.append([id])
                cached = await s.logits()
            with torch.no_grad():
                hidden, _ = execute(decoder, torch.tensor([prompt]), fixed(torch.tensor([own])))
                apart = max(apart, float((decoder.logits(hidden[0, -1]) - cached).abs().max()))
        for item in items("chain", "validation", 30, 0):
            with await lm.sequence(item.prompt) as a, await routed.sequence(item.prompt) as b:
                same &= torch.equal(await a.logits(), await b.logits())
    return apart, same


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, model by model and seed by seed."""
    torch.set_num_threads(1)
    path.mkdir(parents=True, exist_ok=True)
    found: list[Seed] = []
    for seed in seeds:
        folder = path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        if not (folder / "found.json").exists():
            write_whole(folder / "found.json", msgspec.json.encode(Seed(*one_seed(plan, seed, folder))).decode())
        found.append(msgspec.json.decode((folder / "found.json").read_bytes(), type=Seed))
        click.echo(f"seed {seed}: done", err=True)
    rows, figures = [r for one in found for r in one.rows], [f for one in found for f in one.figures]
    apart, same = asyncio.run(identity(base(plan, seeds[0], plan.drop, path / f"seed-{seeds[0]}" / "base.pt")))
    evidence = Evidence(
        paper="dr-llm",
        scale=f"a model of {L} blocks and {sum(p.numel() for p in Decoder(SHAPE).parameters()) // 1000} thousand weights taught here, on "
        f"chains of operations; {plan.searched} searched items and {plan.tested} tested ones a seed",
        command=f"reasonry run dr-llm --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=f"{plan.simulations} programs an item for every search; the same labels, steps and items for every router",
        measures=measures(rows, figures),
        findings=findings(rows, figures, apart, same),
        meta={"plan": asdict(plan), "n": "items over all seeds, or seeds"},
    )
    write_whole(path / "report.html", report(plan, rows, figures, [u for one in found for u in one.used], evidence))
    return evidence


PAPER = Paper(
    slug="dr-llm",
    title="Dr.LLM: dynamic layer routing in LLMs",
    arxiv="2510.12773",
    method="reasonry.accel.drllm.engine",
    summary="Puts a small router before each block of a frozen model: judging by the prompt, it skips the block, runs it once or runs it "
    "twice. Routers are taught by programs that a search over layer edits found to be right and short.",
    differs=(
        "A model of eight blocks taught here, on chains of operations modulo seven, instead of LLaMA and Qwen on ARC and DART.",
        f"{PLAN.searched} searched items, not 4,000; routers of {PLAN.hidden} inner units, {PLAN.epochs} epochs at {PLAN.lr_router}, "
        "a warm-up of 8 % of the steps.",
        "The search is a tree. The released code's is a chain, which is measured beside it, with a cap on repeats that it lacks.",
        "Decisions are made once, at prefill, as the paper says; the released models decide anew at every token.",
        "The base model was taught with blocks left out at random, for without that skips cost too much to find any.",
        "Re-asked questions use other words for the operations; the model was taught both, so they are near copies.",
        "Routers are also taught by labels of other kinds: until four blocks are saved, and in one order for all items.",
    ),
    fails_when="The model was not taught to do without blocks: then a single skip costs more of what it could do. And many programs of "
    "one length are right for an item, so that searches find now one, now another: block by block, routers learn an average "
    "that is nobody's, and a fixed set of blocks does as well.",
    claims=CLAIMS,
    run=run,
)
