"""What `reasonry train` does with a recipe that names a `world`: makes puzzles, trains a Tiny Recursive Model, saves a folder that solves.

Invariant: as for language models, whatever a user may have got wrong is looked at first, OUT/model appears whole, a killed run goes on with
--resume, and the test puzzles are met once, after everything is decided.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch

from reasonry.core import open_run
from reasonry.evaluate.hardness import by_guesses, hardness, hardness_words, needed
from reasonry.evaluate.trm_page import trm_page
from reasonry.tasks.arc import problems_of
from reasonry.worlds.arc_score import score, submit
from reasonry.worlds.arc_world import ArcWorld
from reasonry.worlds.grids import SudokuWorld
from reasonry.worlds.trm import TRM, parameters_of
from reasonry.worlds.trm_folder import TYPES, save_trm
from reasonry.worlds.trm_infer import Curve, curve, exact_accuracy
from reasonry.worlds.trm_settings import Material, TRMSettings, material
from reasonry.worlds.trm_train import STEPS, train

MODEL, COMMAND = "model", "command.txt"


def run_recursion(s: TRMSettings, config: Mapping[str, Any], recipe: str, out: Path, resume: bool, command: str) -> None:
    """The whole of it: trains, saves, tests, writes `report.html`, says what came out.

    A run may be gone on with to another number of steps, more or fewer: no rate depends on it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = open_run(out, {key: value for key, value in config.items() if key != "steps"}, resume)
    if not (out / "recipe.toml").exists():
        run.write("recipe.toml", recipe)
    if not (out / COMMAND).exists():
        run.write(COMMAND, command + "\n")
    command = (out / COMMAND).read_text().rstrip()
    click.echo(f"making puzzles for {s.world}, in {out}", err=True)
    made = material(s, out, device)
    torch.manual_seed(s.seed)
    model = TRM(s.shape(made.world.vocab, made.world.side**2, made.rows)).to(device)
    if device == "cuda":
        model.f.compile()
    flops = model.shape.training_flops() * s.batch
    click.echo(f"{parameters_of(model):,} parameters on {device}, {flops:.3g} FLOPs a step, {s.steps:,} steps", err=True)
    held = made.validation
    validate = None if held is None else (lambda network: exact_accuracy(network, held, s.N_sup))
    train(model, made.draw, s.recipe(device), run, validate, _say)
    about: dict[str, Any] = {"training": config, "command": command, "environment": json.loads((out / "environment.json").read_text())}
    about |= _tested(model, made, s)
    folder = save_trm(model, made.world, out / MODEL, TYPES[s.store], about)
    records = [json.loads(line) for line in run.lines(STEPS)]
    report = run.write("report.html", trm_page(s.world, records, about, recipe, command))
    for line in about.get("said", []):
        click.echo(line)
    click.echo(f"\nModel:  {folder}\nReport: {report}")


def _say(record: Mapping[str, Any]) -> None:
    shown = " · ".join(f"{name} {value:.4g}" for name, value in record.items() if name != "step")
    click.echo(f"step {record['step']:,} · {shown}", err=True)


def _tested(model: TRM, made: Material, s: TRMSettings) -> dict[str, Any]:
    """The test puzzles, once: the share that is right after each step, and how hard they are."""
    if isinstance(made.world, ArcWorld):
        return _arc(model, made.world, made, s)
    if made.test is None:
        return {}
    found = curve(model, made.test, s.N_sup)
    about: dict[str, Any] = {"test": summary(found), "said": [said(found)]}
    if isinstance(made.world, SudokuWorld):
        guessed, clues = needed(made.test, made.world.side)
        about["hardness"] = hardness(guessed, clues)
        about["by_guesses"] = by_guesses(guessed, found.exact[-1].tolist())
        about["said"].append(f"Puzzles: {hardness_words(about['hardness'])}.")
    return about


def summary(found: Curve) -> dict[str, Any]:
    """A curve's means."""
    return {
        "puzzles": found.exact.shape[1], "exact": [round(x, 4) for x in found.exact.float().mean(1).tolist()],
        "blanks": [round(x, 4) for x in found.cells.mean(1).tolist()],
        "mean_halting_step": round(found.first_halt.float().mean().item(), 3),
        "halting_right": round(((found.halt[-1] > 0) == found.exact[-1]).float().mean().item(), 4),
    }  # fmt: skip


def said(found: Curve) -> str:
    """A curve in a sentence."""
    exact, cells = found.exact.float().mean(1), found.cells.mean(1)
    return (
        f"{exact[-1]:.1%} of {found.exact.shape[1]} unseen puzzles are wholly right after {len(exact)} steps ({exact[0]:.1%} after one); "
        f"{cells[-1]:.1%} of their blanks."
    )


def _arc(model: TRM, world: ArcWorld, made: Material, s: TRMSettings) -> dict[str, Any]:
    problems = [problem for task in made.tasks for problem in problems_of(task) if problem.answer is not None]
    chosen = random.Random(s.seed).sample(problems, min(s.evaluate, len(problems)))
    if not chosen:
        return {}
    given = [submit(model, world, problem, s.votes, s.N_sup) for problem in chosen]
    scores = {k: score(given, k) for k in (1, 2)}
    text = ", ".join(f"{value:.1%} within {k}" for k, value in scores.items())
    return {"arc": {str(k): v for k, v in scores.items()}, "said": [f"ARC, {len(chosen)} test inputs, {s.votes} votes each: {text}."]}
