"""Our solvers inside TRL: `Rollouts` is a `rollout_func` of `GRPOTrainer`, `verdict` a reward function that hands over our judge's score.

    rollouts = Rollouts(lm, solver, task, problems)
    GRPOTrainer(model, verdict, args, Dataset.from_list(rows(problems)), processing_class=tokenizer, rollout_func=rollouts)

Before it samples, `Rollouts` copies the trainer's weights into `lm`, so both are one policy at every step. TRL trains one row per attempt:
what the model saw first, then everything after it, of which it learns the tokens the model sampled (TRL's `env_mask`). An attempt whose
calls each go on from the one before (one answer, a tool loop) is such a row. One whose calls see a context of their own (chunks, votes,
judges) is not, and is refused by name: `reasonry.train.loop` trains those.

Seeds are a function of (seed, global step, process, place in the batch). A failed attempt becomes a row without a trained token, and its
score is `None`, which TRL leaves out of its group. TRL's way round, its reward functions in our loop, is `train.reward.trl_reward`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from reasonry.core import Budget, Problem, Solver, Task, Trajectory, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.train.rollout import rollout


@dataclass(frozen=True)
class Rollouts:
    """See the module. Called by the trainer with a prompt for every attempt: TRL has repeated each `num_generations` times."""

    lm: LocalLM
    """What `solver` calls; its weights are overwritten."""
    solver: Solver
    task: Task
    problems: Sequence[Problem]
    """Those the data set was made of (`rows`)."""
    budget: Budget = field(default_factory=Budget)
    """Of each attempt."""
    seed: int = 0

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list[Any]]:
        """`prompt_ids`, `completion_ids`, `logprobs` and `env_mask` of an attempt at each prompt, and the attempt itself as `attempt`
        (`None` where it failed), which reward functions are handed.

        Raises UserError for a prompt none of the problems has, for a model of another shape, for a solver that samples at another
        temperature than the trainer scores at, and for an attempt that is not one row.
        """
        temperature = getattr(getattr(self.solver, "sampling", None), "temperature", trainer.args.temperature)
        if temperature != trainer.args.temperature:
            raise UserError(
                f"Rollouts: {self.solver.name} samples at temperature {temperature} but GRPOConfig's is {trainer.args.temperature}; use one"
            )
        known = {_key(p.prompt if isinstance(p.prompt, str) else _chat(p)): p for p in self.problems}
        known |= {_key(_chat(p)): p for p in self.problems}
        if lost := next((p for p in prompts if _key(p) not in known), None):
            raise UserError(f"Rollouts: none of the problems has the prompt {str(lost)[:80]!r}; make the data set with rows(problems)")
        take_weights(self.lm.decoder, trainer.accelerator.unwrap_model(trainer.model))
        self.lm.engine.flush()
        step = trainer.state.global_step
        seed = inner_seed(self.seed, step, trainer.accelerator.process_index, int(trainer.model.training))
        with ThreadPoolExecutor(1) as thread:  # a thread of its own: the caller's may be running an event loop (a notebook)
            attempts = thread.submit(asyncio.run, self._attempts([known[_key(p)] for p in prompts], seed, step)).result()
        table = [_row(t) if t is not None else ([end], [end], [0.0], [0]) for t in attempts for end in self.lm.tokenizer.eos_ids[:1]]
        columns = ("prompt_ids", "completion_ids", "logprobs", "env_mask")
        return {**dict(zip(columns, map(list, zip(*table, strict=True)), strict=True)), "attempt": attempts}

    async def _attempts(self, problems: Sequence[Problem], seed: int, step: int) -> list[Trajectory | None]:
        done = {g.index: g.trajectories async for g in rollout(self.solver, self.task, problems, self.budget, 1, seed, step)}
        return [next(iter(done[i]), None) for i in range(len(problems))]


def verdict(prompts: Sequence[Any], attempt: Sequence[Trajectory | None], **columns: Any) -> list[float | None]:
    """A TRL reward function: the judge's score of each attempt of `Rollouts`; `None` is not scored."""
    return [None if t is None or t.verdict is None else t.verdict.score for t in attempt]


def rows(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """The problems as rows of a TRL data set: `prompt`, a chat, and `problem_id`. Gold answers stay here, with the judge."""
    return [{"prompt": _chat(p), "problem_id": p.id} for p in problems]


@torch.no_grad()
def take_weights(decoder: Decoder, model: nn.Module) -> None:
    """Copies a transformers model's weights into a decoder of the same shape. Raises UserError for a model with other tensors: another
    architecture, adapters that are not merged, weights that another process holds."""
    given: Mapping[str, torch.Tensor] = dict(model.named_parameters())
    own = {name if name.startswith("lm_head.") else f"model.{name}": p for name, p in decoder.named_parameters()}
    odd = sorted(given.keys() ^ own.keys()) or sorted(n for n in own if own[n].shape != given[n].shape)
    if odd:
        raise UserError(f"Rollouts: the trainer's model and the engine's differ, first in {odd[0]!r}; load both from one folder")
    for name, p in own.items():
        p.copy_(given[name])


def _row(t: Trajectory) -> tuple[list[int], list[int], list[float], list[int]]:
    """Prompt ids, all ids after them, their log-probabilities (0 where not sampled) and which of them the model sampled."""
    if not t.segments or any(s.context is None or s.ids is None or s.logprobs is None for s in t.segments):
        raise UserError(f"Rollouts: the attempt at {t.problem_id!r} has a call without token ids; use a local model")
    prompt = list(t.segments[0].context or ())
    ids: list[int] = []
    logprobs: list[float] = []
    mask: list[int] = []
    for s in t.segments:
        context, sampled = list(s.context or ()), list(s.ids or ())
        before = len(prompt) + len(ids)
        if context[:before] != prompt + ids:
            raise UserError(
                f"Rollouts: at {t.problem_id!r} the solver made a call with role {s.role!r} that does not go on from the call before it, "
                "and TRL trains one row per attempt; train this solver with reasonry.train"
            )
        given = context[before:]
        ids += given + sampled
        logprobs += [0.0] * len(given) + list(s.logprobs or ())
        mask += [0] * len(given) + [int(on) for on in (s.mask or (True,) * len(sampled))]
    return prompt, ids, logprobs, mask


def _chat(problem: Problem) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in problem.messages]


def _key(prompt: Any) -> Any:
    return prompt if isinstance(prompt, str) else tuple((m["role"], m["content"]) for m in prompt)
