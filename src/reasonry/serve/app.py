"""The OpenAI-compatible server: routes, the key, and nothing else. `build_app` for tests and other servers, `run` for the command line.

Invariant: every answer that is no success has the OpenAI error shape, and a client that goes away takes its work with it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar, runtime_checkable

import jinja2
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reasonry.core import LM, UserError
from reasonry.serve import tokenize
from reasonry.serve.catalogue import Catalogue
from reasonry.serve.errors import Refusal, as_error, error_body
from reasonry.serve.replies import usage
from reasonry.serve.requests import Ask, read_chat, read_completion
from reasonry.serve.stream import events
from reasonry.serve.work import prepare

MOST_BYTES = 32 * 2**20
"""Largest body accepted."""

OPEN_PATHS = ("/", "/health")
"""Served without the key."""

PATHS = ("/v1/models", "/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/tokenizer_info", "/health")

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def build_app(lms: Mapping[str, LM], key: str | None = None, named: Mapping[tuple[str, str], str] | None = None) -> Starlette:
    """The application over models by name; with a key, every path but `/` and `/health` wants it as a bearer token.

    `named` are `Catalogue.named`; what they name is loaded here. Raises UserError where that cannot be, or there is no model.
    """
    if not lms:
        raise UserError("serve: no model is named; name at least one, for example pocket")
    catalogue = Catalogue(lms, named or {})
    born = int(time.time())

    async def index(request: Request) -> Response:
        page = _page().render(names=catalogue.names, base=str(request.base_url).rstrip("/"), key=key is not None)
        return HTMLResponse(page)

    async def health(request: Request) -> Response:
        return _json({"status": "ok"})

    def card(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": born, "owned_by": "reasonry"}

    async def models(request: Request) -> Response:
        return _json({"object": "list", "data": [card(name) for name in catalogue.names]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in catalogue.names:
            raise Refusal(f"model {name!r} does not exist; use one of {', '.join(catalogue.names)}", "model", "model_not_found", 404)
        return _json(card(name))

    def completions(read: Callable[[bytes], Ask]) -> Handler:
        async def answer(request: Request) -> Response:
            work = await prepare(read(await _body(request)), catalogue)
            if work.form.ask.stream:
                return StreamingResponse(events(work.form, work.sources(), work.total), media_type="text/event-stream")
            choices, cost = await _while_listened_to(request, work.whole())
            return _json(work.form.whole(choices, usage(cost, [c.stop for c in choices if c.stop is not None])))

        return answer

    def of_tokens(act: Callable[[bytes, Catalogue], Coroutine[Any, Any, dict[str, Any]]]) -> Handler:
        async def answer(request: Request) -> Response:
            return _json(await act(await _body(request), catalogue))

        return answer

    async def tokenizer_info(request: Request) -> Response:
        return _json(tokenize.info(catalogue))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await catalogue.opened.close()
        for lm in lms.values():
            if isinstance(lm, _Closable):
                await lm.close()

    return Starlette(
        routes=[
            Route("/", index),
            Route("/health", health),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", _guarded(model)),
            Route("/v1/chat/completions", _guarded(completions(read_chat)), methods=["POST"]),
            Route("/v1/completions", _guarded(completions(read_completion)), methods=["POST"]),
            Route("/tokenize", _guarded(of_tokens(tokenize.tokenize)), methods=["POST"]),
            Route("/detokenize", _guarded(of_tokens(tokenize.detokenize)), methods=["POST"]),
            Route("/tokenizer_info", _guarded(tokenizer_info)),
        ],
        middleware=[Middleware(_Key, key=key)] if key else [],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )


def run(
    lms: Mapping[str, LM],
    host: str = "127.0.0.1",
    port: int = 8000,
    key_variable: str | None = None,
    named: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Serves until interrupted. Raises UserError where the key is missing, the address is open without one, or the port is taken, and
    what `build_app` does."""
    app = build_app(lms, key_for(host, key_variable), named)
    with _listen(host, port) as listener:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
        shown = f"[{host}]" if ":" in host else host
        print(
            f"Serving {', '.join([*lms, *map(':'.join, named or {})])} at http://{shown}:{listener.getsockname()[1]}/v1 (stop with Ctrl-C)",
            flush=True,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def key_for(host: str, key_variable: str | None) -> str | None:
    """The key clients must send, `None` for none. Raises UserError where its variable is not set, or the address is open without one.

    Asked before models are loaded, which may take minutes.
    """
    key = None if key_variable is None else os.environ.get(key_variable, "").strip()
    if key == "":
        raise UserError(f"--key-variable: the environment variable {key_variable} is not set; set it to the key that clients must send")
    if key is None and not is_loopback(host):
        raise UserError(f"--host: {host} can be reached from other machines; name the variable that holds a key with --key-variable")
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name other than localhost is taken to be reachable."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a port number"
        raise UserError(f"--port: cannot listen on {host}:{port} ({reason}); name another port or host") from None


@runtime_checkable
class _Closable(Protocol):
    async def close(self) -> None: ...


class _Key:
    """Lets a request in when it carries the key. Compares in constant time."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._expected = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            given = Headers(scope=scope).get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self._expected):
                message = "this server wants a key; send it as: Authorization: Bearer KEY"
                await _json(error_body(message, 401, code="invalid_api_key"), 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise Refusal(f"the body is larger than {MOST_BYTES // 2**20} MiB; send less in one request", status=413)
        parts.append(part)
    return b"".join(parts)


async def _while_listened_to(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; a client that goes away cancels it."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal("the client went away", status=499)
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _guarded(act: Handler) -> Handler:
    """Whatever goes wrong inside becomes an answer in the error shape."""

    async def answer(request: Request) -> Response:
        try:
            return await act(request)
        except Exception as error:
            status, body = as_error(error)
            return _json(body, status)

    return answer


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    allowed = (error.headers or {}).get("Allow") if isinstance(error, HTTPException) else None
    mend = f"use {allowed}" if allowed else f"the paths are {', '.join(PATHS)}"
    return _json(error_body(f"{request.method} {request.url.path} is not served here; {mend}", status), status)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _page() -> jinja2.Template:
    return jinja2.Environment(loader=jinja2.PackageLoader("reasonry.serve", ""), autoescape=True).get_template("index.html")
