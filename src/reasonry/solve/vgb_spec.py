"""`vgb?verifier=prm&until=paragraph` and `guided?way=beam&verifier=prm` as solvers: what an action is, who values it, how it is walked.

Shared options. `verifier`: a reward model's folder or address, `task` (the task's own `value`), `file.py:name` or `module:name` (a rule,
`(problem, part) -> value`), `avoid` (with `letters` and `alpha`), or left out: 1 everywhere. `link` turns a model's score into a value:
`sigmoid`, `exp` (of s/`beta`), or `none`. `least`: no value inside is below it. `need`: `answer` gives τ = 0 to what has not ended or holds
no answer; `nothing` asks for neither. `until`: where a block ends (`tokens`, `line`, `paragraph`, or `token`: one token, all listed),
`block` tokens of one at most, `depth` blocks and `max_tokens` tokens of an answer. `bound`: the greatest value there is; `coverage` C
instead: no block makes a partial answer worth more than C times as much. `ahead`: blocks drawn together.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, cast

from reasonry.core import LM, Solver, Task, UserError
from reasonry.lm.scorer import load_scorer
from reasonry.solve.vgb import Bound, at_most, coverage, enough, starts_needed
from reasonry.solve.vgb_ground import Blocks
from reasonry.solve.vgb_solver import (
    Decode,
    Guided,
    by_action,
    by_beam,
    by_best_block,
    by_block_rejection,
    by_outcome,
    walk_stationary,
    walk_to_first,
)
from reasonry.solve.vgb_verifier import (
    Link,
    Rule,
    Verifier,
    answers_of,
    as_it_is,
    avoiding,
    by_rule,
    by_scorer,
    by_task,
    clipped,
    nothing,
    sigmoid,
    tilted,
)

if TYPE_CHECKING:
    from reasonry.solve.build import Options

DELIMITERS = {"tokens": "", "line": "\n", "paragraph": "\n\n", "token": ""}


def vgb(lm: LM, task: Task, o: Options, name: str) -> Solver:
    """The walk. `mode`: `first_leaf` or `stationary`; `steps` of one start, by default (stationary) as many as `eps` and `delta` ask for,
    and `starts` as often; (first leaf) 64 H²."""
    blocks, bound = _blocks(o), _bound(o)
    eps, delta, H = o.read("eps", 1.0, float), o.read("delta", 0.1, float), blocks.depth
    if not (eps >= 0 and 0 < delta < 1):
        raise UserError(f"vgb: eps is {eps:g} and delta {delta:g}, but eps is 0 or more and delta between 0 and 1")
    steps, starts = o.read("steps", None, int), o.read("starts", starts_needed(H, eps, delta), int)
    modes = {
        "first_leaf": walk_to_first(bound, 64 * H**2 if steps is None else steps),
        "stationary": walk_stationary(bound, enough(H, eps, delta) if steps is None else steps, starts),
    }
    return _guided(lm, task, o, name, blocks, o.choice("mode", "first_leaf", modes))


def guided(lm: LM, task: Task, o: Options, name: str) -> Solver:
    """What it is compared with. `way`: `action`, `outcome` (at most `tries` answers), `best-block` and `block-rejection` (of `n`), `beam`
    of `width` (and `n` draws where blocks are not listed)."""
    blocks, bound, n = _blocks(o), _bound(o), o.read("n", 4, int)
    ways: dict[str, Decode] = {
        "action": by_action(bound),
        "outcome": by_outcome(bound, o.read("tries", 1000, int)),
        "best-block": by_best_block(n),
        "block-rejection": by_block_rejection(bound, n),
        "beam": by_beam(o.read("width", 4, int), n),
    }
    return _guided(lm, task, o, name, blocks, o.choice("way", "action", ways))


def _guided(lm: LM, task: Task, o: Options, name: str, blocks: Blocks, decode: Decode) -> Solver:
    return Guided(lm, _verifier(task, o), decode, blocks, o.sampling(None), o.read("ahead", 1, int), name)


def _blocks(o: Options) -> Blocks:
    until = o.choice("until", "line", {name: name for name in DELIMITERS})
    one = until == "token"
    tokens, depth = o.read("block", 1 if one else 256, int), o.read("depth", 16, int)
    if one and tokens != 1:
        raise UserError(f"vgb: block is {tokens}, but with until=token a block is one token; leave block out")
    return Blocks(tokens, DELIMITERS[until], depth, o.read("max_tokens", 1024, int), one)


def _bound(o: Options) -> Bound:
    M, C = o.read("bound", 1.0, float), o.read("coverage", None, float)
    if M <= 0 or (C is not None and C < 1):
        raise UserError(f"vgb: bound is {M:g} and coverage {C}, but a bound is above 0 and coverage at least 1; mend it")
    return at_most(M) if C is None else coverage(C)


def _verifier(task: Task, o: Options) -> Verifier:
    given, letters, alpha = o.read("verifier", "", str), o.read("letters", "e", str), o.read("alpha", 0.5, float)
    beta, least = o.read("beta", 1.0, float), o.read("least", 0.0, float)
    if beta <= 0 or not 0 < alpha <= 1:
        raise UserError(f"vgb: beta is {beta:g} and alpha {alpha:g}, but beta is above 0 and alpha above 0, at most 1")
    links: dict[str, Link] = {"sigmoid": sigmoid, "exp": tilted(beta), "none": as_it_is}
    link = o.choice("link", "sigmoid", links)
    if not given:
        found = nothing()
    elif given == "task":
        found = by_task(task)
    elif given == "avoid":
        found = avoiding(letters, alpha)
    elif not given.startswith(("http://", "https://")) and ":" in given:
        found = by_rule(_rule(given), given)
    else:
        found = by_scorer(load_scorer(given), link)
    found = found if least == 0 else clipped(found, least)
    return answers_of(task, found) if o.choice("need", "answer", {"answer": True, "nothing": False}) else found


def _rule(place: str) -> Rule:
    """The function of `file.py:name` or `module:name`."""
    module, _, name = place.rpartition(":")
    try:
        if module.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(module).stem, module)
            assert spec is not None
            assert spec.loader is not None
            found = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(found)
        else:
            found = importlib.import_module(module)
    except (ImportError, OSError, SyntaxError) as error:
        raise UserError(f"vgb: the rule's file {module!r} cannot be imported ({error}); check the name") from error
    rule = getattr(found, name, None)
    if not callable(rule):
        raise UserError(f"vgb: {module!r} has no function {name!r}; check the name")
    return cast(Rule, rule)
