"""One batch of rewarded attempts to one better network: rows, advantages, gradient, optimiser step.

Invariants. Advantages are decided on the whole batch, weights on what one optimiser step learns from: the batch, or a mini-batch of whole
prompts. The parts that it is cut into for memory add up to its gradient exactly, and cuts fall between prompts. Sampler and trainer are
compared on every batch. Without mini-batches no forward pass is made for π_old alone: in the first of a batch's updates π_θ is π_old, and
later ones keep what that one computed.

Letters: N trained tokens, S segments, M trajectories, P prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reasonry.core import Segment, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.train.objective import Objective, Scored, loss, merge, score
from reasonry.train.recipe import Recipe
from reasonry.train.reward import Rewarded
from reasonry.train.rows import Layout, Row, chosen, chosen_and_entropy, lay_out, read, row_of
from reasonry.train.tokens import Tokens, flatten


@dataclass(frozen=True, eq=False)
class Batch:
    """What one update learns from. Made by `make_batch`, gone after the update."""

    tokens: Tokens
    rows: tuple[Row, ...]
    """One for each of the S segments of `tokens`."""
    seed: int = 0
    """Decides its mini-batches."""

    def keep(self, trajectories: Tensor) -> Batch:
        """The part with the trajectories marked in [M] bool."""
        on = trajectories[self.tokens.trajectory].tolist()
        return replace(self, tokens=self.tokens.keep(trajectories), rows=tuple(r for r, kept in zip(self.rows, on, strict=True) if kept))


Learn = Callable[[Decoder, Sequence[torch.optim.Optimizer], Recipe, Batch, float, Decoder | None], dict[str, float]]
"""Something that makes a batch's updates: `learn`, or several processes together (`train.distributed`)."""


def make_batch(groups: Sequence[Sequence[Rewarded]], recipe: Recipe, trained: Callable[[Segment], bool], seed: int) -> Batch:
    """Groups of rewarded attempts as tokens and rows; `seed` decides the random numbers that some objectives draw per
    token, and the mini-batches."""
    rewarded = [r for group in groups for r in group]
    trajectories = [r.trajectory for r in rewarded]
    rows = tuple(row_of(s) for t in trajectories for s in filter(trained, t.segments))
    tokens = flatten(trajectories, [r.reward for r in rewarded], trained)
    names = set.intersection(*(set(r.signals) for r in rewarded)) if rewarded else set()
    tokens = replace(
        tokens,
        draw=torch.rand(tokens.segment.numel(), generator=torch.Generator().manual_seed(seed)),
        signals={name: torch.tensor([r.signals[name] for r in rewarded], dtype=torch.float32) for name in sorted(names)},
    )
    return Batch(recipe.enrich(tokens, trajectories), rows, seed)


def cut(batch: Batch, limit: int) -> list[Tensor]:
    """Masks [M] bool of consecutive whole prompts with at most `limit` tokens each, a shared context counted once; a larger prompt is
    a part of its own."""
    tokens = batch.tokens
    sizes = [0] * tokens.by_prompt.n
    seen: set[tuple[int, tuple[int, ...]]] = set()
    for row, p in zip(batch.rows, tokens.prompt[tokens.trajectory].tolist(), strict=True):
        if row.trained:
            start = row.trained[0]
            context = (p, row.ids[:start])
            sizes[p] += row.trained[-1] - start + (0 if context in seen else start)
            seen.add(context)
    parts: list[list[int]] = []
    full = limit
    for p, size in enumerate(sizes):
        if size and full + size > limit:
            parts.append([])
            full = 0
        if parts:
            parts[-1].append(p)
        full += size
    return [torch.isin(tokens.prompt, torch.tensor(part)) for part in parts]


def shuffled(batch: Batch, recipe: Recipe, update: int) -> list[Tensor]:
    """Masks [M] bool of the mini-batches of one of the batch's updates: its prompts in random order, dealt out evenly. Fewer where it has
    fewer prompts than the recipe has mini-batches; all in one, as they stand, where the recipe has one."""
    n = min(recipe.minibatches, batch.tokens.by_prompt.n)
    generator = torch.Generator().manual_seed(inner_seed(batch.seed, update))
    place = torch.randperm(batch.tokens.by_prompt.n, generator=generator)[batch.tokens.prompt] % n
    return [place == i for i in range(n)]


def within(objective: Objective, scored: Scored, trajectories: Tensor) -> Scored:
    """The mini-batch with the trajectories marked in [M] bool: the batch's advantages, with weights of its own. Its health counts as its
    share of the batch, so that those of an update add up."""
    part = scored.keep(trajectories)
    weights = [aggregate(part.tokens, part.advantage) for aggregate in (objective.aggregate, *(e.aggregate for e in objective.extras))]
    return replace(part, weight=weights[0], extra_weights=tuple(weights[1:]))


def laid_out(batch: Batch, limit: int, device: torch.device) -> tuple[list[Tensor], list[Layout]]:
    """The parts that fit into memory: their trajectories as masks [M] bool, and their rows."""
    masks = cut(batch, limit)
    return masks, [lay_out(batch.keep(mask).rows, device) for mask in masks]


def learn(
    decoder: Decoder, optimizers: Sequence[torch.optim.Optimizer], recipe: Recipe, batch: Batch, lr: float, reference: Decoder | None
) -> dict[str, float]:
    """Makes the batch's updates in place and returns their health: that of `objective.loss` in the last of them, over all its mini-batches,
    `grad_norm` of the last step before clipping, and `compare`'s. A batch without tokens changes nothing. Raises UserError for a gradient
    that is no number."""
    objective, tokens = recipe.objective, batch.tokens
    if not tokens.segment.numel():
        return {}
    device = decoder.embed_tokens.weight.device
    masks, layouts = laid_out(batch, recipe.part_tokens, device)
    if reference is not None and tokens.logp_ref is None:
        tokens = replace(tokens, logp_ref=score_with(reference, layouts, recipe.temperature))
    scored = score(objective, tokens)
    if recipe.minibatches > 1:
        scored = remember(scored, score_with(decoder, layouts, recipe.temperature))
    health: dict[str, float] = {}
    for update in range(recipe.updates):
        healths: list[dict[str, float]] = []
        for mini in shuffled(batch, recipe, update):
            if recipe.minibatches == 1:
                step = scored
            else:
                step = within(objective, scored, mini)
                masks, layouts = laid_out(batch.keep(mini), recipe.part_tokens, device)
            decoder.zero_grad(set_to_none=True)
            old: list[Tensor] = []
            for mask, layout in zip(masks, layouts, strict=True):
                values = read(decoder, layout, recipe.temperature, chosen_and_entropy if objective.entropy else chosen)
                logp, *entropy = (x.cpu() for x in values)
                old.append(logp.detach())
                value, told = loss(objective, at_first(step.keep(mask), old[-1]), logp, *entropy)
                value.backward()
                healths.append(told)
            if scored.tokens.logp_old is None:
                scored = remember(scored, torch.cat(old))
            grad_norm = float(torch.nn.utils.clip_grad_norm_(decoder.parameters(), recipe.clip_norm))
            check_norm(grad_norm, lr)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = lr
                optimizer.step()
            health = {**merge(list(healths)), "grad_norm": grad_norm}
    decoder.zero_grad(set_to_none=True)
    return {**compare(scored.tokens.need("logp_old", "the first update"), tokens), **health}


def remember(scored: Scored, old: Tensor) -> Scored:
    """With π_old's log-probabilities [N]."""
    return replace(scored, tokens=replace(scored.tokens, logp_old=old))


def at_first(part: Scored, now: Tensor) -> Scored:
    """With those of now [N], where π_old's are not known: it is the policy of now."""
    return part if part.tokens.logp_old is not None else remember(part, now)


def check_norm(grad_norm: float, lr: float) -> None:
    """Raises UserError where it is no number."""
    if grad_norm != grad_norm or grad_norm == float("inf"):
        raise UserError(f"train: the gradient's norm is {grad_norm}; lower lr ({lr:g}), or look at the rewards and `ratio_max`")


@torch.no_grad()
def score_with(decoder: Decoder, layouts: Sequence[Layout], temperature: float) -> Tensor:
    """Log-probabilities [N] of a batch's tokens under another network."""
    return torch.cat([read(decoder, layout, temperature)[0].cpu() for layout in layouts])


def compare(old: Tensor, tokens: Tokens) -> dict[str, float]:
    """How far the engine's probabilities are from the trainer's own on the same tokens and weights: `mismatch` and `mismatch_max`, the mean
    and largest |log π_old − log π_gen|, `mismatch_ratio`, the mean of its exponential, `mismatch_kl`, the k3 estimate of KL(π_gen‖π_old);
    `ess`, the effective share (Σρ)² / (N Σρ²) of the tokens under ρ = π_old/π_gen; and `entropy`, −mean log π_old, an estimate."""
    log_r = old - tokens.need("logp_sampler", "the sampler")
    return {
        "mismatch": float(log_r.abs().mean()),
        "mismatch_max": float(log_r.abs().max()),
        "mismatch_ratio": float(log_r.abs().exp().mean()),
        "ess": float((2 * log_r.logsumexp(0) - (2 * log_r).logsumexp(0)).exp() / log_r.numel()),
        "mismatch_kl": float((log_r.expm1() - log_r).mean()),
        "entropy": -float(old.mean()),
    }
