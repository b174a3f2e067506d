"""A decoder of twenty thousand weights that can learn to repeat a digit, and the task that asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from reasonry.core import Budget, Ids, Message, Problem, Solver, Trajectory, Verdict
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.train.reward import Reward, Rewarded
from reasonry.train.rollout import rollout

ALPHABET = "0123456789=#"
END = len(ALPHABET)


class Characters:
    """As much of a tokenizer as `LocalLM` needs: a character is a token, whatever is not in the alphabet is `#`."""

    eos_ids = (END,)

    def encode(self, text: str, special: bool = False) -> Ids:
        return tuple(ALPHABET.find(c) if c in ALPHABET else ALPHABET.index("#") for c in text)

    def render(self, messages: Sequence[Message], **_: Any) -> str:
        return messages[-1].content + "="

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        return "".join(ALPHABET[i] for i in ids if i != END)


@dataclass(frozen=True)
class Digits:
    """Answer with the digit asked for; the first character counts."""

    name: str = "digits"

    def problems(self, split: str = "train", n: int | None = None, seed: int = 0) -> list[Problem]:
        return [Problem(f"{split}/{d}", str(d), str(d)) for d in range(10)][:n]

    def extract(self, text: str) -> str | None:
        return text[:1] or None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        right = self.extract(answer) == problem.answer
        return Verdict(float(right), right, answer=self.extract(answer), signals={"brief": float(len(answer) < 2)})


def toy_decoder(seed: int = 0) -> Decoder:
    decoder = Decoder(DecoderConfig(END + 1, 32, 2, 4, 2, 8, 64, max_position=512, qk_norm=True))
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    return decoder


def toy_lm(decoder: Decoder | None = None) -> LocalLM:
    return LocalLM(decoder or toy_decoder(), cast(Tokenizer, Characters()), "toy", max_rows=64, kv_tokens=8192)


async def sample(solver: Solver, reward: Reward, n: int = 4, G: int = 4, seed: int = 0) -> list[list[Rewarded]]:
    """`n` groups of `G` rewarded attempts, in order."""
    task = Digits()
    done = [g async for g in rollout(solver, task, task.problems("train", n), Budget(), G, seed)]
    return [reward(g.problem, g.trajectories) for g in sorted(done, key=lambda g: g.index)]


def by_index(problem: Problem, group: Sequence[Trajectory]) -> list[dict[str, float]]:
    """A signal that tells a group's attempts apart whatever they say, with one best: 0, 1, 0, ½."""
    return [{"score": (0.0, 1.0, 0.0, 0.5)[i % 4], "place": float(i)} for i in range(len(group))]


TELLING = Reward((by_index,))
