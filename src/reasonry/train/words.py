"""An objective in words: what a table for people says where `entry.spell` says what one would write in code.

Invariant: every value that decides anything is in the words, and a part this file does not know is spelt in code, never left out.
"""

from __future__ import annotations

from typing import Any

from reasonry.train import advantage as adv
from reasonry.train import aggregate as agg
from reasonry.train import credit, kl, ratio, surrogate
from reasonry.train.entry import Entry, spell
from reasonry.train.objective import Objective

BASELINES: dict[Any, str] = {
    adv.no_baseline: "R",
    adv.group_mean: "R − the group's mean",
    adv.leave_one_out: "R − the mean of the group's others",
    adv.batch_mean: "R − the batch's mean",
    adv.length_weighted: "R − the group's mean weighted by length",
    adv.given: "R − a baseline from outside the batch",
    adv.runner_up: "best − second best, on the best answer only",
}
ESTIMATORS: dict[Any, str] = {
    credit.step_values: "V(next step) − V(step), by continuations",
    adv.best_of_group: "1 on the group's best answer, 0 elsewhere",
    adv.best_and_worst: "+1 on the group's best answer, −1 on its worst",
}
RESHAPES: dict[Any, str] = {
    adv.whiten: "whitened over the batch's tokens",
    adv.sign: "its sign alone",
    adv.over_segments: "divided by the attempt's calls",
    adv.times_weight: "times the reward's own weight",
}
LEVELS: dict[Any, str] = {
    ratio.per_token: "each token's",
    ratio.per_trajectory: "the answer's, to the power 1/T",
    ratio.per_trajectory_token: "the answer's, to the power 1/T, with each token's gradient",
    ratio.whole_trajectory: "the whole answer's",
}
DENOMINATORS: dict[Any, str] = {
    ratio.sampler: "the sampler π_gen",
    ratio.recomputed: "the trainer's π_old",
    ratio.reference: "the reference π_ref",
    ratio.itself: "π_θ itself",
}
AGGREGATES: dict[Any, str] = {
    agg.token_mean: "mean over the batch's tokens",
    agg.trajectory_mean: "mean over an answer's tokens, then answers",
    agg.segment_mean: "mean over a call's tokens, then calls",
    agg.turn_mean: "mean over a turn's tokens, then turns, then answers",
    agg.trajectory_sum: "sum over an answer's tokens, mean over answers",
    agg.prompt_mean: "mean over a prompt's tokens, then prompts",
    agg.prompt_sum: "sum over what a prompt has, mean over prompts",
    agg.where_nonzero: "mean over the tokens that were picked",
}


def _known(words: dict[Any, str], x: Any) -> str | None:
    """The words for a function; `None` for values, which need not be hashable."""
    return words.get(x) if callable(x) and getattr(type(x), "__name__", "") == "function" else None


def advantage_words(o: Objective) -> str:
    """Estimator, baseline, normaliser and the steps after them."""
    match o.advantage:
        case adv.Outcome(baseline, normalise):
            text = (_known(BASELINES, baseline) or spell(baseline)) + _scale(normalise)
        case credit.ReturnToGo(gamma):
            text = "return-to-go" + ("" if gamma == 1 else f", γ = {gamma:g}")
        case credit.GAE(gamma, lam):
            text = f"GAE, γ = {gamma:g}, " + (f"λ = {lam.lam:g}" if isinstance(lam, credit.Fixed) else f"λ = 1 − 1/({lam.alpha:g}·T)")  # type: ignore[attr-defined]
        case credit.NodeValue():
            text = "value of the tree's node − the prompt's mean reward"
        case credit.ProcessLeaveOneOut():
            text = "return-to-go of process rewards, and the outcome, each − the mean of the group's others"
        case adv.Kalman():
            text = "(R − filtered mean) / filtered sd, a Kalman filter over the group"
        case adv.EachSignal():
            text = "each signal − its group's mean, over its group's sd; summed; whitened over the batch's answers"
        case other:
            text = _known(ESTIMATORS, other) or spell(other)
    for step in o.reshape:
        plan = f"plus {step.alpha:g}·|Â| on planning tokens" if isinstance(step, adv.PlanningBoost) else None
        text += ", " + (plan or _known(RESHAPES, step) or spell(step))
    return text


def _scale(normalise: Any) -> str:
    match normalise:
        case adv.GroupStd(correction=c):
            return ", over the group's sd" + ("" if c == 1 else " (biased)")
        case adv.BatchStd():
            return ", over the sd of the batch's advantages"
        case adv.BatchRewardStd():
            return ", over the sd of the batch's rewards"
        case adv.BatchWhiten():
            return ", whitened over the batch's answers"
        case adv.by_mean:
            return ", over the group's mean"
        case adv.unscaled:
            return ""
        case other:
            return f", {spell(other)}"


def ratio_words(o: Objective) -> str:
    """Level and denominator."""
    if o.ratio is None:
        return "none"
    level = _known(LEVELS, o.ratio.level) or spell(o.ratio.level)
    return f"{level}, over {_known(DENOMINATORS, o.ratio.over) or spell(o.ratio.over)}"


def surrogate_words(o: Objective) -> str:
    """What is maximised, with its bounds."""
    match o.surrogate:
        case surrogate.Reinforce():
            return "Â·log π"
        case surrogate.Weighted():
            return "r·Â"
        case surrogate.PPO(clip):
            return f"PPO's clip, r within {_bounds(clip)}"
        case surrogate.DualClip(clip, c):
            return f"PPO's clip, r within {_bounds(clip)}; at most {c:g}·|Â| lost on a bad token"
        case surrogate.CISPO(clip):
            low = "" if clip.low == 0 else f"at least {clip.low:g}, "
            return f"r·Â·log π, r held {low}at most {clip.high:g}, without gradient"
        case surrogate.SAPO(good, bad):
            return f"soft gate on r, τ = {good:g} where Â > 0, else {bad:g}"
        case surrogate.GMPO(clip):
            return f"geometric mean of r within {_bounds(clip)}, times Â"
        case surrogate.CPGD(clip):
            return f"log r·Â, r within {_bounds(clip)}"
        case surrogate.ClipCov(clip, share, low, high):
            return f"PPO's clip, r within {_bounds(clip)}; no gradient on {share:g} of the tokens with covariance in [{low:g}, {high:g}]"
        case surrogate.KLCov(share, beta):
            return f"r·Â; {beta:g}·|log r| off on the {share:g} of tokens with the highest covariance"
        case surrogate.MirrorDescent(tau):
            return f"Â·log π − {tau / 2:g}·(log r of the answer)²"
        case surrogate.NFT():
            return "log r on right answers, log of what is left on wrong ones"
        case surrogate.Preference(beta):
            return f"log σ of {beta:g} times the pair's margin"
        case other:
            return spell(other)


def aggregate_words(o: Objective) -> str:
    """How tokens become one number."""
    match o.aggregate:
        case agg.Constant(length):
            return f"sum over tokens / {length}, mean over answers"
        case agg.BySign(alpha):
            return f"{alpha:g} × mean where Â ≥ 0, {1 - alpha:g} × mean where Â < 0"
        case agg.ByInformative(inner):
            return f"{_known(AGGREGATES, inner) or spell(inner)}, times answers / answers that teach"
        case other:
            return _known(AGGREGATES, other) or spell(other)


def more_words(o: Objective) -> str:
    """KL, factors, further terms, entropy; empty for none."""
    said: list[str] = []
    match o.kl:
        case None:
            pass
        case kl.InReward(beta, estimator):
            said.append(f"KL {beta:g}·{estimator.__name__} in the reward")
        case kl.InLoss(beta, estimator):
            said.append(f"KL {beta:g}·{estimator.__name__} in the loss")
        case kl.InLossCorrected(beta, estimator):
            said.append(f"KL {beta:g}·r·{estimator.__name__} in the loss")
    for w in o.weights:
        match w:
            case ratio.TruncatedIS(cap):
                said.append(f"factor min(π_old/π_gen, {cap:g})")
            case ratio.OffPolicyMask(delta):
                said.append(f"bad answers left by more than {delta:g} nats a token are masked")
            case ratio.HarmfulMask(reach):
                said.append(f"tokens moved by more than {reach:g} where Â pushes are masked")
            case other:
                said.append(spell(other))
    said += [f"{e.coefficient:g} × {e.value.__name__}" for e in o.extras]
    return "; ".join(said + ([f"entropy bonus {o.entropy:g}"] if o.entropy else []))


def in_words(entry: Entry) -> dict[str, str]:
    """The objective's columns."""
    o = entry.objective
    return {
        "advantage": advantage_words(o),
        "ratio": ratio_words(o),
        "surrogate": surrogate_words(o),
        "aggregate": aggregate_words(o),
        "more": more_words(o),
    }


def source(entry: Entry) -> str:
    """Where it was published; how well its values are known."""
    return (", ".join(f"arXiv {a}" for a in entry.arxiv) or "no arXiv paper") + f" ({entry.known.value})"


def _bounds(clip: ratio.Clip) -> str:
    return f"[{clip.low:.6g}, {clip.high:.6g}]"
