"""What thinking costs, in closed form: one long context against Delethink's chunks (arXiv 2510.06557, cost model).

Symbols: S thinking tokens, C chunk budget, m carry-over, |q| query tokens. A chunk's context is read (prefilled) once and its new
tokens are sampled, so a carried token is processed twice. Attention is counted by one of two conventions, and figures from the two
must not be mixed: `causal` (a token attends to itself and what stands before it: n (n + 1) / 2 pairs) or `full` (n² pairs, as a dense
kernel without a causal skip would compute). FLOPs per token and per pair are the engine's own (`lm.engine.flops`). A call's last
sampled token is handed back without being run through the network, in the engine as in these formulas.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil

from reasonry.core import UserError
from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.engine.flops import block_flops, causal_pairs, head_flops, key_flops

Pairs = Callable[[int, int], int]
"""(new tokens, tokens before them) -> query–key pairs computed in one block."""

causal: Pairs = causal_pairs
"""Each token attends to itself and to all before it."""


def full(new: int, past: int) -> int:
    """Every new token's row is computed against the whole context, before and after it."""
    return new * (past + new)


R1_DISTILL_1_5B = DecoderConfig(
    vocab_size=151_936, hidden_size=1536, num_layers=28, num_heads=12, num_kv_heads=2, head_dim=128, intermediate_size=8960,
    max_position=131_072, qkv_bias=True, tie_embeddings=False,
)  # fmt: skip
"""The shape of the paper's model, R1-Distill-Qwen-1.5B."""


@dataclass(frozen=True, slots=True)
class Call:
    """One model call, as far as it costs."""

    context: int
    """Tokens it was given, |x|."""
    sampled: int
    """Tokens it sampled, |y|."""
    cached: int = 0
    """Of the context, those whose keys and values were found in a prefix cache."""


@dataclass(frozen=True, slots=True)
class ThinkingCost:
    """What a thought costs."""

    sampled: int
    """Σ |y_l|."""
    read: int
    """Σ |x_l|: context tokens, the carried ones again at each boundary, cached or not."""
    peak_kv_tokens: int
    """The most tokens whose keys and values were held at once."""
    linear_flops: float
    """Projections, MLPs and output layer."""
    attention_flops: float

    @property
    def processed(self) -> int:
        """Σ |x_l| + |y_l|."""
        return self.sampled + self.read

    @property
    def flops(self) -> float:
        """All of them."""
        return self.linear_flops + self.attention_flops


def cost_of_calls(config: DecoderConfig, calls: Iterable[Call], pairs: Pairs = causal) -> ThinkingCost:
    """The cost of model calls made one after another; each samples at least one token."""
    sampled = read = peak = attended = run = 0
    for call in calls:
        new = call.context - call.cached + call.sampled - 1
        sampled, read, run = sampled + call.sampled, read + call.context, run + new
        attended += pairs(new, call.cached)
        peak = max(peak, call.cached + new)
    linear = config.num_layers * run * block_flops(config) + sampled * head_flops(config)
    return ThinkingCost(sampled, read, peak, linear, config.num_layers * attended * key_flops(config))


def chunks(S: int, C: int, m: int) -> list[int]:
    """How many tokens each chunk samples on the way to S: C, then C - m each, the last one what remains."""
    if not 0 <= m < C:
        raise UserError(f"Delethink: m is {m} but must be smaller than C ({C}); lower m or raise C.")
    if S <= C:
        return [S]
    later = ceil((S - C) / (C - m))
    return [C] + [C - m] * (later - 1) + [S - C - (later - 1) * (C - m)]


def longcot_cost(config: DecoderConfig, S: int, query: int = 1, pairs: Pairs = causal) -> ThinkingCost:
    """S thinking tokens in one context: FLOPs O(S²), memory O(S)."""
    return cost_of_calls(config, [Call(query, S)], pairs)


def thinking_cost(config: DecoderConfig, S: int, C: int, m: int, query: int = 1, pairs: Pairs = causal) -> ThinkingCost:
    """S thinking tokens in Delethink's chunks: FLOPs O(S), memory O(1). Raises UserError unless 0 <= m < C."""
    return cost_of_calls(config, [Call(query + (m if l else 0), y) for l, y in enumerate(chunks(S, C, m))], pairs)


def crossover(config: DecoderConfig, C: int, m: int, query: int = 1, pairs: Pairs = causal) -> int:
    """The first thinking length at which Delethink takes no more FLOPs than one long context. Raises UserError unless 0 <= m < C.

    Found in the first chunk that ends cheaper; inside a chunk the long context grows faster with every token, so bisection is exact.
    """

    def pays(S: int) -> bool:
        return thinking_cost(config, S, C, m, query, pairs).flops <= longcot_cost(config, S, query, pairs).flops

    start = C
    while not pays(start + C - m):
        start += C - m
    return start + 1 + bisect_left(range(start + 1, start + C - m), True, key=pays)
