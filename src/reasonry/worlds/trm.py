"""The Tiny Recursive Model (arXiv 2510.04871): one small network that improves an answer y and a thought z about it, over and over.

Symbols: x the embedded puzzle, y the current answer, z the latent, each [B, P+L, D]; f the network; T recursions of n + 1 evaluations in a
supervision step, of which the last recursion carries gradients; N_sup supervision steps. B rows, L cells, P prefix positions, D width,
V tokens.

    recursion:         n times  z = f(z + y + x),  then  y = f(y + z)
    supervision step:  T − 1 recursions without gradients, one with; then the heads read y

Post-norm without gain keeps the root mean square of every position of y and z at one. As in the released code, the mixer's norm runs along
the axis it mixes, and the halting head has a second output that only HRM's rule reads.

Differs from the released code: positions of the prefix that the puzzle's embedding does not fill are zeros here too, but a network without
puzzle embeddings has no table at all.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonry.core import UserError
from reasonry.nn.attention import attention
from reasonry.nn.rope import Plain, rotate, rotation
from reasonry.worlds.trm_quick import EPS, Half


class Mixer(StrEnum):
    """How positions hear of one another."""

    MLP = "mlp"
    """A SwiGLU along the sequence: for small fixed grids."""
    ATTENTION = "attention"
    """Bidirectional, with rotary positions: for large grids."""


@dataclass(frozen=True)
class Shape:
    """The network. The defaults are the paper's for 9×9 sudoku."""

    vocab: int = 11
    cells: int = 81
    """L."""
    width: int = 512
    """D."""
    layers: int = 2
    heads: int = 8
    mixer: Mixer = Mixer.MLP
    expansion: float = 4.0
    round_to: int = 256
    """Hidden sizes are rounded up to a multiple of it."""
    prefix: int = 16
    """P, positions before the grid. The first is read by the halting head."""
    puzzles: int = 0
    """Rows of the table of puzzle embeddings; 0 is no table."""
    puzzle_width: int = 512
    """Of a puzzle's embedding; at most P·D."""
    T: int = 3
    n: int = 6
    N_sup: int = 16
    through: int | None = None
    """How many evaluations at the end of the last recursion carry gradients: all n + 1 (`None`), or 2 for HRM's one-step gradient."""
    answer: bool = True
    """Keep the answer y beside z; without it, z is both and a recursion is n + 1 times z = f(z + x)."""
    latents: int = 1
    """M: how many z there are, renewed in turn: z_i = f(Σ z + y + x), then y = f(y + Σ z). The paper finds that more hurt."""
    networks: int = 1
    """1, or 2: another network for the update of y, as in HRM."""

    def __post_init__(self) -> None:
        for name in ("vocab", "cells", "width", "layers", "heads", "round_to", "prefix", "T", "N_sup", "latents"):
            if getattr(self, name) < 1:
                raise UserError(f"TRM: {name} is {getattr(self, name)} but must be at least 1")
        if self.n < (1 if self.answer else 0):
            raise UserError(f"TRM: n is {self.n} but must be at least {1 if self.answer else 0}")
        if self.width % self.heads or self.width // self.heads % 2:
            raise UserError(f"TRM: width is {self.width} but must be an even multiple of heads ({self.heads}); change one of them")
        if self.latents > 1 and (self.latents > self.n or not self.answer):
            raise UserError(f"TRM: latents is {self.latents} but must be at most n ({self.n}), and 1 without an answer beside z")
        if self.networks not in (1, 2):
            raise UserError(f"TRM: networks is {self.networks} but must be 1 or 2")
        if self.networks == 2 and not self.answer:
            raise UserError("TRM: networks is 2 but there is no answer for the second to update; set networks to 1 or answer to true")
        if self.through is not None and not 1 <= self.through <= self.n + 1:
            raise UserError(f"TRM: through is {self.through} but must be 1 to n + 1 ({self.n + 1}), or be left out for all")
        if self.puzzles and self.puzzle_width > self.prefix * self.width:
            raise UserError(
                f"TRM: puzzle_width is {self.puzzle_width} but prefix x width has room for {self.prefix * self.width}; lower it"
            )

    @property
    def positions(self) -> int:
        """P + L."""
        return self.prefix + self.cells

    @property
    def evaluations(self) -> int:
        """Of f, in one supervision step: T(n + 1)."""
        return self.T * (self.n + 1)

    @property
    def traced(self) -> int:
        """Evaluations with gradients, per supervision step."""
        return self.n + 1 if self.through is None else self.through

    def hidden(self, width: int) -> int:
        """Hidden size of a SwiGLU over `width` features."""
        return -(-round(self.expansion * width * 2 / 3) // self.round_to) * self.round_to

    def step_flops(self) -> float:
        """Floating-point operations of one supervision step of one row, forward; a multiply and an add are two."""
        positions, D = self.positions, self.width
        mlp = 3 * D * self.hidden(D) * positions
        mix = (
            3 * positions * self.hidden(positions) * D if self.mixer is Mixer.MLP else 4 * D * D * positions + 2 * positions * positions * D
        )
        return 2.0 * (self.evaluations * self.layers * (mlp + mix) + self.cells * D * self.vocab + 2 * D)

    def training_flops(self) -> float:
        """The same with the backward pass: twice the forward one, over the evaluations that carry gradients."""
        heads = 2.0 * (self.cells * self.width * self.vocab + 2 * self.width)
        return self.step_flops() + 2 * ((self.step_flops() - heads) * self.traced / self.evaluations + heads)


def rms(h: Tensor) -> Tensor:
    """h over the root mean square of its last axis, computed in fp32 at least (ε `EPS`), in h's type."""
    return F.rms_norm(h.to(torch.promote_types(h.dtype, torch.float32)), h.shape[-1:], eps=EPS).to(h.dtype)


class Linear(nn.Module):
    """x [..., I] -> [..., O] without bias, in x's type; LeCun normal weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal((outputs, inputs), inputs**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        """x W^T."""
        return F.linear(x, self.weight.to(x.dtype))


class SwiGLU(nn.Module):
    """(silu(x G) ∘ x U) W (Shazeer, arXiv 2002.05202): [..., I] -> [..., I]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = Linear(width, hidden)
        self.up = Linear(width, hidden)
        self.down = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., I]."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class SelfAttention(nn.Module):
    """Every position looks at every other: [B, S, D] -> [B, S, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """With rotary positions 0 … S − 1."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        positions = torch.arange(x.shape[1], device=x.device)[None]
        cos, sin = rotation(positions, Plain(), 10000.0, q.shape[-1], x.dtype)
        return self.out(attention(rotate(q, cos, sin), rotate(k, cos, sin), v).flatten(-2))


class Block(nn.Module):
    """h = rms(h + mix(h)); h = rms(h + SwiGLU(h)). [B, S, D] -> [B, S, D]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        S = shape.positions
        along = shape.mixer is Mixer.MLP
        self.mix = SwiGLU(S, shape.hidden(S)) if along else SelfAttention(shape.width, shape.heads)
        self.mlp = SwiGLU(shape.width, shape.hidden(shape.width))
        self.along = along

    def forward(self, h: Tensor) -> Tensor:
        """Mixes positions, then features."""
        if self.along:
            across = h.transpose(1, 2)
            h = rms(across + self.mix(across)).transpose(1, 2)
        else:
            h = rms(h + self.mix(h))
        return rms(h + self.mlp(h))

    def quick(self, h: Tensor) -> Tensor:
        """The same of [S, B, D], for the MLP mixer."""
        assert isinstance(self.mix, SwiGLU), "attention has no quick form"
        for along, half in ((True, self.mix), (False, self.mlp)):
            flat = h.reshape(len(h), -1) if along else h.reshape(-1, h.shape[-1])
            h = cast(Tensor, Half.apply(flat, half.gate.weight, half.up.weight, half.down.weight, along)).view_as(h)
        return h


class Network(nn.Module):
    """f: the blocks, one after another."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))

    def forward(self, h: Tensor, quick: bool = False) -> Tensor:
        """[B, P+L, D] -> [B, P+L, D]; with `quick` [P+L, B, D] -> [P+L, B, D], computed as `trm_quick` says."""
        for block in self.blocks:
            h = cast(Block, block).quick(h) if quick else block(h)
        return h


class Thought(NamedTuple):
    """What is carried from one supervision step to the next."""

    y: Tensor
    """[B, P+L, D]."""
    z: Tensor
    """[B, P+L, D], or where there are M latents [B, P+L, M·D]."""


class Seen(NamedTuple):
    """What the heads read after a supervision step."""

    logits: Tensor
    """[B, L, V]."""
    halt: Tensor
    """[B] in the weights' type; above 0: the answer is thought right."""
    go_on: Tensor
    """[B] likewise: the second output."""


class TRM(nn.Module):
    """The network, its embedding and its two heads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        D = shape.width
        self.shape = shape
        self.embed = nn.Parameter(truncated_normal((shape.vocab, D), D**-0.5))
        self.f = Network(shape)
        self.second = Network(shape) if shape.networks == 2 else None
        self.head = Linear(D, shape.vocab)
        self.halt = nn.Linear(D, 2)
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, -5.0)
        self.register_buffer("y0", truncated_normal((D,), 1.0))
        self.register_buffer("z0", truncated_normal((shape.latents * D,), 1.0))
        self.register_buffer("puzzles", torch.zeros(shape.puzzles, shape.puzzle_width) if shape.puzzles else None)

    y0: Tensor
    z0: Tensor
    puzzles: Tensor | None

    def begin(self, rows: int, dtype: torch.dtype = torch.float32) -> Thought:
        """(y0, z0) for `rows` puzzles."""
        y, z = (state.to(dtype).expand(rows, self.shape.positions, -1) for state in (self.y0, self.z0))
        return Thought(y, z)

    def embedded(self, cells: Tensor, puzzle: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """x = √D · [prefix ; token embeddings]: cells [B, L], puzzle embeddings [B, `puzzle_width`] -> [B, P+L, D]."""
        B, P, D = cells.shape[0], self.shape.prefix, self.shape.width
        if puzzle is None:
            prefix = torch.zeros(B, P, D, dtype=dtype, device=cells.device)
        else:
            prefix = F.pad(puzzle.to(dtype), (0, P * D - puzzle.shape[1])).view(B, P, D)
        return math.sqrt(D) * torch.cat((prefix, F.embedding(cells, self.embed).to(dtype)), dim=1)

    def latent_recursion(self, x: Tensor, y: Tensor, z: Tensor, traced: int, quick: bool = False) -> Thought:
        """n updates of z, then one of y; gradients flow through the last `traced` of these n + 1 evaluations. `quick` as in `Network`."""
        shape = self.shape
        latents = list(z.split(shape.width, -1))
        for i in range(shape.n):
            with nullcontext() if shape.n + 1 - i <= traced else torch.no_grad():
                thought = reduce(torch.add, latents)
                latents[i % shape.latents] = self.f(thought + y + x if shape.answer else thought + x, quick)
        thought = reduce(torch.add, latents)
        if not shape.answer:
            z = self.f(thought + x, quick)
            return Thought(z, z)
        f = self.f if self.second is None else self.second
        return Thought(f(y + thought, quick), torch.cat(latents, -1) if shape.latents > 1 else thought)

    def deep_recursion(self, x: Tensor, thought: Thought) -> tuple[Thought, Seen]:
        """One supervision step: T recursions, the last with gradients. The thought comes back detached."""
        y, z = thought
        quick = self.shape.mixer is Mixer.MLP and x.device.type == "cpu" and x.dtype == self.embed.dtype
        if quick:
            x, y, z = (state.transpose(0, 1).contiguous() for state in (x, y, z))
        with torch.no_grad():
            for _ in range(self.shape.T - 1):
                y, z = self.latent_recursion(x, y, z, 0, quick)
        y, z = self.latent_recursion(x, y, z, self.shape.traced, quick)
        if quick:
            y, z = y.transpose(0, 1), z.transpose(0, 1)
        return Thought(y.detach(), z.detach()), self.read(y)

    def read(self, y: Tensor) -> Seen:
        """The heads: logits of every cell, and the halting head at the first position."""
        halt, go_on = F.linear(y[:, 0].to(self.halt.weight.dtype), self.halt.weight, self.halt.bias).unbind(-1)
        return Seen(self.head(y[:, self.shape.prefix :]), halt, go_on)


def truncated_normal(size: tuple[int, ...], std: float) -> Tensor:
    """A normal cut at two deviations, widened so that what is left has the deviation `std`."""
    tail = 2 / math.sqrt(2 * math.pi) * math.exp(-2.0)
    inside = math.erf(math.sqrt(2.0))
    kept = math.sqrt(1 - 2 * tail / inside)
    return nn.init.trunc_normal_(torch.empty(size), std=std / kept, a=-2 * std / kept, b=2 * std / kept)


def parameters_of(model: TRM) -> int:
    """Trained numbers, the table of puzzle embeddings not counted."""
    return sum(p.numel() for p in model.parameters())
