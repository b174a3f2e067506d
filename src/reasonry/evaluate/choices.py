"""A choice of `compare`, `solve` and `serve`: a solver's spec, or a cheaper form of the model with a solver over it.

`ahn?adapter=FOLDER&window=64&sinks=4&of=self-consistency?k=4` is four answers and a vote by the model with that adapter; without `of` it is
one plain answer. `routed?adapter=FOLDER&p=-0.5` runs each prompt through the blocks its routers choose (Dr.LLM). `of` comes last, for it is
a whole spec with options of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qsl, quote

from reasonry.core import LM, Solver, Task, UserError
from reasonry.evaluate.reverse_choice import reverse_speculative
from reasonry.solve.build import SOLVERS, Options, build_solver, read_options
from reasonry.solve.opened import Opened

Patch = Callable[[LM, Options], LM]
"""(model, options, which it closes) -> the cheaper model, loaded once in the options' `opened`."""


def _ahn(lm: LM, o: Options) -> LM:
    from reasonry.accel.ahn import Window, load_adapter, remember
    from reasonry.lm.local import LocalLM

    folder, window = o.read("adapter", "", str), Window(o.read("window", 1024, int), o.read("sinks", 0, int))
    write = o.choice("write", "yes", {"yes": True, "no": False})
    o.close()
    if not isinstance(lm, LocalLM):
        raise UserError(f"ahn: {lm.name} is an endpoint, whose attention is out of reach; name a model of this machine")
    if not folder:
        raise UserError("ahn: adapter is not given; name the folder that save_adapter wrote: ahn?adapter=FOLDER&window=64")

    def patched() -> LM:
        adapter = load_adapter(lm.decoder, folder)
        if write and not adapter.used:
            raise UserError(f"ahn: the cells in {folder} have not learnt anything yet; distil them, or add write=no for the window alone")
        return remember(lm, adapter, window, write)

    return o.opened.once(("ahn", lm, folder, window, write), patched)


def _routed(lm: LM, o: Options) -> LM:
    from reasonry.accel.drllm import load_routers, route
    from reasonry.lm.local import LocalLM

    folder, knob = o.read("adapter", "", str), o.read("p", -0.5, float)
    o.close()
    if not isinstance(lm, LocalLM):
        raise UserError(f"routed: {lm.name} is an endpoint, whose blocks are out of reach; name a model of this machine")
    if not folder:
        raise UserError("routed: adapter is not given; name the folder that train --recipe drllm wrote: routed?adapter=FOLDER&p=-0.5")
    return o.opened.once(("routed", lm, folder, knob), lambda: route(lm, load_routers(lm.decoder, folder), knob))


PATCHES: Mapping[str, Patch] = {"ahn": _ahn, "routed": _routed}
"""Every cheaper form of a model, by name."""
FURTHER: Mapping[str, Callable[[LM, Options, str], Solver]] = {"reverse-speculative": reverse_speculative}
"""Solvers made of parts of other rooms: (model, options, which it closes, the name in reports) -> solver."""
CHOICES = (*SOLVERS, *PATCHES, *FURTHER)


def build_choice(spec: str, lm: LM, task: Task, opened: Opened | None = None) -> Solver:
    """The solver a spec names, over `lm` or a cheaper form of it; its `name` is the spec. Raises UserError for a bad one.

    What the spec names by a place is loaded in `opened`, as in `build_solver`.
    """
    name = spec.partition("?")[0]
    if name in FURTHER:
        return FURTHER[name](lm, read_options(spec, opened), spec)
    if name not in PATCHES:
        return build_solver(spec, lm, task, opened)
    options = read_options(spec, opened)
    of = options.read("of", "single", str)
    return replace(cast(Any, build_solver(of, PATCHES[name](lm, options), task, options.opened)), name=spec)


def with_options(spec: str, more: Mapping[str, str]) -> str:
    """The spec with further options for every solver in it, the one behind `of` too; an option that a solver already has stays.

    A cheaper form takes none of them: they are its solver's, the plain answer where it names none.
    """
    head, _, query = spec.partition("?")
    own, _, of = f"&{query}".partition("&of=")
    said = [own[1:]] if own[1:] else []
    if head in PATCHES:
        of = of or "single"
    else:
        had = {name for name, _ in parse_qsl(own, keep_blank_values=True)}
        said += [f"{name}={quote(value)}" for name, value in more.items() if name not in had]
    said += [f"of={with_options(of, more)}"] if of else []
    return f"{head}?{'&'.join(said)}" if said else head
