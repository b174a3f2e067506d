"""What `reasonry train` does with a recipe: loads, trains with live health, saves a checkpoint folder, evaluates, writes the page.

Invariants. Whatever a user may have got wrong is looked at before the run's directory is made. Training, validation and test problems are
different problems. `OUT/model` appears whole or not at all. Everything is done again in the same order by a resumed run, and nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from rich.console import Console

from reasonry.core import Budget, Problem, Run, Solver, Task, Trajectory, UserError, open_run
from reasonry.core.seeds import inner_seed
from reasonry.evaluate.attempts import compare
from reasonry.evaluate.html import write_report
from reasonry.evaluate.progress import display as counting
from reasonry.evaluate.report import Report
from reasonry.evaluate.training import paired_words, title, training_page
from reasonry.lm.load import load_lm, model_folder
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.synth.spec import load
from reasonry.tasks import Data
from reasonry.tasks.levels import Levels
from reasonry.tasks.spec import read_spec
from reasonry.train.compose import curriculum_of, recipe_of
from reasonry.train.health import Progress, display
from reasonry.train.loop import STEPS, Validate, frozen_copy, train
from reasonry.train.result import card, save_model
from reasonry.train.rollout import rollout
from reasonry.train.settings import Settings, plain, write

GENERATED = 1000
"""Training problems at each level of a task that never ends, where the recipe names no number."""
ROWS = 128
"""Most attempts the engine computes at once."""


@dataclass(frozen=True)
class Drawn:
    """The problems of a run; no two parts share one."""

    train: Mapping[int, Sequence[Problem]]
    validation: Sequence[Problem]
    test: Sequence[Problem]


def local_folder(model: str) -> Path:
    """The checkpoint folder of a model that can be trained. Raises UserError for any other, without repeating an address."""
    if model.startswith(("http://", "https://")):
        raise UserError("model: is an endpoint, whose weights are out of reach; give pocket, pocket-1m or a checkpoint folder")
    return model_folder(model)


def levels_of(s: Settings) -> Levels:
    """The task of a recipe."""
    return Levels(s.task.replace("{level}", "*"), {level: load(s.task.replace("{level}", str(level))) for level in s.levels})


def draw(task: Levels, s: Settings) -> Drawn:
    """Training, validation and test problems. A file without a validation split gives some of its training problems."""
    train: dict[int, Sequence[Problem]] = {}
    validation: list[Problem] = []
    test: list[Problem] = []
    for level, source in task.tasks.items():
        finite = isinstance(source, Data)
        held_out = s.validation if finite and "validation" not in source.splits else 0
        wanted = s.problems if s.problems is not None or finite else GENERATED
        drawn = task.at(level, "train", None if wanted is None else wanted + held_out, s.seed)
        if len(drawn) <= held_out:
            raise UserError(f"validation: is {s.validation} but {source.name} has {len(drawn)} training problems in all; hold out fewer")
        train[level], mine = drawn[held_out:], drawn[:held_out]
        validation += mine or (task.at(level, "validation", s.validation, s.seed) if s.validation else [])
        found = task.at(level, "test", s.evaluate, s.seed) if s.evaluate else []
        test += found if len(s.levels) == 1 else [replace(p, meta={**p.meta, "skill": f"level {level}"}) for p in found]
    seen = {p.id for part in train.values() for p in part}
    if shared := seen & {p.id for p in (*validation, *test)}:
        raise UserError(f"task: {s.task!r} has {len(shared)} problems both in training and outside it; keep its splits apart")
    return Drawn(train, validation, test)


def tempered(s: Settings) -> str:
    """The solver's spec, sampling at the recipe's temperature. Raises UserError where it names another."""
    own = read_spec(s.solver)[1].get("temperature")
    if own is None:
        return s.solver if s.temperature == 1.0 else f"{s.solver}{'&' if '?' in s.solver else '?'}temperature={s.temperature:g}"
    if own != f"{s.temperature:g}" and own != str(s.temperature):
        raise UserError(f"temperature: is {s.temperature:g}, but the solver {s.solver!r} samples at its own; say it once, as temperature")
    return s.solver


@dataclass(frozen=True)
class Named:
    """A solver under another name, so that one model before and after training can be compared."""

    name: str
    solver: Solver

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """The solver's own attempt."""
        return await self.solver(problem, budget, seed)


@dataclass(frozen=True)
class Trained:
    """What a finished run is."""

    run: Run
    model: Path
    evaluation: Report | None
    """Before against after."""


async def run_training(s: Settings, out: Path, resume: bool, track: Sequence[str], command: str) -> None:
    """The whole of `reasonry train` by reward: trains, saves, evaluates, writes `report.html`, says what came out."""
    console = Console(stderr=True)
    trained = await train_by_reward(s, out, resume, track, command, console)
    records = [json.loads(line) for line in trained.run.lines(STEPS)]
    text = training_page(trained.run, records, write(s, all_keys=False), command, trained.evaluation)
    report = trained.run.write("report.html", text)
    click.echo(title(records, trained.evaluation) + ".")
    if trained.evaluation is not None:
        click.echo(paired_words(trained.evaluation))
    click.echo(f"\nModel:  {trained.model}\nReport: {report}")


async def train_by_reward(s: Settings, out: Path, resume: bool, track: Sequence[str], command: str, console: Console) -> Trained:
    """Trains as the recipe says and saves `out/model`."""
    folder, recipe, curriculum = local_folder(s.model), recipe_of(s), curriculum_of(s)
    task = levels_of(s)
    drawn = draw(task, s)
    lm = load_lm(s.model, dtype=torch.float32, max_rows=min(max(s.prompts * s.group, 64), ROWS))
    assert isinstance(lm, LocalLM)
    async with lm:
        solver = build_solver(tempered(s), lm, task)
        run = open_run(out, plain(s), resume)
        run.write("recipe.toml", write(s))
        say(
            console,
            f"{s.model} on {task.name}: {s.objective} with {s.solver}, {s.steps} steps of {s.prompts} × {s.group} attempts, in {out}",
        )
        if drawn.test:
            await evaluated(run, solver, task, drawn.test, s, ("before",), console)
        reference = frozen_copy(lm.decoder) if s.reference else None
        validate = validation(solver, task, drawn.validation, s) if drawn.validation else None
        with display(console, s.steps) as show, trackers_of(track, run) as trackers:
            await train(lm, solver, task, curriculum, drawn.train, recipe, run, reference, (), validate, both(show, *trackers))
        model = save_model(lm.decoder, run.path / "model", folder, card(out.name, s.model, command, write(s, all_keys=False)))
        report = await evaluated(run, solver, task, drawn.test, s, ("before", "after"), console) if drawn.test else None
    return Trained(run, model, report)


@contextmanager
def trackers_of(kinds: Sequence[str], run: Run) -> Iterator[list[Progress]]:
    """Where else every step's record goes."""
    yield []


def both(*watching: Progress) -> Progress:
    """Tells all of them."""

    def tell(record: Mapping[str, object]) -> None:
        for one in watching:
            one(record)

    return tell


def validation(solver: Solver, task: Task, problems: Sequence[Problem], s: Settings) -> Validate:
    """Mean score of one attempt at each validation problem, always with the same seeds."""

    async def score() -> float:
        scores: list[float] = []
        async for group in rollout(solver, task, problems, Budget(completion_tokens=s.longest), 1, inner_seed(s.seed, -1)):
            scores += [t.verdict.score for t in group.trajectories if t.verdict is not None and t.verdict.score is not None]
        if not scores:
            raise UserError(f"validation: none of the {len(problems)} problems could be scored; look at the task, or set validation = 0")
        return sum(scores) / len(scores)

    return score


async def evaluated(
    run: Run, solver: Solver, task: Task, problems: Sequence[Problem], s: Settings, names: Sequence[str], console: Console
) -> Report:
    """The test problems by the solver under these names; attempts that the run holds are not made again."""
    own = open_run(run.path / "evaluation", {"problems": len(problems), "attempts": s.evaluate_attempts, "seed": s.seed}, resume=True)
    budget = Budget(completion_tokens=s.longest)
    say(console, f"evaluating {names[-1]} training: {len(problems)} test problems × {s.evaluate_attempts}")
    with counting(console) as progress:
        report = await compare(
            [Named(name, solver) for name in names], task, problems, [budget], own, attempts=s.evaluate_attempts, seed=s.seed,
            progress=progress,
        )  # fmt: skip
    write_report(report, own, problems)
    return report


def say(console: Console, text: str) -> None:
    """A line for people."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
