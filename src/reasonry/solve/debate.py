"""Multi-agent debate (Du et al. 2023; its failures: Wynn, Satija & Hadfield 2025, arXiv 2509.05396), with what is recommended against them.

    a_i^0, r_i^0 = LLM_i(x)                                                       each alone: answer with its reasoning
    a_i^t, r_i^t = LLM_i(x, own (a, r)^{t−1}, {(a_j, r_j)^{t−1} : j ≠ i})         t = 1 … T, all at once, or in turn
    y = majority(a^T)

Symbols: n agents, T rounds of debate after the answer given alone (T + 1 answers an agent; `Exchange.rounds` is T + 1, and the code of Du
et al. calls the same number rounds, so that its 2 is T = 1). This file is what debate adds to the exchange: how agents are asked, and the
verification gate. An agent is any solver; its own last turn stands as the assistant's in the chat, what others said is the next message.

Departures: 1. the words are ours. 2. ties are drawn evenly; the paper does not say. 3. the gate, weights of credibility, hidden names,
sparse views, critics and early stops make the paper's recommendations concrete; it names them without testing them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from reasonry.core import Budget, Cost, Message, Problem, Solver, Trajectory
from reasonry.solve.exchange.core import Ask, Said, Seen
from reasonry.tasks.tools import calculator

PAYOFF = (
    "You are paid for being right: 1 if your final answer equals the true answer exactly, 0 otherwise. Nothing else is paid for. Answer so "
    "that your pay is as large as possible."
)
"""The treatment of the paper's section 6.3, in our words."""
CRITIC = "Before you answer, look for the first mistake in each of these, and say where it is. Agree with nobody whose mistake you found."
OTHERS = "These are answers of others to the same question. Examine all of them; use their reasoning as advice."
AGAIN = "Now answer the question again, in the same form as before."
ALONE = "Look at your answer once more, step by step. " + AGAIN


def in_words(chances: Mapping[str, float] | None = None, named: bool = False, critic: bool = False) -> Ask:
    """The chat form, for models that read English. Others are numbered in the order they are shown in, or called by name; with `chances`
    (agent -> how often it is right, as calibrated) each is introduced with its own."""

    def ask(problem: Problem, seen: Seen) -> Problem:
        if not seen.own and not seen.peers:
            return problem
        told = [m for s in seen.own[:-1] for m in (Message("assistant", s.text), Message("user", AGAIN))]
        own = [*told, Message("assistant", seen.own[-1].text)] if seen.own else []
        if not seen.peers:
            return replace(problem, prompt=(*problem.messages, *own, Message("user", ALONE)))
        number = {name: i + 1 for i, name in enumerate(dict.fromkeys(s.agent for s in seen.peers))}

        def who(s: Said) -> str:
            name = s.agent if named else f"Answer {number[s.agent]}"
            return name + (f" (right in {100 * chances[s.agent]:.0f} % of questions like this)" if chances and s.agent in chances else "")

        said = "\n\n".join(f"{who(s)}:\n{s.text or s.answer}" for s in seen.peers)
        asked = "\n\n".join([OTHERS, said, *([CRITIC] if critic else []), AGAIN])
        return replace(problem, prompt=(*problem.messages, *own, Message("user", asked)))

    return ask


def as_revise(chances: Mapping[str, float] | None = None) -> Ask:
    """The form of the task `revise`, which the shipped models are taught: the question, `you said 41.`, and a line for each peer with how
    many times of ten it is right (5 unless `chances` says). It shows answers only."""

    def ask(problem: Problem, seen: Seen) -> Problem:
        if not seen.own and not seen.peers:
            return problem
        lines = [problem.messages[-1].content, *(f"you said {s.answer}." for s in seen.own[-1:] if s.answer is not None)]
        answered = [s for s in seen.peers if s.answer is not None]
        for i, s in enumerate(answered, 1):
            times = min(max(round(10 * (chances or {}).get(s.agent, 0.5)), 1), 9)
            lines.append(f"peer {i} (right {times} of 10): {s.answer}.")
        return replace(problem, prompt=(*problem.messages[:-1], Message("user", "\n".join([*lines, "answer again."]))))

    return ask


def bare(between: str = "\n") -> Ask:
    """No words at all: the question, the others' texts and one's own last, for models that are taught the form. Of a peer shown without
    its reasons the answer stands alone."""

    def ask(problem: Problem, seen: Seen) -> Problem:
        if not seen.own and not seen.peers:
            return problem
        own = [s.text for s in seen.own]
        parts = [problem.messages[-1].content, *(s.text or s.answer or "" for s in seen.peers), *(own or [""])]
        return replace(problem, prompt=(*problem.messages[:-1], Message("user", between.join(parts))))

    return ask


def paid(ask: Ask) -> Ask:
    """The correctness payoff as the system's message, or after what that says already."""

    def with_payoff(problem: Problem, seen: Seen) -> Problem:
        asked = ask(problem, seen)
        first, *rest = asked.messages
        if first.role != "system":
            return replace(asked, prompt=(Message("system", PAYOFF), first, *rest))
        return replace(asked, prompt=(Message("system", f"{first.content}\n\n{PAYOFF}"), *rest))

    return with_payoff


UNRELATED = (
    "A week has 7 days, so 3 weeks have 3*7=21 days.\n#### 21",
    "The shelf holds 12 books and 5 more are put on it: 12+5=17.\n#### 17",
    "Of 40 eggs 6 are broken, which leaves 40-6=34.\n#### 34",
    "Each of 9 boxes has 8 pencils: 9*8=72 pencils.\n#### 72",
    "The train left at 10 and took 3 hours: 10+3=13.\n#### 13",
    "Half of 58 is 58/2=29.\n#### 29",
)
"""Sound answers to other questions: what is shown in place of peers as a control."""

Check = Callable[[Problem, str], bool | None]
"""(problem without its answer, an answer's text) -> whether it stands up to a check made without peers; `None` where none can be made."""
_EQUATION = re.compile(r"(?<![\d.)*/+-])(-?[\d.]+(?:\s*[-+*/]\s*-?[\d.]+)+)\s*=\s*(-?\d[\d.,]*)")


def recalculated(read: Callable[[str], str | None]) -> Check:
    """Every equation of the text, worked out again with the calculator; all must hold, and the answer must be the last one's value.

    `None` for a text without equations. What it cannot see is an equation that holds and does not belong to the question.
    """

    def check(problem: Problem, text: str) -> bool | None:
        found = [(left, right.rstrip(".,").replace(",", "")) for left, right in _EQUATION.findall(text)]
        if not found:
            return None
        values = [calculator(left) for left, _ in found]
        holds = all(_same(value, right) for value, (_, right) in zip(values, found, strict=True))
        return holds and _same(values[-1], (read(text) or "").replace(",", ""))

    return check


def _same(value: str, other: str) -> bool:
    try:
        return abs(float(value) - float(other)) < 1e-9
    except ValueError:
        return False


def recalling(ask: Ask) -> Ask:
    """The same words; an agent's own last turn, and the question before it was dressed in words, are kept in `meta` for the gate."""

    def kept(problem: Problem, seen: Seen) -> Problem:
        own = next((s.text for s in reversed(seen.own) if s.answer is not None), None)
        question = [[m.role, m.content] for m in problem.messages]
        return replace(ask(problem, seen), meta={**problem.meta, "own_text": own, "question": question})

    return kept


@dataclass(frozen=True)
class Gated:
    """A solver that may leave its earlier answer only by its own check: where that fails for the old answer, or passes for the new one.

    Asked with `recalling`. Each check is a verifier call, kept in the cost of the turn's last model call; where the budget does not pay
    for both the old answer stays. The turn's record says `gate`: `same`, `held` or `let through`.
    """

    solver: Solver
    check: Check
    read: Callable[[str], str | None]
    name: str = "gated"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One turn."""
        own, checks = problem.meta.get("own_text"), Cost(verifier_calls=2)
        trace = await self.solver(problem, budget.left(checks), seed)
        new = self.read(trace.answer)
        if own is None or not trace.segments or new == self.read(own):
            return replace(trace, meta={**trace.meta, "gate": "same"})
        if budget.verifier_calls is not None and budget.verifier_calls < checks.verifier_calls:
            return replace(trace, answer=own, meta={**trace.meta, "gate": "held"})
        blind = replace(problem, prompt=tuple(Message(*m) for m in problem.meta["question"]), answer=None)
        free = self.check(blind, own) is False or (new is not None and self.check(blind, trace.answer) is True)
        last = trace.segments[-1]
        segments = (*trace.segments[:-1], replace(last, cost=last.cost + checks))
        told = {**trace.meta, "gate": "let through" if free else "held"}
        return replace(trace, segments=segments, cost=trace.cost + checks, answer=trace.answer if free else own, meta=told)


def seat_names(models: Sequence[str]) -> list[str]:
    """Names of a team's agents: the model's, numbered where it sits more than once."""
    seen: dict[str, int] = {}
    names = list[str]()
    for m in models:
        seen[m] = seen.get(m, 0) + 1
        names.append(m if models.count(m) == 1 else f"{m} {seen[m]}")
    return names
