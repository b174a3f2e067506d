"""How hard a set of sudokus is, and what is solved of each hardness: the guesses of a backtracking solver, and clues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasonry.probe.stats import wilson
from reasonry.worlds.grids import Puzzles, guesses

BANDS = ((0, 0), (1, 10), (11, 50), (51, 200), (201, 10**9))
"""Of guesses, ends included."""


def needed(puzzles: Puzzles, size: int) -> tuple[list[int], list[int]]:
    """For each sudoku, guesses and clues."""
    return guesses(puzzles, size), [sum(token > 1 for token in row) for row in puzzles.cells.tolist()]


def hardness(guessed: Sequence[int], clues: Sequence[int]) -> dict[str, Any]:
    """Their means, middles and ends."""
    ranked = sorted(guessed)
    return {
        "guesses_mean": round(sum(ranked) / len(ranked), 1), "guesses_median": ranked[len(ranked) // 2],
        "guesses_90": ranked[len(ranked) * 9 // 10], "guesses_max": ranked[-1], "no_guess": round(ranked.count(0) / len(ranked), 4),
        "clues_mean": round(sum(clues) / len(clues), 2), "clues_min": min(clues), "clues_max": max(clues),
    }  # fmt: skip


def hardness_words(h: Mapping[str, Any]) -> str:
    """The same in words."""
    return (
        f"{h['clues_min']} to {h['clues_max']} clues (mean {h['clues_mean']}); a backtracking solver that always fills the blank with the "
        f"fewest candidates guesses {h['guesses_mean']} values on average (median {h['guesses_median']}, nine in ten below "
        f"{h['guesses_90']}, most {h['guesses_max']}), none in {100 * h['no_guess']:.1f} % of them"
    )


def by_guesses(guessed: Sequence[int], right: Sequence[bool]) -> list[dict[str, Any]]:
    """What is solved by how many guesses a puzzle needs, with the 95 % Wilson interval."""
    rows = []
    for first, last in BANDS:
        inside = [r for n, r in zip(guessed, right, strict=True) if first <= n <= last]
        if inside:
            share = wilson(sum(inside), len(inside))
            ends = {"low": round(share.low, 4), "high": round(share.high, 4)}
            rows.append({"from": first, "to": last, "puzzles": len(inside), "exact": round(share.mean, 4), **ends})
    return rows


def band(row: Mapping[str, int]) -> str:
    """A row's guesses in words."""
    if row["from"] == row["to"]:
        return "none" if not row["from"] else str(row["from"])
    return f"{row['from']} to {row['to']}" if row["to"] < BANDS[-1][1] else f"{row['from']} and more"
