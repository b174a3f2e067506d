"""The update: exact gradients of what solvers recorded, however the batch is cut."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toy_lm import TELLING, Digits, sample, toy_decoder, toy_lm

from reasonry.core import Segment
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import causal
from reasonry.solve import SOLVERS, build_solver
from reasonry.train.advantage import Outcome, group_mean, unscaled
from reasonry.train.aggregate import token_mean, trajectory_mean
from reasonry.train.catalogue import CATALOGUE
from reasonry.train.kl import InLoss, k3
from reasonry.train.objective import Objective
from reasonry.train.ratio import Clip, Ratio, per_token, recomputed
from reasonry.train.recipe import Recipe, every_segment
from reasonry.train.reward import Rewarded
from reasonry.train.surrogate import PPO, Weighted
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch, cut, learn, make_batch, shuffled

SPECS = [
    "single?max_tokens=4",
    "self-consistency?k=3&max_tokens=4",
    "best-of-n?n=2&max_tokens=4",
    "delethink?C=5&m=3&I=3&keep_head=1",
    "interrupted?lo=2&hi=4&answer=2&phrase=12&close=hash",
    "deepsearch?n=2&chunk=2&depth=3&max_tokens=4&ends=2",
    "agglm?m=2&max_tokens=4&of=single?max_tokens=3",
    "tool-loop?turns=2&max_tokens=4",
    "vgb?until=tokens&block=2&depth=3&need=nothing&bound=2",
    "vgb?until=token&depth=3&need=nothing",
    "guided?way=beam&width=2&n=2&until=tokens&block=2&depth=2&need=nothing",
    "debate?agents=2&rounds=1&words=bare&max_tokens=3",
    "tumix?words=bytes&rounds=2&max_tokens=3",
    "parathinker?P=2&B=4&max_tokens=3",
]
PLAIN = Objective(
    advantage=Outcome(group_mean, unscaled), ratio=Ratio(per_token, recomputed), surrogate=Weighted(), aggregate=trajectory_mean
)


def descent(decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Plain gradient descent: with a rate of 1 the step *is* the gradient."""
    return [torch.optim.SGD(decoder.parameters(), lr=lr)]


RECIPE = Recipe(objective=PLAIN, lr=1.0, steps=1, optimizer=descent, clip_norm=1e9)


async def attempts(spec: str, **more: int) -> list[list[Rewarded]]:
    async with toy_lm() as lm:
        return await sample(build_solver(spec, lm, Digits()), TELLING, **more)


def step(recipe: Recipe, batch: Batch, reference: Decoder | None = None) -> tuple[list[Tensor], dict[str, float]]:
    """How far each weight of the toy decoder moved against the gradient, and the health."""
    decoder = toy_decoder()
    before = [p.detach().clone() for p in decoder.parameters()]
    health = learn(decoder, recipe.optimizer(decoder, recipe.lr, 0.0), recipe, batch, recipe.lr, reference)
    return [b - p.detach() for b, p in zip(before, decoder.parameters(), strict=True)], health


def logp(decoder: Decoder, segment: Segment) -> Tensor:
    """One model call scored by itself, on its own context: [tokens]."""
    assert segment.context is not None
    assert segment.ids is not None
    ids = torch.tensor(segment.context + segment.ids)
    hidden = decoder(ids[None], torch.arange(len(ids))[None], causal()).last[0]
    return decoder.logits(hidden[:-1]).log_softmax(-1).gather(1, ids[1:, None])[len(segment.context) - 1 :, 0]


@pytest.mark.parametrize("spec", [*SPECS, "delethink?C=24&m=20&I=2&carry=summary"])
async def test_before_the_first_update_ratios_are_one(spec: str) -> None:
    """What the engine recorded while sampling is what the trainer's network gives the same tokens: one-shot, k samples, chunks."""
    groups = await attempts(spec)
    assert ("summary" in spec) == any(s.role == "summary" for g in groups for r in g for s in r.trajectory.segments)
    batch = make_batch(groups, RECIPE, every_segment, 0)
    _, health = step(RECIPE, batch)
    assert health["mismatch_max"] < 1e-5
    assert health["ratio_max"] == pytest.approx(1.0, abs=1e-5)
    assert health["mismatch_kl"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("spec", SPECS)
async def test_flattened_rows_give_the_nested_formula(spec: str) -> None:
    """(1/M) Σ_i (1/T_i) Σ_segments Σ_t −r_t Â_i, written out over the recorded attempts, has the gradient of the update."""
    groups = await attempts(spec)
    moved, _ = step(RECIPE, make_batch(groups, RECIPE, every_segment, 0))
    decoder = toy_decoder()
    total = torch.zeros(())
    M = sum(map(len, groups))
    for group in groups:
        mean = sum(r.reward for r in group) / len(group)
        for r in group:
            T = sum(len(s.ids or ()) for s in r.trajectory.segments)
            for s in r.trajectory.segments:
                lp = logp(decoder, s)
                total = total - ((lp - lp.detach()).exp() * (r.reward - mean)).sum() / (M * T)
    for ours, theirs in zip(moved, torch.autograd.grad(total, list(decoder.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-4)


async def test_parts_add_up_and_are_whole_prompts() -> None:
    """One prompt at a time or all at once: the same step."""
    batch = make_batch(await attempts(SPECS[3]), RECIPE, every_segment, 0)
    small = replace(RECIPE, part_tokens=1)
    assert len(cut(batch, RECIPE.part_tokens)) == 1
    masks = torch.stack(cut(batch, 1))
    assert len(masks) == batch.tokens.by_prompt.n
    assert bool((masks.sum(0) == 1).all())
    whole, health = step(RECIPE, batch)
    pieces, other = step(small, batch)
    for a, b in zip(whole, pieces, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert other == pytest.approx(health, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("slug", ["grpo", "dr-grpo", "dapo", "rloo", "gspo", "cispo", "gpg", "sapo"])
async def test_equal_rewards_give_no_gradient(slug: str) -> None:
    """A group that agrees teaches nothing, exactly: no weight moves."""
    groups = [[replace(r, reward=0.3) for r in group] for group in await attempts(SPECS[1])]
    recipe = replace(RECIPE, objective=replace(CATALOGUE[slug].objective, kl=None))
    moved, health = step(recipe, make_batch(groups, recipe, every_segment, 0))
    assert health["grad_norm"] == 0.0
    assert all(bool((m == 0).all()) for m in moved)


async def test_later_updates_are_clipped_against_the_policy_before_the_first() -> None:
    """Two updates, written out: the second's ratio is over what the first one started from, without a forward pass of its own."""
    objective = replace(PLAIN, surrogate=PPO(Clip(0.9, 1.1)))
    recipe = replace(RECIPE, objective=objective, updates=2, lr=0.5)
    groups = await attempts(SPECS[0])
    batch = make_batch(groups, recipe, every_segment, 0)
    moved, health = step(recipe, batch)
    assert health["clip_share"] > 0
    decoder = toy_decoder()
    start = deepcopy(decoder)
    M = sum(map(len, groups))
    for _ in range(2):
        total = torch.zeros(())
        for group in groups:
            mean = sum(r.reward for r in group) / len(group)
            for r in group:
                (s,) = r.trajectory.segments
                A, ratio = r.reward - mean, (logp(decoder, s) - logp(start, s).detach()).exp()
                total = total - torch.minimum(ratio * A, ratio.clamp(0.9, 1.1) * A).mean() / M
        for p, g in zip(decoder.parameters(), torch.autograd.grad(total, list(decoder.parameters())), strict=True):
            p.data -= 0.5 * g
    for m, p, q in zip(moved, start.parameters(), decoder.parameters(), strict=True):
        torch.testing.assert_close(m, p.detach() - q.detach(), atol=3e-6, rtol=1e-3)


async def test_mini_batches_are_whole_prompts_and_cover_the_batch_once() -> None:
    """In another order for every update of a batch, the same again for the same seed; at most as many as there are prompts."""
    recipe = replace(RECIPE, minibatches=2)
    batch = make_batch(await attempts(SPECS[0]), recipe, every_segment, 5)
    dealt = [torch.stack(shuffled(batch, recipe, update)) for update in range(8)]
    for masks in dealt:
        assert bool((masks.sum(0) == 1).all())
        assert len({len(batch.tokens.prompt[mask].unique()) for mask in masks}) == 1
        assert all(int((masks & (batch.tokens.prompt == p)).any(1).sum()) == 1 for p in batch.tokens.prompt.unique())
    assert len({tuple(masks[0].tolist()) for masks in dealt}) > 1
    assert torch.equal(dealt[3], torch.stack(shuffled(batch, recipe, 3)))
    assert len(shuffled(batch, replace(recipe, minibatches=99), 0)) == batch.tokens.by_prompt.n
    assert len(shuffled(batch, RECIPE, 0)) == 1


@pytest.mark.parametrize("part_tokens", [1, 16384])
async def test_a_step_on_every_mini_batch_written_out(part_tokens: int) -> None:
    """Two mini-batches, one step each: means inside its own mini-batch, ratios over the policy before the first of them."""
    objective = replace(PLAIN, surrogate=PPO(Clip(0.9, 1.1)))
    recipe = replace(RECIPE, objective=objective, minibatches=2, lr=0.5, part_tokens=part_tokens)
    groups = await attempts(SPECS[0])
    batch = make_batch(groups, recipe, every_segment, 5)
    moved, health = step(recipe, batch)
    decoder = toy_decoder()
    start = deepcopy(decoder)
    clipped = 0
    for mask in shuffled(batch, recipe, 0):
        total = torch.zeros(())
        for i, group in enumerate(groups):
            mean = sum(r.reward for r in group) / len(group)
            for r in group:
                if not bool(mask[batch.tokens.prompt == i].any()):
                    continue
                (s,) = r.trajectory.segments
                A, ratio = r.reward - mean, (logp(decoder, s) - logp(start, s).detach()).exp()
                total = total - torch.minimum(ratio * A, ratio.clamp(0.9, 1.1) * A).mean() / int(mask.sum())
                clipped += int(((ratio * A) > (ratio.clamp(0.9, 1.1) * A)).sum())
        for p, g in zip(decoder.parameters(), torch.autograd.grad(total, list(decoder.parameters())), strict=True):
            p.data -= 0.5 * g
    for m, p, q in zip(moved, start.parameters(), decoder.parameters(), strict=True):
        torch.testing.assert_close(m, p.detach() - q.detach(), atol=3e-6, rtol=1e-3)
    assert clipped > 0
    assert health["clip_share"] == pytest.approx(clipped / batch.tokens.segment.numel())
    assert health["mismatch_max"] < 1e-5, "the sampler is compared with the policy before the first step"


async def test_the_way_from_the_start_is_measured() -> None:
    """Against itself KL is 0; against other weights it is not, and it pulls."""
    recipe = replace(RECIPE, objective=replace(PLAIN, kl=InLoss(1.0, k3)))
    groups = [[replace(r, reward=0.0) for r in group] for group in await attempts(SPECS[0])]
    batch = make_batch(groups, recipe, every_segment, 0)
    _, same = step(recipe, batch, toy_decoder())
    assert same["kl_ref"] == pytest.approx(0.0, abs=1e-9)
    _, far = step(recipe, batch, toy_decoder(seed=9))
    assert far["kl_ref"] > 1e-3
    assert far["grad_norm"] > 100 * same["grad_norm"]


async def test_only_chosen_segments_are_trained() -> None:
    groups = await attempts(SPECS[1])
    batch = make_batch(groups, RECIPE, lambda s: s.text.startswith("1"), 0)
    assert batch.tokens.segment.numel() == sum(
        len(s.ids or ()) for g in groups for r in g for s in r.trajectory.segments if s.text.startswith("1")
    )
    assert batch.tokens.prompt.numel() == 16


async def test_no_tokens_change_nothing() -> None:
    moved, health = step(RECIPE, make_batch([], RECIPE, every_segment, 0))
    assert health == {}
    assert all(bool((m == 0).all()) for m in moved)


def fill(tokens: Tokens, trajectories: object) -> Tokens:
    """Everything an objective of the catalogue may read."""
    g = torch.Generator().manual_seed(0)
    N, M = tokens.segment.numel(), tokens.prompt.numel()
    return replace(
        tokens, value=torch.rand(N, generator=g), process=torch.rand(N, generator=g) - 0.5, step=tokens.segment,
        planning=torch.rand(N, generator=g) > 0.7, baseline=torch.rand(M, generator=g), weight=0.5 + torch.rand(M, generator=g),
    )  # fmt: skip


def test_every_solver_is_in_the_grid() -> None:
    assert {spec.partition("?")[0] for spec in SPECS} == set(SOLVERS)


@pytest.mark.parametrize("spec", SPECS)
async def test_any_solver_trains_with_any_objective(spec: str) -> None:
    """The grid: every objective of the catalogue takes what every solver recorded, and some weight moves by a finite amount."""
    groups = await attempts(spec, n=2)
    reference = toy_decoder(seed=1)
    for slug, entry in CATALOGUE.items():
        recipe = replace(RECIPE, objective=entry.objective, enrich=fill, lr=1e-3)
        moved, health = step(recipe, make_batch(groups, recipe, every_segment, 0), reference)
        assert all(bool(m.isfinite().all()) for m in moved), slug
        assert health["grad_norm"] > 0, slug
        assert any(bool((m != 0).any()) for m in moved), slug


async def test_a_wrong_temperature_shows_as_mismatch() -> None:
    """Sampled at 1, scored at 2: the health says so on the first step."""
    recipe = replace(RECIPE, temperature=2.0, objective=replace(PLAIN, aggregate=token_mean))
    _, health = step(recipe, make_batch(await attempts(SPECS[0]), recipe, every_segment, 0))
    assert health["mismatch"] > 0.01
