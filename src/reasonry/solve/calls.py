"""How a solver's model calls are seeded and bounded: the mechanism that every solver shares.

Invariants. Call `i` of an attempt gets `inner_seed(seed, i)`, so call 0 of every solver is the very call that `single` makes. No call
is made that could break a limit in tokens, completion tokens, calls or verifier calls; FLOPs, seconds and money are known only after
a call and are looked at between calls.

The unit `tokens` counts a prompt each time it is handed to the model, as an endpoint bills it, cached or not. Bounding it needs the
prompt's length beforehand, hence an LM that can `encode`; `completion_tokens` needs nothing.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from reasonry.core import LM, Budget, Cost, Prompt, Sampling, Segment, Stop, Trajectory
from reasonry.core.seeds import inner_seed

COUNTABLE = ("tokens", "completion_tokens", "calls", "verifier_calls")
"""Units whose need is known before a call."""

Reserve = Callable[[int, int], Cost]
"""(prompt tokens, answer tokens) -> what judging such an answer will take at most; held back while sampling."""


def nothing(prompt_tokens: int, answer_tokens: int) -> Cost:
    """The `Reserve` of a method that makes no further call."""
    return Cost()


async def prompt_length(lm: LM, prompt: Prompt, budget: Budget) -> int:
    """Tokens of a prompt where the budget counts them, else 0 (and the LM is not asked to encode)."""
    return 0 if budget.tokens is None else len(await lm.encode(prompt))


def room(budget: Budget, cost: Cost, want: int, prompt_tokens: int) -> tuple[int, str | None]:
    """How many of `want` tokens the next call may sample, and the unit that ran out where that is none."""
    sampling = replace(budget, verifier_calls=None)
    if unit := sampling.spent(cost):
        return 0, unit
    tokens = sampling.left(cost).room(want, prompt_tokens)
    return (tokens, None) if tokens > 0 else (0, "tokens")


def shortfall(budget: Budget, cost: Cost, need: Cost) -> str | None:
    """The first countable unit in which `need` on top of `cost` would break the budget; a unit already spent elsewhere counts too."""
    total = cost + need
    for unit, limit in budget.limits():
        if unit in COUNTABLE:
            if getattr(total, unit) > limit:
                return unit
        elif getattr(cost, unit) >= limit:
            return unit
    return None


async def sample_until(
    lm: LM, prompt: Prompt, k: int, sampling: Sampling, budget: Budget, seed: int, trace: Trajectory, reserve: Reserve = nothing
) -> tuple[Trajectory, str | None]:
    """Adds `k` independent answers to `trace`, or as many as the budget pays for; also returns the unit that ran out, if one did.

    The room is divided like this: every answer may take `sampling.max_tokens`, and a wave of as many answers as the budget can pay for
    at that length runs at once, so no answer is cut short by its neighbour. What short answers leave over pays for the next wave. When
    less than one whole answer is left, one last answer may use exactly that. Judging is held back from the second answer on: one alone
    needs none. The outcome depends on the seed alone, never on timing.
    """
    p = await prompt_length(lm, prompt, budget)

    def answers(n: int, tokens: int) -> Cost:
        judged = n if done or n > 1 else 0
        return _times(Cost(prompt_tokens=p, completion_tokens=tokens, calls=1), n) + _times(reserve(p, tokens), judged)

    done: tuple[Segment, ...] = ()
    while len(done) < k:
        held = sum((reserve(p, s.cost.completion_tokens) for s in done), trace.cost)
        width, tokens = k - len(done), sampling.max_tokens
        while width > 1 and shortfall(budget, held, answers(width, tokens)):
            width -= 1
        if unit := shortfall(budget, held, answers(width, tokens)):
            tokens = bisect_left(range(1, tokens + 1), True, key=lambda n: shortfall(budget, held, answers(1, n)) is not None)
            if tokens == 0:
                return trace, unit
        seeds = (inner_seed(seed, len(done) + i) for i in range(width))
        wave = await asyncio.gather(*(lm.complete(prompt, sampling.with_(max_tokens=tokens, seed=s)) for s in seeds))
        segments = tuple(Segment.of(c, model=lm.name) for c in wave)
        trace, done = trace.beside(segments), done + segments
        if unit and segments[-1].stop is Stop.LENGTH:
            return trace, unit
    return trace, None


def _times(cost: Cost, n: int) -> Cost:
    return sum((cost for _ in range(n)), Cost())
