"""The card of a pocket model: what it was trained on, and how it does on problems it has never seen.

`python -m reasonry.evaluate.card pocket` writes `README.md` and `card.json` beside the model's weights. Every row asks `PROBLEMS`
problems of the test split once, at temperature 1 (the model as it is) and greedily, with the Wilson interval of the share that passed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from reasonry.core import LM, Budget, Problem, Sampling, Solver, Task
from reasonry.core.run import environment, write_whole
from reasonry.lm.load import load_lm, model_folder
from reasonry.probe.stats import Estimate, wilson
from reasonry.solve.single import Single
from reasonry.solve.tool_loop import ToolLoop
from reasonry.tasks import load_task
from reasonry.tasks.skills.calc import tools_of

PROBLEMS = 200
LIMIT = Budget(completion_tokens=320)


@dataclass(frozen=True)
class Row:
    """One line of the card."""

    label: str
    task: str
    """A task spec."""
    trained: bool
    """Whether problems of this kind and length are in the training text."""
    solver: Callable[[LM, Sampling], Solver] = Single


def _with_tools(lm: LM, sampling: Sampling) -> Solver:
    return ToolLoop(lm, tools_of, sampling=sampling)


ROWS = (
    *(Row(f"arithmetic, {h} step{'s' * (h > 1)}", f"arithmetic?steps={h}", h <= 3) for h in (1, 2, 3, 4)),
    *(Row(f"registers, 2 ops × {n} loops", f"registers?ops=2&loops={n}", n <= 8) for n in (1, 2, 4, 8, 16)),
    *(Row(f"registers, {r} registers × 2 loops", f"registers?registers={r}&ops=2&loops=2", True) for r in (4, 8)),
    Row("recall through filler", "recall", True),
    Row("word problems", "word", True),
    Row("calculator and look-up calls", "calc", True, _with_tools),
    Row("notes: answer or insert", "notes", True),
    Row("revise beside peers", "revise", True),
    Row("judge right or wrong", "judge", True),
    Row("style instructions", "style", True),
)


@dataclass(frozen=True)
class Measured:
    """A row with what was seen."""

    label: str
    task: str
    trained: bool
    sampled: Estimate
    """Share passed at temperature 1."""
    greedy: Estimate
    tokens: float
    """Mean tokens of a sampled answer."""


async def measure(lm: LM, row: Row, n: int = PROBLEMS) -> Measured:
    """Asks `n` test problems of a row, sampled and greedily."""
    task = load_task(row.task)
    problems = task.problems("test", n, seed=0)

    async def share(temperature: float) -> tuple[Estimate, float]:
        solver = row.solver(lm, Sampling(max_tokens=LIMIT.room(320), temperature=temperature))
        judged = await asyncio.gather(*(_attempt(solver, task, p, i) for i, p in enumerate(problems)))
        return wilson(sum(passed for passed, _ in judged), n), sum(tokens for _, tokens in judged) / n

    (sampled, tokens), (greedy, _) = await share(1.0), await share(0.0)
    return Measured(row.label, row.task, row.trained, sampled, greedy, tokens)


async def _attempt(solver: Solver, task: Task, problem: Problem, seed: int) -> tuple[bool, int]:
    trace = await solver(problem, LIMIT, seed)
    return bool(task.judge(problem, trace.answer).passed), trace.cost.completion_tokens


def render(name: str, training: dict[str, object], rows: list[Measured]) -> str:
    """The card as Markdown, in the form Hugging Face folders have."""

    def percent(e: Estimate) -> str:
        return f"{100 * e.mean:.0f} % ({100 * e.low:.0f}–{100 * e.high:.0f})"

    lines = [f"| {m.label} | {'yes' if m.trained else 'no'} | {percent(m.sampled)} | {percent(m.greedy)} | {m.tokens:.0f} |" for m in rows]
    seconds, tokens = training["seconds"], training["tokens"]
    assert isinstance(seconds, int)
    assert isinstance(tokens, int)
    return f"""---
license: apache-2.0
---
# {name}

A Qwen3-style decoder with {training["parameters"]:,} parameters, trained from scratch on text that Reasonry generates (`tasks/skills`,
train split): {tokens:,} tokens with padding, in {seconds / 60:.0f} minutes on {training["threads"]} CPU thread, seed {training["seed"]}.
It knows some three hundred words, whole numbers, and nothing of the world. It is a laboratory animal: small enough to try a method on in
seconds, good enough that methods differ, poor enough to have room to learn.

Made by `{training["command"]}`; measured by `python -m reasonry.evaluate.card {name}` on {PROBLEMS} held-out problems a row (95 % Wilson
intervals). "Trained" says whether problems of that kind and length are in the training text; the others show what it does beyond.

| skill | trained | right at temperature 1 | right greedily | tokens an answer |
|---|---|---|---|---|
{chr(10).join(lines)}

A quarter of the register traces in the training text begin in their middle, as a document cut at a context boundary does, and programs of
9–64 loops appear only as such tails. Documents are at most about 200 tokens long; positions beyond that were never trained.
"""


@click.command()
@click.argument("name")
def main(name: str) -> None:
    """Measure a shipped model and write its card."""
    folder: Path = model_folder(name)
    training = json.loads((folder / "training.json").read_text())

    async def all_rows() -> list[Measured]:
        lm = load_lm(name)
        measured = []
        for row in ROWS:
            measured.append(await measure(lm, row))
            click.echo(f"{row.label}: {measured[-1].sampled.mean:.2f} sampled, {measured[-1].greedy.mean:.2f} greedy")
        return measured

    rows = asyncio.run(all_rows())
    write_whole(folder / "card.json", json.dumps({"environment": environment(), "rows": [asdict(m) for m in rows]}, indent=2) + "\n")
    write_whole(folder / "README.md", render(name, training, rows))
    click.echo(f"wrote {folder / 'README.md'}")


if __name__ == "__main__":
    main()
