"""AggLM's other rival: reward models that rank candidates, trained on answers of the frozen start to training problems.

Each is the start with a head of one number (`lm.reward_model`), fitted to say which answers are right (`train.reward_fit`), on as many
sampled answers as an aggregator's training takes, candidates and aggregations together. One sees practised problems, as the aggregators
do; of those, answers that leave the practised facts are wrong by the experiment's design, which misleads it on the test. So another is told
more than any other arm: problems of every fact, the test's arithmetic among them. Their folders serve `best-of-n?rm=FOLDER`. Scores cost no
sampled token; ranked are as many candidates as the aggregator's answer costs.

Invariants: no test problem is seen in fitting; a fitted model is made once and taken from its folder afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch

from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.reward_model import RewardModel, load_reward_model, save_reward_model
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.agglm_findings import Fact, Row, best_by, vote_by
from reasonry.probe.ladder import BEST, RUNGS, WEIGHTED, Set, cut_up
from reasonry.tasks.pool import Candidate, Pool
from reasonry.train.reward_fit import Labelled, fit_scores


@dataclass(frozen=True)
class Fit:
    """How a reward model is trained. The rate and the steps are the best of three pairs on validation problems of practised facts."""

    problems: int = 3920
    each: int = 2
    """Answers to each; few to many problems, for those of few problems were learnt by heart."""
    steps: int = 600
    lr: float = 1e-3


FIT = Fit()


def fitted(folder: Path, start: Path, pools: Sequence[Pool], fit: Fit, seed: int) -> RewardModel:
    """The start after learning which of the pools' candidates are right; made once, in `folder`."""
    if not folder.exists():
        model = RewardModel(load_decoder(start, torch.float32), Tokenizer.load(start))
        data = [Labelled(p.problem.messages, c.text, c.correct or 0.0) for p in pools for c in p.candidates]
        for _ in fit_scores(model, data, fit.steps, fit.lr, seed=seed):
            pass
        os.replace(save_reward_model(model, folder.with_name(f"{folder.name}.part")), folder)
    return load_reward_model(folder)


def scored(model: RewardModel, pool: Pool) -> Pool:
    """The pool with the reward model's score of each candidate."""
    values = model.scores(pool.problem.messages, [c.text for c in pool.candidates]).values
    return replace(pool, candidates=tuple(replace(c, score=s) for c, s in zip(pool.candidates, values, strict=True)))


def rings(pool: Pool, k: int) -> list[Set]:
    """As many sets of `k` candidates as there are candidates: each with those that follow it, the first after the last."""
    around = (*pool.candidates, *pool.candidates[: k - 1])
    return [cut_up(replace(pool, candidates=around[i : i + k], aggregated=()), k)[0] for i in range(len(pool.candidates))]


def ranked(seed: int, judge: str, pools: Sequence[Pool], m: int) -> list[Row]:
    """Best and weighted vote of every set of `m`, and of m + 1 candidates, which cost as much as m and an aggregation."""
    found: list[Row] = []
    for pool in pools:
        for arm, rung in ((best_by, BEST), (vote_by, WEIGHTED)):
            rule, id = RUNGS[rung], pool.problem.id
            for number, s in enumerate(cut_up(replace(pool, aggregated=()), m)):
                found.append(Row(seed, arm(judge, m), id, number, s.size, s.minority_correct, rule(s) or 0.0, _tokens(s.candidates)))
            every = rings(pool, m + 1)
            tokens = fmean(_tokens(s.candidates) for s in every)
            found.append(Row(seed, arm(judge, m + 1), id, -1, 0, False, fmean(rule(s) or 0.0 for s in every), tokens))
    return found


def rival(seed: int, judge: str, m: int, model: RewardModel, pools: Sequence[Pool]) -> tuple[list[Row], list[Fact]]:
    """The rows of `ranked`, and how often a right candidate is scored above a wrong one of its problem, where a half is chance."""
    judged = [scored(model, pool) for pool in pools]
    pairs = [(a.score, b.score) for p in judged for a in p.candidates for b in p.candidates if a.correct == 1 and b.correct == 0]
    won = [(a > b) + 0.5 * (a == b) for a, b in pairs if a is not None and b is not None]
    return ranked(seed, judge, judged, m), [Fact(seed, judge, "right above wrong", fmean(won))] if won else []


def _tokens(candidates: Sequence[Candidate]) -> float:
    return float(sum(c.tokens for c in candidates))
