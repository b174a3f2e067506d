"""The trainer's flat forward pass gives the values and gradients of scoring each model call by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reasonry.core import Cost, Segment, Stop, UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.nn.attention import causal
from reasonry.train import rows as rows_module
from reasonry.train.rows import Row, chosen, chosen_and_entropy, lay_out, read, row_of

CPU = torch.device("cpu")


def tiny(seed: int = 0) -> Decoder:
    decoder = Decoder(DecoderConfig(23, 16, 2, 4, 2, 4, 24, max_position=64, qk_norm=True)).double()
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    return decoder


def naive(decoder: Decoder, rows: list[Row], temperature: float) -> tuple[Tensor, Tensor]:
    """One row at a time, whole softmax, plain causal attention: (log-probabilities [N], entropies [N])."""
    logp, entropy = [], []
    for row in rows:
        if row.trained:
            hidden = decoder(torch.tensor([row.ids]), torch.tensor([row.positions]), causal()).last[0]
            table = (decoder.logits(hidden).float() / temperature).log_softmax(-1)
            for i in row.trained:
                logp.append(table[i - 1, row.ids[i]])
                entropy.append(-(table[i - 1].exp() * table[i - 1]).sum())
    return torch.stack(logp), torch.stack(entropy)


def gradients(decoder: Decoder, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(decoder.parameters())))


token = st.integers(0, 3)
ragged = st.lists(st.tuples(st.lists(token, min_size=1, max_size=7), st.lists(st.tuples(token, st.booleans()), max_size=5)), max_size=9)


@settings(max_examples=25, deadline=None)
@given(ragged, st.sampled_from([1, 2, 1 << 20]))
def test_equal_to_one_row_at_a_time(drawn: list[tuple[list[int], list[tuple[int, bool]]]], states: int) -> None:
    """With four tokens rows share beginnings, repeat and contain one another; chunks of one and two states and one of all are the same."""
    rows = [Row((5, *c, *(t for t, _ in s)), tuple(range(1 + len(c) + len(s))), tuple(1 + len(c) + i for i, (_, on) in enumerate(s) if on))
            for c, s in drawn]  # fmt: skip
    rows.append(Row((5, 1, 2), (0, 1, 2), (2,)))
    decoder = tiny()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "LOGITS", states * decoder.config.vocab_size)
        logp, entropy = read(decoder, lay_out(rows, CPU), 0.7, chosen_and_entropy)
        weight = torch.linspace(-1, 1, len(logp), dtype=logp.dtype)
        ours = gradients(decoder, (weight * (logp + 0.3 * entropy)).sum())
        (same,) = read(decoder, lay_out(rows, CPU), 0.7, chosen)
    expected, expected_entropy = naive(decoder, rows, 0.7)
    theirs = gradients(decoder, (weight * (expected + 0.3 * expected_entropy)).sum())
    torch.testing.assert_close(logp, expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(same, expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(entropy, expected_entropy, atol=2e-6, rtol=0)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def test_a_token_that_rows_share_is_computed_once() -> None:
    """Eight answers to one prompt of five tokens cost the prompt once; what is behind the last trained token costs nothing."""
    prompt = (1, 2, 3, 4, 5)
    rows = [Row((*prompt, 10 + i, 6, 7), tuple(range(8)), (5, 6)) for i in range(8)]
    layout = lay_out(rows, CPU)
    assert layout.ids.numel() == 5 + 8
    assert layout.before.numel() == 16


def test_rows_apart_by_position_are_not_merged() -> None:
    """The same ids at other positions are other tokens, and are scored where they stand."""
    rows = [Row((1, 2, 3), (0, 1, 2), (2,)), Row((1, 2, 3), (4, 5, 9), (2,))]
    decoder = tiny()
    layout = lay_out(rows, CPU)
    assert layout.ids.numel() == 4
    torch.testing.assert_close(read(decoder, layout, 1.0)[0], naive(decoder, rows, 1.0)[0], atol=2e-6, rtol=0)


def segment(**more: object) -> Segment:
    plain = {"context": (1, 2), "ids": (3, 4, 5), "text": "", "logprobs": (0.0,) * 3, "stop": Stop.EOS, "cost": Cost()}
    return Segment(**{**plain, **more})  # type: ignore[arg-type]


def test_a_segments_mask_and_positions_are_kept() -> None:
    row = row_of(segment(mask=(True, False, True), positions=(0, 1, 2, 2, 3)))
    assert row == Row((1, 2, 3, 4, 5), (0, 1, 2, 2, 3), (2, 4))


@pytest.mark.parametrize(
    ("more", "says"),
    [({"ids": None}, "no token ids"), ({"context": None}, "no token ids"), ({"groups": (0,) * 5}, "attention groups"),
     ({"context": ()}, "empty context")],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        row_of(segment(**more))
