"""What a step of parallel decoding costs by its width, in closed form: bytes moved and arithmetic (arXiv 2509.04475, latency).

A decoding step reads every weight once, whatever the width, and each path's keys and values so far. So where a step's time is that of its
bytes, P paths cost little more than one, as long as their keys and values are few beside the weights; arithmetic grows with P all the same.
`reads` counts the prompt once a path, as kernels do that attend row by row, or, `shared`, once.

Symbols: P paths, l_x prompt tokens, t tokens of a path so far.
"""

from __future__ import annotations

from dataclasses import dataclass

from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.engine.flops import block_flops, forward_flops


@dataclass(frozen=True, slots=True)
class Step:
    """One batched decoding step."""

    weight_bytes: float
    kv_bytes: float
    flops: float

    @property
    def bytes(self) -> float:
        """Moved in all."""
        return self.weight_bytes + self.kv_bytes

    def seconds(self, bandwidth: float, arithmetic: float) -> float:
        """On a machine of so many bytes and operations a second that does both at once (the roofline): the slower of the two."""
        return max(self.bytes / bandwidth, self.flops / arithmetic)


def weights(config: DecoderConfig) -> float:
    """Numbers that a step reads: the blocks' matrices and the output layer."""
    return config.num_layers * block_flops(config) / 2 + config.hidden_size * config.vocab_size


def kv_numbers(config: DecoderConfig) -> int:
    """Keys and values of one token, in numbers."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim


def decoding_step(config: DecoderConfig, paths: int, prompt: int, tokens: int, number: int = 2, shared: bool = False) -> Step:
    """A step of `paths` rows that hold `prompt` tokens in common and `tokens` of their own each; `number` bytes a number."""
    reads = (prompt if shared else paths * prompt) + paths * tokens
    pairs = paths * (prompt + tokens + 1)
    return Step(number * weights(config), number * kv_numbers(config) * reads, forward_flops(config, paths, pairs, paths))


def thinking_seconds(
    config: DecoderConfig, paths: int, prompt: int, budget: int, bandwidth: float, arithmetic: float, every: int = 256
) -> float:
    """Seconds of thinking `budget` tokens on each path by the roofline, in strides of `every` tokens."""
    starts = range(0, budget, every)
    return sum(min(every, budget - t) * decoding_step(config, paths, prompt, t + every // 2).seconds(bandwidth, arithmetic) for t in starts)
