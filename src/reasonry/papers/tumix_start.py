"""The model TUMIX's experiment begins with: a small decoder taught what every agent does, alone and when it is shown what others said.

Demonstrations are honest about ability: who has no search tool says `<?>` of a thing, who has no code says it of a product. A revision
follows one rule: use your own tools where they help, with numbers that others looked up if you cannot; else take the most frequent answer
that was made with a tool; else the most frequent. Peers in demonstrations are made up by the same rules, with the slips of a small model,
not sampled from it. Only questions of the train split are used, each with an encyclopaedia of its own; the first demonstrations are of
agents alone.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from reasonry.core import Message, Problem
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.grpo_tcr_start import characters
from reasonry.papers.taught import SMALL, Teaching, fresh, taught
from reasonry.papers.tumix_task import HIGH, KINDS, LOW, NOISE, Asked, draw, expression, truth
from reasonry.solve.exchange import Said, Seen
from reasonry.solve.tumix_words import LETTERS, SINGLE_BYTES
from reasonry.tasks.skill import split_of
from reasonry.train.sft import Example, chat_example

SHAPE = replace(SMALL, max_position=1024)
"""90 thousand parameters, over prompts of up to a thousand bytes."""
REVISIONS, JUDGED = 0.5, 0.06
"""Shares of the demonstrations."""
PLAINLY = 0.3
"""How often an agent with code, but no hint to use it, does without."""
MISLED = 0.2
"""How often steering without hints names another way than the right one."""
SLIP = 0.25
"""The chance that a made-up peer errs in a sum it writes straight away."""
MISCOPIED = (0.0, 0.3, 0.8)
"""The chance that a made-up peer writes another number than the one it found or computed, drawn for each group; so a revision learns to
trust its own tool."""
FIRST = 12_000
"""Demonstrations before the first revision."""
STEER = tuple(SINGLE_BYTES.steering.values())

Turns = list[tuple[str, str | None]]
"""What an agent writes, turn by turn, and what a tool gave back."""


@dataclass(frozen=True, slots=True)
class World:
    """A question with what the two indices say."""

    asked: Asked
    text: str
    right: Mapping[str, int]
    noisy: Mapping[str, int]
    index: str
    """The agent's own: `exact`, `noisy` or `both`."""

    def found(self, thing: str) -> str:
        """What a search gives back."""
        both = f"{self.right[thing]}/{self.noisy[thing]}"
        return {"exact": f"{self.right[thing]}", "noisy": f"{self.noisy[thing]}", "both": both}[self.index]

    def read(self) -> Mapping[str, int]:
        """The numbers an agent takes from its searches: of two, the exact index's, which comes first."""
        return self.noisy if self.index == "noisy" else self.right


def world(rng: random.Random) -> World:
    """A question of the train split and a fresh encyclopaedia."""
    while True:
        asked, text = draw(rng.choice(KINDS), rng)
        if split_of(f"{asked.terms}" if asked.kind == "word" else asked.text) == "train":
            break
    right = {thing: rng.randint(LOW, HIGH) for thing in asked.things}
    noisy = {thing: rng.randint(LOW, HIGH) if rng.random() < NOISE else value for thing, value in right.items()}
    return World(asked, text, right, noisy, rng.choice(("exact", "noisy", "both")))


UNKNOWN: Turns = [("<?>", None)]


def _slipped(value: int, chance: float, rng: random.Random) -> int:
    return value if rng.random() >= chance else max(value + rng.choice((-10, -2, -1, 1, 2, 10)), 0)


def _direct(w: World, slips: bool, rng: random.Random) -> Turns:
    """Straight away: what was found, or a small sum; `<?>` for a product."""
    if w.asked.kind == "fact":
        return [(f"<{truth(w.asked, w.read())}>", None)]
    if w.asked.kind != "word":
        return UNKNOWN
    return [(f"<{_slipped(truth(w.asked, {}), SLIP, rng) if slips else truth(w.asked, {})}>", None)]


def _steps(w: World) -> Turns:
    if w.asked.kind != "word":
        return UNKNOWN
    total, text = w.asked.terms[0], str(w.asked.terms[0])
    for term in w.asked.terms[1:]:
        total += term
        text += f"{term:+d}={total}"
    return [(f"{text}<{total}>", None)]


def _coded(w: World, values: Mapping[str, int]) -> Turns:
    result = truth(w.asked, values)
    return [(f"{{{expression(w.asked, values)}}}", str(result)), (f"<{result}>", None)]


def _searched(w: World, things: Sequence[str]) -> Turns:
    return [(f"[{thing}]", w.found(thing)) for thing in things]


def alone(mode: str, w: World, slips: bool, rng: random.Random) -> Turns:
    """What an agent does by itself; with `slips`, as a made-up peer would."""
    kind, things = w.asked.kind, w.asked.things
    if things and mode not in (LETTERS["S"], LETTERS["CS"]):
        return UNKNOWN
    if mode == LETTERS["Base"]:
        return _direct(w, slips, rng)
    if mode == LETTERS["CoT"]:
        return _steps(w)
    if mode == LETTERS["CoT-code"]:
        return _coded(w, {})[:1]
    if mode in (LETTERS["C"], LETTERS["C+"]):
        plainly = mode == LETTERS["C"] and rng.random() < PLAINLY
        return _direct(w, slips, rng) if plainly else _coded(w, {})
    searched = _searched(w, things)
    codes = mode == LETTERS["CS"] and kind != "fact"
    return [*searched, *(_coded(w, w.read()) if codes else _direct(w, slips, rng))]


def told(turns: Turns) -> str:
    """An answer as others are shown it; code without interaction answers with its output."""
    text = "".join(said + (back or "") for said, back in turns)
    return (text if text.endswith(">") else f"{text}<{turns[-1][1]}>")[-(SINGLE_BYTES.shown or 0) :]


_FOUND = re.compile(r"\[(\w+)\](\d+)")
_ANSWER = re.compile(r"<(\d+)>$")


def _most(found: Sequence[str]) -> str | None:
    return Counter(found).most_common(1)[0][0] if found else None


def revised(mode: str, w: World, peers: Sequence[str], rng: random.Random) -> Turns:
    """What an agent does that is shown its peers, by the rule at the top of this file."""
    kind, things = w.asked.kind, w.asked.things
    codes = mode in (LETTERS["CoT-code"], LETTERS["C"], LETTERS["C+"], LETTERS["CS"])
    searches = mode in (LETTERS["S"], LETTERS["CS"])
    marked = [(m[1], peer) for peer in peers if (m := _ANSWER.search(peer))]
    made = _most([a for a, peer in marked if ("[" in peer if kind == "fact" else "}" in peer)])
    if searches and (codes or kind == "fact"):
        return alone(mode, w, False, rng)
    if codes and kind != "fact":
        shown = {t: _most([m[2] for peer in peers for m in _FOUND.finditer(peer) if m[1] == t]) for t in things}
        if all(shown.values()):
            coded = _coded(w, {t: int(v) for t, v in shown.items() if v})
            return coded[:1] if mode == LETTERS["CoT-code"] else coded
    if kind == "word" and made is None:
        return alone(mode, w, False, rng)
    answer = made or _most([a for a, _ in marked])
    return alone(mode, w, False, rng) if answer is None else [(f"<{answer}>", None)]


def _miscopied(text: str, chance: float, rng: random.Random) -> str:
    """With that chance another digit somewhere in the answer."""
    found = _ANSWER.search(text)
    if found is None or rng.random() >= chance:
        return text
    at = rng.randrange(found.start(1), found.end(1))
    return text[:at] + rng.choice("123456789") + text[at + 1 :]


def peers_of(w: World, rng: random.Random) -> list[str]:
    """What a made-up group said."""
    modes = list(LETTERS.values())
    some = rng.sample(modes, rng.randint(1, 4)) if rng.random() < 0.5 else modes
    made: list[str] = []
    chance = rng.choice(MISCOPIED)
    for _ in range(rng.choice((2, 3, 5, 8, 15))):
        seen = replace(w, index=rng.choice(("exact", "noisy", "both")))
        again = made and rng.random() < 0.3
        turns = revised(rng.choice(some), seen, made, rng) if again else alone(rng.choice(some), seen, True, rng)
        made.append(_miscopied(told(turns), chance, rng))
    rng.shuffle(made)
    return made


def steered(w: World, hints: bool, rng: random.Random) -> str:
    """The guidance of the steering call: which way to take."""
    right = {"arithmetic": "C+", "fact": "S", "mixed": "CS", "word": rng.choice(("CoT", "C+"))}[w.asked.kind]
    right = LETTERS[right]
    return rng.choice([LETTERS[kind] for kind in ("CoT", "C+", "S", "CS")]) if not hints and rng.random() < MISLED else right


def prompt(question: str, peers: Sequence[str], letter: str) -> str:
    """The whole prompt, as the solver writes it."""
    problem = SINGLE_BYTES.ask(Problem("", question), Seen((), tuple(Said("", 0, peer, None) for peer in peers)))
    return problem.messages[-1].content + letter


def document(tokenizer: Tokenizer, rng: random.Random, alone_yet: bool = False) -> Example:
    """One demonstration; with `alone_yet` of an agent that is shown nobody."""
    w = world(rng)
    share = 1.0 if alone_yet else rng.random()
    peers = peers_of(w, rng) if share < REVISIONS + JUDGED else []
    if share < JUDGED:
        most = _most([m[1] for peer in peers if (m := _ANSWER.search(peer))])
        said = "y" if most == str(truth(w.asked, w.right)) else "n"
        return chat_example(tokenizer, (Message("user", prompt(w.text, peers, SINGLE_BYTES.judge)), Message("assistant", said)))
    mode = rng.choice([*LETTERS.values(), *STEER])
    if mode in STEER:
        turns: Turns = [(steered(w, mode == STEER[1], rng), None)]
    else:
        turns = revised(mode, w, peers, rng) if peers else alone(mode, w, False, rng)
    chat = [Message("user", prompt(w.text, peers, mode))]
    for said, back in turns:
        chat.append(Message("assistant", said))
        if back is not None:
            chat.append(Message("user", back))
    return chat_example(tokenizer, tuple(chat if chat[-1].role == "assistant" else chat[:-1]))


def documents(tokenizer: Tokenizer, seed: int) -> Iterator[Example]:
    """Documents without end."""
    return (document(tokenizer, random.Random(f"tumix/{seed}/{i}"), i < FIRST) for i in count())


def start(folder: Path, teaching: Teaching, seed: int) -> Path:
    """The checkpoint folder of the model after teaching; made once, in `folder`."""
    tokenizer = characters()
    return taught(folder, fresh(SHAPE, seed), tokenizer, documents(tokenizer, seed), teaching, seed)
