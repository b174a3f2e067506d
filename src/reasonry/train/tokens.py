"""What is learned from: the sampled tokens of a batch of attempts, flat and ragged (`Tokens`).

Invariant. There is no padding and no rectangle: a token knows its segment, a segment its trajectory, a trajectory its prompt. A plain
answer, a multi-turn attempt and one cut into chunks are the same thing, and only trainable tokens are here at all. Tokens stand segment
after segment in the order they were sampled, segments trajectory after trajectory.

Letters: N trainable tokens, S segments, M trajectories, P prompts, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from reasonry.core import Segment, Trajectory, UserError
from reasonry.train.ragged import Groups

TOKEN, SEGMENT, TRAJECTORY = {"per": "token"}, {"per": "segment"}, {"per": "trajectory"}
"""What a field of `Tokens` holds one value for."""


_INDICES = ("segment", "trajectory", "prompt", "step")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """One batch, without the current policy. Made by the rollout, read by objectives, dropped after the update.

    Only the first four fields are always there; an objective that needs another one says so (`need`).
    """

    segment: Tensor = field(metadata=TOKEN)
    """[N] int64, not falling: the segment (one model call) each token was sampled in."""
    trajectory: Tensor = field(metadata=SEGMENT)
    """[S] int64, not falling: the trajectory (one attempt) each segment belongs to."""
    prompt: Tensor = field(metadata=TRAJECTORY)
    """[M] int64 in 0 … P−1: the prompt each trajectory attempts; those with the same prompt are a group."""
    reward: Tensor = field(metadata=TRAJECTORY)
    """[M] float: the outcome reward R, paid at the last token."""
    logp_sampler: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] log-probability by the engine that sampled, as it was sampled (π_gen)."""
    logp_old: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] log-probability by the trainer's own network before this batch's first update (π_old)."""
    logp_ref: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] log-probability by the frozen reference policy (π_ref)."""
    token_reward: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] rewards paid on the way, added to the outcome: shaping of an environment, a KL penalty in the reward. `None` is none."""
    process: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] process reward of each token, by a process-reward model, kept apart from the outcome (PRIME)."""
    value: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] value of the state *before* the token: a critic's (PPO), a Monte-Carlo mean (VinePPO), a tree node's q (DeepSearch)."""
    step: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] int64 in 0 … K−1, not falling, never shared by two trajectories: the reasoning step or tree node each token is part of."""
    planning: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] bool: tokens inside a strategic gram (HICRA)."""
    draw: Tensor | None = field(default=None, metadata=TOKEN)
    """[N] float in [0, 1): one random number a token, for objectives that choose tokens at random. Drawn by the trainer, so a
    resumed run draws the same."""
    baseline: Tensor | None = field(default=None, metadata=TRAJECTORY)
    """[M] a baseline from outside the batch: the greedy answer's reward (ReMax), a tracked value of the prompt (SPO)."""
    weight: Tensor | None = field(default=None, metadata=TRAJECTORY)
    """[M] factor on the advantage, decided with the reward (HERO's w)."""
    signals: Mapping[str, Tensor] = field(default_factory=dict, metadata={"per": "signals"})
    """Named parts of the reward, each [M], for objectives that normalise them one by one (GDPO)."""

    def __post_init__(self) -> None:
        sizes = {"token": self.segment.numel(), "segment": self.trajectory.numel(), "trajectory": self.prompt.numel()}
        for f in fields(self):
            unit, x = f.metadata["per"], getattr(self, f.name)
            if unit in sizes and x is not None:
                if x.shape != (sizes[unit],):
                    raise UserError(f"Tokens: {f.name} has shape {list(x.shape)} but needs [{sizes[unit]}], one for each {unit}")
                _check_kind(f.name, x)
        for name, x in self.signals.items():
            if x.shape != self.prompt.shape:
                raise UserError(f"Tokens: signal {name!r} has shape {list(x.shape)} but needs {list(self.prompt.shape)}")
            _check_kind(f"signal {name!r}", x)
        for name, x, n in (("segment", self.segment, sizes["segment"]), ("trajectory", self.trajectory, sizes["trajectory"])):
            if x.numel() and (bool((x[1:] < x[:-1]).any()) or int(x[0]) < 0 or int(x[-1]) >= n):
                raise UserError(f"Tokens: {name} must not fall and must stay in 0 … {n - 1}; lay tokens out segment by segment, in order")
        if self.prompt.numel() and int(self.prompt.min()) < 0:
            raise UserError(f"Tokens: prompt holds {int(self.prompt.min())} but counts from 0")

    @cached_property
    def by_segment(self) -> Groups:
        """Tokens [N] in segments [S]."""
        return Groups(self.segment, self.trajectory.numel())

    @cached_property
    def by_trajectory(self) -> Groups:
        """Tokens [N] in trajectories [M]."""
        return Groups(self.trajectory[self.segment], self.prompt.numel())

    @cached_property
    def by_prompt(self) -> Groups:
        """Trajectories [M] in prompts [P]: the groups that a group baseline is about."""
        return Groups(self.prompt, int(self.prompt.max()) + 1 if self.prompt.numel() else 0)

    @cached_property
    def by_step(self) -> Groups:
        """Tokens [N] in steps [K]."""
        step = self.need("step", "the rollout, by cutting answers into steps")
        return Groups(step, int(step[-1]) + 1 if step.numel() else 0)

    @cached_property
    def lengths(self) -> Tensor:
        """T_i, trainable tokens of each trajectory, [M] int64."""
        return self.by_trajectory.count()

    @cached_property
    def returns(self) -> Tensor:
        """Everything a trajectory was paid, outcome and on the way, [M]."""
        return self.reward if self.token_reward is None else self.reward + self.by_trajectory.sum(self.token_reward)

    def need(self, name: str, brought_by: str) -> Tensor:
        """The optional field `name`; raises UserError, naming who brings it, where it is absent."""
        x = getattr(self, name)
        if x is None:
            raise UserError(f"this objective reads Tokens.{name}, which is absent; it is brought by {brought_by}")
        return x

    def keep(self, trajectories: Tensor) -> Tokens:
        """The trajectories marked in a mask [M] bool, renumbered; prompts and steps left without any are dropped."""
        segments = trajectories[self.trajectory]
        tokens = segments[self.segment]
        kept = {"token": tokens, "segment": segments, "trajectory": trajectories}
        cut: dict[str, Any] = {}
        for f in fields(self):
            x = getattr(self, f.name)
            if isinstance(x, Tensor):
                cut[f.name] = x[kept[f.metadata["per"]]]
        cut["trajectory"] = (trajectories.cumsum(0) - 1)[cut["trajectory"]]
        cut["segment"] = (segments.cumsum(0) - 1)[self.segment[tokens]]
        cut["prompt"] = _renumber(cut["prompt"])
        if self.step is not None:
            cut["step"] = _renumber(cut["step"])
        return replace(self, **cut, signals={k: v[trajectories] for k, v in self.signals.items()})


def _check_kind(name: str, x: Tensor) -> None:
    """Raises UserError for a field that holds numbers of the wrong kind."""
    kind = str(x.dtype).removeprefix("torch.")
    if name in _INDICES and x.dtype is not torch.int64:
        raise UserError(f"Tokens: {name} is {kind} but must be int64; call .long() on it")
    if name == "planning" and x.dtype is not torch.bool:
        raise UserError(f"Tokens: planning is {kind} but must be bool; call .bool() on it")
    if name not in (*_INDICES, "planning") and not x.is_floating_point():
        raise UserError(f"Tokens: {name} is {kind} but must be floating point; call .float() on it")


def _renumber(x: Tensor) -> Tensor:
    return torch.unique(x, return_inverse=True)[1]


def informative(tokens: Tokens) -> Tensor:
    """Trajectories whose prompt had more than one reward among its answers, [M] bool: what a zero-variance filter keeps."""
    groups = tokens.by_prompt
    return groups.spread(groups.max(tokens.returns) > groups.min(tokens.returns))


def flatten(trajectories: Sequence[Trajectory], rewards: Sequence[float], trained: Callable[[Segment], bool] = lambda _: True) -> Tokens:
    """Recorded attempts as tokens to learn from, with the sampler's log-probabilities; trajectories of one problem are one group.

    `trained` says which segments carry loss (a planner's turns, not its tools'). Within those, forced tokens (`Segment.mask`) are left
    out. Raises UserError for a segment that recorded no ids or log-probabilities.
    """
    segment: list[int] = []
    trajectory: list[int] = []
    logp: list[float] = []
    prompts: dict[str, int] = {}
    for i, attempt in enumerate(trajectories):
        prompts.setdefault(attempt.problem_id, len(prompts))
        for s in filter(trained, attempt.segments):
            if s.context is None or s.ids is None or s.logprobs is None:
                raise UserError(
                    f"flatten: a segment of {attempt.problem_id!r} has no ids or log-probabilities: it can be read, not trained"
                )
            mask = s.mask if s.mask is not None else (True,) * len(s.ids)
            segment += [len(trajectory)] * sum(mask)
            logp += [p for p, on in zip(s.logprobs, mask, strict=True) if on]
            trajectory.append(i)
    return Tokens(
        segment=torch.tensor(segment, dtype=torch.int64),
        trajectory=torch.tensor(trajectory, dtype=torch.int64),
        prompt=torch.tensor([prompts[t.problem_id] for t in trajectories], dtype=torch.int64),
        reward=torch.tensor(rewards, dtype=torch.float32),
        logp_sampler=torch.tensor(logp, dtype=torch.float32),
    )
