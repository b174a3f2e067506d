"""Everything that decides how a model is trained, as one value: two recipes are compared by comparing two values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch

from reasonry.core import Segment, Trajectory, UserError
from reasonry.lm.decoder import Decoder
from reasonry.train.entry import spell
from reasonry.train.objective import Objective
from reasonry.train.reward import Reward
from reasonry.train.sft import adamw, warm_then_cosine
from reasonry.train.tokens import Tokens

Enrich = Callable[[Tokens, Sequence[Trajectory]], Tokens]
"""(tokens, their trajectories) -> the tokens with the fields an objective needs beyond rewards and log-probabilities: a critic's values,
steps, process rewards, a baseline, planning tokens."""


def constant(step: int) -> float:
    """1."""
    return 1.0


def every_segment(segment: Segment) -> bool:
    """All of them."""
    return True


@dataclass(frozen=True)
class OfRoles:
    """Those of some roles: `aggregate` trains AggLM's aggregator and not its candidates."""

    roles: tuple[str, ...]

    def __call__(self, segment: Segment) -> bool:
        """Whether the segment is one of them."""
        return segment.role in self.roles


def as_it_is(tokens: Tokens, trajectories: Sequence[Trajectory]) -> Tokens:
    """Adds nothing."""
    return tokens


@dataclass(frozen=True)
class WarmCosine:
    """Linear to 1 over `warmup` steps, then half a cosine down to `floor` at step `total`."""

    warmup: int
    total: int
    floor: float = 0.02

    def __call__(self, step: int) -> float:
        """The factor on the learning rate."""
        return warm_then_cosine(step, self.warmup, self.total, self.floor)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train. The solver and the curriculum are the loop's other arguments: they say *what* is run, and on what."""

    objective: Objective
    lr: float
    """Learning rate where the schedule is 1."""
    steps: int
    """Batches; the run ends after them."""
    schedule: Callable[[int], float] = constant
    """Step, from 0 -> factor on `lr`."""
    optimizer: Callable[[Decoder, float, float], list[torch.optim.Optimizer]] = adamw
    """(decoder, lr, weight decay) -> optimisers that together hold every weight to be trained."""
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    """The gradient's norm is held at this."""
    prompts: int = 8
    """Problems in a batch."""
    group: int = 8
    """G, attempts at each."""
    resample: int = 0
    """Further draws of problems at most, until `prompts` groups have right and wrong answers (dynamic sampling, DAPO)."""
    updates: int = 1
    """How often each batch is learned from; π_old is the policy before the first."""
    minibatches: int = 1
    """Parts that a batch's prompts are shuffled into for each of its updates, with an optimiser step on each; 1: the whole batch a step."""
    lag: int = 0
    """Batches that sampling may be ahead of learning: 0, or 1, when the next batch is sampled while this one is learned from, by the
    weights from before. π_gen is then one batch older than π_old: an objective may correct for it (`TruncatedIS`, a ratio over `sampler`).
    Around checkpoints and where a stage ends nothing is sampled ahead."""
    temperature: float = 1.0
    """What the solver samples at. The trainer scores at the same; a wrong one shows at once as `mismatch`."""
    reward: Reward = Reward()  # noqa: RUF009 (a frozen value)
    trained: Callable[[Segment], bool] = every_segment
    """Which of the model's own calls carry loss; those of other models never do."""
    enrich: Enrich = as_it_is
    part_tokens: int = 16384
    """Distinct tokens in one backward pass, unless a single group has more; bounds memory, changes no result beyond rounding."""
    save_every: int = 10
    """Steps between checkpoints."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "group", "updates", "minibatches", "part_tokens", "save_every"):
            if getattr(self, name) < 1:
                raise UserError(f"Recipe: {name} is {getattr(self, name)} but must be at least 1")
        if self.lag not in (0, 1):
            raise UserError(f"Recipe: lag is {self.lag} but must be 0 or 1")
        if self.resample < 0:
            raise UserError(f"Recipe: resample is {self.resample} but must be at least 0")
        for name in ("lr", "clip_norm", "temperature"):
            if not getattr(self, name) > 0:
                raise UserError(f"Recipe: {name} is {getattr(self, name)} but must be above 0")


LATER = ("minibatches",)
"""Fields that came after runs which may still be resumed: at their defaults a run's configuration does without them."""


def describe(recipe: Recipe) -> dict[str, str]:
    """The recipe as text, every value shown: for a run's configuration, which a resumed run must match."""
    told = [f for f in fields(recipe) if f.name not in LATER or getattr(recipe, f.name) != f.default]
    return {f.name: spell(getattr(recipe, f.name)) for f in told}
