"""What `reasonry train` does with a recipe: loads, trains with live health, saves a checkpoint folder, evaluates, writes the page.

Invariants. Whatever a user may have got wrong is looked at before the run's directory is made. Training, validation and test problems are
different problems. `OUT/model` appears whole or not at all. Everything is done again in the same order by a resumed run, and nothing twice.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from rich.console import Console

from reasonry.cli.ahead import sampler_of, takes_old_for_new
from reasonry.core import Budget, Problem, Run, Solver, Task, Trajectory, UserError, open_run
from reasonry.core.seeds import inner_seed
from reasonry.evaluate.attempts import compare
from reasonry.evaluate.html import write_report
from reasonry.evaluate.progress import display as counting
from reasonry.evaluate.report import Report
from reasonry.evaluate.training import paired_words, title, training_page
from reasonry.lm.decoder import Decoder
from reasonry.lm.load import load_lm, model_folder
from reasonry.lm.local import LocalLM
from reasonry.lm.thoughts import controls, equipped
from reasonry.lm.tokenizer import Tokenizer
from reasonry.probe.difficulty import Rated, curated, read_profile, stale
from reasonry.solve.build import build_explorer, build_solver
from reasonry.synth.aggregation import Aggregation
from reasonry.synth.spec import load
from reasonry.tasks import Data
from reasonry.tasks.levels import Levels
from reasonry.tasks.spec import read_spec
from reasonry.train.assemble import beside_for
from reasonry.train.compose import curriculum_of, entry_of, recipe_of, weights_of
from reasonry.train.distributed import Team, team
from reasonry.train.hard import Hard, Problems, in_rounds, rater
from reasonry.train.health import Progress, display
from reasonry.train.loop import STEPS, Validate, frozen_copy
from reasonry.train.multipath import Traces, vary, widest
from reasonry.train.planned import planned
from reasonry.train.result import card, save_model
from reasonry.train.reward import Reward
from reasonry.train.rollout import rollout
from reasonry.train.settings import Settings, Supervised, plain, write
from reasonry.train.sft import Example, chat_example
from reasonry.train.solutions import Solutions
from reasonry.train.supervised import Epochs, hold_out, read_rows, steps_of, supervise
from reasonry.train.trackers import both, tracker

GENERATED = 1000
"""Training problems at each level of a task that never ends, where the recipe names no number."""
COMMAND, MODEL = "command.txt", "model"
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
        finite = isinstance(source, Data | Aggregation)
        held_out = s.validation if finite and "validation" not in source.splits else 0
        wanted = s.problems if s.problems is not None or finite else GENERATED
        known = rated(s)
        drawn = [r.problem for r in known] if known else task.at(level, "train", None if wanted is None else wanted + held_out, s.seed)
        if len(drawn) <= held_out:
            raise UserError(f"validation: is {s.validation} but {source.name} has {len(drawn)} training problems in all; hold out fewer")
        train[level], mine = drawn[held_out:], drawn[:held_out]
        if known:
            train[level] = curated(known[held_out:], s.difficulty, s.problems, seed=s.seed)
            task.adopt(level, (*mine, *train[level]))
        validation += mine or (task.at(level, "validation", s.validation, s.seed) if s.validation else [])
        found = task.at(level, "test", s.evaluate, s.seed) if s.evaluate else []
        test += found if len(s.levels) == 1 else [replace(p, meta={**p.meta, "skill": f"level {level}"}) for p in found]
    seen = {p.id for part in train.values() for p in part}
    if shared := seen & {p.id for p in (*validation, *test)}:
        raise UserError(f"task: {s.task!r} has {len(shared)} problems both in training and outside it; keep its splits apart")
    return Drawn(train, validation, test)


def rated(s: Settings) -> list[Rated]:
    """The problems of the difficulty profile that are sometimes passed, in an order drawn from the seed; none without a profile."""
    if s.profile is None:
        return []
    if len(s.levels) > 1:
        raise UserError(f"levels: are {list(s.levels)}, but the profile is of one task; leave levels out")
    known = [r for r in read_profile(Path(s.profile)) if r.bin]
    if not known:
        raise UserError(f"profile: {s.profile} holds no problem that the model passes sometimes and not always; take others")
    return random.Random(s.seed).sample(known, len(known))


def tempered(s: Settings, spec: str | None = None) -> str:
    """The spec, the solver's unless another is given, sampling at the recipe's temperature. Raises UserError where it names another."""
    spec = spec or s.solver
    own = read_spec(spec)[1].get("temperature")
    if own is None:
        return spec if s.temperature == 1.0 else f"{spec}{'&' if '?' in spec else '?'}temperature={s.temperature:g}"
    if own != f"{s.temperature:g}" and own != str(s.temperature):
        raise UserError(f"temperature: is {s.temperature:g}, but the solver {spec!r} samples at its own; say it once, as temperature")
    return spec


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


async def run_training(s: Settings | Supervised, out: Path, resume: bool, track: Sequence[str], command: str) -> None:
    """The whole of `reasonry train`: trains, saves, evaluates, writes `report.html`, says what came out.

    Started by `accelerate launch` or `torchrun`, it shares training by reward out over the processes; the first does all the rest.
    """
    with team() as t:
        console = Console(stderr=True, quiet=t.rank > 0)
        if isinstance(s, Settings):
            run, evaluation = await train_by_reward(s, out, resume, track, command, console, t)
        elif t.size > 1:
            raise UserError("--sft: written answers are learnt by one process; start the command without accelerate or torchrun")
        else:
            run, evaluation = await train_by_answers(s, out, resume, track, command, console)
        if t.rank:
            return
    records = [json.loads(line) for line in run.lines(STEPS)]
    report = run.write("report.html", training_page(run, records, write(s, all_keys=False), _first(run), evaluation))
    click.echo(title(records, evaluation) + ".")
    if evaluation is not None:
        click.echo(paired_words(evaluation))
    click.echo(f"\nModel:  {run.path / MODEL}\nReport: {report}")


async def train_by_answers(
    s: Supervised, out: Path, resume: bool, track: Sequence[str], command: str, console: Console
) -> tuple[Run, Report | None]:
    """Trains on written answers and saves `out/model`; the report, where one was asked for, compares before with after."""
    folder = local_folder(s.model)
    task = load(s.task or s.data) if s.evaluate else None
    lm = load_lm(s.model, dtype=torch.float32)
    assert isinstance(lm, LocalLM)
    async with thinking(lm, s) as lm:
        rows, held_out = hold_out(examples_of(s, lm), s.validation, s.seed)
        epochs, fixed = varied(s, rows, lm), varied(s, held_out, lm)(-1)
        steps = steps_of(s, epochs)
        solver = build_solver(s.solver, lm, task) if task else None
        test = task.problems("test", s.evaluate, s.seed) if task else []
        run = _open(s, out, resume, command)
        say(console, f"{s.model} on {len(rows)} examples of {s.data}: {steps} steps of at most {s.batch_tokens} tokens, in {out}")
        if solver and task:
            await evaluated(run, solver, task, test, s, ("before",), console)
        with watched(console, steps, track, run) as progress:
            await supervise(lm.decoder, epochs, fixed, s, run, progress)
        lm.engine.flush()
        _save(lm.decoder, s, run, folder, lm.tokenizer)
        return run, await evaluated(run, solver, task, test, s, ("before", "after"), console) if solver and task else None


def thinking(lm: LocalLM, s: Supervised) -> LocalLM:
    """The model, with tags and thought embeddings for whatever parallel paths it is to learn. Raises UserError where adapters or norms
    alone would be trained, which cannot learn new ones."""
    paths = widest(Path(s.data)) if s.data.endswith(".jsonl") else 0
    if not paths:
        return lm
    decoder, tokenizer = equipped(lm.decoder, lm.tokenizer, max(s.tags, paths))
    new = decoder.config != lm.decoder.config or tokenizer is not lm.tokenizer
    if new and (s.lora is not None or s.optimizer == "norms"):
        key, value = ("optimizer", s.optimizer) if s.lora is None else ("lora", s.lora)
        raise UserError(f"{key}: is {value}, which leaves the new tags and thoughts of parallel paths as they are; leave it out")
    return LocalLM(decoder, tokenizer, lm.name) if new else lm


def varied(s: Supervised, rows: Sequence[Example | Traces], lm: LocalLM) -> Epochs:
    """What an epoch learns of the rows."""
    plain_rows = [row for row in rows if isinstance(row, Example)]
    if len(plain_rows) == len(rows):
        return lambda epoch: plain_rows
    known, tags = controls(lm.tokenizer), max(s.tags, widest(Path(s.data)))
    return lambda epoch: vary(rows, known, tags, s.unfinished, s.seed, epoch)


def examples_of(s: Supervised, lm: LocalLM) -> Sequence[Example | Traces]:
    """What is learnt: the file's rows, or demonstrations of the task's training problems."""
    longest = lm.decoder.config.max_position
    if s.data.endswith(".jsonl"):
        return read_rows(Path(s.data), lm.tokenizer, longest, s.prompt, s.answer)
    task, rng = load(s.data), random.Random(s.seed)
    show = getattr(task, "demonstration", None)
    if show is None:
        raise UserError(f"data: {s.data!r} is a task that does not demonstrate its problems; give a .jsonl file of answers")
    made = [chat_example(lm.tokenizer, show(p, rng)) for p in task.problems("train", s.examples, s.seed)]
    if over := max((len(e.ids) for e in made if len(e.ids) > longest), default=0):
        raise UserError(f"data: {s.data!r} has a demonstration of {over} tokens but the model's context holds {longest}; shorten the task")
    return made


async def train_by_reward(
    s: Settings, out: Path, resume: bool, track: Sequence[str], command: str, console: Console, t: Team
) -> tuple[Run, Report | None]:
    """Trains as the recipe says and saves `out/model`; the report, where one was asked for, compares before with after. Every process of
    the team trains, the first evaluates and saves."""
    folder, recipe, curriculum = local_folder(s.model), recipe_of(s), curriculum_of(s)
    task = levels_of(s)
    drawn = draw(task, s)
    lm = load_lm(s.model, str(t.device), torch.float32, max_rows=min(max(s.prompts * s.group, 64), ROWS))
    assert isinstance(lm, LocalLM)
    async with lm:
        solver = build_solver(tempered(s), lm, task)
        beside = beside_for(entry_of(s), lm, solver, task, recipe)
        stored = Solutions()
        explorer = build_explorer(tempered(s, s.explore), lm, task, stored) if s.explore else solver
        beside += [stored] if s.explore else []
        run = t.first_opens(lambda: _open(s, out, resume or t.rank > 0, command))
        recipe, watching = await t.first_does(lambda: planned(s, recipe, lm, solver, task, drawn.train, run))
        beside += watching
        test = () if t.rank else drawn.test
        what = f"{s.objective} with {s.solver}, {s.steps} steps of {s.prompts} × {s.group} attempts"
        say(console, f"{s.model} on {task.name}: {what}, in {out}")
        if s.ahead and takes_old_for_new(recipe.objective):
            say(console, f"warning: {s.objective} takes answers that are up to {s.ahead} updates old for new ones; scalerl corrects for it")
        if s.profile and (doubt := stale(read_profile(Path(s.profile)), s.model)):
            say(console, f"warning: {doubt}")
        if test:
            await evaluated(run, solver, task, test, s, ("before",), console)
        reference = frozen_copy(lm.decoder) if s.reference else None
        validate = validation(solver, task, recipe.reward, drawn.validation, s) if drawn.validation else None
        more = {"reference": reference, "beside": beside, "validate": validate}
        with watched(console, s.steps, () if t.rank else track, run) as progress:

            async def upto(problems: Problems, steps: int) -> None:
                ahead = sampler_of(s, lm, solver, task, tempered(s), folder, t.size)
                await t.train(
                    lm, explorer, task, curriculum, problems, replace(recipe, steps=steps), run, progress=progress, sampler=ahead, **more
                )

            if s.hard:
                hard = Hard(*s.hard)
                rate = rater(solver, task, Budget(completion_tokens=s.longest), hard, s.seed)
                await in_rounds(hard, s.steps, run, drawn.train, t.first_says(rate), upto)
            else:
                await upto(drawn.train, s.steps)
        if not t.rank:
            _save(lm.decoder, s, run, folder)
        return run, await evaluated(run, solver, task, test, s, ("before", "after"), console) if test else None


def _open(s: Settings | Supervised, out: Path, resume: bool, command: str) -> Run:
    run = open_run(out, plain(s), resume)
    run.write("recipe.toml", write(s))
    if not (out / COMMAND).exists():
        run.write(COMMAND, command + "\n")
    return run


def _first(run: Run) -> str:
    """The command that began the run, whatever resumed it."""
    return (run.path / COMMAND).read_text().rstrip()


def _save(decoder: Decoder, s: Settings | Supervised, run: Run, like: Path, tokenizer: Tokenizer | None = None) -> None:
    text = card(run.path.name, s.model, _first(run), write(s, all_keys=False))
    save_model(weights_of(decoder, s), run.path / MODEL, like, text, tokenizer)


@contextmanager
def watched(console: Console, steps: int, track: Sequence[str], run: Run) -> Iterator[Progress]:
    """The live display, and whoever else is told of every step."""
    with ExitStack() as open_:
        trackers = [open_.enter_context(tracker(kind, run.path, run.config)) for kind in track]
        yield both(open_.enter_context(display(console, steps)), *trackers)


def validation(solver: Solver, task: Task, reward: Reward, problems: Sequence[Problem], s: Settings) -> Validate:
    """Mean reward of one attempt at each validation problem, always with the same seeds."""

    async def score() -> float:
        rewards: list[float] = []
        async for group in rollout(solver, task, problems, Budget(completion_tokens=s.longest), 1, inner_seed(s.seed, -1)):
            rewards += [r.reward for r in reward(group.problem, group.trajectories)]
        if not rewards:
            raise UserError(f"validation: none of the {len(problems)} problems could be scored; look at the task, or set validation = 0")
        return math.fsum(rewards) / len(rewards)

    return score


async def evaluated(
    run: Run, solver: Solver, task: Task, problems: Sequence[Problem], s: Settings | Supervised, names: Sequence[str], console: Console
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
