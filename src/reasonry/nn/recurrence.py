"""Linear recurrences: a state of fixed size [K, V] that takes up one key and value after another, and is read by queries.

    decayed      h ← a h + b kᵀv                      plain linear attention where a = b = 1; Mamba2 with a = exp(−Δ A), b = Δ
    gated delta  h ← a h;  h ← h + kᵀ b (v − k h)     DeltaNet where a = 1 (arXiv 2406.06484); Gated DeltaNet (arXiv 2412.06464)
    read         o = q h, after the write of the same step

Each in two forms with the same result: `…_stepwise`, the recurrence as it stands, one step after another; and in chunks, where everything
but the passing on of the state is a matrix product. A step with b = 0 and a = 1 changes nothing, so it can stand for "no write".

Letters: B rows, H heads, T steps, K key size, V value size, C steps of a chunk. Symbols: a = exp(log_a) in (0, 1], b ≥ 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64


def gated_delta_stepwise(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The naive twin of `gated_delta`."""
    out = []
    for t in range(q.shape[2]):
        state = state * log_a[:, :, t, None, None].exp()
        wrong = v[:, :, t] - torch.einsum("bhk,bhkv->bhv", k[:, :, t], state)
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, :, t], b[:, :, t, None] * wrong)
        out.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], state))
    return torch.stack(out, dim=2) if out else v[:, :, :0], state


def decayed_stepwise(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The naive twin of `decayed`."""
    out = []
    for t in range(q.shape[2]):
        state = state * log_a[:, :, t, None, None].exp() + torch.einsum("bhk,bhv->bhkv", k[:, :, t], b[:, :, t, None] * v[:, :, t])
        out.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], state))
    return torch.stack(out, dim=2) if out else v[:, :, :0], state


def gated_delta(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, state: Tensor, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """q, k [B, H, T, K], v [B, H, T, V], log_a, b [B, H, T], state [B, H, K, V] -> outputs [B, H, T, V] and the state after.

    Within a chunk, with G the running sum of log_a and D_ij = exp(G_i − G_j): what each step writes, U, solves
    (I + strict_tril(b (K Kᵀ) D)) U = b (V − e^G K S), one triangular solve for all chunks at once.
    """
    if q.shape[2] == 1:
        return gated_delta_stepwise(q, k, v, log_a, b, state)
    T = q.shape[2]
    q, k, v, log_a, b = _chunks(chunk, q, k, v, log_a[..., None], b[..., None])
    G, D = _decays(log_a[..., 0])
    lower = (k * b) @ k.mT * D
    system = lower.tril(-1) + torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
    solved = torch.linalg.solve_triangular(system, torch.cat((b * v, b * G.exp() * k), dim=-1), upper=False, unitriangular=True)
    own, carried = solved.split((v.shape[-1], k.shape[-1]), dim=-1)
    return _pass_on(q, k, own, carried, G, D, state, T)


def decayed(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, state: Tensor, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The same shapes as `gated_delta`."""
    T = q.shape[2]
    q, k, v, log_a, b = _chunks(chunk, q, k, v, log_a[..., None], b[..., None])
    G, D = _decays(log_a[..., 0])
    return _pass_on(q, k, b * v, None, G, D, state, T)


def _chunks(chunk: int, *x: Tensor) -> list[Tensor]:
    """Each [B, H, T, n] -> [B, H, chunks, C, n], as even as they can be; the last is filled up with zeros: no write, no decay."""
    T = x[0].shape[2]
    C = -(-T // -(-T // chunk))
    return [F.pad(y, (0, 0, 0, -y.shape[2] % C)).unflatten(2, (-1, C)) for y in x]


def _decays(log_a: Tensor) -> tuple[Tensor, Tensor]:
    """log_a [..., C] -> G [..., C, 1], and D [..., C, C] with zeros above the diagonal."""
    G = log_a.cumsum(-1)[..., None]
    later = torch.ones(G.shape[-2], G.shape[-2], dtype=torch.bool, device=G.device).triu(1)
    return G, (G - G.mT).masked_fill(later, float("-inf")).exp()


def _pass_on(
    q: Tensor, k: Tensor, own: Tensor, carried: Tensor | None, G: Tensor, D: Tensor, state: Tensor, T: int
) -> tuple[Tensor, Tensor]:
    """From what each chunk writes by itself, `own` [B, H, chunks, C, V], less `carried` [B, H, chunks, C, K] times the state that reaches
    it: the outputs of all steps, and the last state."""
    within, reaches = q @ k.mT * D, G.exp() * q
    last = G[..., -1:, :]
    kept, whole = (last - G).exp() * k, last.exp()
    out = []
    for i in range(q.shape[2]):
        U = own[:, :, i] if carried is None else own[:, :, i] - carried[:, :, i] @ state
        out.append(reaches[:, :, i] @ state + within[:, :, i] @ U)
        state = whole[:, :, i] * state + kept[:, :, i].mT @ U
    return torch.cat(out, dim=2)[:, :, :T], state
