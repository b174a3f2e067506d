"""Multi-path rows as examples: layout, positions, what carries loss, tags drawn by rule, paths cut as a policy cuts them."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from reasonry.core import UserError
from reasonry.lm.load import POCKET
from reasonry.lm.thoughts import Controls, controls
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.masks import PROMPT, SUMMARY
from reasonry.train.multipath import Traces, collated, drawn, vary, widest
from reasonry.train.sft import Example
from reasonry.train.supervised import read_examples, read_rows

C = Controls(opens=(101, 102, 103, 104), closes=(201, 202, 203, 204), summary=300, end=301)
ROW = Traces(prompt=(1, 2, 3), paths=((10, 11), (20, 21, 22, 23), (30,)), summary=(40, 41))


def test_an_example_is_the_papers_layout() -> None:
    """Paths begin where the prompt ends, the summary one past the longest; openers and prompt carry no loss."""
    e = ROW.example(C, (3, 1, 4))
    assert e.positions is not None
    assert e.ids == (1, 2, 3, 103, 10, 11, 203, 101, 20, 21, 22, 23, 201, 104, 30, 204, 300, 40, 41, 301)
    assert e.positions == (0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7, 8, 3, 4, 5, 9, 10, 11, 12)
    assert e.groups == (PROMPT,) * 3 + (3,) * 4 + (1,) * 6 + (4,) * 3 + (SUMMARY,) * 4
    assert [i for i, on in zip(e.ids, e.mask, strict=True) if not on] == [1, 2, 3, 103, 101, 104, 300]
    assert ROW.longest == 1 + max(e.positions)


def test_flattened_positions_are_a_stride_apart() -> None:
    """m = l_x + i · stride + t, the summary after all: the ablation; all else stays."""
    e, flat = ROW.example(C, (3, 1, 4)), ROW.example(C, (3, 1, 4), stride=10)
    assert flat.positions == (0, 1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18, 23, 24, 25, 26, 27, 28, 29)
    assert (flat.ids, flat.mask, flat.groups) == (e.ids, e.mask, e.groups)


def test_paths_cut_at_a_common_length_have_forced_closers() -> None:
    """The closer of a path that was cut carries no loss; a path that ended by itself keeps its own; the summary moves up."""
    e = ROW.example(C, (3, 1, 4), cut=2)
    assert e.ids == (1, 2, 3, 103, 10, 11, 203, 101, 20, 21, 201, 104, 30, 204, 300, 40, 41, 301)
    assert e.positions is not None
    assert e.positions[-4] == 3 + 4
    silent = [i for i, on in zip(e.ids, e.mask, strict=True) if not on]
    assert silent == [1, 2, 3, 103, 101, 201, 104, 300]
    with pytest.raises(UserError, match="5 is none of this model's, 1 to 4"):
        ROW.example(C, (3, 1, 5))


def test_the_papers_draw_is_uniform_over_tags_and_orders() -> None:
    """Each of J!/(J−P)! assignments as often as any other, within five standard errors."""
    rng, n = random.Random(0), 12000
    seen = Counter(drawn(2, 4, rng) for _ in range(n))
    assert set(seen) == {(a, b) for a in range(1, 5) for b in range(1, 5) if a != b}
    expected = n / 12
    assert max(abs(k - expected) for k in seen.values()) < 5 * expected**0.5


def test_the_authors_collator_replaces_two_of_four_or_more() -> None:
    """Tags 7 and 8 in the place of two paths' own with probability .3; never below four paths, never twice the same tag."""
    rng, n = random.Random(0), 6000
    four = [collated(4, 8, rng) for _ in range(n)]
    replaced = [tags for tags in four if tags != (1, 2, 3, 4)]
    assert abs(len(replaced) - 0.3 * n) < 5 * (0.3 * 0.7 * n) ** 0.5
    for tags in replaced:
        assert sorted(tags)[2:] == [7, 8]
        assert sum(a == b for a, b in zip(tags, (1, 2, 3, 4), strict=True)) == 2
    assert len(set(replaced)) == 12, "any two paths, in either order"
    assert {collated(3, 8, rng) for _ in range(200)} == {(1, 2, 3)}
    assert {collated(7, 8, rng) for _ in range(200)} == {(1, 2, 3, 4, 5, 6, 7)}
    assert all(len(set(collated(6, 8, rng))) == 6 for _ in range(200))


def test_an_epoch_is_a_function_of_its_seed_and_number() -> None:
    """Other epochs draw other tags; a share of rows is cut where one of their paths ends; plain examples pass through."""
    plain = Example((1, 2), (False, True))
    rows = [plain, *[ROW] * 300]
    one = vary(rows, C, 4, 0.5, 7, 0)
    assert one == vary(rows, C, 4, 0.5, 7, 0)
    assert one != vary(rows, C, 4, 0.5, 7, 1)
    assert one != vary(rows, C, 4, 0.5, 8, 0)
    assert one[0] is plain
    lengths = Counter(len(e.ids) for e in one[1:])
    whole, to_two, to_one = (len(ROW.example(C, (1, 2, 3), cut).ids) for cut in (4, 2, 1))
    assert set(lengths) == {whole, to_two, to_one}
    assert 0.2 * 300 < lengths[to_two] + lengths[to_one] < 0.47 * 300, "a third of the cuts are where the longest path ends"
    assert {len(e.ids) for e in vary(rows[1:], C, 4, 0.0, 7, 0)} == {whole}
    assert {tag for e in vary(rows[1:], C, 3, 0.0, 7, 0) for tag in e.groups or () if tag > 0} == {1, 2, 3}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(POCKET / "pocket-1m")


def test_rows_of_a_file_are_read_beside_plain_ones(tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": "what is 3+4?", "paths": ["3+4=7", "4+3=7\n7"], "summary": "#### 7"},
        {"prompt": "what is 1+1?", "answer": "#### 2"},
        {"messages": [{"role": "user", "content": "what is 2+2?"}], "paths": ["4"], "summary": "#### 4"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, third = read_rows(file, tokenizer, 100)
    assert isinstance(first, Traces)
    assert isinstance(second, Example)
    assert isinstance(third, Traces)
    assert widest(file) == 2
    (example,) = vary([first], controls(tokenizer), 8, 0.0, 0, 0)
    text = tokenizer.decode(example.ids, skip_special=False)
    assert text.startswith("<|im_start|>user\nwhat is 3+4?<|im_end|><|im_start|>assistant\n<think")
    assert text.endswith("<summary>#### 7</summary>")
    with pytest.raises(UserError, match="holds rows of parallel paths"):
        read_examples(file, tokenizer, 100)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "p", "paths": []}, "paths is .* must be a list of at least one text"),
        ({"prompt": "p", "paths": ["a", " "], "summary": "s"}, "none of them empty"),
        ({"prompt": "p", "paths": "a", "summary": "s"}, "must be a list"),
        ({"prompt": "p", "paths": ["a"]}, "summary is 'None'"),
        ({"prompt": "p", "paths": ["a </think2>"], "summary": "s"}, "has </think2> in it"),
        ({"paths": ["a"], "summary": "s"}, "has no column any of"),
        ({"prompt": "p", "paths": ["a" * 400], "summary": "s"}, "the model's context holds 100"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_file_and_line(
    row: dict[str, object], says: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=rf"rows\.jsonl line 1: .*{says}"):
        read_rows(tmp_path / "rows.jsonl", tokenizer, 100)
