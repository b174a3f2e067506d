"""How old the tokens of an attempt are, from the versions the engine wrote on them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from reasonry.core import Ids, Segment, Trajectory
from reasonry.train.reward import Rewarded


def versions_of(segment: Segment) -> Ids:
    """Which weights sampled each of its tokens; empty where it has no ids."""
    return segment.versions or (segment.policy_version,) * len(segment.ids or ())


def oldest(trajectories: Iterable[Trajectory]) -> int | None:
    """The oldest weights that sampled any token; `None` where there is none."""
    return min((v for t in trajectories for s in t.segments for v in versions_of(s)), default=None)


def staleness(groups: Sequence[Sequence[Rewarded]], step: int) -> dict[str, float]:
    """What was learned from at a step, in updates behind it: `staleness` on average and `staleness_max` of all tokens, and `versions`, how
    many different weights an answer came from on average. Nothing where there are no tokens."""
    attempts = [[v for s in r.trajectory.segments for v in versions_of(s)] for group in groups for r in group]
    behind = [step - v for versions in attempts for v in versions]
    if not behind:
        return {}
    several = statistics.fmean(len(set(versions)) for versions in attempts if versions)
    return {"staleness": statistics.fmean(behind), "staleness_max": max(behind), "versions": several}
