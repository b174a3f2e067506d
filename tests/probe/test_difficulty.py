"""Difficulty profiles: what is dropped, what is drawn, and whose difficulties they are."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import Message, Problem, UserError
from reasonry.probe.difficulty import BINS, Rated, curated, histogram, line_of, read_profile, shares, stale

PASSES = st.lists(st.integers(0, 8), min_size=1, max_size=60)


def profile(passes: list[int], model: str = "m") -> list[Rated]:
    return [Rated(Problem(f"p{i}", f"q{i}", i), k, 8, model) for i, k in enumerate(passes)]


def bins(problems: list[Problem], rated: list[Rated]) -> Counter[str | None]:
    of = {r.problem.id: r.bin for r in rated}
    return Counter(of[p.id.partition("#")[0]] for p in problems)


def test_bins_at_their_edges() -> None:
    assert [r.bin for r in profile(list(range(9)))] == [None, "hard", "hard", "medium", "medium", "medium", "easy", "easy", None]
    assert histogram(profile(list(range(9)))) == {"never": 1, "hard": 2, "medium": 3, "easy": 2, "always": 1}


@given(PASSES)
def test_without_a_target_everything_that_teaches_is_kept_once_in_order(passes: list[int]) -> None:
    rated = profile(passes)
    kept = [r.problem for r in rated if 0 < r.passes < 8]
    if kept:
        assert curated(rated) == kept
    else:
        with pytest.raises(UserError, match="always or never passed"):
            curated(rated)


@given(PASSES.filter(lambda p: any(0 < k < 8 for k in p)), st.integers(0, 5))
def test_a_target_equal_to_the_source_is_the_identity(passes: list[int], seed: int) -> None:
    rated = profile(passes)
    assert curated(rated, shares(rated), seed=seed) == curated(rated)


@given(st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(0, 5)] * 3).filter(any), st.integers(1, 4), st.integers(0, 3))
def test_the_target_is_met_and_no_problem_comes_more_often_than_the_limit(
    counts: tuple[int, ...], target: tuple[int, ...], limit: int, seed: int
) -> None:
    """Within one problem a bin, whatever the source; where a bin is too small for it, the set is smaller instead. Ids stay unique."""
    rated = profile([7] * counts[0] + [4] * counts[1] + [1] * counts[2])
    wanted = dict(zip(BINS, target, strict=True))
    drawn = curated(rated, wanted, limit=limit, seed=seed)
    found, n = bins(drawn, rated), len(drawn)
    assert n <= sum(counts)
    assert all(abs(found[name] - n * share / sum(target)) <= 1 for name, share in wanted.items())
    uses = Counter(p.id.partition("#")[0] for p in drawn)
    assert max(uses.values(), default=0) <= limit
    assert len({p.id for p in drawn}) == n
    full = n == sum(counts)
    tight = any(limit * held * sum(target) < sum(counts) * share for held, share in zip(counts, target, strict=True))
    assert full or tight


def test_the_seed_decides_which_are_drawn() -> None:
    rated = profile([7] * 30 + [1] * 30)
    drawn = [curated(rated, {"easy": 1.0, "hard": 1.0}, n=20, seed=s) for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"simple": 1.0}, "'simple' is not a bin"),
        ({"easy": 0.0}, "one above 0"),
        ({"easy": 1.0, "medium": 1.0}, "wants medium problems, and this model finds none"),
    ],
)
def test_a_target_that_cannot_be_met_is_refused(target: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        curated(profile([7, 1]), target)


def test_a_profile_is_written_and_read_back(tmp_path: Path) -> None:
    """Chats and metadata too; and the rows are a task's, with prompt and answer."""
    chat = (Message("system", "be brief"), Message("user", "1+1"))
    rated = [Rated(Problem("a", "é?", "2", {"k": [1]}), 3, 8, "m", "s", "t"), Rated(Problem("b", chat, 2), 0, 8, "m", "s", "t")]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(line_of(r) + "\n" for r in rated), encoding="utf-8")
    assert read_profile(path) == rated
    assert json.loads(path.read_text().splitlines()[0])["pass_rate"] == 0.375
    for text, says in (
        ("{}", "line 1: is no row"),
        ("", "holds no rows"),
        (line_of(rated[0]).replace('"passes": 3', '"passes": 9'), "9 of 8"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=says):
            read_profile(path)


def test_labels_of_another_model_are_called_stale() -> None:
    assert stale(profile([1]), "m") is None
    said = stale(profile([1]), "new")
    assert said is not None
    assert "measured with m, not with new" in said
