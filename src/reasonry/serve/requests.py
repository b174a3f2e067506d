"""Request bodies: read strictly, checked, and made into one `Ask` for both endpoints.

Invariant: a field is honoured, known to change nothing (`IGNORED`, or a neutral value of `NEUTRAL`), or refused by name. Nothing else.

Beside OpenAI's fields: top_k, min_p, stop_token_ids, ignore_eos, prompt_logprobs, return_token_ids and return_tokens_as_token_ids as
vLLM defines them; `solver` (a solver spec such as `delethink?C=64`, instead of naming it in the model) and `budget` (such as
`tokens=4096,calls=8`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from reasonry.core import Budget, Message, Prompt, Sampling, UserError
from reasonry.serve.errors import Refusal

IGNORED = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier")
"""Accepted without effect: they are about the caller's account, not about the answer."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Fields that are not supported, with the values that ask for nothing; null always does. Any other value is refused."""

MOST_CHOICES = 128
"""Choices one request may ask for, prompts times n."""

Count = Annotated[int, Meta(ge=0)]
Alternatives = Annotated[int, Meta(ge=0, le=20)]


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """How to stream."""

    include_usage: bool = False


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a message; only text is known."""

    text: str
    type: str = "text"


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A message as clients send it."""

    role: str
    content: str | list[Part]
    tool_call_id: str | None = None
    """Accepted without effect: results stand in the order of the messages."""


class Common(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What both endpoints take."""

    model: str
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: int | None = None
    """0 and -1 mean no limit, as in vLLM."""
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[Count] | None = None
    ignore_eos: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    prompt_logprobs: Alternatives | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    solver: str | None = None
    budget: str | None = None


class ChatBody(Common, kw_only=True, forbid_unknown_fields=True):
    """Body of /v1/chat/completions."""

    messages: list[ChatMessage]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Alternatives | None = None


class CompletionBody(Common, kw_only=True, forbid_unknown_fields=True):
    """Body of /v1/completions."""

    prompt: str | list[str | int | list[int]]
    logprobs: Alternatives | None = None
    echo: bool | None = None
    best_of: int | None = None


class TokenizeBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of /tokenize, as vLLM takes it: a prompt or messages."""

    model: str | None = None
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_generation_prompt: bool = True
    add_special_tokens: bool | None = None
    return_token_strs: bool = False


class DetokenizeBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of /detokenize."""

    model: str | None = None
    tokens: list[Count]


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request. Made here, read by everything behind."""

    chat: bool
    model: str
    solver: str | None
    budget: Budget | None
    prompts: tuple[Prompt, ...]
    n: int
    """Choices per prompt."""
    max_tokens: int | None
    """`None`: the endpoint's default."""
    sampling: Sampling
    """Without `max_tokens`, which needs the prompt's length; `top_logprobs` is what the choices need."""
    said: frozenset[str]
    """Fields the request carried with a value."""
    logprobs: int | None
    """Alternatives to report beside each sampled token; `None`: no log-probabilities."""
    echo: bool
    prompt_logprobs: int | None
    token_ids: bool
    names_as_ids: bool
    """Tokens are written `token_id:17` instead of spelled."""
    stream: bool
    stream_usage: bool


def read_chat(content: bytes) -> Ask:
    """The body of a chat request. Raises Refusal naming the field at fault."""
    body = read(content, ChatBody)
    if not body.messages:
        raise Refusal("messages is empty; send at least one message", "messages")
    if body.max_tokens is not None and body.max_completion_tokens not in (None, body.max_tokens):
        raise Refusal("max_tokens and max_completion_tokens differ; send one of them", "max_tokens")
    if body.top_logprobs is not None and not body.logprobs:
        raise Refusal("top_logprobs needs logprobs; set logprobs to true", "top_logprobs")
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return _ask(body, (chat_messages(body.messages),), limit, (body.top_logprobs or 0) if body.logprobs else None, echo=False)


def read_completion(content: bytes) -> Ask:
    """The body of a legacy completion request. Raises Refusal naming the field at fault."""
    body = read(content, CompletionBody)
    if body.best_of not in (None, body.n or 1):
        raise Refusal(f"best_of is {body.best_of} but only n is known here; use the solver best-of-n", "best_of")
    return _ask(body, _prompts(body.prompt), body.max_tokens, body.logprobs, echo=bool(body.echo))


B = TypeVar("B")


def read(content: bytes, kind: type[B]) -> B:
    """JSON of a known shape, harmless fields left out. Raises Refusal naming the field that is unknown, unsupported or wrong."""
    try:
        fields = msgspec.json.decode(content)
        if isinstance(fields, dict):
            for name in (*IGNORED, *NEUTRAL):
                value = fields.pop(name, None)
                if name in NEUTRAL and value is not None and value not in NEUTRAL[name]:
                    raise Refusal(f"{name} is not supported here; leave it out", name, "unsupported_parameter")
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"the body is not valid JSON ({error}); send a JSON object") from None


def _refusal(said: str) -> Refusal:
    """msgspec's words as a refusal that names the field."""
    what, _, path = said.partition(" - at `$.")
    inside = path.rstrip("`")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        name = f"{inside}.{unknown[1]}" if inside else unknown[1]
        return Refusal(f"{name} is not known to this server; leave it out", name, "unknown_parameter")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        name = f"{inside}.{missing[1]}" if inside else missing[1]
        return Refusal(f"{name} is missing; send it", name, "missing_required_parameter")
    return Refusal(f"{inside or 'the body'}: {what[:1].lower()}{what[1:]}", re.split(r"[.\[]", inside)[0] or None, "invalid_value")


def chat_messages(messages: list[ChatMessage]) -> tuple[Message, ...]:
    """Messages in our words. `developer` is the new name of `system`; any other role than the known four is refused."""
    out = []
    for i, message in enumerate(messages):
        role = "system" if message.role == "developer" else message.role
        if role not in ("system", "user", "assistant", "tool"):
            raise Refusal(f"messages[{i}].role is {role!r}; use system, user, assistant or tool", "messages")
        parts = [Part(message.content)] if isinstance(message.content, str) else message.content
        if other := next((p.type for p in parts if p.type != "text"), None):
            raise Refusal(f"messages[{i}].content holds a part of type {other!r}; only text is supported", "messages")
        out.append(Message(role, "".join(p.text for p in parts)))
    return tuple(out)


def _prompts(prompt: str | list[str | int | list[int]]) -> tuple[Prompt, ...]:
    """A text, a list of texts, ids or a list of ids: as prompts, in order."""
    items = [prompt] if isinstance(prompt, str) else prompt
    if len({type(p) for p in items}) > 1:
        raise Refusal("prompt mixes texts and token ids; send a text, a list of texts, a list of ids or a list of such lists", "prompt")
    ids = tuple(p for p in items if isinstance(p, int))
    prompts: tuple[Prompt, ...] = (ids,) if ids else tuple(p if isinstance(p, str) else tuple(p) for p in items if not isinstance(p, int))
    if not prompts or not all(prompts):
        raise Refusal("prompt is empty; send at least one character or one token id", "prompt")
    return prompts


def _ask(body: ChatBody | CompletionBody, prompts: tuple[Prompt, ...], limit: int | None, logprobs: int | None, echo: bool) -> Ask:
    said = frozenset(f for f in body.__struct_fields__ if getattr(body, f) is not None)
    n, stream = body.n or 1, bool(body.stream)
    if len(prompts) * n > MOST_CHOICES:
        raise Refusal(f"{len(prompts)} prompts times n={n} are more than {MOST_CHOICES} choices; send fewer in one request", "n")
    if limit == 0 and not echo and body.prompt_logprobs is None:
        raise Refusal("max_tokens is 0, which asks for nothing; send at least 1, or 0 with echo or prompt_logprobs", "max_tokens")
    if body.stream_options is not None and not stream:
        raise Refusal("stream_options is only for streams; set stream to true or leave it out", "stream_options")
    for name, asked in (("echo", echo), ("prompt_logprobs", body.prompt_logprobs is not None)):
        if stream and asked:
            raise Refusal(f"{name} cannot be streamed; leave out {name} or stream", name)
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if "" in stops:
        raise Refusal("stop holds an empty string, which would end every answer at once; leave it out", "stop")
    if body.top_k is not None and body.top_k < -1:
        raise Refusal(f"top_k is {body.top_k}; use 1 or more, or 0 or -1 for no limit", "top_k")
    sampling = Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=body.top_k if body.top_k and body.top_k > 0 else None,
        min_p=body.min_p or 0.0,
        seed=body.seed,
        stop=stops,
        stop_token_ids=tuple(body.stop_token_ids or ()),
        ignore_eos=bool(body.ignore_eos),
        top_logprobs=logprobs or 0,
    )
    return Ask(
        chat=isinstance(body, ChatBody),
        model=body.model,
        solver=body.solver,
        budget=_budget(body.budget),
        prompts=prompts,
        n=n,
        max_tokens=limit,
        sampling=sampling,
        said=said,
        logprobs=logprobs,
        echo=echo,
        prompt_logprobs=body.prompt_logprobs,
        token_ids=bool(body.return_token_ids),
        names_as_ids=bool(body.return_tokens_as_token_ids),
        stream=stream,
        stream_usage=body.stream_options is not None and body.stream_options.include_usage,
    )


def _budget(text: str | None) -> Budget | None:
    try:
        return None if text is None else Budget.parse(text)
    except UserError as error:
        raise Refusal(str(error), "budget") from None
