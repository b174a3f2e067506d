"""What one row of the catalogue says: a named objective, where its values come from, who means something else by the name, and which
parts a recipe needs beside the objective."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

from reasonry.train.objective import Objective


class Known(StrEnum):
    """How well the values are known."""

    CODE = "read in official code"
    PAPER = "from the paper"
    LIBRARY = "read in a library's code"
    RECALLED = "from memory of the paper; check before relying on it"
    DEFAULTS = "the source says only which family; the family's defaults stand in"


@dataclass(frozen=True)
class Part:
    """Something a recipe needs that is not an objective."""

    what: str
    where: str | None
    """A file under `src/reasonry` that brings it, or `None`: not built yet."""


@dataclass(frozen=True)
class Entry:
    """One row."""

    slug: str
    title: str
    arxiv: tuple[str, ...]
    """Identifiers; empty where there is no arXiv paper."""
    objective: Objective
    known: Known
    says: str
    """The definition as the source gives it, and what the source leaves open."""
    differs: tuple[str, ...] = ()
    """Who means something else by the name, and what of ours is a choice."""
    parts: tuple[Part, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts not built yet: the objective is here, the recipe is not complete."""
        return tuple(p.what for p in self.parts if p.where is None)


def spell(x: Any) -> str:
    """A part of an objective as one would write it, every value shown: `Outcome(baseline=group_mean, normalise=unscaled)`."""
    if x is None or isinstance(x, float | int | str | bool):
        return f"{x:.6g}" if isinstance(x, float) else str(x)
    if isinstance(x, tuple):
        return ", ".join(map(spell, x)) or "–"
    if is_dataclass(x) and not isinstance(x, type):
        return f"{type(x).__name__}({', '.join(f'{f.name}={spell(getattr(x, f.name))}' for f in fields(x))})"
    return getattr(x, "__name__", repr(x))


def row(entry: Entry) -> dict[str, str]:
    """The entry as cells of a table."""
    o = entry.objective
    return {
        "name": entry.slug,
        "advantage": spell(o.advantage) + ("" if not o.reshape else f", then {spell(o.reshape)}"),
        "ratio": "none" if o.ratio is None else f"{spell(o.ratio.level)} over {spell(o.ratio.over)}",
        "surrogate": spell(o.surrogate),
        "aggregate": spell(o.aggregate),
        "kl": "none" if o.kl is None else spell(o.kl),
        "more": "; ".join([spell(w) for w in o.weights] + [spell(e) for e in o.extras] + ([f"entropy {o.entropy:g}"] if o.entropy else [])),
        "missing": "; ".join(entry.missing),
        "source": ", ".join(f"arXiv {a}" for a in entry.arxiv),
    }
