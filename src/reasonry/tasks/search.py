"""The `search` tool: the best passages of files on this machine, by BM25 (Robertson & Zaragoza 2009).

    score(d, q) = Σ_t idf(t) · f(t, d) (k₁ + 1) / (f(t, d) + k₁ (1 − b + b |d| / mean |d|)),   idf(t) = ln(1 + (N − n_t + ½) / (n_t + ½))

Symbols: t a word of the query, f its count in passage d, n_t passages that hold it, N all of them. A passage is a paragraph of a text file,
or the `text` of a line of a JSONL, with its `title` before it. Invariant: passages with equal scores come in the order of the files' names.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reasonry.core import UserError
from reasonry.tasks.loaders import json_lines
from reasonry.tasks.tools import Tool, tool

ENDINGS = (".txt", ".md", ".jsonl")
NOTHING = "error: nothing was found; try other words"
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Index:
    """Passages with the counts of their words. Built once, read by any number of threads."""

    passages: Sequence[str]
    k1: float = 1.5
    b: float = 0.75
    _counts: list[Counter[str]] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        self._counts.extend(Counter(words(p)) for p in self.passages)

    @cached_property
    def _found_in(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for i, counts in enumerate(self._counts):
            for word in counts:
                found.setdefault(word, []).append(i)
        return found

    @cached_property
    def _mean(self) -> float:
        return sum(c.total() for c in self._counts) / max(len(self._counts), 1)

    def scores(self, query: str) -> dict[int, float]:
        """The score of every passage that holds a word of the query, by its number."""
        N, found = len(self.passages), dict[int, float]()
        for word in dict.fromkeys(words(query)):
            at = self._found_in.get(word, [])
            idf = math.log(1 + (N - len(at) + 0.5) / (len(at) + 0.5))
            for i in at:
                f, length = self._counts[i][word], self._counts[i].total()
                found[i] = found.get(i, 0.0) + idf * f * (self.k1 + 1) / (f + self.k1 * (1 - self.b + self.b * length / self._mean))
        return found

    def best(self, query: str, n: int) -> list[str]:
        """The `n` passages with the highest scores, fewer where fewer hold a word of the query."""
        scores = self.scores(query)
        return [self.passages[i] for i in sorted(scores, key=lambda i: (-scores[i], i))[:n]]


def read_passages(places: Sequence[Path]) -> list[str]:
    """Every passage of files and folders, without repetitions. Raises UserError for a place that is not there or holds no text."""
    found: dict[str, None] = {}
    for place in places:
        if not place.exists():
            raise UserError(f"search: {place} is not there; name a folder or file of texts")
        files = sorted(p for p in place.rglob("*") if p.suffix in ENDINGS and p.is_file()) if place.is_dir() else [place]
        before = len(found)
        for file in files:
            found.update(dict.fromkeys(_of(file)))
        if not files or (len(found) == before and len(places) == 1):
            raise UserError(f"search: {place} holds no text; name a folder with {', '.join(ENDINGS)} files")
    return list(found)


def _of(file: Path) -> list[str]:
    if file.suffix == ".jsonl":
        found: list[str] = []
        for place, line in json_lines(file):
            text = line.get("text") if isinstance(line, dict) else None
            if not isinstance(text, str):
                raise UserError(f"search: {place}: has no text; write one field text on each line")
            found.append(f"{line['title']}: {text}" if line.get("title") else text)
        return found
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"search: {file} is not UTF-8 text; leave it out or convert it") from None
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", content) if part.strip()]


def search_tool(places: Sequence[Path], results: int = 3, longest: int = 600) -> Tool:
    """A tool named `search` over files and folders: the best `results` passages, each cut at `longest` characters."""
    index = Index(read_passages(places))

    def search(query: str) -> str:
        """Searches local documents and returns the passages that fit best."""
        found = index.best(query, results)
        return "\n".join(f"{i}. {text[:longest]}" for i, text in enumerate(found, 1)) or NOTHING

    return tool(search)
