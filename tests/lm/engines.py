"""Tiny random decoders, and the naive twin of the engine that its tests compare with."""

from __future__ import annotations

import torch

from reasonry.core import Ids, Sampling
from reasonry.lm.decoder import Decoder, DecoderConfig, Program
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.row import Job, Row
from reasonry.lm.engine.sampler import Draws
from reasonry.nn.attention import causal, masked

TINY = DecoderConfig(
    vocab_size=96,
    hidden_size=32,
    num_layers=3,
    num_heads=6,
    num_kv_heads=2,
    head_dim=16,
    intermediate_size=64,
    max_position=512,
    qk_norm=True,
)


def decoder(config: DecoderConfig = TINY, seed: int = 0) -> Decoder:
    """Random weights, large enough that the next-token distribution is far from flat."""
    made = Decoder(config)
    made.reset_parameters(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for name, p in made.named_parameters():
            if p.ndim > 1:
                p.mul_(8 if "embed" in name else 5)
    return made.requires_grad_(False)


def job(ids: Ids | list[int], program: Program | None = None, **sampling: object) -> Job:
    """A request for a completion, end tokens ignored."""
    return Job(Row(list(ids), program), sampling=Sampling(ignore_eos=True).with_(**sampling))


def run(engine: Engine, *jobs: Job) -> None:
    """Submits and steps until all is done; raises what failed."""
    for one in jobs:
        engine.submit(one)
    while engine.busy:
        engine.step()
    for one in jobs:
        if one.error is not None:
            raise one.error


def prompt(n: int, seed: int = 0, vocabulary: int = 96) -> list[int]:
    """`n` random ids."""
    return torch.randint(0, vocabulary, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def naive(
    model: Decoder, ids: list[int], n: int, temperature: float, seed: int | None, program: Program | None = None
) -> tuple[list[int], list[float]]:
    """The whole forward pass again for every token: (sampled ids, their log-probabilities at temperature 1)."""
    draws, out, logprobs = Draws(seed), list(ids), []
    for t in range(n):
        tokens = torch.tensor([out])
        hidden = model(tokens, torch.arange(len(out))[None], causal(), program=program).last[0, -1]
        logp = model.logits(hidden).log_softmax(-1)
        if temperature == 0:
            token = int(logp.argmax())
        else:
            running = (logp / temperature).softmax(-1).double().cumsum(0)
            token = int((running <= draws(t) * running[-1]).sum())
        out.append(token)
        logprobs.append(float(logp[token]))
    return out[len(ids) :], logprobs


def logits_under(model: Decoder, ids: Ids, positions: Ids, sees: torch.Tensor) -> torch.Tensor:
    """Logits [V] after the last token, every token at its position and seeing what row t of `sees` [T, T] says."""
    hidden = model(torch.tensor([ids]), torch.tensor([positions]), masked(sees[None])).last[0, -1]
    return model.logits(hidden)
