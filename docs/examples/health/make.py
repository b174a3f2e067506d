"""Makes `log.csv`, a made-up run with TRL's column names: entropy collapses, groups go flat and validation does not follow reward."""

import csv
from pathlib import Path

import numpy as np

STEPS = 160


def main() -> None:
    """Writes the log beside this file; the same on every machine."""
    rng, t = np.random.default_rng(0), np.arange(STEPS) / STEPS
    columns = {
        "reward": 0.3 + 0.4 * t + rng.normal(0, 0.05, STEPS),
        "frac_reward_zero_std": np.clip(0.2 + 0.5 * t + rng.normal(0, 0.06, STEPS), 0, 1),
        "completions/clipped_ratio": np.clip(0.02 + 0.3 * np.maximum(0, t - 0.6) + rng.normal(0, 0.01, STEPS), 0, 1),
        "completions/mean_length": 400 * (1 + 0.4 * t) * np.exp(rng.normal(0, 0.06, STEPS)),
        "entropy": 0.5 * np.exp(-3 * t + rng.normal(0, 0.1, STEPS)),
        "kl": 0.12 * t * np.exp(rng.normal(0, 0.2, STEPS)),
        "clip_ratio/region_mean": 0.003 * np.exp(rng.normal(0, 0.4, STEPS)),
        "grad_norm": 0.3 * np.exp(rng.normal(0, 0.3, STEPS)),
    }
    validation = 0.4 + rng.normal(0, 0.01, STEPS)
    with open(Path(__file__).with_name("log.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *columns, "eval_reward"])
        for i in range(STEPS):
            held_out = f"{validation[i]:.4f}" if i % 16 == 0 else ""
            writer.writerow([i + 1, *(f"{values[i]:.4g}" for values in columns.values()), held_out])


if __name__ == "__main__":
    main()
