"""Parallel thinking for models that were not made for it: P completions side by side, then one call that is shown them all (re-prefill).

What any endpoint can do. The paths are whole texts of a model that does not know it is one of several; the summary reads them as text, so
everything is computed again, and handed over again. Bounded like every solver: the summary's part is held back while paths are sampled;
where only one path can be paid for, or no summary, what the paths said is put to a vote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reasonry.core import LM, Budget, Cost, Message, Problem, Sampling, Segment, Stop, Task, Trajectory
from reasonry.core.seeds import inner_seed
from reasonry.solve.calls import prompt_length, room, sample_until, shortfall
from reasonry.solve.select import as_meta, vote

INTRODUCED = "Several lines of thought on the question above were followed independently:\n\n"
ASKED = (
    "Compare them: which of them check what they found? Then give the one answer that they support best, in the form the question asks for."
)
BEGIN = "Begin your answer with: "


def shown(messages: Sequence[Message], texts: Sequence[str], lead: str) -> tuple[Message, ...]:
    """The summary's prompt: the question, then all lines of thought in one message."""
    thoughts = "\n\n".join(f"[{i}]\n{text}" for i, text in enumerate(texts, 1))
    wish = f"\n{BEGIN}{lead}" if lead else ""
    return (*messages, Message("user", f"{INTRODUCED}{thoughts}\n\n{ASKED}{wish}"))


def led(messages: Sequence[Message], lead: str) -> tuple[Message, ...]:
    """The question with a path's lead-in asked for."""
    *before, last = messages
    return (*before, replace(last, content=f"{last.content}\n{BEGIN}{lead}"))


@dataclass(frozen=True)
class Parallel:
    """See `ParaThinker`, whose fields these are."""

    lm: LM
    task: Task
    P: int
    B: int
    leads: Sequence[str]
    summary: bool
    lead: str
    sampling: Sampling

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt."""
        S, thinking = self.sampling.max_tokens, self.sampling.with_(max_tokens=self.B)
        rest = budget
        if self.summary:  # what the paths are not needed for: its own question, its answer, its call
            held = Cost(await prompt_length(self.lm, shown(problem.messages, (), self.lead), budget), S, calls=1)
            rest = budget.left(held) if shortfall(budget.left(held), Cost(), Cost(0, 1, calls=1)) is None else budget
        trace, unit = await self._paths(problem, rest, thinking, seed)
        if not trace.segments:
            return trace.finish(Stop.BUDGET, "", unit)
        texts = [s.text for s in trace.segments]
        answers = [self.task.extract(t) for t in texts]
        choice = vote(answers)
        meta: dict[str, Any] = {**as_meta(choice, answers), "lengths": [s.cost.completion_tokens for s in trace.segments]}
        taken = trace.segments[choice.index or 0]
        made = None
        if self.summary and len(texts) > 1:
            messages = shown(problem.messages, texts, self.lead)
            tokens, short = room(budget, trace.cost, S, await prompt_length(self.lm, messages, budget))
            unit = short or unit
            if not short:
                made = await self.lm.complete(messages, self.sampling.with_(max_tokens=tokens, seed=inner_seed(seed, self.P)))
        if made is None:
            return trace.finish(Stop.BUDGET if unit else taken.stop, taken.text, unit, **meta, mode="vote")
        trace = trace.add(Segment.of(made, model=self.lm.name))
        if made.stop is Stop.LENGTH and (spent := budget.spent(trace.cost)):
            unit = spent
        return trace.finish(Stop.BUDGET if unit else made.stop, made.text, unit, **meta, mode="re-prefill")

    async def _paths(self, problem: Problem, budget: Budget, sampling: Sampling, seed: int) -> tuple[Trajectory, str | None]:
        """The paths, as many as the budget pays for."""
        trace = Trajectory(problem.id)
        if not self.leads:
            trace, unit = await sample_until(self.lm, problem.messages, self.P, sampling, budget, seed, trace, self._read_again)
            return replace(trace, segments=tuple(replace(s, role="think") for s in trace.segments)), unit
        asked = [led(problem.messages, self.leads[i % len(self.leads)]) for i in range(self.P)]
        needs = [Cost(2 * await prompt_length(self.lm, m, budget), 2 * sampling.max_tokens, calls=1) for m in asked]
        n = next((n for n in range(self.P, 0, -1) if shortfall(budget, Cost(), sum(needs[:n], Cost())) is None), 0)
        if n == 0:
            return trace, shortfall(budget, Cost(), needs[0])
        seeds = [inner_seed(seed, i) for i in range(n)]
        made = await asyncio.gather(*(self.lm.complete(m, sampling.with_(seed=s)) for m, s in zip(asked, seeds, strict=False)))
        unit = None if n == self.P else shortfall(budget, Cost(), sum(needs[: n + 1], Cost()))
        return trace.beside(tuple(Segment.of(c, role="think", model=self.lm.name) for c in made)), unit

    def _read_again(self, prompt_tokens: int, answer_tokens: int) -> Cost:
        """What showing such a path to the summary takes, with a few tokens for its number."""
        return Cost(prompt_tokens=answer_tokens + 6) if self.summary else Cost()
