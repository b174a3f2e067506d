"""The named objectives of the literature, each a value with its citation (table of arXiv 2509.08827 §3.2 and what came after it).

Values are the paper's; where a paper leaves one open, `differs` says what stands here. Definitions were checked against verl's
`core_algos.py`, TRL's `GRPOTrainer` and, where named, the authors' code.
"""

from __future__ import annotations

import math

from reasonry.train.advantage import (
    BatchRewardStd,
    BatchWhiten,
    EachSignal,
    GroupStd,
    Kalman,
    Outcome,
    by_mean,
    given,
    group_mean,
    leave_one_out,
    length_weighted,
    no_baseline,
    runner_up,
    unscaled,
    whiten,
)
from reasonry.train.aggregate import ByInformative, Constant, WherePaid, token_mean, trajectory_mean, trajectory_sum
from reasonry.train.credit import GAE, Fixed, LengthAdaptive, ProcessLeaveOneOut, ReturnToGo, step_values
from reasonry.train.entry import Entry, Known, Part
from reasonry.train.kl import InLoss, InReward, k2, k3
from reasonry.train.objective import Extra, Objective
from reasonry.train.ratio import (
    Clip,
    HarmfulMask,
    OffPolicyMask,
    Ratio,
    TruncatedIS,
    per_token,
    per_trajectory,
    per_trajectory_token,
    recomputed,
    sampler,
)
from reasonry.train.surrogate import (
    CISPO,
    CPGD,
    GMPO,
    NFT,
    PPO,
    SAPO,
    ClipCov,
    KLCov,
    MirrorDescent,
    Reinforce,
    Weighted,
    drift,
    nll,
    squared_log_ratio,
)

TOKEN = Ratio(per_token, recomputed)
EPS_02 = Clip(0.8, 1.2)
HIGHER = Clip(0.8, 1.28)
GROUP = Outcome(group_mean, GroupStd())
CENTRED = Outcome(group_mean, unscaled)

CRITIC = (
    Part("advantages, targets and clipped loss of a critic", "train/credit.py"),
    Part("a value head on a trunk of its own, learned beside the policy", "train/critic.py"),
)
PRE_TRAINING = Part("value pre-training on a frozen policy's returns (`After`)", "train/critic.py")
REFERENCE = Part("log-probabilities of a frozen reference policy", "train/update.py")
DYNAMIC_SAMPLING = Part("dynamic sampling: resample until every prompt of the batch has answers right and wrong", "train/dynamic.py")
OVERLONG = Part("soft overlong penalty in the reward", "train/reward.py")
ZERO_VARIANCE = Part("zero-variance filter (`informative`, `Tokens.keep`)", "train/tokens.py")

GRPO = Objective(advantage=GROUP, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=trajectory_mean, kl=InLoss(0.04, k3))
PLAIN_GRPO = Objective(advantage=GROUP, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=trajectory_mean)
"""GRPO without its KL term, as most who name GRPO now run it."""

VARIANTS: tuple[Entry, ...] = (
    Entry(
        "reinforce", "REINFORCE", (),
        Objective(advantage=Outcome(no_baseline, unscaled), ratio=None, surrogate=Reinforce(), aggregate=trajectory_sum),
        Known.PAPER, "(R − b)·log π(y|x), any baseline b (Williams 1992); b = 0 here.",
    ),
    Entry(
        "remax", "ReMax", ("2310.10505",),
        Objective(
            advantage=Outcome(given, unscaled), ratio=None, surrogate=Reinforce(), aggregate=trajectory_sum, kl=InReward(0.05),
        ),
        Known.LIBRARY, "R − R(greedy answer), KL in the reward.", ("β = 0.05 is ours (TRL's for RLOO).",),
        (Part("one greedy answer per prompt, judged, in Tokens.baseline", "train/greedy.py"), REFERENCE),
    ),
    Entry(
        "rloo", "RLOO", ("2402.14740",),
        Objective(
            advantage=Outcome(leave_one_out, unscaled), ratio=None, surrogate=Reinforce(), aggregate=trajectory_sum, kl=InReward(0.05),
        ),
        Known.LIBRARY, "R_i − Σ_{j≠i} R_j/(G−1) = G/(G−1)·(R_i − μ) on the whole answer's log π; KL (k1) inside R.",
        ("β = 0.05 is TRL's default. TRL's RLOOTrainer and OpenRLHF wrap it in a clipped ratio; the paper does not.",), (REFERENCE,),
    ),
    Entry(
        "reinforce++", "REINFORCE++", ("2501.03262",),
        Objective(
            advantage=ReturnToGo(), reshape=(whiten,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean, kl=InReward(0.01),
        ),
        Known.LIBRARY, "Return-to-go of (terminal R − β·k1), whitened over all tokens of the batch; PPO clip.",
        ("β = 0.01 is OpenRLHF's initial coefficient.",), (REFERENCE,),
    ),
    Entry(
        "reinforce++-baseline", "REINFORCE++-baseline", ("2501.03262",),
        Objective(
            advantage=CENTRED, reshape=(whiten,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean, kl=InLoss(0.001, k2),
        ),
        Known.LIBRARY, "R − μ of the group, then whitened over all tokens of the batch; KL as k2 in the loss.",
        ("β = 0.001 is ours.",), (REFERENCE,),
    ),
    Entry(
        "ppo", "PPO", ("1707.06347", "2203.02155"),
        Objective(advantage=GAE(), reshape=(whiten,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean, kl=InReward(0.02)),
        Known.LIBRARY, "GAE with γ = λ = 1 for language models, whitened; per-token KL k1 in the reward (β = .02, InstructGPT).",
        ("γ = 1, λ = .95 is the other common choice.",), (*CRITIC, REFERENCE),
    ),
    Entry(
        "orz", "Open-Reasoner-Zero", ("2503.24290",),
        Objective(advantage=GAE(), reshape=(whiten,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.PAPER, "PPO with exactly γ = λ = 1 and no KL.", (), CRITIC,
    ),
    Entry(
        "vc-ppo", "VC-PPO", ("2503.01491",),
        Objective(advantage=GAE(lam=Fixed(0.95)), reshape=(whiten,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.PAPER, "Decoupled GAE: λ = .95 for the policy, `value_targets(λ = 1)` for the critic.", (),
        (*CRITIC, PRE_TRAINING),
    ),
    Entry(
        "vapo", "VAPO", ("2504.05118",),
        Objective(
            advantage=GAE(lam=LengthAdaptive(0.05)), reshape=(whiten,), ratio=TOKEN, surrogate=PPO(HIGHER), aggregate=token_mean,
            extras=(Extra(0.1, nll, WherePaid()),),
        ),
        Known.PAPER, "λ_critic = 1, λ_policy = 1 − 1/(.05·T), clip .2/.28, token mean, +0.1·NLL on correct answers; 512 prompts × 16.",
        ("The formula for λ is negative below 20 tokens; 0 here.",),
        (*CRITIC, PRE_TRAINING),
    ),
    Entry(
        "vrpo", "VRPO", ("2508.03058",),
        Objective(advantage=GAE(), reshape=(whiten,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean, kl=InReward(0.02)),
        Known.RECALLED, "PPO whose value model is hardened against noisy rewards; the policy's objective is PPO's.",
        ("What the value model's further losses are exactly is our reading: see the file's docstring.",),
        (
            *CRITIC, REFERENCE,
            Part("auxiliary losses (entropy, perplexity) and an information bottleneck in the value model", "train/vrpo.py"),
        ),
    ),
    Entry(
        "prime", "PRIME", ("2502.01456",),
        Objective(advantage=ProcessLeaveOneOut(), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.PAPER, "Implicit process reward β_p·log π_φ/π_ref per token; leave-one-out on process and outcome returns.", (),
        (Part("an implicit process-reward model trained online on outcomes, in Tokens.process", "train/prm.py"),),
    ),
    Entry(
        "vineppo", "VinePPO", ("2410.01679",),
        Objective(advantage=step_values, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.PAPER, "V(s) by K Monte-Carlo continuations, Â of a step = V(s′) − V(s).", (),
        (
            Part("cutting answers into steps and K continuations from each, in Tokens.value and Tokens.step", "train/continuations.py"),
            Part("continuing any solver's attempt from any token", "train/replay.py"),
        ),
    ),
    Entry(
        "spo-segment", "Segment Policy Optimization", ("2505.23564",),
        Objective(advantage=step_values, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.PAPER, "Monte-Carlo advantages of segments, cut at low-probability tokens.",
        ("Shares its short name with single-stream SPO. The paper also masks high-probability tokens; not here.",),
        (Part("cut points and Monte-Carlo values of segments", "train/continuations.py"),),
    ),
    Entry(
        "spo-single-stream", "Single-stream Policy Optimization", ("2509.13232",),
        Objective(advantage=Outcome(given, BatchWhiten()), ratio=TOKEN, surrogate=PPO(HIGHER), aggregate=token_mean),
        Known.PAPER, "No group: a persistent, KL-adaptive value of each prompt as baseline, advantages normalised over the batch.",
        ("Shares its short name with segment SPO. Clip bounds are ours (DAPO's).",),
        (Part("the per-prompt value tracker, in Tokens.baseline", "train/prompt_value.py"),),
    ),
    Entry(
        "grpo", "GRPO", ("2402.03300",), GRPO,
        Known.PAPER, "(R − μ)/sd; min(rÂ, clip(r, 1 ± .2)Â); mean over an answer's tokens, then answers; β = .04 times k3 in the loss.",
        (
            "TRL's GRPOTrainer defaults to loss_type 'dapo' (mean over the batch's tokens), beta 0 and eps 1e-4 beside the sd.",
            "verl's 'token-mean' default is not this aggregation either; its vanilla loss also has a dual clip at c = 3.",
            "numpy's sd is biased, PyTorch's is not; the paper does not say. Unbiased here.",
        ),
        (REFERENCE,),
    ),
    Entry(
        "dr-grpo", "Dr.GRPO", ("2503.20783",),
        Objective(advantage=CENTRED, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=Constant(3000)),
        Known.CODE, "R − μ, no sd; sum over tokens over the number of answers and a constant length (3000 in the official run); no KL.",
        ("verl's 'seq-mean-token-sum-norm' divides by the padded width unless a factor is set, and not by the number of answers.",),
    ),
    Entry(
        "dapo", "DAPO", ("2503.14476",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=PPO(HIGHER), aggregate=token_mean),
        Known.CODE, "GRPO's advantage; ε .2/.28; mean over all tokens of the batch; no KL.",
        (
            "'dapo loss' in TRL means only the token mean, with ε .2/.2; ScaleRL calls its prompt mean DAPO's.",
            "The paper's formula divides by one prompt's tokens inside an expectation over prompts; its code by the batch's, as here.",
        ),
        (DYNAMIC_SAMPLING, OVERLONG),
    ),
    Entry(
        "lite-ppo", "LitePPO", ("2508.08221",),
        Objective(advantage=Outcome(group_mean, BatchRewardStd()), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.PAPER, "R − μ of the group over the sd of the whole batch's rewards; token mean; nothing else.",
        ("ScaleRL's batch sd is that of the centred advantages: smaller.",),
    ),
    Entry(
        "gpg", "GPG", ("2504.02546",),
        Objective(advantage=CENTRED, ratio=None, surrogate=Reinforce(), aggregate=ByInformative(token_mean)),
        Known.LIBRARY, "(R − μ)·log π, no ratio, no KL, scaled by batch / non-degenerate answers.",
        ("The authors' code counts answers with a non-zero score; ours those with a non-zero advantage, as the paper argues.",),
    ),
    Entry(
        "opo", "OPO", ("2505.23585",),
        Objective(advantage=Outcome(length_weighted, unscaled), ratio=None, surrogate=Reinforce(), aggregate=token_mean),
        Known.PAPER, "b = ΣT_i R_i / ΣT_i, strictly on-policy, no clip, no KL.", ("The baseline holds one's own reward: slightly biased.",),
    ),
    Entry(
        "gspo", "GSPO", ("2507.18071",),
        Objective(
            advantage=GROUP, ratio=Ratio(per_trajectory, recomputed), surrogate=PPO(Clip(1 - 3e-4, 1 + 4e-4)), aggregate=trajectory_mean,
        ),
        Known.PAPER, "s = (π_θ(y)/π_old(y))^{1/T}; min(sÂ, clip(s, 1 − 3e-4, 1 + 4e-4)Â); mean over answers.",
        ("ScaleRL needed 4e-3/5e-3; mem-agent's .1 hardly ever clips.",),
    ),
    Entry(
        "gspo-token", "GSPO-token", ("2507.18071",),
        Objective(
            advantage=GROUP, ratio=Ratio(per_trajectory_token, recomputed), surrogate=PPO(Clip(1 - 3e-4, 1 + 4e-4)),
            aggregate=trajectory_mean,
        ),
        Known.PAPER, "sg[s]·π_θ/sg[π_θ]: GSPO's value and gradient while Â is the same for an answer's tokens, else by token.",
    ),
    Entry(
        "cispo", "CISPO (MiniMax-M1)", ("2506.13585",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=CISPO(Clip(0.0, 5.0)), aggregate=token_mean),
        Known.PAPER, "sg(min(r, 1 + ε_high))·Â·log π, token mean, no effective lower bound; clipped tokens keep their gradient.",
        (
            "The paper does not print ε_high; 5 is ScaleRL's cap and TRL's advice.",
            "TRL reads epsilon_high as the absolute cap; verl clamps to [1 − low, 1 + high] on both sides; PipelineRL caps at 1 + ε.",
        ),
    ),
    Entry(
        "gmpo", "GMPO", ("2507.20673",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=GMPO(Clip(math.exp(-0.4), math.exp(0.4))), aggregate=trajectory_mean),
        Known.PAPER, "exp(mean_t clip(log r_t, ±.4))·Â, clipped on the side that Â pushes towards.",
    ),
    Entry(
        "sapo", "SAPO", ("2511.20347",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=SAPO(1.0, 1.05), aggregate=trajectory_mean),
        Known.LIBRARY, "4/τ·σ(τ(r − 1)) in place of the clip; τ = 1.0 for Â > 0, 1.05 otherwise.",
    ),
    Entry(
        "cpgd", "CPGD", ("2505.12504",),
        Objective(
            advantage=CENTRED, ratio=TOKEN, surrogate=CPGD(EPS_02), aggregate=token_mean, extras=(Extra(0.1, drift, token_mean),),
        ),
        Known.RECALLED, "min(log r·Â, clip(log r; log .8, log 1.2)·Â) − α·KL(π_old‖π_θ); log-ratio, no importance weight.",
        ("α = 0.1 is ours; the paper's value was not found.",),
    ),
    Entry(
        "clip-cov", "Clip-Cov", ("2505.22617",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=ClipCov(EPS_02), aggregate=token_mean),
        Known.LIBRARY, "No gradient on a random 2e-4 of the tokens whose (Â − mean)(log π − mean) is in [1, 5].", (),
        (Part("one random number per token, in Tokens.draw", "train/update.py"),),
    ),
    Entry(
        "kl-cov", "KL-Cov", ("2505.22617",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=KLCov(2e-4, 1.0), aggregate=token_mean),
        Known.LIBRARY, "A KL penalty |log r| on the 2e-4 of tokens with the highest covariance; the ratio is not clipped.",
    ),
    Entry(
        "krpo", "KRPO", ("2505.07527",),
        Objective(advantage=Kalman(), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=trajectory_mean, kl=InLoss(0.01, k3)),
        Known.CODE, "A Kalman filter (Q = 1e-5, noise 1e-2, start 0 ± 1) gives mean and variance in place of μ and sd; KL weight .01.",
        ("Depends on the order of a group's answers, and equal rewards do not give zero: both so in the official code.",), (REFERENCE,),
    ),
    Entry(
        "kimi-k1.5", "Kimi k1.5", ("2501.12599",),
        Objective(advantage=CENTRED, ratio=TOKEN, surrogate=MirrorDescent(tau=0.1), aggregate=trajectory_sum),
        Known.PAPER, "(R − μ)∇log π − (τ/2)∇(log π/π_old)² per answer: online mirror descent.", ("τ = 0.1 is ours; not published.",),
        (Part("length reward", "train/lengths.py"),),
    ),
    Entry(
        "nft", "NFT", ("2505.18116",),
        Objective(
            advantage=Outcome(group_mean, GroupStd(correction=0, eps=1e-12)), ratio=TOKEN, surrogate=NFT(), aggregate=token_mean,
        ),
        Known.CODE, "Right: −log r; wrong: −log[(1 − q r)/(1 − q)], q the prompt's pass rate, both times √((1 − q)/q).",
        ("The code sums tokens and divides by 1000 instead; its w may also be 1 − q or 1. Strictly on-policy it is GRPO's gradient.",),
    ),
    Entry(
        "upge", "Unified policy-gradient estimator", ("2509.04419",),
        Objective(advantage=CENTRED, ratio=TOKEN, surrogate=Weighted(), aggregate=token_mean),
        Known.PAPER, "mask·(1/π_ref)·Â·∇π: the denominator decides whether it is RL (π_old), REINFORCE (π_θ) or SFT (π_θ, Â = 1).",
        ("A frame rather than a recipe: the bare form with π_old; masks are `weights`.",),
    ),
    Entry(
        "tis", "Truncated importance sampling (FlashRL)", (),
        Objective(
            advantage=GROUP, ratio=TOKEN, surrogate=PPO(HIGHER), weights=(TruncatedIS(2.0),), aggregate=token_mean,
        ),
        Known.LIBRARY, "A factor min(π_old/π_gen, C) beside the ratio π_θ/π_old (F. Yao et al. 2025); here on DAPO's loss, C = 2.",
        ("TRL's default is another correction: a mask on the whole sequence's ratio ('sequence_mask', 3).",),
    ),
    Entry(
        "off-policy-mask", "DeepSeek-V3.2's off-policy mask", ("2512.02556",),
        Objective(
            advantage=GROUP, ratio=Ratio(per_token, sampler), surrogate=PPO(EPS_02), weights=(OffPolicyMask(0.5),),
            aggregate=trajectory_mean,
        ),
        Known.LIBRARY, "Drops answers with Â < 0 whose mean log(π_gen/π_θ) exceeds δ.", ("δ = 0.5 is TRL's advice; not published.",),
    ),
    Entry(
        "dppo", "DPPO (prime-rl)", (),
        Objective(
            advantage=CENTRED, ratio=Ratio(per_token, sampler), surrogate=Weighted(), weights=(HarmfulMask(0.2),), aggregate=token_mean,
            extras=(Extra(1e-3, squared_log_ratio, token_mean),),
        ),
        Known.LIBRARY, "Masks tokens whose probability moved more than .2 in the direction Â pushes; + 1e-3·(log r)².",
    ),
    Entry(
        "gdpo", "GDPO", ("2601.05242",),
        Objective(advantage=EachSignal(), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.LIBRARY, "Each reward normalised in the group, then summed, then normalised over the batch.", (),
        (Part("rewards as named signals", "train/reward.py"),),
    ),
    Entry(
        "maxrl", "MaxRL", ("2602.02710",),
        Objective(advantage=Outcome(group_mean, by_mean), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.LIBRARY, "(R − μ)/μ: the likelihood of success instead of its probability.", ("Ratio and aggregation are free.",),
    ),
    Entry(
        "pass-at-k", "Best minus second best (pass@k)", ("2503.19595",),
        Objective(advantage=Outcome(runner_up, GroupStd()), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=token_mean),
        Known.LIBRARY, "Only the best answer is credited, with best − second best, over the sd (verl's `grpo_passk`).",
    ),
)  # fmt: skip
