"""When an exchange ends, as rules over what was said. A rule that makes no call is a function of the history (`plain`).

Invariant: rounds are counted with the first one, in which all answer alone; a rule is asked after every round but the last allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

from reasonry.core import Cost, Segment
from reasonry.core.seeds import inner_seed
from reasonry.solve.exchange.core import History, Moment, Rule, Ruling
from reasonry.solve.exchange.votes import Key, margin, top

Look = Callable[[History], str | None]
"""What was said -> why the exchange ends here; `None` for going on."""


def plain(look: Look) -> Rule:
    """A rule that calls nobody."""

    async def rule(moment: Moment) -> Ruling:
        return Ruling(look(moment.history))

    return rule


def never() -> Rule:
    """A fixed number of rounds."""
    return plain(lambda history: None)


def always() -> Rule:
    """After the first round, unless `not_before` says later."""
    return plain(lambda history: "always")


def unanimous(key: Key) -> Rule:
    """All gave the same answer; one that failed or gave none disagrees."""

    def look(history: History) -> str | None:
        keys = {key(s.answer) if s.answer is not None else None for s in history[-1]}
        return "unanimous" if len(keys) == 1 and None not in keys else None

    return plain(look)


def by_margin(least: float, key: Key) -> Rule:
    """The most frequent answer leads the next by at least this share of the agents."""
    return plain(lambda history: f"margin of {least:g}" if margin(history[-1], key) >= least else None)


def unchanged(rounds: int, key: Key) -> Rule:
    """The same single answer led in this many rounds one after another (TUMIX's Term_Rule with 2)."""

    def look(history: History) -> str | None:
        leads = [top(said, key) for said in history[-rounds:]]
        same = len(leads) == rounds and len(leads[0]) == 1 and all(lead == leads[0] for lead in leads)
        return f"unchanged for {rounds} rounds" if same else None

    return plain(look)


def not_before(rounds: int, rule: Rule) -> Rule:
    """The rule, asked only once this many rounds are made: models are too soon sure."""

    async def late(moment: Moment) -> Ruling:
        return Ruling() if len(moment.history) < rounds else await rule(moment)

    return late


def first_of(rules: Sequence[Rule]) -> Rule:
    """Ends where any of them does, asked in order: put those that cost nothing first. All that were asked are paid for."""

    async def asked(moment: Moment) -> Ruling:
        calls: tuple[Segment, ...] = ()
        for i, rule in enumerate(rules):
            spent = reduce(Cost.__add__, (s.cost for s in calls), Cost())
            ruling = await rule(replace(moment, left=moment.left.left(spent), seed=inner_seed(moment.seed, i)))
            calls += ruling.calls
            if ruling.why is not None:
                return Ruling(ruling.why, calls)
        return Ruling(None, calls)

    return asked


def both(rules: Sequence[Rule]) -> Rule:
    """Ends where every one of them does; the rest are not asked after one that goes on."""

    async def asked(moment: Moment) -> Ruling:
        calls: tuple[Segment, ...] = ()
        said: list[str] = []
        for i, rule in enumerate(rules):
            spent = reduce(Cost.__add__, (s.cost for s in calls), Cost())
            ruling = await rule(replace(moment, left=moment.left.left(spent), seed=inner_seed(moment.seed, i)))
            calls += ruling.calls
            if ruling.why is None:
                return Ruling(None, calls)
            said.append(ruling.why)
        return Ruling(" and ".join(said), calls)

    return asked
