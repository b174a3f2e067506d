"""Which blocks of a model its inputs skip, run or repeat, by difficulty (Dr.LLM's figures 4 and 5, on anyone's inputs).

Invariant: what is said of a group is said of its own inputs alone; a right answer is counted only where there was something to judge it by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonry.core import UserError

OFTEN = 0.5
"""Share of inputs from which a block counts as mostly skipped or repeated."""
NEVER = 0.02
"""Share up to which it counts as needed by all."""


@dataclass(frozen=True, slots=True)
class Use:
    """One input."""

    id: str
    group: str
    """Its difficulty, or whatever inputs are told apart by."""
    counts: tuple[int, ...]
    """How often each block ran: 0, 1 or 2."""
    base: float | None = None
    """The whole network's score; `None`: nothing to judge by. Likewise `right`, under these counts."""
    right: float | None = None


@dataclass(frozen=True, slots=True)
class GroupUse:
    """Inputs of one group."""

    name: str
    n: int
    skipped: tuple[float, ...]
    """Share of inputs that skip each block; likewise `repeated`."""
    repeated: tuple[float, ...]
    consensus: tuple[float, ...]
    """Share of inputs that do with each block what most do: what a batch can share."""
    depth: float
    """Blocks run, on average, a repeat counted twice."""
    base: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class LayerUse:
    """All inputs together, then each group in the order it was met."""

    layers: int
    whole: GroupUse
    groups: tuple[GroupUse, ...]
    findings: tuple[str, ...]


def layer_use(uses: Sequence[Use]) -> LayerUse:
    """What these inputs do. Raises UserError where there are none."""
    if not uses:
        raise UserError("layers: there is no input to look at; give at least one")
    layers = len(uses[0].counts)
    whole = _of("all", uses)
    names = list(dict.fromkeys(u.group for u in uses))
    groups = tuple(_of(name, [u for u in uses if u.group == name]) for name in names)
    return LayerUse(layers, whole, groups, _findings(layers, whole, groups))


def _of(name: str, uses: Sequence[Use]) -> GroupUse:
    columns = list(zip(*(u.counts for u in uses), strict=True))
    shares = [[column.count(n) / len(uses) for n in (0, 1, 2)] for column in columns]
    judged = [(u.base, u.right) for u in uses if u.base is not None and u.right is not None]
    base, right = (fmean(pair[i] for pair in judged) if judged else None for i in (0, 1))
    skipped, repeated, consensus = (tuple(f(s) for s in shares) for f in (lambda s: s[0], lambda s: s[2], max))
    return GroupUse(name, len(uses), skipped, repeated, consensus, fmean(sum(u.counts) for u in uses), base, right)


def _findings(layers: int, whole: GroupUse, groups: Sequence[GroupUse]) -> tuple[str, ...]:
    said = [f"{layers - whole.depth:.2f} of {layers} blocks are saved on average."]
    needed = [i for i in range(layers) if whole.skipped[i] <= NEVER]
    skipped, repeated = ([i for i in range(layers) if shares[i] >= OFTEN] for shares in (whole.skipped, whole.repeated))
    for found, what in ((needed, "hardly ever skipped"), (skipped, "mostly skipped"), (repeated, "mostly repeated")):
        if found:
            said.append(f"{what[0].upper()}{what[1:]}: block{'s' * (len(found) > 1)} {', '.join(map(str, found))}.")
    if len(groups) > 1:
        least, most = min(groups, key=lambda g: g.depth), max(groups, key=lambda g: g.depth)
        if most.depth - least.depth >= 0.01:
            said.append(f"{least.name} runs {least.depth:.2f} blocks, {most.name} {most.depth:.2f}.")
    said.append(f"On a block inputs agree in {100 * fmean(whole.consensus):.0f} % of cases (mean over blocks).")
    return tuple(said)
