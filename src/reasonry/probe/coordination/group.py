"""One group's record as arrays, and the same as discrete series.

Letters: T rounds, N agents, S surrogates, K states of an agent. A round's macro signal is what the group as a whole did in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reasonry.core import UserError
from reasonry.probe.coordination.states import detrended, occupied_entropy, quantile_bins
from reasonry.probe.coordination.tables import Floats, Ints

Macro = Callable[[NDArray[np.float64]], Floats]
"""(actions [..., T, N]) -> macro signal [..., T]."""


def total(actions: Floats) -> Floats:
    """The group's sum."""
    return actions.sum(-1)


def agreement(actions: Floats) -> Floats:
    """The share of agents in the round's most common state: a macro signal of groups whose actions are no numbers."""
    return np.max([(actions == s).mean(-1) for s in range(int(actions.max()) + 1)], axis=0)


@dataclass(frozen=True, eq=False)
class Group:
    """What a group of agents did. Made by a log's reader or by hand; read by `collectivity`."""

    name: str
    actions: NDArray[np.float64]
    """[T, N]: numbers, or codes from 0 where `states` is set."""
    macro: Floats | Macro
    """[T], as recorded; or how it is made of the actions."""
    target: float = 0.0
    """M of the game: the macro signal is taken from it, so that its sign is the feedback."""
    states: int | None = None
    """How many categories; `None` for numbers."""
    feedback: NDArray[np.float64] | None = None
    """[T], what all agents were told after the round; `None`: the sign of macro − target."""
    success: bool | None = None
    filled: int = 0
    """Actions that were missing or could not be read and stand in by the agent's last one."""
    condition: str = ""

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[1] < 2:
            raise UserError(
                f"group {self.name}: actions have the shape {self.actions.shape}; give [rounds, agents] with two agents or more"
            )
        if not np.isfinite(self.actions).all():
            raise UserError(f"group {self.name}: an action is not a finite number; leave it out or fill it")

    @property
    def signal(self) -> Floats:
        """V_t, the macro signal of each round less the target; [T]."""
        return self.signal_of(self.actions)

    def signal_of(self, actions: Floats) -> Floats:
        """The same of other actions [..., T, N]; a recorded macro signal stays what it was."""
        macro = self.macro(actions) if callable(self.macro) else np.broadcast_to(self.macro, actions.shape[:-1])
        return macro - self.target

    @property
    def told(self) -> NDArray[np.float64]:
        """What the agents could react to: the feedback, else the sign of V; of a V that never changes its sign, against its median."""
        if self.feedback is not None:
            return self.feedback
        v = self.signal
        return np.sign(v) if len(np.unique(np.sign(v))) > 1 else np.sign(v - np.median(v))

    @property
    def answers_itself(self) -> bool:
        """Whether the feedback is the sign of the group's own V, made of numbers: then it can be played anew."""
        return self.feedback is None and self.states is None and callable(self.macro) and len(np.unique(np.sign(self.signal))) > 1

    def first(self, rounds: int) -> Group:
        """Only the first rounds: games that were solved are shorter, and short ones more biased."""
        macro = self.macro if callable(self.macro) else self.macro[:rounds]
        feedback = None if self.feedback is None else self.feedback[:rounds]
        return replace(self, actions=self.actions[:rounds], macro=macro, feedback=feedback)


@dataclass(frozen=True, eq=False)
class Discrete:
    """A group's discrete series, or a stack of surrogates of them."""

    agents: Ints
    """[S, T, N], from 0 to K − 1."""
    macro: Ints
    """[S, T] or [1, T]."""
    K: int
    macro_states: int


@dataclass(frozen=True)
class Cut:
    """How series become states."""

    bins: int = 2
    detrend: bool = False
    """Take a straight line in time off every numeric series first, the macro signal included."""
    min_entropy: float = 0.0
    """Agents whose states have no more entropy than this (bits) are left out: a constant series tells nothing, and a prior on its empty
    cells would make it seem to."""

    def macro(self, v: Floats) -> Ints:
        """A macro signal [..., T] in `bins` states."""
        return quantile_bins(detrended(v) if self.detrend else v, self.bins)

    def agents(self, group: Group, actions: Floats) -> Ints:
        """Actions [..., T, N] in states; categories stay what they are."""
        if group.states is not None:
            return actions.astype(np.int64)
        x = np.swapaxes(actions, -1, -2)
        return np.swapaxes(quantile_bins(detrended(x) if self.detrend else x, self.bins), -1, -2)

    def states(self, group: Group) -> int:
        """K of a group."""
        return self.bins if group.states is None else group.states

    def __call__(self, group: Group) -> tuple[Discrete, NDArray[np.bool_]]:
        """The group's series, and which agents are kept [N]."""
        K = self.states(group)
        states = self.agents(group, group.actions)
        kept = occupied_entropy(states.T, K) > self.min_entropy + 1e-12
        return Discrete(states[None, :, kept], self.macro(group.signal)[None], K, self.bins), kept
