"""When is talk cheap? Explicit dynamics, simulated agents in a real exchange, and what `reasonry probe flips` says of their log.

Run it as it is: python docs/examples/debate.py
"""

from __future__ import annotations

import asyncio

from reasonry.core import Budget, Problem
from reasonry.evaluate.flips_page import finding
from reasonry.probe.exchange_log import Debate, debate_of
from reasonry.probe.flips import flips
from reasonry.solve.exchange import Agent, Exchange, sees, stops
from reasonry.solve.exchange.dynamics import course, outnumbered, run, voter
from reasonry.solve.exchange.simulated import Change, Simulated, conformist, level, told, verifying
from reasonry.solve.exchange.votes import as_spelled, majority

print("Three simulated agents, right alone in .8, two rounds of talk: mean agent, and their vote")
for name, step in (
    ("copy a random peer (.7)", voter(0.7)),
    ("join when outnumbered", outnumbered),
    ("the truth persuades more", voter(0.7, 0.3)),
):
    found = course(run((0.8,) * 3, step, 2, 50_000))
    print(f"  {name:26} mean {' '.join(f'{m:.3f}' for m in found.mean)}   vote {' '.join(f'{v:.3f}' for v in found.vote)}")
print("  Copying keeps the mean and loses the vote: that is where debate fails, and no model is needed to see it.\n")


async def debates(change: Change) -> list[Debate]:
    """A strong agent between two weak ones at 200 questions, as a log."""
    seats = [Agent(name, Simulated(level(p), change), told) for name, p in (("strong", 0.9), ("weak 1", 0.6), ("weak 2", 0.6))]
    talk = Exchange(seats, 3, lambda text: text.removeprefix("#### "), sees.everyone(), stops.never(), majority(as_spelled))
    made = await asyncio.gather(*(talk(Problem(f"q{i}", "?", "x"), Budget(), i) for i in range(200)))
    return [debate_of(t.problem_id, "", t.meta["exchange"]["rounds"], "x", "simulated") for t in made]


for name, change in (
    ("conformists", conformist(0.8)),
    ("with a check of their own that catches nine in ten", verifying(conformist(0.8), 0.9)),
):
    print(f"{name}:\n  {finding(flips(asyncio.run(debates(change))))}\n")
