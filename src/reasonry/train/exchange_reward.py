"""A reward against empty agreement: what an agent pays for going over to its peers without an argument of its own (arXiv 2509.05396, §7).

The paper asks to penalise unjustified agreement; this makes it a number. Over all turns of the exchange that give another answer than the
agent's own turn before (`tasks.same`), divided by the number of turns that could have:

    agreement = Σ [+ bonus where the new answer is right]  −  [penalty where it is a peer's answer and nothing in the text is new]

New is a line of the text, answers' marks left out, that neither the agent nor anybody it was shown had written. A turn that failed or has
no answer counts nothing. Departure: a flip verifies where the gold answer says so; a problem without one has no bonus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasonry.core import Problem, Trajectory
from reasonry.tasks.same import same_answer
from reasonry.train.reward import Signal, Signals, each


def agreement(penalty: float = 1.0, bonus: float = 1.0) -> Signal:
    """The signal `agreement`, in [−penalty, bonus]; 0 for an attempt without an exchange."""

    def one(problem: Problem, t: Trajectory) -> Signals:
        rounds = t.meta.get("exchange", {}).get("rounds", ())
        gold = None if problem.answer is None else same_answer(str(problem.answer))
        said: dict[str, Mapping[str, Any]] = {}
        total, turns = 0.0, 0
        for turn in (s for r in rounds for s in r if not s.get("error") and s["answer"] is not None):
            before = said.get(turn["agent"])
            if before is not None:
                turns += 1
                new, old = same_answer(turn["answer"]), same_answer(before["answer"])
                shown = [said[name] for _, name in turn["saw"] if name in said]
                if new != old:
                    total += bonus * (new == gold)
                    total -= penalty * (new in [same_answer(s["answer"]) for s in shown] and not _new(turn, [before, *shown]))
            said[turn["agent"]] = turn
        return {"agreement": total / turns if turns else 0.0}

    return each(one)


def _new(turn: Mapping[str, Any], earlier: list[Mapping[str, Any]]) -> bool:
    """Whether a line of the text was in nobody's that the agent had read."""
    known = {line for s in earlier for line in _lines(s["text"])}
    return any(line not in known for line in _lines(turn["text"]))


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("####")]
