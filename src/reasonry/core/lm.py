"""A language model as a solver sees it: ask with a prompt and a `Sampling`, get a `Completion` with its `Cost`.

Invariant: token ids in, token ids out. `text` is a view of `ids` and is never turned back into ids.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

from reasonry.core.cost import Cost

Ids = tuple[int, ...]


class Stop(StrEnum):
    """Why a call or an attempt ended. One list for both, so that logs and reports share their words."""

    EOS = "eos"
    """The model ended its turn."""
    STOP = "stop"
    """A stop string or stop id of the request appeared."""
    LENGTH = "length"
    """`max_tokens` was reached."""
    CONTEXT = "context"
    """The model's context window was full."""
    BUDGET = "budget"
    """The attempt's budget was used up."""
    MAX_CHUNKS = "max_chunks"
    """An iteration cap ended the attempt: a truncation, not a wrong answer."""
    CANCELLED = "cancelled"
    """Whoever asked went away."""
    ERROR = "error"
    """The attempt failed outside the model's words (network, tool, our own mistake): data, but not a wrong answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. Lives as long as its problem or trajectory; read by chat templates and by endpoints."""

    role: str
    """`system`, `user`, `assistant` or `tool`."""
    content: str


Prompt = str | Seq[Message] | Ids
"""Raw text, chat messages (rendered by the model's chat template with the assistant's turn opened) or token ids."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one completion. The defaults sample from the model's own distribution."""

    max_tokens: int = 256
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    """Keep tokens at least this fraction as likely as the likeliest."""
    seed: int | None = None
    """Same seed and prompt, same tokens, whatever else the engine computes beside them. `None`: drawn from the system."""
    stop: tuple[str, ...] = ()
    """Ends the completion; the text is cut before it, the ids keep it."""
    stop_token_ids: Ids = ()
    ignore_eos: bool = False
    top_logprobs: int = 0
    """How many alternatives to report per position."""

    def with_(self, **changes: object) -> Sampling:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # replace checks the names


@dataclass(frozen=True, slots=True)
class Completion:
    """What one call returned."""

    text: str
    stop: Stop
    cost: Cost
    prompt_ids: Ids | None = None
    """`None` where an endpoint does not give ids; likewise `ids` and `logprobs`."""
    ids: Ids | None = None
    """Every token sampled, the end-of-turn or stop token included."""
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each of `ids` under the sampler's distribution *before* temperature and truncation (the model's own)."""
    sampler_logprobs: tuple[float, ...] | None = None
    """The same under the distribution really sampled from, after temperature, top-k, top-p and min-p. What importance ratios divide by."""
    top_logprobs: tuple[dict[int, float], ...] | None = None
    versions: Ids | None = None
    """Which weights sampled each of `ids`, as numbered by whoever changes them; `None` where they never change."""


@runtime_checkable
class LM(Protocol):
    """A model behind one async call. Local or remote, the caller can't tell; many calls may be in flight at once."""

    @property
    def name(self) -> str: ...

    async def encode(self, prompt: Prompt) -> Ids:
        """Token ids of a prompt, chat template applied to messages. Raises UserError where the model gives no ids."""
        ...

    async def decode(self, ids: Ids) -> str:
        """The text of token ids, special tokens left out."""
        ...

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Samples one completion. Cancelling the awaiting task frees what it held."""
        ...
