"""What `reasonry train` does with `patch = "drllm"`: searches programs for a model's inputs, teaches routers, says what they are worth.

Invariants: whatever a user may have got wrong is looked at first; a problem's label is on disk before the next ones are searched, and a
killed run goes on with --resume, to the same routers; problems it is measured on are not searched.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import torch

from reasonry.accel.drllm import fresh_routers, save_routers
from reasonry.accel.drllm.learn import Features, Quality, features, learn, optimizer_of, quality
from reasonry.accel.drllm.routers import ASIS, Routers
from reasonry.accel.drllm.settings import RouterSettings
from reasonry.cli.patch import ADAPTER, CHECKPOINT, STEPS, save_whole
from reasonry.cli.training import local_folder
from reasonry.core import Problem, Run, Task, UserError, open_run
from reasonry.evaluate.layer_data import SEARCHES, routed_use, search_programs
from reasonry.evaluate.routers_page import Point, routers_page, said
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.lm.program import counts_of
from reasonry.probe.layer_use import Use, layer_use
from reasonry.solve.layer_search import Rules, every, square_root
from reasonry.tasks import load_task

LABELS = "labels"
TOGETHER = 32
"""Problems searched side by side, and lost at most by a kill."""
HELD = 8
"""One labelled problem in so many is kept out of training, to see what routers have learnt."""


def run_routers(s: RouterSettings, config: Mapping[str, Any], recipe: str, out: Path, resume: bool, command: str) -> None:
    """The whole of it: searches, teaches, saves, measures, writes `report.html`, says what came out."""
    local_folder(s.model)
    lm, task = load_lm(s.model), load_task(s.task)
    assert isinstance(lm, LocalLM)
    searched, held = problems_of(task, s)
    run = open_run(out, config, resume)
    if not (out / "recipe.toml").exists():
        run.write("recipe.toml", recipe)
        run.write("command.txt", command + "\n")
    asyncio.run(finish(s, lm, task, searched, held, run, recipe))


def problems_of(task: Task, s: RouterSettings) -> tuple[list[Problem], list[Problem]]:
    """Problems to be searched and to be measured on, different ones. Raises UserError where there are none."""
    try:
        held = task.problems("validation", s.validation, s.seed)
    except UserError:
        held = []
    both = task.problems("train", s.examples + (0 if held else s.validation), s.seed)
    if not held:
        held, both = both[-s.validation :], both[: -s.validation]
    if not both or not held:
        raise UserError(f"task: {s.task} has {len(both)} problems to search and {len(held)} to measure on; give more, or lower validation")
    return both, held


async def finish(
    s: RouterSettings, lm: LocalLM, task: Task, searched: Sequence[Problem], held: Sequence[Problem], run: Run, recipe: str
) -> None:
    """From the problems to the report."""
    async with lm:
        labels = await searched_labels(s, lm, task, searched, run)
        found = [(p, tuple(r["counts"])) for p, r in zip(searched, labels, strict=True) if r["counts"] is not None]
        if not found:
            raise UserError(f"task: no program answers any of {len(searched)} problems right; give easier ones, or more max_tokens")
        prompts = [await lm.encode(p.messages) for p, _ in found]
        seen = features(lm.decoder, prompts, [counts for _, counts in found], s.windows)
        kept_out = torch.arange(len(seen)) % HELD == HELD - 1
        train, apart = seen.take(~kept_out), seen.take(kept_out)
        routers = fresh_routers(lm.decoder, s.hidden, s.windows, s.seed)
        losses = taught(routers, train, s, run)
        save_routers(routers, run.path / ADAPTER)
        judged = quality(routers, apart) if len(apart) else None
        uses = {knob: await routed_use(lm, routers, knob, task, held, s.max_tokens, None) for knob in dict.fromkeys((*s.knobs, ASIS))}
    report(s, run, labels, judged, uses, lm.decoder.config.num_layers, losses, recipe)


def report(
    s: RouterSettings, run: Run, labels: Sequence[Mapping[str, Any]], judged: Quality | None, uses: Mapping[float, Sequence[Use]],
    layers: int, losses: Sequence[float], recipe: str,
) -> None:  # fmt: skip
    """Writes the page and says what came out."""
    points = [Point(knob, fmean(u.right or 0.0 for u in one), fmean(sum(u.counts) for u in one)) for knob, one in uses.items()]
    whole = Point(0.5, fmean(u.base or 0.0 for u in uses[ASIS]), float(layers))
    first = (run.path / "command.txt").read_text().rstrip()
    text = routers_page(s.model, labels, judged, points, whole, layer_use(uses[ASIS]), losses, recipe, first)
    path = run.write("report.html", text)
    click.echo(said(points, whole, layers))
    click.echo(f"\nRouters: {run.path / ADAPTER}\nReport:  {path}")
    click.echo(f"Try it: --solver 'routed?adapter={run.path / ADAPTER}&p={ASIS:g}'")


async def searched_labels(s: RouterSettings, lm: LocalLM, task: Task, problems: Sequence[Problem], run: Run) -> list[dict[str, Any]]:
    """A record for each problem, searched now or found in the run: its counts (`null` where no program is right), the base's reward."""
    rules = Rules(simulations=s.simulations, saving=s.saving, width=square_root if s.widen else every)
    done = {r["id"]: r for r in map(json.loads, run.lines(LABELS))}
    layers, missing = lm.decoder.config.num_layers, [p for p in problems if p.id not in done]
    for start in range(0, len(missing), TOGETHER):
        some = missing[start : start + TOGETHER]
        # "edits" tries one order on all problems, so that what can be skipped for many is skipped alike
        found = await search_programs(lm, task, some, SEARCHES[s.search], rules, s.max_tokens, s.seed, common=s.search == "edits")
        for p, f in zip(some, found, strict=True):
            counts = None if f.program is None else counts_of(f.program, layers)
            done[p.id] = {"id": p.id, "base": f.base, "counts": counts, "evaluations": f.evaluations}
            run.append(LABELS, done[p.id])
        click.echo(f"searched {len(done)} of {len(problems)} problems", err=True)
    return [done[p.id] for p in problems]


def taught(routers: Routers, train: Features, s: RouterSettings, run: Run) -> list[float]:
    """Teaches the routers, a record a step, from the run's checkpoint on where there is one; all losses."""
    optimizer, done, total = optimizer_of(routers, s.weight_decay), 0, s.teaching.steps(len(train))
    if (run.path / CHECKPOINT).exists():
        kept = torch.load(run.path / CHECKPOINT, map_location=train.labels.device, weights_only=True)
        routers.load_state_dict(kept["routers"])
        optimizer.load_state_dict(kept["optimizer"])
        done = kept["step"]
    lines = [line for line in run.lines(STEPS) if json.loads(line)["step"] <= done]
    run.write(f"{STEPS}.jsonl", "".join(line.decode() + "\n" for line in lines))
    for step, loss in enumerate(learn(routers, train, s.teaching, optimizer, done), done + 1):
        run.append(STEPS, {"step": step, "loss": loss})
        if step % s.save_every == 0 or step == total:
            save_whole(run.path / CHECKPOINT, {"step": step, "routers": routers.state_dict(), "optimizer": optimizer.state_dict()})
            click.echo(f"step {step:,} of {total:,} · loss {loss:.4g}", err=True)
    return [json.loads(line)["loss"] for line in run.lines(STEPS)]
