"""What VGB is tried on: the two published constructions, balanced brackets by a taught model, and sentences that must do without a letter.

Brackets. Words of H of `( ) [ ]`, H told by the prompt. Demonstrations follow the rules but for slips, so the model's words are seldom
balanced; the tree of all its words is small enough to be known whole, and with it every law and every true value. Verifiers of these trees
are explicit: the true values, wrong at random, late, zero where they should not be, or fitted on rollouts.

Sentences. Short plain ones of a fixed vocabulary in which `e` is frequent; a whole stretch of them without `e` is rare.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

import numpy as np
import torch

from reasonry.core import Message
from reasonry.lm.decoder import Decoder
from reasonry.lm.reward_model import RewardModel
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal
from reasonry.solve.vgb_law import Array, Known
from reasonry.train.sft import Example, chat_example

BRACKETS = "()[]"
SLIP = 0.5
"""Chance that a demonstrated bracket is any of the four."""
DETERMINERS = ("the", "a", "one", "that", "this")
ADJECTIVES = ("red", "big", "little", "old", "quick", "green", "wet", "calm")
NOUNS = ("horse", "dog", "bird", "snake", "cat", "fish", "sheep", "boat", "king")
VERBS = ("sees", "likes", "has", "hates", "wants", "finds", "meets", "kicks")
WORDS = frozenset((*DETERMINERS, *ADJECTIVES, *NOUNS, *VERBS))


def abc(H: int, error: float = 1.0) -> Known:
    """Example 3.1: letters a, b, c, τ = no c, V̂ = (1 + ε)V* after an a inside."""
    free, value = np.ones(1), [np.full(1, (2 / 3) ** H)]
    for h in range(1, H + 1):
        free = (free[:, None] * np.array([1.0, 1.0, 0.0])).ravel()
        value.append(free * (2 / 3) ** (H - h) * np.where((np.arange(3**h) % 3 == 0) & (h < H), 1 + error, 1.0))
    return Known(tuple(np.full((3**h, 3), 1 / 3) for h in range(H)), tuple(value))


def delayed(tree: Known) -> Known:
    """V̂ says of a block what was true before it (Example 3.2)."""
    true = tree.true()
    return tree.with_values([true[0], *(np.repeat(v, tree.k) for v in true[: tree.depth - 1])])


def bits(H: int) -> Known:
    """Example 3.2: bits, τ = exp((mean − 1)/0.1), late values."""
    ones = np.zeros(1)
    for _ in range(H):
        ones = (ones[:, None] + np.array([0.0, 1.0])).ravel()
    pi = tuple(np.full((2**h, 2), 0.5) for h in range(H))
    return delayed(Known(pi, (*(np.zeros(2**h) for h in range(H)), np.exp((ones / H - 1) / 0.1))))


def wrong(tree: Known, share: float, rng: np.random.Generator, factor: float = 4.0) -> Known:
    """The true values, but on a share of prefixes: `factor` times smaller where there is hope, and where there is none the mean of its
    depth's hopeful ones."""
    found: list[Array] = []
    for v in tree.true()[:-1]:
        hit = rng.random(v.shape) < share
        found.append(np.where(hit, np.where(v > 0, v / factor, v[v > 0].mean()), v))
    return tree.with_values(found)


def blinded(tree: Known, share: float, rng: np.random.Generator) -> Known:
    """The true values, but 0 on a share of the prefixes that have hope."""
    return tree.with_values([np.where(rng.random(v.shape) < share, 0.0, v) for v in tree.true()[:-1]])


def clipped(tree: Known, least: float) -> Known:
    """No value inside below `least`."""
    return tree.with_values([np.maximum(v, least) for v in tree.value[:-1]])


def balanced(word: str) -> bool:
    """Whether every bracket is closed by its like, in order."""
    open_: list[str] = []
    for c in word:
        if c in "([":
            open_.append(c)
        elif not open_ or open_.pop() + c not in ("()", "[]"):
            return False
    return not open_


def demonstrated(H: int, rng: random.Random) -> str:
    """A word of length H, with slips."""
    word, open_ = "", list[str]()
    for left in range(H, 0, -1):
        opens = not open_ or (len(open_) < left and rng.random() < 0.5)
        c = rng.choice("([") if opens else {"(": ")", "[": "]"}[open_[-1]]
        if rng.random() < SLIP:
            c = rng.choice(BRACKETS)
        if c in "([":
            open_.append(c)
        elif open_:
            open_.pop()
        word += c
    return word


def asked(H: int) -> tuple[Message, ...]:
    """The question for a word of length H."""
    return (Message("user", str(H)),)


def bracket_documents(tokenizer: Tokenizer, sizes: tuple[int, ...], seed: int) -> Iterator[Example]:
    """Demonstrations without end."""
    for i in count():
        rng = random.Random(f"vgb/brackets/{seed}/{i}")
        H = rng.choice(sizes)
        yield chat_example(tokenizer, (*asked(H), Message("assistant", demonstrated(H, rng))))


def words_of(H: int) -> list[str]:
    """All words of length H, in the order of a `Known` tree's leaves."""
    found = [""]
    for _ in range(H):
        found = [w + c for w in found for c in BRACKETS]
    return found


@torch.no_grad()
def bracket_tree(decoder: Decoder, tokenizer: Tokenizer, H: int) -> Known:
    """The model's tree: π over the four brackets after every prefix, renormalised; τ = balanced; true values inside."""
    prompt, ids = tokenizer.encode(tokenizer.render(asked(H))), [tokenizer.encode(c)[0] for c in BRACKETS]
    rows = torch.tensor([(*prompt, *tokenizer.encode(w)) for w in words_of(H - 1)])
    parts = []
    for part in rows.split(1024):
        hidden = decoder(part, torch.arange(part.shape[1]).expand_as(part), causal()).last[:, len(prompt) - 1 :]
        parts.append(decoder.logits(hidden)[..., ids].double().softmax(-1))
    chances = torch.cat(parts).numpy()
    pi = tuple(chances[:: 4 ** (H - 1 - h), h] for h in range(H))
    tau = np.array([float(balanced(w)) for w in words_of(H)])
    tree = Known(pi, (*(np.zeros(4**h) for h in range(H)), tau))
    return tree.with_values(tree.true()[:-1])


@torch.no_grad()
def fitted(tree: Known, model: RewardModel) -> Known:
    """The tree with a fitted process verifier's values."""
    H = tree.depth
    found = [np.ones(1)]
    for h in range(1, H):
        rows = [model.encode(asked(H), w) for w in words_of(h)]
        scores = torch.cat([model(rows[i : i + 2048]) for i in range(0, len(rows), 2048)])
        found.append(scores.double().sigmoid().numpy())
    return tree.with_values(found)


def drawn_words(tree: Known, n: int, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Rollouts: n words with their τ."""
    law, words = tree.reach()[-1], words_of(tree.depth)
    return [(words[i], float(tree.value[-1][i])) for i in rng.choice(len(law), n, p=law / law.sum())]


def sentence(rng: random.Random) -> str:
    """A plain sentence."""

    def thing() -> str:
        middle = f" {rng.choice(ADJECTIVES)}" if rng.random() < 0.5 else ""
        return rng.choice(DETERMINERS) + middle + " " + rng.choice(NOUNS)

    return f"{thing()} {rng.choice(VERBS)} {thing()}. "


def text_documents(tokenizer: Tokenizer, seed: int, length: int = 72) -> Iterator[Example]:
    """Stretches of sentences without end."""
    for i in count():
        rng = random.Random(f"vgb/text/{seed}/{i}")
        text = ""
        while len(text) < length:
            text += sentence(rng)
        yield chat_example(tokenizer, (Message("user", "say"), Message("assistant", text[:length])))


def known_words(text: str) -> float:
    """The share of whole words that are of the vocabulary; the last, which may be cut, is left out."""
    words = text.replace(".", " ").split(" ")[:-1]
    words = [w for w in words if w]
    return sum(w in WORDS for w in words) / len(words) if words else 0.0
