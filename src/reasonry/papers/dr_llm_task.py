"""Chains of operations modulo seven, in levels: the more operations, the harder, for each needs the one before it.

    3 + 5 * 4 - 2 =  4 5 .      3 + 5 = 1; 1 · 4 = 4; 2 - 4 = 5: the last two values, then an end
    < 3 6 4 =        3 4 6 .    the digits in order: a second kind, out of domain

`- d` takes the value from d. Every operation has two names, so that a question can be asked again in other words, by which luck shows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

MODULUS = 7
ADD, TIMES, FROM = (7, 10), (8, 11), (9, 12)
"""Each operation's two names."""
SORT, IS, END, PAD = 13, 14, 15, 16
VOCABULARY = 17
LEVELS = (1, 2, 3)
"""Operations of a chain."""
TAUGHT = (2, 3, 2)
"""How often each level is taught, beside the others."""
SORTED = (2, 3, 4)
"""Digits to be sorted."""
HELD = {"test": 0, "validation": 1}
"""Which fifth of the chains a part has; the others are for training."""


@dataclass(frozen=True)
class Item:
    """A question and the ids of its answer, the end included."""

    id: str
    level: int
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def applied(x: int, op: int, d: int) -> int:
    """An operation, by either name, on x."""
    return (x + d if op in ADD else x * d if op in TIMES else d - x) % MODULUS


def chain(start: int, steps: tuple[tuple[int, int], ...]) -> Item:
    """The question for these (name, digit) operations on a digit."""
    values = [start]
    for op, d in steps:
        values.append(applied(values[-1], op, d))
    prompt = (start, *(t for step in steps for t in step), IS)
    return Item(".".join(map(str, prompt)), len(steps), prompt, (*values[-2:], END))


def ordered(digits: tuple[int, ...]) -> Item:
    """The question for these digits in order."""
    prompt = (SORT, *digits, IS)
    return Item(".".join(map(str, prompt)), len(digits), prompt, (*sorted(digits), END))


def plain(id: int) -> int:
    """The first name of an operation; other tokens as they are."""
    return next((names[0] for names in (ADD, TIMES, FROM) if id in names), id)


def again(item: Item) -> Item:
    """The same chain, every operation by its other name."""
    other = {a: b for names in (ADD, TIMES, FROM) for a, b in (names, names[::-1])}
    start, rest = item.prompt[0], item.prompt[1:-1]
    return chain(start, tuple((other[op], d) for op, d in zip(rest[::2], rest[1::2], strict=True)))


def split_of(prompt: tuple[int, ...]) -> str:
    """Which part a question is in, whatever its words."""
    part = random.Random(".".join(str(plain(t)) for t in prompt)).randrange(5)
    return next((name for name, held in HELD.items() if held == part), "train")


def draw(kind: str, split: str, rng: random.Random, level: int) -> Item:
    """An item of a kind (`chain` or `sort`), split and level."""
    while True:
        if kind == "sort":
            item = ordered(tuple(rng.randrange(MODULUS) for _ in range(level)))
        else:
            ops = [rng.choice(rng.choice((ADD, TIMES, FROM))) for _ in range(level)]
            item = chain(rng.randrange(MODULUS), tuple((op, rng.randrange(int(op in TIMES), MODULUS)) for op in ops))
        if split_of(item.prompt) == split:
            return item


def items(kind: str, split: str, n: int, seed: int) -> list[Item]:
    """`n` different items, levels in turn."""
    rng, levels = random.Random(f"dr-llm/{kind}/{split}/{seed}"), LEVELS if kind == "chain" else SORTED
    found: dict[str, Item] = {}
    for i in range(20 * n):
        if len(found) < n:
            item = draw(kind, split, rng, levels[i % len(levels)])
            found.setdefault(item.id, item)
    return list(found.values())


def lesson(rng: random.Random) -> Item:
    """What the base model is taught: chains, and one in eight times sorting."""
    if rng.random() < 1 / 8:
        return draw("sort", "train", rng, rng.choice(SORTED))
    return draw("chain", "train", rng, rng.choices(LEVELS, TAUGHT)[0])
