"""ParaThinker's models: a base that thinks in one chain, and what supervised training makes of it on a teacher's paths.

All are taught here, from nothing: 93 thousand weights, a token a character. The base learns the chains; from it, with the same paths of the
same teacher and equally many steps, come the model with thought embeddings, one without, one with flattened positions, and a chain of the
same paths one after another.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path

from reasonry.core import Ids, Problem
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.thoughts import Controls, controls, with_controls, with_thoughts
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.parathinker_findings import Plan
from reasonry.papers.parathinker_task import (
    CANDIDATES,
    FACTORS,
    GAPS,
    PRODUCTS,
    RELAYS,
    SUMMANDS,
    SUMS,
    Find,
    chain,
    hesitation,
    in_a_row,
    path,
)
from reasonry.papers.taught import SMALL, TEMPLATE, Teaching, fresh, taught
from reasonry.tasks.skill import split_of
from reasonry.train.multipath import Traces
from reasonry.train.sft import Example

THINK, END_THINK = "<think>", "</think>"


def words(tags: int) -> Tokenizer:
    """A token a character, plain thoughts, and control tokens for so many paths."""
    plain = Tokenizer.train([], 261, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE, markup=[THINK, END_THINK])
    return with_controls(plain, tags)


def drawn(rng: random.Random) -> Problem:
    """A problem of the train split."""
    task = Find(relay=rng.random() < RELAYS)
    while True:
        draft = task.draw(rng)
        if split_of(draft.key) == "train":
            return draft.problem(task.name)


@cache
def known(tokenizer: Tokenizer) -> tuple[Controls, dict[str, int]]:
    """Its control tokens, and the token of every character that the task writes."""
    return controls(tokenizer), {
        c: tokenizer.id_of(c) for c in sorted({*"#$%&=!?>", *FACTORS[1:], *SUMMANDS, *CANDIDATES[1:], *PRODUCTS, *SUMS, *GAPS})
    }


def coded(tokenizer: Tokenizer, text: str) -> Ids:
    """The tokens of a text of the task, as `encode` gives them but many times faster."""
    codes = known(tokenizer)[1]
    return tuple(codes[c] for c in text)


@cache
def _turn(tokenizer: Tokenizer) -> int:
    """What the chat template adds to a question."""
    return tokenizer.id_of("<|im_start|>")


def opened(tokenizer: Tokenizer, problem: Problem, text: str = "") -> Ids:
    """The question with a chain begun."""
    return (*_prompt(tokenizer, problem), tokenizer.id_of(THINK), *coded(tokenizer, text))


def _prompt(tokenizer: Tokenizer, problem: Problem) -> Ids:
    return (*coded(tokenizer, str(problem.prompt)), _turn(tokenizer))


def in_one(tokenizer: Tokenizer, problem: Problem, text: str, before: str = "", after: str = "") -> Example:
    """A chain and the answer after it; `before` and `after` stand around the chain and carry no loss."""
    c, start = known(tokenizer)[0], opened(tokenizer, problem)
    parts = [
        (start[:-1], False), (start[-1:], True), (coded(tokenizer, before), False), (coded(tokenizer, text), True),
        (coded(tokenizer, after), False), ((tokenizer.id_of(END_THINK), c.summary, *coded(tokenizer, str(problem.answer)), c.end), True),
    ]  # fmt: skip
    return Example(tuple(i for ids, _ in parts for i in ids), tuple(on for ids, on in parts for _ in ids))


def side_by_side(
    tokenizer: Tokenizer, problem: Problem, paths: Sequence[str], tags: Sequence[int], cut: int | None = None, stride: int = 0
) -> Example:
    """Paths and the summary; paths are cut after `cut` characters, their closers then forced. `stride`: path i starts that much later."""
    made = Traces(_prompt(tokenizer, problem), tuple(coded(tokenizer, p) for p in paths), coded(tokenizer, str(problem.answer)))
    return made.example(known(tokenizer)[0], tags, cut, stride)


def chains(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """What the base learns, without end."""
    for i in count():
        rng = random.Random(f"parathinker/chains/{seed}/{i}")
        problem = drawn(rng)
        yield in_one(tokenizer, problem, chain(problem, rng), hesitation(rng), hesitation(rng))


def traces(seed: int, plan: Plan) -> Iterator[tuple[Problem, list[str], random.Random]]:
    """The teacher's paths, without end: `plan.trained` of them mostly, sometimes fewer."""
    for i in count():
        rng = random.Random(f"parathinker/traces/{seed}/{i}")
        problem = drawn(rng)
        n = plan.trained if rng.random() < plan.whole else rng.randrange(1, plan.trained)
        yield problem, [path(problem, rng) for _ in range(n)], rng


def parallel(tokenizer: Tokenizer, seed: int, plan: Plan, stride: int = 0) -> Iterator[Example]:
    """Paths side by side, their tags drawn at random; a share of them cut where one has ended, as a policy would."""
    for problem, paths, rng in traces(seed, plan):
        cut = sorted(map(len, paths))[rng.randrange(len(paths))] if rng.random() < plan.cut else None
        yield side_by_side(tokenizer, problem, paths, rng.sample(range(1, plan.tags + 1), len(paths)), cut, stride)


def one_after_another(tokenizer: Tokenizer, seed: int, plan: Plan) -> Iterator[Example]:
    """The same paths as one chain."""
    for problem, paths, _ in traces(seed, plan):
        yield in_one(tokenizer, problem, in_a_row(paths))


def models(folder: Path, seed: int, plan: Plan) -> dict[str, Path]:
    """Every model of one seed, by name."""
    tokenizer = words(plan.known)
    shape = replace(SMALL, vocab_size=tokenizer.vocab_size)

    def teaching(steps: int) -> Teaching:
        return Teaching(steps, plan.lr, batch=plan.batch)

    base = taught(folder / "base", fresh(shape, seed), tokenizer, chains(tokenizer, seed), teaching(plan.base_steps), seed)

    def tuned(name: str, examples: Iterator[Example], thoughts: bool) -> Path:
        decoder = load_decoder(base)
        start = with_thoughts(decoder, plan.known) if thoughts else decoder
        return taught(folder / name, start, tokenizer, examples, teaching(plan.steps), seed)

    return {
        "base": base,
        "para": tuned("para", parallel(tokenizer, seed, plan), True),
        "no-T": tuned("no-T", parallel(tokenizer, seed, plan), False),
        "flat": tuned("flat", parallel(tokenizer, seed, plan, plan.room), True),
        "chain": tuned("chain", one_after_another(tokenizer, seed, plan), False),
    }
