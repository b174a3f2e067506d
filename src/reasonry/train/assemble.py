"""What a row of the catalogue needs beside its objective: the critic of PPO, the greedy answer of ReMax, the endings of VinePPO.

    recipe = complete(find("vapo"), Recipe(...), longest=256)                   # objective, reward, schedule
    beside = beside_for(find("vapo"), lm, solver, task, recipe)                 # before `train`, on the weights the run begins with
    await train(lm, solver, task, curriculum, problems, recipe, run, frozen_copy(lm.decoder), beside)

Invariant: nothing is left to a default that the entry does not name; what no part brings (`entry.missing`) is not pretended here, and an
objective that reads it says so when it is run. An entry whose advantage does not vanish in a group of equal rewards wants a curriculum with
`group_filter=every_group` (`learns_from_equals`): a critic or a tracked value that sees only prompts with mixed rewards is biased.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reasonry.core import Segment, Solver, Task
from reasonry.lm.local import LocalLM
from reasonry.train.advantage import Outcome, best_of_group, given, no_baseline
from reasonry.train.beside import Beside
from reasonry.train.continuations import AtUnlikely, Cuts, MonteCarlo, at_lines
from reasonry.train.credit import GAE, NodeValue, ProcessLeaveOneOut, ReturnToGo, step_values
from reasonry.train.critic import RETURNS, After, Critic
from reasonry.train.entry import Entry
from reasonry.train.greedy import GreedyBaseline
from reasonry.train.hero import Hero, VarianceWeight
from reasonry.train.kl import InReward
from reasonry.train.lengths import brevity
from reasonry.train.loop import frozen_copy
from reasonry.train.network import Reference
from reasonry.train.nodes import node_values
from reasonry.train.prm import ImplicitPRM
from reasonry.train.prompt_value import ValueTracker
from reasonry.train.recipe import Recipe
from reasonry.train.reward import Reward, Weighted, overlong
from reasonry.train.vrpo import HardenedHead

PRE_TRAINED = ("vc-ppo", "vapo")
"""Entries whose critic learns first, on a frozen policy, and always from plain returns."""
OVERLONG = ("dapo", "grpo-tcr", "grpo-scr", "deepsearch")
"""Entries with a soft penalty on overlong answers."""
BREVITY = ("kimi-k1.5",)
"""Entries with a reward for being shorter than the group's other answers."""
TRACKED = ("spo-single-stream",)
"""Entries whose baseline is a tracked value; the others with a given baseline have the greedy answer's."""
CUTS: dict[str, tuple[Cuts, int]] = {"vineppo": (at_lines, 9), "spo-segment": (AtUnlikely(0.9, 5), 9)}
"""Where answers are cut into steps, and K, the endings from each; 9 is both papers'."""


def complete(entry: Entry, recipe: Recipe, longest: int, pretrain: int = 20) -> Recipe:
    """The recipe with the entry's objective, and with its reward and schedule where it has its own.

    `longest`: tokens an answer may have. `pretrain`: steps a critic learns before the policy does, which the papers do not give for other
    tasks. A recipe with a reward of its own keeps it and gets no signal added. Dynamic sampling (DAPO) is the recipe's own `resample`.
    """
    recipe = replace(recipe, objective=entry.objective)
    if recipe.reward == Reward() and entry.slug in OVERLONG:
        buffer = max(longest // 5, 1)
        recipe = replace(recipe, reward=Reward((*recipe.reward.signals, overlong(longest, buffer)), Weighted({"score": 1, "overlong": 1})))
    if recipe.reward == Reward() and entry.slug in BREVITY:
        recipe = replace(recipe, reward=Reward((*recipe.reward.signals, brevity), Weighted({"score": 1, "length": 0.5})))
    if isinstance(entry.objective.advantage, NodeValue):
        recipe = replace(recipe, enrich=node_values)
    if entry.slug in PRE_TRAINED:
        recipe = replace(recipe, schedule=After(pretrain, recipe.schedule))
    if isinstance(recipe.reward.combine, Hero):
        recipe = replace(recipe, objective=recipe.reward.combine.objective(recipe.objective))
    return recipe


def beside_for(
    entry: Entry, lm: LocalLM, solver: Solver, task: Task, recipe: Recipe, lr: float | None = None, K: int | None = None
) -> list[Beside]:
    """Everything that must learn or look beside the policy for this entry, in the order the loop calls it; empty for most.

    To be made on the weights the run begins with, also when it is resumed. `lr` of critics and process-reward models: twice the policy's
    where left out. `K`: endings from each state, where the papers' nine are too many.
    """
    o, decoder, rate = entry.objective, lm.decoder, 2 * recipe.lr if lr is None else lr
    beside: list[Beside] = [VarianceWeight(recipe.reward.combine)] if isinstance(recipe.reward.combine, Hero) else []
    if isinstance(o.advantage, GAE):
        kl = o.kl if isinstance(o.kl, InReward) else None
        if kl is not None:
            beside.append(Reference(frozen_copy(decoder), recipe.temperature, recipe.part_tokens))
        lam = RETURNS if entry.slug in PRE_TRAINED else o.advantage.lam
        head = HardenedHead(frozen_copy(decoder), temperature=recipe.temperature) if entry.slug == "vrpo" else None
        critic = Critic(
            decoder, rate, gamma=o.advantage.gamma, lam=lam, updates=recipe.updates, kl=kl, head=head, optimizer=recipe.optimizer,
            part_tokens=recipe.part_tokens, seed=recipe.seed,
        )  # fmt: skip
        beside.append(critic)
    if isinstance(o.advantage, ProcessLeaveOneOut):
        prm = ImplicitPRM(decoder, rate, temperature=recipe.temperature, optimizer=recipe.optimizer, part_tokens=recipe.part_tokens)
        beside.append(prm)
    if o.advantage is step_values:
        cuts, papers = CUTS[entry.slug]
        beside.append(MonteCarlo(lm, solver, task, recipe.reward, own(lm, recipe), cuts, K or papers, recipe.seed))
    if isinstance(o.advantage, Outcome) and o.advantage.baseline is given:
        if entry.slug in TRACKED:
            beside.append(ValueTracker(decoder, temperature=recipe.temperature))
        else:
            beside.append(GreedyBaseline(solver, task, recipe.reward))
    return beside


def learns_from_equals(entry: Entry) -> bool:
    """Whether a group of equal rewards teaches this objective something, so that no filter should drop it."""
    A = entry.objective.advantage
    baseline = A.baseline if isinstance(A, Outcome) else None
    return isinstance(A, GAE | ReturnToGo) or A is step_values or A is best_of_group or baseline in (given, no_baseline)


def own(lm: LocalLM, recipe: Recipe) -> Callable[[Segment], bool]:
    """Which segments are learned from: the model's own calls that the recipe trains."""
    return lambda segment: segment.model in ("", lm.name) and recipe.trained(segment)
