"""Synthetic training logs, and the scale-fit tool on them from Python: recipes whose true ceilings and speeds we know.

Nothing here was trained. The logs in `docs/examples/scale-fit/` are what this writes.
"""

import csv
from pathlib import Path

import numpy as np

from reasonry.probe.scale_fit import Law
from reasonry.probe.scale_log import read_logs
from reasonry.probe.scale_recipe import Options, compare, recipe
from reasonry.probe.scale_words import choice, verdict

TRUE = {"cispo": Law(0.30, 0.61, 1.92, 2542), "gspo": Law(0.30, 0.61, 1.50, 4300), "dapo": Law(0.30, 0.53, 1.75, 1900)}
NOISE = 0.007  # of one evaluation: mean@16 on 1,000 problems gives 0.003 to 0.01

folder = Path("scale-fit")
folder.mkdir(exist_ok=True)
rng = np.random.default_rng(0)


def draw(file_name: str, law: Law, last: float, creep: float) -> Path:
    """Writes a log of 41 evaluations up to `last` GPU-hours, whose truncation creeps up by `creep`."""
    gpu_hours = np.linspace(0, last, 41)
    held_out = law(gpu_hours) + rng.normal(0, NOISE, 41)
    truncated = np.clip(0.03 + rng.normal(0, 0.005, 41) + creep * gpu_hours / last, 0, 1)
    path = folder / file_name
    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["gpu_hours", "eval/pass_rate", "truncated"])
        table.writerows(zip(gpu_hours, held_out.round(4), truncated.round(4), strict=True))
    return path


paths = {name: [draw(f"{name}-{s}.csv", law, 16_000, 0.1 * (name == "dapo")) for s in (0, 1)] for name, law in TRUE.items()}
draw("young.csv", TRUE["cispo"], 2_000, 0.0)

recipes = [recipe(name, [log for path in seeds for log in read_logs(path)], Options()) for name, seeds in paths.items()]
comparisons = compare(recipes, Options())
print(choice(recipes, comparisons))
for pair in comparisons:
    print(verdict(pair))
for r in recipes:
    a, later, law = r.fit.A, r.fit.forecast(50_000), TRUE[r.name]
    print(f"{r.name}: A {a.value:.3f} ({a.low:.3f} to {a.high:.3f}), true {law.A}; at 50,000 {later.value:.3f}, true {law(50_000):.3f}")
