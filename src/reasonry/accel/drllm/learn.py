"""Training the routers on programs found beforehand: focal loss with weights by effective number, teacher forced, the model frozen.

    a_c = (1 − β) / (1 − β^{n_c}),   α = a / mean(a);      loss = −(1/L) Σ_ℓ α_y (1 − p_y)^γ log p_y,   y the label of block ℓ

(Dr.LLM, arXiv 2510.12773, section 3.4; Cui et al., arXiv 1901.05555; Lin et al., arXiv 1708.02002.) β = 0 weighs all classes alike, γ = 0
is cross-entropy.

Teacher forcing makes the routers' inputs a function of (item, label): the states under the labelled program. They are computed once and
kept. Invariants: only routers have gradients; a class that no label has weighs nothing and is left out of the mean.

Letters: N items, B of a step, T tokens, D width, W windows, L blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reasonry.accel.drllm.execute import execute
from reasonry.accel.drllm.routers import Routers, Windows
from reasonry.core import Ids
from reasonry.core.seeds import inner_seed
from reasonry.lm.decoder import Decoder
from reasonry.lm.program import Counts

CLASSES = 3


@dataclass(frozen=True)
class Features:
    """What the routers see and should say."""

    means: Tensor
    """[N, L, W, D], fp32."""
    share: Tensor
    """[N, W]; see `Windows`."""
    labels: Tensor
    """[N, L]."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: Tensor) -> Features:
        """Those items."""
        return Features(self.means[which], self.share[which], self.labels[which])


@torch.no_grad()
def features(decoder: Decoder, prompts: Sequence[Ids], labels: Sequence[Counts], windows: int, rows: int = 64) -> Features:
    """The states entering each block for these prompts under their labelled programs, averaged by window; `rows` prompts at a time."""
    device = decoder.embed_tokens.weight.device
    found: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(prompts), rows):
        ids, lengths = padded(prompts[start : start + rows], device)
        counts = torch.tensor(labels[start : start + rows], device=device)
        over, entering = Windows.of(lengths, ids.shape[1], windows), list[Tensor]()

        def choose(layer: int, x: Tensor, over: Windows = over, counts: Tensor = counts, entering: list[Tensor] = entering) -> Tensor:
            entering.append(over.means(x))
            return counts[:, layer]

        execute(decoder, ids, choose)
        found.append((torch.stack(entering, dim=1), over.share))
    return Features(torch.cat([m for m, _ in found]), torch.cat([s for _, s in found]), torch.tensor(labels, device=device))


def padded(prompts: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids [B, T], zeros on the right, and lengths [B]."""
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.int64, device=device)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    return ids, lengths


def effective_weights(counts: Sequence[int], beta: float) -> Tensor:
    """α [3] of classes that occur so often."""
    a = torch.tensor([(1 - beta) / (1 - beta**n) if n else 0.0 for n in counts], dtype=torch.float64)
    present = a > 0
    return (a / a[present].mean()).float()


def frequencies(labels: Tensor) -> list[int]:
    """How often each class occurs."""
    return torch.bincount(labels.flatten(), minlength=CLASSES).tolist()


def focal(logits: Tensor, labels: Tensor, alpha: Tensor, gamma: float) -> Tensor:
    """logits [..., 3], labels [...] -> the mean over all of them; γ = 0: weighted cross-entropy, not divided by the weights' sum."""
    logp = logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
    return -(alpha[labels] * (1 - logp.exp()) ** gamma * logp).mean()


def every_logits(routers: Routers, f: Features) -> Tensor:
    """z [N, L, 3]."""
    return torch.stack([routers.logits(layer, f.means[:, layer], f.share) for layer in range(f.labels.shape[1])], dim=1)


def optimizer_of(routers: Routers, weight_decay: float) -> torch.optim.AdamW:
    """AdamW for the routers."""
    return torch.optim.AdamW(routers.parameters(), lr=0.0, weight_decay=weight_decay)


@dataclass(frozen=True)
class Teaching:
    """How routers are trained. The defaults are the paper's, but for the warm-up, there 500 steps of 6,000."""

    epochs: int = 25
    rows: int = 16
    """B."""
    lr: float = 1e-3
    warmup: float = 0.08
    """Share of the steps over which the learning rate rises; then it falls by a cosine."""
    gamma: float = 2.0
    beta: float = 0.999
    weight_decay: float = 0.01
    seed: int = 0

    def steps(self, items: int) -> int:
        """Of all epochs."""
        return self.epochs * math.ceil(items / self.rows)


def learn(routers: Routers, found: Features, t: Teaching, optimizer: torch.optim.Optimizer, done: int = 0) -> Iterator[float]:
    """Trains `routers` from step `done` on; yields each step's loss. The order is a function of the seed and the epoch alone."""
    alpha = effective_weights(frequencies(found.labels), t.beta).to(found.labels.device)
    a_pass, total = math.ceil(len(found) / t.rows), t.steps(len(found))
    for step in range(done, total):
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(inner_seed(t.seed, step // a_pass)))
        at = step % a_pass * t.rows
        batch = found.take(order[at : at + t.rows].to(found.labels.device))
        loss = focal(every_logits(routers, batch), batch.labels, alpha, t.gamma)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        warm = max(round(t.warmup * total), 1)
        rise = min((step + 1) / warm, 1.0)
        fall = 0.5 * (1 + math.cos(math.pi * max(step - warm, 0) / max(total - warm, 1)))
        for group in optimizer.param_groups:
            group["lr"] = t.lr * rise * fall
        optimizer.step()
        yield float(loss.detach())


@dataclass(frozen=True)
class Quality:
    """How well routers say what the labels say, each class by itself: skip, run, repeat."""

    recall: tuple[float | None, ...]
    """`None` for a class that no label has."""
    precision: tuple[float | None, ...]
    """`None` for a class that is never said."""
    f1: float
    """Mean over the classes that labels have; a class never said right counts 0."""
    accuracy: float
    frequency: tuple[int, ...]


@torch.inference_mode()
def quality(routers: Routers, f: Features) -> Quality:
    """On these items, teacher forced."""
    said = every_logits(routers, f).argmax(-1)
    right = [int(((said == c) & (f.labels == c)).sum()) for c in range(CLASSES)]
    there, chosen = frequencies(f.labels), frequencies(said)
    f1 = [2 * r / (n + m) for r, n, m in zip(right, there, chosen, strict=True) if n]
    return Quality(
        recall=tuple(r / n if n else None for r, n in zip(right, there, strict=True)),
        precision=tuple(r / m if m else None for r, m in zip(right, chosen, strict=True)),
        f1=sum(f1) / len(f1),
        accuracy=sum(right) / f.labels.numel(),
        frequency=tuple(there),
    )
