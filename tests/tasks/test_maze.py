"""The verifier walks; nothing else decides."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Problem, Task, UserError
from reasonry.tasks.maze import MOVES, Maze, carve, walk

GRID = "#####\n#S..#\n###.#\n#G..#\n#####"
PROBLEM = Problem("m", GRID, "RRDDLL", {"grid": GRID, "length": 6})


@settings(max_examples=40, deadline=None)
@given(size=st.integers(2, 8), seed=st.integers())
def test_a_perfect_maze_is_a_tree_and_each_loop_adds_one_way(size, seed):
    """Connected, with one wall opened per cell but the first: n² − 1 passages; every loop is one passage more."""
    loops = random.Random(seed).randint(0, (size - 1) ** 2)
    opened = carve(size, loops, random.Random(seed))
    cells = {(2 * r + 1, 2 * c + 1) for r in range(size) for c in range(size)}
    assert cells <= opened
    assert len(opened - cells) == size * size - 1 + loops
    reached, front = {(1, 1)}, {(1, 1)}
    while front:
        front = {(r + dr, c + dc) for r, c in front for dr, dc in MOVES.values()} & opened - reached
        reached |= front
    assert reached == opened
    assert all(0 < r < 2 * size and 0 < c < 2 * size for r, c in opened)


def test_stored_answers_are_shortest_paths():
    """Lengths by an independent relaxation over all squares."""
    for problem in Maze(4, 4).problems("train", 20):
        rows = problem.meta["grid"].split("\n")
        far = {(r, c): 0 if rows[r][c] == "S" else 10**6 for r in range(9) for c in range(9) if rows[r][c] != "#"}
        for _ in far:
            far = {(r, c): min([d, *(far.get((r + dr, c + dc), 10**6) + 1 for dr, dc in MOVES.values())]) for (r, c), d in far.items()}
        goal = next(square for square in far if rows[square[0]][square[1]] == "G")
        assert len(problem.answer) == far[goal] == problem.meta["length"]
        verdict = Maze().judge(problem, f"#### {problem.answer}")
        assert verdict.passed
        assert verdict.signals["shortest"] == 1


@pytest.mark.parametrize(
    ("text", "passed", "best", "why"),
    [
        ("#### RRDDLL", True, 1, ""), ("#### r r d d l l", True, 1, ""), ("#### R,R,D,D,L,L", True, 1, ""),
        ("#### RLRRDDLL", True, 0, ""), ("#### RRDDLLRL", True, 0, ""), ("#### RRDD", False, 0, "end at"), ("#### D", False, 0, "wall"),
        ("#### RRDDLLL", False, 0, "wall"), ("#### right", False, 0, "no moves"),
        ("RRDDLL", False, 0, "no moves"), ("", False, 0, "no moves"),
        ("#### " + "R" * 100_000, False, 0, "wall"),
    ],
)  # fmt: skip
def test_paths_are_walked(text, passed, best, why):
    verdict = Maze().judge(PROBLEM, text)
    assert (verdict.passed, verdict.signals["shortest"]) == (passed, best)
    assert why in verdict.why


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="UDLR", min_size=1, max_size=12))
def test_the_walk_agrees_with_a_drawing_of_it(moves):
    """Walking square by square by hand: out of the maze is impossible because its border is wall."""
    rows, r, c, alive = GRID.split("\n"), 1, 1, True
    for move in moves:
        r, c = r + {"U": -1, "D": 1}.get(move, 0), c + {"L": -1, "R": 1}.get(move, 0)
        if rows[r][c] == "#":
            alive = False
            break
    assert (walk(GRID, moves) == "") == (alive and rows[r][c] == "G")


def test_mazes_of_a_task_are_as_drawn():
    task = Maze(3, 1)
    assert isinstance(task, Task)
    splits = [{p.meta["grid"] for seed in (0, 1) for p in task.problems(s, 20, seed)} for s in ("train", "validation", "test")]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(splits, 2))
    assert task.problems("test", 5) == Maze(3, 1).problems("test", 5)
    for problem in task.problems("train", 5):
        assert problem.meta["grid"] in problem.prompt
        assert len(problem.meta["grid"].split("\n")) == 7


@pytest.mark.parametrize("options", [(1, 0), (51, 0), (3, 5), (3, -1)])
def test_bad_options_are_named(options):
    with pytest.raises(UserError, match=r"size|loops"):
        Maze(*options)
