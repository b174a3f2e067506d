"""How TUMIX ends and chooses with a model's help: a judge after each round, answers grouped by meaning, ties settled.

Invariants. Each helping call is in the attempt's ledger, with a role of its own (`judge`, `group`, `tie`). Where the budget has no room for
one, or what it says cannot be read, nothing is made of it: the exchange goes on, answers stay as they are spelled, a tie is drawn. A judge
and a vote look at the last turn of every agent and never at the gold answer.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from reasonry.core import LM, Cost, Message, Sampling, Segment
from reasonry.solve.calls import inner_seed, prompt_length, room
from reasonry.solve.exchange import Chosen, History, Moment, Ruling
from reasonry.solve.exchange.core import Choose, Rule
from reasonry.solve.exchange.stops import plain
from reasonry.solve.exchange.votes import Key, drawn_tie, keys, majority, share, top
from reasonry.solve.tumix_marks import FULL, Marks, last_marked
from reasonry.solve.tumix_words import Words, followed

ASIDE = Sampling(max_tokens=256)
"""Of a helping call."""
GROUP = (
    "\n\nThese answers were given:\n{answers}\n\nWhich of them say the same, whatever their spelling? Write the numbers, the same answers "
    "joined by commas and the groups separated by semicolons, between triple angle brackets, for example <<<1,3;2>>>."
)
TIE = (
    "\n\nThese answers tie:\n{answers}\n\nWhich of them is best supported by what was said? Write its number between triple angle "
    "brackets, for example <<<1>>>."
)


async def aside(lm: LM, messages: Sequence[Message], role: str, sampling: Sampling, moment: Moment, seed: int) -> Segment | None:
    """A helping call; `None` where the budget has no room for it whole."""
    p = await prompt_length(lm, messages, moment.left)
    tokens, unit = room(moment.left, Cost(), sampling.max_tokens, p)
    if unit or tokens < sampling.max_tokens:
        return None
    y = await lm.complete(messages, sampling.with_(seed=inner_seed(moment.seed, seed)))
    return Segment.of(y, role=role, model=lm.name)


def judge(lm: LM, words: Words, sampling: Sampling = ASIDE) -> Rule:
    """Term_LLM: a model reads the question and all answers and says whether to stop. To be asked after two rounds at the earliest."""

    async def rule(moment: Moment) -> Ruling:
        said = await aside(lm, words.judged(moment.problem, moment.history[-1]), "judge", sampling, moment, 0)
        return Ruling() if said is None else Ruling("judge" if words.stops(said.text) else None, (said,))

    return rule


def confident(least: float, key: Key) -> Rule:
    """A stop by confidence: the most frequent answer has at least this share of the agents."""
    return plain(lambda history: f"share of {least:g}" if share(history[-1], key) >= least else None)


def by_model(lm: LM, words: Words, key: Key, sampling: Sampling = ASIDE) -> Choose:
    """Majority of the last round: a model groups the answers that `key` keeps apart and takes one of those that tie. Calls only for that:
    none where all agree, the second only for a tie."""

    async def choose(moment: Moment) -> Chosen:
        last = moment.history[-1]
        found = sorted({s.answer for s, k in zip(last, keys(last, key), strict=True) if s.answer is not None and k is not None})
        firsts = list({key(answer): answer for answer in reversed(found)}.values())[::-1]
        calls: tuple[Segment, ...] = ()
        group: dict[Hashable, int] = {key(answer): i for i, answer in enumerate(firsts)}
        if len(firsts) > 1:
            messages = followed(moment.problem, GROUP.replace("{answers}", _numbered(firsts))).messages
            if said := await aside(lm, messages, "group", sampling, moment, 0):
                calls += (said,)
                group = {key(a): g for a, g in zip(firsts, read_groups(said.text, len(firsts), FULL), strict=True)}
        same: Key = lambda answer: group[key(answer)]  # noqa: E731
        tied = sorted(top(last, same), key=repr)
        winner: Hashable = None
        if len(tied) > 1:
            shown = [next(a for a in firsts if same(a) == g) for g in tied]
            text = words.said(last) + TIE.replace("{answers}", _numbered(shown))
            later = Moment(moment.problem, moment.history, moment.left.left(sum((c.cost for c in calls), Cost())), moment.seed)
            if said := await aside(lm, followed(moment.problem, text).messages, "tie", sampling, later, 1):
                calls += (said,)
                at = read_choice(said.text, len(shown), FULL)
                winner = None if at is None else tied[at]

        def settled(these: frozenset[Hashable], history: History, seed: int) -> Hashable:
            return drawn_tie(these, history, seed) if winner is None else winner

        chosen = await majority(same, tie=settled)(moment)
        return Chosen(chosen.said, chosen.choice, calls)

    return choose


def _numbered(answers: Sequence[str]) -> str:
    return "\n".join(f"{i}. {answer}" for i, answer in enumerate(answers, 1))


def read_groups(text: str, n: int, marks: Marks) -> list[int]:
    """The group of each of `n` answers, from a text such as `<<<1,3; 2>>>`; an answer that is not named stands alone."""
    found = list(range(n))
    for part in (last_marked(text, marks) or "").split(";"):
        named = [int(i) - 1 for i in re.findall(r"\d{1,4}", part) if 0 < int(i) <= n]
        for i in named[1:]:
            old, new = found[i], found[named[0]]
            found = [new if group == old else group for group in found]
    return found


def read_choice(text: str, n: int, marks: Marks) -> int | None:
    """Which of `n` answers a text chooses; `None` where it names none of them."""
    found = re.search(r"\d{1,4}", last_marked(text, marks) or "")
    return int(found[0]) - 1 if found and 0 < int(found[0]) <= n else None
