"""The card of a trained network for sudokus: how it was trained, how hard its puzzles are, how it does on those and on others'.

`python -m reasonry.evaluate.trm_card trm-sudoku9` (or a folder) writes `README.md` and `card.json` beside the weights. Nothing is chosen
here: the number of supervision steps is that of training, other numbers are shown beside it, and the noise of rollouts is the solver's.
Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
import torch

from reasonry.core import Missing, UserError
from reasonry.core.run import environment, write_whole
from reasonry.evaluate.hardness import band, by_guesses, hardness, hardness_words, needed
from reasonry.probe.stats import wilson
from reasonry.tasks import load_task, sudoku
from reasonry.worlds.grids import Puzzle, Puzzles, SudokuWorld, endless, make
from reasonry.worlds.trm import TRM, parameters_of
from reasonry.worlds.trm_folder import CONFIG, find_trm, load_trm
from reasonry.worlds.trm_infer import Curve, chosen, curve
from reasonry.worlds.trm_settings import TRMSettings
from reasonry.worlds.trm_train import Trainer

SEED = 1
"""Of the puzzles: none of those that a run's own test asked."""
CLUES = {6: (12, 16, 20), 9: (24, 28, 32, 36)}
GYM = "gym:sudoku"
SIGMA, MOST = 0.3, 8
"""Of the noise, and how many rollouts: as `best-of-n` has them unless told otherwise."""


@dataclass(frozen=True)
class Sizes:
    """How many puzzles are asked."""

    hard: int = 500
    """Minimal ones."""
    others: int = 200
    """Of each other kind."""
    rollouts: int = 150
    """Of the minimal ones, with several rollouts."""


def foreign(world: SudokuWorld, n: int) -> Puzzles | None:
    """reasoning-gym's puzzles of its default settings that have one solution, or `None` where that package is not installed."""
    try:
        problems = load_task(GYM).problems("test", n, SEED)
    except Missing:
        return None
    found = []
    for problem in problems:
        cells = world.read(problem)
        solved = list(islice(sudoku.solutions([max(token - 1, 0) for token in cells], world.side), 2))
        if len(solved) == 1:
            found.append(Puzzle(cells, [value + 1 for value in solved[0]]))
    return Puzzles.of(found)


def steps_shown(trained: int) -> list[int]:
    """1, 2, 4 … below the number of training, that number, and twice it."""
    return [*(2**i for i in range(10) if 2**i < trained), trained, 2 * trained]


def row(label: str, puzzles: Puzzles, found: Curve, trained: int, side: int) -> dict[str, Any]:
    """A kind of puzzle: how hard, and the share of whole grids after some numbers of steps."""
    exact = {}
    for step in steps_shown(trained):
        e = wilson(int(found.exact[step - 1].sum()), len(puzzles))
        exact[str(step)] = [round(x, 4) for x in (e.mean, e.low, e.high)]
    right = found.exact[trained - 1]
    return {
        "puzzles": label, "n": len(puzzles), "exact": exact, "blanks": round(found.cells[trained - 1].mean().item(), 4),
        "halting_right": round(((found.halt[trained - 1] > 0) == right).float().mean().item(), 4),
        "hardness": hardness(*needed(puzzles, side)),
    }  # fmt: skip


def rollouts(model: TRM, puzzles: Puzzles, steps: int) -> list[dict[str, Any]]:
    """K rollouts, all but the first with noise: the one that the halting head likes best, and whether any is right."""
    runs = [curve(model, puzzles, steps, sigma=SIGMA if k else 0.0, seed=k) for k in range(MOST)]
    halt, exact = torch.stack([r.halt[-1] for r in runs]), torch.stack([r.exact[-1] for r in runs])
    found = []
    for k in (2**i for i in range(MOST.bit_length())):
        best = exact[:k].gather(0, chosen(halt[:k])[None]).squeeze(0)
        shares = (wilson(int(right.sum()), len(puzzles)) for right in (best, exact[:k].any(0)))
        head, any_ = ([round(x, 4) for x in (e.mean, e.low, e.high)] for e in shares)
        found.append({"K": k, "n": len(puzzles), "chosen": head, "any": any_})
    return found


def step_seconds(model: TRM, puzzles: Puzzles, s: TRMSettings, steps: int = 6) -> float:
    """Processor seconds of a training step on this machine with one thread; the weights are put back."""
    before = {name: w.clone() for name, w in model.state_dict().items()}
    at = Trainer(model, endless(puzzles, SudokuWorld(int(s.world[-1])).changes), s.recipe("cpu"))
    at.advance()
    began = time.process_time()
    for _ in range(steps):
        at.advance()
    spent = time.process_time() - began
    model.load_state_dict(before)
    return spent / steps


def measure(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Everything the card says. Raises UserError where the folder holds no sudoku network of `reasonry train`."""
    model, world = load_trm(folder, "cpu")
    about = json.loads((folder / CONFIG).read_bytes())["about"]
    if not isinstance(world, SudokuWorld) or "training" not in about:
        raise UserError(f"{folder}: is no sudoku network that reasonry train saved; a card is made for those")
    s = msgspec.convert(about["training"], TRMSettings)
    trained, side = model.shape.N_sup, world.side
    hard = make(world, "test", sizes.hard, SEED)
    found = curve(model, hard, 2 * trained)
    rows = [row("minimal", hard, found, trained, side)]
    for clues in CLUES[side]:
        puzzles = make(world, "test", sizes.others, SEED, clues)
        rows.append(row(f"{clues} clues", puzzles, curve(model, puzzles, 2 * trained), trained, side))
    if side == 9 and (puzzles := foreign(world, sizes.others)) is not None:
        rows.append(row(f"{GYM} (reasoning-gym)", puzzles, curve(model, puzzles, 2 * trained), trained, side))
    return {
        "environment": environment(), "trained": trained, "parameters": parameters_of(model), "steps": s.steps,
        "training_flops": model.shape.training_flops() * s.batch * s.steps, "step_seconds": round(step_seconds(model, hard, s), 3),
        "command": about["command"], "began": about["environment"], "training": about["training"], "rows": rows,
        "by_guesses": by_guesses(needed(hard, side)[0], found.exact[trained - 1].tolist()),
        "rollouts": rollouts(model, hard[slice(0, sizes.rollouts)], trained), "sigma": SIGMA,
    }  # fmt: skip


def percent(e: Sequence[float]) -> str:
    """A share with its interval."""
    return f"{plain(e[0])} ({100 * e[1]:.1f}–{100 * e[2]:.1f})"


def plain(share: float) -> str:
    """A share without one."""
    return f"{100 * share:.1f} %"


def render(name: str, c: Mapping[str, Any]) -> str:
    """The card as Markdown, in the form Hugging Face folders have."""
    trained, t, first, steps = c["trained"], c["training"], c["rows"][0], c["steps"]
    shown, size = list(first["exact"]), f"{t['world'][-1]}×{t['world'][-1]}"
    bands = [f"| {band(b)} | {b['puzzles']} | {percent((b['exact'], b['low'], b['high']))} |" for b in c["by_guesses"]]
    rolled = [f"| {r['K']} | {percent(r['chosen'])} | {percent(r['any'])} |" for r in c["rollouts"]]
    hints = f" Of these, {plain(t['hints'])} were shown with some cells given away." if t["hints"] else ""
    kind = "minimal ones, of which no clue can be taken away" if t["clues"] is None else f"with {t['clues']} clues"
    return f"""---
license: apache-2.0
---
# {name}

A Tiny Recursive Model (arXiv 2510.04871) with {c["parameters"]:,} parameters, for {size} sudokus and nothing else:
width {t["width"]}, {t["layers"]} layers, T = {t["T"]}, n = {t["n"]}, N_sup = {trained}. Trained on {t["puzzles"]:,} puzzles ({kind}),
each time under another change of digits, lines and bands.{hints}

{steps:,} optimiser steps of {t["batch"]} slots, {c["training_flops"]:.2g} FLOPs: {steps * c["step_seconds"] / 60:.0f} minutes of one core
at the {c["step_seconds"]:.2f} s a step that the card's command measures. Begun by `{c["command"]}`
(seed {t["seed"]}, commit {c["began"]["commit"]}), ended with `--resume --steps {steps}`; the weights are the best by validation puzzles.
Measured by `python -m reasonry.evaluate.trm_card {name}` on puzzles whose solutions are those of no training puzzle.

**It solves {percent(first["exact"][str(trained)])} of minimal puzzles**, and fills {plain(first["blanks"])} of their blanks rightly.
They have {hardness_words(first["hardness"])}.

## Whole grids right, by kind of puzzle and supervision steps

{trained} steps are what was trained; there the 95 % Wilson interval is given. "Guesses": of the backtracking solver,
mean; "none": puzzles that it solves without. "Told apart": grids of which the halting head says truly whether they are right.

| puzzles | n | clues | guesses | none | {" | ".join(f"after {step}" for step in shown)} | blanks | told apart |
|---|---|---|---|---|{"---|" * len(shown)}---|---|
{chr(10).join(_line(r, trained) for r in c["rows"])}

## Minimal puzzles by the guesses they need

| guesses | puzzles | whole grids right |
|---|---|---|
{chr(10).join(bands)}

## Several rollouts

`best-of-n?n=K&sigma={c["sigma"]}`: noise on the latent of all rollouts but the first, {c["rollouts"][0]["n"]} minimal
puzzles, {trained} steps. "Chosen": the one that the halting head likes best.

| K | chosen | any of them right |
|---|---|---|
{chr(10).join(rolled)}
"""


def _line(r: Mapping[str, Any], trained: int) -> str:
    h = r["hardness"]
    steps = (percent(e) if int(step) == trained else plain(e[0]) for step, e in r["exact"].items())
    ends = f"{h['clues_mean']:.1f} | {h['guesses_mean']:.1f} | {plain(h['no_guess'])} | {' | '.join(steps)}"
    return f"| {r['puzzles']} | {r['n']} | {ends} | {plain(r['blanks'])} | {plain(r['halting_right'])} |"


@click.command()
@click.argument("name")
@click.option("--hard", default=Sizes.hard, show_default=True, type=click.IntRange(1), help="Minimal puzzles.")
@click.option("--others", default=Sizes.others, show_default=True, type=click.IntRange(1), help="Puzzles of each other kind.")
@click.option("--rollouts", "rolled", default=Sizes.rollouts, show_default=True, type=click.IntRange(1), help="Puzzles with rollouts.")
def main(name: str, hard: int, others: int, rolled: int) -> None:
    """Measure a network and write its card."""
    folder = find_trm(name)
    if folder is None:
        raise click.UsageError(f"{name!r} is no shipped network and no folder of one")
    torch.set_num_threads(1)
    card = measure(folder, Sizes(hard, others, min(rolled, hard)))
    write_whole(folder / "card.json", json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / "README.md", render(folder.resolve().name, card))
    click.echo(f"wrote {folder / 'README.md'}")


if __name__ == "__main__":
    main()
