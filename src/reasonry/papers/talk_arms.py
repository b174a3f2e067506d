"""The debates of the experiment, cell by cell: a kind of question, what the social prior was, who sits together, and how they talk.

Invariant: a cell is its own file in the run directory, a log that `reasonry probe flips` reads, and a function of (plan, seed, cell); what
is there is not made again. Every way of talking makes n (T + 1) calls for a question, the gate's checks apart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from reasonry.core import Budget, Problem, Sampling, Solver, Task
from reasonry.core.run import write_whole
from reasonry.core.seeds import inner_seed
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.talk_cells import CELLS, GROUPS, HIGH, Cell, Plan
from reasonry.papers.talk_start import STRENGTHS, start
from reasonry.papers.talk_task import BARE, CHAINS, checked, values, worked
from reasonry.probe.exchange_log import Debate, read_debates
from reasonry.solve.debate import Gated, bare, recalling, seat_names
from reasonry.solve.exchange import Agent, Exchange, stops
from reasonry.solve.exchange import sees as view
from reasonry.solve.exchange.core import Sees
from reasonry.solve.exchange.votes import as_spelled, calibrated, majority
from reasonry.solve.single import Single

ANSWER = Sampling(max_tokens=12)
"""A derivation is nine tokens, and the end one more."""
ROWS, KV = 256, 1 << 16
FRESH = 11
"""Makes the second run's questions new ones (see what differs)."""
TOGETHER = 6
"""Cells that talk at the same time."""
TASKS: Mapping[str, Task] = {"chain": CHAINS, "bare": BARE}
LMs = Mapping[tuple[str, float], LocalLM]


@dataclass(frozen=True)
class Seed:
    """What the cells of one seed share."""

    path: Path
    """The run directory of this seed."""
    plan: Plan
    seed: int
    tell: Callable[[str], None]
    models_in: Path
    """Where the models of all seeds lie."""
    cells: Sequence[Cell] = CELLS

    def models(self, stack: AsyncExitStack) -> dict[tuple[str, float], LocalLM]:
        """Those that the cells need, taught where they are not there yet; all seeds share them."""
        p, found = self.plan, dict[tuple[str, float], LocalLM]()
        for strength, c in sorted({(s, cell.prior) for cell in self.cells for s in GROUPS[cell.group]}):
            doubtful = p.doubtful[STRENGTHS.index(strength)]
            made = start(self.models_in, strength, doubtful, c, p.teaching, p.further, p.batch, p.lr, 0)
            lm = LocalLM(load_decoder(made, torch.float32), Tokenizer.load(made), strength, max_rows=ROWS, kv_tokens=KV)
            stack.push_async_callback(lm.close)
            found[strength, c] = lm
        return found

    def problems(self, kind: str) -> list[Problem]:
        """The test questions of this seed."""
        return TASKS[kind].problems("test", self.plan.questions, inner_seed(self.seed, FRESH))

    async def cell(self, cell: Cell, lms: LMs) -> list[Debate]:
        """The debates of a cell, made once."""
        file = self.path / "cells" / f"{cell.slug}.jsonl"
        if file.exists():
            return read_debates(file)
        task, problems = TASKS[cell.kind], self.problems(cell.kind)
        talk = exchange(cell, lms, self.plan.rounds)
        made = await asyncio.gather(*(talk(p, Budget(), inner_seed(self.seed, i)) for i, p in enumerate(problems)))
        lines = list[str]()
        for p, t in zip(problems, made, strict=True):
            if t.cost.calls != sum(turn["calls"] for said in t.meta["exchange"]["rounds"] for turn in said) or t.error:
                raise AssertionError(f"{cell}: {t.error or 'calls are missing'}")
            keep = ("agent", "answer", "saw")
            rounds = [
                [{**{k: s[k] for k in keep}, "correct": task.judge(p, s["text"]).passed is True} for s in said]
                for said in t.meta["exchange"]["rounds"]
            ]
            lines.append(json.dumps({"problem": p.id, "group": str(cell), "rounds": rounds}))
        file.parent.mkdir(exist_ok=True)
        write_whole(file, "\n".join(lines) + "\n")
        return read_debates(file)

    async def calibration(self, lms: LMs) -> dict[str, float]:
        """`kind strength` -> its chance to be right alone, from validation questions; of the models taught to trust."""
        file = self.path / "calibration.json"
        if not file.exists():
            found = dict[str, list[bool]]()
            for kind, task in TASKS.items():
                problems = task.problems("validation", self.plan.calibration, inner_seed(self.seed, 2))
                for strength in [s for s in STRENGTHS if (s, HIGH) in lms]:
                    solver = Single(lms[strength, HIGH], ANSWER)
                    made = await asyncio.gather(*(solver(p, Budget(), inner_seed(self.seed, 3, i)) for i, p in enumerate(problems)))
                    found[f"{kind} {strength}"] = [task.judge(p, t.answer).passed is True for p, t in zip(problems, made, strict=True)]
            write_whole(file, json.dumps(calibrated(found)))
        return json.loads(file.read_text())


def sees_of(cell: Cell) -> Sees:
    """What agents of the cell are shown: of bare ones peers show the answer alone."""
    shown = view.nobody() if cell.mode == "isolated" else view.everyone()
    if cell.mode == "noise":
        texts = [worked(q, values(q)) for q in (p.messages[0].content for p in CHAINS.problems("train", 200, 0))]
        shown = view.unrelated(shown, texts, CHAINS.extract)
    return view.answers_only(shown) if cell.kind == "bare" else shown


def exchange(cell: Cell, lms: LMs, rounds: int) -> Exchange:
    """The cell's solver; `alone` is as many answers without a word between them."""
    task, seats = TASKS[cell.kind], list(GROUPS[cell.group])
    if cell.mode == "alone":
        seats *= rounds + 1
    names = seat_names(seats)

    def seat(strength: str) -> Solver:
        solver = Single(lms[strength, cell.prior], ANSWER)
        return Gated(solver, checked, task.extract) if cell.mode == "gate" else solver

    ask = recalling(bare()) if cell.mode == "gate" else bare()
    agents = [Agent(name, seat(s), ask) for name, s in zip(names, seats, strict=True)]
    length = 1 if cell.mode == "alone" else rounds + 1
    return Exchange(agents, length, task.extract, sees_of(cell), stops.never(), majority(as_spelled), name=str(cell))


async def examined(seed: Seed) -> tuple[dict[Cell, list[Debate]], dict[str, float]]:
    """Every cell of the seed, a few at a time, and the calibration."""
    async with AsyncExitStack() as stack:
        lms = seed.models(stack)
        chances = await seed.calibration(lms)
        found: dict[Cell, list[Debate]] = {}
        for cells in (seed.cells[i : i + TOGETHER] for i in range(0, len(seed.cells), TOGETHER)):
            found |= zip(cells, await asyncio.gather(*(seed.cell(cell, lms) for cell in cells)), strict=True)
            seed.tell(f"{len(found)} of {len(seed.cells)} cells")
        return found, chances
