"""A model by its spec, whatever it is: a language model under the solvers, or a network that solves by itself (a TRM's folder).

The names stay the same: `single` is the plain answer; `self-consistency` a vote (over changed copies of the puzzle); `best-of-n` the best
of several (rollouts with noise, chosen by the halting head). Any solver's spec may name a model of its own as its first option,
`single?model=FOLDER&steps=8`, so that `compare` sets a network beside a language model.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote

from reasonry.core import LM, Budget, Completion, Ids, Problem, Prompt, Sampling, Solver, Stop, Task, UserError
from reasonry.evaluate.choices import build_choice
from reasonry.lm.load import load_lm
from reasonry.solve.build import Options
from reasonry.solve.opened import Opened
from reasonry.worlds.trm_folder import find_trm, load_trm

if TYPE_CHECKING:
    from reasonry.worlds.trm_solver import Recursive

Build = Callable[[str, Task], Solver]
"""(a solver's spec, task) -> the solver on this model; its name is the spec."""


def _single(o: Options) -> dict[str, object]:
    return {}


def _self_consistency(o: Options) -> dict[str, object]:
    from reasonry.worlds.trm_solver import most_voted

    return {"rows": o.read("k", 8, int), "changed": True, "choose": most_voted}


def _best_of_n(o: Options) -> dict[str, object]:
    from reasonry.worlds.trm_solver import surest

    return {"rows": o.read("n", 8, int), "sigma": o.read("sigma", 0.3, float), "choose": surest}


NETWORK_SOLVERS: Mapping[str, Callable[[Options], dict[str, object]]] = {
    "single": _single,
    "self-consistency": _self_consistency,
    "best-of-n": _best_of_n,
}
"""What a network that solves by itself can be asked for. All take `steps`."""


def network_solver(spec: str, base: Recursive) -> Solver:
    """A trained network's solver of a spec. Raises UserError for a name or an option that it does not have."""
    name, _, query = spec.partition("?")
    if name not in NETWORK_SOLVERS:
        raise UserError(f"solver: {name!r} is for language models; a Tiny Recursive Model takes {', '.join(NETWORK_SOLVERS)}")
    options = Options(name, dict(parse_qsl(query, keep_blank_values=True)))
    more = NETWORK_SOLVERS[name](options)
    steps = options.read("steps", base.steps, int)
    options.close()
    return replace(base, steps=steps, name=spec, **more)  # type: ignore[arg-type]  # the table's values are Recursive's fields


@asynccontextmanager
async def bound(
    model: str, specs: Sequence[str], task: Task, max_rows: int = 64, key_variable: str = "OPENAI_API_KEY"
) -> AsyncIterator[tuple[str, list[Solver]]]:
    """The model's name, and a solver for each spec: on `model`, or on the model that the spec names. All are closed on leaving."""
    async with AsyncExitStack() as stack:
        opened: dict[str, tuple[str, Build]] = {}

        async def open_once(spec: str) -> tuple[str, Build]:
            if spec not in opened:
                opened[spec] = await stack.enter_async_context(_open(spec, max_rows, key_variable))
            return opened[spec]

        name, _ = await open_once(model)
        solvers: list[Solver] = []
        for spec in specs:
            own, plain = own_model(spec)
            _, build = await open_once(own or model)
            solver = build(plain, task)
            solvers.append(solver if own is None else replace(cast(Any, solver), name=spec))
        yield name, solvers


def own_model(spec: str) -> tuple[str | None, str]:
    """The model that a solver's spec names, and the spec without it: `single?model=FOLDER&steps=8` -> (FOLDER, `single?steps=8`)."""
    found = re.fullmatch(r"([^?]+)\?model=([^&]+)(?:&(.+))?", spec)
    if found is None:
        return None, spec
    name, model, rest = found.groups()
    return unquote(model), f"{name}?{rest}" if rest else name


@asynccontextmanager
async def _open(spec: str, max_rows: int, key_variable: str) -> AsyncIterator[tuple[str, Build]]:
    folder = find_trm(spec)
    if folder is not None:
        base = _network(folder)
        yield folder.resolve().name, lambda solver, task: network_solver(solver, base)
        return
    lm = load_lm(spec, max_rows=max_rows, key_variable=key_variable)
    async with AsyncExitStack() as stack:
        if isinstance(lm, AbstractAsyncContextManager):
            await stack.enter_async_context(lm)
        opened = Opened()
        stack.push_async_callback(opened.close)
        yield lm.name, lambda solver, task: build_choice(solver, lm, task, opened)


def _network(folder: Path) -> Recursive:
    from reasonry.worlds.trm_solver import Recursive

    model, world = load_trm(folder)
    return Recursive(model, world, model.shape.N_sup)


@dataclass(frozen=True)
class Answering:
    """A network that solves by itself as a model to ask: the grid in the prompt, filled. It samples nothing, so of what `sampling` says
    only the seed is read, and it has no token ids."""

    solver: Recursive
    name: str

    async def encode(self, prompt: Prompt) -> Ids:
        """Raises UserError."""
        raise UserError(f"model: {self.name} reads grids and has no token ids; send text or messages")

    async def decode(self, ids: Ids) -> str:
        """Raises UserError."""
        raise UserError(f"model: {self.name} writes grids and has no token ids; send text or messages")

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """The answer after all steps. Raises UserError where the last message holds no grid of the network's world."""
        words = prompt if isinstance(prompt, str) else tuple(m for m in prompt if not isinstance(m, int))
        trace = await self.solver(Problem("question", words), Budget(), sampling.seed or 0)
        return Completion(trace.answer, trace.stop or Stop.ERROR, trace.cost)


def load_any(spec: str, max_rows: int = 64) -> LM:
    """The model a spec names, as `load_lm`, or a network by its folder or shipped name."""
    folder = find_trm(spec)
    return load_lm(spec, max_rows=max_rows) if folder is None else Answering(_network(folder), folder.resolve().name)
