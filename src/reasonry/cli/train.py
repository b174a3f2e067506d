"""`reasonry train`: reads flags and recipes, hands them on, and says what came out.

Invariant: importing this file imports nothing heavy; `--help` is quick.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from reasonry.accel import SHIPPED as PATCHES
from reasonry.core import UserError
from reasonry.worlds import SHIPPED as NETWORKS

TRACKERS = ("trackio", "tensorboard", "wandb")


@click.command()
@click.option("--recipe", metavar="NAME|FILE", help="A paper's recipe (grpo, dapo, h1, trm-sudoku6, ahn, drllm, …) or a .toml file.")
@click.option("--model", metavar="SPEC", help="pocket, pocket-1m or a checkpoint folder.")
@click.option("--task", metavar="SPEC", help="As in compare; {level} in it is replaced by the recipe's levels.")
@click.option("--solver", metavar="SPEC", help="The method whose attempts are learnt from.  [default: single]")
@click.option("--objective", metavar="NAME", help="What is optimised, a name of the catalogue.  [default: dr-grpo]")
@click.option(
    "--sft", "data", metavar="FILE|TASK", help="Instead of by reward, learn from written answers: a .jsonl file's, or a task's own."
)
@click.option("--steps", type=int, help="Updates.")
@click.option("--lr", type=float, help="Learning rate.")
@click.option("--lora", type=int, metavar="RANK", help="Train adapters of this rank in place of the weights.")
@click.option("--validation", type=int, metavar="N", help="Validate every checkpoint on N problems (with --sft: examples); keep the best.")
@click.option("--evaluate", type=int, metavar="N", help="Evaluate on N test problems before and after.")
@click.option("--seed", type=int, help="Decides problems and sampling.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Any key of the recipe; --show lists them. Repeat it.")
@click.option("--track", type=click.Choice(TRACKERS), multiple=True, help="Also send every step there. steps.jsonl is always written.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run directory.  [default: runs/train-DATE-TIME]")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, with its own recipe.")
@click.option("--show", is_flag=True, help="Print the recipe that would be run, and stop.")
def train(
    recipe: str | None,
    data: str | None,
    sets: tuple[str, ...],
    track: tuple[str, ...],
    out: Path | None,
    resume: bool,
    show: bool,
    **given: Any,
) -> None:
    """Train a model on a task by reward, or on written answers, into a checkpoint folder; or the cells of a cheaper form of it.

    The folder OUT/model is loaded by compare, serve and transformers. Each key comes from its flag, else from --set, else from the recipe.
    """
    if resume and out is None:
        raise UserError("--resume: the run to go on with is not named; add --out and its directory")
    if out is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("--out: is missing, and several processes must agree on the run's directory; name one")
    from reasonry.train.settings import plain, write

    settings = _settings(recipe, data, sets, out if resume else None, {k: v for k, v in given.items() if v is not None})
    if show:
        click.echo(write(settings), nl=False)
        return
    folder = out or Path("runs") / f"train-{datetime.now():%Y-%m-%d-%H%M%S}"
    made = shlex.join(["reasonry", *sys.argv[1:]])
    again = shlex.join(["reasonry", "train", "--out", str(folder), "--resume", *(word for t in track for word in ("--track", t))])
    try:
        if hasattr(settings, "world"):
            from reasonry.cli.recursion import run_recursion

            run_recursion(settings, plain(settings), write(settings), folder, resume, made)
            return
        if hasattr(settings, "patch"):
            if settings.patch == "drllm":
                from reasonry.cli.routers import run_routers as run_patch
            else:
                from reasonry.cli.patch import run_patch

            run_patch(settings, plain(settings), write(settings), folder, resume, made)
            return
        from reasonry.cli.training import run_training

        asyncio.run(run_training(settings, folder, resume, track, made))
    except KeyboardInterrupt:
        click.echo(f"\nreasonry: stopped; go on with: {again}", err=True)
        sys.exit(130)


def _settings(recipe: str | None, data: str | None, sets: tuple[str, ...], resumed: Path | None, flags: dict[str, Any]) -> Any:
    """The effective recipe: the file's keys, then `--set`, then flags."""
    from reasonry.train.settings import Settings, Supervised, from_flag, open_toml, read

    values: dict[str, Any] = {}
    if resumed is not None and recipe is None:
        stored = resumed / "recipe.toml"
        if not stored.is_file():
            raise UserError(f"--resume: {resumed} holds no recipe.toml, so no run to go on with; check --out")
        recipe = str(stored)
    if recipe is not None:
        own = [folder / f"{recipe}.toml" for folder in (NETWORKS, PATCHES)]
        values |= open_toml(next((str(path) for path in own if path.is_file()), recipe))
    values |= dict(from_flag(text) for text in sets)
    values |= flags | ({} if data is None else {"data": data})
    kind: Any = Supervised if "data" in values else Settings
    if "world" in values:
        from reasonry.worlds.trm_settings import TRMSettings

        kind = TRMSettings
    elif values.get("patch") == "drllm":
        from reasonry.accel.drllm.settings import RouterSettings

        kind = RouterSettings
    elif "patch" in values:
        from reasonry.accel.ahn.settings import PatchSettings

        kind = PatchSettings
    where = f"recipe {recipe}" if recipe else "train"
    return read(kind, values, where)
