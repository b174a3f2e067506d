"""On the same ids, rewards and old log-probabilities our loss and its gradients are TRL's, wherever both define the objective.

TRL's side is its own `GRPOTrainer`: it pads, scores, normalises and computes the loss; only the sampled answers are given. The comparison
so goes from rewards to gradients. Where the two mean different things by a name or a setting, the case says it in our terms:

- TRL divides by sd + 1e-4, we (as verl) by sd + 1e-6: `GroupStd(eps=1e-4)` here.
- TRL's `scale_rewards="batch"` is the sd of rewards, `BatchRewardStd`; ScaleRL's is that of advantages, `BatchStd`.
- `delta` bounds the ratio from above before the minimum, for either sign of the advantage; above 1 + ε it only matters for bad tokens,
  where it is `DualClip`.
- TRL's CISPO bounds the weight from above only, and `epsilon_high` is that bound itself: `CISPO(Clip(0, bound))`.
- `bnpo` is the mean over the tokens of the micro-batch. With one micro-batch it is `token_mean`, as `dapo` always is.
- The KL term has the ratio as a factor (`InLossCorrected`) unless `use_bias_correction_kl` is off (`InLoss`).
- The entropy bonus is a mean over tokens whatever the policy term's average is; ours has the policy term's weights: the same for `dapo`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reasonry.core import Cost, Segment, Stop, Trajectory
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.load import POCKET
from reasonry.train.advantage import BatchRewardStd, GroupStd, Outcome, group_mean, unscaled
from reasonry.train.aggregate import Constant, token_mean, trajectory_mean
from reasonry.train.kl import InLoss, InLossCorrected, k3
from reasonry.train.objective import Objective, loss, score
from reasonry.train.ratio import Clip, Ratio, per_token, per_trajectory, recomputed
from reasonry.train.rows import chosen_and_entropy, lay_out, read, row_of
from reasonry.train.surrogate import CISPO, PPO, SAPO, DualClip
from reasonry.train.tokens import flatten

pytest.importorskip("trl", reason="the comparison needs trl")
pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")]

G, LONGEST, TEMPERATURE = 4, 12, 0.7
GROUP = Outcome(group_mean, GroupStd(eps=1e-4))
TOKEN = Ratio(per_token, recomputed)
PLAIN = Objective(advantage=GROUP, ratio=TOKEN, surrogate=PPO(Clip(0.8, 1.2)), aggregate=trajectory_mean)


@dataclass(frozen=True)
class Case:
    """The same objective twice."""

    name: str
    ours: Objective
    trl: dict[str, Any] = field(default_factory=dict)
    """Fields of `GRPOConfig`."""
    on_policy: bool = False
    """Whether π_old is π_θ, as in a batch's first update; TRL then has no `old_per_token_logps`."""


CASES = [
    Case("grpo, first update", PLAIN, {"loss_type": "grpo"}, on_policy=True),
    Case("grpo", PLAIN, {"loss_type": "grpo"}),
    Case("grpo, higher bound", replace(PLAIN, surrogate=PPO(Clip(0.8, 1.28))), {"loss_type": "grpo", "epsilon_high": 0.28}),
    Case("grpo, dual clip", replace(PLAIN, surrogate=DualClip(Clip(0.8, 1.2), 1.3)), {"loss_type": "grpo", "delta": 1.3}),
    Case("grpo, KL", replace(PLAIN, kl=InLoss(0.04, k3)), {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False}),
    Case("grpo, corrected KL", replace(PLAIN, kl=InLossCorrected(0.04, k3)), {"loss_type": "grpo", "beta": 0.04}),
    Case("grpo, batch sd", replace(PLAIN, advantage=Outcome(group_mean, BatchRewardStd(eps=1e-4))),
         {"loss_type": "grpo", "scale_rewards": "batch"}),
    Case("grpo, no sd", replace(PLAIN, advantage=Outcome(group_mean, unscaled)), {"loss_type": "grpo", "scale_rewards": "none"}),
    Case("gspo", replace(PLAIN, ratio=Ratio(per_trajectory, recomputed), surrogate=PPO(Clip(0.97, 1.04))),
         {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.03, "epsilon_high": 0.04}),
    Case("sapo", replace(PLAIN, surrogate=SAPO(1.0, 1.05)), {"loss_type": "sapo"}),
    Case("dapo", replace(PLAIN, surrogate=PPO(Clip(0.8, 1.28)), aggregate=token_mean), {"loss_type": "dapo", "epsilon_high": 0.28}),
    Case("dapo, entropy bonus", replace(PLAIN, aggregate=token_mean, entropy=0.01), {"loss_type": "dapo", "entropy_coef": 0.01}),
    Case("bnpo", replace(PLAIN, aggregate=token_mean), {"loss_type": "bnpo"}),
    Case("dr_grpo", replace(PLAIN, advantage=Outcome(group_mean, unscaled), aggregate=Constant(LONGEST)),
         {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    Case("cispo", replace(PLAIN, surrogate=CISPO(Clip(0.0, 1.1)), aggregate=token_mean), {"loss_type": "cispo", "epsilon_high": 1.1}),
]  # fmt: skip


@dataclass(frozen=True)
class Sampled:
    """Three prompts with four answers each, of unlike lengths; one prompt's answers all got the same reward."""

    prompts: list[list[int]]
    answers: list[list[int]]
    rewards: list[float]
    drift: list[Tensor]
    """log π_old − log π_θ of each answer's tokens."""
    away: list[Tensor]
    """log π_ref − log π_θ."""


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    g = torch.Generator().manual_seed(0)

    def ids(n: int) -> list[int]:
        return torch.randint(3, 500, (n,), generator=g).tolist()

    prompts = [p for n in (5, 9, 2) for p in [ids(n)] * G]
    answers = [ids(n) for n in (3, 12, 1, 7, 4, 4, 9, 2, 12, 5, 6, 1)]
    rewards = [1.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.25, 0.0]
    drift, away = ([torch.randn(len(a), generator=g) * size for a in answers] for size in (0.2, 0.4))
    return Sampled(prompts, answers, rewards, drift, away)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_loss_and_gradients_are_those_of_trl(case: Case, sampled: Sampled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, their_gradients = trl_loss(case, sampled, tmp_path, monkeypatch)
    ours, our_gradients, health = our_loss(case, sampled)
    assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5)
    assert our_gradients.keys() == their_gradients.keys()
    scale = max(float(g.abs().max()) for g in their_gradients.values())
    assert scale > 1e-3
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-3, atol=1e-5 * scale, msg=lambda m, name=name: f"{name}: {m}")
    if not case.on_policy and "sapo" not in case.name:
        assert health["clip_share"] > 0, "the case does not reach its bounds"


def our_loss(case: Case, sampled: Sampled) -> tuple[float, dict[str, Tensor], dict[str, float]]:
    """The loss, its gradient by parameter, its health; from trajectories, as the trainer has them."""
    decoder = load_decoder(POCKET / "pocket-1m")
    tries = [
        Trajectory(
            f"p{i // G}",
            (Segment(tuple(p), tuple(a), "", (0.0,) * len(a), Stop.EOS, Cost()),),
        )
        for i, (p, a) in enumerate(zip(sampled.prompts, sampled.answers, strict=True))
    ]
    layout = lay_out([row_of(s) for t in tries for s in t.segments], torch.device("cpu"))
    logp, entropy = read(decoder, layout, TEMPERATURE, chosen_and_entropy)
    now = logp.detach()
    tokens = replace(
        flatten(tries, sampled.rewards),
        logp_old=now if case.on_policy else now + torch.cat(sampled.drift),
        logp_ref=now + torch.cat(sampled.away),
    )
    value, health = loss(case.ours, score(case.ours, tokens), logp, entropy)
    value.backward()
    return float(value.detach()), {name: p.grad for name, p in decoder.named_parameters() if p.grad is not None}, health


def trl_loss(case: Case, sampled: Sampled, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[float, dict[str, Tensor]]:
    """The loss and its gradient by parameter, names without the leading `model.`."""
    trainer = grpo_trainer(case, sampled, folder, monkeypatch)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    inputs = trainer._generate_and_score_completions([{"prompt": str(i), "paid": r} for i, r in enumerate(sampled.rewards)])
    own = trainer._get_per_token_logps_and_entropies(
        trainer.model,
        torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
        torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
        inputs["completion_ids"].shape[1],
    )[0].detach()

    def beside(shifts: list[Tensor]) -> Tensor:
        return torch.stack([row + torch.cat([d, d.new_zeros(len(row) - len(d))]) for row, d in zip(own, shifts, strict=True)])

    if not case.on_policy:
        inputs["old_per_token_logps"] = beside(sampled.drift)
    inputs["ref_per_token_logps"] = beside(sampled.away)
    trainer.model.zero_grad()
    value = trainer._compute_loss(trainer.model, inputs)
    value.backward()
    return value.item(), {n.removeprefix("model."): p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}


def grpo_trainer(case: Case, sampled: Sampled, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """TRL's trainer on the same checkpoint; the given answers stand for what it would have sampled."""
    import datasets
    import transformers
    import transformers.integrations

    for module in (transformers, transformers.integrations):  # no tracker is used; one that is installed in part must not break the import
        monkeypatch.setattr(module, "is_trackio_available", lambda: False)
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    def given(prompts: list[str], trainer: Any) -> dict[str, list[list[Any]]]:
        at = [int(p) for p in prompts]
        answers = [sampled.answers[i] for i in at]
        return {"prompt_ids": [sampled.prompts[i] for i in at], "completion_ids": answers, "logprobs": [[0.0] * len(a) for a in answers]}

    def paid(paid: list[float], **_: Any) -> list[float]:
        return paid

    checkpoint = str(POCKET / "pocket-1m")
    settings: dict[str, Any] = {"beta": 0.0, "epsilon": 0.2} | case.trl
    config = GRPOConfig(
        str(folder), per_device_train_batch_size=len(sampled.answers), num_generations=G, max_completion_length=LONGEST,
        temperature=TEMPERATURE, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", disable_tqdm=True,
        **settings,
    )  # fmt: skip
    rewards: Any = [paid]
    return GRPOTrainer(
        transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32), rewards, config,
        datasets.Dataset.from_list([{"prompt": "0", "paid": 0.0}] * len(sampled.answers)),
        processing_class=transformers.AutoTokenizer.from_pretrained(checkpoint), rollout_func=given,
    )  # fmt: skip
