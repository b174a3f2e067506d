"""A collective or a bundle? From Python, on groups whose make is known; the first is the case in which raw synergy misleads.

Nothing here is a language model. The log in `docs/examples/coordination/` is what this writes.
"""

import json
from pathlib import Path

import numpy as np

from reasonry.probe.coordination import Group, Options, collectivity, read_groups, total

rng = np.random.default_rng(0)


def loners(rounds: int = 200, agents: int = 4) -> Group:
    """Agents that never interact: each stays where it is nine times in ten."""
    turns = rng.random((rounds, agents)) > 0.9
    return Group("loners", (turns.cumsum(0) % 2).astype(float), total, states=2)


def team(rounds: int = 200, agents: int = 10) -> np.ndarray:
    """Agents with a place each, who see one another: all move by what the first half stands above the second."""
    place, side = 10 + 4 * np.arange(agents), np.where(np.arange(agents) < agents // 2, 1.0, -1.0)
    x = [place + rng.normal(0, 3, agents)]
    for _ in range(rounds - 1):
        x.append(place + 0.5 * side @ (x[-1] - place) + rng.normal(0, 3, agents))
    return np.round(np.array(x))


alone = collectivity([loners() for _ in range(8)], Options(surrogates=50))
for null in ("row", "column"):
    found = alone.of("synergy", null)
    assert found is not None
    print(f"loners: synergy {found.observed.mean():.3f} bit, above the {null} shuffle {found.corrected.mean:+.3f}")
print("loners:", alone.verdict.value)

folder = Path("coordination")
folder.mkdir(exist_ok=True)
with open(folder / "log.jsonl", "w") as file:
    for game in range(8):
        for t, guesses in enumerate(team()):
            for i, guess in enumerate(guesses):
                row = {
                    "group": f"game {game}",
                    "round": t,
                    "agent": f"agent {i}",
                    "action": guess,
                    "target": 280,
                }  # the sum of their places
                file.write(json.dumps(row) + "\n")

read = read_groups(folder / "log.jsonl")
together = collectivity(read.groups, Options(surrogates=30))
coalition = together.of("I3", "column")
assert coalition is not None
print(f"team: three agents tell {coalition.observed.mean():.3f} bit, {coalition.corrected.mean:+.3f} above the column shuffle")
print("team:", together.verdict.value)
