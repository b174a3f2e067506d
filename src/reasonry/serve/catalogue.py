"""Which models there are: the plain ones, each with every solver on top, as `pocket:delethink` or `pocket:delethink?C=64`, and choices
that who starts the server gave a name, as `pocket:short`.

Invariant: a client never chooses what is loaded, read or called; a named choice may load anything, once, before the first request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from reasonry.core import LM, Problem, Solver, UserError, Verdict
from reasonry.evaluate.choices import CHOICES, build_choice, with_options
from reasonry.serve.errors import Refusal
from reasonry.serve.requests import Ask
from reasonry.solve import SOLVERS
from reasonry.solve.opened import Opened
from reasonry.tasks.judges import final_answer

SAMPLING_OPTIONS = ("temperature", "top_p", "top_k", "min_p")
"""Request fields that reach a solver, as options of its spec."""

SOLVER_FIELDS = frozenset(
    {"model", "solver", "budget", "messages", "prompt", "max_tokens", "max_completion_tokens", "n", "seed", "stream", "stream_options"}
) | set(SAMPLING_OPTIONS)
"""Request fields that mean something for a method of many calls. The others speak of one call's tokens."""


@dataclass(frozen=True, slots=True)
class AnyQuestion:
    """The task behind a request: a question whose right answer nobody told us. Solvers use it to read answers, not to judge them."""

    name: str = "request"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """Raises UserError: questions come from requests."""
        raise UserError("task: a server's questions come from its requests; name a task to draw problems from")

    def extract(self, text: str) -> str | None:
        """The final answer as any of the usual forms spells it."""
        return final_answer(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Not scored: there is no gold answer."""
        return Verdict(None, None, "a request brings no gold answer", self.extract(answer))


_PLACE = re.compile(r"[?&](by|pool|rm|adapter|tools|verifier|docs|more|designs)=")
"""Options that would load a folder, read a file, call an address or run code of the client's choice, with the server's rights and keys."""


@dataclass(frozen=True)
class Catalogue:
    """The models by name; the first is the one meant where a request may leave the name out. Raises UserError for a bad named choice."""

    lms: Mapping[str, LM]
    named: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(model, name) -> the spec of a choice; asked for as `model:name`."""
    opened: Opened = field(default_factory=Opened)
    """What named choices have loaded; closed by who made the catalogue."""

    def __post_init__(self) -> None:
        for (model, _), spec in self.named.items():
            build_choice(spec, self.lms[model], AnyQuestion(), self.opened)

    @property
    def names(self) -> list[str]:
        """Every model name, methods included, without options."""
        return [*self.lms, *map(":".join, self.named), *(f"{model}:{solver}" for model in self.lms for solver in SOLVERS)]

    def plain(self, name: str | None) -> LM:
        """The model of that name alone. Raises Refusal with status 404."""
        model, _ = self._split(next(iter(self.lms)) if name is None else name)
        return self.lms[model]

    def find(self, ask: Ask) -> tuple[LM, Solver | None]:
        """The model a request names, and its solver where it asks for one.

        Raises Refusal: 404 for a name nobody has, 400 where the solver's options are wrong or a field cannot be honoured.
        """
        model, said = self._split(ask.model)
        if said and ask.solver:
            raise Refusal(f"model names the solver {said!r} and solver names {ask.solver!r}; use one of them", "solver")
        lm, said = self.lms[model], said or ask.solver
        if said is None:
            if ask.budget is not None:
                raise Refusal("budget is for solvers; name one in solver, or use max_tokens", "budget")
            return lm, None
        if odd := min(ask.said - SOLVER_FIELDS, default=None):
            raise Refusal(f"{odd} speaks of one call's tokens but {said!r} makes several calls; leave it out", odd)
        spec = self.named.get((model, said))
        if spec is None and (place := _PLACE.search(unquote(said))):
            raise Refusal(f"{place[1]} names a model, a file or a tool, which only who starts the server may; leave it out", "solver")
        try:
            held = Opened({("lm", name): served for name, served in self.lms.items()}) if spec is None else self.opened
            return lm, build_choice(with_options(spec or said, _sampling(ask)), lm, AnyQuestion(), held)
        except UserError as error:
            raise Refusal(str(error), "solver" if ask.solver else "model") from None

    def _split(self, name: str) -> tuple[str, str | None]:
        for model in sorted(self.lms, key=len, reverse=True):
            if name == model:
                return model, None
            spec = name.removeprefix(f"{model}:")
            if spec != name and (spec.partition("?")[0] in CHOICES or (model, spec) in self.named):
                return model, spec
        raise Refusal(f"model {name!r} does not exist; use one of {', '.join(self.names)}", "model", "model_not_found", 404)


def _sampling(ask: Ask) -> dict[str, str]:
    """The request's sampling fields as options of a solver."""
    given = {f: getattr(ask.sampling, f) for f in SAMPLING_OPTIONS if f in ask.said}
    return {f: repr(value) for f, value in given.items() if value is not None}


def named_choices(texts: Iterable[str], models: Iterable[str]) -> dict[tuple[str, str], str]:
    """`NAME=SPEC`, or `MODEL:NAME=SPEC` where there are several models, as a catalogue's `named`. Raises UserError for any other text."""
    known, named = sorted(models, key=len, reverse=True), dict[tuple[str, str], str]()
    for text in texts:
        left, _, spec = text.partition("=")
        model = next((m for m in known if left.startswith(f"{m}:")), known[0] if len(known) == 1 else None)
        if model is None:
            raise UserError(f"--solver-as: {text!r} does not say whose it is; write MODEL:NAME=SPEC with one of {', '.join(known)}")
        name = left.removeprefix(f"{model}:")
        if not re.fullmatch(r"[\w.-]+", name) or not spec:
            raise UserError(f"--solver-as: {text!r} is not NAME=SPEC; write for example 'short=ahn?adapter=FOLDER&window=64'")
        if name in CHOICES or (model, name) in named:
            raise UserError(f"--solver-as: {name!r} is taken; use another name")
        named[model, name] = spec
    return named
