"""TRL's GRPOTrainer trains a transformers model on what our solver samples on our engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from toy_lm import Digits, toy_decoder, toy_lm

from reasonry.core import Budget, Cost, Problem, Segment, Stop, Trajectory, UserError
from reasonry.lm.load import load_lm, model_folder
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.tasks import load_task
from reasonry.train.trl_bridge import Rollouts, _row, rows, take_weights, verdict


def segment(context: tuple[int, ...], ids: tuple[int, ...], **more: Any) -> Segment:
    return Segment(context, ids, "", tuple(-float(i) for i in ids), Stop.EOS, Cost(), **more)


def test_a_growing_attempt_is_one_row() -> None:
    """Two turns with a tool's tokens between them: those carry no loss, nor do forced tokens."""
    t = Trajectory("p", (segment((1, 2), (3, 4)), segment((1, 2, 3, 4, 9, 9), (5, 6), mask=(False, True))))
    assert _row(t) == ([1, 2], [3, 4, 9, 9, 5, 6], [-3.0, -4.0, 0.0, 0.0, -5.0, -6.0], [1, 1, 0, 0, 0, 1])


def test_calls_with_contexts_of_their_own_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="role 'vote' that does not go on"):
        _row(Trajectory("p", (segment((1, 2), (3, 4)), segment((1, 2), (5,), role="vote"))))


def trainer(model: Any, temperature: float = 1.0) -> Any:
    """As much of a trainer as is looked at."""
    accelerator = SimpleNamespace(unwrap_model=lambda m: m, process_index=0)
    return SimpleNamespace(
        args=SimpleNamespace(temperature=temperature), state=SimpleNamespace(global_step=0), accelerator=accelerator, model=model
    )


class Wrapped(torch.nn.Module):
    """A decoder by transformers' names."""

    def __init__(self) -> None:
        super().__init__()
        self.model = toy_decoder(seed=5)


async def test_a_failed_attempt_is_a_row_without_trained_tokens_and_without_a_score() -> None:
    """And called from inside a running event loop, as in a notebook."""

    class Half:
        name = "half"

        async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
            if problem.answer == "1":
                raise ConnectionError("no line")
            return await single(problem, budget, seed)

    task = Digits()
    async with toy_lm() as lm:
        single = build_solver("single?max_tokens=2", lm, task)
        problems = task.problems("train", 3)
        out = Rollouts(lm, Half(), task, problems)([p.prompt for p in problems], trainer(Wrapped()))
    assert [sum(mask) for mask in out["env_mask"]][1] == 0
    assert all(len(a) == len(b) == len(c) > 0 for a, b, c in zip(out["completion_ids"], out["logprobs"], out["env_mask"], strict=True))
    scores = verdict(problems, out["attempt"])
    assert scores[1] is None
    assert {type(s) for s in (scores[0], scores[2])} == {float}
    assert torch.equal(lm.decoder.norm.weight, Wrapped().model.norm.weight)
    assert torch.equal(lm.decoder.embed_tokens.weight, Wrapped().model.embed_tokens.weight)


async def test_mistakes_are_named() -> None:
    task = Digits()
    async with toy_lm() as lm:
        rollouts = Rollouts(lm, build_solver("single?max_tokens=2", lm, task), task, task.problems("train", 2))
        with pytest.raises(UserError, match=r"temperature 1\.0 but GRPOConfig's is 0\.7"):
            rollouts(["0"], trainer(Wrapped(), 0.7))
        with pytest.raises(UserError, match="none of the problems has the prompt '7'"):
            rollouts(["7"], trainer(Wrapped()))
        with pytest.raises(UserError, match="differ, first in 'embed_tokens"):
            rollouts(["0"], trainer(toy_decoder()))


def test_grpo_trainer_learns_from_our_rollouts(tmp_path: Path) -> None:
    """Two steps on the smaller shipped model: TRL's weights move, the engine samples with them, and transformers gives the sampled
    tokens the log-probabilities that the engine reported."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    folder = model_folder("pocket-1m")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    task = load_task("arithmetic?steps=3")
    problems = task.problems("train", 4, seed=0)
    lm = cast(LocalLM, load_lm("pocket-1m", device="cpu"))
    rollouts = Rollouts(lm, build_solver("single?max_tokens=24", lm, task), task, problems)
    seen: list[tuple[int, float]] = []

    def checked(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        out = rollouts(prompts, trainer)
        worst = 0.0
        for prompt, ids, told in zip(out["prompt_ids"], out["completion_ids"], out["logprobs"], strict=True):
            with torch.no_grad():
                logits = trainer.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].float()
            own = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
            worst = max(worst, float((own - torch.tensor(told)).abs().max()))
        seen.append((trainer.state.global_step, worst))
        return out

    def unlike(attempt: list[Trajectory], **columns: Any) -> list[float | None]:
        """Rewards that differ within any group, whatever was said."""
        return [float(i % 2) for i in range(len(attempt))]

    args = GRPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], logging_steps=1, save_strategy="no", disable_tqdm=True,
        max_steps=2, per_device_train_batch_size=4, num_generations=4, learning_rate=1e-3, temperature=1.0, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model, reward_funcs=[verdict, unlike], args=args, train_dataset=Dataset.from_list(rows(problems)),
        processing_class=AutoTokenizer.from_pretrained(folder), rollout_func=checked,
    )  # fmt: skip
    trainer.train()
    assert [step for step, _ in seen] == [0, 1]
    assert max(worst for _, worst in seen) < 1e-4
    assert sum(float((p.detach() - start[n]).abs().sum()) for n, p in model.named_parameters()) > 0
    logged = [h for h in trainer.state.log_history if "rewards/verdict/mean" in h]
    assert len(logged) == 2
    assert all(h["rewards/unlike/mean"] == 0.5 for h in logged)
    take_weights(lm.decoder, model)
    assert torch.equal(lm.decoder.norm.weight, model.model.norm.weight)
