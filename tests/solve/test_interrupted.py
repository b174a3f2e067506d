"""Forced interruptions: what is appended, what it counts as, and who is never interrupted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from scripted_lm import EOS, Digits, ScriptedLM

from reasonry.core import Budget, Completion, Cost, Ids, Prompt, Sampling, Stop, Trajectory, UserError
from reasonry.solve import build_solver
from reasonry.solve.interrupted import CLOSES, PHRASE, Interrupted
from reasonry.train.rollout import CUT
from reasonry.train.rows import row_of
from reasonry.train.tokens import flatten

TASK = Digits()
PROBLEMS = TASK.problems("test", 8)
CLOSE = CLOSES["hash"]


@dataclass
class Endless(ScriptedLM):
    """Never stops thinking by itself; once it was made to answer, it says a digit and ends."""

    first: str = ""
    """What every text from it to begin with costs: the ids a checkpoint puts before a whole text."""

    async def encode(self, prompt: Prompt) -> Ids:
        ids = await super().encode(prompt)
        return (99, *ids) if self.first and isinstance(prompt, str) else ids

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        context = await self.encode(prompt)
        answering = CLOSE in await self.decode(context)
        ids = (5, EOS)[: sampling.max_tokens] if answering else (7,) * sampling.max_tokens
        stop = Stop.EOS if ids[-1] == EOS else Stop.LENGTH
        cost = Cost(len(context), len(ids), len(context), 1)
        return Completion(await self.decode(ids), stop, cost, context, ids if self.gives_ids else None, (-0.5,) * len(ids))


def interrupted(lm: ScriptedLM, lo: int = 6, hi: int = 9, answer: int = 4) -> Interrupted:
    return Interrupted(lm, lo, hi, answer, close=CLOSE)


async def attempts(lm: ScriptedLM, n: int = 60, budget: Budget | None = None) -> list[Trajectory]:
    solver = interrupted(lm)
    return [await solver(PROBLEMS[i % 8], budget or Budget(), seed=i) for i in range(n)]


async def test_the_forced_ids_are_those_of_the_phrase_and_of_the_mark_and_nothing_is_tokenised_again() -> None:
    """The answer's context is the prompt's ids, the thought's ids, the forced ids, in this order."""
    lm = Endless()
    for t in await attempts(lm):
        think, answer = t.segments
        assert think.ids is not None
        assert think.context is not None
        forced = await lm.encode(PHRASE + CLOSE)
        assert think.context == await lm.encode(PROBLEMS[int(t.problem_id.rpartition("-")[2])].messages)
        assert answer.context == think.context + think.ids + forced
        assert answer.ids == (5, EOS)
        assert t.answer == await lm.decode(think.ids + forced + (5, EOS))
        assert t.answer.endswith(f"{PHRASE}{CLOSE}5")
        assert t.meta == {"interrupted": True, "thinking_limit": len(think.ids), "forced": len(forced)}


async def test_forced_words_carry_no_loss_and_are_counted_as_prompt() -> None:
    """What is trained is what was sampled, token by token; the cost of the answer's prompt holds the forced words."""
    lm = Endless()
    for t in await attempts(lm, 8):
        think, answer = t.segments
        assert think.ids is not None
        tokens = flatten([t], [1.0])
        assert tokens.segment.tolist() == [0] * len(think.ids) + [1, 1]
        row = row_of(answer)
        assert row.trained == tuple(range(len(row.ids) - 2, len(row.ids)))
        assert t.cost.completion_tokens == len(think.ids) + 2
        assert answer.cost.prompt_tokens == think.cost.prompt_tokens + len(think.ids) + t.meta["forced"]


async def test_the_length_is_drawn_evenly_from_the_window_by_the_seed() -> None:
    """Every length of the window comes up, none beside it, about equally often; the same seed draws the same."""
    lm = Endless()
    solver = interrupted(lm)
    drawn = Counter(solver.limit(seed) for seed in range(2000))
    assert sorted(drawn) == [6, 7, 8, 9]
    assert all(420 < n < 580 for n in drawn.values())
    for seed in range(20):
        t = await solver(PROBLEMS[0], Budget(), seed)
        assert len(t.segments[0].ids or ()) == solver.limit(seed)
    fixed = interrupted(lm, 8, 8)
    assert {fixed.limit(seed) for seed in range(50)} == {8}


async def test_an_interrupted_attempt_is_not_truncated_but_an_answer_cut_off_is() -> None:
    lm = Endless()
    assert all(t.stop is Stop.EOS for t in await attempts(lm))
    cut = await interrupted(lm, answer=1)(PROBLEMS[0], Budget(), 0)
    assert (cut.stop, cut.meta["interrupted"]) == (Stop.LENGTH, True)
    for room in (3, 7, 9, 10):
        short = await interrupted(lm, 9, 9)(PROBLEMS[0], Budget(completion_tokens=room), 0)
        assert (short.stop, short.spent, short.meta["interrupted"]) == (Stop.BUDGET, "completion_tokens", room > 9)
        assert short.stop in CUT


async def test_who_has_ended_or_closed_the_thought_is_not_interrupted() -> None:
    """A turn that ended is the very attempt of `single`; a thought closed at the limit goes on from its own ids, nothing forced."""
    lm = ScriptedLM()
    solver, plain = interrupted(lm, 6, 30, 8), build_solver("single", lm, TASK)
    kinds = Counter[str]()
    for seed in range(150):
        t = await solver(PROBLEMS[seed % 8], Budget(), seed)
        first = t.segments[0]
        assert first.ids is not None
        if len(t.segments) == 1:
            kinds["ended"] += 1
            single = await plain(PROBLEMS[seed % 8], Budget(), seed)
            assert (first.ids, t.stop, t.answer) == (single.segments[0].ids, single.stop, single.answer)
        elif not t.meta["interrupted"]:
            kinds["closed"] += 1
            assert CLOSE in first.text
            assert t.meta["forced"] == 0
            assert t.segments[1].context == (first.context or ()) + first.ids
        else:
            kinds["interrupted"] += 1
            assert CLOSE not in first.text
    assert set(kinds) == {"ended", "closed", "interrupted"}


async def test_what_a_checkpoint_puts_before_a_whole_text_is_not_forced_into_its_middle() -> None:
    """A beginning-of-text id belongs to the prompt alone."""
    lm = Endless(first="<s>")
    t = await interrupted(lm)(PROBLEMS[0], Budget(), 0)
    assert await lm.encode("") == (99,)
    assert 99 not in (t.segments[1].context or ())[len(t.segments[0].context or ()) :]
    assert t.meta["forced"] == len((PHRASE + CLOSE).encode())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("interrupted?lo=9&hi=8", "interrupted: the window is 9 to 8 tokens; lo must be at least 1 and at most hi"),
        ("interrupted?lo=0", "lo must be at least 1"),
        ("interrupted?answer=0", "answer is 0 but at least one token is needed"),
        ("interrupted?close=bell", "close is 'bell' but must be one of think, hash"),
    ],
)
def test_a_window_that_cannot_be_is_refused(spec: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        build_solver(spec, ScriptedLM(), TASK)
    assert says in str(error.value)


async def test_a_model_without_ids_is_refused() -> None:
    with pytest.raises(UserError, match="scripted returned no token ids, and the answer goes on from them"):
        await interrupted(Endless(gives_ids=False))(PROBLEMS[0], Budget(), 0)
