"""Training data for an aggregator: sets of candidates, which of them are hard, the mixture, and a task over it (AggLM, arXiv 2509.06870).

    pools --sets(m, s)--> examples --mixture(p)--> all hard + p % easy --Aggregation--> a task whose problems are aggregation prompts

Symbols: m candidates of a set, s sets of a pool, p the easy examples kept in per cent *of the number of hard ones* (not of all data).
An example is hard where its majority answer is wrong. Candidates are fixed: every attempt at a problem of the task sees the same set in the
same order, so the advantages of a group tell aggregations apart and not the luck of the draw.

Departures: 1. ties of the majority, which the paper does not mention, go by a rule that is named (`Hard`). 2. where nobody's answer can be
read, nobody's wins, and the set is hard.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reasonry.core import Problem, Task, UserError, Verdict
from reasonry.core.seeds import inner_seed
from reasonry.probe.votes import by_vote, classes, expected, largest
from reasonry.tasks.pack import WORDS, Packing, pack
from reasonry.tasks.pool import Candidate, Pool, read_pools


@dataclass(frozen=True, slots=True)
class Example:
    """One set of candidates of one problem."""

    pool: Pool
    number: int
    """Of the pool's sets."""
    candidates: tuple[Candidate, ...]

    @property
    def id(self) -> str:
        """The problem's id and the set's number."""
        return f"{self.pool.problem.id}/{self.number}"


Hard = Callable[[Example], bool]
"""Whether an example is hard; three rules for ties below."""


def any_tied_wrong(example: Example) -> bool:
    """Hard unless every answer with the most votes is right."""
    return _majority(example) < 1


def all_tied_wrong(example: Example) -> bool:
    """Hard only where no answer with the most votes is right."""
    return _majority(example) == 0


def first_reached(example: Example) -> bool:
    """Hard where the tied answer that was seen first is wrong, as code that takes the most common one does; depends on the order."""
    keys = classes(example.candidates)
    chances = by_vote(keys)
    taken = next((i for i, p in enumerate(chances) if p > 0), None)
    return taken is None or not _right(example.candidates[taken])


TIES: dict[str, Hard] = {"any": any_tied_wrong, "all": all_tied_wrong, "first": first_reached}


def _majority(example: Example) -> float:
    return expected(by_vote(classes(example.candidates)), [_right(c) for c in example.candidates])


def _right(c: Candidate) -> float:
    return float(c.correct is not None and c.correct >= 1)


def sets(pools: Sequence[Pool], m: int, s: int | None = None, seed: int = 0) -> list[Example]:
    """Each pool's candidates shuffled and cut into sets of `m`, at most `s` of them; what is left over is in none.

    Raises UserError for a pool of fewer than m, and for a candidate that was not judged.
    """
    if m < 1:
        raise UserError(f"m: is {m} but a set has at least one candidate")
    found: list[Example] = []
    for pool in pools:
        if len(pool.candidates) < m:
            raise UserError(f"m: is {m} but problem {pool.problem.id!r} has {len(pool.candidates)} candidates; lower m or sample more")
        if any(c.correct is None for c in pool.candidates):
            raise UserError(f"problem {pool.problem.id!r} has a candidate that is not judged; give its gold answer, or correct")
        order = random.Random(f"sets/{seed}/{pool.problem.id}").sample(pool.candidates, len(pool.candidates))
        cut = [tuple(order[i : i + m]) for i in range(0, len(order) - m + 1, m)]
        found += [Example(pool, number, chosen) for number, chosen in enumerate(cut[:s])]
    return found


def mixture(examples: Sequence[Example], p: float | None, hard: Hard = any_tied_wrong, seed: int = 0) -> list[Example]:
    """Every hard example once, and round(p/100 · |hard|) easy ones, or all there are; `p` None keeps every easy one.

    The easy ones repeat each problem as little as they can: one of every problem that has any, then a second, and so on. Shuffled.
    """
    if p is not None and p < 0:
        raise UserError(f"p: is {p} but a share in per cent of the hard examples is 0 or more")
    kept = [e for e in examples if hard(e)]
    easy = spread([e for e in examples if not hard(e)], seed)
    kept += easy if p is None else easy[: round(p / 100 * len(kept))]
    random.Random(f"mixture/{seed}").shuffle(kept)
    return kept


def spread(examples: Sequence[Example], seed: int = 0) -> list[Example]:
    """All of them, ordered so that any beginning repeats each problem as little as possible; random otherwise."""
    rng = random.Random(f"spread/{seed}")
    turns: dict[str, int] = {}
    ranked: list[tuple[int, float, int]] = []
    order = rng.sample(range(len(examples)), len(examples))
    for i in order:
        id = examples[i].pool.problem.id
        ranked.append((turns.setdefault(id, 0), rng.random(), i))
        turns[id] += 1
    return [examples[i] for _, _, i in sorted(ranked)]


@dataclass(frozen=True)
class Aggregation:
    """A task (`core.Task`) whose problems are aggregation prompts over prepared candidates, judged as the source task judges.

    A problem's meta holds `source` (the problem's id), `hard`, `size` (votes of the most frequent answer), `right` (right candidates) and
    `candidates` (how many are shown). Splits are those of the pools; the mixture is made of the training split alone, the others are as
    they are.
    """

    name: str
    source: Task
    pools: Sequence[Pool]
    m: int = 8
    s: int | None = None
    p: float | None = 50
    """`None` keeps every easy example."""
    hard: Hard = any_tied_wrong
    packing: Packing = Packing()  # noqa: RUF009 (a frozen value)
    easy_only: bool = False
    """Train on the easy examples alone: a control."""
    seed: int = 0
    """Decides sets, mixture and orders."""

    @cached_property
    def splits(self) -> Mapping[str, Sequence[Problem]]:
        """Split → problems."""
        by_split: dict[str, list[Pool]] = {}
        for pool in self.pools:
            by_split.setdefault(pool.split, []).append(pool)
        return {split: [self._problem(e) for e in self._examples(split, held)] for split, held in by_split.items()}

    @cached_property
    def _home(self) -> dict[str, Problem]:
        return {pool.problem.id: pool.problem for pool in self.pools}

    def _examples(self, split: str, pools: Sequence[Pool]) -> list[Example]:
        made = sets(pools, self.m, self.s, self.seed)
        if split != "train":
            return made
        if self.easy_only:
            return spread([e for e in made if not self.hard(e)], self.seed)
        return mixture(made, self.p, self.hard, self.seed)

    def _problem(self, e: Example) -> Problem:
        p = e.pool.problem
        packed = pack(p.messages, e.candidates, self.packing, inner_seed(self.seed, e.number))
        meta = {
            "source": p.id, "hard": self.hard(e), "size": largest(classes(e.candidates)),
            "right": int(sum(_right(c) for c in e.candidates)), "candidates": len(packed.shown),
        }  # fmt: skip
        return Problem(e.id, packed.messages, p.answer, meta)

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """All problems of a split, or `n` of them drawn by the seed. Raises UserError where there are fewer."""
        held = self.splits.get(split)
        if held is None:
            raise UserError(f"split: {split!r} is not a split of {self.name}, which has {', '.join(self.splits)}; use one of those")
        if n is None:
            return list(held)
        if n > len(held):
            raise UserError(f"{self.name}: n is {n} but split {split!r} has {len(held)} sets; ask for fewer, or sample more candidates")
        return random.Random(f"{self.name}/{split}/{seed}").sample(list(held), n)

    def extract(self, text: str) -> str | None:
        """The answer as the source task reads it."""
        return self.source.extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The source task's verdict on the source problem."""
        return self.source.judge(self._home[problem.meta["source"]], answer)


def mixture_words(task: Aggregation) -> str:
    """The training mixture in one sentence."""
    train = task.splits.get("train", ())
    hard = sum(p.meta["hard"] for p in train)
    easy = len(train) - hard
    return f"{len(train)} sets of {task.m}: {hard} hard, {easy} easy ({100 * easy / max(hard, 1):.0f} % of the hard)"


def aggregation(
    of: Task, file: str, m: int = 8, s: int | None = None, p: str = "50", ties: str = "any", seed: int = 0, limit: int | None = None,
    words: str = "plain", keep_think: int = 0,
) -> Aggregation:  # fmt: skip
    """The task a spec names: `aggregate?file=pools.jsonl&m=8&p=50&of=TASK`. `p` is a number, `natural` or `easy`; `limit` counts
    characters. Raises UserError for an unusable file or value."""
    if ties not in TIES:
        raise UserError(f"aggregate: ties is {ties!r} but must be one of {', '.join(TIES)}")
    if words not in WORDS:
        raise UserError(f"aggregate: words is {words!r} but must be one of {', '.join(WORDS)}")
    try:
        share = None if p in ("natural", "easy") else float(p)
    except ValueError:
        raise UserError(f"aggregate: p is {p!r} but must be a number (per cent of the hard examples), natural or easy") from None
    pools = read_pools(Path(file), of)
    packing = Packing(WORDS[words], bool(keep_think), limit)
    return Aggregation(f"{Path(file).stem}-sets", of, pools, m, s, share, TIES[ties], packing, p == "easy", seed)
