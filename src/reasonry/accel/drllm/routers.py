"""A small router before each block: shall it be skipped, run once or run twice, judged by the prompt's states that would enter it.

    z_ℓ = mean over windows w of  W₂ gelu(W₁ m_w + b₁) + b₂,   m_w the mean state of window w;   y_ℓ = argmax π(softmax(z_ℓ))

(Dr.LLM, arXiv 2510.12773, section 3.2.) Windows: min(W, T) contiguous ones of equal size; tokens past W ⌊T / W⌋ are left out. The model's
own weights are never touched, and routers are fp32 whatever its dtype.

π is the knob of appendix C: from "skip everything" at −1 through the routers themselves at −0.5 and "run everything" at 0.5 to "repeat
everything" at 1, linear between them. The unmodified router is at −0.5, not at 0.

Letters: B rows, T tokens, D width, W windows, L blocks, h inner width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reasonry.core import UserError
from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.program import REPEAT, RUN, SKIP

ASIS = -0.5
"""Where on the knob the routers decide by themselves."""


@dataclass(frozen=True)
class Windows:
    """Which tokens of each row are averaged together."""

    weights: Tensor
    """[B, W, T]; a window's sum to 1, those of a row's absent windows are 0."""
    share: Tensor
    """[B, W]: one over the row's number of windows, 0 for absent ones."""

    @classmethod
    def of(cls, lengths: Tensor, tokens: int, windows: int) -> Windows:
        """Of rows whose prompts have so many tokens [B], of `tokens` there are."""
        many = lengths.clamp(max=windows)[:, None]
        size = lengths[:, None] // many
        which = torch.arange(windows, device=lengths.device)
        at = torch.arange(tokens, device=lengths.device)
        first = (which * size)[..., None]
        inside = (at >= first) & (at < first + size[..., None]) & (which < many)[..., None]
        return cls(inside / size[..., None], (which < many) / many)

    def means(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> m [B, W, D], fp32."""
        return self.weights @ x.float()


class Routers(nn.Module):
    """One router for each block of a decoder; fresh ones are Xavier's, biases zero."""

    def __init__(self, config: DecoderConfig, hidden: int = 128, windows: int = 8) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("windows", windows)):
            if value < 1:
                raise UserError(f"routers: {name} is {value} but must be at least 1")
        self.config, self.hidden, self.windows = config, hidden, windows
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(config.hidden_size, hidden), nn.GELU("tanh"), nn.Linear(hidden, 3)) for _ in range(config.num_layers)
        )

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Fresh weights."""
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            else:
                nn.init.xavier_uniform_(p, generator=generator)

    def logits(self, layer: int, means: Tensor, share: Tensor) -> Tensor:
        """z [B, 3] from the means m [B, W, D] of the states entering block `layer`, each window counting by `share` [B, W]."""
        return (self.blocks[layer](means) * share[..., None]).sum(dim=1)


def mixed(logits: Tensor, knob: float) -> Tensor:
    """π [..., 3] from z [..., 3]. Raises UserError for a knob outside [−1, 1]."""
    if not -1 <= knob <= 1:
        raise UserError(f"p is {knob:g} but must be in [-1, 1]; -0.5 is the routers' own decision, 0.5 the whole network")
    skip, run, repeat = torch.eye(3, device=logits.device)[[SKIP, RUN, REPEAT]]
    if knob <= -0.5:
        t = 2 * (knob + 1)
        return (1 - t) * skip + t * logits.softmax(-1)
    if knob < 0.5:
        t = knob + 0.5
        return (1 - t) * logits.softmax(-1) + t * run
    t = 2 * knob - 1
    return ((1 - t) * run + t * repeat).expand_as(logits)


def decided(logits: Tensor, knob: float) -> Tensor:
    """y [...]: how often the block runs."""
    return mixed(logits, knob).argmax(-1)
