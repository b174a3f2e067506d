"""The arms of TUMIX's experiment: five groups over rounds, the best agents alone at as many tokens, stops, group search, the model.

A stop is replayed on what a group said over all rounds, which is what it would have said: nobody is told of a stop. The judge's calls are
real and paid for up to the round it stops after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np

from reasonry.core import Budget, Problem, UserError
from reasonry.papers.tumix_findings import ALL, ALONE, BEST, BEST_SIX, GROUPS, SIX, STOPS, THREE, Fact, Plan, Row
from reasonry.papers.tumix_lab import Lab, Ruled, Told, Turn, history
from reasonry.probe.groups import average, coverage, search_groups, shared_errors
from reasonry.probe.stats import maj_at_k
from reasonry.probe.votes import by_vote, expected
from reasonry.solve.exchange import Moment
from reasonry.solve.exchange.core import Rule
from reasonry.solve.exchange.votes import as_spelled
from reasonry.solve.tumix import AGENTS, stopping
from reasonry.solve.tumix_model import World, advantage, chances, play, stopped

FIRST_SIX = AGENTS[:6]


async def examined(lab: Lab) -> tuple[list[Row], list[Fact]]:
    """Everything of one seed."""
    p = lab.plan
    trial, problems = lab.questions("validation", p.validation), lab.questions("test", 4 * p.each)
    ranked = best(await lab.said("validation", AGENTS, 1, trial), trial)
    top = {ALL: ranked[0], SIX: next(a for a in ranked if a in FIRST_SIX)}
    members: dict[str, Sequence[str]] = {
        ALL: AGENTS, BEST: [top[ALL]] * 15, THREE: [a for a in ranked[:3] for _ in range(5)], SIX: FIRST_SIX, BEST_SIX: [top[SIX]] * 6,
    }  # fmt: skip
    told = {group: await lab.said(group, members[group], p.rounds, problems) for group in GROUPS}
    rows = [row for group in GROUPS for row in group_rows(lab.seed, group, told[group], problems)]
    for group, copies in ((ALL, BEST), (SIX, BEST_SIX)):
        ruled = await lab.judged(group, told[group], problems)
        stops = await stop_rows(lab, group, told[group], problems, ruled)
        rows += stops
        pool = await lab.said(f"pool of {copies}", [top[group]] * p.pool, 1, problems)
        spent = fmean(r.tokens for r in stops if r.arm == f"{group}, judge")
        rows += alone(lab.seed, ALONE + copies, pool, problems, spent)
    twins = await lab.said("pool of agents", [*AGENTS, *AGENTS], 1, problems)
    facts = [*choices(lab.seed, ranked, top), *shared(lab.seed, told, members, problems), *searched(lab, twins, problems)]
    return rows, facts


def right(answer: str | None, problem: Problem) -> float:
    """Whether an answer is the gold one."""
    return float(answer is not None and answer == problem.answer)


def best(told: Sequence[Told], problems: Sequence[Problem]) -> list[str]:
    """The agents, the most accurate first; of equals the one that comes first in the table."""
    score = {a: fmean(right(t.rounds[0][i].answer, p) for t, p in zip(told, problems, strict=True)) for i, a in enumerate(AGENTS)}
    return sorted(AGENTS, key=lambda a: -score[a])


def choices(seed: int, ranked: Sequence[str], top: Mapping[str, str]) -> list[Fact]:
    """Which agents were the best, by their places in the table."""
    return [Fact(seed, "best agent", f"place in the table, {group}", float(AGENTS.index(a) + 1)) for group, a in top.items()]


def _vote(turns: Sequence[Turn], problem: Problem) -> float:
    answers = [t.answer for t in turns]
    return expected(by_vote(answers), [right(a, problem) for a in answers])


def _cost(rounds: Sequence[Sequence[Turn]]) -> tuple[float, float, float]:
    every = [t for turns in rounds for t in turns]
    return float(sum(t.tokens for t in every)), float(sum(t.prompt_tokens for t in every)), float(sum(t.calls for t in every))


def group_rows(seed: int, group: str, told: Sequence[Told], problems: Sequence[Problem]) -> list[Row]:
    """A group after every round of every question."""
    found: list[Row] = []
    for t, p in zip(told, problems, strict=True):
        before: list[float] = []
        for r, turns in enumerate(t.rounds, 1):
            hit = [right(turn.answer, p) for turn in turns]
            gained, lost = (fmean(a == x and b == 1 - x for a, b in zip(before, hit, strict=True)) if before else 0.0 for x in (0, 1))
            spent = _cost(t.rounds[:r])
            kind = str(p.meta["kind"])
            found.append(Row(seed, group, p.id, kind, r, fmean(hit), max(hit), _vote(turns, p), *spent, to_right=gained, to_wrong=lost))
            before = hit
    return found


async def stop_rows(lab: Lab, group: str, told: Sequence[Told], problems: Sequence[Problem], ruled: Sequence[Ruled]) -> list[Row]:
    """A group with each way of stopping, question by question."""
    by_round = {(r.problem, r.round): r for r in ruled}
    rules = {name: stopping(name, lab.kit.lm, lab.kit.words, as_spelled, lab.plan.margin) for name in ("rule", "margin")}
    found: list[Row] = []
    for t, p in zip(told, problems, strict=True):
        own = group_rows(lab.seed, group, [t], [p])
        for name in STOPS:
            at = await _ends(name, t, p, own, lab.plan, by_round, rules)
            row = own[at - 1]
            asked = [by_round[t.problem, r] for r in range(lab.plan.min_rounds, min(at + 1, len(t.rounds)))] if name == "judge" else []
            tokens, prompts = (sum(getattr(r, unit) for r in asked) for unit in ("tokens", "prompt_tokens"))
            found.append(
                Row(lab.seed, f"{group}, {name}", p.id, row.kind, at, row.average, row.coverage, row.vote, row.tokens + tokens,
                    row.prompt_tokens + prompts, row.calls + len(asked), row.to_right, row.to_wrong)
            )  # fmt: skip
    return found


async def _ends(
    name: str,
    told: Told,
    problem: Problem,
    own: Sequence[Row],
    plan: Plan,
    ruled: Mapping[tuple[str, int], Ruled],
    rules: Mapping[str, Rule],
) -> int:
    """Rounds made under a stop."""
    n = len(told.rounds)
    if name == "oracle":
        return max(range(1, n + 1), key=lambda r: (own[r - 1].vote, -r))
    for r in range(plan.min_rounds, n):
        if name == "judge":
            ends = ruled[told.problem, r].stop
        else:
            ends = (await rules[name](Moment(problem, history(told, r), Budget(), 0))).why is not None
        if ends:
            return r
    return n


def alone(seed: int, arm: str, pool: Sequence[Told], problems: Sequence[Problem], spent: float) -> list[Row]:
    """Self-consistency by as many answers as cost what was spent, in expectation over which of the pool's answers they are."""
    each = fmean(turn.tokens for t in pool for turn in t.rounds[0])
    found: list[Row] = []
    for t, p in zip(pool, problems, strict=True):
        turns = t.rounds[0]
        n = min(max(round(spent / each), 1), len(turns))
        hit = [right(turn.answer, p) for turn in turns]
        vote = maj_at_k([turn.answer for turn in turns], hit, n)
        share = n / len(turns)
        tokens, prompts, calls = (share * unit for unit in _cost([turns]))
        found.append(Row(seed, arm, p.id, str(p.meta["kind"]), 1, fmean(hit), max(hit), vote, tokens, prompts, calls))
    return found


def first_answers(told: Sequence[Told], problems: Sequence[Problem]) -> np.ndarray:
    """Who was right where in the first round, [agents, questions]."""
    return np.array([[right(turn.answer, p) for turn in t.rounds[0]] for t, p in zip(told, problems, strict=True)]).T


def shared(seed: int, told: Mapping[str, Sequence[Told]], members: Mapping[str, Sequence[str]], problems: Sequence[Problem]) -> list[Fact]:
    """How far copies fail together, and how far different agents do."""
    kinds = [*members[ALL], *members[THREE], *members[BEST_SIX]]
    table = np.concatenate([first_answers(told[group], problems) for group in (ALL, THREE, BEST_SIX)])
    found = shared_errors(table, kinds)
    named = {"within": found.within, "between": found.between}
    return [Fact(seed, "errors", name, value) for name, value in named.items() if value is not None]


def searched(lab: Lab, told: Sequence[Told], problems: Sequence[Problem]) -> list[Fact]:
    """Groups of fifteen out of thirty, chosen on half of the questions and judged on the others; nothing where none is ever right."""
    table = first_answers(told, problems)
    try:
        top = search_groups(table, 15, lab.plan.groups, lab.seed)[0]
    except UserError:
        return []
    once = table[:15]
    named = {
        "combined score of the best": top.chosen_by,
        "held-out combined score of the best": top.held_out,
        "coverage of the best": top.coverage,
        "average of the best": top.average,
        "coverage of the fifteen": coverage(once),
        "average of the fifteen": average(once),
    }
    return [Fact(lab.seed, "groups", name, value) for name, value in named.items()]


def modelled(plan: Plan, seeds: Sequence[int]) -> list[Fact]:
    """The explicit model's sweep, and its groups over rounds."""
    world, found = World(), list[Fact]()
    tell: Callable[[int, str, float], None] = lambda seed, metric, value: found.append(Fact(seed, "model", metric, value))  # noqa: E731
    for seed in seeds:
        for rho in plan.rhos:
            tell(seed, f"advantage at correlation {rho:g}", advantage(world, rho, 15, plan.model_questions, seed))
            tell(seed, f"advantage after {plan.rounds} rounds at correlation {rho:g}",
                 advantage(world, rho, 15, plan.model_questions, seed, plan.rounds))  # fmt: skip
        p = chances(world, plan.model_questions, 15, 0.0, np.random.default_rng(seed))
        for name, agents in (("15 different", range(15)), ("15 copies", [0] * 15), ("3 x 5", [0, 1, 2] * 5)):
            rounds = play(world, p, agents, 6, seed)
            for r, made in enumerate(rounds, 1):
                for metric in ("average", "coverage", "vote"):
                    tell(seed, f"{name}, round {r}: {metric}", float(getattr(made, metric)))
            vote, used = stopped(rounds, plan.margin, plan.min_rounds)
            tell(seed, f"{name}, margin stop: vote", vote)
            tell(seed, f"{name}, margin stop: rounds", used)
    return found
