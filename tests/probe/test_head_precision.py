"""The output layer's precision: what two orders of summation leave of a ratio that should be 1."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reasonry.core import UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.nn.attention import causal
from reasonry.probe.head_precision import BF16, FP32, MIXED, PAIRS, disagreements, head_log_ratios

CONFIG = DecoderConfig(97, 64, 1, 2, 1, 16, 32, 64)


def decoder(tie: bool = True) -> Decoder:
    made = Decoder(CONFIG if tie else DecoderConfig(97, 64, 1, 2, 1, 16, 32, 64, tie_embeddings=False))
    made.reset_parameters(torch.Generator().manual_seed(0))
    made.embed_tokens.weight.data.mul_(20)
    return made.requires_grad_(False)


TEXTS = [tuple(torch.randint(97, (30,), generator=torch.Generator().manual_seed(i)).tolist()) for i in range(6)]


@pytest.mark.parametrize("tie", [True, False])
def test_fp32_on_both_sides_leaves_rounding_of_single_precision_and_bf16_leaves_far_more(tie: bool) -> None:
    """Eight bits against twenty-four: the means are apart by orders of magnitude; fp32 on one side alone mends little."""
    found = {d.head: d for d in disagreements(head_log_ratios(decoder(tie), TEXTS))}
    assert set(found) == set(PAIRS)
    assert {d.tokens for d in found.values()} == {6 * 29}
    assert found[FP32].largest < 1e-4
    assert found[BF16].mean > 1000 * found[FP32].mean
    assert found[MIXED].mean > 100 * found[FP32].mean
    assert all(d.median <= d.p99 <= d.largest for d in found.values())


def test_the_fp32_side_is_the_decoder_with_an_fp32_head() -> None:
    """What is measured as the trainer is what `DecoderConfig.fp32_head` makes of `logits`."""
    model = decoder().bfloat16()
    model.config = replace(model.config, fp32_head=True)
    ids = torch.tensor([TEXTS[0]])
    logits = model.logits(model(ids, torch.arange(30)[None], causal()).last[0, :-1])
    ours = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    model.config = replace(model.config, fp32_head=False)
    rough = model.logits(model(ids, torch.arange(30)[None], causal()).last[0, :-1]).float()
    theirs = rough.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    assert logits.dtype == torch.float32
    assert (ours - theirs).abs().mean() > 1e-3
    assert (ours - theirs).abs().mean() < 0.1


def test_the_decoder_is_left_as_it_is() -> None:
    model = decoder()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    head_log_ratios(model, TEXTS[:1])
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize(
    ("texts", "parts", "says"), [([(1,)], 4, "a text has 1 tokens"), (TEXTS, 1, "parts is 1"), (TEXTS, 65, "parts is 65")]
)
def test_what_cannot_be_measured_is_refused(texts: list[tuple[int, ...]], parts: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        head_log_ratios(decoder(), texts, parts)
    with pytest.raises(UserError, match="there is no token"):
        disagreements(head_log_ratios(decoder(), []))
