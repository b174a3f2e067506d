"""A grid being solved, step by step, as a page, a picture or a film: what a recursive network would have answered after each step.

Invariant: nothing here knows the solution. A cell is marked because it changed since the step before, or because it breaks the puzzle's own
rules (a digit twice in a row, column or box).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from reasonry.core import Trajectory, UserError
from reasonry.evaluate.page import INK, LINE, MUTED, PAPER, Section, figure_svg, page, series, table
from reasonry.tasks.sudoku import units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = (".html", ".png", ".svg", ".gif")
PICTURED = 5
"""Grids of a picture, the puzzle with them."""
ARC_COLOURS = ("#000000", "#1e78d2", "#f03c32", "#3caa46", "#fad21e", "#a0a0a0", "#dc28aa", "#fa821e", "#82c8f0", "#821e32")


@dataclass(frozen=True)
class Colours:
    """What a drawing is made of."""

    ink: str = "#1f2328"
    quiet: str = "#6e7781"
    line: str = "#d0d7de"
    paper: str = "#ffffff"
    new: str = "#1a7f37"
    wrong: str = "#cf222e"


PLAIN, PAGE = Colours(), Colours(INK, MUTED, LINE, PAPER, series(2), series(1))


@dataclass(frozen=True)
class Step:
    """The answer as it stood."""

    number: int
    """Counted from 1; 0 is the puzzle."""
    grid: Sequence[str]
    """Its rows."""
    sure: float | None = None
    """The halting head's probability that the grid is right."""
    changed: int = 0
    """Cells that differ from the step before."""
    broken: frozenset[int] = frozenset()
    """Cells that break the rules."""


def steps_of(trace: Trajectory) -> list[Step]:
    """The puzzle, then the answer after every supervision step. Raises UserError for an attempt that has none."""
    grids = [str(trace.meta.get("puzzle", "")), *(s.text for s in trace.segments if s.role == "refine")]
    if not grids[0] or len(grids) == 1:
        raise UserError("--out: this attempt has no steps that improve a grid; a picture is of a Tiny Recursive Model's attempt")
    sure = [None, *trace.meta.get("halt", [])]
    found = []
    for i, text in enumerate(grids):
        changed = sum(a != b for a, b in zip(text, grids[i - 1], strict=False)) if i else 0
        found.append(Step(i, text.split("\n"), sure[i] if i < len(sure) else None, changed, broken(text)))
    return found


def broken(text: str) -> frozenset[int]:
    """Cells of a sudoku whose digit stands twice in a row, column or box; none for another grid."""
    rows = text.split("\n")
    size = len(rows)
    if not is_sudoku(rows):
        return frozenset()
    flat, where = "".join(rows), units(size)
    return frozenset(
        i for i, digit in enumerate(flat)
        if digit != "." and any(digit == flat[j] and any(a == b for a, b in zip(where[i], where[j], strict=True))
                                for j in range(size * size) if j != i)
    )  # fmt: skip


def is_sudoku(rows: Sequence[str]) -> bool:
    """Whether rows are those of a sudoku, filled or not."""
    size = len(rows)
    return size in (6, 9) and all(len(row) == size and set(row) <= set(".123456789") for row in rows)


def shown(steps: Sequence[Step], most: int) -> list[Step]:
    """The puzzle, the first step, the last, and between them those that changed most, in their order."""
    if len(steps) <= most:
        return list(steps)
    settled = max((step.number for step in steps if step.changed), default=1)
    kept = {0, 1, settled}
    for step in sorted(steps[2:settled], key=lambda step: (-step.changed, step.number)):
        if len(kept) < most:
            kept.add(step.number)
    return [step for step in steps if step.number in kept]


def caption(step: Step) -> str:
    """A grid's heading."""
    if step.number == 0:
        return "puzzle"
    if step.broken:
        told = f"{len(step.broken)} cells clash"
    elif is_sudoku(step.grid) and "." not in "".join(step.grid):
        told = "every rule is kept"
    else:
        told = f"{step.changed} cells changed" * (step.changed > 0)
    return f"step {step.number}\n{told}".rstrip()


def draw(steps: Sequence[Step], colours: Colours = PLAIN, columns: int | None = None, inches: float = 2.0) -> Figure:
    """The grids side by side, each under its heading."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = columns or len(steps)
    rows = -(-len(steps) // columns)
    with mpl.rc_context({"font.family": "sans-serif"}):
        figure = Figure(figsize=(inches * columns, (inches + 0.5) * rows), layout="constrained", facecolor=colours.paper)
        for i, step in enumerate(steps):
            ax = figure.add_subplot(rows, columns, i + 1)
            _grid(ax, step, steps[0], steps[i - 1] if i else step, colours, inches)
    return figure


def _grid(ax: Axes, step: Step, puzzle: Step, before: Step, colours: Colours, inches: float) -> None:
    height, width = len(step.grid), max(map(len, step.grid), default=0)
    sudoku = height == width and height in (6, 9) and "#" not in "".join(puzzle.grid)
    for r, row in enumerate(step.grid):
        for c, mark in enumerate(row):
            given = _at(puzzle, r, c) == mark != "."
            fresh = step.number > 0 and _at(before, r, c) != mark
            if sudoku:
                clash = r * width + c in step.broken and not given
                ink = colours.wrong if clash else colours.new if fresh else colours.ink if given else colours.quiet
                ax.text(
                    c + 0.5, r + 0.53, mark.replace(".", ""), ha="center", va="center", color=ink, fontsize=40 * inches / width,
                    fontweight="bold" if given else "normal",
                )  # fmt: skip
            else:
                ax.add_patch(_square(r, c, mark, fresh, colours))
    if sudoku:
        high, wide = (2, 3) if height == 6 else (3, 3)
        for k in range(height + 1):
            ax.plot([0, width], [k, k], color=colours.ink if k % high == 0 else colours.line, linewidth=1.2 if k % high == 0 else 0.6)
            ax.plot([k, k], [0, height], color=colours.ink if k % wide == 0 else colours.line, linewidth=1.2 if k % wide == 0 else 0.6)
    ax.set_xlim(-0.05, width + 0.05)
    ax.set_ylim(height + 0.05, -0.05)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(caption(step) + ("" if "\n" in caption(step) else "\n "), fontsize=10, color=colours.ink)


def _square(r: int, c: int, mark: str, fresh: bool, colours: Colours):
    from matplotlib.patches import Rectangle

    faces = {"#": colours.ink, ".": colours.paper, "o": colours.new if fresh else colours.quiet, "S": colours.wrong, "G": colours.wrong}
    face = faces.get(mark) or (ARC_COLOURS[int(mark)] if mark.isdigit() else colours.line)
    return Rectangle((c, r), 1, 1, facecolor=face, edgecolor=colours.line, linewidth=0.4)


def _at(step: Step, r: int, c: int) -> str:
    return step.grid[r][c] if r < len(step.grid) and c < len(step.grid[r]) else ""


def steps_page(trace: Trajectory, model: str, command: str = "") -> str:
    """The whole attempt as a page of its own."""
    steps = steps_of(trace)
    settled = max((step.number for step in steps if step.changed), default=0)
    last = steps[-1]
    lead = (
        f"After step {settled} of {last.number} nothing changed any more" if settled < last.number else "The last step still changed cells"
    )
    lead += f"; {len(last.broken)} cells of the last grid clash." if last.broken else "."
    rows = [
        [str(s.number), str(s.changed), str(len(s.broken)), "" if s.sure is None else f"{s.sure:.3f}"] for s in steps[1:]
    ]  # fmt: skip
    told = "Until nothing changes. Bold: given. Green: changed in this step. Red: breaks a rule. Nothing here knows the solution."
    drawn = steps[: settled + 1] if settled else steps[:2]
    grids = figure_svg(draw(drawn, PAGE, columns=min(5, len(drawn))), "The puzzle and the answer after each step")
    cost = trace.cost
    footer = f"{command} · {cost.calls} steps · {cost.flops:.3g} FLOPs · {cost.seconds:.2f} s".removeprefix(" · ")
    sections = [
        Section("Step by step", grids, told),
        Section(
            "Numbers", table(["step", "cells changed", "cells that clash", "thought right"], rows), "The last: the halting head's word."
        ),
    ]
    return page("A grid being solved", Markup("{}").format(lead), sections, kicker=model, footer=footer)


def write_steps(path: Path, trace: Trajectory, model: str, command: str = "") -> Path:
    """Writes the page (.html), a picture (.png, .svg) or a film (.gif) of an attempt. Raises UserError for another kind of file."""
    if path.suffix not in KINDS:
        raise UserError(f"--out: {path.name!r} is no {', '.join(KINDS)}; end its name with one of them")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".html":
        path.write_text(steps_page(trace, model, command), encoding="utf-8")
    elif path.suffix == ".gif":
        _film(path, steps_of(trace))
    else:
        import matplotlib as mpl

        with mpl.rc_context({"svg.hashsalt": "reasonry"}):
            draw(shown(steps_of(trace), PICTURED)).savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def _film(path: Path, steps: Sequence[Step]) -> None:
    import io

    from PIL import Image

    frames = []
    settled = max((step.number for step in steps if step.changed), default=1)
    for i, step in enumerate(steps[: settled + 1]):
        drawn = io.BytesIO()
        figure = draw([step], inches=3.2)
        if i:
            figure.clear()
            _grid(figure.add_subplot(), step, steps[0], steps[i - 1], PLAIN, 3.2)
        figure.savefig(drawn, format="png", dpi=110)
        frames.append(Image.open(drawn).convert("P", palette=Image.Palette.ADAPTIVE))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[900] * (len(frames) - 1) + [3000], loop=0)
