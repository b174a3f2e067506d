"""Samples per second of a whole GRPO step (sample, judge, update) beside TRL's `GRPOTrainer`: same weights, prompts, loss, optimiser, run.

    python benchmarks/rl_step.py [--models pocket] [--steps 2] [--repeats 3] [--only reasonry]

A step answers 8 problems 8 times each, at temperature 1 up to the end token, so answers are as long as the shipped model makes them: sums
of 1 to 3 operations and programs of 1 to 16 loops, 15 to 130 tokens or so. Every group is learned from, also those with one reward only,
which a curriculum would leave out. GRPO's loss, no KL term, one update a batch, AdamW in fp32 on the CPU; the learning rate is TRL's
default of 1e-6, so that the model stays what it is. `tests/train/test_trl_equal.py` shows that the losses and gradients are equal.

Our ways: a step after the other (`Recipe.lag` 0), on one thread; and sampling the next batch while this one is learned from (lag 1), a
thread for each. TRL's: transformers' `generate` with one thread and with two, and its continuous batching; the whole batch in one forward
pass, without gradient checkpointing (which would only save memory) and without logging.

Each way is warmed up, then run `--repeats` times, ways alternating; a run makes `--steps` steps between two stamps at the end of a step, so
that setting up and a pipeline's filling and draining are outside. One JSON line per way; rates are medians; `ratio` is our rate over that
of TRL's fastest way, `cpu_ratio` the same for processor seconds: on a machine that others use too it is the steadier figure.
`seconds_sampling` (with judging) and `seconds_learning` (all the rest) are means over steps; with a lag they pass at the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from reasonry.core import Problem, Task, Verdict, open_run
from reasonry.core.run import machine
from reasonry.lm.load import POCKET, load_lm
from reasonry.lm.local import LocalLM
from reasonry.solve import build_solver
from reasonry.tasks import load_task
from reasonry.train.advantage import GroupStd, Outcome, group_mean
from reasonry.train.curriculum import every_group, only
from reasonry.train.health import Record
from reasonry.train.loop import train
from reasonry.train.recipe import Recipe, describe
from reasonry.train.variants import PLAIN_GRPO

SPECS = (*(f"arithmetic?steps={n}" for n in (1, 2, 3)), *(f"registers?ops=2&loops={n}" for n in (1, 2, 4, 8, 16)))
G = 8
LONGEST = 512
"""Tokens an answer may have; none comes near."""
LR = 1e-6
OBJECTIVE = replace(PLAIN_GRPO, advantage=Outcome(group_mean, GroupStd(eps=1e-4)))
"""TRL's `loss_type="grpo"`."""


class Mixture:
    """One problem of each of several tasks."""

    name = "mixture"

    def __init__(self, specs: Sequence[str]) -> None:
        self._tasks: dict[str, Task] = {}
        self._problems: list[Problem] = []
        for seed, spec in enumerate(specs):
            task = load_task(spec)
            self._problems += task.problems("train", 1, seed)
            self._tasks[self._problems[-1].id] = task

    def problems(self, split: str = "train", n: int | None = None, seed: int = 0) -> list[Problem]:
        """All of them."""
        return self._problems

    def extract(self, text: str) -> str | None:
        """As the first task does; they agree."""
        return self._tasks[self._problems[0].id].extract(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """By the problem's own task."""
        return self._tasks[problem.id].judge(problem, answer)


@dataclass
class Run:
    """What one run of a way was measured to take, per step."""

    wall: float
    cpu: float
    sampling: float
    learning: float
    tokens: float
    """Mean length of an answer."""


Way = Callable[[int], Run]
"""Number of steps -> what they took."""
Stamp = tuple[float, float]


def stamp() -> Stamp:
    return time.perf_counter(), time.process_time()


def ours(lm: LocalLM, task: Mixture, lag: int) -> Way:
    def way(steps: int) -> Run:
        torch.set_num_threads(1)
        stamps: list[Stamp] = []
        records: list[Record] = []

        def progress(record: Record) -> None:
            stamps.append(stamp())
            records.append(record)

        recipe = Recipe(
            objective=OBJECTIVE, lr=LR, steps=steps + 2, prompts=len(SPECS), group=G, lag=lag, save_every=steps + 2
        )  # the first step fills the pipeline, the last drains it and writes the checkpoint
        curriculum = replace(only(1, LONGEST), group_filter=every_group)
        with tempfile.TemporaryDirectory() as folder:
            run = open_run(Path(folder) / "run", describe(recipe), resume=False)
            solver = build_solver(f"single?max_tokens={LONGEST}", lm, task)
            asyncio.run(train(lm, solver, task, curriculum, {1: task.problems()}, recipe, run, progress=progress))
        told = records[1:-1]
        wall, cpu = ((b - a) / steps for a, b in zip(stamps[0], stamps[-2], strict=True))
        sampling, learning, length = (statistics.fmean(r[of] for r in told) for of in ("seconds_sampling", "seconds_learning", "length"))
        return Run(wall, cpu, sampling, learning, length)

    return way


def trl(folder: Path, output: str, task: Mixture, continuous: bool, threads: int) -> Way:
    import transformers.integrations
    from datasets import Dataset

    for module in (transformers, transformers.integrations):  # no tracker is used; one installed in part must not break the import
        module.is_trackio_available = lambda: False  # type: ignore[attr-defined]
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    problems = {p.messages[0].content: p for p in task.problems()}
    lengths: list[float] = []
    stamps: list[Stamp] = []
    sampling: list[float] = []

    def reward(prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        lengths.append(statistics.fmean(map(len, completion_ids)))
        verdicts = [task.judge(problems[p[0]["content"]], c[0]["content"]) for p, c in zip(prompts, completions, strict=True)]
        return [v.score or 0.0 for v in verdicts]

    class Stamped(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            stamps.append(stamp())

    class Trainer(GRPOTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            began = time.perf_counter()
            done = super()._generate_and_score_completions(inputs)
            sampling.append(time.perf_counter() - began)
            return done

    config = GRPOConfig(
        output, per_device_train_batch_size=G * len(SPECS), num_generations=G, max_completion_length=LONGEST, temperature=1.0,
        beta=0.0, loss_type="grpo", epsilon=0.2, learning_rate=LR, lr_scheduler_type="constant", adam_beta2=0.95, weight_decay=0.0,
        max_grad_norm=1.0, use_transformers_continuous_batching=continuous, gradient_checkpointing=False, bf16=False, use_cpu=True,
        dataloader_num_workers=0, save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    torch.set_num_threads(threads)
    trainer = Trainer(
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), reward, config,
        Dataset.from_list([{"prompt": [{"role": "user", "content": content}]} for content in problems]),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder), callbacks=[Stamped()],
    )  # fmt: skip

    trainer.remove_callback(transformers.PrinterCallback)  # standard output is for measurements

    def way(steps: int) -> Run:
        torch.set_num_threads(threads)
        for kept in (lengths, stamps, sampling):
            kept.clear()
        trainer.args.max_steps = steps + 1
        trainer.train()
        wall, cpu = ((b - a) / steps for a, b in zip(stamps[0], stamps[-1], strict=True))
        sampled = statistics.fmean(sampling[1:])
        return Run(wall, cpu, sampled, wall - sampled, statistics.fmean(lengths[1:]))

    return way


def same_prompts(lm: LocalLM, folder: Path, task: Mixture) -> None:
    """Both sides read the same ids."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for problem in task.problems():
        messages = [{"role": m.role, "content": m.content} for m in problem.messages]
        theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert tuple(theirs) == asyncio.run(lm.encode(problem.messages))


def measure(model: str, steps: int, repeats: int, only_: str) -> None:
    task, folder, lm = Mixture(SPECS), POCKET / model, load_lm(model)
    assert isinstance(lm, LocalLM)
    same_prompts(lm, folder, task)
    with tempfile.TemporaryDirectory() as output:
        makers: dict[str, Callable[[], Way]] = {
            "reasonry": lambda: ours(lm, task, 0),
            "reasonry, sampling ahead": lambda: ours(lm, task, 1),
            "TRL, generate, 1 thread": lambda: trl(folder, output, task, False, 1),
            "TRL, generate, 2 threads": lambda: trl(folder, output, task, False, 2),
            "TRL, continuous batching, 1 thread": lambda: trl(folder, output, task, True, 1),
        }
        makers = {name: make for name, make in makers.items() if any(part in name for part in only_.split("|"))}
        ways: dict[str, Way] = {}
        runs: dict[str, list[Run]] = {name: [] for name in makers}
        why_not: dict[str, str] = {}
        for repeat in range(repeats + 1):
            for name, make in makers.items():
                if name not in why_not:
                    try:
                        way = ways.setdefault(name, make()) if repeat == 0 else ways[name]
                        done = way(1 if repeat == 0 else steps)
                        runs[name] += [done] if repeat else []
                    except Exception as error:
                        why_not[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    rates = {name: tuple(G * len(SPECS) / statistics.median(getattr(r, of) for r in runs[name]) for of in ("wall", "cpu"))
             for name in makers if name not in why_not}  # fmt: skip
    peers = [rate for name, rate in rates.items() if name.startswith("TRL")]
    for name in makers:
        mine = name.startswith("reasonry")
        line: dict[str, Any] = {
            "benchmark": "rl_step", "way": name, "version": version("reasonry" if mine else "trl"), "torch": torch.__version__,
            "machine": machine(), "threads": 1 + (name.endswith(("ahead", "threads"))), "model": model, "samples_per_step": G * len(SPECS),
        }  # fmt: skip
        if name in rates:
            line |= dict(zip(("samples_per_second", "samples_per_cpu_second"), (round(r, 2) for r in rates[name]), strict=True))
            for what in ("sampling", "learning", "tokens"):
                key = "tokens_per_sample" if what == "tokens" else f"seconds_{what}"
                line[key] = round(statistics.median(getattr(r, what) for r in runs[name]), 2)
            line["seconds"] = [round(r.wall, 2) for r in runs[name]]
            if mine and peers:
                best = [max(column) for column in zip(*peers, strict=True)]
                line |= {"ratio": round(rates[name][0] / best[0], 2), "cpu_ratio": round(rates[name][1] / best[1], 2)}
        else:
            line |= {"why_not": why_not[name]}
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="pocket")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="measure only ways whose name holds one of these, separated by |")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    for model in args.models.split(","):
        measure(model, args.steps, args.repeats, args.only)


if __name__ == "__main__":
    main()
