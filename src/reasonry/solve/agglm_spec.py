"""`agglm?m=8&by=pocket-1m&of=delethink?C=64&m=32` as a solver: where candidates come from, how they are packed, how often it aggregates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reasonry.core import LM, Solver, Task, UserError
from reasonry.lm.load import load_lm
from reasonry.solve.agglm import Aggregate, Prepared, Sampled, Solved, Source
from reasonry.tasks.pack import WORDS, Packing
from reasonry.tasks.pool import read_pools

if TYPE_CHECKING:
    from reasonry.solve.build import Options

Build = Callable[[str, LM, Task], Solver]


def aggregate(lm: LM, task: Task, o: Options, name: str, build: Build) -> Solver:
    """The solver of the options.

    `m` candidates, by the model itself unless `by` names others (with commas: by turns); by plain answers unless `of`, the last option,
    is another solver's whole spec; or from the pool file that `pool` names. `votes` aggregations, after `rounds` - 1 rounds. `words`
    (plain, bare), `limit` (tokens of the prompt) and `keep_think` pack. `candidate_temperature` is the candidates', `temperature` the
    aggregator's.
    """
    sampling = o.sampling()
    warm = sampling.with_(temperature=o.read("candidate_temperature", sampling.temperature, float))
    file, by, of = o.read("pool", "", str), o.read("by", "", str), o.read("of", "", str)
    packing = Packing(
        o.choice("words", "plain", WORDS), o.choice("keep_think", "no", {"no": False, "yes": True}), o.read("limit", None, int)
    )
    source: Source
    if file and (by or of):
        raise UserError(f"agglm: pool and {'by' if by else 'of'} are both given, but candidates come from one place; leave one out")
    if file:
        source = Prepared({pool.problem.id: pool for pool in read_pools(Path(file), task)})
    elif by or of:
        models = [o.opened.once(("lm", spec), partial(load_lm, spec)) for spec in by.split(",")] if by else [lm]
        plain = f"single?temperature={warm.temperature:g}&max_tokens={warm.max_tokens}"
        source = Solved([build(of or plain, model, task) for model in models], task)
    else:
        source = Sampled(lm, task, warm)
    return Aggregate(lm, task, source, o.read("m", 8, int), packing, sampling, o.read("votes", 1, int), o.read("rounds", 1, int), name)
