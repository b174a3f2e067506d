"""`planning` of a recipe's file as the values training takes: a mask for the boost, and a watch on planning against execution.

    planning = "grams.json"           strategic grams, by `reasonry probe grams --save`; or a text file of phrases and /expressions/
    planning = "extract"              the run's own: what the model says in right answers before the first step
    planning = "entropy"              the 30 % of tokens with the highest entropy; "entropy-long": of long right answers (reported variant)
    planning = "random:grams.json"    the placebo: as many tokens as the grams mark, drawn at random

Invariant: grams are fixed before the first step. They are kept in the run as `grams.json`, and a resumed run takes those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from reasonry.core import Budget, Problem, Run, Segment, Solver, Task, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.local import LocalLM
from reasonry.probe.strategic_grams import StrategicGrams, extract, load
from reasonry.train.beside import Beside
from reasonry.train.planning import EntropyTopK, RandomTokens, Strategic, Watch, policy_entropy
from reasonry.train.recipe import Enrich, Recipe
from reasonry.train.rollout import rollout
from reasonry.train.settings import Settings

GRAMS = "grams.json"
EXTRACT, ENTROPY, LONG, RANDOM = "extract", "entropy", "entropy-long", "random:"
MINED = 200
"""Training problems asked before the first step, `group` attempts each."""


async def planned(
    s: Settings, recipe: Recipe, lm: LocalLM, solver: Solver, task: Task, problems: Mapping[int, Sequence[Problem]], run: Run
) -> tuple[Recipe, list[Beside]]:
    """The recipe with its planning mask, and the watch; as they are where `planning` is left out."""
    if s.planning is None:
        return recipe, []

    def own(segment: Segment) -> bool:
        return segment.model in ("", lm.name) and recipe.trained(segment)

    entropy = policy_entropy(lm.decoder, recipe.temperature)
    if s.planning in (ENTROPY, LONG):
        return _with(recipe, EntropyTopK(entropy, long_and_right=s.planning == LONG, trained=own)), []
    kept = run.path / GRAMS
    if not kept.exists():
        given = s.planning.removeprefix(RANDOM)
        grams = await _own_grams(s, lm, solver, task, problems) if given == EXTRACT else load(Path(given))
        grams.save(kept)
    strategic = Strategic(load(kept), lm.tokenizer, own)
    return _with(recipe, RandomTokens(strategic) if s.planning.startswith(RANDOM) else strategic), [Watch(strategic, entropy)]


async def _own_grams(s: Settings, lm: LocalLM, solver: Solver, task: Task, problems: Mapping[int, Sequence[Problem]]) -> StrategicGrams:
    """What the model says in right answers to training problems. Raises UserError where it has too few."""
    asked = [p for level in problems.values() for p in level[: MINED // len(problems)]]
    texts: list[str] = []
    async for group in rollout(solver, task, asked, Budget(completion_tokens=s.longest), s.group, inner_seed(s.seed, -2)):
        texts += [t.answer for t in group.trajectories if t.verdict is not None and t.verdict.passed]
    try:
        return extract(texts, seed=s.seed)
    except UserError as error:
        raise UserError(
            f"planning: is extract, but the model's {len(texts)} right answers to {len(asked)} problems hold no phrases ({error}); "
            "name a file of grams or phrases, or teach the model first"
        ) from None


def _with(recipe: Recipe, source: Enrich) -> Recipe:
    return replace(recipe, enrich=source)
