"""Any task by name, chains of another task's problems among them: `chain?h=3&pool=400&of=arithmetic?steps=1`."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from reasonry.core import Task, UserError
from reasonry.synth.aggregation import aggregation
from reasonry.synth.chain import PLAIN, TERSE
from reasonry.synth.chained import LABEL_PRESERVING, RE_SOLVE, Form, Order, in_order, shuffled, synth
from reasonry.tasks import Data, load_task
from reasonry.tasks.noisy import Noisy
from reasonry.tasks.spec import convert, read_spec

FORMS = {form.name: form for form in (LABEL_PRESERVING, RE_SOLVE)}
WORDINGS = {"plain": PLAIN, "terse": TERSE}
ORDERS: dict[str, Order] = {"told": in_order, "shuffled": shuffled}
T = TypeVar("T")
POOL = 1000
"""Source problems behind the chains of a split, where the source never ends and the spec names no number."""


def load(spec: str) -> Task:
    """The task a spec names: `tasks.load_task`'s, or `chain?h=…&of=…`, where everything after `of=` is the source's own spec.

    `aggregate?file=pools.jsonl&m=8&p=50&of=…` asks for one answer made of m candidates (`synth.aggregation`); `noisy?recall=0.3&of=…` is a
    task with a verifier that errs at known rates (`tasks.noisy`). Options of a chain: `h`, its length; `pool`; `form` (re-solve where the
    source's problems have programs, else label-preserving); `wording` (plain, terse); `order` (told, shuffled). Raises UserError for an
    unknown name, option or value.
    """
    if spec.startswith("noisy?"):
        head, found, of = spec.partition("of=")
        if not of:
            raise UserError(f"noisy: {spec!r} names no task; end it with of= and a task, as noisy?recall=0.3&of=arithmetic")
        return _noisy(of, **convert(partial(_noisy, of), read_spec(head.rstrip("&?"))[1], "noisy"))
    if spec.startswith("aggregate?"):
        head, _, of = spec.partition("of=")
        if not of:
            raise UserError(f"aggregate: {spec!r} names no task; end it with of= and a task, as aggregate?file=pools.jsonl&of=arithmetic")
        options = convert(partial(aggregation, load(of)), read_spec(head.rstrip("&?"))[1], "aggregate")
        if "file" not in options:
            raise UserError(f"aggregate: {spec!r} names no file of candidates; add file=pools.jsonl")
        return aggregation(load(of), **options)
    if not spec.startswith("chain?"):
        return load_task(spec)
    head, found, of = spec.partition("of=")
    if not found or not of:
        raise UserError(f"chain: {spec!r} names no source; end it with of= and a task, as chain?h=3&of=arithmetic?steps=1")
    return _chain(of, **convert(partial(_chain, of), read_spec(head.rstrip("&?"))[1], "chain"))


def _noisy(of: str, recall: float = 1.0, false_positive: float = 0.0, seed: int = 0) -> Task:
    return Noisy(load(of), recall, false_positive, seed)


def _chain(of: str, h: int = 2, pool: int | None = None, form: str | None = None, wording: str = "plain", order: str = "told") -> Task:
    source = load_task(of)
    if pool is None and not isinstance(source, Data):
        pool = POOL
    return synth(
        source,
        h,
        _form(source, form),
        _choice("wording", wording, WORDINGS),
        _choice("order", order, ORDERS),
        pool,
    )


def _form(source: Task, form: str | None) -> Form:
    if form is not None:
        return _choice("form", form, FORMS)
    split = next(iter(source.splits)) if isinstance(source, Data) else "train"
    return RE_SOLVE if RE_SOLVE.atom(source.problems(split, 1)[0]) is not None else LABEL_PRESERVING


def _choice(name: str, given: str, among: dict[str, T]) -> T:
    if given not in among:
        raise UserError(f"chain: {name} is {given!r} but must be one of {', '.join(among)}")
    return among[given]
