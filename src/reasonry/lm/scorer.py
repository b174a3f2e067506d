"""What scores answers: a reward model in a folder, or one behind HTTP. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reasonry.core import Cost, Message, UserError


@dataclass(frozen=True, slots=True)
class Scores:
    """What a scorer says of a problem's answers, and what it took to find out."""

    values: tuple[float | None, ...]
    """One for each answer, higher is better; `None` where scoring it failed."""
    cost: Cost


class Scorer(Protocol):
    """Anything that scores answers without looking at the gold one. Called from a worker thread."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        """A number for each of the answers to one prompt; never raises for a server that does not answer."""
        ...


def load_scorer(spec: str, device: str | None = None) -> Scorer:
    """The scorer a spec names: a folder, on `device` (`None`: CUDA where there is one, else the CPU), or an endpoint
    `http://host:port/v1#model`. A sequence classifier's folder is a reward model, a language model's scores by its mean log-probability.
    Raises UserError for anything else."""
    if spec.startswith(("http://", "https://")):
        from reasonry.lm.reward_endpoint import RewardEndpoint

        base_url, _, model = spec.partition("#")
        if not model:
            raise UserError("reward model: the endpoint's address names no model; write it after a #, for example http://host:8000/v1#name")
        return RewardEndpoint(base_url, model)
    from reasonry.lm.load import model_folder

    folder = model_folder(spec)
    import torch

    from reasonry.lm.checkpoint import load_decoder, read_raw
    from reasonry.lm.likelihood import Likelihood
    from reasonry.lm.reward_model import load_reward_model
    from reasonry.lm.tokenizer import Tokenizer

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if device == "cpu" else None
    if any(name.endswith("ForSequenceClassification") for name in read_raw(folder).get("architectures") or ()):
        return load_reward_model(folder, dtype, device)
    return Likelihood(load_decoder(folder, dtype, device), Tokenizer.load(folder), folder.name)
