"""How hard problems are for one model, and training sets with a wanted share of easy, medium and hard ones (GRPO-TCR, arXiv 2510.11701).

A profile is a JSONL file with one row a problem: the problem itself (`id`, `prompt`, `answer`, `meta`), `passes` of `attempts`, and which
`model`, `solver` and `task` that was measured with. Problems never or always passed teach a group-normalised policy nothing; the others
are easy from a pass rate of .75, hard up to .25, medium between.

Invariants: a difficulty is a model's, not a problem's, so a profile names its model and using it for another is said (`stale`). No problem
is in a training set more than `limit` times, and one whose target is its source comes out as it went in, in order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from reasonry.core import Message, Problem, UserError

BINS: tuple[str, ...] = ("easy", "medium", "hard")
EASY, HARD = 0.75, 0.25


@dataclass(frozen=True)
class Rated:
    """A problem with how one model fared on it. A row of the file."""

    problem: Problem
    passes: int
    attempts: int
    model: str
    solver: str = ""
    task: str = ""

    @property
    def rate(self) -> float:
        """Share of attempts that passed."""
        return self.passes / self.attempts

    @property
    def bin(self) -> str | None:
        """`easy`, `medium` or `hard`; `None` where every attempt, or none, passed."""
        if self.passes in (0, self.attempts):
            return None
        return "easy" if self.rate >= EASY else "hard" if self.rate <= HARD else "medium"


def row_of(rated: Rated) -> dict[str, Any]:
    """The row as JSON; `prompt` and `answer` stand as a data set has them, so the file is a task as well."""
    p = rated.problem
    prompt = p.prompt if isinstance(p.prompt, str) else [{"role": m.role, "content": m.content} for m in p.prompt]
    return {
        "id": p.id, "prompt": prompt, "answer": p.answer, "pass_rate": rated.rate, "passes": rated.passes, "attempts": rated.attempts,
        "model": rated.model, "solver": rated.solver, "task": rated.task, "meta": dict(p.meta),
    }  # fmt: skip


class _Row(msgspec.Struct):
    id: str
    prompt: str | list[Message]
    answer: Any
    passes: int
    attempts: int
    model: str
    solver: str = ""
    task: str = ""
    meta: dict[str, Any] = {}


def read_profile(path: Path) -> list[Rated]:
    """The rows of a profile. Raises UserError, with file and line, for one that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a profile ({error}); make one with `reasonry probe difficulty`") from None
    found: list[Rated] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=_Row)
        except msgspec.MsgspecError as error:
            raise UserError(f"{path} line {number}: is no row of a profile ({error}); make one with `reasonry probe difficulty`") from None
        if not 0 <= row.passes <= row.attempts or row.attempts == 0:
            raise UserError(f"{path} line {number}: {row.passes} of {row.attempts} attempts passed, which cannot be; mend the row")
        prompt = row.prompt if isinstance(row.prompt, str) else tuple(row.prompt)
        problem = Problem(row.id, prompt, row.answer, row.meta)
        found.append(Rated(problem, row.passes, row.attempts, row.model, row.solver, row.task))
    if not found:
        raise UserError(f"{path}: holds no rows; make a profile with `reasonry probe difficulty`")
    return found


def line_of(rated: Rated) -> str:
    """The row as a line of the file."""
    return json.dumps(row_of(rated), ensure_ascii=False)


def stale(profile: Iterable[Rated], model: str) -> str | None:
    """One sentence where the profile was made with another model than `model`; `None` where it was not."""
    if others := sorted({r.model for r in profile} - {model}):
        return (
            f"the difficulties were measured with {', '.join(others)}, not with {model}: problems that were right for one model may be too "
            f"easy or too hard for another; measure again with `reasonry probe difficulty --model {model}`"
        )
    return None


def histogram(profile: Iterable[Rated]) -> dict[str, int]:
    """How many problems are `never` passed, `hard`, `medium`, `easy`, `always` passed."""
    counts: dict[str, int] = dict.fromkeys(("never", "hard", "medium", "easy", "always"), 0)
    for r in profile:
        counts[r.bin or ("always" if r.passes else "never")] += 1
    return counts


def shares(profile: Iterable[Rated]) -> dict[str, float]:
    """The share of each bin among problems sometimes passed: a target, where the profile is a stronger model's."""
    bins = [r.bin for r in profile if r.bin]
    return {name: bins.count(name) / len(bins) for name in BINS if bins}


def curated(
    profile: Sequence[Rated], target: Mapping[str, float] | None = None, n: int | None = None, limit: int = 2, seed: int = 0
) -> list[Problem]:
    """A training set: problems sometimes passed, resampled to the target's shares of the bins; without a target, each of them once.

    `n` problems (as many as there are, where left out), or as many as the target allows where a bin holds too few for it at `limit` uses
    of each. A problem's further uses get ids of their own (`…#2`), so that a batch keeps them apart. Raises UserError for a bin that is
    unknown, or wanted and empty, and where nothing is left.
    """
    kept = [r for r in profile if r.bin]
    if not kept:
        raise UserError(f"difficulty: all {len(profile)} problems are always or never passed by this model; take others")
    if target is None:
        return [r.problem for r in kept]
    quota = _quotas(kept, target, n or len(kept), limit)
    rng, uses = random.Random(f"curated/{seed}"), dict[str, int]()
    for name, wanted in quota.items():
        ids = [r.problem.id for r in kept if r.bin == name]
        whole, rest = divmod(wanted, len(ids)) if ids else (0, 0)
        uses.update(dict.fromkeys(ids, whole))
        for id in rng.sample(ids, rest):
            uses[id] += 1
    return [
        r.problem if i == 0 else replace(r.problem, id=f"{r.problem.id}#{i + 1}") for r in kept for i in range(uses.get(r.problem.id, 0))
    ]


def _quotas(kept: Sequence[Rated], target: Mapping[str, float], n: int, limit: int) -> dict[str, int]:
    """How many of each bin, by largest remainders; fewer in all where the limit asks for it."""
    if unknown := next((name for name in target if name not in BINS), None):
        raise UserError(f"difficulty: {unknown!r} is not a bin; use {', '.join(BINS)}")
    total = sum(target.values())
    if total <= 0 or min(target.values()) < 0:
        raise UserError(f"difficulty: the target {dict(target)} needs shares of 0 or more, and one above 0")
    held = {name: sum(r.bin == name for r in kept) for name in target}
    for name, share in target.items():
        if share > 0:
            if not held[name]:
                raise UserError(f"difficulty: the target wants {name} problems, and this model finds none of them {name}; leave them out")
            n = min(n, int(limit * held[name] * total / share + 1e-9))
    exact = {name: n * share / total for name, share in target.items()}
    quota = {name: int(x + 1e-9) for name, x in exact.items()}
    for name in sorted(exact, key=lambda name: quota[name] - exact[name])[: n - sum(quota.values())]:
        quota[name] += 1
    return {name: min(q, limit * held[name]) for name, q in quota.items()}
