"""Parallel paths in decoder and engine: what ParaThinker (arXiv 2509.04475) promises, against one masked forward pass over everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence as Seq
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from engines import TINY, decoder, prompt
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reasonry.core import Sampling, UserError
from reasonry.lm.checkpoint import load_decoder, save_decoder
from reasonry.lm.decoder import Decoder
from reasonry.lm.engine.sequence import Sequence
from reasonry.lm.load import POCKET
from reasonry.lm.local import LocalLM
from reasonry.lm.thoughts import AUTHORS_STD, controls, equipped, with_controls, with_thoughts, with_vocabulary
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import attention, causal, masked
from reasonry.nn.masks import PAD, PROMPT, SUMMARY, TAGS, two_stage
from reasonry.nn.masks import causal as triangle
from reasonry.nn.masks import thoughts as thoughts_of
from reasonry.nn.rope import rotate

J = 4
BASE = decoder()
FUSED = with_thoughts(BASE, J, std=0.7, generator=torch.Generator().manual_seed(3)).requires_grad_(False)
BIASED = with_thoughts(decoder(replace(TINY, o_bias=True)), J, std=0.7, generator=torch.Generator().manual_seed(4)).requires_grad_(False)
"""Random thought embeddings, in a model that `Fused` serves and in one that it does not."""


def laid(paths: Seq[Seq[int]], start: Seq[int], summary: Seq[int], tags: Seq[int]) -> tuple[list[int], list[int], list[int]]:
    """ids, positions and groups of prompt, paths and summary, flattened."""
    longest = max(map(len, paths), default=0)
    ids, positions, groups = list(start), list(range(len(start))), [PROMPT] * len(start)
    for path, tag in zip(paths, tags, strict=True):
        ids += path
        positions += range(len(start), len(start) + len(path))
        groups += [tag] * len(path)
    ids += summary
    positions += range(len(start) + longest, len(start) + longest + len(summary))
    return ids, positions, groups + [SUMMARY] * len(summary)


def whole(model: Decoder, ids: Seq[int], positions: Seq[int], groups: Seq[int], embeds: Tensor | None = None) -> Tensor:
    """Logits [T, V] of one forward pass under the dense mask."""
    g = torch.tensor([groups])
    given_ids = torch.tensor([ids]) if embeds is None else None
    hidden = model(given_ids, torch.tensor([positions]), masked(two_stage(g)), embeds=embeds, thoughts=thoughts_of(g))
    return model.logits(hidden.last)[0]


def lm(model: Decoder) -> LocalLM:
    return LocalLM(model, cast("Tokenizer", None), "tiny", max_rows=16, kv_tokens=2048)


async def fork(start: Sequence, ids: Seq[int], tag: int) -> Sequence:
    """A path after the prompt, its ids computed."""
    path = start.fork()
    await path.append(ids, thought=tag)
    return path


@pytest.mark.parametrize("model", [BASE, decoder(replace(TINY, o_bias=True))])
async def test_thought_embeddings_of_zero_change_no_bit(model: Decoder) -> None:
    """In one forward pass and in the engine, whatever thought a token has."""
    zero = with_thoughts(model, J).requires_grad_(False)
    ids, thoughts = torch.tensor([prompt(20)]), torch.arange(20)[None] % (J + 1)
    positions = torch.arange(20)[None]
    assert torch.equal(zero(ids, positions, causal(), thoughts=thoughts).last, model(ids, positions, causal()).last)
    assert torch.equal(zero(ids, positions, causal()).last, model(ids, positions, causal()).last)
    drawn = []
    for each in (model, zero):
        async with lm(each) as local:
            with await local.sequence(prompt(9)) as s:
                await s.append([5], thought=3)
                drawn.append([await s.sample(Sampling(seed=1)) for _ in range(12)])
                assert s.thoughts == (0,) * 9 + (3,) * 13
    assert drawn[0] == drawn[1]


def test_a_thought_is_added_to_keys_and_values_alone() -> None:
    """Keys before their rotation, values as they are, queries untouched; None is thought 0, which is an embedding like the others."""
    seen: dict[str, tuple[Tensor, ...]] = {}

    def watch(name: str):
        def attend(site, x, q, k, v):  # type: ignore[no-untyped-def]
            if site.layer == 0:
                seen[name] = (q, k, v)
            return attention(q, k, v, causal=True)

        return attend

    ids, positions = torch.tensor([prompt(6)]), torch.tensor([[3, 4, 5, 9, 10, 11]])
    thoughts = torch.tensor([[0, 1, 2, 3, 4, 1]])
    BASE(ids, positions, watch("base"))
    FUSED(ids, positions, watch("thought"), thoughts=thoughts)
    T = FUSED.layers[0].self_attn.thought.weight[thoughts][:, :, None]  # type: ignore[union-attr, index]
    turned = rotate(T, *FUSED.rotation(positions, T.dtype))
    (q, k, v), (q2, k2, v2) = seen["base"], seen["thought"]
    assert torch.equal(q, q2)
    torch.testing.assert_close(k2, k + turned, atol=1e-6, rtol=0)
    torch.testing.assert_close(v2, v + T, atol=1e-6, rtol=0)
    zeros = torch.zeros_like(ids)
    assert torch.equal(FUSED(ids, positions, causal()).last, FUSED(ids, positions, causal(), thoughts=zeros).last)


def test_a_thought_adds_a_score_that_depends_on_distance_alone() -> None:
    """q_nᵀ R (k + T) − q_nᵀ R k = q_nᵀ R_{m−n} T, whatever n and m are (eq. 6)."""
    g = torch.Generator().manual_seed(0)
    q, k, T = (torch.randn(1, 1, 1, TINY.head_dim, generator=g, dtype=torch.float64) for _ in range(3))

    def at(x: Tensor, place: int) -> Tensor:
        return rotate(x, *BASE.rotation(torch.tensor([[place]]), torch.float64))

    for n, m in ((9, 4), (40, 35), (7, 7)):
        gained = (at(q, n) * at(k + T, m)).sum() - (at(q, n) * at(k, m)).sum()
        torch.testing.assert_close(gained, (at(q, n) * at(T, m)).sum(), atol=1e-12, rtol=0)
    torch.testing.assert_close((at(q, 9) * at(T, 4)).sum(), (at(q, 40) * at(T, 35)).sum(), atol=1e-5, rtol=0)  # angles are in fp32


async def test_one_path_without_thoughts_is_the_plain_model() -> None:
    """P = 1, T = 0: the two-stage mask is the causal one and positions run on; logits and the engine's draws are equal to the last bit."""
    ids, positions, groups = laid([prompt(7, 1)], prompt(9), prompt(5, 2), [1])
    assert positions == list(range(21))
    assert torch.equal(two_stage(torch.tensor([groups])), triangle(21))
    zero = with_thoughts(BASE, J).requires_grad_(False)
    plain = BASE.logits(BASE(torch.tensor([ids]), torch.tensor([positions]), masked(triangle(21))).last)[0]
    assert torch.equal(whole(zero, ids, positions, groups), plain)
    async with lm(zero) as model, lm(BASE) as base:
        with await model.sequence(prompt(9)) as start:
            path = await fork(start, prompt(7, 1), 1)
            joined = start.fork()
            await joined.join(path)
            await joined.append(prompt(5, 2), thought=0)
            with await base.sequence(ids) as s:
                for i in range(10):
                    assert await joined.sample(Sampling(seed=i)) == await s.sample(Sampling(seed=i))


def test_paths_are_isolated_and_the_summary_is_not() -> None:
    """By gradients: no logit of a path depends on another path's embeddings, every one on the prompt's; the summary's on all."""
    model = FUSED
    ids, positions, groups = laid([prompt(4, 1), prompt(6, 2), prompt(3, 3)], prompt(5), prompt(4, 4), [2, 1, 4])
    embeds = model.embed_tokens(torch.tensor([ids])).detach().requires_grad_(True)
    logits = whole(model, ids, positions, groups, embeds)
    of = torch.tensor(groups)
    weight = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(0))
    for group in (PROMPT, 1, 2, 4, SUMMARY):
        (grad,) = torch.autograd.grad((logits[of == group] @ weight).sum(), embeds, retain_graph=True)
        moved = grad[0].abs().sum(-1)
        for other in (PROMPT, 1, 2, 4, SUMMARY):
            seen = other in (group, PROMPT) or group == SUMMARY
            assert bool((moved[of == other] > 0).all()) is seen, (group, other)
            assert seen or float(moved[of == other].abs().max()) == 0.0


def test_the_order_of_paths_does_not_matter() -> None:
    """Paths that keep their tags may stand in any order: their logits and the summary's stay."""
    model = with_thoughts(decoder().double(), J, std=0.7, generator=torch.Generator().manual_seed(3)).requires_grad_(False)
    paths, tags = [prompt(4, 1), prompt(6, 2), prompt(3, 3)], [2, 1, 4]
    found = []
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        ids, positions, groups = laid([paths[i] for i in order], prompt(5), prompt(4, 4), [tags[i] for i in order])
        logits = whole(model, ids, positions, groups)
        found.append({g: logits[torch.tensor(groups) == g] for g in (PROMPT, *tags, SUMMARY)})
    for other in found[1:]:
        for group, logits in found[0].items():
            torch.testing.assert_close(other[group], logits, atol=1e-10, rtol=0)
    ids, positions, groups = laid(paths, prompt(5), prompt(4, 4), [1, 2, 4])
    assert not torch.allclose(whole(model, ids, positions, groups)[-4:], found[0][SUMMARY], atol=1e-3), "tags do matter"


async def steered(model: LocalLM, start: list[int], paths: list[list[int]], summary: list[int], tags: list[int], sampled: int) -> float:
    """The largest distance of the engine's logits from those of the dense mask, for every path's end and all of the summary.

    The last `sampled` tokens of each path are drawn in the engine, all paths at the same time, so that steps have ragged rows.
    """
    with await model.sequence(start) as s:
        rows = [await fork(s, path, tag) for path, tag in zip(paths, tags, strict=True)]

        async def draw(row: Sequence, n: int) -> None:
            for i in range(n):
                await row.sample(Sampling(seed=i))

        await asyncio.gather(*(draw(row, (sampled + i) % 5) for i, row in enumerate(rows)))
        ends = await asyncio.gather(*(row.logits() for row in rows))
        full = [list(row.ids[len(start) :]) for row in rows]
        joined = s.fork()
        await joined.join(*rows)
        told = []
        for token in summary:
            await joined.append([token], thought=0)
            told.append(await joined.logits())
        ids, positions, groups = laid(full, start, summary, tags)
        assert joined.ids == tuple(ids)
        assert joined.positions == tuple(positions)
        assert joined.thoughts == tuple(thoughts_of(torch.tensor(groups)).tolist())
        for row in (*rows, joined):
            row.close()
    pads = 3  # a batch of two, the second longer by padding that nobody looks at
    g = torch.tensor([groups + [PAD] * pads, [PAD] * pads + groups])
    i, p = torch.tensor([ids + [0] * pads, [0] * pads + ids]), torch.tensor([positions + [0] * pads, [0] * pads + positions])
    logits = model.decoder.logits(model.decoder(i, p, masked(two_stage(g)), thoughts=thoughts_of(g)).last)
    torch.testing.assert_close(logits[0, :-pads], logits[1, pads:], atol=1e-5, rtol=0)
    of = torch.tensor(groups)
    worst = [float((end - logits[0, :-pads][of == tag][-1]).abs().max()) for end, tag in zip(ends, tags, strict=True)]
    return max(*worst, float((torch.stack(told) - logits[0, :-pads][of == SUMMARY]).abs().max()))


lengths = st.lists(st.integers(1, 9), min_size=1, max_size=J)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 20), lengths, st.integers(1, 4), st.integers(0, 4), st.randoms(use_true_random=False))
def test_decoding_step_by_step_equals_the_dense_mask(start: int, lengths: list[int], summary: int, sampled: int, rng: object) -> None:
    """For paths of unequal lengths and any tags, some tokens appended, some drawn, rows of a step padded and not: within 1e-5."""
    tags = rng.sample(range(1, J + 1), len(lengths))  # type: ignore[attr-defined]
    paths = [prompt(n, seed=i + 1) for i, n in enumerate(lengths)]

    async def check(model: Decoder) -> float:
        async with lm(model) as local:
            return await steered(local, prompt(start), paths, prompt(summary, 99), tags, sampled)

    for model in (FUSED, BIASED):
        assert asyncio.run(check(model)) <= 1e-5


async def test_nothing_is_computed_twice() -> None:
    """The ledger: prompt once, each path token once, the summary's own; what is joined holds l_x + Σ |r_i| tokens and costs nothing."""
    async with lm(FUSED) as model:
        start = await model.sequence(prompt(24))
        rows = [await fork(start, [7, 8], tag) for tag in (1, 2, 3)]
        for n, row in enumerate(rows):
            for i in range(3 + n):
                await row.sample(Sampling(seed=i))
            row.truncate(len(row) - 1)  # a drawn token that is replaced by the path's own closer was never computed
            await row.append([9 + n])
        joined = start.fork()
        before = model.engine.pool.used
        await joined.join(*rows)
        assert model.engine.pool.used == before
        assert len(joined) == len(joined.ids) == 24 + sum(len(row) - 24 for row in rows) == 24 + 5 + 6 + 7
        await joined.append([50, 51], thought=0)
        for i in range(4):
            await joined.sample(Sampling(seed=i))
        everyone = [start, *rows, joined]
        layers = sum((s.cost.layers_run for s in everyone), 0)
        assert layers == 3 * (24 + (5 + 6 + 7) + 2 + 3), "the last token drawn is not computed"
        assert sum(s.cost.prefill_tokens for s in everyone) == 24 + 3 * (2 + 1) + 2
        assert sum(s.cost.completion_tokens for s in everyone) == 3 + 4 + 5 + 4
        assert max(s.cost.peak_kv_bytes for s in everyone) == (24 + 18 + 2 + 3) * 3 * model.engine.pool.site_bytes()
        for s in everyone:
            s.close()
        model.engine.flush()
        assert model.engine.pool.used == 0


async def test_dropping_a_drawn_token_computes_nothing_again() -> None:
    """A token that was drawn but not computed is taken back for nothing, and the next one is drawn from the same distribution."""
    async with lm(FUSED) as model:
        with await model.sequence(prompt(12)) as s:
            token, logprob = await s.sample(Sampling(seed=5))
            s.truncate(12)
            assert await s.sample(Sampling(seed=5)) == (token, logprob)
            assert s.cost.layers_run == 12 * 3
            await s.append([3])
            s.truncate(12)  # its keys are dropped; the state before it was not kept
            assert await s.sample(Sampling(seed=5)) == (token, logprob)
            assert s.cost.prefill_tokens == 12 + 1 + 1
            assert s.cost.layers_run == (12 + 1 + 1 + 1) * 3


async def test_the_same_tag_gives_the_same_greedy_path_and_another_tag_another() -> None:
    """What tells paths apart is the tag alone."""
    async with lm(FUSED) as model:
        with await model.sequence(prompt(10)) as start:
            rows = [await fork(start, [7], tag) for tag in (1, 1, 2, 3)]
            for _ in range(20):
                await asyncio.gather(*(row.sample(Sampling(temperature=0)) for row in rows))
            one, same, two, three = (row.ids for row in rows)
            assert one == same
            assert len({one, two, three}) == 3
            for row in rows:
                row.close()


async def test_the_prefix_cache_never_hands_out_keys_of_another_thought() -> None:
    """A prompt computed under a thought leaves no trace for plain prompts, nor does it take theirs; a path's prompt is still shared."""
    plain = FUSED.logits(FUSED(torch.tensor([prompt(32)]), torch.arange(32)[None], causal()).last)[0, -1]
    async with lm(FUSED) as model:
        tagged = await model.sequence(())
        await tagged.append(prompt(32), thought=2)
        with await model.sequence(prompt(32)) as s:
            assert s.cost.prefill_tokens == 32
            torch.testing.assert_close(await s.logits(), plain, atol=1e-4, rtol=1e-5)
        again = await model.sequence(())
        await again.append(prompt(32), thought=2)
        assert again.cost.prefill_tokens == 32
        assert torch.equal(await again.logits(), await tagged.logits())
        assert not torch.allclose(await again.logits(), plain, atol=1e-2)
        with await model.sequence(prompt(32)) as s:
            assert s.cost.prefill_tokens == 32 - 24, "whole blocks of the plain prompt are known, but for its last token"
        for row in (tagged, again):
            row.close()


async def test_the_context_window_is_about_positions() -> None:
    """Paths side by side may hold more tokens together than the window has positions."""
    narrow = with_thoughts(decoder(replace(TINY, max_position=40)), J).requires_grad_(False)
    async with lm(narrow) as model:
        start = await model.sequence(prompt(20))
        rows = [await fork(start, prompt(12, i), i) for i in (1, 2, 3)]
        joined = start.fork()
        await joined.join(*rows)
        await joined.append([5, 6], thought=0)
        assert len(joined) == 58
        job = await joined.generate(Sampling(max_tokens=50))
        assert job.stop == "context"
        assert joined.positions[-1] == 39
        with pytest.raises(UserError, match="context window is 40"):
            await joined.append([1])


async def test_a_thought_that_the_model_lacks_is_refused() -> None:
    async with lm(FUSED) as model:
        with await model.sequence(prompt(4)) as s:
            for wrong in (J + 1, -1):
                with pytest.raises(UserError, match=rf"thought is {wrong} but the model has thoughts 0 to {J}"):
                    await s.append([1], thought=wrong)
            assert len(s) == 4


def test_groups_a_round_apart_share_a_tag_and_not_a_path() -> None:
    groups = torch.tensor([[PROMPT, 3, 3 + TAGS, SUMMARY, PAD]])
    assert thoughts_of(groups).tolist() == [[0, 3, 3, 0, 0]]
    assert not bool(two_stage(groups)[0, 2, 1])


def test_a_saved_model_has_its_thoughts_and_transformers_loads_the_rest(tmp_path: Path) -> None:
    """Written and read again they are equal, alone and over the base's folder; transformers computes the base model's logits."""
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([prompt(12)])
    positions, thoughts = torch.arange(12)[None], torch.arange(12)[None] % (J + 1)
    save_decoder(BASE, tmp_path / "base")
    save_decoder(FUSED, tmp_path / "alone")
    save_decoder(FUSED, tmp_path / "over", like=tmp_path / "base")
    for name in ("alone", "over"):
        assert json.loads((tmp_path / name / "config.json").read_text())["num_thoughts"] == J + 1
        again = load_decoder(tmp_path / name)
        assert again.config == FUSED.config
        assert torch.equal(again(ids, positions, causal(), thoughts=thoughts).last, FUSED(ids, positions, causal(), thoughts=thoughts).last)
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "alone")(ids).logits
    torch.testing.assert_close(theirs, BASE.logits(BASE(ids, positions, causal()).last), atol=1e-4, rtol=1e-5)
    save_decoder(BASE, tmp_path / "back", like=tmp_path / "alone")
    assert load_decoder(tmp_path / "back").config == BASE.config
    raw = json.loads((tmp_path / "back" / "config.json").read_text())
    (tmp_path / "back" / "config.json").write_text(json.dumps(raw | {"num_thoughts": -1}))
    with pytest.raises(UserError, match="num_thoughts is -1"):
        load_decoder(tmp_path / "back")


def test_thought_embeddings_grow_and_keep_what_was_learnt() -> None:
    grown = with_thoughts(FUSED, J + 2, std=AUTHORS_STD, generator=torch.Generator().manual_seed(0))
    state, had = grown.state_dict(), FUSED.state_dict()
    for layer in range(TINY.num_layers):
        name = f"layers.{layer}.self_attn.thought.weight"
        assert state[name].shape == (J + 3, TINY.head_dim)
        assert torch.equal(state[name][: J + 1], had[name])
        assert 0 < float(state[name][J + 1 :].std()) < 3 * AUTHORS_STD
    assert grown.embed_tokens.weight.data_ptr() == FUSED.embed_tokens.weight.data_ptr(), "all else is shared"
    with pytest.raises(UserError, match="2 asked for, but the model has 4"):
        with_thoughts(FUSED, 2)


def test_new_tokens_leave_the_old_ones_as_they_were() -> None:
    """Rows are added to embedding and output layer; hidden states of old texts are the same bits."""
    for tie in (True, False):
        model = decoder(replace(TINY, tie_embeddings=tie))
        grown = with_vocabulary(model, 101, generator=torch.Generator().manual_seed(0))
        ids, positions = torch.tensor([prompt(12)]), torch.arange(12)[None]
        old, new = model(ids, positions, causal()).last, grown(ids, positions, causal()).last
        assert torch.equal(old, new)
        torch.testing.assert_close(grown.logits(new)[..., :96], model.logits(old), atol=1e-5, rtol=1e-5)
        assert grown.logits(new).shape[-1] == 101
        assert len({tuple(row) for row in grown.embed_tokens.weight[96:].tolist()}) == 5
        assert with_vocabulary(model, 50) is model


def test_control_tokens_are_found_by_name_and_added_where_they_lack(tmp_path: Path) -> None:
    """The shipped models have eight; a tokenizer without any is given them after its own, and transformers reads it alike."""
    from transformers import AutoTokenizer

    shipped = Tokenizer.load(POCKET / "pocket-1m")
    assert controls(shipped).tags == 8
    assert with_controls(shipped, 8) is shipped
    letters = Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "{{ messages[0].content }}")
    with pytest.raises(UserError, match="no token <think1>"):
        controls(letters)
    more = with_controls(letters, 3)
    found = controls(more)
    assert found.tags == 3
    assert sorted(found.ids) == list(range(259, 267))
    text = "ab<think2>cd</think2><summary>e</summary>"
    assert found.opens[1] in more.encode(text)
    assert more.decode(more.encode(text)) == text
    model, tokenizer = equipped(decoder(replace(TINY, vocab_size=259)), letters, 3)
    assert model.config.num_thoughts == 4
    assert model.config.vocab_size == 267
    save_decoder(model, tmp_path, tokenizer=tokenizer)
    peer = AutoTokenizer.from_pretrained(tmp_path)
    assert tuple(peer.encode(text, add_special_tokens=False)) == more.encode(text)
    assert equipped(model, tokenizer, 3)[1] is tokenizer
