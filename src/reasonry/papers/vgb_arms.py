"""All that one seed of VGB's experiment measures: learned verifiers, brackets by a taught model, texts without a letter."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import fmean

import numpy as np

from reasonry.core import Budget, Message, Problem, Sampling, Solver, Trajectory
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.reward_model import RewardModel
from reasonry.papers.taught import SMALL, Teaching, characters, fresh, taught
from reasonry.papers.vgb_findings import (
    ACTION,
    BLIND,
    CLIPPED,
    FIRST,
    FITTED,
    LATE,
    OUTCOME,
    PLAIN,
    STATIONARY,
    TEXT,
    TRUE,
    Plan,
    Row,
    brackets,
    learned,
    wrong,
)
from reasonry.papers.vgb_lab import at_equal_cost, drawn_law, laws
from reasonry.papers.vgb_lab import learned as learned_tree
from reasonry.papers.vgb_task import (
    abc,
    asked,
    bits,
    blinded,
    bracket_documents,
    bracket_tree,
    clipped,
    delayed,
    drawn_words,
    fitted,
    known_words,
    text_documents,
)
from reasonry.papers.vgb_task import wrong as wrong_tree
from reasonry.solve.single import Single
from reasonry.solve.vgb import at_most
from reasonry.solve.vgb_ground import Blocks
from reasonry.solve.vgb_solver import Guided, by_action, by_outcome, walk_to_first
from reasonry.solve.vgb_verifier import avoiding
from reasonry.train.value_fit import Rollout, fit_values, letters, prefixes

LETTER = "e"
EXACT = -1
"""The seed of what has none."""


def constructions() -> list[Row]:
    """Examples 3.1 and 3.2, which need no model and no chance."""
    found = [row for H in (2, 4, 6, 8) for row in laws(abc(H), EXACT, f"ABC, H = {H}")]
    return found + [row for H in (4, 8, 10) for row in laws(bits(H), EXACT, f"late bits, H = {H}")]


def with_learned_verifiers(plan: Plan, seed: int) -> list[Row]:
    """ABC with MLPs fitted on rollouts."""
    return [
        row
        for H in plan.horizons
        for N in plan.rollouts
        for fit in range(plan.fits)
        for row in laws(learned_tree(H, N, 1000 * seed + fit, plan.mlp_steps), seed, learned(H, N))
    ]


def with_brackets(plan: Plan, seed: int, folder: Path) -> list[Row]:
    """A model of brackets, its trees under every verifier; the longest words at equal cost too."""
    tokenizer, found = characters(), list[Row]()
    at = taught(
        folder / "brackets", fresh(SMALL, seed), tokenizer, bracket_documents(tokenizer, plan.sizes, seed),
        Teaching(plan.teaching, batch=plan.batch), seed,
    )  # fmt: skip
    decoder, rng = load_decoder(at), np.random.default_rng([seed, 1])
    for H in plan.sizes:
        tree = bracket_tree(decoder, tokenizer, H)
        model = RewardModel(load_decoder(at), tokenizer)
        rolled = [Rollout(asked(H), word, tau) for word, tau in drawn_words(tree, plan.fit_rollouts, rng)]
        for _ in fit_values(model, prefixes(rolled, letters), plan.fit_steps, seed=seed):
            pass
        blind = blinded(tree, min(plan.shares), rng)
        trees = {TRUE: tree, LATE: delayed(tree), FITTED: fitted(tree, model), BLIND: blind, CLIPPED: clipped(blind, plan.least)}
        trees |= {wrong(share): wrong_tree(tree, share, rng) for share in plan.shares}
        for name, t in trees.items():
            found += laws(t, seed, brackets(name, H))
        found.append(Row(seed, PLAIN, brackets(TRUE, H), "share right", float(tree.true()[0][0])))
        if min(plan.sizes) == H:
            drawn, chance = drawn_law(plan, trees[wrong(max(plan.shares))], seed)
            found += [Row(seed, STATIONARY, "its own draws", m, v) for m, v in (("TV", drawn), ("TV by chance", chance))]
        if max(plan.sizes) == H:
            for name in (TRUE, wrong(max(plan.shares)), FITTED):
                found += at_equal_cost(plan, trees[name], seed, name)
    return found


def with_texts(plan: Plan, seed: int, folder: Path, judge: Path) -> list[Row]:
    """Texts of a taught model that must not hold a letter, scored by a second model."""
    tokenizer = characters()
    teaching = Teaching(plan.text_teaching, batch=plan.batch)
    at = taught(folder / "text", fresh(SMALL, seed + 50), tokenizer, text_documents(tokenizer, seed), teaching, seed)
    return asyncio.run(_texts(plan, seed, at, judge))


async def _texts(plan: Plan, seed: int, folder: Path, judge: Path) -> list[Row]:
    tokenizer, found = characters(), list[Row]()
    problem = Problem("say", (Message("user", "say"),))
    sampling = Sampling(top_k=plan.top_k, ignore_eos=True)
    listed = Blocks(1, "", plan.length, plan.length, listed=True)
    async with LocalLM(load_decoder(folder), tokenizer, "model") as lm, LocalLM(load_decoder(judge), tokenizer, "judge") as second:
        verifier = avoiding(LETTER, plan.alpha)
        whole = Blocks(plan.length, "", 1, plan.length)
        arms: dict[str, Solver] = {
            PLAIN: Single(lm, sampling.with_(max_tokens=plan.length)),
            OUTCOME: Guided(lm, verifier, by_outcome(at_most(1.0), 2000), whole, sampling, ahead=8),
            ACTION: Guided(lm, verifier, by_action(at_most(1.0)), listed, sampling),
            FIRST: Guided(lm, verifier, walk_to_first(at_most(1.0), 64 * plan.length**2), listed, sampling),
        }
        for arm, solver in arms.items():
            made = await asyncio.gather(*(solver(problem, Budget(), 1000 * seed + i) for i in range(plan.answers)))
            prompt = await second.encode(problem.messages)
            scores = [await _likelihood(second, prompt, t) for t in made]
            values = {
                "log-probability": fmean(scores), f"without {LETTER}": fmean(LETTER not in t.answer for t in made),
                "known words": fmean(known_words(t.answer) for t in made), "different": len({t.answer for t in made}) / len(made),
                "tokens sampled": fmean(t.cost.completion_tokens for t in made),
                "verifier calls": fmean(t.cost.verifier_calls for t in made),
                "characters": fmean(len(t.answer) for t in made),
            }  # fmt: skip
            found += [Row(seed, arm, TEXT, metric, float(v)) for metric, v in values.items()]
    return found


async def _likelihood(lm: LocalLM, prompt: tuple[int, ...], trace: Trajectory) -> float:
    """Mean log-probability a token of an answer's text."""
    return fmean(await lm.score(prompt, lm.tokenizer.encode(trace.answer)))


def one_seed(plan: Plan, seed: int, folder: Path, judge: Path) -> list[Row]:
    """Everything of one seed."""
    return [*with_learned_verifiers(plan, seed), *with_brackets(plan, seed, folder), *with_texts(plan, seed, folder, judge)]
