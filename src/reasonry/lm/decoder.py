"""One decoder-only transformer for the Qwen2, Qwen3 and Llama families.

Pre-norm blocks of grouped-query attention and a gated MLP, rotary positions, RMS norm. The families differ in biases and in Qwen3's
norm on queries and keys; both are values of `DecoderConfig`. Parameter names are those of Hugging Face checkpoints, less the leading
`model.`.

What the forward pass is told rather than assumes, because later methods change it:
- *positions* [B, T] per token, so that parallel paths may share them;
- *attend*, what the tokens look at (`nn.attention`): a causal prefix, a mask, an engine's key–value pool, a compressed memory;
- *program*, which blocks to run in which order; a block run twice keeps keys and values apart by pass;
- *thoughts* [B, T], which of a model's thought embeddings is added to a token's key and value, where it has such (ParaThinker);
- *taps*, whose hidden states to hand back; *embeds* instead of ids; *edit_kv* on keys and values before rotation.

Letters: B rows, T tokens, D width, V vocabulary, L blocks, Hq and Hkv query and key–value heads, K head size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonry.nn.attention import Attend, EditKV, Site
from reasonry.nn.norm import RMSNorm
from reasonry.nn.rope import Plain, Scaling, rotate, rotation

Program = tuple[int, ...]
"""Block indices in the order they run; 0 … L − 1 once each is the whole network."""


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder. Names follow Hugging Face's `config.json`."""

    vocab_size: int
    hidden_size: int
    """D."""
    num_layers: int
    """L."""
    num_heads: int
    """Hq."""
    num_kv_heads: int
    """Hkv; divides Hq."""
    head_dim: int
    """K; Hq · K need not be D."""
    intermediate_size: int
    max_position: int
    """The context window the checkpoint was made for, in tokens."""
    rope_theta: float = 10_000.0
    rope_scaling: Scaling = Plain()  # noqa: RUF009 (a frozen value)
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    """Qwen2 has it."""
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    """Qwen3 has it: RMS norm over each head's query and key."""
    tie_embeddings: bool = True
    """Whether the output layer is the embedding matrix."""
    num_thoughts: int = 0
    """J + 1: thought embeddings of every block, number 0 for what all paths share, number j for the path tagged j (ParaThinker,
    arXiv 2509.04475, eq. 4 and 5). 0: there are none. Not in Hugging Face's families: their loaders leave the embeddings out."""
    fp32_head: bool = False
    """Whether logits are multiplied in float32 whatever the weights' dtype (ScaleRL, arXiv 2510.13786). No checkpoint's: a choice of who
    runs it, `decoder.config = replace(decoder.config, fp32_head=True)`. The engine and the trainer both ask `Decoder.logits`, and copies
    keep their config, so it holds on both sides."""


@dataclass(frozen=True)
class Hidden:
    """What a forward pass hands back."""

    last: Tensor
    """[B, T, D] after the final norm; `Decoder.logits` takes it, or any of its rows."""
    taps: Mapping[int, Tensor]
    """Block index -> [B, T, D], the residual stream *entering* that block (index L: leaving the last), before any norm."""


class Attention(nn.Module):
    """Projections around whatever `attend` is."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.head_dim = c.head_dim
        self.q_proj = nn.Linear(c.hidden_size, c.num_heads * c.head_dim, bias=c.qkv_bias)
        self.k_proj = nn.Linear(c.hidden_size, c.num_kv_heads * c.head_dim, bias=c.qkv_bias)
        self.v_proj = nn.Linear(c.hidden_size, c.num_kv_heads * c.head_dim, bias=c.qkv_bias)
        self.o_proj = nn.Linear(c.num_heads * c.head_dim, c.hidden_size, bias=c.o_bias)
        self.q_norm = RMSNorm(c.head_dim, c.norm_eps) if c.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(c.head_dim, c.norm_eps) if c.qk_norm else nn.Identity()
        self.thought = nn.Embedding(c.num_thoughts, c.head_dim) if c.num_thoughts else None
        if self.thought is not None:
            nn.init.zeros_(self.thought.weight)

    def forward(
        self, site: Site, x: Tensor, turn: tuple[Tensor, Tensor], attend: Attend, edit_kv: EditKV | None, thoughts: Tensor | None
    ) -> Tensor:
        """x [B, T, D] -> [B, T, D]; `turn` is the rotation of these tokens' positions, `thoughts` [B, T] are theirs."""
        heads = (*x.shape[:2], -1, self.head_dim)
        q = self.q_norm(self.q_proj(x).view(heads))
        k = self.k_norm(self.k_proj(x).view(heads))
        v = self.v_proj(x).view(heads)
        if self.thought is not None:
            t = self.thought.weight[0] if thoughts is None else self.thought(thoughts)[:, :, None]
            k, v = k + t, v + t
        if edit_kv is not None:
            k, v = edit_kv(site, k, v)
        mixed = attend(site, x, rotate(q, *turn), rotate(k, *turn), v)
        return self.o_proj(mixed.flatten(2))


class MLP(nn.Module):
    """SwiGLU: down(silu(gate x) · up x) (arXiv 2002.05202)."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=c.mlp_bias)
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=c.mlp_bias)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=c.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """h = x + attention(norm x); h + mlp(norm h)."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.hidden_size, c.norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.norm_eps)
        self.mlp = MLP(c)

    def forward(
        self, site: Site, x: Tensor, turn: tuple[Tensor, Tensor], attend: Attend, edit_kv: EditKV | None, thoughts: Tensor | None
    ) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        x = x + self.self_attn(site, self.input_layernorm(x), turn, attend, edit_kv, thoughts)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """The network; see the module's docstring. Stateless: whatever must be remembered lives in `attend`."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.lm_head = None if config.tie_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self,
        ids: Tensor | None,
        positions: Tensor,
        attend: Attend,
        program: Program | None = None,
        taps: Collection[int] = (),
        embeds: Tensor | None = None,
        edit_kv: EditKV | None = None,
        thoughts: Tensor | None = None,
    ) -> Hidden:
        """ids [B, T] (or `embeds` [B, T, D] with ids None) at positions [B, T] -> `Hidden`.

        Rows differ only through `positions`, `thoughts` ([B, T]; `None`: 0 everywhere) and `attend`; one `program` holds for the whole
        call (`None`: every block once). A model without thought embeddings computes the same whatever `thoughts` are.
        """
        x = self.embed_tokens(ids) if embeds is None else embeds
        turn = self.rotation(positions, x.dtype)
        tapped: dict[int, Tensor] = {}
        passes: Counter[int] = Counter()
        for layer in range(len(self.layers)) if program is None else program:
            if layer in taps and layer not in tapped:
                tapped[layer] = x
            x = self.layers[layer](Site(layer, passes[layer]), x, turn, attend, edit_kv, thoughts)
            passes[layer] += 1
        if len(self.layers) in taps:
            tapped[len(self.layers)] = x
        return Hidden(self.norm(x), tapped)

    def logits(self, hidden: Tensor) -> Tensor:
        """Normed hidden states [..., D] -> logits [..., V], in the hidden states' dtype, or float32 with `fp32_head`."""
        head = self.embed_tokens if self.lm_head is None else self.lm_head
        if self.config.fp32_head:
            return F.linear(hidden.float(), head.weight.float())
        return F.linear(hidden, head.weight)

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin [B, T, 1, K] of positions [B, T] under this checkpoint's θ and scaling."""
        c = self.config
        return rotation(positions, c.rope_scaling, c.rope_theta, c.head_dim, dtype)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Fresh weights: embeddings normal with deviation 0.02, matrices with 1/√(inputs), those into the residual stream narrower by
        √(2L), norms one, biases and thought embeddings zero.

        Not the 0.02 of large models, which is about right for a width in the thousands and too small for one in the hundreds.
        """
        for name, p in self.named_parameters():
            if name.endswith("norm.weight"):
                p.fill_(1.0)
            elif name.endswith(("bias", "thought.weight")):
                p.zero_()
            elif p is self.embed_tokens.weight:
                p.normal_(0.0, 0.02, generator=generator)
            else:
                into_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
                p.normal_(0.0, (p.shape[1] * (2 * self.config.num_layers if into_stream else 1)) ** -0.5, generator=generator)
