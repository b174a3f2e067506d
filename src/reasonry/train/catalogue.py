"""Every named objective, found by its slug: `find("dapo").objective`.

Invariant: nothing here is a name without the thing. Each entry's objective is the value a trainer runs, tested at tiny size; what a full
recipe needs beside it is listed with the file that brings it, or as missing.
"""

from __future__ import annotations

from difflib import get_close_matches

from reasonry.core import UserError
from reasonry.train.entry import Entry
from reasonry.train.recipes import RECIPES
from reasonry.train.variants import VARIANTS

CATALOGUE: dict[str, Entry] = {e.slug: e for e in (*VARIANTS, *RECIPES)}


def find(slug: str) -> Entry:
    """The entry; raises UserError, with the nearest names, where there is none."""
    if slug not in CATALOGUE:
        near = get_close_matches(slug, CATALOGUE) or sorted(CATALOGUE)
        raise UserError(f"objective: {slug!r} is not in the catalogue; did you mean {', '.join(near)}?")
    return CATALOGUE[slug]
