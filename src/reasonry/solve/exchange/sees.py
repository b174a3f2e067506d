"""Who is shown what, as functions of (whose turn, what was said): topologies, and views that change what others show.

A turn that failed is never shown; in its place stands the agent's last one that did not. `last` is how many turns of each agent are shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from reasonry.solve.exchange.core import History, Said, Seen, Sees, Turn

Among = Callable[[Turn], Sequence[str]]
"""The agents whose turns this one is shown, itself never among them."""


def turns_of(history: History, agent: str, last: int | None) -> tuple[Said, ...]:
    """An agent's last turns that did not fail, oldest first; all of them for `None`."""
    own = [s for said in history for s in said if s.agent == agent and not s.error]
    return tuple(own if last is None else own[-last:])


def among(peers: Among, last: int | None = 1) -> Sees:
    """The turns of those agents, and its own."""

    def sees(turn: Turn, history: History) -> Seen:
        shown = [turns_of(history, name, last) for name in peers(turn)]
        return Seen(turns_of(history, turn.agent, last), tuple(s for of in shown for s in of))

    return sees


def everyone(last: int | None = 1) -> Sees:
    """A complete graph: all others, in their order."""
    return among(lambda turn: [name for name in turn.agents if name != turn.agent], last)


def nobody(last: int | None = 1) -> Sees:
    """Isolated self-revision: its own turns alone."""
    return among(lambda turn: (), last)


def ring(reach: int = 1, last: int | None = 1) -> Sees:
    """Those within `reach` places on either side, agents sitting in a circle."""

    def peers(turn: Turn) -> list[str]:
        n, at = len(turn.agents), turn.agents.index(turn.agent)
        near = [(at + side * step) % n for step in range(1, reach + 1) for side in (-1, 1)]
        return [turn.agents[i] for i in sorted(set(near) - {at})]

    return among(peers, last)


def star(centre: int = 0, last: int | None = 1) -> Sees:
    """The agent in the centre sees all, everybody else sees it alone."""
    return among(lambda turn: [name for name in turn.agents if name != turn.agent and turn.agents[centre] in (name, turn.agent)], last)


def everything(last: int | None = 1) -> Sees:
    """All turns alike, its own among the others' and not apart: what agents of a mixture are shown."""

    def sees(turn: Turn, history: History) -> Seen:
        return Seen((), tuple(s for name in turn.agents for s in turns_of(history, name, last)))

    return sees


def answers_only(sees: Sees) -> Sees:
    """Peers' answers without their reasons; turns without an answer are left out."""

    def view(turn: Turn, history: History) -> Seen:
        seen = sees(turn, history)
        return replace(seen, peers=tuple(replace(s, text="") for s in seen.peers if s.answer is not None))

    return view


def shuffled(sees: Sees) -> Sees:
    """Peers in an order drawn for each turn, so that no seat is always read first; the turns of one agent stay in theirs."""

    def view(turn: Turn, history: History) -> Seen:
        seen = sees(turn, history)
        names = list(dict.fromkeys(s.agent for s in seen.peers))
        random.Random(f"shuffled/{turn.seed}").shuffle(names)
        return replace(seen, peers=tuple(s for name in names for s in seen.peers if s.agent == name))

    return view


def hidden(sees: Sees, agents: Sequence[str]) -> Sees:
    """Without the turns of some agents: those whose word is not to count, such as the weak ones of a team."""

    def view(turn: Turn, history: History) -> Seen:
        seen = sees(turn, history)
        return replace(seen, peers=tuple(s for s in seen.peers if s.agent not in agents))

    return view


def unrelated(sees: Sees, texts: Sequence[str], read: Callable[[str], str | None]) -> Sees:
    """A control: in place of each peer's words, words about something else, drawn for each turn from `texts`."""

    def view(turn: Turn, history: History) -> Seen:
        seen, rng = sees(turn, history), random.Random(f"unrelated/{turn.seed}")
        others = (rng.choice(texts) for _ in seen.peers)
        return replace(seen, peers=tuple(replace(s, text=t, answer=read(t)) for s, t in zip(seen.peers, others, strict=True)))

    return view
