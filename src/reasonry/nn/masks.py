"""Attention masks from group ids: one small algebra for parallel paths, retrieved blocks, packed documents and windows.

A mask is boolean [B, T, S], true where query t may look at key s; they combine with `&` and `|`. Group ids are integers [B, T]; tokens
with id `PAD` neither look nor are looked at by others (each still sees itself, so that no softmax is empty).

For parallel paths a group id also says which thought embedding a token gets (`thoughts`); paths of one tag are groups `TAGS` apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

PAD = -1
PROMPT, SUMMARY = 0, -2
"""What every path sees, and what sees every path; groups from 1 on are paths."""
TAGS = 4096
"""Groups i, i + TAGS, i + 2 · TAGS, … are paths of the same tag i, which do not see one another."""


def before(positions_or_order: Tensor) -> Tensor:
    """[B, T] -> [B, T, T]: key's order is at most the query's. Plain causality when the order is 0, 1, 2, …"""
    return positions_or_order[:, None, :] <= positions_or_order[:, :, None]


def causal(length: int, device: torch.device | None = None) -> Tensor:
    """[1, T, T] lower triangle, diagonal included."""
    return torch.ones(1, length, length, dtype=torch.bool, device=device).tril()


def same_group(groups: Tensor) -> Tensor:
    """[B, T] -> [B, T, T]: block-diagonal, for packed documents and isolated paths."""
    return groups[:, None, :] == groups[:, :, None]


def not_padding(groups: Tensor) -> Tensor:
    """[B, T] -> [B, T, T]: `PAD` tokens see and are seen by themselves only."""
    real = groups != PAD
    eye = torch.eye(groups.shape[1], dtype=torch.bool, device=groups.device)
    return (real[:, None, :] & real[:, :, None]) | eye


def packed(groups: Tensor) -> Tensor:
    """Causal within each document: [B, T] -> [B, T, T]. What keeps packed training rows from seeing one another."""
    return causal(groups.shape[1], groups.device) & same_group(groups) & not_padding(groups)


def two_stage(groups: Tensor, prompt: int = PROMPT, summary: int = SUMMARY) -> Tensor:
    """Paths see the prompt and themselves, the summary sees everything, all causally: [B, T] -> [B, T, T].

    ParaThinker's attention (arXiv 2509.04475, eq. 6).
    """
    sees = same_group(groups) | (groups == prompt)[:, None, :] | (groups == summary)[:, :, None]
    return causal(groups.shape[1], groups.device) & sees & not_padding(groups)


def thoughts(groups: Tensor) -> Tensor:
    """The thought embedding of each token by its group, [...] -> [...]: 0 for prompt and summary, its tag for a path's."""
    return groups.clamp(min=0) % TAGS


def block_causal(blocks: Tensor) -> Tensor:
    """A token sees its own block whole and all earlier blocks: [B, T] non-decreasing block ids -> [B, T, T]."""
    return before(blocks)


def window(length: int, size: int, sinks: int = 0, device: torch.device | None = None) -> Tensor:
    """[1, T, T]: the last `size` tokens, itself included, and the first `sinks` ones."""
    t = torch.arange(length, device=device)
    near = (t[:, None] - t[None, :]) < size
    return causal(length, device) & (near | (t < sinks)[None, :])[None]
