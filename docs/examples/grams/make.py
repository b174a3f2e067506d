"""Writes log.jsonl: made-up attempts at number puzzles at three stages of training, in the form that `reasonry probe grams` reads.

Execution grows sure first (the log-probabilities of digits), then the choice of strategies grows right; no model was trained for it.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from reasonry.tasks.puzzle import planning_spans, puzzle

STAGES = {0: (0.35, 0.5), 50: (0.4, 0.1), 100: (0.8, 0.1)}
"""Step -> (share that begins with the right strategy, nats a digit)."""


def main() -> None:
    """One line an attempt."""
    rows = []
    for step, (right, nats) in STAGES.items():
        task, rng = puzzle(right=right), random.Random(f"grams/{step}")
        for problem in task.problems("train", 60, step):
            text = task.demonstration(problem, rng)[-1].content
            spans, tokens = planning_spans(text), re.findall(r"\s*\w+|\W", text)
            places = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
            planned = [any(a <= p + len(t) - 1 < b for a, b in spans) for t, p in zip(tokens, places, strict=True)]
            logprobs = [-(nats if t.strip().isdigit() else 0.4 if on else 0.05) for t, on in zip(tokens, planned, strict=True)]
            rows.append({"step": step, "text": text, "passed": task.judge(problem, text).passed, "tokens": tokens, "logprobs": logprobs})
    Path(__file__).with_name("log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
