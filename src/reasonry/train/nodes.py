"""Values of a search tree as what an objective reads: `Recipe.enrich` for attempts that are ways through a tree (DeepSearch, 2509.25454).

An attempt's `meta["q"]` has the value of the node that each of its segments made, and for the last one what its end was worth, +1 or −1.
Every segment becomes a step (`Tokens.step`), its q the value of its tokens (`Tokens.value`), and the end's worth the reward, so that
`credit.NodeValue` finds rewards and values on one scale. What else the reward holds beside the verdict's score (an overlong penalty) is
added to every node of the way, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from reasonry.core import Trajectory, UserError
from reasonry.train.tokens import Tokens


def node_values(tokens: Tokens, trajectories: Sequence[Trajectory]) -> Tokens:
    """The tokens with `step`, `value` and the ends' worth as `reward`. Raises UserError for attempts without values."""
    q: list[float] = []
    for i, t in enumerate(trajectories):
        own, segments = t.meta.get("q"), int((tokens.trajectory == i).sum())
        if own is None or len(own) != segments:
            found = "none" if own is None else len(own)
            raise UserError(f"deepsearch: an attempt has {segments} trained calls but {found} node values; explore with deepsearch")
        q += own
    value, last = torch.tensor(q, dtype=torch.float32), torch.ones(len(q), dtype=torch.bool)
    last[:-1] = tokens.trajectory[1:] != tokens.trajectory[:-1]
    score = tokens.signals.get("score")
    beside = torch.zeros_like(tokens.reward) if score is None else tokens.reward - score
    return replace(
        tokens,
        step=torch.unique(tokens.segment, return_inverse=True)[1],
        value=(value + beside[tokens.trajectory])[tokens.segment],
        reward=value[last] + beside,
    )
