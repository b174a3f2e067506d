"""Synthetic training logs, and the scale-fit tool on them from Python: three recipes whose true ceilings and speeds we know.

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
for name, law in TRUE.items():
    for seed in (0, 1):
        gpu_hours = np.linspace(0, 16_000, 41)
        held_out = law(gpu_hours) + rng.normal(0, NOISE, 41)
        truncated = np.clip(0.03 + rng.normal(0, 0.005, 41) + (name == "dapo") * gpu_hours / 16_000 * 0.1, 0, 1)
        with open(folder / f"{name}-{seed}.csv", "w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["gpu_hours", "eval/pass_rate", "truncated"])
            table.writerows(zip(gpu_hours, held_out.round(4), truncated.round(4), strict=True))

options = Options()
recipes = [recipe(name, [log for seed in (0, 1) for log in read_logs(folder / f"{name}-{seed}.csv")], options) for name in TRUE]
print(choice(recipes, comparisons := compare(recipes, options)))
for pair in comparisons:
    print(verdict(pair))
for r in recipes:
    a, later, law = r.fit.A, r.fit.forecast(50_000), TRUE[r.name]
    print(f"{r.name}: A {a.value:.3f} ({a.low:.3f} to {a.high:.3f}), true {law.A}; at 50,000 {later.value:.3f}, true {law(50_000):.3f}")
