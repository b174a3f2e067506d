"""ParaThinker's decoding: lines of thought side by side over one prompt, then one answer that reads them all (arXiv 2509.04475).

    p(r, a | x) = [Π_i Π_t π(r^(i)_t | x, s^(i), r^(i)_<t)] · Π_t π(a_t | x, r^(1..P), a_<t)

Symbols: x the prompt, l_x its length, r^(i) path i of P, s^(i) its opener `<think i>`, with the thought embedding T^(i), a the summary, B a
path's budget. The prompt is computed once; every path is a fork of it whose first token is its opener at position l_x; all paths are
sampled in lock-step, one batched step for each of their tokens. Then a fork of the first path joins the others (`Sequence.join`): their
keys and values are used as they are, and `<summary>` follows at one past the longest path's last position. No token is computed twice.

Inside a path a sampled opener, or `<summary>`, becomes a plain `<think>`; whatever ends a text (an end token, any closer) becomes the
path's own closer. A token put in the place of another, or put there by a policy, is no draw: it is masked and carries no loss.

Departures from the paper: 1. where the vocabulary has no `<think>`, a sampled opener ends its path, which is the nearest to what the model
meant. 2. merging needs no padding to blocks: the engine's slots are single tokens. 3. flattened positions, the ablation, start path i at
l_x + i · (room of a path), the paper's formula, so that its paths too are sampled side by side. 4. a path may have a lead-in of its own,
forced after its opener; the official code forces one for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

from reasonry.core import Ids, Sampling, Stop, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.engine.sequence import Sequence as Row
from reasonry.lm.thoughts import OPEN, Controls, controls
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.masks import PROMPT, TAGS

THINK, END_THINK = "<think>", "</think>"
Enough = Callable[[int, int], bool]
"""(paths that have ended by themselves, paths) -> whether thinking ends for all. Asked after every step."""
Place = Callable[[int, int, int], int]
"""(l_x, the path's number from 0, room of a path in tokens) -> the position of its opener."""


def last_finish(ended: int, paths: int) -> bool:
    """Waits for all."""
    return ended >= paths


def half_finish(ended: int, paths: int) -> bool:
    """Ends all when half have ended."""
    return ended >= ceil(paths / 2)


def first_finish(ended: int, paths: int) -> bool:
    """Ends all when one has: all are equally long."""
    return ended >= 1


def kth_finish(k: int) -> Enough:
    """Ends all when k have ended, or all there are."""
    if k < 1:
        raise UserError(f"parathinker: stop is {k} but at least one path ends; raise it")
    return lambda ended, paths: ended >= min(k, paths)


def shared(prompt: int, path: int, room: int) -> int:
    """All paths at the same positions."""
    return prompt


def flattened(prompt: int, path: int, room: int) -> int:
    """One after another, the room of a path apart: the ablation that hurts."""
    return prompt + path * room


@dataclass(frozen=True, slots=True)
class Control:
    """What a vocabulary has to steer paths with."""

    tokens: Controls
    think: int | None
    """A plain `<think>`, where there is one."""
    stops: frozenset[int]
    """What ends a path: end tokens and closers of any kind."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Control | None:
        """That of a tokenizer; `None` where `<think1>` is not a token of it."""
        if len(tokenizer.encode(OPEN.format(1))) != 1:
            return None
        found = controls(tokenizer)
        think, closes = (tokenizer.backend.token_to_id(t) for t in (THINK, END_THINK))
        stops = (*found.closes, found.end, *tokenizer.eos_ids, *(() if closes is None else (closes,)))
        return cls(found, think, frozenset(stops))

    def opens(self, id: int) -> bool:
        """Whether a token opens a path or the summary."""
        return id in self.tokens.opens or id == self.tokens.summary


@dataclass(eq=False)
class Line:
    """Tokens sampled on a row, and what became of them. Mutable; lives an attempt."""

    row: Row
    forced: Ids
    """What was put before the first draw: an opener and a lead-in."""
    sampling: Sampling = Sampling()
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    drawn: list[bool] = field(default_factory=list)
    """Which of `ids` are what was sampled."""
    versions: list[int] = field(default_factory=list)
    stop: Stop | None = None

    async def draw(self) -> int:
        """Samples a token and keeps it."""
        id, logprob = await self.row.sample(self.sampling)
        self._keep(id, logprob, True)
        return id

    async def put(self, id: int) -> None:
        """Puts a token that nobody drew."""
        await self.row.append((id,))
        self._keep(id, 0.0, False)

    async def swap(self, id: int | None) -> None:
        """Puts a token in the place of the last draw."""
        assert id is not None
        self.row.truncate(len(self.row) - 1)
        await self.row.append((id,))
        self.ids[-1], self.drawn[-1] = id, False

    def _keep(self, id: int, logprob: float, drawn: bool) -> None:
        self.ids.append(id)
        self.logprobs.append(logprob)
        self.drawn.append(drawn)
        self.versions.append(self.row.version)


@dataclass(eq=False)
class Path(Line):
    """A line of thought."""

    tag: int = 1
    group: int = 1
    """For `nn.masks`."""
    start: int = 0
    """Position of its opener."""
    closer: int = 0
    taken: int = 0
    """Of its budget: tokens drawn, and tokens put in their place."""

    async def step(self, control: Control, budget: int) -> None:
        """One token more, replaced where it is none of its own; ends it where it ends, or at its budget."""
        id = await self.draw()
        self.taken += 1
        opens = control.opens(id)
        if id in control.stops or (opens and control.think is None):
            self.stop = Stop.EOS
            if id != self.closer:
                await self.swap(self.closer)
        elif opens and self.taken < budget:
            await self.swap(control.think)
            self.taken += 1
        elif opens:
            self.stop = Stop.LENGTH
            await self.swap(self.closer)
        if self.stop is None and self.taken >= budget:
            await self.close(Stop.LENGTH)

    async def close(self, why: Stop) -> None:
        """Forces its closer."""
        self.stop = why
        await self.put(self.closer)

    @property
    def thought(self) -> Ids:
        """What it says: without opener and closer, with its lead-in."""
        return (*self.forced[1:], *self.ids[:-1])


def path_groups(tags: Sequence[int]) -> tuple[int, ...]:
    """A group (`nn.masks`) for every path: its tag, or `TAGS` further for each path before it with the same tag."""
    return tuple(tag + TAGS * list(tags[:i]).count(tag) for i, tag in enumerate(tags))


async def think(
    root: Row, control: Control, tags: Sequence[int], leads: Sequence[Ids], budget: int, enough: Enough, place: Place, sampling: Sampling,
    seed: int,
) -> tuple[list[Path], int]:  # fmt: skip
    """Stage one: a path for each tag on forks of `root`, and how many lock-steps they took. Every path has its closer when this returns.

    The caller closes the paths' rows. Path i draws with `inner_seed(seed, i)`.
    """
    room = 2 + max(map(len, leads)) + budget
    paths = [
        Path(
            root.fork(), (control.tokens.opens[tag - 1], *lead), sampling.with_(seed=inner_seed(seed, i)), tag=tag, group=group,
            start=place(len(root), i, room), closer=control.tokens.closes[tag - 1],
        )
        for i, (tag, group, lead) in enumerate(zip(tags, path_groups(tags), leads, strict=True))
    ]  # fmt: skip
    try:
        await asyncio.gather(*(p.row.append(p.forced, range(p.start, p.start + len(p.forced)), p.tag) for p in paths))
        steps, ended = 0, 0
        while (alive := [p for p in paths if p.stop is None]) and not enough(ended, len(paths)):
            await asyncio.gather(*(p.step(control, budget) for p in alive))
            steps += 1
            ended = sum(p.stop is Stop.EOS for p in paths)
        await asyncio.gather(*(p.close(Stop.STOP) for p in paths if p.stop is None))
    except BaseException:
        for p in paths:
            p.row.close()
        raise
    return paths, steps


async def joined(paths: Sequence[Path], control: Control, lead: Ids) -> Line:
    """Stage two, with the keys and values there are: a fork of the first path joined by the others, and opened for the summary.

    The caller closes the line's row.
    """
    await asyncio.gather(*(p.row.append(()) for p in paths))  # closers that were sampled last, all in one step
    row = paths[0].row.fork()
    try:
        await row.join(*(p.row for p in paths[1:]))
        forced = (control.tokens.summary, *lead)
        await row.append(forced, thought=PROMPT)
    except BaseException:
        row.close()
        raise
    return Line(row, forced)


async def summarise(line: Line, control: Control, ends: Sequence[int], sampling: Sampling) -> int:
    """Samples to `</summary>`, an end token, or `max_tokens`; returns how many steps it took."""
    line.sampling = sampling
    while line.stop is None:
        id = await line.draw()
        if id == control.tokens.end or id in ends:
            line.stop = Stop.EOS
        elif len(line.ids) >= sampling.max_tokens:
            line.stop = Stop.LENGTH
    return len(line.ids)
