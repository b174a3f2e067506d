"""A language model as a scorer: the mean log-probability it gives an answer's tokens, the end included. A reward model without a head.

Invariant: an answer's score does not depend on what it is scored beside, nor on how the answer was sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reasonry.core import Cost, Message, UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.engine.flops import causal_pairs, forward_flops
from reasonry.lm.scorer import Scores
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal


class Likelihood:
    """A `Scorer`, in nats a token."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, name: str = "likelihood") -> None:
        self.decoder, self.tokenizer, self.name = decoder, tokenizer, name

    @torch.no_grad()
    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        """One batched pass over the different answers. Raises UserError for one that is longer than the model's context."""
        if not answers:
            return Scores((), Cost())
        prompt, config = self.tokenizer.encode(self.tokenizer.render(messages)), self.decoder.config
        end, device = min(self.tokenizer.eos_ids), self.decoder.embed_tokens.weight.device
        rows = {a: (*prompt, *self.tokenizer.encode(a), end) for a in dict.fromkeys(answers)}
        width = max(map(len, rows.values()))
        if width > config.max_position:
            raise UserError(f"likelihood under {self.name}: an answer has {width} tokens with its prompt but {config.max_position} fit")
        ids = torch.tensor([(*row, *(end,) * (width - len(row))) for row in rows.values()], device=device)
        hidden = self.decoder(ids, torch.arange(width, device=device).expand_as(ids), causal()).last[:, len(prompt) - 1 : -1]
        wanted = ids[:, len(prompt) :, None]
        logp = self.decoder.logits(hidden).float().log_softmax(-1).gather(2, wanted)[..., 0].cpu()
        value = {a: float(logp[i, : len(row) - len(prompt)].mean()) for i, (a, row) in enumerate(rows.items())}
        new = sum(map(len, rows.values()))
        flops = forward_flops(config, new, sum(causal_pairs(len(r), 0) for r in rows.values()), new - len(prompt) * len(rows))
        cost = Cost(new, prefill_tokens=new, flops=flops, layers_run=new * config.num_layers, verifier_calls=len(rows))
        return Scores(tuple(value[a] for a in answers), cost)
