"""Parallel paths as a policy to be trained: what is recorded is what the trainer scores, and its gradient is the written-out one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toy_lm import TELLING, Digits, sample

from reasonry.core import Segment
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.thoughts import equipped
from reasonry.nn.attention import masked
from reasonry.nn.masks import thoughts, two_stage
from reasonry.papers.taught import SMALL, characters, fresh
from reasonry.solve import build_solver
from reasonry.train.advantage import Outcome, group_mean, unscaled
from reasonry.train.aggregate import trajectory_mean
from reasonry.train.objective import Objective
from reasonry.train.ratio import Ratio, per_token, recomputed
from reasonry.train.recipe import Recipe, every_segment
from reasonry.train.reward import Rewarded
from reasonry.train.surrogate import Weighted
from reasonry.train.update import learn, make_batch

OBJECTIVE = Objective(
    advantage=Outcome(group_mean, unscaled), ratio=Ratio(per_token, recomputed), surrogate=Weighted(), aggregate=trajectory_mean
)
SPECS = [
    "P=3&B=6&max_tokens=3&stop=last",
    "P=3&B=8&max_tokens=3&stop=first&lead=so",
    "P=2&B=5&tags=2&max_tokens=2",
    "P=2&B=4&positions=flat",
]


def descent(decoder: Decoder, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """With a rate of 1 the step is the gradient."""
    return [torch.optim.SGD(decoder.parameters(), lr=lr)]


RECIPE = Recipe(objective=OBJECTIVE, lr=1.0, steps=1, optimizer=descent, clip_norm=1e9)


def model() -> Decoder:
    """A small decoder with control tokens and thought embeddings that are not zero."""
    decoder, _ = equipped(fresh(SMALL, 0), characters(), 4)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in decoder.named_parameters():
            if "thought" in name:
                p.normal_(0.0, 0.5, generator=generator)
            elif p.ndim > 1:
                p.mul_(4)
    return decoder


async def attempts(spec: str) -> list[list[Rewarded]]:
    decoder = model()
    _, tokenizer = equipped(fresh(SMALL, 0), characters(), 4)
    async with LocalLM(decoder, tokenizer, "tiny", max_rows=64, kv_tokens=8192) as lm:
        return await sample(build_solver(f"parathinker?{spec}", lm, Digits()), TELLING, n=2, G=3)


def logp(decoder: Decoder, segment: Segment) -> Tensor:
    """One call scored by itself under the dense two-stage mask: [tokens sampled], those replaced or forced left out."""
    assert segment.context is not None
    assert segment.ids is not None
    ids, groups = torch.tensor([segment.context + segment.ids]), torch.tensor([segment.groups])
    hidden = decoder(ids, torch.tensor([segment.positions]), masked(two_stage(groups)), thoughts=thoughts(groups)).last[0]
    start = len(segment.context)
    chosen = decoder.logits(hidden[start - 1 : -1]).log_softmax(-1).gather(1, ids[0, start:, None])[:, 0]
    return chosen if segment.mask is None else chosen[torch.tensor(segment.mask)]


@pytest.mark.parametrize("spec", SPECS)
async def test_a_policy_gradient_step_runs_through_paths_and_summary(spec: str) -> None:
    """Before the first update ratios are one; the step is the gradient of the nested formula over every segment, to thoughts as well."""
    groups = await attempts(spec)
    roles = {s.role for g in groups for r in g for s in r.trajectory.segments}
    assert roles == {"think", "answer"}
    decoder = model()
    before = [p.detach().clone() for p in decoder.parameters()]
    health = learn(decoder, RECIPE.optimizer(decoder, 1.0, 0.0), RECIPE, make_batch(groups, RECIPE, every_segment, 0), 1.0, None)
    assert health["mismatch_max"] < 1e-4
    assert health["ratio_max"] == pytest.approx(1.0, abs=1e-4)
    moved = [b - p.detach() for b, p in zip(before, decoder.parameters(), strict=True)]

    naive = model()
    total = torch.zeros(())
    M = sum(map(len, groups))
    for group in groups:
        mean = sum(r.reward for r in group) / len(group)
        for r in group:
            scored = [logp(naive, s) for s in r.trajectory.segments]
            T = sum(len(lp) for lp in scored)
            for lp in scored:
                total = total - ((lp - lp.detach()).exp() * (r.reward - mean)).sum() / (M * T)
    for (name, _), ours, theirs in zip(naive.named_parameters(), moved, torch.autograd.grad(total, list(naive.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-3, msg=name)
        assert "thought" not in name or ours[1:].abs().sum() > 0


async def test_a_summary_by_re_prefill_carries_no_loss() -> None:
    """The trainer could not rebuild it: a causal text whose tokens have thoughts. Its paths train all the same."""
    groups = await attempts("P=2&B=4&max_tokens=2&fuse=re-prefill")
    batch = make_batch(groups, RECIPE, every_segment, 0)
    drawn = sum(sum(s.mask or [True] * len(s.ids or ())) for g in groups for r in g for s in r.trajectory.segments if s.role == "think")
    assert batch.tokens.segment.numel() == drawn
    decoder = model()
    assert learn(decoder, RECIPE.optimizer(decoder, 1.0, 0.0), RECIPE, batch, 1.0, None)["mismatch_max"] < 1e-4


async def test_the_summary_can_be_trained_alone() -> None:
    """A recipe that asks for one role gets it: paths stay data."""
    groups = await attempts(SPECS[0])
    batch = make_batch(groups, replace(RECIPE), lambda s: s.role == "answer", 0)
    assert len(batch.rows) == sum(len(g) for g in groups)
    assert batch.tokens.segment.numel() == sum(len(r.trajectory.segments[-1].ids or ()) for g in groups for r in g)
