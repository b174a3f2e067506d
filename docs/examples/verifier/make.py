"""Writes `answers.jsonl`: rollouts through words of eight letters, under a verifier that overrates every `a` (VGB's Example 3.1, shaken).

python docs/examples/verifier/make.py
"""

import json
from pathlib import Path
from random import Random


def main() -> None:
    """Four hundred answers to twenty problems: right where no letter is a c; scores are the true chances, doubled after an a."""
    rng, lines = Random(0), []
    for i in range(400):
        word = "".join(rng.choice("aaabbbc") for _ in range(8))
        scores = []
        for h in range(1, 8):
            true = 0.0 if "c" in word[:h] else (6 / 7) ** (8 - h)
            scores.append(round(min(true * (2 if word[h - 1] == "a" else 1) * rng.uniform(0.8, 1.25), 1.0), 3))
        lines.append(json.dumps({"problem": f"word-{i % 20}", "scores": scores, "outcome": float("c" not in word)}))
    Path(__file__).with_name("answers.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
