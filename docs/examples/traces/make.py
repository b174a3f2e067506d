"""Writes rows.jsonl: right answers to chained sums, half in the pocket models' own words, half in the words of a chatty stranger."""

import json
import random
from pathlib import Path

from reasonry.tasks import load_task
from reasonry.tasks.skill import Skill
from reasonry.tasks.skills.arithmetic import atoms_of, lines

task = load_task("arithmetic?steps=3")
assert isinstance(task, Skill)
rows = []
for i, problem in enumerate(task.problems("train", 24, seed=5)):
    steps = lines(*atoms_of(problem))
    if i % 2:
        said = " ".join(f"Hmm, let me see: {step.replace('=', ' gives ')}. Wait, that looks right." for step in steps)
        said = f"{said}\n#### {problem.answer}"
    else:
        said = task.demonstration(problem, random.Random(i))[-1].content
    rows.append({"question": problem.prompt, "answer": said})
path = Path(__file__).with_name("rows.jsonl")
path.write_text("".join(json.dumps(row) + "\n" for row in rows))
print(f"{len(rows)} rows in {path.name}")
