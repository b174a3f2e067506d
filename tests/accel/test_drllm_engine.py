"""A routed model as an LM: decided once at prefill, frozen, the cache right for every program, in any company."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
import torch
from torch import nn

from reasonry.accel.drllm import Routers, fresh_routers, route
from reasonry.accel.drllm.execute import execute, fixed
from reasonry.accel.drllm.routers import Windows, decided
from reasonry.core import Sampling, UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.engine import scheduler
from reasonry.lm.local import LocalLM
from reasonry.lm.program import counts_of, program_of, whole
from reasonry.papers.taught import characters, fresh

SHAPE = DecoderConfig(
    vocab_size=259, hidden_size=24, num_layers=4, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=32, max_position=256,
    qk_norm=True,
)  # fmt: skip
BIASED = DecoderConfig(**{**SHAPE.__dict__, "mlp_bias": True})
"""The engine runs this one by `Decoder.forward`, not by its fused copy."""
GREEDY = Sampling(max_tokens=6, temperature=0.0, ignore_eos=True)


def lm_of(shape: DecoderConfig = SHAPE, kv_tokens: int = 65536) -> LocalLM:
    return LocalLM(fresh(shape, 3).eval(), characters(), "toy", kv_tokens=kv_tokens)


def opinionated(decoder: Decoder, windows: int = 3, seed: int = 1) -> Routers:
    """Routers that decide differently for different prompts."""
    routers = fresh_routers(decoder, 16, windows, seed)
    with torch.no_grad():
        for p in routers.parameters():
            p.mul_(8.0)
    return routers


PROMPTS = [tuple(bytes(text, "utf8")) for text in ("a", "two and two", "abcdefghijklmnopqrst", "?!", "never a word", "0123456789" * 4)]


def by_hand(decoder: Decoder, routers: Routers, prompt: tuple[int, ...], knob: float) -> tuple[int, ...]:
    ids = torch.tensor([prompt])
    over = Windows.of(torch.tensor([len(prompt)]), len(prompt), routers.windows)
    _, counts = execute(decoder, ids, lambda layer, x: decided(routers.logits(layer, over.means(x), over.share), knob))
    return tuple(counts[0].tolist())


@pytest.mark.parametrize("shape", [SHAPE, BIASED])
def test_every_program_decodes_with_a_cache_as_it_does_anew(shape: DecoderConfig) -> None:
    """All 81 programs of four blocks side by side: prefill, then token by token, against one pass over the whole text."""

    async def logits() -> list[torch.Tensor]:
        async with lm_of(shape) as lm:

            async def one(counts: tuple[int, ...]) -> torch.Tensor:
                with await lm.sequence(PROMPTS[1], program_of(counts)) as s:
                    for id in (65, 66):
                        await s.append([id])
                    return await s.logits()

            return list(await asyncio.gather(*map(one, product((0, 1, 2), repeat=4))))

    decoder = fresh(shape, 3).eval()
    counts = torch.tensor(list(product((0, 1, 2), repeat=4)))
    ids = torch.tensor([[*PROMPTS[1], 65, 66]]).expand(81, -1)
    with torch.no_grad():
        anew = decoder.logits(execute(decoder, ids, fixed(counts))[0][:, -1])
    for a, b in zip(asyncio.run(logits()), anew, strict=True):
        assert (a - b).abs().max() <= 1e-5


@pytest.mark.parametrize("shape", [SHAPE, BIASED])
@pytest.mark.parametrize("how", ["knob at 0.5", "routers that say run"])
def test_running_every_block_is_the_base_model_bit_for_bit(shape: DecoderConfig, how: str) -> None:
    async def both() -> None:
        async with lm_of(shape) as lm:
            routers = opinionated(lm.decoder)
            if how != "knob at 0.5":
                with torch.no_grad():
                    for block in routers.blocks:
                        assert isinstance(block, nn.Sequential)
                        last = block[2]
                        assert isinstance(last, nn.Linear)
                        last.bias.copy_(torch.tensor([0.0, 1e6, 0.0]))
            async with route(lm, routers, 0.5 if how == "knob at 0.5" else -0.5) as routed:
                for prompt in PROMPTS:
                    a, b = await lm.complete(prompt, GREEDY), await routed.complete(prompt, GREEDY)
                    assert (a.ids, a.logprobs) == (b.ids, b.logprobs)
                    with await lm.sequence(prompt) as s, await routed.sequence(prompt) as t:
                        assert torch.equal(await s.logits(), await t.logits())
                        assert t.program == whole(4)

    asyncio.run(both())


@pytest.mark.parametrize("knob", [-0.5, -0.6, 0.0])
def test_decisions_are_those_of_the_prompt_and_hold_for_every_later_token(knob: float) -> None:
    async def run() -> set[tuple[int, ...]]:
        met = set()
        async with lm_of() as lm:
            routers = opinionated(lm.decoder)
            async with route(lm, routers, knob) as routed:
                for prompt in PROMPTS:
                    with await routed.sequence(prompt) as s:
                        program = s.program
                        assert program is not None
                        assert counts_of(program, 4) == by_hand(lm.decoder, routers, prompt, knob)
                        met.add(program)
                        own = [(await s.sample(GREEDY.with_(seed=0)))[0] for _ in range(5)]
                        assert s.program == program
                        with await lm.sequence(prompt, program) as t:  # the unrouted model, told the program
                            assert own == [(await t.sample(GREEDY.with_(seed=0)))[0] for _ in range(5)]
                        s.truncate(len(prompt))
                        assert s.fork().program == program
        return met

    assert len(asyncio.run(run())) > 1


@pytest.mark.parametrize("shape", [SHAPE, BIASED])
def test_rows_with_different_programs_are_in_one_batch_what_they_are_alone(shape: DecoderConfig) -> None:
    """Bit for bit: routed ones beside each other, and told programs, beside prompts that go through every block or leave the order."""

    async def run() -> None:
        async with lm_of(shape) as lm, route(lm, opinionated(lm.decoder)) as routed:
            alone = [await routed.complete(p, GREEDY) for p in PROMPTS]
            beside = await asyncio.gather(*(routed.complete(p, GREEDY) for p in PROMPTS * 2))
            for a, b in zip(alone * 2, beside, strict=True):
                assert (a.ids, a.logprobs) == (b.ids, b.logprobs)
            programs = [None, *(program_of(c) for c in list(product((0, 1, 2), repeat=4))[::9])]

            async def told(program: tuple[int, ...] | None, i: int) -> tuple[object, ...]:
                with await lm.sequence(PROMPTS[i % len(PROMPTS)], program) as s:
                    made = await lm.grow(s, GREEDY)
                    return made.ids, made.logprobs

            own = [await told(p, i) for i, p in enumerate(programs)]
            assert own == list(await asyncio.gather(*(told(p, i) for i, p in enumerate(programs))))
            odd = [*programs[:5], (3, 1, 1, 0)]
            own = [await told(p, i) for i, p in enumerate(odd)]
            assert own == list(await asyncio.gather(*(told(p, i) for i, p in enumerate(odd))))

    asyncio.run(run())


def test_a_prompt_is_computed_once_and_priced_by_the_blocks_it_ran() -> None:
    async def run() -> None:
        async with lm_of() as lm:
            routers = opinionated(lm.decoder)
            async with route(lm, routers) as routed:
                for prompt in PROMPTS:
                    c = await routed.complete(prompt, GREEDY)
                    depth = sum(by_hand(lm.decoder, routers, prompt, -0.5))
                    assert c.cost.prefill_tokens == len(prompt)
                    assert c.cost.layers_run == (len(prompt) + 5) * depth
                    with await lm.sequence(prompt, program_of(by_hand(lm.decoder, routers, prompt, -0.5))) as s:
                        plain = (await lm.grow(s, GREEDY)).cost.flops + s.cost.flops
                    W = min(3, len(prompt))
                    assert c.cost.flops > 0
                    assert c.cost.flops - 4 * (len(prompt) * 24 + 2 * W * 16 * 27) <= plain

    asyncio.run(run())


def test_a_long_prompt_is_decided_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than what a step takes of other prompts; and others wait, but are computed."""
    monkeypatch.setattr(scheduler, "CHUNK", 16)

    async def run() -> None:
        async with lm_of() as lm:
            routers = opinionated(lm.decoder)
            async with route(lm, routers) as routed:
                sequences = await asyncio.gather(*(routed.sequence(p) for p in PROMPTS))
                for s, prompt in zip(sequences, PROMPTS, strict=True):
                    assert counts_of(s.program or (), 4) == by_hand(lm.decoder, routers, prompt, -0.5)
                    s.close()

    asyncio.run(run())


def test_a_row_that_was_pre_empted_keeps_its_program() -> None:
    async def run() -> None:
        async with lm_of(kv_tokens=70) as small, lm_of() as large:
            routers = opinionated(small.decoder)
            long = GREEDY.with_(max_tokens=20)
            async with route(small, routers) as a, route(large, routers) as b:
                got = await asyncio.gather(*(a.complete(p, long) for p in PROMPTS))
                for one, p in zip(got, PROMPTS, strict=True):
                    assert one.ids == (await b.complete(p, long)).ids

    asyncio.run(run())


def test_scoring_is_routed_by_the_context_alone() -> None:
    async def run() -> None:
        async with lm_of() as lm:
            routers = opinionated(lm.decoder)
            async with route(lm, routers) as routed:
                for prompt in PROMPTS:
                    program = program_of(by_hand(lm.decoder, routers, prompt, -0.5))
                    scored = await routed.score(prompt, (70, 71, 72))
                    with torch.no_grad():
                        ids = torch.tensor([[*prompt, 70, 71, 72]])
                        hidden, _ = execute(lm.decoder, ids, fixed(torch.tensor([counts_of(program, 4)])))
                        logp = lm.decoder.logits(hidden).log_softmax(-1)[0]
                    at = len(prompt) - 1
                    assert scored == pytest.approx([float(logp[at + k, 70 + k]) for k in range(3)], abs=1e-4)

    asyncio.run(run())


def test_a_knob_beyond_its_ends_is_refused() -> None:
    lm = lm_of()
    with pytest.raises(UserError, match=r"p is -1\.5"):
        route(lm, opinionated(lm.decoder), -1.5)
