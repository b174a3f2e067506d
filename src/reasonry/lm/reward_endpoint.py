"""A reward model behind HTTP: vLLM's `/pooling`, as `vllm serve MODEL --runner pooling` offers it.

Invariant: an answer whose request fails after all retries has no score (`None`), and the others of its group keep theirs; a request that
the server refuses (no such model, wrong key) is raised, because asking again will not help. Retries, waiting and the key are `Endpoint`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import msgspec

from reasonry.core import Cost, Message
from reasonry.lm import wire
from reasonry.lm.endpoint import Endpoint, EndpointError, Retries
from reasonry.lm.scorer import Scores

log = logging.getLogger(__name__)


class _Pooled(msgspec.Struct):
    data: float | list[float | list[float]]


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Reply(msgspec.Struct):
    data: list[_Pooled]
    usage: _Usage = msgspec.field(default_factory=_Usage)

    @property
    def score(self) -> float | None:
        """The last number: of a value for the chat, or of values for its tokens. `None` where there is none."""
        found: object = self.data[0].data if self.data else None
        while isinstance(found, list):
            found = found[-1] if found else None
        return found if isinstance(found, float) and isfinite(found) else None


@dataclass(frozen=True)
class RewardEndpoint:
    """A `Scorer`. A value: each group of answers opens and closes its own connections, so any thread may call it."""

    base_url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    timeout: float = 60.0
    """Seconds for one attempt."""
    retries: Retries = Retries(attempts=4)  # noqa: RUF009 (a frozen value)

    @property
    def name(self) -> str:
        """The model's name at the server."""
        return self.model

    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        """One request for each different answer, at most `concurrency` at a time. Raises UserError where the server refuses."""
        return asyncio.run(self._scores(messages, answers))

    async def _scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        began, different = time.monotonic(), list(dict.fromkeys(answers))
        async with Endpoint(self.base_url, self.model, self.key_variable, self.concurrency, self.timeout, self.retries) as endpoint:
            replies = await asyncio.gather(*(self._one(endpoint, (*messages, Message("assistant", a))) for a in different))
        value = {a: None if r is None else r.score for a, r in zip(different, replies, strict=True)}
        tokens = sum(r.usage.prompt_tokens for r in replies if r is not None)
        cost = Cost(prompt_tokens=tokens, verifier_calls=len(different), seconds=time.monotonic() - began)
        return Scores(tuple(value[a] for a in answers), cost)

    async def _one(self, endpoint: Endpoint, chat: Sequence[Message]) -> _Reply | None:
        try:
            return await endpoint.post("pooling", {"messages": wire.chat_messages(chat)}, _Reply)
        except EndpointError as error:
            log.warning("an answer is left without a score: %s", error)
            return None
