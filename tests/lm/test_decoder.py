"""The decoder's own promises: programs, taps, positions, embeddings, edits, masks. (That its numbers are right: test_checkpoint.)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from reasonry.lm.decoder import Decoder, DecoderConfig, Program
from reasonry.nn import masks
from reasonry.nn.attention import Attend, Site, causal, masked

V, L, T = 50, 4, 11
CONFIG = DecoderConfig(
    vocab_size=V, hidden_size=32, num_layers=L, num_heads=4, num_kv_heads=2, head_dim=12, intermediate_size=48, max_position=64,
    qk_norm=True,
)  # fmt: skip


def decoder(config: DecoderConfig = CONFIG) -> Decoder:
    """Random weights large enough that every block matters."""
    made, g = Decoder(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in made.named_parameters():
            noise = torch.randn(p.shape, generator=g) * 0.2
            p.copy_(1 + noise if name.endswith("norm.weight") else noise)
    return made.requires_grad_(False)


def with_blocks(model: Decoder, order: tuple[int, ...]) -> Decoder:
    """Another network, whose blocks are copies of these, in this order."""
    other = Decoder(replace(model.config, num_layers=len(order)))
    for block, source in zip(other.layers, order, strict=True):
        block.load_state_dict(model.layers[source].state_dict())
    other.embed_tokens.load_state_dict(model.embed_tokens.state_dict())
    other.norm.load_state_dict(model.norm.state_dict())
    return other.requires_grad_(False)


IDS = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(1))
POSITIONS = torch.arange(T).expand(2, -1)


def logits(model: Decoder, ids: Tensor | None = IDS, positions: Tensor = POSITIONS, attend: Attend | None = None, **more: Any) -> Tensor:
    return model.logits(model(ids, positions, attend or causal(), **more).last)


def test_the_program_of_all_blocks_once_changes_nothing() -> None:
    """The identity program is bitwise the plain network."""
    assert torch.equal(logits(decoder(), program=tuple(range(L))), logits(decoder()))


@pytest.mark.parametrize("program", [(0, 1, 3), (0, 1, 1, 2, 3), (0, 2, 1, 3), (3, 3, 3), ()])
def test_a_program_is_the_network_with_those_blocks(program: Program) -> None:
    """Skipping, repeating and reordering equal, bitwise, a network built of those blocks (Dr.LLM)."""
    model = decoder()
    assert torch.equal(logits(model, program=program), logits(with_blocks(model, program)))


def test_skipping_a_block_equals_silencing_it() -> None:
    """A block that adds nothing to the residual stream is a skipped block."""
    model, silent = decoder(), decoder()
    block: Any = silent.layers[2]
    block.self_attn.o_proj.weight.zero_()
    block.mlp.down_proj.weight.zero_()
    assert torch.equal(logits(model, program=(0, 1, 3)), logits(silent))
    assert not torch.allclose(logits(model), logits(silent))


def test_each_pass_through_a_block_has_its_own_site() -> None:
    """Whoever keeps keys and values can tell a block's second pass from its first."""
    seen: list[Site] = []

    def attend(site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append(site)
        assert x.shape == (2, T, 32)
        assert q.shape == (2, T, 4, 12)
        assert k.shape == v.shape == (2, T, 2, 12)
        return causal()(site, x, q, k, v)

    logits(decoder(), attend=attend, program=(0, 1, 1, 3, 0))
    assert seen == [Site(0, 0), Site(1, 0), Site(1, 1), Site(3, 0), Site(0, 1)]


def test_taps_are_the_stream_and_do_not_disturb_it() -> None:
    """A tap is what enters a block: running the rest of the network from it gives the same end. Tap L leaves the last block."""
    model = decoder()
    hidden = model(IDS, POSITIONS, causal(), taps=(0, 2, L))
    assert sorted(hidden.taps) == [0, 2, L]
    assert torch.equal(model.logits(hidden.last), logits(model))
    assert torch.equal(hidden.taps[0], model.embed_tokens(IDS))
    assert torch.equal(logits(model, ids=None, embeds=hidden.taps[2], program=(2, 3)), logits(model))
    assert torch.equal(model.norm(hidden.taps[L]), hidden.last)


def test_taps_of_skipped_blocks_are_absent() -> None:
    """A program that never enters a block taps nothing there; one that enters twice taps the first time."""
    hidden = decoder()(IDS, POSITIONS, causal(), taps=(1, 2), program=(0, 1, 1, 3))
    assert sorted(hidden.taps) == [1]
    assert torch.equal(hidden.taps[1], decoder()(IDS, POSITIONS, causal(), taps=(1,)).taps[1])


def test_embeddings_may_stand_for_ids() -> None:
    """Feeding the embeddings of ids is feeding the ids (REFRAG's chunk embeddings enter this way)."""
    model = decoder()
    assert torch.equal(logits(model, ids=None, embeds=model.embed_tokens(IDS)), logits(model))


def test_only_distances_between_positions_matter() -> None:
    """Shifting all positions changes nothing; shifting some does."""
    model = decoder()
    torch.testing.assert_close(logits(model, positions=POSITIONS + 40), logits(model), atol=1e-4, rtol=0)
    gap = torch.where(POSITIONS > 5, POSITIONS + 9, POSITIONS)
    assert not torch.allclose(logits(model, positions=gap)[:, 6:], logits(model)[:, 6:], atol=1e-2)
    torch.testing.assert_close(logits(model, positions=gap)[:, :6], logits(model)[:, :6])


def test_rows_have_positions_of_their_own() -> None:
    """A row computes the same in company as alone, whatever its neighbour's positions."""
    model = decoder()
    positions = torch.stack((torch.arange(T), torch.arange(T) * 3))
    together = logits(model, positions=positions)
    for row in range(2):
        torch.testing.assert_close(together[row : row + 1], logits(model, IDS[row : row + 1], positions[row : row + 1]))


def test_the_future_is_not_seen() -> None:
    """Changing a token changes nothing before it."""
    model, other = decoder(), IDS.clone()
    other[:, 7] = (other[:, 7] + 1) % V
    torch.testing.assert_close(logits(model, other)[:, :7], logits(model)[:, :7])
    assert not torch.allclose(logits(model, other)[:, 7:], logits(model)[:, 7:])


def test_packed_documents_compute_as_if_alone() -> None:
    """Two documents in one row, each with positions from 0, give the logits they give in rows of their own."""
    model = decoder()
    groups = torch.tensor([[0] * 4 + [1] * 7])
    positions = torch.tensor([[*range(4), *range(7)]])
    row = logits(model, IDS[:1], positions, masked(masks.packed(groups)))
    torch.testing.assert_close(row[:, :4], logits(model, IDS[:1, :4], positions[:, :4]))
    torch.testing.assert_close(row[:, 4:], logits(model, IDS[:1, 4:], positions[:, 4:]))


def test_parallel_paths_compute_as_if_alone() -> None:
    """Under the two-stage mask, a path of ParaThinker gives the logits it gives as the only continuation of the prompt."""
    model = decoder()
    groups = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2, 9, 9]])
    positions = torch.tensor([[0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7]])
    row = logits(model, IDS[:1], positions, masked(masks.two_stage(groups, prompt=0, summary=9)))
    for path in ((3, 4, 5), (6, 7, 8)):
        alone = logits(model, IDS[:1, (0, 1, 2, *path)], torch.arange(6)[None])
        torch.testing.assert_close(row[:, path], alone[:, 3:])
    assert not torch.allclose(row[:, 9:], logits(model, IDS[:1, (0, 1, 2, 3, 4, 5, 9, 10)], torch.arange(8)[None])[:, 6:])


def test_edits_reach_keys_and_values_before_rotation() -> None:
    """Doubling values doubles `v_proj`; an edited key is rotated like any other, so a constant shift of k equals a bias of `k_proj`."""
    config = replace(CONFIG, qk_norm=False, qkv_bias=True)
    plain, changed = decoder(config), decoder(config)
    shift = torch.randn(2, 12, generator=torch.Generator().manual_seed(5))
    blocks: Any = changed.layers
    for block in blocks:
        block.self_attn.v_proj.weight.mul_(2)
        block.self_attn.v_proj.bias.mul_(2)
        block.self_attn.k_proj.bias.add_(shift.flatten())
    edited = logits(plain, edit_kv=lambda site, k, v: (k + shift, v * 2))
    torch.testing.assert_close(edited, logits(changed))
    assert torch.equal(logits(plain, edit_kv=lambda site, k, v: (k, v)), logits(plain))


def test_half_precision_stays_half() -> None:
    """Hidden states and logits keep the weights' dtype, and stay near the fp32 ones."""
    exact, rough = logits(decoder()), logits(decoder().bfloat16())
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_an_fp32_head_multiplies_in_single_precision_whatever_the_weights() -> None:
    """Rounded weights, exact products: casting half-precision logits afterwards would not give this. Single precision stays as it is."""
    for tie in (True, False):
        rough = decoder(replace(CONFIG, tie_embeddings=tie)).bfloat16()
        head = rough.embed_tokens if rough.lm_head is None else rough.lm_head
        hidden = torch.randn(3, 5, CONFIG.hidden_size, generator=torch.Generator().manual_seed(2)).bfloat16()
        cast_afterwards = rough.logits(hidden).float()
        rough.config = replace(rough.config, fp32_head=True)
        found = rough.logits(hidden)
        exact = hidden.double() @ head.weight.double().T
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
        assert (cast_afterwards - exact).abs().max() > 100 * (found - exact).abs().max()
    plain = decoder()
    before = logits(plain)
    plain.config = replace(CONFIG, fp32_head=True)
    assert torch.equal(logits(plain), before)


def test_fresh_weights_follow_the_generator() -> None:
    """The same seed gives the same network, and a fresh network is nearly uniform over the vocabulary."""
    a, b, c = Decoder(CONFIG), Decoder(CONFIG), Decoder(CONFIG)
    for model, seed in ((a, 1), (b, 1), (c, 2)):
        model.reset_parameters(torch.Generator().manual_seed(seed))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.embed_tokens.weight, c.embed_tokens.weight)
    assert logits(a).log_softmax(-1).min() > -6


def test_gradients_reach_every_weight() -> None:
    """Nothing is computed off the graph."""
    model = Decoder(CONFIG)
    model.reset_parameters(torch.Generator().manual_seed(0))
    logits(model).logsumexp(-1).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
