"""Exact staleness on one core: k = 0 changes nothing, k > 0 gives each token the weights it should have, keys of old weights are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_lm import TELLING, Digits, toy_decoder, toy_lm

from reasonry.core import Run, Sampling, UserError, open_run
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import Site
from reasonry.solve import build_solver
from reasonry.train.catalogue import find
from reasonry.train.curriculum import every_group, only
from reasonry.train.loop import frozen_copy, train
from reasonry.train.pipeline.double import Stale
from reasonry.train.recipe import Recipe, describe

TASK = Digits()
PROBLEMS = {1: TASK.problems()}
CURRICULUM = replace(only(1, 6), group_filter=every_group)
SPEC = "single?max_tokens=6"
RECIPE = Recipe(objective=find("cispo").objective, lr=0.02, steps=6, prompts=3, group=4, reward=TELLING, save_every=2)


async def learnt(run: Run, k: int | None, recipe: Recipe = RECIPE) -> tuple[Decoder, list[dict[str, Any]]]:
    """The decoder after training with staleness k (`None`: without the double), and the log."""
    async with toy_lm() as lm:
        beside = [] if k is None else [Stale(lm, k, 6)]
        await train(lm, build_solver(SPEC, lm, TASK), TASK, CURRICULUM, PROBLEMS, recipe, run, beside=beside)
        for b in beside:
            b.close()
        assert lm.engine.decoder is lm.decoder
        return lm.decoder, [json.loads(line) for line in run.lines("steps")]


def same(a: Decoder, b: Decoder) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


async def test_k_of_0_is_the_ordinary_loop(tmp_path: Path) -> None:
    plain, _ = await learnt(open_run(tmp_path / "plain", describe(RECIPE), resume=False), None)
    doubled, told = await learnt(open_run(tmp_path / "double", describe(RECIPE), resume=False), 0)
    assert same(plain, doubled)
    assert {record["staleness_max"] for record in told} == {0}


@pytest.mark.parametrize(("k", "first"), [(2, [0, 1, 2, 2, 2, 2]), (20, [0, 1, 2, 3, 4, 5])])
async def test_staleness_grows_to_k_and_falls_along_the_answer(tmp_path: Path, k: int, first: list[int]) -> None:
    """The first token is k updates old once there have been k; answers come from several weights; what is trained no longer agrees."""
    _, told = await learnt(open_run(tmp_path / "run", describe(RECIPE), resume=False), k)
    assert [record["staleness_max"] for record in told] == first
    assert all(record["staleness"] < record["staleness_max"] for record in told[k:])
    assert all(record["versions"] > 1.5 for record in told[k:])
    assert [record["mismatch_max"] < 1e-4 for record in told[:2]] == [True, False]


async def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, _ = await learnt(open_run(tmp_path / "whole", describe(RECIPE), resume=False), 2)
    half = replace(RECIPE, steps=4)
    await learnt(open_run(tmp_path / "half", {}, resume=False), 2, half)
    resumed, _ = await learnt(open_run(tmp_path / "half", {}, resume=True), 2)
    assert same(whole, resumed)


class Mixed:
    """An attention memory whose first `split` tokens were computed by other weights: the naive twin of a switch in mid-answer."""

    def __init__(self) -> None:
        self.held: dict[Site, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, site: Site, x: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if site in self.held:
            k, v = (torch.cat((old, new), 1) for old, new in zip(self.held[site], (k, v), strict=True))
        self.held[site] = k, v
        k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], 2) for x in (k, v))
        weights = torch.einsum("bthk,bshk->bhts", q, k) / q.shape[-1] ** 0.5
        return torch.einsum("bhts,bshk->bthk", weights.softmax(-1), v)


@torch.no_grad()
def one_by_one(decoders: Sequence[Decoder], ids: Sequence[int]) -> list[float]:
    """Log-probability of each id after the first, token t read by decoder t over whatever keys those before it left."""
    memory, out = Mixed(), []
    for t, decoder in enumerate(decoders):
        hidden = decoder(torch.tensor([[ids[t]]]), torch.tensor([[t]]), memory).last
        out.append(float(decoder.logits(hidden)[0, 0].log_softmax(-1)[ids[t + 1]]))
    return out


async def test_tokens_after_the_switch_are_the_new_weights_over_the_old_keys() -> None:
    """Against attention by hand; and the prompt is not taken from the cache that the old weights filled."""
    new = toy_decoder()
    with torch.no_grad():
        for p in new.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    async with toy_lm() as lm:
        old, prompt = frozen_copy(lm.decoder), tuple(range(1, 12)) * 3
        stale = Stale(lm, 1, 8)
        with torch.no_grad():
            for p, q in zip(lm.decoder.parameters(), new.parameters(), strict=True):
                p.copy_(q)
        stale.learn(None, 0)  # type: ignore[arg-type]
        sampling = Sampling(max_tokens=8, seed=3, ignore_eos=True)
        first, again = await lm.complete(prompt, sampling), await lm.complete(prompt, sampling)
    assert first.versions == (0, 0, 0, 0, 1, 1, 1, 1)
    assert (first.ids, first.logprobs) == (again.ids, again.logprobs)
    assert first.ids is not None
    assert first.logprobs is not None
    n, ids = len(prompt), (*prompt, *first.ids)
    by = [old] * (n + 3) + [new] * 4  # token n + 3, the fourth sampled, is the first that the new weights read
    assert first.logprobs == pytest.approx(one_by_one(by, ids)[n - 1 :], abs=1e-4)
    assert first.logprobs[4:] != pytest.approx(one_by_one([new] * (n + 7), ids)[n + 3 :], abs=1e-3)


async def test_validation_sees_the_newest_weights() -> None:
    async with toy_lm() as lm:
        stale, seen = Stale(lm, 3, 6), []

        async def validate() -> float:
            seen.append((lm.engine.decoder is stale.copies[-1], lm.engine.before_step))
            return 0.0

        stale.learn(None, 0)  # type: ignore[arg-type]
        await stale.fresh(validate)()
        assert seen == [(True, None)]
        assert lm.engine.before_step is not None


async def test_nonsense_is_refused() -> None:
    async with toy_lm() as lm:
        with pytest.raises(UserError, match="k is -1"):
            Stale(lm, -1, 6)
