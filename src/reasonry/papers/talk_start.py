"""The nine small models of the debate experiment: three strengths, each taught to revise among peers that are right with chance c.

A model's strength is how good the solutions were that it was taught with: on a share of the operations' values (`Plan.doubtful`, larger
for weaker ones, and holding the stronger one's) they are wrong with a chance of their own, half of them always in the same way. It is
then taught more, on such solutions and three times as many revisions. A revision shows the question, up to two peers' answers and an own
one, made by a process and not by a model, and demonstrates the right answer where anybody shows it, else the own one. What a peer's word is
worth is what these texts say: each peer is right with chance c; wrong peers mostly made the same mistake (`TOGETHER`). Nobody tells a
model to follow or to resist. All models see the same own answers, right with chance `OWN`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path

from reasonry.core import Message
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.talk_task import CHAINS, apply, values, worked, wrong_values
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.tasks.skill import split_of
from reasonry.train.sft import Example, chat_example

STRENGTHS = ("weak", "middle", "strong")
OWN = 0.65
"""How often the own answer of a revision is right."""
TOGETHER = 0.7
"""How often a wrong peer makes the mistake that other wrong peers of the same text make."""
PEERS = (0, 1, 2, 2, 2, 2, 2, 2)
"""Numbers of peers, one drawn for each text."""


def _drawn(rng: random.Random) -> tuple[str, bool]:
    """A chain of the train split, and whether its answers stand bare."""
    while True:
        draft = CHAINS.draw(rng)
        if split_of(draft.key) == "train":
            return draft.key, rng.random() < 0.5


def believed(value: int, operation: str, doubtful: float, rng: random.Random) -> int:
    """The value that a demonstration shows after a step."""
    right, digest = apply(value, operation), sha256(f"believed {value}{operation}".encode()).digest()
    if digest[0] >= 256 * doubtful or rng.random() >= 0.2 + 0.6 * digest[1] / 255:
        return right
    return (right + 1 + (digest[2] % 9 if digest[3] < 128 else rng.randrange(9))) % 10


def solution(rng: random.Random, doubtful: float) -> tuple[str, str]:
    """A question of either kind, solved as well as the strength has it."""
    chain, bare = _drawn(rng)
    value, found = int(chain[0]), list[int]()
    for operation in chain[1:]:
        value = believed(value, operation, doubtful, rng)
        found.append(value)
    return chain + "?" * bare, worked(chain, found)


def revision(rng: random.Random, c: float) -> tuple[str, str]:
    """A question with an own answer and peers', and what is demonstrated: derivations, or bare answers."""
    chain, bare = _drawn(rng)
    right = worked(chain, values(chain))

    def wrong() -> str:
        return worked(chain, wrong_values(chain, rng))

    same = wrong()
    peers = [right if rng.random() < c else same if rng.random() < TOGETHER else wrong() for _ in range(rng.choice(PEERS))]
    own = right if rng.random() < OWN else wrong()
    said = right if any(text[-1] == right[-1] for text in (own, *peers)) else own
    if not bare:
        return "\n".join([chain, *peers, own]), said
    mine = own[-1] if rng.random() < 0.5 else own
    return "\n".join([f"{chain}?", *(text[-1] for text in peers), mine]), said[-1]


def documents(tokenizer: Tokenizer, seed: int, doubtful: float, c: float | None) -> Iterator[Example]:
    """Texts without end: a strength's solutions alone, or one for every three revisions among peers right with chance `c`."""
    for i in count():
        rng = random.Random(f"talk/{seed}/{doubtful}/{c}/{i}")
        asked, said = solution(rng, doubtful) if c is None or i % 4 == 0 else revision(rng, c)
        yield chat_example(tokenizer, (Message("user", asked), Message("assistant", said)))


def start(folder: Path, strength: str, doubtful: float, c: float, steps: int, further: int, batch: int, lr: float, seed: int) -> Path:
    """The checkpoint folder of one of the nine; made once, in `folder`, over the solver of its strength."""
    tokenizer = characters()
    solving, all_texts = (documents(tokenizer, seed, doubtful, prior) for prior in (None, c))
    alone = taught(folder / strength, fresh(SMALL, seed), tokenizer, solving, Teaching(steps, batch=batch), seed)
    return taught(folder / f"{strength}-{c:g}", load_decoder(alone), tokenizer, all_texts, Teaching(further, lr, batch=batch), seed)
