"""What a forward pass costs, in floating-point operations; the one place where the formula is written.

A multiply and an add count as two. Per token and block: two for each weight of the block's matrices, and 4 · Hq · K for each key
attended to (q·k and the weighted sum of values). The output layer, 2 · D · V, is paid only where logits are wanted. Norms, rotations
and softmax are left out, as usual (they are below one per cent).
"""

from __future__ import annotations

from reasonry.lm.decoder import DecoderConfig


def block_flops(config: DecoderConfig) -> float:
    """One block's matrices for one token: 2 · (D·Hq·K + 2·D·Hkv·K + Hq·K·D + 3·D·F)."""
    c = config
    attention = c.hidden_size * c.head_dim * 2 * (c.num_heads + c.num_kv_heads)
    return 2.0 * (attention + 3 * c.hidden_size * c.intermediate_size)


def key_flops(config: DecoderConfig) -> float:
    """One query attending to one key in one block: 4 · Hq · K."""
    return 4.0 * config.num_heads * config.head_dim


def head_flops(config: DecoderConfig) -> float:
    """Logits of one token: 2 · D · V."""
    return 2.0 * config.hidden_size * config.vocab_size


def causal_pairs(new: int, past: int) -> int:
    """Query–key pairs when `new` tokens come after `past` ones, each seeing itself and all before it."""
    return new * past + new * (new + 1) // 2


def forward_flops(config: DecoderConfig, new: int, pairs: int, logits: int, layers: int | None = None) -> float:
    """`new` tokens through `layers` blocks (`None`: all), `pairs` query–key pairs per block, `logits` rows of logits."""
    run = config.num_layers if layers is None else layers
    return run * (new * block_flops(config) + pairs * key_flops(config)) + logits * head_flops(config)
