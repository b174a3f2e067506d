"""Every puzzle has one solution, and the verifier knows the rules rather than the solution."""

import itertools
import random

import pytest

from reasonry.core import Task, UserError
from reasonry.tasks.sudoku import Sudoku, carve, guesses, random_solution, show, solutions, units


def completions(puzzle: str, size: int, high: int, wide: int) -> list[str]:
    """All completions, found row by row from permutations: slow, plain, and nothing of the shipped solver in it."""
    rows = puzzle.split("/")
    options = [
        ["".join(p) for p in itertools.permutations("123456789"[:size]) if all(a in (b, ".") for a, b in zip(row, p, strict=True))]
        for row in rows
    ]

    def fits(above, row):
        r = len(above)
        for c, digit in enumerate(row):
            if any(up[c] == digit for up in above):
                return False
            for up in above[r - r % high :]:
                if digit in up[c - c % wide : c - c % wide + wide]:
                    return False
        return True

    found = [[]]
    for choices in options:
        found = [[*above, row] for above in found for row in choices if fits(above, row)]
    return ["/".join(rows) for rows in found]


@pytest.mark.parametrize("clues", [10, 14, 20])
def test_a_6x6_puzzle_has_exactly_one_solution_by_brute_force(clues):
    for problem in Sudoku(6, clues).problems("test", 5):
        assert completions(problem.meta["puzzle"], 6, 2, 3) == [problem.answer]
        assert sum(c.isdigit() for c in problem.meta["puzzle"]) == clues == problem.meta["clues"]


def test_the_solver_finds_all_solutions_of_an_open_grid():
    solution = random_solution(6, random.Random(0))
    for blanks in (12, 20, 22):
        grid = list(solution)
        for i in random.Random(blanks).sample(range(36), blanks):
            grid[i] = 0
        assert sorted(show(g, 6, "/") for g in solutions(grid, 6)) == sorted(completions(show(grid, 6, "/"), 6, 2, 3))
    clash = [1, 1] + [0] * 34
    assert list(solutions(clash, 6)) == []


def test_a_9x9_puzzle_has_one_solution_and_keeps_its_clues():
    for problem in Sudoku(9).problems("test", 4):
        grid = [0 if c == "." else int(c) for c in problem.meta["puzzle"].replace("/", "")]
        assert [show(g, 9, "/") for g in solutions(grid, 9)] == [problem.answer]
        assert Sudoku(9).judge(problem, f"#### {problem.answer}").passed


def test_boxes():
    """Box numbers written out by hand, 2×3 and 3×3."""
    assert [u[2] for u in units(6)][:18] == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [units(9)[i][2] for i in (0, 8, 30, 40, 80)] == [0, 2, 4, 4, 8]


def test_any_valid_completion_passes_even_if_it_is_not_the_stored_one():
    task = Sudoku(6, 20)
    problem = task.problems("train", 1)[0]
    blank = problem.__class__(problem.id, problem.prompt, problem.answer, {**problem.meta, "puzzle": "/".join(["......"] * 6)})
    other = show(random_solution(6, random.Random(5)), 6, "/")
    assert other != problem.answer
    assert task.judge(blank, f"#### {other}").passed


def test_what_is_wrong_is_said():
    task = Sudoku(6, 20)
    problem = task.problems("train", 1)[0]
    rows = problem.answer.split("/")
    puzzle = problem.meta["puzzle"].replace("/", "")
    blank = puzzle.index(".")
    digits = list(problem.answer.replace("/", ""))
    digits[blank] = "1" if digits[blank] != "1" else "2"
    verdict = task.judge(problem, "#### " + "".join(digits))
    assert not verdict.passed
    assert "repeats" in verdict.why
    assert 0 < verdict.signals["cells"] < 1
    clue = next(i for i, c in enumerate(puzzle) if c != ".")
    changed = list(problem.answer.replace("/", ""))
    changed[clue] = "1" if changed[clue] != "1" else "2"
    assert "was" in task.judge(problem, "#### " + "".join(changed)).why
    for text in ("", "#### 123", "#### " + "7" * 36, "\n".join(rows[:5]), "#### " + "0" * 36):
        assert task.judge(problem, text).score == 0
        assert task.extract(text) is None


def test_ways_to_write_a_grid():
    task = Sudoku(6, 20)
    problem = task.problems("train", 1)[0]
    rows = problem.answer.split("/")
    spaced = [" ".join(row) for row in rows]
    for text in (
        f"#### {problem.answer}", "so\n" + "\n".join(rows), "\n".join(spaced), "\n".join(f"| {' | '.join(row)} |" for row in rows),
        "#### " + " ".join(rows), "\n".join(["111111", *rows]),
    ):  # fmt: skip
        assert task.judge(problem, text).passed


def test_difficulty_is_the_solver_s_guesses():
    solution = random_solution(6, random.Random(1))
    assert guesses(solution, 6) == 0
    grid = list(solution)
    grid[0] = 0
    assert guesses(grid, 6) == 0
    assert guesses([0] * 36, 6) > 0


def test_an_unreachable_number_of_clues_is_none_not_an_approximation():
    assert carve(random_solution(9, random.Random(0)), 17, 9, random.Random(0)) is None


def test_splits_differ_even_after_renaming_the_digits():
    def standard(problem):
        names: dict[str, str] = {}
        return "".join(names.setdefault(d, str(len(names))) for d in problem.answer.replace("/", ""))

    task = Sudoku(6)
    assert isinstance(task, Task)
    assert task.name == "sudoku6"
    held = [{standard(p) for seed in (0, 1) for p in task.problems(s, 8, seed)} for s in ("train", "validation", "test")]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(held, 2))
    assert task.problems("test", 3) == Sudoku(6).problems("test", 3)


@pytest.mark.parametrize("options", [(4, None), (6, 8), (6, 36), (9, 24)])
def test_bad_options_are_named(options):
    with pytest.raises(UserError, match=r"size|clues"):
        Sudoku(*options)
