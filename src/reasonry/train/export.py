"""A catalogue entry as arguments of TRL's `GRPOConfig` or of verl, with a note for everything they cannot say.

Read off the objective's parts, not off its name, so that a changed objective exports as what it is. No note means: the same objective.
(Names as in TRL 1.16 and verl 0.9.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reasonry.train import advantage as adv
from reasonry.train import aggregate as agg
from reasonry.train import credit, kl, ratio, surrogate
from reasonry.train.entry import Entry, spell
from reasonry.train.objective import Objective


@dataclass
class Export:
    """Arguments for another library."""

    args: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What `args` do not say. Empty: the objectives are the same."""

    def cannot(self, what: str, x: Any) -> None:
        """Notes that a part has no counterpart."""
        self.notes.append(f"{what} {spell(x)} cannot be expressed")


def export_trl(entry: Entry) -> Export:
    """Arguments of TRL's `GRPOConfig`."""
    o, out = entry.objective, Export()
    _trl_advantage(o, out)
    _trl_loss(o, out)
    match o.kl:
        case None:
            out.args["beta"] = 0.0
        case kl.InLoss(beta, kl.k3):
            out.args |= {"beta": beta, "use_bias_correction_kl": False}
        case kl.InLossCorrected(beta, kl.k3):
            out.args |= {"beta": beta, "use_bias_correction_kl": True}
        case other:
            out.cannot("the KL term", other)
    out.args["vllm_importance_sampling_correction"] = False
    for w in o.weights:
        match w:
            case ratio.TruncatedIS(cap):
                out.args |= {
                    "vllm_importance_sampling_correction": True,
                    "vllm_importance_sampling_mode": "token_truncate",
                    "vllm_importance_sampling_clip_max": cap,
                }
            case ratio.OffPolicyMask(delta):
                out.args["off_policy_mask_threshold"] = delta
            case other:
                out.cannot("the factor", other)
    _rest(entry, out)
    return out


def _trl_advantage(o: Objective, out: Export) -> None:
    match o.advantage:
        case adv.Outcome(adv.group_mean, adv.GroupStd(correction=1, eps=eps)):
            out.args["scale_rewards"] = "group"
            if eps != 1e-4:
                out.notes.append(f"TRL adds 1e-4 to the sd, not {eps:g}")
        case adv.Outcome(adv.group_mean, adv.BatchRewardStd(correction=1, eps=eps)):
            out.args["scale_rewards"] = "batch"
            if eps != 1e-4:
                out.notes.append(f"TRL adds 1e-4 to the sd, not {eps:g}")
        case adv.Outcome(adv.group_mean, adv.unscaled):
            out.args["scale_rewards"] = "none"
        case adv.EachSignal(weights=None):
            out.args["multi_objective_aggregation"] = "normalize_then_sum"
        case other:
            out.cannot("the advantage", other)
    for step in o.reshape:
        out.cannot("the step after the advantage", step)


def _trl_loss(o: Objective, out: Export) -> None:
    if o.ratio is not None:
        levels: dict[Any, str] = {ratio.per_token: "token", ratio.per_trajectory: "sequence"}
        if o.ratio.level in levels:
            out.args["importance_sampling_level"] = levels[o.ratio.level]
        else:
            out.cannot("the ratio's level", o.ratio.level)
        if o.ratio.over is not ratio.recomputed:
            out.notes.append(f"TRL's ratio is over the trainer's own snapshot, not over {spell(o.ratio.over)}")
    match o.surrogate, o.aggregate:
        case (surrogate.PPO() | surrogate.DualClip()) as s, a:
            out.args |= {"epsilon": _round(1 - s.clip.low), "epsilon_high": _round(s.clip.high - 1)}
            if isinstance(s, surrogate.DualClip):
                out.args["delta"] = s.c
            _trl_aggregate(a, {agg.token_mean: "dapo", agg.trajectory_mean: "grpo"}, out)
        case surrogate.CISPO(clip), a:
            out.args["epsilon_high"] = clip.high
            if clip.low > 0:
                out.notes.append(f"TRL's cispo has no lower bound; {clip.low:g} is lost")
            _trl_aggregate(a, {agg.token_mean: "cispo"}, out)
        case surrogate.SAPO(good, bad), a:
            out.args |= {"sapo_temperature_pos": good, "sapo_temperature_neg": bad}
            _trl_aggregate(a, {agg.trajectory_mean: "sapo"}, out)
        case surrogate.Reinforce(), a:
            out.args["num_iterations"] = 1
            out.notes.append("REINFORCE is what TRL's clip is only while every batch gets a single optimiser step")
            _trl_aggregate(a, {agg.token_mean: "dapo", agg.trajectory_mean: "grpo"}, out)
        case other, _:
            out.cannot("the surrogate", other)


def _trl_aggregate(a: Any, names: dict[Any, str], out: Export) -> None:
    if isinstance(a, agg.Constant) and "grpo" in names.values():
        out.args |= {"loss_type": "dr_grpo", "max_completion_length": a.length}
    elif not isinstance(a, agg.Constant) and a in names:
        out.args["loss_type"] = names[a]
    else:
        out.cannot("the aggregation", a)


def export_verl(entry: Entry) -> Export:
    """Overrides for verl's PPO trainer."""
    o, out = entry.objective, Export()
    _verl_advantage(o, out)
    actor = "actor_rollout_ref.actor."
    match o.surrogate:
        case surrogate.PPO(clip) if o.ratio is not None and o.ratio.level is ratio.per_trajectory:
            out.args |= {actor + "policy_loss.loss_mode": "gspo"} | _verl_clip(clip)
            out.notes.append("verl's gspo takes GSPO-token's form: the same gradient while the advantage is the same within an answer")
        case surrogate.PPO(clip) if o.ratio is not None and o.ratio.level is ratio.per_trajectory_token:
            out.args |= {actor + "policy_loss.loss_mode": "gspo"} | _verl_clip(clip)
        case surrogate.PPO(clip):
            out.args |= {actor + "policy_loss.loss_mode": "vanilla"} | _verl_clip(clip)
            out.notes.append("verl's vanilla loss always has a dual clip (clip_ratio_c, 3 by default); raise it to switch it off")
        case surrogate.DualClip(clip, c):
            out.args |= {actor + "policy_loss.loss_mode": "vanilla", actor + "clip_ratio_c": c} | _verl_clip(clip)
        case surrogate.CISPO(clip):
            out.args |= {actor + "policy_loss.loss_mode": "cispo"} | _verl_clip(clip)
        case surrogate.GMPO():
            out.args[actor + "policy_loss.loss_mode"] = "geo_mean"
            out.notes.append("verl's geo_mean takes its clip bounds on the log ratio: set clip_ratio_low and _high to 0.4")
        case surrogate.SAPO():
            out.args[actor + "policy_loss.loss_mode"] = "sapo"
        case surrogate.ClipCov(clip, share, low, high):
            out.args |= {
                actor + "policy_loss.loss_mode": "clip_cov",
                actor + "policy_loss.clip_cov_ratio": share,
                actor + "policy_loss.clip_cov_lb": low,
                actor + "policy_loss.clip_cov_ub": high,
            } | _verl_clip(clip)
        case surrogate.KLCov(share, beta):
            out.args |= {
                actor + "policy_loss.loss_mode": "kl_cov",
                actor + "policy_loss.kl_cov_ratio": share,
                actor + "policy_loss.ppo_kl_coef": beta,
            }
        case surrogate.Reinforce() if isinstance(o.aggregate, agg.ByInformative):
            out.args[actor + "policy_loss.loss_mode"] = "gpg"
            out.notes.append("verl's gpg scales by answers with a non-zero score, not with a non-zero advantage")
        case surrogate.Reinforce():
            out.args |= {actor + "policy_loss.loss_mode": "vanilla", actor + "ppo_epochs": 1}
            out.notes.append("REINFORCE is what verl's clip is only while a batch gets a single optimiser step")
        case other:
            out.cannot("the surrogate", other)
    _verl_aggregate(o, out)
    _verl_kl(o, out)
    for w in o.weights:
        if isinstance(w, ratio.TruncatedIS):
            out.args |= {"algorithm.rollout_correction.rollout_is": "token", "algorithm.rollout_correction.rollout_is_threshold": w.cap}
        else:
            out.cannot("the factor", w)
    if o.ratio is not None and o.ratio.over is ratio.sampler:
        out.args["algorithm.rollout_correction.bypass_mode"] = True
    elif o.ratio is not None and o.ratio.over is not ratio.recomputed:
        out.cannot("the denominator", o.ratio.over)
    _rest(entry, out)
    return out


def _verl_advantage(o: Objective, out: Export) -> None:
    name = "algorithm.adv_estimator"
    reshape = o.reshape
    match o.advantage:
        case adv.Outcome(adv.group_mean, adv.unscaled) if reshape == (adv.whiten,):
            out.args[name], reshape = "reinforce_plus_plus_baseline", ()
        case credit.ReturnToGo(gamma) if reshape == (adv.whiten,):
            out.args |= {name: "reinforce_plus_plus", "algorithm.gamma": gamma}
            reshape = ()
        case credit.GAE(gamma, credit.Fixed(lam)) if reshape == (adv.whiten,):
            out.args |= {name: "gae", "algorithm.gamma": gamma, "algorithm.lam": lam}
            reshape = ()
        case adv.Outcome(adv.group_mean, adv.GroupStd(correction=1, eps=1e-6)):
            out.args |= {name: "grpo", "algorithm.norm_adv_by_std_in_grpo": True}
        case adv.Outcome(adv.group_mean, adv.unscaled):
            out.args |= {name: "grpo", "algorithm.norm_adv_by_std_in_grpo": False}
        case adv.Outcome(adv.leave_one_out, adv.unscaled):
            out.args[name] = "rloo"
        case adv.Outcome(adv.given, adv.unscaled):
            out.args[name] = "remax"
        case adv.Outcome(adv.length_weighted, adv.unscaled):
            out.args[name] = "opo"
        case adv.Outcome(adv.runner_up, adv.GroupStd()):
            out.args |= {name: "grpo_passk", "algorithm.norm_adv_by_std_in_grpo": True}
        case adv.EachSignal(weights=None):
            out.args[name] = "gdpo"
        case other:
            out.cannot("the advantage", other)
    for step in reshape:
        out.cannot("the step after the advantage", step)


def _verl_aggregate(o: Objective, out: Export) -> None:
    actor = "actor_rollout_ref.actor."
    names: dict[Any, str] = {
        agg.token_mean: "token-mean",
        agg.trajectory_mean: "seq-mean-token-mean",
        agg.trajectory_sum: "seq-mean-token-sum",
    }
    match o.aggregate:
        case agg.Constant(length):
            out.args |= {actor + "loss_agg_mode": "seq-mean-token-sum-norm", actor + "loss_scale_factor": length}
            out.notes.append("verl divides the sum by the constant only, not by the number of answers: scale the learning rate")
        case agg.ByInformative(agg.token_mean):
            out.args[actor + "loss_agg_mode"] = "token-mean"
        case a if not isinstance(a, agg.ByInformative | agg.BySign | agg.WherePaid) and a in names:
            out.args[actor + "loss_agg_mode"] = names[a]
        case other:
            out.cannot("the aggregation", other)


def _verl_kl(o: Objective, out: Export) -> None:
    actor = "actor_rollout_ref.actor."
    names: dict[Any, str] = {kl.k1: "k1", kl.k2: "k2", kl.k3: "k3"}
    match o.kl:
        case None:
            out.args |= {actor + "use_kl_loss": False, "algorithm.use_kl_in_reward": False}
        case kl.InLoss(beta, estimator):
            out.args |= {actor + "use_kl_loss": True, actor + "kl_loss_coef": beta, actor + "kl_loss_type": names[estimator]}
        case kl.InReward(beta, kl.k1):
            out.args |= {"algorithm.use_kl_in_reward": True, "algorithm.kl_penalty": "kl", "algorithm.kl_ctrl.kl_coef": beta}
        case other:
            out.cannot("the KL term", other)


def _verl_clip(clip: ratio.Clip) -> dict[str, Any]:
    actor = "actor_rollout_ref.actor."
    return {actor + "clip_ratio_low": _round(1 - clip.low), actor + "clip_ratio_high": _round(clip.high - 1)}


def _rest(entry: Entry, out: Export) -> None:
    o = entry.objective
    if o.entropy:
        out.notes.append(f"add the library's own entropy bonus with coefficient {o.entropy:g}")
    for extra in o.extras:
        out.cannot("the further term", extra)
    out.notes += [f"beside the objective: {p.what}" for p in entry.parts]


def _round(x: float) -> float:
    """An ε without the rounding error of 1 − low."""
    return round(x, 10)
