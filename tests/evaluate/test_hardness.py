"""How hard puzzles are is counted."""

import pytest

from reasonry.evaluate.hardness import band, by_guesses, hardness, needed
from reasonry.probe.stats import wilson
from reasonry.worlds.grids import SudokuWorld, make


def test_guesses_and_clues_are_summed_up():
    found = hardness([0, 0, 4, 10], [20, 22, 21, 21])
    assert (found["guesses_mean"], found["guesses_max"], found["no_guess"]) == (3.5, 10, 0.5)
    assert (found["clues_mean"], found["clues_min"]) == (21.0, 20)


def test_what_is_solved_is_told_by_hardness_with_its_interval():
    rows = by_guesses([0, 0, 4, 60], [True, False, True, False])
    assert [(band(row), row["puzzles"], row["exact"]) for row in rows] == [("none", 2, 0.5), ("1 to 10", 1, 1.0), ("51 to 200", 1, 0.0)]
    assert rows[0]["low"] == pytest.approx(wilson(1, 2).low, abs=1e-4)
    assert band({"from": 201, "to": 10**9}) == "201 and more"


def test_a_full_clue_count_is_what_was_asked_for():
    guessed, clues = needed(make(SudokuWorld(6), "test", 3, 0, clues=24), 6)
    assert clues == [24] * 3
    assert len(guessed) == 3
