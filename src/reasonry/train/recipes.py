"""The objectives of the papers this project holds: every training recipe among them that is policy-gradient, or supervised training
that can be written as one. What else a recipe needs is named in `parts`, and whether it is built."""

from __future__ import annotations

from dataclasses import replace

from reasonry.train.advantage import (
    BatchStd,
    Outcome,
    PlanningBoost,
    best_and_worst,
    best_of_group,
    group_mean,
    over_segments,
    sign,
    times_weight,
)
from reasonry.train.aggregate import (
    BySign,
    Constant,
    prompt_mean,
    prompt_sum,
    segment_mean,
    token_mean,
    trajectory_mean,
    trajectory_sum,
    turn_mean,
    where_nonzero,
)
from reasonry.train.credit import GAE, Fixed, NodeValue
from reasonry.train.entry import Entry, Known, Part
from reasonry.train.kl import InLoss, k2, k3
from reasonry.train.objective import Objective
from reasonry.train.ratio import Clip, Ratio, TruncatedIS, per_token, per_trajectory, recomputed, reference, sampler
from reasonry.train.surrogate import CISPO, PPO, DualClip, MirrorDescent, Preference, Reinforce
from reasonry.train.variants import CENTRED, CRITIC, EPS_02, GROUP, HIGHER, OVERLONG, PLAIN_GRPO, REFERENCE, TOKEN, ZERO_VARIANCE

FLOW_GRPO = Objective(advantage=GROUP, ratio=TOKEN, surrogate=PPO(Clip(0.8, 1.3)), aggregate=turn_mean, kl=InLoss(0.001, k3))
RFT = Objective(advantage=best_of_group, ratio=None, surrogate=Reinforce(), aggregate=where_nonzero)
PAIRS = Objective(advantage=best_and_worst, ratio=Ratio(per_token, reference), surrogate=Preference(0.1), aggregate=prompt_sum)
TURNS = Part("which turns are trained, by their role (`Recipe.trained`)", "train/recipe.py")
PLANNER = Part("the planner's own loop of turns and tools", None)
UNSTATED = "The source says only GRPO; clip .2 and the mean over answers are the GRPO paper's."

RECIPES: tuple[Entry, ...] = (
    Entry(
        "h1", "h1: length curriculum", ("2510.07312",),
        Objective(advantage=CENTRED, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=Constant(1024)),
        Known.PAPER, "Dr.GRPO: R − μ, token clip, sum over tokens over a constant (maximum length); stages of growing length.",
        ("Clip .2 is inferred. The constant is that of a stage: 1024 is ours, and a stage that samples longer sets its own on purpose.",),
        (Part("chained problems", "synth/chain.py"), Part("stages with gates", "train/curriculum.py")),
    ),
    Entry(
        "hicra", "HICRA", ("2509.03646",),
        Objective(
            advantage=CENTRED, reshape=(PlanningBoost(0.2),), ratio=TOKEN, surrogate=PPO(HIGHER), aggregate=trajectory_mean,
        ),
        Known.PAPER, "Â + .2·|Â| on planning tokens; clip .2/.28.",
        (
            "The aggregation is not stated (mean over answers here); mean-only advantage as printed, the sd is an option.",
            "Third-party notes say the authors' code marks high-entropy tokens of long right answers instead; not verified.",
        ),
        (Part("strategic grams", "probe/strategic_grams.py"), Part("their token mask, in Tokens.planning", "train/planning.py"),),
    ),
    Entry(
        "scalerl", "ScaleRL", ("2510.13786",),
        Objective(
            advantage=Outcome(group_mean, BatchStd()), ratio=Ratio(per_token, sampler), surrogate=CISPO(Clip(0.0, 5.0)),
            aggregate=prompt_mean,
        ),
        Known.PAPER, "sg(min(π_θ/π_gen, ε_max))·Â·log π, Â = (R − μ)/sd of the batch's advantages; prompt average; ε_max 4, 5, 8 equal.",
        (
            "The paper says 'as in DAPO' of its prompt average; libraries' dapo is the batch's token mean.",
            "TRL's scale_rewards='batch' is the sd of rewards, not of advantages.",
        ),
        (
            ZERO_VARIANCE, Part("no-positive-resampling (per-prompt history)", "train/curriculum.py"),
            Part("fp32 logits on both sides (`fp32_head`; `reasonry train` has all weights in fp32)", "lm/decoder.py"),
            Part("sampling one batch ahead of learning (`Recipe.lag`)", "train/loop.py"),
            Part("forced interruption of long thinking", "solve/interrupted.py"),
            Part("sampling eight batches ahead, on machines of its own (PipelineRL-k)", "train/pipeline/controller.py"),
        ),
    ),
    Entry(
        "grpo-tcr", "GRPO-TCR (DemyAgent)", ("2510.11701",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=DualClip(HIGHER, 10.0), aggregate=token_mean),
        Known.CODE, "Token mean, clip .2/.28, dual clip 10, no KL.", ("DemyAgent-4B uses ε_high = .315.",),
        (OVERLONG, Part("tool-aware reward", "train/tool_reward.py")),
    ),
    Entry(
        "grpo-t", "GRPO-T (its baseline)", ("2510.11701",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=DualClip(EPS_02, 10.0), aggregate=token_mean, kl=InLoss(0.001, k3)),
        Known.CODE, "Token mean, clip .2/.2, KL on.", ("The KL coefficient was not noted; .001 is verl's default.",), (REFERENCE,),
    ),
    Entry(
        "grpo-scr", "GRPO-SCR (its sequence-level arm)", ("2510.11701",),
        Objective(
            advantage=GROUP, ratio=Ratio(per_trajectory, recomputed), surrogate=PPO(Clip(1 - 3e-4, 1 + 4e-4)), aggregate=trajectory_mean,
        ),
        Known.PAPER, "Length-normalised sequence ratio, clip 3e-4/4e-4, mean over answers, no KL.", (), (OVERLONG,),
    ),
    Entry(
        "hero", "HERO", ("2510.07242",),
        Objective(advantage=CENTRED, reshape=(times_weight,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=trajectory_mean),
        Known.PAPER, "GRPO on w·r̂: scores min–max mapped inside (prompt, verdict), w grows with their sd.",
        ("A group sd cancels w exactly; so w is on the advantage and the advantage is mean-only. The paper does not say.",),
        (
            Part("strata, variance weight and its running mean", "train/hero.py"), Part("a reward model", "train/reward_fit.py"),
        ),
    ),
    Entry(
        "deepsearch", "DeepSearch (Tree-GRPO)", ("2509.25454",),
        Objective(advantage=NodeValue(), ratio=TOKEN, surrogate=DualClip(HIGHER, 10.0), aggregate=token_mean),
        Known.CODE, "q(s) − μ of terminals per node, mean-only, tanh on inner q; clip .2/.28, dual clip 10; token mean, no KL.",
        ("With q(s) := q of the end it is DAPO with a mean-only advantage.",),
        (
            Part("tree search with constrained backup", "solve/deepsearch.py"),
            Part("its nodes, in Tokens.value and Tokens.step", "train/nodes.py"),
            Part("verified answers kept per prompt, for replay", "train/solutions.py"),
            Part("hard problems in rounds", "train/hard.py"), OVERLONG,
        ),
    ),
    Entry(
        "delethink", "Delethink (Markovian Thinker)", ("2510.06557",),
        Objective(
            advantage=GROUP, ratio=TOKEN, surrogate=DualClip(Clip(0.8, 1.26), 3.0), weights=(TruncatedIS(2.0),), aggregate=trajectory_mean,
        ),
        Known.CODE, "GRPO over whole traces: chunks are scored on their own prompts, a trace is normalised by its length; TIS cap 2.",
        (
            "The official trainer deletes surplus rows so that their number divides; none are deleted here.",
            "A dual clip at c = 3 is in the code, not in the paper.",
        ),
        (Part("chunked rollout", "solve/delethink.py"),),
    ),
    Entry(
        "agentflow", "AgentFlow: Flow-GRPO as printed", ("2510.05592",), FLOW_GRPO,
        Known.PAPER, "Final reward broadcast to all turns; mean over tokens, then turns, then rollouts; KL .001.",
        ("Clip .2/.3 is the code's; the paper's ε is one number.",), (TURNS, PLANNER, REFERENCE),
    ),
    Entry(
        "agentflow-code", "AgentFlow: Flow-GRPO as run", ("2510.05592",), replace(FLOW_GRPO, aggregate=token_mean),
        Known.CODE, "The code never sets verl's aggregation, so its default, the batch's token mean, applies.", (),
        (TURNS, PLANNER, REFERENCE),
    ),
    Entry(
        "agentgym-rl", "AgentGym-RL, ScalingInter-RL", ("2509.08755",),
        Objective(
            advantage=GROUP, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=trajectory_mean, kl=InLoss(0.001, k3), entropy=0.001,
        ),
        Known.CODE, "GRPO by default (PPO, RLOO, REINFORCE++ optional), clip .2, KL k3 .001, entropy .001; turns 10 → 20 → 30.", (),
        (Part("stages by interaction turns", "train/curriculum.py"), REFERENCE),
    ),
    Entry(
        "sfr-deepresearch", "SFR-DeepResearch", ("2509.06283",),
        Objective(advantage=GROUP, reshape=(over_segments,), ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=segment_mean),
        Known.RECALLED, "Â = (R − μ)/(sd·T_i), T_i the steps of the rollout; 'REINFORCE variant' with a clipped ratio per step sample.",
        ("Ratio form, clip and aggregation were not found; with the mean over step samples each rollout weighs the same.",),
        (Part("trajectory filter and positive:negative ratio", None), Part("partial rollouts from stored states", None)),
    ),
    Entry(
        "mem-agent", "mem-agent", (),
        Objective(
            advantage=GROUP, ratio=Ratio(per_trajectory, recomputed), surrogate=PPO(Clip(0.9, 1.1)), aggregate=trajectory_mean,
            kl=InLoss(0.1, k3),
        ),
        Known.CODE, "GSPO over action tokens (OpenRLHF group_norm), ε .1, k3 with initial coefficient .1, n = 4.",
        ("ε = .1 on a length-normalised ratio clips almost nothing; OpenRLHF adapts the KL coefficient (target .02), ours is fixed.",),
        (Part("per-turn shaped rewards", None), REFERENCE),
    ),
    Entry(
        "agglm", "AggLM", ("2509.06870",), replace(PLAIN_GRPO, kl=InLoss(0.001, k3)),
        Known.DEFAULTS, "GRPO, group 8, KL .001, on a mixture of easy and hard sets of candidates.", (UNSTATED,),
        (Part("candidate sets, easy and hard", "synth/aggregation.py"), REFERENCE),
    ),
    Entry(
        "ace-rl", "ACE-RL", ("2509.04903",), PLAIN_GRPO,
        Known.DEFAULTS, "GRPO on ½(checklist mean + length band), no reference KL.", (UNSTATED,),
        (Part("checklist verifier", None), Part("length-band reward", None)),
    ),
    Entry(
        "webscale-rl", "Webscale-RL", ("2510.06499",), PLAIN_GRPO,
        Known.DEFAULTS, "GRPO in verl, 16 answers a prompt, binary judge.", (UNSTATED,), (Part("the data pipeline", None),),
    ),
    Entry(
        "c2s-scale", "C2S-Scale", (), replace(PLAIN_GRPO, kl=InLoss(0.001, k3)),
        Known.DEFAULTS, "GRPO, (R − μ)/sd, KL to the supervised model.", (UNSTATED, "The KL coefficient was not found; .001 is ours."),
        (Part("gene-programme rewards", None), REFERENCE),
    ),
    Entry(
        "deepseek-v3.2-exp", "DeepSeek-V3.2-Exp", ("2512.02556",), PLAIN_GRPO,
        Known.DEFAULTS, "One mixed GRPO stage; outcome, length and language rewards.",
        (UNSTATED, "The later V3.2 report adds a corrected KL and the mask of `off-policy-mask`."),
        (Part("length and language rewards", None),),
    ),
    Entry(
        "kimi-dev", "Kimi-Dev", ("2509.23045",),
        Objective(advantage=CENTRED, ratio=TOKEN, surrogate=MirrorDescent(tau=0.1), aggregate=trajectory_sum),
        Known.RECALLED, "Kimi k1.5's update on execution outcomes.", ("τ = 0.1 is ours; not published.",),
        (
            Part("execution rewards for patches and tests", None), Part("zero-pass filter (`ever_passed`)", "train/curriculum.py"),
            Part("its curriculum of re-admitted prompts", None),
        ),
    ),
    Entry(
        "refrag", "REFRAG's chunk policy", ("2509.01092",),
        Objective(advantage=GROUP, ratio=TOKEN, surrogate=PPO(EPS_02), aggregate=trajectory_mean),
        Known.PAPER, "Actions are chunk choices, not tokens: −log perplexity as reward, group advantage, clip per pick, mean over picks.",
        ("A pick is a 'token' of `Tokens` here: anything with a log-probability is an action.",),
        (Part("the chunk policy (Plackett–Luce)", None),),
    ),
    Entry(
        "dreamer4", "Dreamer 4 (PMPO)", ("2509.24527", "2410.04166"),
        Objective(
            advantage=GAE(gamma=0.997, lam=Fixed(0.95)), reshape=(sign,), ratio=None, surrogate=Reinforce(), aggregate=BySign(0.5),
            kl=InLoss(0.3, k2),
        ),
        Known.PAPER, "Only the sign of λ-return − V; means over good and bad sets separately, α = .5; .3·KL(π‖behaviour prior).",
        (
            "The paper takes the KL in closed form over all actions; on sampled ones it is k2, whose gradient is the same in expectation.",
            "The KL takes the same weights α/|D±| here, the paper its own mean. λ = .95 is the Dreamer line's.",
        ),
        (*CRITIC, Part("imagined rollouts of a world model", None), REFERENCE),
    ),
    Entry(
        "rlhi", "RLHI", ("2509.25137",), PAIRS,
        Known.PAPER, "Persona-conditioned DPO on rewrites, or on the best and worst of N by a reward model.",
        ("β = 0.1 is DPO's usual value; not found in the paper.",), (Part("turn mining, personas, rewrites", None), REFERENCE),
    ),
    Entry(
        "promptcot2", "PromptCoT 2.0 self-play", ("2509.19894",), PAIRS,
        Known.PAPER, "Best against worst of 8 on synthesised problems, DPO (self-play); SFT on traces otherwise.",
        ("β = 0.1 is DPO's usual value.",), (Part("the prompt synthesiser (EM)", None), REFERENCE),
    ),
    Entry(
        "rft", "Rejection fine-tuning (Moloch's Bargain)", ("2510.06105",), RFT,
        Known.PAPER, "Supervised training on the best of a group; no gradient of the reward.",
        ("Text feedback adds predictions of the audience's thoughts as a further supervised term: not built.",),
        (Part("audience models", None),),
    ),
)  # fmt: skip

NOT_POLICY_GRADIENT: dict[str, str] = {
    **dict.fromkeys(
        ("trm", "dr-llm", "rsd", "learn2pd", "parathinker", "inoculation-prompting", "ahn", "salt"), "supervised training only"
    ),
    **dict.fromkeys(("ace", "tumix", "agent-s3", "code-world-models", "vgb", "elastic-cache"), "changes no weights"),
}
"""Papers whose method has no row here, and why."""
