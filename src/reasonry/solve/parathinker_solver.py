"""ParaThinker as a solver: paths, then an answer; how the answer is made is a value (`Fuse`), so that it is compared with another end of
the same paths.

`reuse` is the method: the paths' keys and values as they are. `reread` hands prompt and paths to the model once more, as one plain
text (re-prefill): what an engine does that cannot join. With neither the paths vote. A model without control tokens, or behind an
endpoint, thinks by `parathinker_reprefill`; the attempt's `meta["mode"]` says which it was.

What trains: each path is a segment with role `think`, beside the others, and the summary one with role `answer`; all carry positions and
groups, so the trainer lays them out as they were sampled. The ledger: the prompt and every token put or drawn are computed once; `meta` has
`steps` (batched steps one after another: the latency in units of a step), `merged` (tokens the summary sees) and each path's length.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reasonry.core import LM, Budget, Cost, Ids, Problem, Sampling, Segment, Stop, Task, Trajectory, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.local import LocalLM
from reasonry.nn.masks import PROMPT
from reasonry.nn.masks import SUMMARY as READS_ALL
from reasonry.solve.calls import shortfall
from reasonry.solve.parathinker import Control, Enough, Line, Path, Place, first_finish, joined, shared, summarise, think
from reasonry.solve.parathinker_reprefill import Parallel
from reasonry.solve.select import as_meta, vote

FORESEEN = ("tokens", "completion_tokens", "calls", "verifier_calls")
"""Units bounded before thinking begins; the others are looked at once it has ended."""


@dataclass(frozen=True)
class Thought:
    """What stage one left: the prompt and the paths, whose rows are open."""

    lm: LocalLM
    control: Control
    prompt: Ids
    paths: Sequence[Path]


@dataclass(frozen=True)
class Opened:
    """A line opened for the summary, on a row of its own, and the groups of all it sees (`None`: a plain causal text)."""

    line: Line
    groups: Ids | None


@dataclass(frozen=True)
class Fuse:
    """A way to make one answer of the paths."""

    name: str
    """In the attempt's `meta`."""
    open: Callable[[Thought, Ids], Awaitable[Opened]]
    """(paths, lead-in of the summary) -> where it is sampled."""
    again: bool
    """Whether prompt and paths are handed to the model once more."""


async def _joined(thought: Thought, lead: Ids) -> Opened:
    line = await joined(thought.paths, thought.control, lead)
    groups = [PROMPT] * len(thought.prompt)
    for p in thought.paths:
        groups += [p.group] * (len(p.forced) + len(p.ids))
    return Opened(line, (*groups, *[READS_ALL] * len(line.forced)))


async def _handed_again(thought: Thought, lead: Ids) -> Opened:
    row = await thought.lm.sequence(thought.prompt)
    try:
        for p in thought.paths:
            await row.append((*p.forced, *p.ids), thought=p.tag)
        forced = (thought.control.tokens.summary, *lead)
        await row.append(forced, thought=0)
    except BaseException:
        row.close()
        raise
    return Opened(Line(row, forced), None)


reuse = Fuse("joined", _joined, False)
"""The paths' keys and values as they are: the method."""
reread = Fuse("re-prefill", _handed_again, True)
"""Prompt and paths as one causal text, computed again at positions 0, 1, 2, …; tokens keep their thought embeddings. It is there to be
compared with: its summary carries no loss."""


@dataclass(frozen=True)
class ParaThinker:
    """P paths of at most B tokens each beside one another, then one answer."""

    lm: LM
    task: Task
    """Reads the paths' answers, for votes and for the record; its judge is never asked."""
    P: int = 4
    B: int = 1024
    """Tokens a path may take, its forced opener, lead-in and closer not counted."""
    enough: Enough = first_finish
    tags: Ids = ()
    """A tag for each path; none: 1 … P."""
    leads: Sequence[str] = ()
    """Lead-ins of the paths, by turns: forced diversity."""
    place: Place = shared
    fuse: Fuse | None = reuse
    """`None`: no summary, the paths vote."""
    lead: str = ""
    """What the summary begins with, as `The final answer is `; part of the answer."""
    sampling: Sampling = Sampling(max_tokens=256)
    """Of paths and summary; `max_tokens` is the summary's."""
    name: str = "parathinker"

    def __post_init__(self) -> None:
        for name, value in (("P", self.P), ("B", self.B), ("max_tokens", self.sampling.max_tokens)):
            if value < 1:
                raise UserError(f"parathinker: {name} is {value} but must be at least 1")
        if self.tags and len(self.tags) != self.P:
            raise UserError(f"parathinker: tags are {len(self.tags)} but there are P = {self.P} paths; give one for each, or none")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt."""
        lm = self.lm
        control = Control.of(lm.tokenizer) if isinstance(lm, LocalLM) else None
        if not isinstance(lm, LocalLM) or control is None:
            parallel = Parallel(lm, self.task, self.P, self.B, self.leads, self.fuse is not None, self.lead, self.sampling)
            return await parallel(problem, budget, seed)
        tags = self.tags or tuple(range(1, self.P + 1))
        if bad := next((t for t in tags if not 1 <= t <= control.tokens.tags), None):
            raise UserError(f"parathinker: tag {bad} is not among <think1> to <think{control.tokens.tags}> of {lm.name}; use those")
        prompt, lead = await lm.encode(problem.messages), lm.tokenizer.encode(self.lead)
        leads = [lm.tokenizer.encode(self.leads[i % len(self.leads)]) if self.leads else () for i in range(self.P)]
        each, most, unit = self._room(lm, len(prompt), leads, len(lead), budget)
        if each == 0:
            return Trajectory(problem.id).finish(Stop.BUDGET, "", unit)
        with await lm.sequence(prompt) as root:
            paths, steps = await think(root, control, tags, leads, each, self.enough, self.place, self.sampling, seed)
            try:
                thought = Thought(lm, control, prompt, paths)
                return await self._answer(problem, thought, root.cost, steps, lead, most, unit, budget, seed)
            finally:
                for p in paths:
                    p.row.close()

    def _room(self, lm: LocalLM, prompt: int, leads: Sequence[Ids], lead: int, budget: Budget) -> tuple[int, int, str | None]:
        """Tokens of each path and of the summary, and the unit that made them fewer than asked for; (0, 0, unit) where none are left.

        Where the budget is tight the summary may take as much as a path. Raises UserError where the paths do not fit window and pool.
        """
        P, S, longest = self.P, self.sampling.max_tokens, max(map(len, leads))

        def held(b: int) -> int:
            return prompt + P * (2 + b) + sum(map(len, leads)) + (0 if self.fuse is None else 1 + lead)

        def last(b: int) -> int:
            return 0 if self.fuse is None else S if b == self.B else min(S, b)

        def short(b: int) -> str | None:
            again = held(b) if self.fuse is not None and self.fuse.again else 0
            need = Cost(held(b) - P * b + again, P * b + last(b), calls=2 if again else 1)
            return shortfall(budget, Cost(), need)

        def fits(b: int) -> bool:
            room, whole = 2 + longest + b, held(b) + last(b)
            again = self.fuse is not None and self.fuse.again
            top = whole if again else self.place(prompt, P - 1, room) + room + 1 + lead + last(b)
            return whole * (1 + again) <= lm.engine.pool.size and top <= lm.decoder.config.max_position

        widest = self.B - bisect_left(range(self.B), True, key=lambda n: fits(self.B - n))
        if widest == 0:
            raise UserError(f"parathinker: P is {P} but a prompt of {prompt} tokens leaves no room for so many paths; lower P")
        b = widest - bisect_left(range(widest), True, key=lambda n: short(widest - n) is None)
        return b, last(b) if b else 0, short(b + 1) if b < widest else None

    async def _answer(
        self, problem: Problem, thought: Thought, begun: Cost, steps: int, lead: Ids, most: int, unit: str | None, budget: Budget, seed: int
    ) -> Trajectory:
        """Stage two, and the record of both."""
        lm, paths = thought.lm, thought.paths
        opened, after = None, 0
        unpaid = next((u for u, limit in budget.limits() if u not in FORESEEN and getattr(_cost(begun, paths), u) >= limit), None)
        if self.fuse is not None and unpaid is None:
            opened = await self.fuse.open(thought, lead)
            try:
                sampling = self.sampling.with_(max_tokens=most, seed=inner_seed(seed, len(paths)))
                after = await summarise(opened.line, thought.control, lm.tokenizer.eos_ids, sampling)
            finally:
                opened.line.row.close()
        texts = [await lm.decode(p.thought) for p in paths]
        answers = [self.task.extract(t) for t in texts]
        trace = Trajectory(problem.id).beside(
            tuple(
                _path_segment(lm, thought.prompt, p, t, begun if i == 0 else Cost())
                for i, (p, t) in enumerate(zip(paths, texts, strict=True))
            )
        )
        choice = vote(answers)
        meta: dict[str, Any] = {
            **as_meta(choice, answers), "mode": "vote" if self.fuse is None else self.fuse.name, "steps": steps + after,
            "lengths": [len(p.ids) for p in paths], "ended": [p.stop is Stop.EOS for p in paths],
        }  # fmt: skip
        cut = unit if any(p.stop is Stop.LENGTH for p in paths) else None
        if opened is None:
            taken = choice.index or 0
            stop = paths[taken].stop or Stop.LENGTH
            cut = unpaid or cut
            return trace.finish(Stop.BUDGET if cut else stop, "" if unpaid else texts[taken], cut, **meta)
        line = opened.line
        text = await lm.decode((*lead, *line.ids[: -1 if line.stop is Stop.EOS else None]))
        trace = trace.add(await _summary_segment(lm, opened))
        cut = unit if line.stop is Stop.LENGTH else cut
        meta["merged"] = len(line.row.ids) - len(line.ids)
        return trace.finish(Stop.BUDGET if cut else line.stop or Stop.LENGTH, text, cut, **meta)


def _cost(begun: Cost, paths: Sequence[Path]) -> Cost:
    """Of stage one."""
    together = paths[0].row.cost
    for p in paths[1:]:
        together |= p.row.cost
    return begun + together


def _segment(lm: LocalLM, line: Line, context: Ids, positions: Ids, groups: Ids | None, text: str, role: str, cost: Cost) -> Segment:
    versions, mask = tuple(line.versions), (tuple(line.drawn) if groups is not None else (False,) * len(line.ids))
    return Segment(
        context, tuple(line.ids), text, tuple(line.logprobs), line.stop or Stop.LENGTH, cost, role=role,
        mask=None if all(mask) else mask, policy_version=versions[0], positions=positions, groups=groups, model=lm.name,
        versions=versions if versions[0] != versions[-1] else None,
    )  # fmt: skip


def _path_segment(lm: LocalLM, prompt: Ids, path: Path, text: str, begun: Cost) -> Segment:
    own = len(path.forced) + len(path.ids)
    positions = (*range(len(prompt)), *range(path.start, path.start + own))
    groups = (*[PROMPT] * len(prompt), *[path.group] * own)
    return _segment(lm, path, prompt + path.forced, positions, groups, text, "think", begun + path.row.cost)


async def _summary_segment(lm: LocalLM, opened: Opened) -> Segment:
    line = opened.line
    n = len(line.ids)
    context, positions = line.row.ids[:-n], line.row.positions
    groups = None if opened.groups is None else (*opened.groups, *[READS_ALL] * n)
    return _segment(lm, line, context, positions, groups, await lm.decode(tuple(line.ids)), "answer", line.row.cost)
