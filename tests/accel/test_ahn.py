"""AHN's oracles: identity where the window covers, plain window where nothing is learned, one place for every token, any cut alike."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_ahn import SHAPE, cuts_of, logits, model, tokens, trained, whole

from reasonry.accel.ahn import CELLS, Adapter, Window, adapt, load_adapter, remember, save_adapter
from reasonry.accel.ahn.distil import Drawn, Fixed, Sequences, cross_entropy, distil, kl, pieces, streams
from reasonry.accel.ahn.kernels import fastest, over_decayed, over_gated_delta
from reasonry.accel.ahn.ledger import ahn_cache, ahn_mixing_flops, full_cache, full_mixing_flops, parameters
from reasonry.accel.ahn.memory import Memory
from reasonry.accel.ahn.pooled import pooled
from reasonry.core import Sampling, UserError
from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.engine.flops import block_flops, head_flops
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import Site, causal, masked
from reasonry.nn.masks import window as window_mask
from reasonry.nn.recurrence import decayed, decayed_stepwise, gated_delta, gated_delta_stepwise


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sinks", [0, 3])
def test_a_window_that_covers_the_context_is_full_attention(cell: str, sinks: int) -> None:
    """For every length up to sinks + window, in one piece or token by token, whatever the cells have learned."""
    decoder, ids = model(), tokens(16)
    adapter = trained(decoder, cell)
    with torch.no_grad():
        full = decoder.logits(decoder(ids, torch.arange(16)[None], causal()).last)
    for n in range(1, 17):
        window = Window(n - sinks if n > sinks else 1, sinks)
        for cuts in ([1] * n, cuts_of(n, window.size, random.Random(n))):
            memory = Memory(adapter, window, 1)
            assert torch.allclose(logits(decoder, ids[:, :n], memory, cuts), full[:, :n], atol=1e-5)
            assert memory.evicted == 0


@pytest.mark.parametrize("cell", CELLS)
def test_untrained_cells_are_a_plain_window_with_sinks(cell: str) -> None:
    """W_o = 0 gives what an explicit mask gives; so do trained cells that may not write."""
    decoder, ids, window = model(), tokens(40, rows=2), Window(7, 2)
    mask = window_mask(40, 7, 2)
    with torch.no_grad():
        plain = decoder.logits(decoder(ids, torch.arange(40).expand(2, -1), masked(mask)).last)
    assert torch.allclose(whole(decoder, adapt(decoder, cell), ids, window), plain, atol=1e-5)
    assert torch.allclose(whole(decoder, trained(decoder, cell), ids, window, write=False), plain, atol=1e-5)
    assert not torch.allclose(whole(decoder, trained(decoder, cell), ids, window), plain, atol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
@given(size=st.integers(1, 9), sinks=st.integers(0, 5), n=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_any_cut_of_prefill_and_decode_is_the_whole_pass(cell: str, size: int, sinks: int, n: int, seed: int) -> None:
    """Pieces of any sizes up to the window leave the same logits, and the count of what left the window is right."""
    decoder, ids, window = model(), tokens(n, seed=seed), Window(size, sinks)
    adapter = trained(decoder, cell)
    memory = Memory(adapter, window, 1)
    made = logits(decoder, ids, memory, cuts_of(n, size, random.Random(seed)))
    assert torch.allclose(made, whole(decoder, adapter, ids, window), atol=2e-4)
    assert memory.evicted == max(0, n - size - sinks)


@given(size=st.integers(1, 12), sinks=st.integers(0, 6), seen=st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_every_token_is_in_exactly_one_place(size: int, sinks: int, seen: int) -> None:
    """Sinks, window and the state share the tokens out without loss or repetition."""
    held = [t for t in Window(size, sinks).holds(torch.tensor([seen]))[0].tolist() if t >= 0]
    written = list(range(sinks, max(sinks, seen - size)))
    assert sorted(held + written) == list(range(seen))


def test_the_token_that_leaves_is_in_the_state_and_the_next_is_not() -> None:
    """Off by one shows here: changing value j moves only what the window still holds, or what has been written."""
    decoder, window = model(), Window(4, 1)
    adapter = trained(decoder, "DeltaNet")
    ids = tokens(12)
    base = whole(decoder, adapter, ids, window, write=False)
    for j in range(1, 12):
        other = ids.clone()
        other[0, j] = (other[0, j] + 1) % 300
        moved = (whole(decoder, adapter, other, window, write=False) - base).abs().amax(-1)[0] > 1e-6
        reach = 2 * (window.size - 1)  # two blocks, each looking back size − 1 tokens
        assert not moved[:j].any()
        assert moved[j]
        assert not moved[j + reach + 1 :].any()


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_looks_ahead(cell: str) -> None:
    """A changed token changes no logits before it, and reaches far beyond the window through the state."""
    decoder, window, ids = model(), Window(4, 1), tokens(30)
    adapter = trained(decoder, cell)
    other = ids.clone()
    other[0, 5] = (other[0, 5] + 1) % 300
    change = (whole(decoder, adapter, other, window) - whole(decoder, adapter, ids, window)).abs().amax(-1)[0]
    assert float(change[:5].max()) == 0
    assert float(change[20:].max()) > 0


@pytest.mark.parametrize("cell", CELLS)
def test_the_chunked_form_is_the_recurrence(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole model with the step-by-step rule in place of chunks."""
    decoder, ids, window = model(), tokens(150), Window(5, 2)
    adapter = trained(decoder, cell)
    fast = whole(decoder, adapter, ids, window)
    naive = decayed_stepwise if cell == "Mamba2" else gated_delta_stepwise
    monkeypatch.setattr(CELLS[cell], "write", staticmethod(naive))
    assert torch.allclose(whole(decoder, adapter, ids, window), fast, atol=1e-4)


def test_rows_taken_and_put_together_go_on_as_they_were() -> None:
    """A memory's rows are independent: shuffled, joined with others, each continues as if alone."""
    decoder, window = model(), Window(4, 1)
    adapter = trained(decoder, "GatedDeltaNet")
    ids, more = tokens(9, rows=3), tokens(1, rows=3, seed=5)
    alone = []
    for i in range(3):
        n = 9 - 2 * i
        memory = Memory(adapter, window, 1)
        logits(decoder, ids[i : i + 1, :n], memory, cuts_of(n, 4, random.Random(i)))
        alone.append(memory)
    together = alone[2].beside(alone[0]).beside(alone[1]).take(torch.tensor([1, 2, 0]))
    assert together.seen.tolist() == [9, 7, 5]
    with torch.no_grad():
        joined = decoder(more, together.seen[:, None], together).last
        for i, memory in enumerate(alone):
            assert torch.allclose(decoder(more[i : i + 1], memory.seen[:, None], memory).last[0], joined[i], atol=1e-5)


def lms(cell: str = "GatedDeltaNet", write: bool = True) -> tuple[LocalLM, LocalLM, Adapter]:
    decoder = model()
    tokenizer = Tokenizer.train(
        ["one two three four " * 50], 300, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "{{ messages[0].content }}"
    )
    lm = LocalLM(decoder, tokenizer, "tiny", max_rows=4, kv_tokens=4096)
    adapter = trained(decoder, cell)
    return lm, remember(lm, adapter, Window(8, 2), write), adapter


@pytest.mark.parametrize("cell", CELLS)
async def test_the_engine_samples_what_the_memory_says(cell: str) -> None:
    """Greedy tokens and log-probabilities of requests of many lengths, more than there are rows, equal a whole pass over each."""
    lm, patched, adapter = lms(cell)
    async with lm, patched:
        prompts = [tuple(tokens(n, seed=n)[0].tolist()) for n in (1, 5, 9, 23, 40, 12, 30)]
        made = await asyncio.gather(
            *(patched.complete(p, Sampling(max_tokens=4 + i, temperature=0, ignore_eos=True)) for i, p in enumerate(prompts))
        )
        for prompt, completion in zip(prompts, made, strict=True):
            assert completion.ids is not None
            assert completion.logprobs is not None
            ids = torch.tensor([[*prompt, *completion.ids]])
            expected = whole(lm.decoder, adapter, ids, Window(8, 2)).log_softmax(-1)[0, len(prompt) - 1 : -1]
            assert expected.argmax(-1).tolist() == list(completion.ids)
            assert torch.allclose(expected.amax(-1), torch.tensor(completion.logprobs), atol=1e-4)


async def test_memory_of_a_request_does_not_grow_with_its_context() -> None:
    """Peak cache bytes are the same at 30 and at 120 tokens, less than the unpatched model's, and operations grow linearly."""
    lm, patched, _ = lms()
    async with lm, patched:
        costs = [(await patched.complete(tuple(tokens(n)[0].tolist()), Sampling(max_tokens=1))).cost for n in (30, 120, 210)]
        full = (await lm.complete(tuple(tokens(120)[0].tolist()), Sampling(max_tokens=1))).cost
    assert costs[0].peak_kv_bytes == costs[1].peak_kv_bytes < full.peak_kv_bytes
    assert costs[2].flops - costs[1].flops == pytest.approx(costs[1].flops - costs[0].flops, rel=1e-9)


async def test_what_a_memory_cannot_do_is_refused() -> None:
    """A steered sequence could be forked; a state cannot."""
    lm, patched, _ = lms()
    async with lm, patched:
        with pytest.raises(UserError, match="cannot be forked"):
            await patched.sequence([1, 2, 3])


async def test_scores_are_those_of_a_whole_pass() -> None:
    """`score` goes through the memory too."""
    lm, patched, adapter = lms()
    ids = tokens(30)
    async with lm, patched:
        found = await patched.score(ids[0, :12].tolist(), ids[0, 12:].tolist())
    expected = whole(lm.decoder, adapter, ids, Window(8, 2)).log_softmax(-1)[0, 11:-1].gather(1, ids[0, 12:, None])[:, 0]
    assert torch.allclose(torch.tensor(found), expected, atol=1e-4)


def batch(seed: int, T: int = 24) -> Sequences:
    ids = tokens(T, rows=4, seed=seed)
    return Sequences(ids, torch.ones_like(ids, dtype=torch.bool))


@pytest.mark.parametrize("loss", [kl, cross_entropy])
@pytest.mark.parametrize("cell", CELLS)
def test_only_the_cells_learn(cell: str, loss) -> None:
    """The base's weights are the same to the last bit and have no gradient; the loss falls on a batch seen again and again."""
    decoder = model()
    before = {n: p.clone() for n, p in decoder.named_parameters()}
    adapter = adapt(decoder, cell)
    assert not adapter.used
    losses = list(distil(decoder, adapter, [batch(0)] * 10, lr=1e-2, warmup=2, windows=Fixed(Window(5, 1)), loss=loss))
    assert losses[-1] < losses[0]
    assert adapter.used
    assert all(torch.equal(p, before[n]) and p.grad is None and p.requires_grad for n, p in decoder.named_parameters())


def test_the_loss_sees_only_what_lies_beyond_the_window() -> None:
    """Rows and columns are those of the tokens after the window that are labelled; where all are covered the call is refused."""
    decoder = model()
    adapter, b = adapt(decoder), batch(1)
    labelled = b.labelled.clone()
    labelled[:, 15] = False
    teacher, student, following = streams(decoder, adapter, Sequences(b.ids, labelled), Window(5, 1))
    assert teacher.shape == student.shape == (4 * (24 - 6 - 1 - 1), 300)
    kept = [t for t in range(7, 24) if t != 15]
    assert following.tolist() == b.ids[:, kept].flatten().tolist()
    assert not teacher.requires_grad
    with pytest.raises(UserError, match="no token beyond the window"):
        streams(decoder, adapter, b, Window(30))


@given(T=st.integers(20, 4000), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_drawn_windows_lie_inside_the_sequence(T: int, seed: int) -> None:
    """W in (T/8, T), the sinks at most half of it, both from the lists."""
    drawn = Drawn()
    if not any(T / 8 < W < T for W in drawn.totals):
        return
    window = drawn(T, random.Random(seed))
    assert T / 8 < window.rows < T
    assert window.rows in drawn.totals
    assert window.sinks in drawn.sinks
    assert 2 * window.sinks <= window.rows


def test_an_adapter_is_saved_alone_and_fits_one_shape(tmp_path: Path) -> None:
    """The folder holds the cells only; loading gives the same logits; another shape, another name, a lost file are refused."""
    decoder, ids = model(), tokens(20)
    adapter = trained(decoder, "Mamba2")
    save_adapter(adapter, tmp_path / "a")
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"ahn.json", "ahn.safetensors"}
    loaded = load_adapter(decoder, tmp_path / "a")
    assert torch.equal(whole(decoder, loaded, ids, Window(4)), whole(decoder, adapter, ids, Window(4)))
    other = DecoderConfig(**{**SHAPE.__dict__, "hidden_size": 32})
    with pytest.raises(UserError, match="hidden_size 24"):
        load_adapter(model(shape=other), tmp_path / "a")
    with pytest.raises(UserError, match="cell is 'LSTM'"):
        adapt(decoder, "LSTM")
    (tmp_path / "a" / "ahn.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no ahn\.safetensors"):
        load_adapter(decoder, tmp_path / "a")


QWEN = {
    "3B": DecoderConfig(151936, 2048, 36, 16, 2, 128, 11008, 32768, qkv_bias=True),
    "7B": DecoderConfig(152064, 3584, 28, 28, 4, 128, 18944, 32768, qkv_bias=True, tie_embeddings=False),
    "14B": DecoderConfig(152064, 5120, 48, 40, 8, 128, 13824, 32768, qkv_bias=True, tie_embeddings=False),
}


@pytest.mark.parametrize(
    ("size", "flops", "cache", "numbers"), [("3B", 0.467, 0.26, 13.0), ("7B", 0.482, 0.26, 21.3), ("14B", 0.497, 0.259, 61.0)]
)
def test_the_ledger_gives_the_papers_ratios(size: str, flops: float, cache: float, numbers: float) -> None:
    """Table 1 at L = 128,000 and W = 32,768, to three digits: mixing operations, cache (printed for 3B), and millions of trained numbers,
    decay, bias and norm included."""
    c, L, W = QWEN[size], 128_000, 32_768
    assert round(ahn_mixing_flops(c, L, W) / full_mixing_flops(c, L), 3) == flops
    assert ahn_cache(c, L, W) / full_cache(c, L) == pytest.approx(cache, abs=5.1e-4)
    with torch.device("meta"):
        made = sum(p.numel() for p in Adapter(c, "GatedDeltaNet").parameters())
    assert round(made / 1e6, 1) == numbers
    assert made - parameters(c) == c.num_layers * (2 * c.num_heads + c.head_dim)


def test_the_whole_models_saving_counts_the_embedding_as_a_matrix() -> None:
    """The paper's 40.5 % for 3B comes out with two vocabulary products a token, of which one is a table look-up; 41.6 % with one."""
    c, L, W = QWEN["3B"], 128_000, 32_768
    blocks = c.num_layers * (block_flops(c) * L - 4.0 * L * c.hidden_size * c.head_dim * (c.num_heads + c.num_kv_heads))

    def saved(heads: int) -> float:
        rest = blocks + heads * L * head_flops(c)
        return 1 - (c.num_layers * ahn_mixing_flops(c, L, W) + rest) / (c.num_layers * full_mixing_flops(c, L) + rest)

    assert saved(2) == pytest.approx(0.405, abs=1e-3)
    assert saved(1) == pytest.approx(0.416, abs=1e-3)


def test_the_cells_have_as_many_numbers_as_the_formula_says() -> None:
    """The formula counts gates and output matrices; decay, bias and norm are the few beside them."""
    decoder = model()
    c = decoder.config
    counted = sum(p.numel() for n, p in adapt(decoder, "GatedDeltaNet").named_parameters() if n.endswith(("_proj.weight", "o_proj")))
    assert counted == parameters(c)


def test_averages_that_cover_single_tokens_are_full_attention() -> None:
    """Blocks of one and room for all of them: nothing is lost; with no room it is the plain window."""
    decoder, ids, window = model(), tokens(30), Window(5, 2)
    positions = torch.arange(30)[None]
    with torch.no_grad():
        full = decoder(ids, positions, causal()).last
        assert torch.allclose(decoder(ids, positions, pooled(window, 30, block=1)).last, full, atol=1e-5)
        plain = decoder(ids, positions, masked(window_mask(30, 5, 2))).last
        assert torch.allclose(decoder(ids, positions, pooled(window, 0)).last, plain, atol=1e-5)


def test_an_average_is_of_tokens_that_have_all_left() -> None:
    """Changing token j moves no query that still holds part of j's block in the window otherwise than through the window itself."""
    window, block = Window(3, 1), 4
    q = k = torch.zeros(1, 12, 1, 8)
    v = torch.zeros(1, 12, 1, 8)
    v[0, 2] = 1.0  # in the block of tokens 1 … 4, which has left once token 4 is behind the window: from query 7 on
    seen = pooled(window, 2, block)(Site(0), k, q, k, v)[0, :, 0, 0] > 0
    assert seen.tolist() == [t in (2, 3, 4, 7, 8, 9, 10, 11) for t in range(12)]


def test_texts_are_cut_end_to_end() -> None:
    """No token is lost between texts, and none repeated."""
    texts = [tuple(range(7)), (7, 8), tuple(range(9, 26))]
    made = list(pieces(texts, 4, 3))
    assert torch.cat([b.ids.flatten() for b in made]).tolist() == list(range(24))
    assert all(b.ids.shape == (3, 4) for b in made)


def test_kernels_of_another_layout_are_handed_what_they_take() -> None:
    """A stand-in with flash-linear-attention's signature, made of our recurrences: same outputs up to bfloat16, heads and time turned."""

    def turned(rule):
        def kernel(q, k, v, g, beta=None, *, scale, initial_state, output_final_state):
            assert (q.dtype, scale, output_final_state) == (torch.bfloat16, 1.0, True)
            b = torch.ones_like(g) if beta is None else beta
            out, state = rule(*(y.transpose(1, 2).float() for y in (q, k, v)), g.mT, b.mT, initial_state)
            return out.transpose(1, 2), state

        return kernel

    gen = torch.Generator().manual_seed(0)
    q, k, v = (torch.nn.functional.normalize(torch.randn(2, 3, 9, 8, generator=gen), dim=-1) for _ in range(3))
    log_a, b = -torch.rand(2, 3, 9, generator=gen), torch.rand(2, 3, 9, generator=gen)
    x = (q, k, v, log_a, b, torch.zeros(2, 3, 8, 8))
    for ours, wrapped in ((gated_delta, over_gated_delta(turned(gated_delta_stepwise))), (decayed, over_decayed(turned(decayed_stepwise)))):
        for made, wanted in zip(wrapped(*x), ours(*x), strict=True):
            assert torch.allclose(made, wanted, atol=2e-2)
        one = (q[:, :, :1], k[:, :, :1], v[:, :, :1], log_a[:, :, :1], b[:, :, :1], x[5])
        assert torch.equal(wrapped(*one)[0], ours(*one)[0])
    assert fastest(gated_delta, torch.device("cpu")) is gated_delta
