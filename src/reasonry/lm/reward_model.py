"""A reward model: a decoder with one number read from its state after an answer's last token.

    s(x, y) = w · h(template(x) y <eos>)

The folder is an ordinary checkpoint whose file of weights also holds `score.weight`, as transformers' sequence classifiers with one label
have it, so reward models of the Qwen2, Qwen3, Llama and Mistral families load too. Invariant: an answer's score does not depend on what it
is scored beside. Letters: B answers, T tokens of the longest, D width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reasonry.core import Cost, Ids, Message, UserError
from reasonry.core.run import write_whole
from reasonry.lm.checkpoint import SINGLE, load_decoder, read_raw, save_decoder
from reasonry.lm.decoder import Decoder
from reasonry.lm.engine.flops import causal_pairs, forward_flops
from reasonry.lm.scorer import Scores
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal

HEAD = "score.weight"
"""The head's name among the weights, [1, D]."""


class RewardModel(nn.Module):
    """A decoder's blocks and a head of D numbers. A `Scorer`; `train.reward_fit` trains one."""

    def __init__(self, trunk: Decoder, tokenizer: Tokenizer, name: str = "reward-model", tokens: int = 32768) -> None:
        """`trunk` is taken as it is, its output layer is not used; `tokens`: most in one batch, padding included. The head begins at 0."""
        super().__init__()
        self.trunk, self.tokenizer, self.name, self.tokens = trunk, tokenizer, name, tokens
        self.trunk.lm_head = None
        weight = trunk.embed_tokens.weight
        self.head = nn.Linear(trunk.config.hidden_size, 1, bias=False, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.head.weight)

    def encode(self, messages: Sequence[Message], answer: str) -> Ids:
        """The chat's ids up to the assistant's turn, the answer's, and the token that ends it. Raises UserError where that is too long."""
        prompt = self.tokenizer.encode(self.tokenizer.render(messages))
        ids = (*prompt, *self.tokenizer.encode(answer), min(self.tokenizer.eos_ids))
        longest = self.trunk.config.max_position
        if len(ids) > longest:
            raise UserError(f"reward model {self.name}: an answer has {len(ids)} tokens with its prompt but {longest} fit; shorten answers")
        return ids

    def forward(self, rows: Sequence[Ids]) -> Tensor:
        """Scores [B] of encoded chats, in one pass, differentiable."""
        device, width = self.head.weight.device, max(map(len, rows))
        ids = torch.tensor([(*row, *(0,) * (width - len(row))) for row in rows], device=device)
        hidden = self.trunk(ids, torch.arange(width, device=device).expand_as(ids), causal()).last
        last = torch.tensor([len(row) - 1 for row in rows], device=device)
        return self.head(hidden[torch.arange(len(rows), device=device), last])[:, 0].float()

    @torch.no_grad()
    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        """One batched pass over the different answers, or a few where they are many; an answer given twice is scored once."""
        if not answers:
            return Scores((), Cost())
        rows = {answer: self.encode(messages, answer) for answer in dict.fromkeys(answers)}
        order = sorted(rows.values(), key=len)
        value: dict[Ids, float] = {}
        while order:
            n = len(order)
            while n > 1 and n * len(order[n - 1]) > self.tokens:
                n -= 1
            value |= zip(order[:n], self(order[:n]).tolist(), strict=True)
            order = order[n:]
        found = [value[rows[answer]] for answer in answers]
        return Scores(tuple(v if math.isfinite(v) else None for v in found), self._cost(list(rows.values())))

    def _cost(self, rows: Sequence[Ids]) -> Cost:
        config, new = self.trunk.config, sum(map(len, rows))
        return Cost(
            prompt_tokens=new,
            prefill_tokens=new,
            flops=forward_flops(config, new, sum(causal_pairs(len(row), 0) for row in rows), 0),
            layers_run=new * config.num_layers,
            verifier_calls=len(rows),
        )


def save_reward_model(model: RewardModel, folder: str | Path) -> Path:
    """Writes a checkpoint folder that `load_reward_model` and transformers' `AutoModelForSequenceClassification` read."""
    folder = Path(folder)
    save_decoder(model.trunk, folder, tokenizer=model.tokenizer, max_shard_bytes=1 << 62)
    weights = {**load_file(folder / SINGLE), HEAD: model.head.weight.detach().cpu().contiguous()}
    save_file(weights, folder / f"{SINGLE}.part", metadata={"format": "pt"})
    (folder / f"{SINGLE}.part").replace(folder / SINGLE)
    raw = read_raw(folder)
    kind = raw["architectures"][0].removesuffix("ForCausalLM") + "ForSequenceClassification"
    labels = {"architectures": [kind], "id2label": {"0": "score"}, "label2id": {"score": 0}, "num_labels": 1}
    write_whole(folder / "config.json", json.dumps(raw | labels, indent=2) + "\n")
    return folder


def load_reward_model(folder: str | Path, dtype: torch.dtype | None = torch.float32, device: str | torch.device = "cpu") -> RewardModel:
    """The reward model of a folder. Raises UserError for one without a head for a single number."""
    folder = Path(folder)
    model = RewardModel(load_decoder(folder, dtype, device, trunk=True), Tokenizer.load(folder), folder.name)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if HEAD in tensors.keys():  # noqa: SIM118 (not a dictionary)
                weight = tensors.get_tensor(HEAD)
                if weight.shape != model.head.weight.shape:
                    raise UserError(
                        f"reward model {folder}: {HEAD} has shape {list(weight.shape)} but one number is wanted, "
                        f"{list(model.head.weight.shape)}; give a reward model with a single label"
                    )
                model.head.weight.data.copy_(weight)
                return model.requires_grad_(False)
    raise UserError(f"reward model {folder} has no {HEAD} among its weights; give a sequence classifier, or train one (docs/training.md)")
