"""The decoder's forward pass over the flat tokens of a step, in fewer and larger operations.

At the sizes of the pocket models a step on a CPU is bound by how many operations it has, not by their arithmetic. So query, key and value
projections are one product, so are gate and up; norms' weights are folded into the products that follow; sums with the residual stream ride
on the products before them. The result is `Decoder.forward`'s up to rounding; `Decoder` is the naive twin, and the way larger models go.

Invariant: `Fused` holds a copy of the weights, as they were when it was made; it is made anew when weights change.

Letters: N tokens, D width, F width of the MLP, Hq, Hkv, K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.lm.decoder import Block, Decoder, Program
from reasonry.lm.engine.batch import Batch
from reasonry.nn.attention import Site
from reasonry.nn.norm import RMSNorm

SMALL = 50_000_000
"""Parameters below which a decoder is bound by operations: one thread serves it best, and a copy of its weights is worth the memory."""


Turn = tuple[Tensor, Tensor]
"""cos and sin of the tokens' positions, as a way of computing wants them."""


class Blocks(Protocol):
    """A way of computing, block by block."""

    def begin(self, batch: Batch) -> tuple[Tensor, Turn]:
        """Embeddings [N, D] and rotation of a step's tokens."""
        ...

    def block(self, site: Site, x: Tensor, turn: Turn, batch: Batch) -> Tensor:
        """One block: x [N, D] -> [N, D]."""
        ...


@dataclass(frozen=True)
class Plain:
    """`Decoder.forward`'s own blocks."""

    decoder: Decoder

    def begin(self, batch: Batch) -> tuple[Tensor, Turn]:
        """See `Blocks`."""
        x = self.decoder.embed_tokens(batch.ids)
        return x[0], self.decoder.rotation(batch.positions, x.dtype)

    def block(self, site: Site, x: Tensor, turn: Turn, batch: Batch) -> Tensor:
        """See `Blocks`."""
        return self.decoder.layers[site.layer](site, x[None], turn, batch, None, batch.thoughts)[0]


def plain(decoder: Decoder, batch: Batch, program: Program | None) -> Tensor:
    """Hidden states [N, D] after the final norm, by `Decoder.forward` itself."""
    return decoder(batch.ids, batch.positions, batch, program=program, thoughts=batch.thoughts).last[0]


def fits(decoder: Decoder) -> bool:
    """Whether `Fused` serves a decoder: small, fp32, on a CPU, without biases on the products it folds sums into."""
    weight, c = decoder.embed_tokens.weight, decoder.config
    small = sum(p.numel() for p in decoder.parameters()) < SMALL
    return small and weight.dtype == torch.float32 and weight.device.type == "cpu" and not (c.o_bias or c.mlp_bias)


@dataclass(frozen=True)
class Layer:
    """One block's weights."""

    qkv: Tensor
    """[(Hq + 2 Hkv) · K, D], input norm folded in."""
    qkv_bias: Tensor | None
    thought: Tensor | None
    """[J + 1, K]."""
    heads: Tensor | None
    """Weights of the norms on queries and keys: [Hq + Hkv, K]."""
    out: Tensor
    """[Hq · K, D]."""
    gate_up: Tensor
    """[2 F, D], the second norm folded in."""
    down: Tensor
    """[F, D]."""


class Fused:
    """A decoder's weights in the shapes of its largest products."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self._config = decoder, decoder.config
        with torch.no_grad():
            self._layers = [self._layer(block) for block in decoder.layers if isinstance(block, Block)]
            self._eps = torch.tensor(self._config.norm_eps)

    def __call__(self, batch: Batch, program: Program | None) -> Tensor:
        """Hidden states [N, D] after the final norm."""
        x, turn = self.begin(batch)
        passes = [0] * self._config.num_layers
        for i in range(self._config.num_layers) if program is None else program:
            x = self.block(Site(i, passes[i]), x, turn, batch)
            passes[i] += 1
        return self._decoder.norm(x)

    def begin(self, batch: Batch) -> tuple[Tensor, Turn]:
        """Embeddings [N, D], and the rotation of the batch's positions as `block` takes it."""
        x = self._decoder.embed_tokens(batch.ids[0])
        cos, sin = (turn[0] for turn in self._decoder.rotation(batch.positions, x.dtype))
        half = self._config.head_dim // 2
        return x, (cos, torch.cat((-sin[..., :half], sin[..., half:]), dim=-1))

    def block(self, site: Site, x: Tensor, turn: Turn, batch: Batch) -> Tensor:
        """One block: x [N, D] -> [N, D]."""
        c, layer, (cos, sin) = self._config, self._layers[site.layer], turn
        half, turned = c.head_dim // 2, c.num_heads + c.num_kv_heads
        qkv = F.linear(self._unit(x), layer.qkv, layer.qkv_bias).view(len(x), -1, c.head_dim)
        qk = qkv[:, :turned]
        if layer.heads is not None:
            qk = self._unit(qk) * layer.heads
        v = qkv[:, turned:]
        if layer.thought is not None and batch.thoughts is not None:
            t = layer.thought[batch.thoughts[0]][:, None]
            qk, v = torch.cat((qk[:, : c.num_heads], qk[:, c.num_heads :] + t), dim=1), v + t
        qk = torch.addcmul(qk * cos, torch.cat((qk[..., half:], qk[..., :half]), dim=-1), sin)
        mixed = batch.attend(site, qk[:, : c.num_heads], torch.stack((qk[:, c.num_heads :], v)))
        x = torch.addmm(x, mixed.view(len(x), -1), layer.out)
        gate, up = F.linear(self._unit(x), layer.gate_up).chunk(2, dim=-1)
        return torch.addmm(x, F.silu(gate) * up, layer.down)

    def _unit(self, x: Tensor) -> Tensor:
        """x / sqrt(mean(x²) + ε) over the last dimension."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * torch.addcmul(self._eps, length, length, value=1 / x.shape[-1]).rsqrt_()

    def _layer(self, block: Block) -> Layer:
        c, a, m = self._config, block.self_attn, block.mlp
        heads = None
        if isinstance(a.q_norm, RMSNorm) and isinstance(a.k_norm, RMSNorm):
            heads = torch.cat((a.q_norm.weight.expand(c.num_heads, -1), a.k_norm.weight.expand(c.num_kv_heads, -1)))
        return Layer(
            qkv=torch.cat((a.q_proj.weight, a.k_proj.weight, a.v_proj.weight)) * block.input_layernorm.weight,
            qkv_bias=torch.cat((a.q_proj.bias, a.k_proj.bias, a.v_proj.bias)) if c.qkv_bias else None,
            thought=None if a.thought is None else a.thought.weight,
            heads=heads,
            out=a.o_proj.weight.t().contiguous(),
            gate_up=torch.cat((m.gate_proj.weight, m.up_proj.weight)) * block.post_attention_layernorm.weight,
            down=m.down_proj.weight.t().contiguous(),
        )
