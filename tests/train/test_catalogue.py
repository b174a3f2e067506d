"""The catalogue: complete, true to its sources where they give numbers, runnable entry by entry, and exported as what it is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from objective_lab import gradient, ragged

import reasonry
from reasonry.core import UserError
from reasonry.train import advantage, aggregate
from reasonry.train.advantage import EachSignal, GroupStd, Outcome, group_mean
from reasonry.train.catalogue import CATALOGUE, find
from reasonry.train.credit import GAE, LengthAdaptive
from reasonry.train.entry import Known, row, spell
from reasonry.train.export import export_trl, export_verl
from reasonry.train.kl import InLoss, InLossCorrected, k2, k3
from reasonry.train.objective import batch_health, loss, score
from reasonry.train.ratio import Clip, Ratio, per_token, sampler
from reasonry.train.recipes import NOT_POLICY_GRADIENT, RECIPES
from reasonry.train.surrogate import CISPO, PPO, DualClip, Reinforce
from reasonry.train.taxonomy import TAXONOMY, State
from reasonry.train.variants import VARIANTS

SOURCE = Path(reasonry.__file__).parent

SURVEY_ROWS = """
reinforce remax rloo reinforce++ reinforce++-baseline ppo orz vc-ppo vapo prime vineppo grpo dr-grpo dapo lite-ppo gpg
opo gspo gmpo sapo cispo cpgd clip-cov kl-cov krpo kimi-k1.5 nft maxrl gdpo pass-at-k h1 hicra scalerl grpo-tcr hero
deepsearch delethink agentflow agentgym-rl sfr-deepresearch mem-agent agglm ace-rl webscale-rl c2s-scale
deepseek-v3.2-exp kimi-dev refrag dreamer4 rlhi promptcot2 rft
""".split()
DEFINED_BESIDE_THE_TABLE = "vrpo gspo-token upge tis spo-segment spo-single-stream off-policy-mask dppo".split()


def test_every_row_of_the_surveys_table_is_here():
    assert set(SURVEY_ROWS) | set(DEFINED_BESIDE_THE_TABLE) <= set(CATALOGUE)
    assert len(CATALOGUE) == len(VARIANTS) + len(RECIPES)
    assert not set(NOT_POLICY_GRADIENT) & set(CATALOGUE)


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_every_entry_runs_and_learns(slug: str):
    """Not a name without the thing: finite loss, finite gradient, not zero. (Best minus second best needs a single best.)"""
    tokens, now = ragged(0)
    o = find(slug).objective
    if slug == "pass-at-k":
        tokens = replace(tokens, reward=tokens.signals["short"])
    value, grad = gradient(o, tokens, now)
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()
    assert float(grad.abs().max()) > 0
    health = {**loss(o, score(o, tokens), now, torch.ones_like(now.detach()))[1], **batch_health(score(o, tokens))}
    assert all(v == v and abs(v) < 1e6 for v in health.values())


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_every_entry_raises_good_answers_and_lowers_bad_ones(slug: str):
    """On-policy, a step down the gradient makes the (only) right answer of two likelier relative to the wrong one."""
    tokens, _ = ragged(1, prompts=4, group=2, longest=1, segments=1)
    M = tokens.prompt.numel()
    right = torch.arange(M) % 2 == 0
    clean = replace(
        tokens, reward=right.double(), logp_sampler=tokens.logp_old, logp_ref=tokens.logp_old, value=torch.full((M,), 0.5).double(),
        process=torch.zeros(M).double(), baseline=torch.full((M,), 0.5).double(), planning=torch.zeros(M, dtype=torch.bool),
        signals={"right": right.double()}, draw=torch.ones(M).double() * 0.5,
    )  # fmt: skip
    if slug == "deepsearch":
        clean = replace(clean, value=clean.reward)
    o = find(slug).objective
    assert clean.logp_old is not None
    push = -gradient(o, clean, clean.logp_old.clone().requires_grad_())[1]
    one_sided = {"reinforce", "rft", "pass-at-k", "clip-cov"}
    assert float(push[right].min()) >= 0
    assert float(push[~right].max()) <= 0
    if slug not in one_sided:
        assert float(push[right].mean() - push[~right].mean()) > 0
        assert float(push[~right].mean()) < 0
    assert float(push[right].mean()) > 0


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_every_entry_says_where_its_values_come_from(slug: str):
    e = find(slug)
    assert e.slug == slug
    assert all(re.fullmatch(r"\d{4}\.\d{5}", a) for a in e.arxiv)
    assert len(e.says) > 20
    assert all(s.strip().endswith((".", ")")) for s in (e.says, *e.differs))
    if e.known in (Known.RECALLED, Known.DEFAULTS):
        assert e.differs, "what is not known must be said"


def test_parts_that_are_claimed_exist():
    for e in CATALOGUE.values():
        for part in e.parts:
            assert part.where is None or (SOURCE / part.where).is_file(), (e.slug, part)


def test_leaves_of_the_taxonomy_point_to_files_or_give_a_reason():
    for leaf in TAXONOMY:
        assert leaf.where
        if leaf.state is State.PART:
            assert (SOURCE / leaf.where).is_file(), leaf
        named = re.findall(r"[\w/]+/\w+\.py", leaf.where)
        assert all((SOURCE / path).is_file() for path in named), leaf
    assert len({(leaf.section, leaf.leaf) for leaf in TAXONOMY}) == len(TAXONOMY)
    assert {leaf.section[0] for leaf in TAXONOMY} == set("34567")


def test_a_misspelt_objective_is_refused_with_its_neighbours():
    with pytest.raises(UserError, match=r"did you mean .*dapo"):
        find("dappo")


def test_values_the_briefs_give_as_numbers():
    """One line for each number a brief states about an objective."""

    def clip_of(slug: str) -> tuple[float, float]:
        clip = find(slug).objective.surrogate.clip  # type: ignore[attr-defined]
        return clip.low, clip.high

    stated = {
        "grpo": (0.8, 1.2), "dapo": (0.8, 1.28), "vapo": (0.8, 1.28), "gspo": (1 - 3e-4, 1 + 4e-4), "hicra": (0.8, 1.28), 
        "grpo-tcr": (0.8, 1.28),
        "deepsearch": (0.8, 1.28), "delethink": (0.8, 1.26), "agentflow": (0.8, 1.3), "agentgym-rl": (0.8, 1.2), "mem-agent": (0.9, 1.1),
        "cispo": (0.0, 5.0), "scalerl": (0.0, 5.0), "grpo-scr": (1 - 3e-4, 1 + 4e-4),
    }  # fmt: skip
    for slug, bounds in stated.items():
        assert clip_of(slug) == pytest.approx(bounds), slug
    assert {s: find(s).objective.surrogate.c for s in ("grpo-tcr", "deepsearch", "delethink")} == {  # type: ignore[attr-defined]
        "grpo-tcr": 10, "deepsearch": 10, "delethink": 3,
    }  # fmt: skip
    assert find("grpo").objective.kl == InLoss(0.04, k3)
    assert find("agentflow").objective.kl == InLoss(0.001, k3)
    assert find("mem-agent").objective.kl == InLoss(0.1, k3)
    assert find("reinforce++-baseline").objective.kl is not None
    assert find("reinforce++-baseline").objective.kl.estimator is k2  # type: ignore[union-attr]
    without_kl = "dapo dr-grpo gspo hero ace-rl delethink grpo-tcr deepsearch orz".split()
    assert all(find(s).objective.kl is None for s in without_kl)
    vapo = find("vapo").objective
    assert isinstance(vapo.advantage, GAE)
    assert vapo.advantage.lam == LengthAdaptive(0.05)
    assert vapo.extras[0].coefficient == 0.1


def test_rows_spell_every_value():
    cells = row(find("delethink"))
    assert cells["surrogate"] == "DualClip(clip=Clip(low=0.8, high=1.26), c=3)"
    assert cells["aggregate"] == "trajectory_mean"
    assert cells["ratio"] == "per_token over recomputed"
    assert cells["more"].startswith("TruncatedIS(cap=2")
    assert spell(EachSignal()) == (
        "EachSignal(weights=None, within=GroupStd(correction=1, eps=1e-06), after=BatchWhiten(correction=1, eps=1e-06))"
    )
    assert all(all(isinstance(c, str) for c in row(e).values()) for e in CATALOGUE.values())


# Exports --------------------------------------------------------------------------------------------------------------------------------


def test_grpo_and_dapo_as_trl_arguments():
    grpo, dapo = export_trl(find("grpo")), export_trl(find("dapo"))
    assert grpo.args | {"loss_type": "grpo", "scale_rewards": "group", "epsilon": 0.2, "epsilon_high": 0.2, "beta": 0.04} == grpo.args
    assert dapo.args | {"loss_type": "dapo", "epsilon_high": 0.28, "beta": 0.0} == dapo.args
    assert any("dynamic sampling" in n for n in dapo.notes)


def test_cispo_means_different_numbers_in_the_two_libraries():
    """TRL: epsilon_high is the absolute cap. verl: one plus it, and a lower bound of one minus the other."""
    cispo = find("cispo")
    assert export_trl(cispo).args["epsilon_high"] == 5.0
    verl = export_verl(cispo).args
    assert verl["actor_rollout_ref.actor.clip_ratio_high"] == 4.0
    assert verl["actor_rollout_ref.actor.clip_ratio_low"] == 1.0


def test_what_cannot_be_said_is_noted():
    scale = export_trl(find("scalerl"))
    assert any("prompt_mean" in n for n in scale.notes)
    assert any("BatchStd" in n for n in scale.notes)
    assert any("sampler" in n for n in scale.notes)
    assert "loss_type" not in scale.args
    assert any("number of answers" in n for n in export_verl(find("dr-grpo")).notes)
    assert any("dual clip" in n for n in export_verl(find("grpo")).notes)
    assert not any("dual clip" in n for n in export_verl(find("grpo-tcr")).notes)


def test_an_export_follows_the_value_and_not_the_name():
    changed = replace(
        find("grpo"),
        objective=replace(
            find("grpo").objective, surrogate=DualClip(Clip(0.7, 1.4), 4.0), aggregate=aggregate.Constant(77), kl=InLossCorrected(0.5, k3)
        ),
    )
    args = export_trl(changed).args
    assert (args["epsilon"], args["epsilon_high"], args["delta"]) == (0.3, 0.4, 4.0)
    assert (args["loss_type"], args["max_completion_length"]) == ("dr_grpo", 77)
    assert (args["beta"], args["use_bias_correction_kl"]) == (0.5, True)


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_an_export_without_notes_holds_every_part(slug: str):
    """Parts no library has are noted for every entry that uses them."""
    o = find(slug).objective
    for export in (export_trl(find(slug)), export_verl(find(slug))):
        notes = " ".join(export.notes)
        if o.extras:
            assert "further term" in notes
        if o.aggregate in (aggregate.prompt_mean, aggregate.turn_mean, aggregate.segment_mean):
            assert "aggregation" in notes
        if o.advantage in (advantage.best_of_group, advantage.best_and_worst):
            assert "advantage" in notes
        for p in find(slug).parts:
            assert p.what in notes


def test_trl_s_grpo_by_hand_is_ours():
    """TRL's `grpo` written out on padded rectangles, with its ε beside the sd, equals the exported objective on ragged tokens."""
    tokens, now = ragged(3, segments=1)
    o = replace(find("grpo").objective, advantage=Outcome(group_mean, GroupStd(eps=1e-4)))
    M, T = tokens.prompt.numel(), int(tokens.lengths.max())
    place = tokens.by_trajectory.rank()

    def padded(x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(M, T).index_put((tokens.by_trajectory.of, place), x)

    assert tokens.logp_old is not None
    assert tokens.logp_ref is not None
    mask = padded(torch.ones_like(now.detach()))
    new, old, ref = padded(now), padded(tokens.logp_old), padded(tokens.logp_ref)
    grouped = tokens.reward.view(-1, 4)
    A = ((grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)).reshape(M, 1)
    r = torch.exp(new - old)
    per_token = -torch.min(r * A, torch.clamp(r, 0.8, 1.2) * A) + 0.04 * (torch.exp(ref - new) - (ref - new) - 1)
    wanted = ((per_token * mask).sum(-1) / mask.sum(-1)).mean()
    value, grad = gradient(o, tokens, now)
    torch.testing.assert_close(value, wanted.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(wanted, now)[0])


def test_style_guides_scalerl_is_the_catalogues():
    o = find("scalerl").objective
    assert o.ratio == Ratio(per_token, sampler)
    assert o.surrogate == CISPO(Clip(0.0, 5.0))
    assert o.aggregate is aggregate.prompt_mean
    assert o.kl is None
    assert not isinstance(o.surrogate, PPO | Reinforce)
