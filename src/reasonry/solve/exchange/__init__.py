"""Several agents answer a question over rounds in which each sees what others said: debate, mixtures of agents, refinement.

`core`: agents, turns, the exchange itself; `sees`: who is shown what; `stops`: when it ends; `votes`: what is answered; `simulated`:
agents that are explicit probabilities.
"""

from reasonry.solve.exchange.core import Agent, Chosen, Exchange, History, Moment, Ruling, Said, Seen, Turn, in_turn, together

__all__ = ["Agent", "Chosen", "Exchange", "History", "Moment", "Ruling", "Said", "Seen", "Turn", "in_turn", "together"]
