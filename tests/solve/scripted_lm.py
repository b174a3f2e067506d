"""A stand-in for a model, and a task for it: sixteen output tokens, every choice drawn from (seed, context so far). No weights."""

import math
from dataclasses import dataclass, field
from hashlib import blake2b

from reasonry.core import Completion, Cost, Ids, Message, Problem, Prompt, Sampling, Stop, Verdict

EOS = 0
PIECES = {EOS: b"", **{d: str(d).encode() for d in range(1, 10)}, 10: b"\n#### ", 11: b" ", 12: b"\xc3", 13: b"\xa9"}
"""Output tokens. 12 always comes before 13: one letter in two tokens."""
BYTES = 100
"""Prompt bytes are the ids 100 … 355."""


def draw(*parts: object) -> float:
    """A number in [0, 1) that follows from the parts."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=6).digest(), "big") / 2**48


@dataclass(frozen=True)
class Digits:
    """Asks for a digit."""

    name: str = "digits"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        return [Problem(f"{split}-{seed}-{i}", f"digit {i}?", str(i % 9 + 1)) for i in range(n or 9)]

    def extract(self, text: str) -> str | None:
        _, found, rest = text.rpartition("#### ")
        return rest[:1] or None if found else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        read = self.extract(answer)
        return Verdict(float(read == problem.answer), read == problem.answer, "", read)


@dataclass
class ScriptedLM:
    """Thinks in digits, then writes `#### d` and ends. `calls` keeps what every call was given and what it cost."""

    name: str = "scripted"
    gives_ids: bool = True
    gives_logprobs: bool = True
    calls: list[tuple[Ids, Sampling, Completion]] = field(default_factory=list)

    async def encode(self, prompt: Prompt) -> Ids:
        if isinstance(prompt, tuple) and all(isinstance(i, int) for i in prompt):
            return prompt  # type: ignore[return-value]
        if isinstance(prompt, str):
            return tuple(BYTES + b for b in prompt.encode())
        return tuple(BYTES + b for m in prompt if isinstance(m, Message) for b in m.content.encode())

    async def decode(self, ids: Ids) -> str:
        return b"".join(PIECES[i] if i in PIECES else bytes([i - BYTES]) for i in ids).decode(errors="replace")

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        context = await self.encode(prompt)
        ids, logprobs, stop = list[int](), list[float](), Stop.LENGTH
        while len(ids) < sampling.max_tokens:
            chances = _next(context + tuple(ids))
            u, total = draw(sampling.seed, len(ids)), 0.0
            for token, p in chances.items():
                total += p
                if u < total or token == list(chances)[-1]:
                    ids.append(token)
                    logprobs.append(math.log(p))
                    break
            if ids[-1] in (EOS, *sampling.stop_token_ids):
                stop = Stop.EOS if ids[-1] == EOS else Stop.STOP
                break
        n = len(ids)
        cost = Cost(
            len(context), n, len(context), 1, 2.5 * (len(context) + n), 8 * (len(context) + n), 2 * (len(context) + n), seconds=0.01
        )
        given = Completion(
            await self.decode(tuple(ids)), stop, cost,
            prompt_ids=context if self.gives_ids else None,
            ids=tuple(ids) if self.gives_ids else None,
            logprobs=tuple(logprobs) if self.gives_logprobs else None,
        )  # fmt: skip
        self.calls.append((context, sampling, given))
        return given


def _next(context: Ids) -> dict[int, float]:
    last = context[-1]
    if last == 12:
        return {13: 1.0}
    if last == 10:
        return dict.fromkeys(range(1, 10), 1 / 9)
    if len(context) > 1 and context[-2] == 10:
        return {EOS: 1.0}
    lean = last % 9 + 1
    return {10: 0.08, 11: 0.12, 12: 0.1, **{d: 0.3 if d == lean else 0.05 for d in range(1, 10)}}
