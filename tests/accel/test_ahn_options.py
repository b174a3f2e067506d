"""AHN's choices: blocks left full, the router, losses, half precision, going on after a stop; and its rules beside transformers' own."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_ahn import SHAPE, cuts_of, logits, model, tokens, trained, whole
from torch import Tensor

from reasonry.accel.ahn import CELLS, Window, adapt, load_adapter, remember, save_adapter
from reasonry.accel.ahn.cell import DeltaNet, GatedDeltaNet
from reasonry.accel.ahn.distil import LOSSES, Drawn, Fixed, Sequences, beyond, distil, layerwise, optimizer_of, unit
from reasonry.accel.ahn.memory import Memory
from reasonry.core import Sampling, UserError
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import Site, causal, masked
from reasonry.nn.masks import window as window_mask
from reasonry.nn.recurrence import decayed, gated_delta


def batch(seed: int, T: int = 24) -> Sequences:
    ids = tokens(T, rows=4, seed=seed)
    return Sequences(ids, torch.ones_like(ids, dtype=torch.bool))


def rule_inputs(T: int, K: int = 8) -> list[Tensor]:
    """q, k, v [2, T, 3, K], log a, b [2, T, 3], as flash-linear-attention lays them out."""
    g = torch.Generator().manual_seed(T)
    q, k, v = (torch.randn(2, T, 3, K, generator=g) for _ in range(3))
    return [q, k, v, -torch.rand(2, T, 3, generator=g), torch.rand(2, T, 3, generator=g)]


@pytest.mark.parametrize("T", [1, 7, 64, 100])
def test_the_gated_delta_rule_is_the_one_of_transformers(T: int) -> None:
    """Its reference for Qwen3-Next, with the signature of flash-linear-attention: outputs and state, whole and from a state."""
    theirs = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next").torch_recurrent_gated_delta_rule
    q, k, v, log_a, b = rule_inputs(T)
    start = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    wanted, after = theirs(q, k, v, log_a, b, initial_state=start, output_final_state=True, use_qk_l2norm_in_kernel=True)
    q, k = (torch.nn.functional.normalize(y, dim=-1) for y in (q, k))
    q, k, v = (y.transpose(1, 2) for y in (q * 8**-0.5, k, v))
    made, state = gated_delta(q, k, v, log_a.mT, b.mT, start)
    assert torch.allclose(made.transpose(1, 2), wanted, atol=1e-5)
    assert torch.allclose(state, after, atol=1e-5)


@pytest.mark.parametrize("T", [1, 7, 64, 100])
def test_the_decayed_rule_is_mamba2s_of_transformers(T: int) -> None:
    """Its reference scan with A = −1: dt is both how much is written and how much is forgotten."""
    theirs = getattr(pytest.importorskip("transformers.models.mamba2.modeling_mamba2"), "mamba2_chunk_scan", None)
    if theirs is None:
        pytest.skip("this transformers has no such function")
    q, k, v, _, delta = rule_inputs(T)
    wanted, after = theirs(v, delta, -torch.ones(3), k, q, chunk_size=16, return_final_states=True)
    q, k, v = (y.transpose(1, 2) for y in (q, k, v))
    made, state = decayed(q, k, v, -delta.mT, delta.mT, torch.zeros(2, 3, 8, 8))
    assert torch.allclose(made.transpose(1, 2), wanted.float(), atol=1e-4)
    assert torch.allclose(state.mT, after.float(), atol=1e-4)


def test_a_gated_cell_that_never_forgets_is_a_delta_net() -> None:
    """GDN with a = 1 and DN with the same other weights: the same logits."""
    decoder, ids, window = model(), tokens(40), Window(5, 1)
    gated, plain = trained(decoder, "GatedDeltaNet"), trained(decoder, "DeltaNet")
    for i in range(SHAPE.num_layers):
        a, b = gated.cell(i), plain.cell(i)
        assert isinstance(a, GatedDeltaNet)
        assert isinstance(b, DeltaNet)
        a.A_log.data.fill_(float("-inf"))
        b.load_state_dict({n: p for n, p in a.state_dict().items() if n not in ("A_log", "dt_bias", "a_proj.weight")})
    assert torch.allclose(whole(decoder, gated, ids, window), whole(decoder, plain, ids, window), atol=1e-6)


def test_what_was_written_under_a_key_is_read_back_scaled() -> None:
    """DN with b = 1 and orthogonal keys of any length: q = k_j reads v_j K^−½ before the norm, the last value where a key came twice."""
    K, window = SHAPE.head_dim, Window(1, 0)
    adapter = adapt(model(), "DeltaNet")
    cell, seen = adapter.cell(0), list[Tensor]()
    assert cell is not None
    cell.gates = lambda x: (torch.zeros(1, 4, x.shape[1]), torch.ones(1, 4, x.shape[1]))
    cell.read = lambda x, o, far: seen.append(o) or torch.zeros(1, o.shape[2], 4, K)
    keys = 3 * torch.eye(K)[[0, 1, 2, 0, 5]]
    v = torch.randn(1, 5, 2, K, generator=torch.Generator().manual_seed(0))
    q, k = keys[[4, 0, 1, 2, 0]][None, :, None].expand(1, 5, 4, K), keys[None, :, None].expand(1, 5, 2, K)
    Memory(adapter, window, 1, keeps=False)(Site(0), torch.zeros(1, 5, SHAPE.hidden_size), q, k, v)
    read = seen[0][0].transpose(0, 1) * K**0.5
    assert torch.allclose(read[1], v[0, 0].repeat_interleave(2, 0), atol=1e-6)  # query 1 asks key 0, written when query 1 came
    assert torch.allclose(read[4], v[0, 3].repeat_interleave(2, 0), atol=1e-6)  # key 0 again, overwritten by token 3
    assert torch.allclose(read[2], v[0, 1].repeat_interleave(2, 0), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@given(size=st.integers(1, 7), sinks=st.integers(0, 3), n=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_full_blocks_and_a_router_survive_any_cut(cell: str, size: int, sinks: int, n: int, seed: int) -> None:
    """A block that keeps every key beside a patched one whose router has been moved: pieces of any size, the same logits."""
    decoder, ids, window = model(), tokens(n, rows=2, seed=seed), Window(size, sinks)
    adapter = trained(decoder, cell, full=(1,), routed=True)
    router = adapter.cells["0"].router
    assert isinstance(router, Tensor)
    router.data.copy_(torch.randn(2, 4, generator=torch.Generator().manual_seed(seed)))
    made = logits(decoder, ids, Memory(adapter, window, 2), cuts_of(n, size, random.Random(seed)))
    assert torch.allclose(made, whole(decoder, adapter, ids, window), atol=2e-4)


def test_a_full_block_sees_everything() -> None:
    """With every block full but the last and nothing learnt, only the last block's reach is cut: as a mask for that block alone says."""
    decoder, ids = model(), tokens(20)
    mask = window_mask(20, 4, 1)

    def attend(site, x, q, k, v):
        return (causal() if site.layer == 0 else masked(mask))(site, x, q, k, v)

    with torch.no_grad():
        wanted = decoder.logits(decoder(ids, torch.arange(20)[None], attend).last)
    assert torch.allclose(whole(decoder, adapt(decoder, full=(0,)), ids, Window(4, 1)), wanted, atol=1e-5)
    with pytest.raises(UserError, match="full names block 2, but the model's are 0 to 1"):
        adapt(decoder, full=(2,))
    with pytest.raises(UserError, match="every block"):
        adapt(decoder, full=(0, 1))


def test_a_router_weighs_what_is_read_by_how_far_the_text_has_gone() -> None:
    """α = 0 and β large: as without one; β very small: the plain window; at first every token counts by half."""
    decoder, ids, window = model(), tokens(30), Window(5, 1)
    plain, routed = trained(decoder, "GatedDeltaNet"), trained(decoder, "GatedDeltaNet", routed=True)
    routers = [p for n, p in routed.named_parameters() if n.endswith("router")]
    assert len(routers) == SHAPE.num_layers
    for shift, wanted in ((50.0, whole(decoder, plain, ids, window)), (-50.0, whole(decoder, plain, ids, window, write=False))):
        for p in routers:
            p.data[1] = shift
        assert torch.allclose(whole(decoder, routed, ids, window), wanted, atol=1e-5)
    cell, x, o = routed.cell(0), torch.randn(1, 2, SHAPE.hidden_size), torch.randn(1, 4, 2, SHAPE.head_dim)
    assert cell is not None
    routers[0].data.copy_(torch.tensor([[2.0] * 4, [0.0] * 4]))
    near, far = cell.read(x, o, torch.tensor([[1 / 6, 3.0]]))[0]
    half = plain.cell(0)
    assert half is not None
    half.load_state_dict({n: p for n, p in cell.state_dict().items() if n != "router"})
    a, b = half.read(x, o, torch.ones(1, 2))[0]
    assert torch.allclose(near, a / (1 + 36), atol=1e-6)  # σ(2 log r) = r² / (1 + r²)
    assert torch.allclose(far, b * 0.9, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_weights_are_patched_too(cell: str) -> None:
    """A bfloat16 model: cells and state stay fp32, the result is near the fp32 model's, and the cells can be learnt."""
    exact, half, ids, window = model(), model().to(torch.bfloat16), tokens(30), Window(5, 1)
    adapter = trained(half, cell)
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}
    memory = Memory(adapter, window, 1)
    made = logits(half, ids, memory, [1] * 30)
    assert made.dtype is torch.bfloat16
    assert next(iter(memory._kept.values())).state.dtype is torch.float32
    assert (made.float() - whole(exact, adapter, ids, window)).abs().mean() < 0.02
    assert len(list(distil(half, adapter, [batch(0)] * 2, windows=Fixed(window)))) == 2


async def test_the_engine_keeps_all_keys_of_full_blocks() -> None:
    """Greedy tokens equal a whole pass; bytes and operations are those of a full and a patched block together."""
    decoder = model()
    tokenizer = Tokenizer.train(
        ["one two three four " * 50], 300, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "{{ messages[0].content }}"
    )
    lm = LocalLM(decoder, tokenizer, "tiny", max_rows=3, kv_tokens=4096)
    some, none = trained(decoder, "GatedDeltaNet", full=(1,)), trained(decoder, "GatedDeltaNet")
    window = Window(8, 2)
    patched, every = remember(lm, some, window), remember(lm, none, window)
    async with lm, patched, every:
        prompts = [tuple(tokens(n, seed=n)[0].tolist()) for n in (1, 9, 40, 23, 30)]
        ask = [Sampling(max_tokens=4 + i, temperature=0, ignore_eos=True) for i in range(5)]
        made = await asyncio.gather(*(patched.complete(p, s) for p, s in zip(prompts, ask, strict=True)))
        for prompt, completion in zip(prompts, made, strict=True):
            assert completion.ids is not None
            found = whole(decoder, some, torch.tensor([[*prompt, *completion.ids]]), window)[0, len(prompt) - 1 : -1]
            assert found.argmax(-1).tolist() == list(completion.ids)
        costs = [(await m.complete(prompts[2], ask[0].with_(max_tokens=1))).cost for m in (patched, every, lm)]
    mixed, cheap, full = (c.peak_kv_bytes for c in costs)
    assert mixed == cheap // 2 + full // 2
    assert costs[0].flops == pytest.approx((costs[1].flops + costs[2].flops) / 2, rel=1e-9)
    assert costs[2].flops > costs[0].flops


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_on_a_batch_seen_again_and_again(name: str) -> None:
    """And leaves full blocks out."""
    decoder = model()
    adapter = adapt(decoder, full=(0,))
    losses = list(distil(decoder, adapter, [batch(0)] * 10, lr=1e-2, warmup=2, windows=Fixed(Window(5, 1)), loss=LOSSES[name]))
    assert losses[-1] < losses[0]


def test_the_layerwise_loss_is_the_squared_distance_of_what_attention_gives() -> None:
    """Recomputed by hand for untrained cells: full attention against the window's mask, at the places beyond it; directions with `unit`."""
    decoder, b, window = model(), batch(3), Window(5, 1)
    gave: dict[str, dict[int, Tensor]] = {"full": {}, "window": {}}

    def watch(name, attend):
        def watched(site, x, q, k, v):
            gave[name][site.layer] = attend(site, x, q, k, v)
            return gave[name][site.layer]

        return watched

    positions, where = torch.arange(24).expand(4, -1), beyond(b, window)
    with torch.no_grad():
        decoder(b.ids, positions, watch("full", causal()))
        decoder(b.ids, positions, watch("window", masked(window_mask(24, 5, 1))))
        for scaled in (Tensor.float, unit):
            parts = [
                (scaled(gave["window"][i][where].flatten(1)) - scaled(gave["full"][i][where].flatten(1))).pow(2).mean() for i in (0, 1)
            ]
            assert layerwise(scaled)(decoder, adapt(decoder), b, window) == pytest.approx(float(sum(parts) / 2), rel=1e-4)


def test_distillation_goes_on_where_it_was_stopped() -> None:
    """The same batches again, the optimiser's memory, and how many steps were done: the cells of an unbroken run, bit for bit."""
    decoder, drawn = model(), Drawn((6, 9, 12), (0, 1, 2))

    def batches():
        return (batch(i) for i in range(8))

    unbroken, broken = adapt(decoder), adapt(decoder)
    losses = list(distil(decoder, unbroken, batches(), 1e-2, 2, 8, drawn, seed=4))
    first = optimizer_of(broken)
    early = distil(decoder, broken, batches(), 1e-2, 2, 8, drawn, optimizer=first, seed=4)
    begun = [next(early) for _ in range(3)]
    early.close()
    again = adapt(decoder)
    again.load_state_dict(broken.state_dict())
    second = optimizer_of(again)
    second.load_state_dict(first.state_dict())
    rest = list(distil(decoder, again, batches(), 1e-2, 2, 8, drawn, optimizer=second, done=3, seed=4))
    assert begun + rest == losses
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), unbroken.parameters(), strict=True))
    assert all(p.requires_grad for p in decoder.parameters())


def test_choices_are_saved_with_the_cells(tmp_path: Path) -> None:
    """Blocks left full and the router come back; a folder of before they existed is read; one that holds other cells is refused."""
    decoder, ids = model(), tokens(20)
    adapter = trained(decoder, "Mamba2", full=(0,), routed=True)
    save_adapter(adapter, tmp_path)
    loaded = load_adapter(decoder, tmp_path)
    assert (loaded.full, loaded.routed) == ((0,), True)
    assert torch.equal(whole(decoder, loaded, ids, Window(4)), whole(decoder, adapter, ids, Window(4)))
    config = tmp_path / "ahn.json"
    config.write_text(config.read_text().replace(', "fa_layer_ids": [0], "use_ahn_router": true', ""))
    with pytest.raises(UserError, match="does not hold these cells"):
        load_adapter(decoder, tmp_path)
    save_adapter(trained(decoder, "Mamba2"), tmp_path)
    config.write_text(config.read_text().replace(', "fa_layer_ids": [], "use_ahn_router": false', ""))
    assert load_adapter(decoder, tmp_path).full == ()
    (tmp_path / "ahn.safetensors").write_bytes(b"half a file")
    with pytest.raises(UserError, match="does not hold these cells"):
        load_adapter(decoder, tmp_path)


def test_windows_that_cannot_be_drawn_are_refused() -> None:
    """No total between T/8 and T; sinks that are all too many."""
    with pytest.raises(UserError, match="none of totals"):
        Drawn((64,), (0,))(32, random.Random(0))
    with pytest.raises(UserError, match="more than half of a total of 16"):
        Drawn((16, 24), (12,))(32, random.Random(0))
