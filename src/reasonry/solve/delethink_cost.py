"""What thinking costs, in closed form: one long context against Delethink's chunks (arXiv 2510.06557, cost model).

Symbols: S thinking tokens, C chunk budget, m carry-over, |q| query tokens. A chunk's context is read (prefilled) once and its new
tokens are sampled, so a carried token is processed twice. Attention is counted by one of two conventions, and figures from the two
must not be mixed: `causal` (a token attends to itself and what stands before it: n (n + 1) / 2 pairs) or `full` (n² pairs, as a dense
kernel without a causal skip would compute). A multiply and an add count as two; norms, rotations, softmax and the embedding look-up
are left out. The output layer is counted once per sampled token.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from reasonry.core import UserError

Pairs = Callable[[int], float]
"""Context length n -> query–key pairs attended to."""


def causal(n: int) -> float:
    """n (n + 1) / 2: each token attends to itself and to what stands before it."""
    return n * (n + 1) / 2


def full(n: int) -> float:
    """n²: every token attends to every other."""
    return float(n * n)


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's shape, as far as it costs."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ff: int
    vocab: int
    bytes_per_value: int = 2
    """Of the key-value cache."""

    @property
    def linear_flops(self) -> float:
        """FLOPs of all projections and MLPs for one token."""
        attention = self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return 2.0 * self.layers * (attention + 3 * self.width * self.ff)

    @property
    def pair_flops(self) -> float:
        """FLOPs of one query–key pair over all layers and heads: the score and the weighted value."""
        return 4.0 * self.layers * self.heads * self.head_dim

    @property
    def head_flops(self) -> float:
        """FLOPs of the output layer for one token."""
        return 2.0 * self.width * self.vocab

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values per cached token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.bytes_per_value


R1_DISTILL_1_5B = Shape(layers=28, width=1536, heads=12, kv_heads=2, head_dim=128, ff=8960, vocab=151_936)
"""The shape of the paper's model, R1-Distill-Qwen-1.5B."""


@dataclass(frozen=True, slots=True)
class ThinkingCost:
    """What a thought costs. `sampled` + `prefilled` = `processed` tokens."""

    sampled: int
    prefilled: int
    peak_kv_tokens: int
    peak_kv_bytes: int
    linear_flops: float
    """Projections, MLPs and output layer."""
    attention_flops: float

    @property
    def processed(self) -> int:
        """Tokens that go through the network: Σ |x_l| + |y_l|."""
        return self.sampled + self.prefilled

    @property
    def flops(self) -> float:
        """All of them."""
        return self.linear_flops + self.attention_flops


def cost_of_calls(shape: Shape, calls: Sequence[tuple[int, int]], pairs: Pairs = causal) -> ThinkingCost:
    """The cost of separate model calls, given as (context tokens, sampled tokens) each; no cache is shared between them."""
    sampled, prefilled = sum(y for _, y in calls), sum(x for x, _ in calls)
    peak = max((x + y for x, y in calls), default=0)
    linear = shape.linear_flops * (sampled + prefilled) + shape.head_flops * sampled
    attention = shape.pair_flops * sum(pairs(x + y) for x, y in calls)
    return ThinkingCost(sampled, prefilled, peak, peak * shape.kv_bytes, linear, attention)


def chunks(S: int, C: int, m: int) -> list[int]:
    """How many tokens each chunk samples on the way to S: C, then C - m each, the last one what remains."""
    if not 0 <= m < C:
        raise UserError(f"Delethink: m is {m} but must be smaller than C ({C}); lower m or raise C.")
    if S <= C:
        return [S]
    later = ceil((S - C) / (C - m))
    return [C] + [C - m] * (later - 1) + [S - C - (later - 1) * (C - m)]


def longcot_cost(shape: Shape, S: int, query: int = 0, pairs: Pairs = causal) -> ThinkingCost:
    """S thinking tokens in one context: FLOPs O(S²), memory O(S)."""
    return cost_of_calls(shape, [(query, S)], pairs)


def thinking_cost(shape: Shape, S: int, C: int, m: int, query: int = 0, pairs: Pairs = causal) -> ThinkingCost:
    """S thinking tokens in Delethink's chunks: FLOPs O(S), memory O(1). Raises UserError unless 0 <= m < C."""
    lengths = chunks(S, C, m)
    return cost_of_calls(shape, [(query + (m if l else 0), y) for l, y in enumerate(lengths)], pairs)


def crossover(shape: Shape, C: int, m: int, query: int = 0, pairs: Pairs = causal) -> int:
    """The first thinking length at which Delethink takes no more FLOPs than one long context. Raises UserError unless 0 <= m < C.

    Found in the first chunk that ends cheaper; inside a chunk the long context grows faster with every token, so bisection is exact.
    """

    def pays(S: int) -> bool:
        return thinking_cost(shape, S, C, m, query, pairs).flops <= longcot_cost(shape, S, query, pairs).flops

    start = C
    while not pays(start + C - m):
        start += C - m
    return start + 1 + bisect_left(range(start + 1, start + C - m), True, key=pays)
