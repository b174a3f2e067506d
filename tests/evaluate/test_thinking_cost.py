"""The thinking-cost calculator gives the published counts, and its quick crossover is the exact one."""

import json

import pytest

from reasonry.core import UserError
from reasonry.evaluate.thinking_cost import (
    CONVENTIONS,
    DEFAULT,
    Priced,
    Setting,
    cost_html,
    cost_json,
    cost_text,
    length,
    lengths,
    pays_from,
    price,
    shape,
    shape_of,
)  # fmt: skip
from reasonry.lm.load import POCKET
from reasonry.solve.delethink_cost import causal, crossover, full

PAPER = Setting(*DEFAULT, query=1)


@pytest.mark.parametrize(
    ("thinking", "by_causal", "by_full"),
    [("24k", "0.87", "1.02"), ("39k", "1.00", None), ("128k", "2.08", None), ("1M", "13.2", "21.6")],
)
def test_the_counts_at_the_papers_shape(thinking, by_causal, by_full):
    """C = 8192, m = 4096, 28 layers of width 1536: the brief's own count by both conventions."""
    (row,) = price(PAPER, lengths(thinking))
    assert row.ratio_causal == pytest.approx(float(by_causal), rel=0.006)
    assert by_full is None or row.ratio_full == pytest.approx(float(by_full), rel=0.006)


def test_the_crossover_lies_near_39k_causally_and_just_below_24k_by_squares():
    assert pays_from(PAPER, causal) == pytest.approx(39_000, rel=0.03)
    assert 23_000 < pays_from(PAPER, full) < 24_576


@pytest.mark.parametrize("seed", range(12))
def test_the_quick_crossover_is_the_exact_one(seed):
    heads = 1 + seed % 4
    config = shape(2, 16 * heads, heads, 1, 8 * (seed + 1), 50, head_dim=32)
    setting = Setting("toy", config, chunk=20 + 7 * seed, carry=(5 * seed) % 17, query=1 + seed)
    for pairs in CONVENTIONS.values():
        assert pays_from(setting, pairs) == crossover(config, setting.chunk, setting.carry, setting.query, pairs)


def test_a_far_crossover_is_found_at_once():
    """With chunks that advance one token the crossover lies beyond millions of tokens; looking at each would never end."""
    where = pays_from(Setting(*DEFAULT, chunk=8192, carry=8191), causal)
    assert where > 10**6


def test_memory_and_processed_tokens_by_hand():
    """2 layers, 1 key–value head of 8, 2 bytes: 64 bytes a token. 30 tokens as 10 + 5 · 4, reading 3 + 4 · (3 + 5); the last sampled
    token of a call is not run."""
    setting = Setting("toy", shape(2, 16, 2, 1, 32, 50), chunk=10, carry=5, query=3)
    (row,) = price(setting, [30])
    assert setting.kv_per_token == 64
    assert (row.chunks, row.processed_long, row.processed_chunked) == (5, 33, 3 + 10 + 4 * (3 + 5 + 5))
    assert (row.kv_bytes_long, row.kv_bytes_chunked) == (64 * 32, 64 * 12)


def test_shapes_come_from_folders_config_files_and_numbers():
    name, config = shape_of("pocket-1m")
    assert name == "pocket-1m"
    assert shape_of(str(POCKET / "pocket-1m" / "config.json")) == (name, config)
    c = config
    again = shape(c.num_layers, c.hidden_size, c.num_heads, c.num_kv_heads, c.intermediate_size, c.vocab_size)
    rows: list[Priced] = [price(Setting("x", x, 64, 32), [1000])[0] for x in (config, again)]
    assert rows[0] == rows[1]


def test_lengths_are_spelled_in_tokens_k_and_m():
    assert lengths("512, 8k,24K,1M") == [512, 8192, 24576, 1048576]
    assert length("1.5k") == 1536


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: lengths("8k,long"), "'long' is not a length"),
        (lambda: price(PAPER, [0]), "0 is not between"),
        (lambda: Setting(*DEFAULT, chunk=64, carry=64), "m is 64 but must be smaller than C"),
        (lambda: shape(2, 16, 3, 1, 32, 50), "--heads: 3 does not divide"),
        (lambda: shape(2, 16, 4, 3, 32, 50), "--kv-heads: 3 does not divide"),
        (lambda: shape_of("no-such-folder"), "'no-such-folder'"),
    ],
)
def test_what_a_user_can_mend_is_said(wrong, says):
    with pytest.raises(UserError, match=says):
        wrong()


def test_text_json_and_page_show_the_same_figures():
    rows = price(PAPER, lengths("24k,1M"))
    text, page = cost_text(PAPER, rows), cost_html(PAPER, rows)
    held = json.loads(json.dumps(cost_json(PAPER, rows), allow_nan=False))
    assert held["pays_from"]["causal"] == pays_from(PAPER, causal)
    assert [f"{row['ratio_causal']:.2f}" for row in held["rows"]] == ["0.87", "13.15"]
    for shown in ("0.87", "13.15", f"{pays_from(PAPER, causal):,}"):
        assert shown in text
        assert shown in page
