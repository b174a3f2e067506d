"""The trainer's flat forward pass gives the values and gradients of scoring each model call by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reasonry.core import Cost, Segment, Stop, UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.thoughts import with_thoughts
from reasonry.nn.attention import causal, masked
from reasonry.nn.masks import PROMPT, SUMMARY, TAGS, thoughts, two_stage
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
    [({"ids": None}, "no token ids"), ({"context": None}, "no token ids"), ({"context": ()}, "empty context"),
     ({"groups": (0, 1, 1, 0, 1)}, "attention group 0 at token 3"), ({"groups": (0, 1, -2, 1, 1)}, "attention group 1 at token 3"),
     ({"groups": (0, 1, -1, 1, 1)}, "attention group -1 at token 2"), ({"groups": (0, 1, -2, -2, -2)}, "trains token 2, which no token")],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        row_of(segment(**more))


def thinking(seed: int = 0) -> Decoder:
    """With thought embeddings that matter."""
    return with_thoughts(tiny(seed), 3, std=0.7, generator=torch.Generator().manual_seed(seed))


def dense(decoder: Decoder, rows: list[Row], temperature: float = 1.0) -> Tensor:
    """One row at a time under one dense two-stage mask; a path's first token is predicted by the prompt's last: log-probabilities [N]."""
    logp = []
    for row in rows:
        g = torch.tensor([row.groups or (PROMPT,) * len(row.ids)])
        hidden = decoder(torch.tensor([row.ids]), torch.tensor([row.positions]), masked(two_stage(g)), thoughts=thoughts(g)).last[0]
        table = (decoder.logits(hidden).float() / temperature).log_softmax(-1)
        for i in row.trained:
            own = [j for j in range(i) if g[0, j] == g[0, i]] or [j for j in range(i) if g[0, j] == PROMPT]
            logp.append(table[own[-1], row.ids[i]])
    return torch.stack(logp)


def parallel(start: list[int], paths: list[list[int]], tags: list[int], summary: list[int], trained: Callable[[int], bool]) -> list[Row]:
    """What an attempt leaves: a row for each path by itself, and one for the summary, which reads them all."""
    longest = max(map(len, paths))
    at = tuple(range(len(start)))
    rows, ids, positions, groups = [], tuple(start), at, (PROMPT,) * len(start)
    for path, tag in zip(paths, tags, strict=True):
        places = tuple(range(len(start), len(start) + len(path)))
        on = tuple(i for i in range(len(start), len(start) + len(path)) if trained(i))
        rows.append(Row((*start, *path), at + places, on, (PROMPT,) * len(start) + (tag,) * len(path)))
        ids, positions, groups = ids + tuple(path), positions + places, groups + (tag,) * len(path)
    first = len(start) + longest
    places = tuple(range(first, first + len(summary)))
    on = tuple(i for i in range(len(ids) + 1, len(ids) + len(summary)) if trained(i))
    return [*rows, Row((*ids, *summary), positions + places, on, groups + (SUMMARY,) * len(summary))]


few = st.lists(token, min_size=1, max_size=5)
paths_of = st.lists(st.tuples(few, st.sampled_from([1, 2, 3, 3 + TAGS])), min_size=1, max_size=3)
Drawn = list[tuple[list[tuple[list[int], int]], list[int]]]


@settings(max_examples=25, deadline=None)
@given(few, st.lists(st.tuples(paths_of, few), min_size=1, max_size=4), st.integers(0, 2))
def test_parallel_paths_equal_one_dense_mask_a_row(start: list[int], drawn: Drawn, skip: int) -> None:
    """Values and every gradient, for attempts at one prompt that share paths, tags and summaries, beside a plain row of the same tokens."""
    rows: list[Row] = [Row((*start, 1, 2), tuple(range(len(start) + 2)), (len(start),))]
    for paths, summary in drawn:
        by_tag = {tag: path for path, tag in paths}  # a tag is one path
        rows += parallel(start, list(by_tag.values()), list(by_tag), summary, lambda i: i % 3 != skip)
    rows = [row for row in rows if row.trained]
    decoder = thinking()
    (logp,) = read(decoder, lay_out(rows, CPU), 0.7)
    weight = torch.linspace(-1, 1, len(logp), dtype=logp.dtype)
    expected = dense(decoder, rows, 0.7)
    torch.testing.assert_close(logp, expected, atol=2e-6, rtol=0)
    for a, b in zip(gradients(decoder, (weight * logp).sum()), gradients(decoder, (weight * expected).sum()), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def test_a_path_is_computed_once_for_itself_and_for_the_summary() -> None:
    """Three paths of an attempt, their own rows and the summary's: prompt, paths and summary once each; a second summary only itself."""
    start, paths = [1, 2, 3, 4], [[5, 1, 2], [6, 3], [7, 1, 1, 1]]
    rows = parallel(start, paths, [3, 1, 2], [8, 2, 2], lambda i: True)
    layout = lay_out(rows, CPU)
    assert layout.ids.numel() == 4 + (3 + 2 + 4) + (3 - 1), "the last trained token is not computed"
    more = lay_out([*rows, *parallel(start, paths, [3, 1, 2], [8, 9, 9], lambda i: True)], CPU)
    assert more.ids.numel() == layout.ids.numel() + 1
    other = parallel(start, paths, [3, 2, 1], [8, 2, 2], lambda i: True)
    assert lay_out([*rows, *other], CPU).ids.numel() == layout.ids.numel() + 2 + 4 + 2, "another tag is another path, and another summary"


def test_the_order_of_paths_makes_no_other_summary() -> None:
    """What a summary sees is a set: the same paths in another order cost nothing more."""
    start, paths, tags = [1, 2], [[5, 1, 2], [6, 3]], [3, 1]
    one = parallel(start, paths, tags, [8, 2, 2], lambda i: True)
    two = parallel(start, paths[::-1], tags[::-1], [8, 2, 2], lambda i: True)
    assert lay_out([*one, *two], CPU).ids.numel() == lay_out(one, CPU).ids.numel()
    decoder = thinking()
    torch.testing.assert_close(read(decoder, lay_out([*one, *two], CPU), 1.0)[0], dense(decoder, [*one, *two]), atol=2e-6, rtol=0)


def test_a_segment_of_paths_is_a_row() -> None:
    row = row_of(segment(groups=(0, 2, 2, -2, -2), mask=(True, False, True), positions=(0, 1, 2, 3, 4)))
    assert row == Row((1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (2, 4), (0, 2, 2, -2, -2))
    assert row_of(segment(groups=(0,) * 5)).groups == (0,) * 5


def test_a_tag_the_model_lacks_is_refused() -> None:
    rows = parallel([1, 2], [[3, 4]], [5], [6, 7], lambda i: True)
    with pytest.raises(UserError, match="tag 5 but the model has thoughts 0 to 3"):
        read(thinking(), lay_out(rows, CPU), 1.0)
    read(tiny(), lay_out(rows, CPU), 1.0)  # without thought embeddings tags are only isolation
