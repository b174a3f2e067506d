"""Parallel paths to learn from: a teacher's traces of one problem, and the answer they should lead to (ParaThinker, arXiv 2509.04475).

    prompt ⊕ <think i_1> path </think i_1> ⊕ … ⊕ <think i_P> path </think i_P> ⊕ <summary> answer </summary>

Every path begins at position l_x, the prompt's length; the summary at one past the longest path's last. Prompt and openers carry no loss,
for they are forced when the model is used; paths, closers and summary do. Tags i_1 … i_P are drawn anew for every row and epoch out of more
than there are paths, so that a model learns tags beyond the paths of any row.

Departure: a share of rows is cut where one of their paths ends, as happens when a termination policy ends them all. The closers of paths
that were cut are forced, so they carry no loss. The authors' data has whole paths only, and their engine meets cut ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from reasonry.core import Ids, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.thoughts import Controls
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.masks import PROMPT, SUMMARY
from reasonry.tasks.loaders import json_lines
from reasonry.train.sft import Example

PATHS, ANSWER = "paths", "summary"
"""Columns of a row."""
Assign = Callable[[int, int, random.Random], tuple[int, ...]]
"""(paths P, tags J ≥ P, random numbers) -> a tag in 1 … J for each path, all different."""


def drawn(paths: int, tags: int, rng: random.Random) -> tuple[int, ...]:
    """The paper's rule: P of the J tags, each choice and order as likely as any other."""
    return tuple(rng.sample(range(1, tags + 1), paths))


def collated(paths: int, tags: int, rng: random.Random) -> tuple[int, ...]:
    """The authors' code: tags 1 … P in order; with probability .3, and from 4 paths on, two of the paths get the last two tags instead.

    Where those are among 1 … P already (never in the authors' data: 8 tags, at most 6 paths) nothing is replaced.
    """
    given = list(range(1, paths + 1))
    if 4 <= paths <= tags - 2 and rng.random() < 0.3:
        for path, tag in zip(rng.sample(range(paths), 2), (tags - 1, tags), strict=True):
            given[path] = tag
    return tuple(given)


@dataclass(frozen=True, slots=True)
class Traces:
    """One problem's paths and answer as token ids, without their control tokens. Made once; an example of it differs by epoch."""

    prompt: Ids
    paths: tuple[Ids, ...]
    summary: Ids

    @property
    def longest(self) -> int:
        """Positions that its example takes."""
        return len(self.prompt) + max(map(len, self.paths)) + 2 + len(self.summary) + 2

    def example(self, c: Controls, tags: Sequence[int], cut: int | None = None, stride: int = 0) -> Example:
        """The row to train on, path i tagged `tags[i]`.

        `cut`: longer paths end after so many tokens, their closers forced. `stride`: each path begins so many positions after the one
        before it (the ablation with flattened positions) instead of at the same. Raises UserError for a tag that `c` has no token for.
        """
        if bad := [tag for tag in tags if not 1 <= tag <= c.tags]:
            raise UserError(f"tags: {bad[0]} is none of this model's, 1 to {c.tags}; give the model more (lm.thoughts.equipped)")
        l_x = len(self.prompt)
        ids, mask, positions, groups = list(self.prompt), [False] * l_x, list(range(l_x)), [PROMPT] * l_x

        def add(opener: int, body: Ids, closer: int, ends: bool, start: int, group: int) -> None:
            ids.extend((opener, *body, closer))
            mask.extend((False, *[True] * len(body), ends))
            positions.extend(range(start, start + len(body) + 2))
            groups.extend([group] * (len(body) + 2))

        for i, (path, tag) in enumerate(zip(self.paths, tags, strict=True)):
            whole = cut is None or len(path) <= cut
            add(c.opens[tag - 1], path if whole else path[:cut], c.closes[tag - 1], whole, l_x + i * stride, tag)
        add(c.summary, self.summary, c.end, True, 1 + max(positions), SUMMARY)
        return Example(tuple(ids), tuple(mask), tuple(positions), tuple(groups))


def vary(
    rows: Sequence[Example | Traces], c: Controls, tags: int, unfinished: float, seed: int, epoch: int, assign: Assign = drawn
) -> list[Example]:
    """The rows as examples of one epoch, in their order: paths given some of the tags 1 to `tags`, and a share `unfinished` of those with
    paths cut where one of their paths, drawn by lot, ends. A function of (seed, epoch, row)."""
    made = []
    for i, row in enumerate(rows):
        if isinstance(row, Traces):
            rng = random.Random(inner_seed(seed, epoch, i))
            given = assign(len(row.paths), tags, rng)
            cut = len(rng.choice(row.paths)) if rng.random() < unfinished else None
            row = row.example(c, given, cut)
        made.append(row)
    return made


def widest(file: Path) -> int:
    """The most paths of any row of a .jsonl file; 0 where no row has any."""
    rows = (row for _, row in json_lines(file) if isinstance(row, Mapping) and isinstance(row.get(PATHS), list))
    return max((len(row[PATHS]) for row in rows), default=0)


def read_traces(row: Mapping[str, Any], where: str, tokenizer: Tokenizer, c: Controls, prompt: Ids) -> Traces:
    """The paths (a list of texts) and the summary (a text) of a row after its encoded prompt. Raises UserError, beginning with `where`,
    for others, and for a text that has control tokens of its own."""
    paths, summary = row[PATHS], row.get(ANSWER)
    if not isinstance(paths, list) or not paths or not all(isinstance(p, str) and p.strip() for p in paths):
        raise UserError(f"{where}: {PATHS} is {str(paths)[:60]!r} but must be a list of at least one text, none of them empty")
    if not isinstance(summary, str) or not summary.strip():
        raise UserError(f"{where}: {ANSWER} is {str(summary)[:60]!r} but must be the text that ends the thinking; add it to the row")
    bodies = tuple(tokenizer.encode(text) for text in paths)
    made = Traces(prompt, bodies, tokenizer.encode(summary))
    if found := c.ids & set(chain(*bodies, made.summary)):
        token = tokenizer.decode((min(found),), skip_special=False)
        raise UserError(f"{where}: a path or the summary has {token} in it, which training puts there itself; take it out")
    return made
