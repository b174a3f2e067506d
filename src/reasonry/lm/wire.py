"""The OpenAI wire format from the client's side: `question` makes a request of a prompt, `completion` a `Completion` of the reply.

Invariant: what the server did not say is `None` (or 0 where `Cost` says so), never a guess. Only the fields we use are read; the rest
of a reply is ignored.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import msgspec

from reasonry.core import Completion, Cost, Ids, Message, Prompt, Sampling, Stop, UserError

WISHES = frozenset({"logprobs", "return_token_ids", "return_tokens_as_token_ids"})
"""Fields we like to send but can do without: a server that refuses one is asked again without it."""


class Alternative(msgspec.Struct):
    """One of the likeliest tokens at a place, chat form."""

    token: str
    logprob: float


class Position(msgspec.Struct):
    """One sampled token, chat form."""

    token: str
    logprob: float
    top_logprobs: list[Alternative] | None = None


class Logprobs(msgspec.Struct):
    """Both forms in one: chat servers fill `content`, legacy ones the parallel lists."""

    content: list[Position] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class Said(msgspec.Struct):
    """The assistant's message."""

    content: str | None = None


class Choice(msgspec.Struct):
    """One completion of a reply."""

    finish_reason: str | None = None
    message: Said | None = None
    text: str | None = None
    logprobs: Logprobs | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    stop_reason: str | int | msgspec.UnsetType | None = msgspec.UNSET
    """vLLM's: the stop string or id that ended it, null for the end of turn."""


class Details(msgspec.Struct):
    """Of the prompt tokens, those found in the server's cache."""

    cached_tokens: int | None = None


class Usage(msgspec.Struct):
    """What the server counted."""

    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: Details | None = None


class Reply(msgspec.Struct):
    """A reply of `/chat/completions` or `/completions`."""

    choices: list[Choice] = []
    usage: Usage | None = None
    prompt_token_ids: list[int] | None = None


class Tokens(msgspec.Struct):
    """A reply of `/tokenize`."""

    tokens: list[int]


class Text(msgspec.Struct):
    """A reply of `/detokenize`."""

    prompt: str


def is_ids(prompt: Prompt) -> bool:
    """Whether a prompt is token ids. Raises UserError where it is empty: that is neither ids nor messages."""
    if not prompt:
        raise UserError("prompt: it is empty; give text, at least one message, or at least one token id")
    return isinstance(prompt[0], int)


def chat_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The messages of a chat prompt as JSON values."""
    return [asdict(m) for m in prompt if isinstance(m, Message)]


def question(model: str, prompt: Prompt, sampling: Sampling, wishes: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The path and body of one request.

    Messages go to `/chat/completions`, text and ids to `/completions`. Temperature, top_p and max_tokens are always said, because
    servers differ in their defaults; what only some servers know (top_k, min_p, stop_token_ids, ignore_eos) only where it is set.
    """
    body: dict[str, Any] = {
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    optional = {
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p or None,
        "stop_token_ids": list(sampling.stop_token_ids) or None,
        "ignore_eos": sampling.ignore_eos or None,
        "return_token_ids": "return_token_ids" in wishes or None,
        "return_tokens_as_token_ids": ("return_tokens_as_token_ids" in wishes and sampling.top_logprobs > 0) or None,
    }
    body |= {field: value for field, value in optional.items() if value is not None}
    ask_logprobs = sampling.top_logprobs > 0 or "logprobs" in wishes
    if isinstance(prompt, str) or is_ids(prompt):
        body["prompt"] = prompt if isinstance(prompt, str) else list(prompt)
        return "completions", body | ({"logprobs": sampling.top_logprobs} if ask_logprobs else {})
    body["messages"] = chat_messages(prompt)
    if ask_logprobs:
        body["logprobs"] = True
    if sampling.top_logprobs:
        body["top_logprobs"] = sampling.top_logprobs
    return "chat/completions", body


def completion(reply: Reply, prompt: Prompt, sampling: Sampling, seconds: float, price: tuple[float, float] | None) -> Completion:
    """What a reply says, in our words.

    Log-probabilities are kept only where there is one for each sampled token. `sampler_logprobs` is set only where the request
    sampled from the model's own distribution, since a server gives one of the two kinds and does not say which.
    Raises UserError where the reply lacks what no one can do without: a choice, a known finish reason, the token counts.
    """
    if not reply.choices:
        raise UserError("the server answered without a choice; it is not an OpenAI-compatible server, or base_url is wrong")
    choice = reply.choices[0]
    ids = None if choice.token_ids is None else tuple(choice.token_ids)
    given = choice.prompt_token_ids if choice.prompt_token_ids is not None else reply.prompt_token_ids
    prompt_ids = _ids_of(prompt) if given is None else tuple(given)
    logprobs, top = _logprobs(choice.logprobs, sampling.top_logprobs)
    if ids is not None and logprobs is not None and len(ids) != len(logprobs):
        logprobs = top = None
    cost = _cost(reply.usage, prompt_ids, ids, seconds, price)
    own = sampling.temperature == 1 and sampling.top_p == 1 and sampling.top_k is None and sampling.min_p == 0
    return Completion(
        text=(choice.message.content if choice.message else choice.text) or "",
        stop=_stop(choice, ids, cost.completion_tokens, sampling),
        cost=cost,
        prompt_ids=prompt_ids,
        ids=ids,
        logprobs=logprobs,
        sampler_logprobs=logprobs if own else None,
        top_logprobs=top,
    )


def _ids_of(prompt: Prompt) -> Ids | None:
    return tuple(i for i in prompt if isinstance(i, int)) if not isinstance(prompt, str) and is_ids(prompt) else None


def _logprobs(said: Logprobs | None, k: int) -> tuple[tuple[float, ...] | None, tuple[dict[int, float], ...] | None]:
    """(log-probability of each sampled token, alternatives by token id), each `None` where the server did not give it whole."""
    if said is None:
        return None, None
    if said.content is not None:
        values = [p.logprob for p in said.content]
        places = [{a.token: a.logprob for a in p.top_logprobs or []} for p in said.content]
    elif said.token_logprobs is not None:
        values, places = said.token_logprobs, [p or {} for p in said.top_logprobs or []]
    else:
        return None, None
    numbers = [v for v in values if v is not None]
    if len(numbers) != len(values):
        return None, None
    by_id = [{int(t.removeprefix("token_id:")): v for t, v in place.items() if t.startswith("token_id:")} for place in places]
    whole = k > 0 and len(by_id) == len(numbers) and all(by_id)
    return tuple(numbers), tuple(by_id) if whole else None


def _cost(usage: Usage | None, prompt_ids: Ids | None, ids: Ids | None, seconds: float, price: tuple[float, float] | None) -> Cost:
    """Usage as the server counted it; the ids counted where it gave no usage; UserError where it gave neither."""
    if usage is None:
        if prompt_ids is None or ids is None:
            raise UserError(
                "the server sends no usage and no token ids, so what a call cost is unknown and no budget can be kept; "
                "use a server that sends usage"
            )
        usage = Usage(len(prompt_ids), len(ids))
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    money = 0.0 if price is None else (usage.prompt_tokens * price[0] + usage.completion_tokens * price[1]) / 1e6
    return Cost(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        prefill_tokens=0 if cached is None else usage.prompt_tokens - cached,
        calls=1,
        seconds=seconds,
        money=money,
    )


def _stop(choice: Choice, ids: Ids | None, sampled: int, sampling: Sampling) -> Stop:
    """`stop` is both the end of turn and a stop string: vLLM's `stop_reason` or the last id tells, else a requested stop is believed."""
    match choice.finish_reason:
        case "stop" if not sampling.stop and not sampling.stop_token_ids:
            return Stop.EOS
        case "stop" if choice.stop_reason is not msgspec.UNSET:
            return Stop.EOS if choice.stop_reason is None else Stop.STOP
        case "stop" if ids and not sampling.stop:
            return Stop.STOP if ids[-1] in sampling.stop_token_ids else Stop.EOS
        case "stop":
            return Stop.STOP
        case "length":
            return Stop.LENGTH if sampled >= sampling.max_tokens else Stop.CONTEXT
        case "abort":
            return Stop.CANCELLED
        case "content_filter":
            return Stop.ERROR
        case other:
            raise UserError(
                f"the server's finish_reason is {other!r}, which is not one of stop, length, content_filter; use another server"
            )
