"""The survey's map of reinforcement learning for reasoning models (arXiv 2509.08827), each leaf with the part that holds it here.

Invariant: every leaf is a part with its file, an explicit gap, or out of scope with the reason; a page without runnable links is no index.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a leaf stands."""

    PART = "part"
    GAP = "gap"
    OUT = "out of scope"


@dataclass(frozen=True)
class Leaf:
    """One leaf of the survey."""

    section: str
    leaf: str
    state: State
    where: str
    """A file under `src/reasonry` for a part; otherwise what is missing, or why it is out of scope."""


def _part(section: str, leaf: str, where: str) -> Leaf:
    return Leaf(section, leaf, State.PART, where)


def _gap(section: str, leaf: str, why: str) -> Leaf:
    return Leaf(section, leaf, State.GAP, why)


def _out(section: str, leaf: str, why: str) -> Leaf:
    return Leaf(section, leaf, State.OUT, why)


REWARD, POLICY, SAMPLING = "3.1 reward design", "3.2 policy optimisation", "3.3 sampling strategy"
PROBLEMS, RESOURCES, USES, FUTURE = "4 foundational problems", "5 training resources", "6 applications", "7 future directions"

TAXONOMY: tuple[Leaf, ...] = (
    _part(REWARD, "verifiable rewards: rules", "tasks/judges.py"),
    _gap(REWARD, "verifiable rewards: unit tests in a sandbox", "no sandbox yet"),
    _gap(REWARD, "generative rewards: judge, rubric, checklist", "no model-judged signal yet; any function can be one (train/reward.py)"),
    _part(REWARD, "dense rewards: per token, in returns", "train/credit.py"),
    _part(REWARD, "dense rewards: per step, Monte-Carlo values", "train/continuations.py"),
    _part(REWARD, "dense rewards: implicit process-reward models", "train/prm.py"),
    _gap(REWARD, "dense rewards: process-reward models trained on labelled steps", "no labelled steps; outcomes alone train train/prm.py"),
    _part(REWARD, "unsupervised rewards: agreement of answers", "solve/self_consistency.py"),
    _gap(REWARD, "unsupervised rewards: confidence, entropy", "no such signal yet"),
    _part(REWARD, "shaping: verifier and reward model together", "train/hero.py"),
    _part(REWARD, "shaping: group baseline, pass@k reward", "train/advantage.py"),
    _part(REWARD, "shaping: overlong penalty, weighted signals", "train/reward.py"),
    _part(REWARD, "shaping: length against the group's other answers", "train/lengths.py"),
    _part(POLICY, "the policy-gradient objective", "train/objective.py"),
    _part(POLICY, "named objectives", "train/variants.py"),
    _part(POLICY, "critic-based: advantages, targets, clipped value loss", "train/credit.py"),
    _part(POLICY, "critic-based: value head and its training", "train/critic.py"),
    _part(POLICY, "critic-based: hardened against noisy rewards", "train/vrpo.py"),
    _part(POLICY, "critic-free", "train/advantage.py"),
    _part(POLICY, "off-policy: importance ratios, truncation, masks", "train/ratio.py"),
    _gap(POLICY, "off-policy: experience replay", "answers are kept (train/history.py), nothing replays them yet"),
    _part(POLICY, "off-policy: supervised and reinforcement learning mixed", "train/surrogate.py"),
    _part(POLICY, "regularisation: KL", "train/kl.py"),
    _part(POLICY, "regularisation: entropy, covariance", "train/surrogate.py"),
    _part(POLICY, "regularisation: length", "train/reward.py"),
    _part(SAMPLING, "dynamic sampling: zero-variance filter", "train/tokens.py"),
    _part(SAMPLING, "dynamic sampling: resampling until a batch teaches", "train/dynamic.py"),
    _part(SAMPLING, "dynamic sampling: curricula, filters", "train/curriculum.py"),
    _part(SAMPLING, "structured sampling: continuations from inside an attempt", "train/replay.py"),
    _part(SAMPLING, "dynamic sampling: per-prompt history", "train/history.py"),
    _gap(SAMPLING, "structured sampling: trees", "no tree search yet"),
    _part(SAMPLING, "hyper-parameters: temperature, top-p, budget", "core/lm.py"),
    _part(SAMPLING, "hyper-parameters: schedules of length", "train/curriculum.py"),
    _gap(SAMPLING, "hyper-parameters: schedules of group size", "groups are of one size"),
    _part(PROBLEMS, "sharpening or discovery: pass@k", "probe/stats.py"),
    _part(PROBLEMS, "sharpening or discovery: the experiment", "papers/rl_survey.py"),
    _gap(PROBLEMS, "RL against SFT: generalise or memorise", "both trainers exist (train/loop.py, train/sft.py); no experiment yet"),
    _gap(PROBLEMS, "model prior: weak or strong", "no experiment yet"),
    _gap(PROBLEMS, "recipes: tricks or traps", "no ablation runner yet"),
    _gap(PROBLEMS, "reward: process or outcome", "both exist (train/prm.py, train/reward.py); no experiment yet"),
    _part(RESOURCES, "static corpora: files and rows of one's own", "tasks/loaders.py"),
    _part(RESOURCES, "dynamic environments: rule-based", "tasks/skill.py"),
    _part(RESOURCES, "dynamic environments: reasoning-gym", "tasks/gym.py"),
    _gap(RESOURCES, "dynamic environments: code, games, models, ensembles", "none yet"),
    _part(RESOURCES, "infrastructure: verl and TRL, as exports", "train/export.py"),
    _part(RESOURCES, "infrastructure: asynchronous training, on one machine or a Ray cluster", "train/pipeline/driver.py"),
    _gap(USES, "coding", "Kimi-Dev's rewards are not built"),
    _gap(USES, "agentic: search, browser, deep research, tools", "no web or browser tools yet"),
    _gap(USES, "multi-agent", "no exchange of several agents yet"),
    _gap(USES, "medical and scientific", "cell sentences are not built"),
    _out(USES, "multimodal understanding and generation", "text models only"),
    _out(USES, "robotics", "no physical or simulated robots"),
    _out(USES, "recommendation", "no paper of the collection is about it"),
    _gap(FUTURE, "memory-based RL", "mem-agent is not built"),
    _gap(FUTURE, "model-based RL", "world models are not built; PMPO is in train/recipes.py"),
    _gap(FUTURE, "RL for diffusion language models", "no masked-diffusion model yet"),
    _gap(FUTURE, "architecture and algorithm together", "Dr.LLM, AHN and DSA are not built"),
    _out(FUTURE, "continual RL", "no paper of the collection is about it"),
    _out(FUTURE, "latent-space reasoning", "no paper of the collection trains it by reward"),
    _out(FUTURE, "RL in pre-training", "needs pre-training scale"),
    _out(FUTURE, "scientific discovery", "needs laboratories"),
)
