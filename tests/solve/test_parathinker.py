"""ParaThinker's decoding: equal to the flattened two-stage forward pass, nothing computed twice, and every policy as it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Budget, Problem, Sampling, Segment, Stop, Trajectory, UserError, Verdict
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.thoughts import Controls, with_controls, with_thoughts
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal, masked
from reasonry.nn.masks import SUMMARY, TAGS, thoughts, two_stage
from reasonry.papers.taught import SMALL, TEMPLATE, characters, fresh
from reasonry.solve import build_solver
from reasonry.solve.delethink_cost import R1_DISTILL_1_5B
from reasonry.solve.parathinker import (
    Control,
    first_finish,
    flattened,
    half_finish,
    kth_finish,
    last_finish,
    path_groups,
    shared,
    think,
)
from reasonry.solve.parathinker_cost import decoding_step, kv_numbers, thinking_seconds, weights
from reasonry.solve.parathinker_vote import Voted, vote_chances
from reasonry.solve.select import vote

SPECIAL, PLAIN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<think>", "</think>"]
TOKENIZER = with_controls(Tokenizer.train([], 261, SPECIAL, TEMPLATE, markup=PLAIN), 6)


def decoder(std: float = 0.5) -> Decoder:
    """Random weights and thought embeddings, far from a flat distribution."""
    model = with_thoughts(fresh(replace(SMALL, vocab_size=TOKENIZER.vocab_size), 0), 6, std, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim > 1 and "thought" not in name:
                p.mul_(6 if "embed" in name else 3)
    return model.requires_grad_(False)


MODEL = decoder()
PROBLEM = Problem("p", "JO0", "e")


class Letters:
    """The first letter counts."""

    name = "letters"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        return [replace(PROBLEM, id=f"{split}-{i}") for i in range(n or 1)]

    def extract(self, text: str) -> str | None:
        return text[:1] or None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        return Verdict(float(answer[:1] == problem.answer), answer[:1] == problem.answer)


TASK = Letters()


@asynccontextmanager
async def lm(model: Decoder = MODEL, tokenizer: Tokenizer = TOKENIZER) -> AsyncIterator[LocalLM]:
    async with LocalLM(model, tokenizer, "tiny", max_rows=32, kv_tokens=4096) as local:
        yield local


async def attempt(spec: str, seed: int = 0, budget: Budget = Budget(), model: Decoder = MODEL) -> Trajectory:
    async with lm(model) as local:
        return await build_solver(spec, local, TASK)(PROBLEM, budget, seed)


def scored(segment: Segment, model: Decoder = MODEL) -> list[float]:
    """A segment's log-probabilities by one forward pass under the dense mask."""
    assert segment.context is not None
    assert segment.ids is not None
    ids = torch.tensor([segment.context + segment.ids])
    if segment.groups is None:
        attend, thought = causal(), None
    else:
        groups = torch.tensor([segment.groups])
        attend, thought = masked(two_stage(groups)), thoughts(groups)
    with torch.no_grad():
        hidden = model(ids, torch.tensor([segment.positions]), attend, thoughts=thought).last[0, len(segment.context) - 1 : -1]
        return model.logits(hidden).log_softmax(-1).gather(1, ids[0, len(segment.context) :, None])[:, 0].tolist()


def told(x: tuple[int, ...] | None) -> tuple[int, ...]:
    """What a segment of our own engine never lacks."""
    assert x is not None
    return x


def drawn(segment: Segment, values: Sequence[float]) -> list[float]:
    """Those of the tokens that were sampled."""
    return [v for v, on in zip(values, segment.mask or [True] * len(values), strict=True) if on]


@pytest.mark.parametrize("spec", ["P=3&B=14&stop=last", "P=4&B=9&stop=first", "P=3&B=9&tags=2", "P=2&B=6&positions=flat", "P=1&B=5"])
async def test_what_was_sampled_is_what_the_masked_forward_pass_gives(spec: str) -> None:
    """Recorded log-probabilities of paths and summary against one flattened pass: unequal lengths, shared tags, both kinds of positions."""
    lengths = set[int]()
    for seed in range(4):
        trace = await attempt(f"parathinker?{spec}&max_tokens=5", seed)
        assert [s.role for s in trace.segments] == ["think"] * (len(trace.segments) - 1) + ["answer"]
        for s in trace.segments:
            assert s.logprobs is not None
            assert drawn(s, s.logprobs) == pytest.approx(drawn(s, scored(s)), abs=2e-4)
        lengths |= set(trace.meta["lengths"])
    assert len(lengths) > 1 or "P=1" in spec or "flat" in spec


async def test_no_token_is_computed_twice() -> None:
    """Blocks executed: prompt once, every token put or drawn once, less the summary's last, which nothing follows; one call."""
    for spec in ("P=4&B=9&stop=last", "P=3&B=12&stop=first", "P=2&B=3"):
        trace = await attempt(f"parathinker?{spec}&max_tokens=6&lead=so", 3)
        paths, answer = trace.segments[:-1], trace.segments[-1]
        prompt = len(told(paths[0].context)) - 1
        own = sum(len(told(s.context)) - prompt + len(told(s.ids)) for s in paths)
        assert len(told(answer.context)) == trace.meta["merged"] == prompt + own + 1 + len("so")
        assert trace.cost.layers_run == SMALL.num_layers * (len(told(answer.context)) + len(told(answer.ids)) - 1)
        assert trace.cost.prompt_tokens - trace.cost.prefill_tokens == 0
        assert trace.cost.calls == 1
        assert sum(s.cost.layers_run for s in trace.segments) == trace.cost.layers_run


async def test_a_summary_by_re_prefill_computes_everything_again() -> None:
    """The same paths, the same record, but one call more and the context's tokens once more; positions 0, 1, 2, …"""
    joined, again = (
        await attempt("parathinker?P=3&B=6&max_tokens=4", 1),
        await attempt("parathinker?P=3&B=6&max_tokens=4&fuse=re-prefill", 1),
    )
    assert [s.ids for s in joined.segments[:-1]] == [s.ids for s in again.segments[:-1]]
    assert joined.segments[-1].context == again.segments[-1].context
    context = len(told(again.segments[-1].context))
    assert again.cost.prefill_tokens - joined.cost.prefill_tokens >= context - 2
    assert told(again.segments[-1].positions)[:context] == tuple(range(context))
    assert (joined.meta["mode"], again.meta["mode"]) == ("joined", "re-prefill")


async def test_one_tag_and_no_chance_make_equal_paths() -> None:
    """Greedy paths under one tag are the same; under several tags, with thought embeddings, they are not."""
    same = await attempt("parathinker?P=3&B=8&temperature=0&tags=1&max_tokens=2")
    other = await attempt("parathinker?P=3&B=8&temperature=0&max_tokens=2")
    assert len({s.ids for s in same.segments[:-1]}) == 1
    assert len({s.ids for s in other.segments[:-1]}) > 1
    assert len({s.groups for s in same.segments[:-1]}) == 3


def test_paths_with_one_tag_are_groups_apart() -> None:
    groups = path_groups((1, 2, 1, 1))
    assert groups == (1, 2, 1 + TAGS, 1 + 2 * TAGS)
    assert thoughts(torch.tensor(groups)).tolist() == [1, 2, 1, 1]


def test_policies_end_thinking_when_they_say() -> None:
    """first, half (rounded up), k-th and last; a k beyond the paths waits for all."""
    found = {e: next(n for n in range(6) if e(n, 5)) for e in (first_finish, half_finish, last_finish, kth_finish(2), kth_finish(9))}
    assert list(found.values()) == [1, 3, 5, 2, 5]
    with pytest.raises(UserError, match="stop is 0"):
        kth_finish(0)


async def test_first_finish_makes_all_equally_long_and_last_finish_waits() -> None:
    """Tokens before a forced closer are as many as those of the path that ended; the steps are those of the longest."""
    cut = 0
    for seed in range(6):
        first, last = [await attempt(f"parathinker?P=4&B=40&stop={stop}&max_tokens=2", seed) for stop in ("first", "last")]
        n = first.meta["steps"] - len(told(first.segments[-1].ids))
        for length, ended in zip(first.meta["lengths"], first.meta["ended"], strict=True):
            assert length == n + (not ended)
        waited = [len(told(s.ids)) - (s.stop is not Stop.EOS) for s in last.segments[:-1]]
        assert last.meta["steps"] - len(told(last.segments[-1].ids)) == max(waited)
        cut += any(s.stop is Stop.STOP for s in first.segments)
        for a, b in zip(first.segments[:-1], last.segments[:-1], strict=True):
            assert told(b.ids)[: n - 1] == told(a.ids)[: n - 1], "a policy changes when paths end, not what they say"
    assert cut


@pytest.mark.parametrize("plain", [TOKENIZER.id_of("<think>"), None])
async def test_control_tokens_inside_a_path_are_replaced(plain: int | None) -> None:
    """A sampled opener or `<summary>` becomes `<think>`, or ends its path where there is none; a stop becomes the path's own closer;
    neither carries loss. Ordinary letters play the control tokens here, so that a random model samples many."""
    letters = tuple(range(20, 250))
    tokens = Controls(letters[:100], letters[100:120], 18, 19)
    stops = frozenset((*tokens.closes, tokens.end))
    control = Control(tokens, plain, stops)
    swapped = closed = 0
    async with lm() as local:
        for seed in range(5):
            with await local.sequence((3, 4, 5)) as root:
                paths, _ = await think(root, control, (1, 2, 3), ((),) * 3, 12, last_finish, shared, Sampling(), seed)
            for p in paths:
                assert p.ids[-1] == p.closer
                assert not any(i in stops or control.opens(i) for i in p.ids[:-1])
                assert p.row.ids[4:] == tuple(p.ids)
                assert all(p.drawn[i] != (p.ids[i] == plain) for i in range(len(p.ids) - 1))
                assert p.taken <= 12
                swapped += p.ids.count(plain) if plain is not None else 0
                closed += p.stop is Stop.EOS and not p.drawn[-1]
                p.row.close()
    assert closed
    assert swapped or plain is None


async def test_everything_is_given_back() -> None:
    """After an attempt, and after one that failed half-way, the pool holds what it held: nothing but cached prefixes."""
    async with lm() as local:
        solver = build_solver("parathinker?P=3&B=5&max_tokens=2", local, TASK)
        await solver(PROBLEM, Budget(), 0)
        held = local.engine.pool.used
        for seed in range(3):
            await solver(PROBLEM, Budget(), seed)
        with pytest.raises(UserError, match="tag 7"):
            await build_solver("parathinker?P=2&tags=1,7", local, TASK)(PROBLEM, Budget(), 0)
        task = asyncio.ensure_future(build_solver("parathinker?P=3&B=300&max_tokens=2&stop=last", local, TASK)(PROBLEM, Budget(), 0))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await build_solver("single?max_tokens=1", local, TASK)(PROBLEM, Budget(), 0)  # the step that was under way has ended
        assert local.engine.pool.used == held


async def test_an_attempt_is_the_seed_s_alone() -> None:
    """Beside others or alone, and another seed is another attempt."""
    async with lm() as local:
        solver = build_solver("parathinker?P=3&B=7&max_tokens=3", local, TASK)
        together = await asyncio.gather(*(solver(PROBLEM, Budget(), s) for s in range(4)))
        alone = [await solver(PROBLEM, Budget(), s) for s in range(4)]
    ids = [[s.ids for s in t.segments] for t in together]
    assert ids == [[s.ids for s in t.segments] for t in alone]
    assert ids[0] != ids[1]
    assert msgspec.json.decode(msgspec.json.encode(alone[0]), type=Trajectory).segments == alone[0].segments


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 60), st.integers(0, 120), st.integers(0, 3), st.sampled_from(["join", "vote", "re-prefill"]))
def test_no_countable_limit_is_broken(completion: int, tokens: int, calls: int, fuse: str) -> None:
    """Whatever the budget; where it cuts, the attempt says which unit it was."""
    budget = Budget(completion_tokens=completion, tokens=tokens, calls=calls)
    trace = asyncio.run(attempt(f"parathinker?P=3&B=8&max_tokens=5&fuse={fuse}", 1, budget))
    for unit, limit in budget.limits():
        assert getattr(trace.cost, unit) <= limit
    assert (trace.spent is not None) == (trace.stop is Stop.BUDGET)


async def test_too_many_paths_for_the_pool_are_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match="P is 2000 but a prompt of 4 tokens leaves no room"):
        await attempt("parathinker?P=2000&tags=1")


async def test_lead_ins_open_their_paths_and_the_summary() -> None:
    """By turns; they are context, not samples; the answer begins with the summary's."""
    trace = await attempt("parathinker?P=3&B=4&leads=x|yz&lead=so&max_tokens=3")
    tails = [s.context[5:] for s in trace.segments[:-1] if s.context]
    assert tails == [TOKENIZER.encode(t) for t in ("x", "yz", "x")]
    assert trace.answer.startswith("so")
    assert told(trace.segments[-1].groups)[-1] == SUMMARY


async def test_flattened_paths_start_a_path_s_room_apart() -> None:
    trace = await attempt("parathinker?P=3&B=4&positions=flat&max_tokens=2&stop=last")
    starts = [told(s.positions)[4] for s in trace.segments[:-1]]
    assert starts == [4, 4 + 6, 4 + 12] == [flattened(4, i, 6) for i in range(3)]
    assert told(trace.segments[-1].positions)[-1] > 4 + 12 + 4
    assert shared(4, 2, 6) == 4


async def test_a_model_without_control_tokens_thinks_by_parallel_calls() -> None:
    """And says so: P calls, then one that is shown their texts; with a budget for the paths alone they vote."""
    plain = fresh(SMALL, 0).requires_grad_(False)
    async with lm(plain, characters()) as local:
        trace = await build_solver("parathinker?P=3&B=5&max_tokens=4", local, TASK)(PROBLEM, Budget(), 0)
        assert trace.meta["mode"] == "re-prefill"
        assert [s.role for s in trace.segments] == ["think"] * 3 + ["answer"]
        shown = await local.decode(told(trace.segments[-1].context))
        assert all(s.text in shown for s in trace.segments[:-1])
        short = await build_solver("parathinker?P=3&B=5&max_tokens=4", local, TASK)(PROBLEM, Budget(calls=1), 0)
        assert (short.meta["mode"], short.stop) == ("vote", Stop.BUDGET)
        led = await build_solver("parathinker?P=2&B=5&leads=x|y&max_tokens=4", local, TASK)(PROBLEM, Budget(), 0)
        asked = [await local.decode(told(s.context)) for s in led.segments]
        assert all(f"with: {t}" in text for t, text in zip("xy", asked, strict=False))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 3), st.integers(1, 5))
def test_the_vote_is_the_multinomial_plug_in(shares: list[int], silent: int, paths: int) -> None:
    """The solver's own vote over every sequence of answers, weighted by its chance, against the closed form."""
    total = sum(shares) + silent
    q = [s / total for s in shares]
    answers = [*range(len(q)), *([None] if silent else [])]
    chance = {**dict(enumerate(q)), None: silent / total}
    won = [0.0] * len(q)
    for drawn_ in product(answers, repeat=paths):
        p = 1.0
        for a in drawn_:
            p *= chance[a]
        choice = vote([None if a is None else str(a) for a in drawn_])
        if choice.index is not None:
            won[drawn_[choice.index] or 0] += p
    assert vote_chances(q, paths) == pytest.approx(won, abs=1e-12)


def test_chances_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="not a distribution"):
        vote_chances((0.7, 0.6), 2)


async def test_a_vote_over_attempts_takes_the_majority() -> None:
    """Of k attempts with seeds of their own; the budget is shared out, and nothing is asked of the judge."""
    async with lm() as local:
        solver = build_solver("parathinker?P=2&B=4&max_tokens=2&k=5", local, TASK)
        assert isinstance(solver, Voted)
        trace = await solver(PROBLEM, Budget(), 0)
        assert trace.meta["chosen"] == vote(trace.meta["answers"]).index
        assert len(trace.segments) == 15
        assert (await solver(PROBLEM, Budget(calls=3), 0)).meta["candidates"] == 3
        assert (await solver(PROBLEM, Budget(calls=0), 0)).stop is Stop.BUDGET
    with pytest.raises(UserError, match="k is 0"):
        Voted(solver, TASK, 0)


async def test_paths_that_vote_make_no_summary() -> None:
    trace = await attempt("parathinker?P=3&B=4&fuse=vote")
    assert [s.role for s in trace.segments] == ["think"] * 3
    assert trace.answer == trace.segments[trace.meta["chosen"]].text


def test_a_step_at_the_paper_s_shape() -> None:
    """28 kilobytes of keys and values a token; the weights are read once whatever the width, so 16 paths move little more than one."""
    assert 2 * kv_numbers(R1_DISTILL_1_5B) == 28 * 1024
    assert weights(R1_DISTILL_1_5B) == pytest.approx(1.5e9, rel=0.05)
    one, many = decoding_step(R1_DISTILL_1_5B, 1, 200, 4000), decoding_step(R1_DISTILL_1_5B, 16, 200, 4000)
    assert one.weight_bytes == many.weight_bytes
    assert many.kv_bytes == 16 * one.kv_bytes
    assert many.bytes < 1.6 * one.bytes
    assert many.flops == pytest.approx(16 * one.flops)
    assert decoding_step(R1_DISTILL_1_5B, 16, 200, 0, shared=True).kv_bytes == one.kv_bytes * 200 / 4200
    one_, eight, sixteen = (thinking_seconds(R1_DISTILL_1_5B, P, 200, 4096, 2e12, 3e14) for P in (1, 8, 16))
    assert one_ < eight < sixteen < 2 * one_


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("parathinker?P=0", "P is 0 but must be at least 1"),
        ("parathinker?P=3&tags=1,2", "tags are 2 but there are P = 3 paths"),
        ("parathinker?stop=never", "stop is 'never' but must be first, half, last or a number"),
        ("parathinker?fuse=glue", "fuse is 'glue' but must be one of join, re-prefill, vote"),
    ],
)
async def test_bad_options_are_refused_in_one_sentence(spec: str, says: str) -> None:
    async with lm() as local:
        with pytest.raises(UserError, match=says):
            build_solver(spec, local, TASK)
