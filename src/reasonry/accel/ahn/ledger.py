"""What a patched block costs, by formula: operations and cached numbers of a context of L tokens, against full attention (table 1).

    full    4 L D K (Hq + Hkv) + 2 K Hq L²                                              cache 2 L K Hkv
    AHN     4 L D K (Hq + Hkv) + 2 K Hq W² + 2 (L − W)(2 W K Hq + K² Hq + 3 D Hq + K² Hq)   cache 2 W K Hkv + K² Hq

Multiply and add count as two. The paper's cell for full attention is not printed in that form; it is derived here, and both reproduce its
ratios. W counts the sinks. Letters: L tokens, D width, Hq, Hkv heads, K head size.
"""

from __future__ import annotations

from reasonry.accel.ahn.memory import Window
from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.engine.flops import block_flops, causal_pairs, head_flops, key_flops


def full_mixing_flops(c: DecoderConfig, L: int) -> float:
    """Projections and attention of one block over L tokens, full attention."""
    return _projections(c, L) + 2.0 * c.head_dim * c.num_heads * L**2


def ahn_mixing_flops(c: DecoderConfig, L: int, W: int) -> float:
    """The same with a lossless memory of W tokens and a hippocampus for the rest."""
    W = min(W, L)
    beyond = L - W
    return _projections(c, L) + 2.0 * c.head_dim * c.num_heads * W**2 + 4.0 * beyond * W * c.head_dim * c.num_heads + cell_flops(c, beyond)


def full_cache(c: DecoderConfig, L: int) -> int:
    """Cached numbers of one block, full attention."""
    return 2 * L * c.head_dim * c.num_kv_heads


def ahn_cache(c: DecoderConfig, L: int, W: int) -> int:
    """The same with a lossless memory of W tokens, the state included once it is used."""
    return full_cache(c, min(L, W)) + (c.head_dim**2 * c.num_heads if L > W else 0)


def cell_flops(c: DecoderConfig, tokens: int) -> float:
    """Gates, write, read and output matrix of one block for `tokens` tokens that leave the window."""
    return 2.0 * tokens * c.num_heads * (2 * c.head_dim**2 + 3 * c.hidden_size)


def parameters(c: DecoderConfig) -> int:
    """Trained numbers of all blocks' gates and output matrices: (3 D Hq + Hq K²) a block."""
    return c.num_layers * c.num_heads * (3 * c.hidden_size + c.head_dim**2)


def pairs(tokens: int, window: Window) -> int:
    """Query–key pairs of one block when `tokens` tokens attend to the window and the sinks."""
    full = min(tokens, window.rows)
    return full * (full + 1) // 2 + max(tokens - window.rows, 0) * window.rows


def cache_bytes(c: DecoderConfig, rows: int, itemsize: int, used: bool) -> int:
    """Bytes a patched block keeps for a context with `rows` tokens in window and sinks: keys, values, gates (fp32), the state (fp32)."""
    return rows * (full_cache(c, 1) * itemsize + 2 * 4 * c.num_heads) + (4 * c.num_heads * c.head_dim**2 if used else 0)


def _projections(c: DecoderConfig, L: int) -> float:
    return 4.0 * L * c.hidden_size * c.head_dim * (c.num_heads + c.num_kv_heads)


def next_token_flops(c: DecoderConfig, n: int, window: Window | None) -> float:
    """The whole model for one token after `n` others, its logits included; `window` `None`: full attention."""
    attended = n + 1 if window is None else min(n + 1, window.rows)
    written = 0 if window is None else int(n + 1 > window.rows)
    return c.num_layers * (block_flops(c) + key_flops(c) * attended + cell_flops(c, written)) + head_flops(c)


def prompt_flops(c: DecoderConfig, n: int, window: Window | None) -> float:
    """The whole model for a prompt of `n` tokens, the last one's logits included."""
    seen = causal_pairs(n, 0) if window is None else pairs(n, window)
    written = 0 if window is None else max(n - window.rows, 0)
    return c.num_layers * (n * block_flops(c) + key_flops(c) * seen + cell_flops(c, written)) + head_flops(c)


def kept_bytes(c: DecoderConfig, n: int, window: Window | None, itemsize: int) -> int:
    """What the whole model keeps of `n` tokens."""
    if window is None:
        return c.num_layers * full_cache(c, n) * itemsize
    return c.num_layers * cache_bytes(c, min(n, window.rows), itemsize, n > window.rows)
