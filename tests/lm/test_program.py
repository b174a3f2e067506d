"""Layer programs as paths and as counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import UserError
from reasonry.lm.program import counts_of, program_of, whole


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_path_and_counts_are_one_to_one(counts: list[int]) -> None:
    program = program_of(counts)
    assert counts_of(program, len(counts)) == tuple(counts)
    assert len(program) == sum(counts)


def test_every_block_once_is_the_whole_network() -> None:
    assert counts_of(whole(5), 5) == (1,) * 5
    assert program_of((1,) * 5) == whole(5)


@pytest.mark.parametrize("program", [(1, 0), (0, 0, 0), (0, 5), (-1, 0)])
def test_other_programs_are_refused(program: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="program"):
        counts_of(program, 5)


def test_a_count_above_two_is_refused() -> None:
    with pytest.raises(UserError, match="counts has 3"):
        program_of((1, 3))
