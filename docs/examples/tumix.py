"""When do different agents beat copies of one, and when not? The explicit model, and a group chosen from a table of first answers.

Run it as it is: python docs/examples/tumix.py
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from reasonry.probe.groups import average, coverage, search_groups, shared_errors
from reasonry.solve.tumix_model import World, advantage, chances, play, stop_when_not_worth_it, stopped

world = World()
print("Fifteen different strategies against fifteen copies of one, equally skilled: advantage of the vote, in points")
for rho in (0.0, 0.5, 0.9, 1.0):
    print(f"  correlation between strategies {rho:.1f}: {100 * advantage(world, rho, 15, 2000, 0):+5.1f}")
print("  At 1 they fail where copies fail, and there is nothing to gain: that is where the method fails.\n")

p = chances(world, 2000, 15, 0.0, np.random.default_rng(0))
rounds = play(world, p, range(15), 5, 0)
for r, found in enumerate(rounds, 1):
    print(f"round {r}: average {found.average:.2f}, coverage {found.coverage:.3f}, vote {found.vote:.3f}")
vote, used = stopped(rounds, least=0.6)
print(f"stop at a margin of 0.6: vote {vote:.3f} after {used:.1f} rounds")
gains = [b.average - a.average for a, b in pairwise(rounds)]
print(f"worth their price at 0.08 a round: {stop_when_not_worth_it(gains, [1.0] * len(gains), price=0.08)} rounds\n")

# Your own table: one row an agent, one column a question, true where it was right. Here two blind spots, three agents each, and noise.
rng = np.random.default_rng(1)
hard = rng.random((2, 400)) < 0.5
right = np.array([hard[i // 3] & (rng.random(400) < 0.9) for i in range(6)])
shared = shared_errors(right, ["a", "a", "a", "b", "b", "b"])
print(f"being right correlates by {shared.within:.2f} within a kind and by {shared.between:.2f} between kinds")
best = search_groups(right, size=3, draws=100, seed=0)[0]
print(f"best three of six: agents {best.members}, coverage {best.coverage:.2f}, average {best.average:.2f} on questions held out")
print(f"three of one kind: coverage {coverage(right[:3]):.2f}, average {average(right[:3]):.2f}")
