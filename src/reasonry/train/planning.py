"""Which tokens are planning: `Tokens.planning` for HICRA's boost (arXiv 2509.03646): by strategic grams, entropy, a mask, or chance.

    recipe = replace(recipe, enrich=Strategic(grams, tokenizer))                                   # the paper
    recipe = replace(recipe, enrich=EntropyTopK(policy_entropy(lm.decoder)))                       # the *reported variant*
    recipe = replace(recipe, enrich=RandomTokens(Strategic(grams, tokenizer)))                     # the placebo, equal share
    recipe = replace(recipe, enrich=Gated(Strategic(grams, tokenizer), 1.2))                       # ours: no boost before execution is sure

All are functions for `Recipe.enrich`. `Watch` looks on beside the policy and puts the probes' figures into every step's record.

Invariant: a source writes `Tokens.planning` and nothing else, one value for each trained token in their order; rewards, advantages and all
other tokens are as they were. The mask is found in the text and mapped back to the sampled ids by their characters.

Departures. 1. The reported variant is from third-party notes on the authors' code, which could not be read: the 30 % of tokens with the
highest entropy, of answers that are right and longer than their group's mean. 2. The gate is ours, after the paper's remark that boosting
planning does not help where execution is not reliable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reasonry.core import Segment, Trajectory, UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.spans import token_spans, touched
from reasonry.lm.tokenizer import Tokenizer
from reasonry.probe.gram_metrics import Trace, measure
from reasonry.probe.strategic_grams import StrategicGrams
from reasonry.train.curriculum import Lesson
from reasonry.train.recipe import Enrich, every_segment
from reasonry.train.reward import Rewarded
from reasonry.train.rows import chosen_and_entropy, lay_out, read, row_of
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

Trained = Callable[[Segment], bool]
"""Which segments carry loss; the loop's own rule."""
Measured = Callable[[Sequence[Trajectory], Trained], Tensor]
"""(trajectories, trained) -> [N], a number for each trained token."""


@dataclass(frozen=True)
class Given:
    """A mask of the caller's own: one value for each sampled token of a segment."""

    mask_of: Callable[[Segment], Sequence[bool]]
    trained: Trained = every_segment

    def __call__(self, tokens: Tokens, trajectories: Sequence[Trajectory]) -> Tokens:
        """With `planning`. Raises UserError where the mask does not fit the tokens."""
        marks: list[bool] = []
        for t in trajectories:
            for s in filter(self.trained, t.segments):
                marks += _trained_only(s, self.mask_of(s))
        return _with(tokens, torch.tensor(marks, dtype=torch.bool))


@dataclass(frozen=True)
class Strategic:
    """Tokens with a character inside a strategic gram."""

    grams: StrategicGrams
    tokenizer: Tokenizer
    """Of the model that sampled."""
    trained: Trained = every_segment

    def mask(self, segment: Segment) -> list[bool]:
        """One value for each of the segment's ids."""
        text, places = token_spans(self.tokenizer, segment.ids or ())
        return touched(self.grams.spans(text), places)

    def __call__(self, tokens: Tokens, trajectories: Sequence[Trajectory]) -> Tokens:
        """With `planning`."""
        return Given(self.mask, self.trained)(tokens, trajectories)


@dataclass(frozen=True)
class EntropyTopK:
    """The share of a batch's tokens with the highest entropy; with `long_and_right`, of those in answers that are right and longer than
    their group's mean (the *reported variant*). The paper's own control finds both worse than strategic grams."""

    entropy: Measured
    share: float = 0.3
    long_and_right: bool = False
    trained: Trained = every_segment

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"EntropyTopK: share is {self.share:g} but must be above 0 and at most 1")

    def __call__(self, tokens: Tokens, trajectories: Sequence[Trajectory]) -> Tokens:
        """With `planning`."""
        if not tokens.segment.numel():
            return _with(tokens, torch.zeros(0, dtype=torch.bool))
        mask = _highest(self.entropy(trajectories, self.trained), math.ceil(self.share * tokens.segment.numel()))
        if self.long_and_right:
            lengths, groups = tokens.lengths.float(), tokens.by_prompt
            longer = lengths > groups.spread(groups.mean(lengths))
            right = torch.tensor([t.verdict is not None and t.verdict.passed is True for t in trajectories])
            mask &= tokens.by_trajectory.spread(longer & right)
        return _with(tokens, mask)


@dataclass(frozen=True)
class RandomTokens:
    """As many tokens as another source marks in the batch, at random (`Tokens.draw`, so a resumed run draws the same): the placebo."""

    like: Enrich

    def __call__(self, tokens: Tokens, trajectories: Sequence[Trajectory]) -> Tokens:
        """With `planning`."""
        many = int(self.like(tokens, trajectories).need("planning", "the source that RandomTokens is like").sum())
        return _with(tokens, _highest(tokens.need("draw", "the trainer, for objectives that choose tokens at random"), many))


@dataclass(frozen=True)
class Gated:
    """Another source's mask while the batch's execution perplexity is at most `limit`, else none (ours, not the paper's)."""

    source: Enrich
    limit: float

    def __post_init__(self) -> None:
        if not self.limit > 1:
            raise UserError(f"Gated: limit is {self.limit:g} but a perplexity is never below 1; use a number above it, such as 1.2")

    def __call__(self, tokens: Tokens, trajectories: Sequence[Trajectory]) -> Tokens:
        """With `planning`."""
        found = self.source(tokens, trajectories)
        mask = found.need("planning", "the source that is gated")
        logp = found.need("logp_sampler", "the sampler")[~mask]
        shut = logp.numel() > 0 and math.exp(-float(logp.mean())) > self.limit
        return replace(found, planning=torch.zeros_like(mask)) if shut else found


def policy_entropy(decoder: Decoder, temperature: float = 1.0) -> Measured:
    """The entropy of the policy as it is now at every trained token, in nats; one forward pass."""

    @torch.no_grad()
    def measured(trajectories: Sequence[Trajectory], trained: Trained) -> Tensor:
        rows = [row_of(s) for t in trajectories for s in filter(trained, t.segments)]
        return read(decoder, lay_out(rows, decoder.embed_tokens.weight.device), temperature, chosen_and_entropy)[1].cpu()

    return measured


class Watch:
    """The strategic-gram probes of every step, for its record: `planning_token_ratio`, `strategic_gram_entropy`, `execution_perplexity`,
    `planning_perplexity`, `execution_entropy`, `planning_entropy` (of the mask of true grams, whatever the objective is given). A `Beside`
    that learns nothing."""

    def __init__(self, strategic: Strategic, entropy: Measured) -> None:
        self._strategic, self._entropy = strategic, entropy
        self._seen: dict[str, float] = {}

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        """The tokens as they are."""
        attempts = [r.trajectory for group in rewarded for r in group]
        trained = self._strategic.trained
        self._seen = planning_figures(attempts, self._strategic, self._entropy(attempts, trained) if batch.tokens.segment.numel() else None)
        return batch.tokens

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        """What `prepare` saw."""
        return self._seen

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


FIGURES = (
    "planning_token_ratio",
    "strategic_gram_entropy",
    "execution_perplexity",
    "planning_perplexity",
    "execution_entropy",
    "planning_entropy",
)
"""Names of what `Watch` records."""


def planning_figures(attempts: Sequence[Trajectory], strategic: Strategic, entropy: Tensor | None) -> dict[str, float]:
    """The probes over trained tokens; a figure that is not known is left out."""
    traces: list[Trace] = []
    at = 0
    for t in attempts:
        for s in filter(strategic.trained, t.segments):
            text, places = token_spans(strategic.tokenizer, s.ids or ())
            kept = [i for i, on in enumerate(s.mask or (True,) * len(places)) if on]
            own = None if entropy is None else tuple(entropy[at : at + len(kept)].tolist())
            logps = None if s.logprobs is None else tuple(s.logprobs[i] for i in kept)
            traces.append(Trace(text, tokens=tuple(places[i] for i in kept), logprobs=logps, entropies=own))
            at += len(kept)
    found = measure(traces, strategic.grams)
    return {name: value for name in FIGURES if (value := getattr(found, name)) is not None}


def _trained_only(s: Segment, marks: Sequence[bool]) -> list[bool]:
    if len(marks) != len(s.ids or ()):
        raise UserError(f"planning: the mask has {len(marks)} values for a segment of {len(s.ids or ())} tokens; give one for each")
    return [bool(m) for m, on in zip(marks, s.mask or (True,) * len(marks), strict=True) if on]


def _highest(x: Tensor, many: int) -> Tensor:
    """The places of the `many` highest, [N] bool."""
    mask = torch.zeros(x.numel(), dtype=torch.bool)
    mask[x.topk(many).indices] = True
    return mask


def _with(tokens: Tokens, mask: Tensor) -> Tokens:
    if mask.numel() != tokens.segment.numel():
        raise UserError(f"planning: {mask.numel()} tokens were looked at but {tokens.segment.numel()} are trained; give the same `trained`")
    return replace(tokens, planning=mask)
