"""Strategic grams: the phrases in which reasoning says what it is about to try, mined from correct solutions (HICRA, arXiv 2509.03646).

    word n-grams (n = 3 … 5)  ->  embed, cluster  ->  CDF(c), solutions with a gram of cluster c  ->  the clusters with the highest CDF

The idea: a strategic move occurs *across* many solutions, but only now and then inside one. Matching is on words, whatever their case and
spacing, and gives character spans. Symbols: n gram length, c cluster, CDF cluster document frequency.

Invariants. CDF counts solutions, not occurrences. No gram holds a number or a variable, or crosses a line, a sentence or a formula. What
was found is a value that can be saved: extract from the model *before* training and keep it, or the measure moves with what it measures.

Departures. 1. The paper's sentence encoder is the caller's `embed`; by default grams are embedded by their letters and words, which needs
no download and joins spellings, not meanings. 2. Which text is template or final answer is said by `ANSWER_FORMS` and the caller's own
patterns (the paper does not say how it strips them). 3. Clusters are KMeans'; their number, 100, is a third party's.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from reasonry.core import Missing, UserError
from reasonry.core.run import write_whole
from reasonry.probe.gram_embeddings import letters

Embed = Callable[[Sequence[str]], NDArray[np.float64]]
"""Grams -> one row each; near rows mean nearly the same."""
Span = tuple[int, int]
"""Start and end in characters."""
ANSWER_FORMS = (
    r"^\s*####.*$", r"\\boxed\{[^\n]*\}", r"(?i)\b(?:so |thus |hence |therefore,? )?the (?:final |correct )?answer is\b[^\n]*",
    r"(?i)\bfinal answer\b[^\n]*", r"<\|[^|]*\|>", r"</?\w+>",
)  # fmt: skip
"""Final-answer formats and markup, as regular expressions over lines; a gram may not touch them."""
CLUSTERS = 100
MANY = 50_000
"""Grams above which clustering goes by small batches."""
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_JOIN = re.compile(r"[ \t,'\"’“”*_-]*")
_ONE_LETTER = ("a", "i")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text, as it is compared."""

    text: str
    start: int
    end: int
    clause: int
    """Words of one clause stand together: no number, variable, line end or mark but a comma, quote or hyphen between them."""


def words(text: str) -> list[Word]:
    """The words of a text with their places; case, ligatures and kinds of apostrophe do not tell words apart."""
    found: list[Word] = []
    clause, end = 0, 0
    for m in _WORD.finditer(text):
        word = unicodedata.normalize("NFKC", m[0]).casefold().replace("’", "'")
        variable = len(m[0]) == 1 and word not in _ONE_LETTER and unicodedata.name(m[0], "").startswith(("LATIN", "GREEK"))
        if variable or not _JOIN.fullmatch(text, end, m.start()):
            clause += 1
        if not variable:
            found.append(Word(word, m.start(), m.end(), clause))
        end = m.end()
        clause += variable
    return found


def grams_of(text: str, n: tuple[int, int]) -> Iterator[tuple[str, int, int]]:
    """Every gram of n[0] to n[1] words with the places of its first word and past its last in `words(text)`."""
    found = words(text)
    for i in range(len(found)):
        for length in range(n[0], n[1] + 1):
            j = i + length
            if j > len(found) or found[j - 1].clause != found[i].clause:
                break
            yield " ".join(w.text for w in found[i:j]), i, j


@dataclass(frozen=True, slots=True)
class Cluster:
    """Grams that say nearly the same."""

    grams: tuple[str, ...]
    """The commonest first."""
    documents: int = 0
    """CDF: solutions with at least one of them; 0 for phrases that a user listed."""
    example: str = ""
    """A line in which one stands."""


@dataclass(frozen=True, slots=True)
class Match:
    """One occurrence."""

    start: int
    end: int
    cluster: int
    """Index in `clusters`, patterns counting on after them."""


@dataclass(frozen=True)
class StrategicGrams:
    """What counts as planning. Made by `extract`, or from a user's phrases by `listed`; saved and loaded as JSON."""

    clusters: tuple[Cluster, ...]
    """By falling CDF."""
    patterns: tuple[str, ...] = ()
    """Regular expressions, matched on the raw text whatever the case."""
    documents: int = 0
    """Solutions it was extracted from."""
    coverage: float = 0.0
    """Share of them with at least one of the grams."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it was extracted."""

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Gram -> its cluster."""
        return {gram: c for c, cluster in enumerate(self.clusters) for gram in cluster.grams}

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({gram.count(" ") + 1 for gram in self.index}, reverse=True)

    @cached_property
    def _compiled(self) -> list[re.Pattern[str]]:
        return [re.compile(p, re.IGNORECASE) for p in self.patterns]

    def _found(self, text: str) -> Iterator[Match]:
        """Everything that matches, overlaps and all; at each word the longest first."""
        found = words(text)
        for i in range(len(found)):
            for length in self._lengths:
                j = i + length
                if j <= len(found) and found[j - 1].clause == found[i].clause:
                    cluster = self.index.get(" ".join(w.text for w in found[i:j]))
                    if cluster is not None:
                        yield Match(found[i].start, found[j - 1].end, cluster)
        for p, pattern in enumerate(self._compiled, len(self.clusters)):
            yield from (Match(*m.span(), p) for m in pattern.finditer(text) if m[0])

    def matches(self, text: str) -> list[Match]:
        """Occurrences: from left to right the longest, none overlapping another. What frequencies are counted over."""
        kept: list[Match] = []
        for m in sorted(self._found(text), key=lambda m: (m.start, -m.end)):
            if not kept or m.start >= kept[-1].end:
                kept.append(m)
        return kept

    def spans(self, text: str) -> list[Span]:
        """The union of everything that matches, as disjoint spans in order."""
        union: list[Span] = []
        for m in sorted(self._found(text), key=lambda m: m.start):
            if union and m.start <= union[-1][1]:
                union[-1] = union[-1][0], max(union[-1][1], m.end)
            else:
                union.append((m.start, m.end))
        return union

    def save(self, path: Path) -> None:
        """Writes it as JSON, whole."""
        write_whole(path, json.dumps({"strategic_grams": 1, **asdict(self)}, indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> StrategicGrams:
    """A saved extraction (`.json`), or a text file with a phrase or a /regular expression/ a line. Raises UserError for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); make it with reasonry probe grams, or list phrases in a text file") from None
    if path.suffix != ".json":
        return listed(text.splitlines())
    try:
        return msgspec.json.decode(text, type=StrategicGrams)
    except msgspec.MsgspecError as error:
        raise UserError(f"{path}: holds no strategic grams ({error}); make it with reasonry probe grams") from None


def listed(lines: Iterable[str]) -> StrategicGrams:
    """A user's own phrases, each a cluster, and /regular expressions/. Raises UserError for an empty list or a bad expression."""
    phrases, patterns = list[str](), list[str]()
    for line in filter(None, map(str.strip, lines)):
        if len(line) > 2 and line[0] == line[-1] == "/":
            try:
                re.compile(line[1:-1])
            except re.error as error:
                raise UserError(f"phrases: {line} is no regular expression ({error}); mend it") from None
            patterns.append(line[1:-1])
        else:
            found = words(line)
            if not found or found[0].clause != found[-1].clause:
                raise UserError(f"phrases: {line!r} is not a phrase of words alone; write it so, or as a /regular expression/")
            phrases.append(" ".join(w.text for w in found))
    if not phrases and not patterns:
        raise UserError("phrases: there is none; write one a line")
    return StrategicGrams(tuple(Cluster((p,)) for p in dict.fromkeys(phrases)), tuple(patterns), settings={"source": "listed"})


def extract(
    texts: Sequence[str],
    n: tuple[int, int] = (3, 5),
    top: float = 0.2,
    clusters: int | None = None,
    min_documents: int = 5,
    embed: Embed = letters,
    strip: Sequence[str] = (),
    seed: int = 0,
) -> StrategicGrams:
    """The grams of the `top` share of clusters by CDF, of correct solutions.

    `clusters`: left out, 100, or a third of the grams where these are few. `min_documents`: a gram of fewer solutions is not looked at.
    `strip`: regular expressions of a template, beside `ANSWER_FORMS`. Raises UserError where nothing is left, Missing without scikit-learn.
    """
    if not 0 < top <= 1 or not 1 <= n[0] <= n[1] or (clusters is not None and clusters < 1) or min_documents < 1:
        raise UserError(
            f"extract: top is {top:g}, n is {n}, clusters is {clusters}, min_documents is {min_documents}; "
            "use 0 < top ≤ 1, 1 ≤ n[0] ≤ n[1], and at least one of each"
        )
    texts = [stripped(text, strip) for text in texts]
    frequency: Counter[str] = Counter()
    for text in texts:
        frequency.update({gram for gram, _, _ in grams_of(text, n)})
    grams = sorted(g for g, count in frequency.items() if count >= min_documents)
    if not grams:
        raise UserError(
            f"extract: no phrase of {n[0]} to {n[1]} words stands in {min_documents} of {len(texts)} solutions; "
            "give more, or lower min_documents"
        )
    labels = _cluster(embed(grams), min(CLUSTERS, math.ceil(len(grams) / 3)) if clusters is None else clusters, seed)
    cluster_of = dict(zip(grams, labels, strict=True))
    documents: Counter[int] = Counter()
    example: dict[int, str] = {}
    for text in texts:
        here = {cluster_of[gram] for gram, _, _ in grams_of(text, n) if gram in cluster_of}
        documents.update(here)
        for c in here - example.keys():
            example[c] = _line(text, next((i, j) for gram, i, j in grams_of(text, n) if cluster_of.get(gram) == c))
    members: dict[int, list[str]] = {}
    for gram in sorted(grams, key=lambda g: (-frequency[g], g)):
        members.setdefault(cluster_of[gram], []).append(gram)
    order = sorted(members, key=lambda c: (-documents[c], members[c][0]))[: math.ceil(top * len(members))]
    kept = StrategicGrams(tuple(Cluster(tuple(members[c]), documents[c], example[c]) for c in order))
    settings = {"source": "extracted", "n": list(n), "top": top, "clusters": len(members), "min_documents": min_documents, "seed": seed}
    covered = sum(bool(kept.spans(text)) for text in texts) / len(texts)
    return StrategicGrams(kept.clusters, (), len(texts), covered, settings)


def stripped(text: str, patterns: Sequence[str] = ()) -> str:
    """The text with final answers, markup and the caller's patterns made line ends, which no gram crosses."""
    for pattern in (*ANSWER_FORMS, *patterns):
        text = re.sub(pattern, "\n", text, flags=re.MULTILINE)
    return text


def placebo(like: StrategicGrams, texts: Sequence[str], seed: int = 0) -> StrategicGrams:
    """As many words of `texts` in random grams as `like` has in strategic ones: the control that shows whether *which* tokens matters.

    Grams are drawn at random from those of the same lengths that never touch a strategic span (the paper draws from all).
    `settings["share"]` says how much of as many was found; raises UserError where it is less than half.
    """
    lengths = [gram.count(" ") + 1 for gram in like.index] or [3]
    n = min(lengths), max(lengths)
    places: dict[str, list[tuple[int, int, int]]] = {}
    touching: set[str] = set()
    wanted = 0
    for d, text in enumerate(texts):
        found, spans = words(text), like.spans(text)
        inside = [any(a <= w.start < b for a, b in spans) for w in found]
        wanted += sum(inside)
        for gram, i, j in grams_of(text, n):
            places.setdefault(gram, []).append((d, i, j))
            if any(inside[i:j]):
                touching.add(gram)
    free = sorted(places.keys() - touching)
    covered: set[tuple[int, int]] = set()
    chosen: list[str] = []
    for k in np.random.default_rng(seed).permutation(len(free)):
        new = {(d, w) for d, i, j in places[free[k]] for w in range(i, j)} - covered
        if new and len(covered) + len(new) <= wanted:
            covered |= new
            chosen.append(free[k])
    if len(covered) < 0.5 * wanted:
        raise UserError(f"placebo: other phrases make up {len(covered)} words, but strategic ones {wanted}; give more text, or fewer grams")
    settings = {"source": "placebo", "seed": seed, "share": len(covered) / max(wanted, 1)}
    return StrategicGrams(tuple(Cluster((gram,)) for gram in chosen), documents=len(texts), settings=settings)


def _cluster(rows: NDArray[np.float64], k: int, seed: int) -> list[int]:
    try:
        from sklearn.cluster import KMeans, MiniBatchKMeans
    except ImportError:
        raise Missing("scikit-learn", "grams", "clustering phrases") from None
    if k >= len(rows):
        return list(range(len(rows)))
    kind: Any = MiniBatchKMeans if len(rows) > MANY else KMeans
    return [int(c) for c in kind(n_clusters=k, n_init=3, random_state=seed).fit_predict(rows)]


def _line(text: str, at: tuple[int, int]) -> str:
    found = words(text)
    start, end = found[at[0]].start, found[at[1] - 1].end
    begin, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    whole = text[begin : stop if stop >= 0 else len(text)].strip()
    return whole if len(whole) <= 120 else f"…{text[max(start - 30, begin) : end + 30].strip()}…"
