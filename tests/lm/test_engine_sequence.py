"""Steering rows by hand: fork, join and truncate against the whole forward pass with an explicit mask and positions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from engines import decoder, logits_under, prompt

from reasonry.core import Sampling, UserError
from reasonry.lm.engine.sampler import Draws
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer

MODEL = decoder()
CHAT = "{% for m in messages %}{{ m.content }}{% endfor %}"
WORDS = Tokenizer.train(["nothing"], 300, ["<|endoftext|>", "<|im_end|>"], CHAT)


def lm(**options: Any) -> LocalLM:
    return LocalLM(MODEL, WORDS, "tiny", **options)


def plain(ids) -> torch.Tensor:
    n = len(ids)
    return logits_under(MODEL, tuple(ids), tuple(range(n)), torch.ones(n, n).tril().bool())


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=2e-3, rtol=1e-4)


async def test_append_sample_and_logits_are_those_of_the_whole_context():
    async with lm() as model:
        with await model.sequence(prompt(20)) as s:
            assert close(await s.logits(), plain(s.ids))
            await s.append([5, 6, 7])
            before = await s.logits()
            assert close(before, plain(s.ids))
            token, logprob = await s.sample(Sampling(temperature=0.5, seed=3))
            sampler = (before / 0.5).log_softmax(-1)
            assert logprob == pytest.approx(float(sampler[token]), abs=1e-4)
            running = sampler.double().exp().cumsum(0)
            assert token == int((running <= Draws(3)(23) * running[-1]).sum())
            assert s.ids == (*prompt(20), 5, 6, 7, token)
            assert close(await s.logits(), plain(s.ids))


async def test_forks_share_slots_and_go_their_own_ways():
    async with lm() as model:
        pool = model.engine.pool
        with await model.sequence(prompt(50)) as trunk:
            held = pool.used
            twigs = [trunk.fork() for _ in range(5)]
            assert pool.used == held
            for i, twig in enumerate(twigs):
                await twig.append([i, i + 1])
            assert pool.used == held + 10
            for i, twig in enumerate(twigs):
                assert twig.ids == (*prompt(50), i, i + 1)
                assert close(await twig.logits(), plain(twig.ids))
            assert close(await trunk.logits(), plain(trunk.ids))
        for twig in twigs:
            assert close(await twig.logits(), plain(twig.ids))  # the trunk is closed; what it computed is still held
            twig.close()
        model.engine.flush()
        assert pool.used == 0


async def test_truncate_goes_back():
    async with lm() as model:
        with await model.sequence(prompt(30)) as s:
            then = await s.logits()
            for length in (30, 29, 12, 1):
                await s.append([1, 2, 3])
                await s.sample(Sampling(seed=1))
                s.truncate(length)
                assert s.ids == tuple(prompt(30)[:length])
                assert close(await s.logits(), plain(s.ids))
            await s.append(prompt(30)[1:])
            assert close(await s.logits(), then)
            s.truncate(0)
            with pytest.raises(UserError, match="append at least one token"):
                await s.sample()
            with pytest.raises(UserError, match="length is 9"):
                s.truncate(9)


async def test_join_lets_a_row_see_several_paths_at_their_own_positions():
    """Two paths after a common prompt, each blind to the other; after joining, new tokens see prompt and both, once each."""
    async with lm() as model:
        with await model.sequence(prompt(10)) as a:
            b = a.fork()
            await a.append([1, 2, 3])
            await b.append([4, 5])
            token, _ = await b.sample(Sampling(seed=0))
            await a.join(b)
            assert a.ids == (*prompt(10), 1, 2, 3, 4, 5, token)
            assert a.positions == (*range(10), 10, 11, 12, 10, 11, 12)
            with pytest.raises(UserError, match="append at least one token"):
                await a.logits()
            await a.append([7, 8])
            assert a.positions[-2:] == (13, 14)
            sees = torch.ones(18, 18).tril().bool()
            sees[13:16, 10:13] = False
            assert close(await a.logits(), logits_under(MODEL, a.ids, a.positions, sees))
            later = a.fork()
            a.truncate(17)
            await a.append([8])
            assert torch.equal(await a.logits(), await later.logits())
            assert close(await b.logits(), plain(b.ids))
            later.close()
            b.close()
        model.engine.flush()
        assert model.engine.pool.used == 0


async def test_explicit_positions_are_kept():
    async with lm() as model:
        with await model.sequence(prompt(6)) as s:
            await s.append([1, 2, 3], positions=[20, 21, 3])
            await s.append([4])
            assert s.positions == (0, 1, 2, 3, 4, 5, 20, 21, 3, 22)
            expected = logits_under(MODEL, s.ids, s.positions, torch.ones(10, 10).tril().bool())
            assert close(await s.logits(), expected)
            with pytest.raises(UserError, match="positions has 1 numbers for 2 ids"):
                await s.append([1, 2], positions=[3])


async def test_a_closed_or_busy_sequence_says_so():
    async with lm() as model:
        s = await model.sequence(prompt(6))
        task = asyncio.ensure_future(s.append([1, 2]))
        await asyncio.sleep(0)
        for use in (s.fork, lambda: s.truncate(0)):
            with pytest.raises(UserError, match="busy"):
                use()
        with pytest.raises(UserError, match="busy"):
            await s.sample()
        await task
        s.close()
        s.close()
        for use in (s.sample, s.logits, lambda: s.append([1]), lambda: s.join()):
            with pytest.raises(UserError, match="closed"):
                await use()
        with pytest.raises(UserError, match="closed"):
            s.fork()


async def test_closing_while_busy_frees_everything():
    async with lm() as model:
        s = await model.sequence(prompt(60))
        task = asyncio.ensure_future(s.append(prompt(300)))
        await asyncio.sleep(0.005)
        task.cancel()
        s.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        await model.complete((1,), Sampling(max_tokens=3))
        model.engine.flush()
        assert model.engine.pool.used == 0


async def test_operations_are_priced():
    """Appended tokens are prompt, sampled ones completion, each computed once; a fork starts at nothing."""
    async with lm() as model:
        with await model.sequence(prompt(20)) as s:
            for i in range(4):
                await s.sample(Sampling(seed=i))
            await s.append([1, 2])
            cost = s.cost
            assert (cost.prompt_tokens, cost.completion_tokens, cost.prefill_tokens, cost.calls) == (22, 4, 22, 1)
            assert cost.layers_run == 26 * 3
            fork = s.fork()
            assert fork.cost.tokens == 0
            fork.close()


async def test_open_sequences_that_hold_the_pool_are_named():
    async with lm(kv_tokens=64) as model:
        with await model.sequence(prompt(40)) as s, await model.sequence(prompt(15, 1)) as t:
            with pytest.raises(UserError, match="kv_tokens is 64, all held by open sequences"):
                await t.append(prompt(20))
            assert close(await s.logits(), plain(prompt(40)))


async def test_a_sequence_takes_slots_from_requests_which_then_go_on():
    async with lm(kv_tokens=128) as model:
        alone = await model.complete(tuple(prompt(20)), Sampling(max_tokens=80, seed=4, ignore_eos=True))
        model.engine.flush()
        request = asyncio.ensure_future(model.complete(tuple(prompt(20)), Sampling(max_tokens=80, seed=4, ignore_eos=True)))
        await asyncio.sleep(0.02)
        with await model.sequence(prompt(90, 1)) as s:
            assert close(await s.logits(), plain(prompt(90, 1)))
        assert (await request).ids == alone.ids


async def test_scored_tokens_get_the_log_probabilities_of_the_whole_context_and_stay():
    """Whether the last token before them was computed, is pending, or was cut back to: an off-by-one here would shift every token's."""
    async with lm() as model, lm() as other:
        with await model.sequence(prompt(20)) as s:
            for ready in ("computed", "sampled", "truncated"):
                if ready == "sampled":
                    await s.sample(Sampling(seed=1))
                if ready == "truncated":
                    s.truncate(len(s) - 3)
                before, ids = s.ids, prompt(9, seed=2)
                found = await s.score(ids)
                assert s.ids == (*before, *ids)
                assert found == pytest.approx(await other.score(before, ids), abs=1e-5)
            assert await s.score([]) == ()
            assert close(await s.logits(), plain(s.ids))


async def test_scores_are_the_same_bits_in_one_piece_and_in_many():
    async with lm() as model:
        with await model.sequence(prompt(20)) as whole, await model.sequence(prompt(20)) as parts:
            ids = prompt(12, seed=4)
            assert await whole.score(ids) == (*await parts.score(ids[:1]), *await parts.score(ids[1:5]), *await parts.score(ids[5:]))


async def test_drafts_of_any_lengths_draw_what_one_completion_draws():
    async with lm() as model:
        sampling = Sampling(max_tokens=12, temperature=0.8, seed=7)
        wanted = await model.complete(tuple(prompt(20)), sampling)
        with await model.sequence(prompt(20)) as s:
            found: list[int] = []
            for n in (1, 4, 2, 5):
                found += (await s.draft(sampling.with_(max_tokens=n), first_draw=len(found))).sampled
            assert tuple(found) == wanted.ids
            assert s.cost.calls == 1
            assert s.cost.completion_tokens == 12


async def test_what_was_cut_back_within_a_block_can_be_forgotten():
    """Two blocks of ids then share slots; neither is anybody's, and a small pool must get both back rather than fill up for good."""
    async with lm(kv_tokens=256) as model:
        for i in range(60):
            with await model.sequence(prompt(20)) as s:
                await s.append([i, i + 1, i + 2, 5])
                s.truncate(21)
                await s.append([95 - i, 7, 8])
        assert len((await model.complete(tuple(prompt(40)), Sampling(max_tokens=200, ignore_eos=True))).ids or ()) == 200
