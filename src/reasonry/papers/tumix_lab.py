"""TUMIX's experiment at work: real tools for the small model, groups that answer over rounds, and what is kept of them.

Invariant: what a group said about a seed's questions is a file in the run directory, a function of (plan, seed, group); what is there is
not asked again. Code runs in the sandbox, in a session whose snippets are expressions and leave nothing behind; a snippet's result is
remembered, since an expression has only one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from reasonry.core import Budget, Cost, Problem, Sampling, Stop, Trajectory
from reasonry.core.run import write_whole
from reasonry.core.seeds import inner_seed
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.tumix_findings import Plan
from reasonry.papers.tumix_task import Mixture, entries
from reasonry.solve.exchange import History, Moment, Said
from reasonry.solve.exchange.core import Rule
from reasonry.solve.exchange.votes import as_spelled
from reasonry.solve.tumix import SOURCES, Kit, stopping, tumix
from reasonry.solve.tumix_words import SINGLE_BYTES
from reasonry.tasks.sandbox import Limits, Sandbox, Session
from reasonry.tasks.tools import Tool, tool

TURN = Sampling(max_tokens=40)
"""The longest turn taught has 33 tokens."""
ROWS, KV = 128, 131_072
QUESTIONS = 4
"""Makes the second run's questions new ones (see what differs in the paper's file)."""


class Turn(msgspec.Struct):
    """What is kept of an agent's turn."""

    agent: str
    text: str
    answer: str | None
    tokens: int
    prompt_tokens: int
    calls: int


class Told(msgspec.Struct):
    """What a group said about one question."""

    problem: str
    rounds: list[list[Turn]]


class Ruled(msgspec.Struct):
    """What the judge said after a round of one question."""

    problem: str
    round: int
    """Rounds made, counted from 1."""
    stop: bool
    tokens: int
    prompt_tokens: int


def interpreter(session: Session) -> Tool:
    """The `python` tool of small models: an expression in, its value out; of an error, its first words."""
    known: dict[str, str] = {}
    turn = asyncio.Lock()

    async def wait(code: str) -> str:
        async with turn:
            if code not in known:
                ran = await session.run(code)
                known[code] = ran.stdout.strip()[:24] if ran.ok and ran.stdout.strip() else "error: it has no value"
        return known[code]

    def python(code: str) -> str:
        """The value of a Python expression."""
        return asyncio.run(wait(code))

    made = tool(python)
    return Tool(made.name, made.description, made.parameters, made.run, wait)


def searches(world: int) -> dict[str, Tool]:
    """The exact index, the noisy one, and both side by side."""
    exact, noisy = entries(world, noisy=False), entries(world, noisy=True)

    def look(indices: Sequence[Mapping[str, str]]) -> Tool:
        def search(query: str) -> str:
            """What the encyclopaedia says of a thing."""
            found = [index[query] for index in indices if query in index]
            return "/".join(found) if found else "error: nothing was found"

        return tool(search)

    return dict(zip(SOURCES, (look([exact]), look([noisy]), look([exact, noisy])), strict=True))


@dataclass(frozen=True)
class Lab:
    """One seed's questions, the model, and its tools. Lives while a seed is examined."""

    path: Path
    """The run directory of this seed."""
    plan: Plan
    seed: int
    kit: Kit
    task: Mixture

    def questions(self, split: str, n: int) -> list[Problem]:
        """`n` questions of a split, the same at every call."""
        return self.task.problems(split, n, inner_seed(self.seed, QUESTIONS))

    async def said(self, group: str, agents: Sequence[str], rounds: int, problems: Sequence[Problem]) -> list[Told]:
        """What a group says about each question over a fixed number of rounds, asked once."""
        file = self.path / f"{group.replace(' ', '-')}.json"
        if file.exists():
            return msgspec.json.decode(file.read_bytes(), type=list[Told])
        solver = tumix(self.kit, self.task, agents, rounds, stop="fixed", key=as_spelled, by_words=False, name=group)
        seeds = (inner_seed(self.seed, 5, len(group), i) for i in range(len(problems)))
        made = await asyncio.gather(*(solver(p, Budget(), s) for p, s in zip(problems, seeds, strict=True)))
        told = [_kept(trace) for trace in made]
        write_whole(file, msgspec.json.encode(told).decode())
        return told

    async def judged(self, group: str, told: Sequence[Told], problems: Sequence[Problem]) -> list[Ruled]:
        """What the judge says after every round from the second on but the last, asked once."""
        file = self.path / f"{group.replace(' ', '-')}-judge.json"
        if file.exists():
            return msgspec.json.decode(file.read_bytes(), type=list[Ruled])
        rule = stopping("judge", self.kit.lm, self.kit.words, as_spelled, aside=Sampling(max_tokens=2))
        asked = [(t, p, r) for t, p in zip(told, problems, strict=True) for r in range(self.plan.min_rounds, len(t.rounds))]
        ruled = list(await asyncio.gather(*(self._ruled(rule, t, p, r) for t, p, r in asked)))
        write_whole(file, msgspec.json.encode(ruled).decode())
        return ruled

    async def _ruled(self, rule: Rule, told: Told, problem: Problem, round: int) -> Ruled:
        ruling = await rule(Moment(problem, history(told, round), Budget(), inner_seed(self.seed, 6, round)))
        cost = sum((call.cost for call in ruling.calls), Cost())
        return Ruled(told.problem, round, ruling.why is not None, cost.completion_tokens, cost.prompt_tokens)


def _kept(trace: Trajectory) -> Told:
    rounds = trace.meta["exchange"]["rounds"]
    names = Turn.__struct_fields__
    told = Told(trace.problem_id, [[Turn(**{name: said[name] for name in names}) for said in round] for round in rounds])
    assert sum(t.calls for r in told.rounds for t in r) == trace.cost.calls
    return told


def history(told: Told, rounds: int) -> History:
    """The first rounds as the exchange's own record, for rules to look at."""
    return tuple(tuple(Said(t.agent, r, t.text, t.answer, Stop.EOS) for t in turns) for r, turns in enumerate(told.rounds[:rounds]))


async def opened(path: Path, plan: Plan, seed: int, start: Path) -> tuple[Lab, LocalLM, Session]:
    """A seed's lab, with the model and the sandbox session that its maker is to close."""
    path.mkdir(parents=True, exist_ok=True)
    lm = LocalLM(load_decoder(start, torch.float32), Tokenizer.load(start), "pocket", max_rows=ROWS, kv_tokens=KV)
    session = Sandbox(Limits(seconds=5.0, cpu_seconds=600)).session()
    world = inner_seed(seed, 9, QUESTIONS)
    kit = Kit(lm, interpreter(session), searches(world), SINGLE_BYTES, TURN)
    return Lab(path, plan, seed, kit, Mixture(world)), lm, session
