"""Any OpenAI-compatible server as an `LM`: chat completions for messages, legacy completions for text and token ids.

Invariants. The key is read from its environment variable when a request is made, goes into that request's header, and into nothing
else: no repr, log, exception or configuration holds it. An answer that came is counted once: attempts that failed cost seconds, but
no call and no tokens, because the server reported none.

vLLM takes sampling fields that a request leaves out (top_k above all) from the model's `generation_config.json`; start it with
`--generation-config vllm` to sample from the model's own distribution.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Self, TypeVar

import httpx
import msgspec
import tenacity

from reasonry.core import Completion, Ids, Prompt, Sampling, UserError
from reasonry.lm import wire

log = logging.getLogger(__name__)
T = TypeVar("T")


class EndpointError(UserError):
    """The server gave no usable answer in all attempts allowed. The same request may succeed later."""


@dataclass(frozen=True, slots=True)
class Retries:
    """When to ask again: exponential back-off with jitter, or what Retry-After says."""

    attempts: int = 6
    first: float = 0.5
    """Seconds before the second attempt; doubles with each one, plus up to `first` at random."""
    longest: float = 60.0
    """Most seconds to wait between attempts. A Retry-After beyond it ends the request at once."""


class Endpoint:
    """A model behind HTTP. Made once per model and event loop, closed by `aclose` or `async with`; many calls may be in flight.

    `base_url` is the address up to `/v1`; `timeout` is seconds for one attempt, connecting included; `price` is US dollars per
    million prompt tokens and per million completion tokens. Servers that offer token ids (`return_token_ids`) and
    log-probabilities are asked for them; those that refuse are asked again without, and once only.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        timeout: float = 300.0,
        retries: Retries = Retries(),
        price: tuple[float, float] | None = None,
    ) -> None:
        self.base_url = _checked(base_url)
        self.model, self.key_variable, self.timeout, self.retries, self.price = model, key_variable, timeout, retries, price
        self._slots = asyncio.Semaphore(concurrency)
        self._wishes = set(wire.WISHES)
        self._limit_field = "max_tokens"
        self._client = httpx.AsyncClient(
            verify=_certificates(),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 15.0), pool=None),
            limits=httpx.Limits(max_connections=concurrency),
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.model!r}, key_variable={self.key_variable!r})"

    @property
    def name(self) -> str:
        """The model's name at the server."""
        return self.model

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections. Requests in flight fail."""
        await self._client.aclose()

    close = aclose

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Samples one completion; seconds run from here to the answer, waiting for a slot and between attempts included.

        Raises EndpointError after the last attempt and UserError where the server refuses the request.
        """
        began = time.monotonic()
        while True:
            path, body = wire.question(self.model, prompt, sampling, frozenset(self._wishes))
            body[self._limit_field] = body.pop("max_tokens")
            try:
                reply = await self._ask(f"{self.base_url}/{path}", body, wire.Reply)
            except _RefusedError as refused:
                if not self._can_do_without(refused, body, sampling):
                    raise UserError(refused.sentence) from None
            else:
                return wire.completion(reply, prompt, sampling, time.monotonic() - began, self.price)

    async def encode(self, prompt: Prompt) -> Ids:
        """Token ids of a prompt by the server's own `/tokenize`. Raises UserError where the server has none."""
        if isinstance(prompt, str):
            body: dict[str, Any] = {"prompt": prompt}
        elif wire.is_ids(prompt):
            return tuple(i for i in prompt if isinstance(i, int))
        else:
            body = {"messages": wire.chat_messages(prompt), "add_generation_prompt": True}
        return tuple((await self._tokens("tokenize", body, wire.Tokens)).tokens)

    async def decode(self, ids: Ids) -> str:
        """The text of token ids by the server's own `/detokenize`. Raises UserError where the server has none."""
        return (await self._tokens("detokenize", {"tokens": list(ids)}, wire.Text)).prompt

    async def post(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        """The server's answer to a request at `path` below its root, retried like every other. Raises EndpointError after the last attempt
        and UserError where the server refuses."""
        try:
            return await self._ask(f"{self.base_url.removesuffix('/v1')}/{path}", {"model": self.model, **body}, kind)
        except _RefusedError as refused:
            raise UserError(refused.sentence) from None

    async def _tokens(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        try:
            return await self._ask(f"{self.base_url.removesuffix('/v1')}/{path}", {"model": self.model, **body}, kind)
        except _RefusedError as refused:
            if refused.status not in (404, 405, 501) or refused.param == "model":
                raise UserError(refused.sentence) from None
            raise UserError(
                f"{self.base_url}: this server has no /{path} and gives no token ids, so methods that work on ids (Delethink's carried "
                "state, training, tokenwise search) cannot use it; serve the model with vLLM or reasonry serve, or use single, "
                "self-consistency or best-of-n"
            ) from None

    def _can_do_without(self, refused: _RefusedError, body: dict[str, Any], sampling: Sampling) -> bool:
        """Whether the request, respelled, is worth one more try; what a server refused once is not sent to it again."""
        if "max_tokens" in body and refused.names("max_tokens") and "max_completion_tokens" in refused.sentence:
            self._limit_field = "max_completion_tokens"
            return True
        wished = {f for f in wire.WISHES & body.keys() if refused.names(f) and not (f == "logprobs" and sampling.top_logprobs)}
        self._wishes -= wished
        return bool(wished)

    async def _ask(self, url: str, body: dict[str, Any], kind: type[T]) -> T:
        """One request, repeated while that can help. Holds its slot while it waits, so that a server that asks for rest gets it."""
        content = msgspec.json.encode(body)
        r = self.retries
        backoff = tenacity.wait_exponential(multiplier=r.first, max=r.longest) + tenacity.wait_random(0, r.first)
        attempts = tenacity.AsyncRetrying(
            stop=lambda state: state.attempt_number >= r.attempts or _after(state) > r.longest,
            wait=lambda state: _after(state) or backoff(state),
            retry=tenacity.retry_if_exception_type(_TransientError),
            before_sleep=_note,
            reraise=True,
        )
        async with self._slots:
            try:
                return await attempts(self._attempt, url, content, kind)
            except _TransientError as last:
                rest = f", which asks to wait {last.after:g} s" if last.after > r.longest else f" in {r.attempts} attempts"
                raise EndpointError(f"{url}: no answer{rest}: {last}; check that the server runs and base_url is right") from None

    async def _attempt(self, url: str, content: bytes, kind: type[T]) -> T:
        key = _key(self.key_variable)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._client.post(url, content=content, headers=headers)
        except TimeoutError:
            raise _TransientError(f"nothing within {self.timeout:g} s") from None
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise UserError(f"{url}: cannot be asked ({type(error).__name__}); check base_url") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _TransientError(f"{type(error).__name__} ({_clean(str(error), key) or 'no detail'})") from None
        status = response.status_code
        if status in (408, 409, 429) or status >= 500:
            raise _TransientError(f"status {status} ({_clean(_message(response.content)[0], key)})", _retry_after(response)) from None
        if status >= 300:
            message, param = _message(response.content)
            hint = f"; is the right key in {self.key_variable}?" if status in (401, 403) else ""
            raise _RefusedError(status, param, f"{url} answered {status}: {_clean(message, key)}{hint}")
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _TransientError(f"status {status} with a malformed body ({_clean(str(error), key)})") from None


class _TransientError(Exception):
    """The attempt failed in a way that another may not."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class _RefusedError(Exception):
    """The server understood and said no."""

    def __init__(self, status: int, param: str | None, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.param, self.sentence = status, param, sentence

    def names(self, field: str) -> bool:
        """Whether the refusal is about a field of the request."""
        return self.param == field or re.search(rf"(?<![a-z_]){field}(?![a-z_])", self.sentence) is not None


def _after(state: tenacity.RetryCallState) -> float:
    """Seconds the server asked us to wait after the attempt just failed; 0 where it asked nothing."""
    error = state.outcome.exception() if state.outcome else None
    return error.after if isinstance(error, _TransientError) else 0.0


def _note(state: tenacity.RetryCallState) -> None:
    wait = state.next_action.sleep if state.next_action else 0.0
    log.info("attempt %d failed: %s; again in %.1f s", state.attempt_number, state.outcome and state.outcome.exception(), wait)


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities trusted, read once: it takes longer than a request."""
    return httpx.create_ssl_context()


def _checked(base_url: str) -> str:
    """The address without a final slash. An address that carries credentials is refused without being repeated."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise UserError("base_url: it is not an address; write for example http://127.0.0.1:8000/v1") from None
    if url.userinfo or url.query:
        raise UserError("base_url: it carries a password or a query; put the key into an environment variable and name that")
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"base_url: {base_url!r} does not start with http:// or https://; write for example http://127.0.0.1:8000/v1")
    return base_url.rstrip("/")


def _key(variable: str) -> str | None:
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise UserError(
            f"{variable}: the key in this environment variable holds a space or a character that no header can carry; set it anew"
        )
    return key or None


def _clean(text: str, key: str | None) -> str:
    """A server's words, fit to be shown: the key struck out, on one line, cut at 500 characters."""
    return " ".join((text.replace(key, "[key]") if key else text).split())[:500]


def _message(content: bytes) -> tuple[str, str | None]:
    """(message, param) of an error body, in the shapes servers use: OpenAI's, FastAPI's `detail`, a bare `message`, plain text."""
    try:
        said = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return content[:2000].decode("utf-8", "replace") or "no message", None
    error = said.get("error", said) if isinstance(said, dict) else said
    if not isinstance(error, dict):
        return str(error), None
    param = error.get("param")
    return str(error.get("message") or error.get("detail") or error), param if isinstance(param, str) else None


def _retry_after(response: httpx.Response) -> float:
    """Seconds that Retry-After asks for, given as a number or as an HTTP date; 0 where it is absent or unreadable."""
    said = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", said):
        return float(said)
    try:
        when = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    return max((when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
