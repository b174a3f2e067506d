"""Chunks by forking against chunks by reading again, and both against one unchunked generation."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from reasonry.core import Ids, Sampling
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.solve.tree import Forked, Grow, Node, Reread

CHAT = "{% for m in messages %}{{ m.content }}{% endfor %}"
TOKENIZER = Tokenizer.train(["nothing"], 300, ["<|endoftext|>", "<|im_end|>"], CHAT)
SHAPE = DecoderConfig(300, 32, 2, 4, 2, 8, 64, max_position=256, qk_norm=True)


def tiny() -> LocalLM:
    decoder = Decoder(SHAPE)
    decoder.reset_parameters(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for p in decoder.parameters():
            if p.ndim > 1:
                p.mul_(4)
    return LocalLM(decoder, TOKENIZER, "tiny", max_rows=16, kv_tokens=4096)


async def grow(grow: Grow, prompt: Ids, rounds: int, sampling: Sampling) -> list[tuple[Ids, Ids, tuple[float, ...], str, int, int]]:
    """A tree of `rounds` expansions, always of the same node among those that can grow; (prefix, ids, log-probs, …) of every chunk."""
    root, rng, found = Node(), random.Random(5), []
    prefixes = {root: prompt}
    for r in range(rounds):
        node = rng.choice([n for n in prefixes if not n.children])
        samplings = [sampling.with_(seed=100 * r + i) for i in range(3)]
        for c, child in await grow.children(node, prefixes[node], samplings):
            assert c.ids is not None
            prefixes[child] = prefixes[node] + c.ids
            found.append((c.prompt_ids, c.ids, c.logprobs, str(c.stop), c.cost.prompt_tokens, c.cost.completion_tokens))
        grow.close(node)
    for node in prefixes:
        grow.close(node)
    return found


@pytest.mark.parametrize("sampling", [Sampling(max_tokens=5), Sampling(max_tokens=9, stop=("a", "7")), Sampling(4, 0.7, top_k=20)], ids=str)
async def test_forked_and_reread_chunks_are_the_same_to_the_bit(sampling: Sampling) -> None:
    """The fast path and its naive twin: tokens, log-probabilities, stops and prices; and the pool is empty in the end."""
    prompt = tuple(range(40, 63))
    async with tiny() as a, tiny() as b:
        fast = await grow(Forked(a), prompt, 6, sampling)
        slow = await grow(Reread(b), prompt, 6, sampling)
        assert fast == slow
        a.engine.flush()
        assert a.engine.pool.used == 0


async def test_chunks_down_a_path_have_the_log_probabilities_of_one_whole_generation() -> None:
    """Scored in one pass over prompt and path, every sampled token has the log-probability it was sampled with."""
    prompt = tuple(range(40, 63))
    async with tiny() as lm:
        root, grow = Node(), Forked(lm)
        node, prefix, sampled = root, prompt, list[float]()
        for depth in range(6):
            made = await grow.children(node, prefix, [Sampling(max_tokens=7, seed=10 * depth + i) for i in range(4)])
            c, node = made[depth % 4]
            assert c.ids is not None
            assert c.logprobs is not None
            prefix += c.ids
            sampled += c.logprobs
        whole = await lm.score(prompt, prefix[len(prompt) :])
        assert len(whole) == 42
        assert whole == pytest.approx(sampled, abs=1e-5)


async def test_a_prefix_is_computed_once_for_all_that_grows_from_it() -> None:
    """Forked: each token is prefilled or decoded once, and prices still name the whole prompt; rereading computes more."""
    prompt = tuple(range(40, 63))

    async def computed(grow: Grow, lm: LocalLM) -> int:
        root, total = Node(), 0
        prefixes = {root: prompt}
        level = [root]
        for _ in range(2):
            below = []
            for node in level:
                for c, child in await grow.children(node, prefixes[node], [Sampling(max_tokens=6, seed=i) for i in range(2)]):
                    prefixes[child] = prefixes[node] + (c.ids or ())
                    below.append(child)
                    total += c.cost.prefill_tokens
                    assert c.cost.prompt_tokens == len(prefixes[node])
            level = below
        return total

    async with tiny() as a, tiny() as b:
        assert await computed(Forked(a), a) == len(prompt)
        assert await computed(Reread(b), b) > len(prompt)


async def test_a_sequence_that_grew_goes_on_as_one_that_was_given_its_tokens() -> None:
    """`LocalLM.grow` leaves the sequence where `complete` would have ended: the next draw sees the sampled tokens."""
    async with tiny() as lm:
        sampling = Sampling(max_tokens=8, seed=1)
        with await lm.sequence(range(40, 60)) as s:
            first = await lm.grow(s, sampling)
            assert first.ids == (await lm.complete(tuple(range(40, 60)), sampling)).ids
            second = await lm.grow(s, sampling)
            again = await lm.complete(tuple(range(40, 60)) + (first.ids or ()), sampling)
            assert (second.ids, second.logprobs, second.prompt_ids) == (again.ids, again.logprobs, again.prompt_ids)
            assert replace(second, cost=again.cost) == again
            assert second.cost.prefill_tokens == 0
