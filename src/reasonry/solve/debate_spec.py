"""`debate?agents=3&rounds=2&team=pocket,pocket-1m,pocket-1m` as a solver: who sits together, who is shown what, what is voted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reasonry.core import LM, Sampling, Solver, Task, UserError
from reasonry.lm.load import load_lm
from reasonry.solve.debate import UNRELATED, Gated, as_revise, bare, in_words, paid, recalculated, recalling, seat_names
from reasonry.solve.exchange import Agent, Exchange, in_turn, stops, together
from reasonry.solve.exchange import sees as view
from reasonry.solve.exchange.core import Ask, Rule, Sees
from reasonry.solve.exchange.votes import (
    Tie,
    Voters,
    all_rounds,
    drawn_tie,
    first_round,
    first_round_tie,
    last_answers,
    last_round,
    log_odds,
    majority,
    same_answer,
)
from reasonry.tasks.pool import without_thinking

if TYPE_CHECKING:
    from reasonry.solve.build import Options

Build = Callable[[str, LM, Task], Solver]
YES = {"no": False, "yes": True}
VOTERS: Mapping[str, Voters] = {"last": last_round, "first": first_round, "all": all_rounds, "answered": last_answers}
TIES: Mapping[str, Tie] = {"drawn": drawn_tie, "first": first_round_tie(same_answer)}
_TOPOLOGIES: Mapping[str, Callable[[int | None], Sees]] = {
    "all": view.everyone, "ring": lambda last: view.ring(last=last), "star": lambda last: view.star(last=last), "nobody": view.nobody,
}  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """How agents are asked."""

    words: str
    chances: Mapping[str, float]
    named: bool
    payoff: bool
    gate: bool

    def of(self, critic: bool) -> Ask:
        ask = {"plain": in_words(self.chances, self.named, critic), "revise": as_revise(self.chances), "bare": bare()}[self.words]
        ask = paid(ask) if self.payoff else ask
        return recalling(ask) if self.gate else ask


def debate(lm: LM, task: Task, o: Options, name: str, build: Build) -> Solver:
    """The solver of the options.

    Who: `agents`, or a `team` of models with commas between (names of this server's, or places); `of`, the last option, is how each answers
    (a whole spec; without it a plain answer with the sampling options). `rounds` are those after the answer given alone: T. `order`
    (together, in-turn), `sees` (all, ring, star, nobody), `share` (reasons, answers, unrelated), `last` (turns shown of each; `all`),
    `names` and `shuffle` decide what they read; `words` (plain, revise, bare), `payoff`, `critics` (how many of the last agents look for
    mistakes first) and `gate` (changes only after a check with the calculator) how. `chances` (as .9,.6,.6: how often each is right)
    weight the votes by log-odds and are told to readers; `told=no` keeps them to the vote. `vote` (last, first, all, answered), `tie`
    (drawn, first). `stop` (never, unanimous, unchanged), and `margin` (a lead that ends it).
    """
    team = o.read("team", "", str)
    models = [_model(spec, lm, o) for spec in team.split(",")] if team else [lm] * o.read("agents", 3, int)
    T = o.read("rounds", 2, int)
    if not models or T < 0:
        raise UserError(f"debate: {'agents' if not models else 'rounds'} is {0 if not models else T} but must be larger; raise it")
    names = seat_names([m.name for m in models])
    chances = _chances(o.read("chances", "", str), names)
    payoff, gate, told = (o.choice(f, "no" if f != "told" else "yes", YES) for f in ("payoff", "gate", "told"))
    words = o.choice("words", "plain", {w: w for w in ("plain", "revise", "bare")})
    how = _Asked(words, chances if told else {}, o.choice("names", "no", YES), payoff, gate)
    critics = o.read("critics", 0, int)
    if not 0 <= critics <= len(models) or (critics and words != "plain"):
        raise UserError(f"debate: critics is {critics} but must be between 0 and {len(models)}, with words=plain; change it")
    sampling = o.sampling(1024)
    of = o.read("of", "", str)
    read = partial(_read, task)
    agents: list[Agent] = []
    for i, (seat, model) in enumerate(zip(names, models, strict=True)):
        solver = build(of, model, task) if of else _single(model, sampling)
        agents.append(Agent(seat, Gated(solver, recalculated(read), read) if gate else solver, how.of(i >= len(models) - critics)))
    return Exchange(
        agents, T + 1, read, _sees(o, task), _stop(o), majority(same_answer, o.choice("vote", "last", VOTERS),
        log_odds(chances) if chances else None, o.choice("tie", "drawn", TIES)),
        o.choice("order", "together", {"together": together, "in-turn": in_turn}), name=name,
    )  # fmt: skip


def _model(spec: str, lm: LM, o: Options) -> LM:
    """A team's member: the model itself under its own name, else what the name brings."""
    return lm if spec == lm.name else o.opened.once(("lm", spec), partial(load_lm, spec))


def _single(lm: LM, sampling: Sampling) -> Solver:
    from reasonry.solve.single import Single

    return Single(lm, sampling)


def _read(task: Task, text: str) -> str | None:
    return task.extract(without_thinking(text))


def _chances(text: str, names: Sequence[str]) -> dict[str, float]:
    if not text:
        return {}
    try:
        found = [float(x) for x in text.split(",")]
    except ValueError:
        found = []
    if len(found) != len(names) or not all(0 <= p <= 1 for p in found):
        raise UserError(f"debate: chances is {text!r} but must be {len(names)} numbers from 0 to 1, one for each agent, such as .9,.6,.6")
    return dict(zip(names, found, strict=True))


def _turns(text: str) -> int | None:
    if text == "all":
        return None
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def _sees(o: Options, task: Task) -> Sees:
    shown = o.choice("sees", "all", _TOPOLOGIES)(o.read("last", 1, _turns, "a whole number above 0, or all"))
    share = o.choice("share", "reasons", {s: s for s in ("reasons", "answers", "unrelated")})
    shown = view.shuffled(shown) if o.choice("shuffle", "no", YES) else shown
    if share == "unrelated":
        return view.unrelated(shown, UNRELATED, task.extract)
    return view.answers_only(shown) if share == "answers" else shown


def _stop(o: Options) -> Rule:
    rules: dict[str, Rule] = {
        "never": stops.never(),
        "unanimous": stops.unanimous(same_answer),
        "unchanged": stops.unchanged(2, same_answer),
    }
    rule = o.choice("stop", "never", rules)
    margin = o.read("margin", None, float)
    if margin is not None and not 0 < margin <= 1:
        raise UserError(f"debate: margin is {margin:g} but must be above 0 and at most 1; change it, or leave it out")
    return rule if margin is None else stops.first_of([rule, stops.by_margin(margin, same_answer)])
