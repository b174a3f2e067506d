"""Best of n: sample several answers, score each, take the best.

The score is a function (`Score`): the model's own mean log-probability, a model asked to judge, a reward model, or anything else that
looks at a problem and its candidates and never at the gold answer. A judge's calls are segments of the attempt (role `judge`) and its
cost is the attempt's; sampling holds back what judging will take, so the budget pays for both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from reasonry.core import LM, Budget, Cost, Message, Problem, Sampling, Segment, Stop, Task, Trajectory, UserError
from reasonry.lm.scorer import Scorer
from reasonry.solve.calls import Reserve, inner_seed, nothing, prompt_length, sample_until, shortfall
from reasonry.solve.select import Choice, as_meta, by_score


@dataclass(frozen=True, slots=True)
class Scored:
    """What a score says of each candidate, and the calls it made to find out."""

    values: tuple[float | None, ...]
    """Higher is better; `None`: not scored (no room left, or an unreadable judgement), and never taken over a scored one."""
    calls: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A way to score candidates: a function, and how much room it needs."""

    of: Callable[[Problem, Sequence[Segment], Budget, int], Awaitable[Scored]]
    """(problem, candidates, what the budget leaves, seed) -> a value per candidate."""
    reserve: Reserve = nothing
    """What judging one candidate takes at most."""


MARKS = 8
"""Tokens that a reward model's template may put around question and answer beyond the solver's own."""


async def _mean_logprob(problem: Problem, candidates: Sequence[Segment], left: Budget, seed: int) -> Scored:
    if missing := next((c.model for c in candidates if not c.logprobs), None):
        raise UserError(f"best-of-n: {missing} gives no log-probabilities to score by; use score=judge, or a model that gives them")
    return Scored(tuple(sum(c.logprobs) / len(c.logprobs) for c in candidates if c.logprobs))


MEAN_LOGPROB = Score(_mean_logprob)
"""The mean log-probability per token under the sampler: free, and it needs no oracle. Raises UserError for an LM that reports none."""


def judge_prompt(problem: Problem, text: str) -> tuple[Message, ...]:
    """Asks whether a solution is right or wrong, in the form the pocket models are taught (`tasks.skills.judge`)."""
    question = "\n".join(m.content for m in problem.messages)
    solution = "\n".join(line for line in text.splitlines() if not line.startswith("#### ")) or text
    return (Message("user", f"{question}\nsolution:\n{solution}\nis it right or wrong?"),)


def lm_judge(lm: LM, sampling: Sampling | None = None, prompt: Callable[[Problem, str], tuple[Message, ...]] = judge_prompt) -> Score:
    """A model as the judge: 1 where its verdict is `right`, 0 for `wrong`, unscored where neither can be read.

    The verdict is what follows the last `#### `, or else the last of the two words. `sampling` is greedy with 64 tokens unless given.
    Each candidate costs one call and one verifier call; the same text is judged once.
    """
    how = sampling or Sampling(max_tokens=64, temperature=0.0)

    async def ask(messages: tuple[Message, ...], seed: int) -> Segment:
        y = await lm.complete(messages, how.with_(seed=seed))
        return Segment.of(replace(y, cost=y.cost + Cost(verifier_calls=1)), role="judge", model=lm.name)

    async def score(problem: Problem, candidates: Sequence[Segment], left: Budget, seed: int) -> Scored:
        asked: dict[str, tuple[Message, ...]] = {}
        need = Cost()
        for text in dict.fromkeys(c.text for c in candidates):
            messages = prompt(problem, text)
            one = Cost(await prompt_length(lm, messages, left), how.max_tokens, calls=1, verifier_calls=1)
            if shortfall(left, need, one):
                break
            asked[text], need = messages, need + one
        calls = await asyncio.gather(*(ask(messages, inner_seed(seed, i)) for i, messages in enumerate(asked.values())))
        verdicts = {text: read_verdict(call.text) for text, call in zip(asked, calls, strict=True)}
        return Scored(tuple(verdicts.get(c.text) for c in candidates), tuple(calls))

    def reserve(prompt_tokens: int, answer_tokens: int) -> Cost:
        asking = 32  # tokens of the judge's own words around question and solution
        return Cost(prompt_tokens + answer_tokens + asking, how.max_tokens, calls=1, verifier_calls=1)

    return Score(score, reserve)


def read_verdict(text: str) -> float | None:
    """1 for `right`, 0 for `wrong`: after the last `#### ` where there is one, else the last of the words; `None` where neither stands."""
    found = re.findall(r"\b(right|wrong)\b", text.rpartition("#### ")[2].lower())
    return None if not found else float(found[-1] == "right")


def reward_score(scorer: Scorer) -> Score:
    """A reward model's number, the same text scored once. Its pass over the candidates is one call of the attempt, with its cost."""

    async def score(problem: Problem, candidates: Sequence[Segment], left: Budget, seed: int) -> Scored:
        texts: list[str] = []
        need = Cost()
        for c in {c.text: c for c in candidates}.values():
            if shortfall(left, need, one := Cost(_tokens(c, left), verifier_calls=1)):
                break
            texts, need = [*texts, c.text], need + one
        found = await asyncio.to_thread(scorer.scores, problem.messages, texts)
        value = dict(zip(texts, found.values, strict=True))
        said = ", ".join("failed" if v is None else f"{v:.4g}" for v in found.values)
        call = Segment(None, None, said, None, Stop.EOS, found.cost, role="judge", model=scorer.name)
        return Scored(tuple(value.get(c.text) for c in candidates), (call,) if texts else ())

    def reserve(prompt_tokens: int, answer_tokens: int) -> Cost:
        return Cost(prompt_tokens + answer_tokens + MARKS, verifier_calls=1)

    return Score(score, reserve)


def _tokens(candidate: Segment, left: Budget) -> int:
    """About what scoring a candidate hands to the scorer, where the budget counts it."""
    return 0 if left.tokens is None else len(candidate.context or ()) + candidate.cost.completion_tokens + MARKS


@dataclass(frozen=True)
class BestOfN:
    """Samples up to `n` answers and takes the one with the highest score."""

    lm: LM
    task: Task
    """Reads the answers out of the texts, for the record; its judge is never asked."""
    n: int = 8
    score: Score = MEAN_LOGPROB
    sampling: Sampling = Sampling(max_tokens=1024)
    """Of each answer; the seed is replaced by one derived from the attempt's."""
    name: str = "best-of-n"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"best-of-n: n is {self.n} but at least one answer is needed; raise n")

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """One attempt; scores, answers and the index taken are in `meta`.

        A lone answer is not scored; where no score came back, the first is taken. A text without an answer is never taken over one that
        has one: what a budget cut off after a word or two is often the likeliest text of all.
        """
        trace, unit = await sample_until(
            self.lm, problem.messages, self.n, self.sampling, budget, seed, Trajectory(problem.id), self.score.reserve
        )
        candidates = trace.segments
        if not candidates:
            return trace.finish(Stop.BUDGET, "", unit)
        answers = [self.task.extract(c.text) for c in candidates]
        if len(candidates) == 1:
            return trace.finish(
                Stop.BUDGET if unit else candidates[0].stop, candidates[0].text, unit, **as_meta(Choice(0, 1.0), answers, [None])
            )
        scored = await self.score.of(problem, candidates, budget.left(trace.cost), inner_seed(seed, self.n))
        choice = by_score(_of_answers(scored.values, answers))
        taken = candidates[choice.index or 0]
        trace = trace.beside(scored.calls)
        return trace.finish(Stop.BUDGET if unit else taken.stop, taken.text, unit, **as_meta(choice, answers, scored.values))


def _of_answers(scores: Sequence[float | None], answers: Sequence[str | None]) -> list[float | None]:
    """The scores without those of texts that hold no answer, where any text holds one."""
    if all(answer is None for answer in answers):
        return list(scores)
    return [score if answer is not None else None for score, answer in zip(scores, answers, strict=True)]
