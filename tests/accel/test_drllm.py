"""Dr.LLM's parts: programs in a batch, routers, the knob, the loss, training, the folder."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reasonry.accel.drllm.adapter import fresh_routers, load_routers, save_routers
from reasonry.accel.drllm.execute import execute, fixed
from reasonry.accel.drllm.learn import (
    Features,
    Teaching,
    effective_weights,
    every_logits,
    features,
    focal,
    frequencies,
    learn,
    optimizer_of,
    quality,
)
from reasonry.accel.drllm.routers import Routers, Windows, decided, mixed
from reasonry.core import UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.program import program_of
from reasonry.nn.attention import causal

SHAPE = DecoderConfig(
    vocab_size=11, hidden_size=16, num_layers=4, num_heads=2, num_kv_heads=1, head_dim=8, intermediate_size=24, max_position=64
)


def toy(seed: int = 0, shape: DecoderConfig = SHAPE) -> Decoder:
    decoder = Decoder(shape).eval()
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    return decoder


def hidden(decoder: Decoder, ids: Tensor, program: tuple[int, ...] | None = None) -> Tensor:
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return decoder(ids, positions, causal(), program=program).last


def nets(routers: Routers) -> list[tuple[nn.Linear, nn.Linear]]:
    """The two matrices of every router."""
    found: list[tuple[nn.Linear, nn.Linear]] = []
    for block in routers.blocks:
        assert isinstance(block, nn.Sequential)
        first, second = block[0], block[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        found.append((first, second))
    return found


IDS = torch.randint(0, 11, (3, 9), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_every_block_once_is_the_model_itself_to_the_last_bit() -> None:
    decoder = toy()
    found, counts = execute(decoder, IDS, fixed(torch.ones(3, 4, dtype=torch.long)))
    assert torch.equal(found, hidden(decoder, IDS))
    assert counts.tolist() == [[1] * 4] * 3


@torch.no_grad()
def test_rows_with_programs_of_their_own_are_what_they_are_alone() -> None:
    """All 81 programs of four blocks, in one batch."""
    decoder = toy()
    counts = torch.tensor(list(product((0, 1, 2), repeat=4)))
    ids = IDS[:1].expand(81, -1)
    found, _ = execute(decoder, ids, fixed(counts))
    for row, own in zip(found, counts.tolist(), strict=True):
        assert (row - hidden(decoder, IDS[:1], program_of(own))[0]).abs().max() <= 1e-5


@torch.no_grad()
def test_to_skip_is_identity_and_to_repeat_is_a_block_twice() -> None:
    decoder = toy()

    class Identity(nn.Module):
        def forward(self, site, x, *rest):
            return x

    without = toy()
    without.layers[2] = Identity()
    skipped, _ = execute(decoder, IDS, fixed(torch.tensor([[1, 1, 0, 1]] * 3)))
    assert torch.equal(skipped, hidden(without, IDS))
    twice = toy(shape=DecoderConfig(**{**SHAPE.__dict__, "num_layers": 5}))
    twice.load_state_dict({**decoder.state_dict(), **{f"layers.{to}.{n}": p for to, of in ((0, 0), (1, 1), (2, 1), (3, 2), (4, 3))
                           for n, p in decoder.layers[of].state_dict().items()}})  # fmt: skip
    repeated, _ = execute(decoder, IDS, fixed(torch.tensor([[1, 2, 1, 1]] * 3)))
    assert torch.equal(repeated, hidden(twice, IDS))


@settings(deadline=None)
@given(length=st.integers(1, 30), windows=st.integers(1, 8), spare=st.integers(0, 5))
def test_windows_are_contiguous_equal_and_leave_the_rest_out(length: int, windows: int, spare: int) -> None:
    x = torch.randn(1, length + spare, 3, generator=torch.Generator().manual_seed(length))
    over = Windows.of(torch.tensor([length]), length + spare, windows)
    W = min(windows, length)
    size = length // W
    by_hand = torch.stack([x[0, w * size : (w + 1) * size].mean(dim=0) for w in range(W)])
    assert torch.allclose(over.means(x)[0, :W], by_hand, atol=1e-6)
    assert over.share[0].tolist() == pytest.approx([1 / W] * W + [0] * (windows - W))
    changed = x.clone()
    changed[:, W * size :] += 7
    assert torch.equal(over.means(changed), over.means(x))


def test_one_window_is_the_global_mean_and_order_within_a_window_is_of_no_account() -> None:
    routers = fresh_routers(toy(), hidden=5, windows=1)
    x = torch.randn(2, 8, 16)
    z = {}
    for windows in (1, 2):
        over = Windows.of(torch.tensor([8, 8]), 8, windows)
        z[windows] = routers.logits(1, over.means(x), over.share)
        within = x[:, [1, 0, 3, 2, 6, 7, 5, 4]]
        assert torch.allclose(z[windows], routers.logits(1, over.means(within), over.share), atol=1e-6)
    assert torch.allclose(z[1], routers.blocks[1](x.mean(dim=1)), atol=1e-6)
    halves = torch.stack((x[:, :4].mean(1), x[:, 4:].mean(1)), dim=1)
    assert torch.allclose(z[2], routers.blocks[1](halves).mean(1), atol=1e-6)


def test_fresh_routers_are_xaviers_with_zero_biases() -> None:
    routers = fresh_routers(toy(), hidden=32, windows=4)
    for first, second in nets(routers):
        assert float(first.weight.detach().abs().max()) <= (6 / (16 + 32)) ** 0.5
        assert float(second.weight.detach().abs().max()) <= (6 / (32 + 3)) ** 0.5
        assert not first.bias.any()
        assert not second.bias.any()


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_the_knobs_ends_skip_run_and_repeat_and_its_middle_is_the_router(z: list[float]) -> None:
    logits = torch.tensor([z])
    assert decided(logits, -1).tolist() == [0]
    assert decided(logits, 0.5).tolist() == [1]
    assert decided(logits, 1).tolist() == [2]
    assert torch.equal(mixed(logits, -0.5), logits.softmax(-1))
    assert mixed(logits, -1).tolist() == [[1, 0, 0]]
    for knob in (-1, -0.7, -0.5, 0, 0.3, 0.5, 0.8, 1):
        assert float(mixed(logits, knob).sum()) == pytest.approx(1)
    with pytest.raises(UserError, match=r"p is 1\.2"):
        mixed(logits, 1.2)


def test_a_higher_knob_never_skips_more() -> None:
    logits = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 2
    skipped = [int((decided(logits, p / 20) == 0).sum()) for p in range(-20, 11)]
    assert skipped == sorted(skipped, reverse=True)


def test_class_weights_are_the_papers() -> None:
    assert effective_weights((4399, 120_956, 1457), 0.999).tolist() == pytest.approx([0.9160, 0.9048, 1.1792], abs=5e-5)
    assert effective_weights((40, 40, 40), 0.999).tolist() == pytest.approx([1, 1, 1])
    assert effective_weights((4, 900, 30), 0.0).tolist() == pytest.approx([1, 1, 1])
    assert effective_weights((5, 5, 0), 0.999).tolist() == pytest.approx([1, 1, 0])


def test_focal_without_focus_is_weighted_cross_entropy() -> None:
    logits, labels = torch.randn(40, 4, 3), torch.randint(0, 3, (40, 4))
    alpha = torch.tensor([0.7, 1.0, 1.3])
    ce = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    assert torch.allclose(focal(logits, labels, alpha, 0.0), (alpha[labels.flatten()] * ce).mean())
    p = logits.softmax(-1).gather(-1, labels[..., None])[..., 0]
    assert torch.allclose(focal(logits, labels, alpha, 2.0), (-alpha[labels] * (1 - p) ** 2 * p.log()).mean())


def prompts() -> list[tuple[int, ...]]:
    return [tuple(row[: 3 + i % 6].tolist()) for i, row in enumerate(IDS.repeat(8, 1))]


def labels() -> list[tuple[int, ...]]:
    return [tuple(row) for row in torch.randint(0, 3, (24, 4), generator=torch.Generator().manual_seed(2)).tolist()]


def test_features_are_the_states_under_the_labelled_program() -> None:
    """Teacher forced: the state entering a block has gone through what the label says of those before."""
    decoder = toy()
    f = features(decoder, prompts(), labels(), windows=2, rows=5)
    with torch.no_grad():
        for i in (0, 7, 23):
            ids, own = torch.tensor([prompts()[i]]), labels()[i]
            x = decoder.embed_tokens(ids)
            half = ids.shape[1] // 2
            for layer in range(4):
                by_hand = torch.stack((x[0, :half].mean(0), x[0, half : 2 * half].mean(0)))
                assert torch.allclose(f.means[i, layer], by_hand, atol=1e-5)
                turn = decoder.rotation(torch.arange(ids.shape[1])[None], x.dtype)
                for _ in range(own[layer]):
                    x = decoder.layers[layer]((layer, 0), x, turn, causal(), None, None)


def test_training_touches_the_routers_alone() -> None:
    decoder = toy()
    before = {n: p.clone() for n, p in decoder.state_dict().items()}
    routers = fresh_routers(decoder, hidden=8, windows=2)
    f = features(decoder, prompts(), labels(), 2)
    losses = list(learn(routers, f, Teaching(epochs=40, lr=0.02), optimizer_of(routers, 0.01)))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is None for p in decoder.parameters())
    assert all(torch.equal(p, before[n]) for n, p in decoder.state_dict().items())
    assert all(p.grad is not None for p in routers.parameters())


def test_a_resumed_training_ends_where_an_unkilled_one_does() -> None:
    decoder = toy()
    f, t = features(decoder, prompts(), labels(), 2), Teaching(epochs=5, rows=7)
    whole, parts = fresh_routers(decoder, 8, 2), fresh_routers(decoder, 8, 2)
    losses = list(learn(whole, f, t, optimizer_of(whole, 0.01)))
    optimizer, found = optimizer_of(parts, 0.01), []
    for loss in learn(parts, f, t, optimizer):
        found.append(loss)
        if len(found) == 6:
            break
    again = optimizer_of(parts, 0.01)
    again.load_state_dict(optimizer.state_dict())
    found += learn(parts, f, t, again, done=6)
    assert found == losses
    assert len(losses) == t.steps(24) == 20


def test_quality_counts_each_class_by_itself() -> None:
    decoder = toy()
    routers = fresh_routers(decoder, 8, 2)
    with torch.no_grad():
        for _, second in nets(routers):
            second.weight.zero_()
            second.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # says "run" always
    f = features(decoder, prompts(), labels(), 2)
    q = quality(routers, f)
    there = frequencies(f.labels)
    assert q.recall == (0.0, 1.0, 0.0)
    assert q.accuracy == pytest.approx(there[1] / 96)
    assert q.precision == (None, pytest.approx(there[1] / 96), None)
    assert q.f1 == pytest.approx(2 * there[1] / (there[1] + 96) / 3)
    without = Features(f.means, f.share, f.labels.clamp(min=1))
    assert quality(routers, without).recall[0] is None


def test_saved_routers_decide_as_before(tmp_path) -> None:
    decoder = toy()
    routers = fresh_routers(decoder, hidden=8, windows=3, seed=5)
    save_routers(routers, tmp_path / "adapter")
    f = features(decoder, prompts(), labels(), 3)
    again = load_routers(decoder, tmp_path / "adapter")
    assert torch.equal(every_logits(routers, f), every_logits(again, f))
    assert (again.hidden, again.windows) == (8, 3)
    other = toy(shape=DecoderConfig(**{**SHAPE.__dict__, "num_layers": 3}))
    with pytest.raises(UserError, match="num_layers 4"):
        load_routers(other, tmp_path / "adapter")
    with pytest.raises(UserError, match=r"no drllm\.json"):
        load_routers(decoder, tmp_path)
    (tmp_path / "adapter" / "drllm.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="does not hold these routers"):
        load_routers(decoder, tmp_path / "adapter")


def test_impossible_routers_are_refused() -> None:
    with pytest.raises(UserError, match="windows is 0"):
        Routers(SHAPE, 8, 0)
