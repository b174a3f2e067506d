"""The sampler of a recipe with `ahead` or `workers`: what `reasonry train` builds here, and what a worker builds in its own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from reasonry.core import Solver, Task, UserError
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.train.objective import Objective
from reasonry.train.pipeline.actors import Cluster, Kit
from reasonry.train.pipeline.driver import Pipeline
from reasonry.train.pipeline.local import Here
from reasonry.train.ratio import TruncatedIS, sampler
from reasonry.train.settings import Settings


def sampler_of(s: Settings, lm: LocalLM, solver: Solver, task: Task, spec: str, folder: Path, processes: int) -> Pipeline | None:
    """`None` where the recipe has neither key. `spec` is the solver's, for workers to build it anew around a model from `folder`."""
    if not s.ahead and not s.workers:
        return None
    if processes > 1:
        raise UserError("ahead, workers: sampling ahead has one trainer; start the command without accelerate or torchrun")
    if not s.workers:
        return Pipeline(Here(lm, solver, task), s.ahead)
    rows, vllm = lm.engine.scheduler.max_rows, s.engine == "vllm"
    device = str(lm.engine.device)
    make = with_vllm(folder, spec, task, rows, s.engine_memory) if vllm else with_our_engine(s.model, spec, task, rows, device)
    gpus = 1.0 if vllm and torch.cuda.is_available() else 0.0
    return Pipeline(Cluster(make, rows, gpus=gpus), s.ahead, s.workers)


def takes_old_for_new(o: Objective) -> bool:
    """Whether an objective's ratio is not over the sampler's probabilities, and nothing in it corrects for their age."""
    return (o.ratio is None or o.ratio.over is not sampler) and not any(isinstance(w, TruncatedIS) for w in o.weights)


def with_our_engine(model: str, spec: str, task: Task, rows: int, device: str) -> Callable[[], Kit]:
    """Makes a worker with an engine of ours."""

    def make() -> Kit:
        lm = load_lm(model, device, torch.float32, max_rows=rows)
        return Kit(lm, build_solver(spec, lm, task), task)

    return make


def with_vllm(folder: Path, spec: str, task: Task, rows: int, memory: float) -> Callable[[], Kit]:
    """Makes a worker with vLLM as its engine, which takes that share of its device's memory."""

    def make() -> Kit:
        from reasonry.train.pipeline.vllm import VLLM

        lm = VLLM.load(folder, rows, memory)
        return Kit(lm, build_solver(spec, lm, task), task, lm)

    return make
