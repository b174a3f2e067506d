"""RSD's trace as an answer: what a student says with a teacher at its side, so that the pair can be compared with either alone.

The trajectory has one segment for the student, whose own tokens may be trained (the teacher's are masked: it did not sample them), and one
for what the teacher spent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reasonry.core import Budget, Problem, Segment, Stop, Trajectory
from reasonry.core.seeds import inner_seed
from reasonry.synth.reverse_speculative import Extend, Pair, Rule, by_lookahead, write

LOG_RARE = math.log(0.01)


@dataclass(frozen=True)
class ReverseSpeculative:
    """Answers once. `meta` has `fallback_rate` and `rare`, the share of tokens to which the student gives less than 1 %."""

    pair: Pair
    rule: Rule = Rule()  # noqa: RUF009 (a frozen value)
    extend: Extend = by_lookahead
    name: str = "reverse-speculative"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt. The budget bounds what both models spend together."""
        t = await write(self.pair, problem.messages, self.rule, inner_seed(seed, 0), self.extend, budget)
        text = await self.pair.student.decode(t.ids)
        own = tuple(not k.teachers for k in t.tokens)
        logs = tuple(k.log_student if k.log_drawn is None else k.log_drawn for k in t.tokens)
        said = Segment(t.prompt, t.ids, text, logs, t.stop, t.student, mask=own, model=self.pair.student.name)
        spent = f"{t.teacher.completion_tokens} tokens drafted"
        drafted = Segment(None, None, spent, None, Stop.EOS, t.teacher, role="teacher", model=self.pair.teacher.name)
        trace = Trajectory(problem.id).beside((said, drafted))
        rare = sum(k.log_student < LOG_RARE for k in t.tokens) / max(len(t.tokens), 1)
        return trace.finish(t.stop, text, t.spent, fallback_rate=t.fallback_rate, rare=rare)
