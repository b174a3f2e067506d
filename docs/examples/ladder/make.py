"""Makes candidates.jsonl: sixty made-up problems with eight candidates each, a reward model's score, and one aggregation.

In a third of the problems most wrong candidates agree. The score knows a right candidate from a wrong one a little better than chance.
"""

import json
import random
from pathlib import Path

rng = random.Random(0)
lines = []
for i in range(60):
    skill, trap = rng.choice([0.25, 0.5, 0.8]), rng.random() < 0.33
    candidates = []
    for _ in range(8):
        right = rng.random() < skill
        answer = "42" if right else "41" if trap and rng.random() < 0.8 else str(rng.randint(10, 40))
        score = round(min(max(rng.gauss(0.6 if right else 0.45, 0.2), 0), 1), 2)
        candidates.append({"answer": answer, "tokens": rng.randint(150, 450), "score": score})
    found = any(c["answer"] == "42" for c in candidates)
    votes = sum(c["answer"] == "42" for c in candidates)
    good = found and rng.random() < (0.95 if votes > 3 else 0.55)
    made = {"set": 0, "answer": "42" if good else candidates[0]["answer"], "tokens": rng.randint(80, 150)}
    lines.append(json.dumps({"id": f"q{i}", "prompt": f"Problem {i}", "answer": "42", "candidates": candidates, "aggregated": [made]}))
Path(__file__).with_name("candidates.jsonl").write_text("\n".join(lines) + "\n")
