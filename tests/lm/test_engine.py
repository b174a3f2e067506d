"""The engine computes what the naive loop computes, keeps its bound, and frees what it took."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from engines import TINY, decoder, job, naive, prompt, run
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reasonry.core import Stop, UserError
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.flops import causal_pairs, forward_flops
from reasonry.lm.engine.prefix import BLOCK
from reasonry.lm.engine.row import Job, Row
from reasonry.nn.attention import causal

MODEL = decoder()


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        dataclasses.replace(TINY, num_heads=4, num_kv_heads=4, qk_norm=False, qkv_bias=True, tie_embeddings=False),
        dataclasses.replace(TINY, num_heads=8, num_kv_heads=1),
    ],
)
def test_tokens_and_logprobs_equal_the_naive_loop(config):
    """Grouped, multi-head and multi-query shapes; prompts from one token to several chunks; greedy and sampled rows in one batch."""
    model = decoder(config)
    engine = Engine(model, 8, 4096)
    asked = [(1, 0.0), (5, 1.0), (37, 0.7), (130, 1.3), (3, 0.0), (300, 1.0)]
    jobs = [job(prompt(n, n), max_tokens=12 + i, temperature=t, seed=i) for i, (n, t) in enumerate(asked)]
    run(engine, *jobs)
    for i, ((n, t), one) in enumerate(zip(asked, jobs, strict=True)):
        ids, logprobs = naive(model, prompt(n, n), 12 + i, t, i)
        assert one.sampled == ids
        assert one.logprobs == pytest.approx(logprobs, abs=2e-4)
        assert one.stop is Stop.LENGTH


def test_the_fused_pass_equals_the_decoders_own_and_follows_its_weights():
    """Every family's biases and norms; after `flush` the engine computes with the weights there are now."""
    for changes in ({}, {"qk_norm": False, "qkv_bias": True}, {"o_bias": True, "mlp_bias": True}):
        model = decoder(dataclasses.replace(TINY, **changes))
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)), alpha=0.2)
        engine = Engine(model, 4, 1024)
        assert (engine._fused is None) == ("o_bias" in changes)
        one, two = (Job(Row(prompt(50)), score_from=1) for _ in range(2))
        run(engine, one)
        logp = model.logits(model(torch.tensor([prompt(50)]), torch.arange(50)[None], causal()).last[0]).log_softmax(-1)
        expected = logp[:-1].gather(1, torch.tensor(prompt(50))[1:, None])[:, 0].tolist()
        assert one.logprobs == pytest.approx(expected, abs=1e-3)
        model.get_parameter("layers.1.mlp.down_proj.weight").mul_(0.5)
        engine.flush()
        run(engine, two)
        halved = (model.logits(model(torch.tensor([prompt(50)]), torch.arange(50)[None], causal()).last[0])).log_softmax(-1)
        assert two.logprobs == pytest.approx(halved[:-1].gather(1, torch.tensor(prompt(50))[1:, None])[:, 0].tolist(), abs=1e-3)
        assert two.logprobs != pytest.approx(expected, abs=1e-2)


def test_a_greedy_sampler_logprob_is_zero_and_the_models_own_is_not():
    one = job(prompt(4), max_tokens=3, temperature=0)
    run(Engine(MODEL, 4, 256), one)
    assert one.sampler_logprobs == [0.0, 0.0, 0.0]
    assert all(lp < 0 for lp in one.logprobs)


@pytest.mark.parametrize("program", [(0, 1, 2), (0, 0, 1, 2), (2, 0), (1,), (0, 1, 1, 1, 2, 0)])
def test_layer_programs_cached_equal_uncached(program):
    """Repeated blocks keep keys apart by pass; skipped ones are not run; programs share a step without mixing, and share no cache."""
    engine = Engine(MODEL, 8, 2048)
    mine, whole, again = (job(prompt(40), program=p, max_tokens=6, temperature=0) for p in (program, None, program))
    run(engine, mine, whole)
    run(engine, again)
    assert mine.sampled == again.sampled == naive(MODEL, prompt(40), 6, 0.0, 0, program)[0]
    assert mine.logprobs == again.logprobs
    assert whole.sampled == naive(MODEL, prompt(40), 6, 0.0, 0)[0]
    assert engine.cost(mine).layers_run == len(program) * 45


def test_scores_equal_the_logprobs_of_what_was_sampled():
    engine = Engine(MODEL, 8, 4096)
    made = [job(prompt(20 + 90 * i, i), max_tokens=30, seed=i) for i in range(3)]
    run(engine, *made)
    scored = [Job(Row(one.row.ids.copy()), score_from=20 + 90 * i) for i, one in enumerate(made)]
    run(engine, *scored)
    for one, score in zip(made, scored, strict=True):
        assert score.logprobs == pytest.approx(one.logprobs, abs=1e-5)


def test_top_logprobs_are_the_likeliest_under_the_model():
    one = job(prompt(9), max_tokens=2, temperature=0, top_logprobs=5)
    run(Engine(MODEL, 4, 256), one)
    best = one.top_logprobs[0]
    hidden = MODEL(torch.tensor([prompt(9)]), torch.arange(9)[None], causal()).last[0, -1]
    values, ids = MODEL.logits(hidden).log_softmax(-1).topk(5)
    assert list(best) == ids.tolist()
    assert list(best.values()) == pytest.approx(values.tolist(), abs=1e-4)
    assert one.logprobs[0] == max(best.values())


def test_every_way_to_stop_is_named():
    engine = Engine(MODEL, 8, 4096)
    first = naive(MODEL, prompt(6), 3, 0.0, 0)[0]
    ended = Job(Row(prompt(6)), sampling=job([1], temperature=0).sampling, end_ids=frozenset(first[2:]))
    assert ended.sampling is not None
    ended.sampling = ended.sampling.with_(ignore_eos=False)
    stopped = job(prompt(6), temperature=0, stop_token_ids=(first[1],))
    short = job(prompt(6), temperature=0, max_tokens=2)
    full = job(prompt(500), temperature=0, max_tokens=100)
    run(engine, ended, stopped, short, full)
    assert (ended.stop, ended.sampled) == (Stop.EOS, first[: first.index(first[2]) + 1])
    assert (stopped.stop, stopped.sampled[-1]) == (Stop.STOP, first[1])
    assert (short.stop, len(short.sampled)) == (Stop.LENGTH, 2)
    assert (full.stop, len(full.row.ids)) == (Stop.CONTEXT, 512)


def test_what_can_never_fit_is_refused_with_both_numbers():
    engine = Engine(MODEL, 4, 100)
    with pytest.raises(UserError, match=r"need 130 tokens but kv_tokens is 100"):
        engine.submit(job(prompt(30), max_tokens=100))
    with pytest.raises(UserError, match=r"600 tokens but the model's context window is 512"):
        engine.submit(job(prompt(600), max_tokens=1))
    with pytest.raises(UserError, match="token id 96 is outside the vocabulary of 96"):
        engine.submit(job([96], max_tokens=1))
    with pytest.raises(UserError, match="empty"):
        engine.submit(job([], max_tokens=1))
    with pytest.raises(UserError, match="max_rows is 0"):
        Engine(MODEL, 0, 100)
    assert not engine.busy


def test_a_short_pool_preempts_and_still_gives_the_same_text():
    """Requests that fit one by one but not together finish, exactly as they do in a large pool."""
    small, large = Engine(MODEL, 8, 160), Engine(MODEL, 8, 4096)
    texts = []
    for engine in (small, large):
        jobs = [job(prompt(10 + i, i), max_tokens=90, seed=i) for i in range(6)]
        run(engine, *jobs)
        texts.append([(one.sampled, one.logprobs) for one in jobs])
        prefilled = sum(one.prefilled for one in jobs)
        assert (prefilled > sum(10 + i for i in range(6))) == (engine is small)
    assert texts[0] == texts[1]


def test_the_same_prompt_is_prefilled_once():
    """n answers to one prompt, asked together: the others find all whole blocks but the last token's; prompt tokens count for each."""
    engine = Engine(MODEL, 16, 4096)
    jobs = [job(prompt(100), max_tokens=4, seed=i) for i in range(8)]
    run(engine, *jobs)
    costs = [engine.cost(one) for one in jobs]
    assert sorted(c.prefill_tokens for c in costs) == [100 - 99 // BLOCK * BLOCK] * 7 + [100]
    assert {c.prompt_tokens for c in costs} == {100}
    assert len({tuple(one.sampled) for one in jobs}) > 1


def test_prompts_that_share_a_beginning_compute_it_once():
    engine = Engine(MODEL, 16, 4096)
    jobs = [job(prompt(64) + prompt(5 + i, i + 1), max_tokens=1) for i in range(4)]
    run(engine, *jobs)
    assert sum(one.prefilled for one in jobs) == 64 + 5 + 6 + 7 + 8


def test_flush_forgets_and_what_began_before_is_not_kept():
    engine = Engine(MODEL, 4, 1024)
    one, two = job(prompt(50), max_tokens=5), job(prompt(50), max_tokens=5)
    engine.submit(one)
    engine.step()
    engine.flush()
    run(engine)
    assert engine.pool.used == 0
    run(engine, two)
    assert two.prefilled == 50


def test_the_cache_gives_way_to_requests():
    engine = Engine(MODEL, 4, 200)
    for i in range(5):
        one = job(prompt(90, i), max_tokens=8, seed=0)
        run(engine, one)
        assert one.sampled == naive(MODEL, prompt(90, i), 8, 1.0, 0)[0]
        assert engine.pool.used <= 200
    assert engine.cache.tokens > 0


def test_cancelling_frees_the_slots_at_once():
    engine = Engine(MODEL, 4, 1024)
    running, waiting = [job(prompt(40 + i, i), max_tokens=50) for i in range(4)], [job(prompt(30), max_tokens=50)]
    for one in running + waiting:
        engine.submit(one)
    for _ in range(5):
        engine.step()
    held = engine.pool.used - engine.cache.tokens
    assert held > 0
    for one in running + waiting:
        engine.cancel(one)
        engine.cancel(one)
    assert not engine.busy
    assert engine.pool.used == engine.cache.tokens
    assert {one.stop for one in running + waiting} == {Stop.CANCELLED}


def test_an_error_in_a_step_ends_its_jobs_and_the_engine_goes_on(monkeypatch):
    engine = Engine(MODEL, 4, 1024)
    one = job(prompt(20), max_tokens=5)
    engine.submit(one)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_forward", lambda steps: 1 / 0)
        with pytest.raises(ZeroDivisionError) as caught:
            engine.step()
    assert engine.fail_all(caught.value) == [one]
    assert one.error is caught.value
    assert (engine.pool.used, engine.busy) == (0, False)
    run(engine, job(prompt(20), max_tokens=5))


@given(st.lists(st.tuples(st.integers(1, 70), st.integers(1, 40), st.booleans()), max_size=12), st.integers(120, 300), st.randoms())
@settings(max_examples=15, deadline=None)
def test_the_pool_keeps_its_bound_and_ends_empty(asked, size, random):
    """Whatever comes, goes and is cancelled when: slots in use never exceed the bound, references add up, and nothing leaks."""
    engine = Engine(MODEL, 4, size)
    left = [(job(prompt(n, n % 5), max_tokens=m, seed=n), cancel) for n, m, cancel in asked]
    alive = []
    while left or engine.busy:
        if left and random.random() < 0.5:
            alive.append(left.pop())
            engine.submit(alive[-1][0])
        for one, cancel in alive:
            if cancel and random.random() < 0.1:
                engine.cancel(one)
        engine.step()
        references = engine.pool.references(slice(1, None))
        assert (references > 0).sum() == engine.pool.used <= size
        assert references.sum() == engine.cache.tokens + sum(len(one.row.slots) for one, _ in alive)
    assert all(one.stop is not None for one, _ in alive)
    engine.flush()
    assert engine.pool.used == 0


def test_flops_are_those_torch_counts():
    """Every matrix product of a plain forward pass, which attends to all T keys from all T queries and makes all logits."""
    T = 24
    ids = torch.tensor([prompt(T)])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        MODEL.logits(MODEL(ids, torch.arange(T)[None], causal()).last)
    assert forward_flops(TINY, T, T * T, T) == counter.get_total_flops()
    assert causal_pairs(3, 10) == 11 + 12 + 13


def test_a_completion_is_priced_by_the_closed_form():
    """P prompt and C completion tokens: P + C − 1 are computed, C rows of logits made, and the last token is never cached."""
    engine = Engine(MODEL, 4, 1024)
    one = job(prompt(30), max_tokens=10)
    run(engine, one)
    cost = engine.cost(one)
    assert cost.flops == forward_flops(TINY, 39, causal_pairs(39, 0), 10)
    assert (cost.prompt_tokens, cost.prefill_tokens, cost.completion_tokens, cost.calls, cost.layers_run) == (30, 30, 10, 1, 39 * 3)
    assert cost.peak_kv_bytes == 39 * 3 * 2 * 2 * 16 * 4
