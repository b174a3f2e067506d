"""One file per paper: the experiment, its arms, its claims. Composition only. `PAPERS` holds what is built, `catalogue` lists all."""

from reasonry.core import Paper
from reasonry.papers.delethink import PAPER as DELETHINK

PAPERS: dict[str, Paper] = {DELETHINK.slug: DELETHINK}
"""Slug → paper."""

__all__ = ["PAPERS"]
