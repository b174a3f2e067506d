"""A choice of `compare` and `solve`: a solver's spec, or a cheaper form of the model with a solver over it.

`ahn?adapter=FOLDER&window=64&sinks=4&of=self-consistency?k=4` is four answers and a vote by the model with that adapter; without `of` it is
one plain answer. `of` comes last, for it is a whole spec with options of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from reasonry.core import LM, Solver, Task, UserError
from reasonry.solve.build import SOLVERS, Options, build_solver

if TYPE_CHECKING:
    from reasonry.accel.ahn import Window
    from reasonry.lm.local import LocalLM

Patch = Callable[[LM, Options], LM]
"""(model, options, which it closes) -> the cheaper model."""


def _ahn(lm: LM, o: Options) -> LM:
    from reasonry.accel.ahn import Window
    from reasonry.lm.local import LocalLM

    folder, window = o.read("adapter", "", str), Window(o.read("window", 1024, int), o.read("sinks", 0, int))
    write = o.choice("write", "yes", {"yes": True, "no": False})
    o.close()
    if not isinstance(lm, LocalLM):
        raise UserError(f"ahn: {lm.name} is an endpoint, whose attention is out of reach; name a model of this machine")
    if not folder:
        raise UserError("ahn: adapter is not given; name the folder that save_adapter wrote: ahn?adapter=FOLDER&window=64")
    return _remembering(lm, folder, window, write)


@lru_cache(maxsize=8)
def _remembering(lm: LocalLM, folder: str, window: Window, write: bool) -> LM:
    """Made once, so that several choices share its engine."""
    from reasonry.accel.ahn import load_adapter, remember

    return remember(lm, load_adapter(lm.decoder, folder), window, write)


PATCHES: Mapping[str, Patch] = {"ahn": _ahn}
"""Every cheaper form of a model, by name."""
CHOICES = (*SOLVERS, *PATCHES)


def build_choice(spec: str, lm: LM, task: Task) -> Solver:
    """The solver a spec names, over `lm` or a cheaper form of it; its `name` is the spec. Raises UserError for a bad one."""
    name, _, query = spec.partition("?")
    if name not in PATCHES:
        return build_solver(spec, lm, task)
    own, _, of = f"&{query}".partition("&of=")
    options = Options(name, dict(parse_qsl(own, keep_blank_values=True)))
    return replace(cast(Any, build_solver(of or "single", PATCHES[name](lm, options), task)), name=spec)
