"""The model Delethink's RL experiment starts from: a small decoder, trained from nothing for a few minutes on relay workings.

One document in three is a query and a whole working, of which 30 % restate the state, as in the brief; the others are a query and a piece
that begins anywhere, what a boundary leaves, half of them in either style. So both styles are known in full and from the middle, and what
a boundary took away (in the delta style, a register) can only be guessed. Only train-split problems are used. Every character is a token,
so chunks and carry-overs are counted in characters.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.delethink_rl_task import LINE, RESTATE, relay, run
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.tasks.skill import Skill
from reasonry.train.sft import Example

SEEN = 23
"""Leading tokens of a piece that are read, not predicted: more than a line, so that a restated register file is among them."""
PIECE = 4 * LINE
"""Most tokens of a piece."""
PIECES = 2 / 3
SHAPE = SMALL


def document(tokenizer: Tokenizer, task: Skill, rng: random.Random) -> Example:
    """A query with a whole working, or with a piece."""
    problem = task.draw_from("train", rng)
    context, piece = tokenizer.encode(tokenizer.render(problem.messages)), rng.random() < PIECES
    text, final = run(problem.meta["start"], problem.meta["ops"], rng.random() < (0.5 if piece else RESTATE))
    whole = (*tokenizer.encode(f"{text}\n#### {final}"), min(tokenizer.eos_ids))
    start = rng.randrange(1, len(whole) - SEEN) if piece else 0
    part = whole[start : start + PIECE] if piece else whole
    return Example((*context, *part), (*[False] * len(context), *(i >= SEEN or not piece for i in range(len(part)))))


def documents(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Documents without end."""
    task = relay()
    return (document(tokenizer, task, random.Random(f"relay/{seed}/{i}")) for i in count())


def start(folder: Path, steps: int, seed: int = 0) -> Path:
    """The checkpoint folder of the model after `steps` steps; made once, in `folder`."""
    tokenizer = characters()
    return taught(folder, fresh(SHAPE, seed), tokenizer, documents(tokenizer, seed), Teaching(steps), seed)
