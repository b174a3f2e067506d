"""Losses over a grid: stablemax or softmax cross-entropy, averaged over the labelled cells of each row (arXiv 2501.04697; 2510.04871).

Stablemax replaces exp by s(v) = v + 1 for v ≥ 0 and 1 / (1 − v) below, which cannot overflow; p = s / Σ s, in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

UNLABELLED = 0
"""Token of cells that carry no loss: padding."""

LogProbs = Callable[[Tensor], Tensor]
"""Logits [..., V] -> log-probabilities [..., V]."""


def s(v: Tensor) -> Tensor:
    """s(v) = v + 1 for v ≥ 0, 1 / (1 − v) below: rising, 1 at 0 and there with slope 1 from both sides."""
    return torch.where(v >= 0, v + 1, 1 / (1 - v.clamp(max=0)))


def log_stablemax(logits: Tensor) -> Tensor:
    """log(s / Σ s) over the last axis, in float64."""
    weights = s(logits.double())
    return weights.log() - weights.sum(-1, keepdim=True).log()


def log_softmax(logits: Tensor) -> Tensor:
    """The usual one, in fp32."""
    return F.log_softmax(logits.float(), dim=-1)


def grid_loss(logits: Tensor, labels: Tensor, log_probs: LogProbs) -> Tensor:
    """Cross-entropy averaged over each row's labelled cells: logits [B, L, V], labels [B, L] -> [B]."""
    labelled = labels != UNLABELLED
    found = log_probs(logits).gather(-1, labels[..., None]).squeeze(-1)
    return -(found * labelled).sum(-1) / labelled.sum(-1).clamp(min=1)


def solved(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether every labelled cell is right: [B] booleans."""
    return ((logits.argmax(-1) == labels) | (labels == UNLABELLED)).all(-1)
