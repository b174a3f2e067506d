"""What the server refuses, how it says so, and what it does when a client goes away or a model behind it fails."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tiny_server import local, serving

from reasonry.core import Completion, Cost, Ids, Prompt, Sampling, Stop, UserError
from reasonry.lm.endpoint import EndpointError
from reasonry.lm.tokenizer import Tokenizer
from reasonry.serve import app as app_module
from reasonry.serve import stream
from reasonry.serve.app import build_app, is_loopback, run

MESSAGES: Any = [{"role": "user", "content": "what is 2 + 3 ?"}]
KEY = "sk-test-5b8e1d"


class ScriptedLM:
    """Not a language model: says its text after a while, or fails as told. Gives no ids."""

    def __init__(self, text: str = "#### 5", seconds: float = 0.0, error: Exception | None = None, stop: Stop = Stop.EOS) -> None:
        self.text, self.seconds, self.error, self.stop = text, seconds, error, stop
        self.started = self.cancelled = 0

    @property
    def name(self) -> str:
        return "scripted"

    async def encode(self, prompt: Prompt) -> Ids:
        raise UserError("scripted gives no token ids")

    async def decode(self, ids: Ids) -> str:
        raise UserError("scripted gives no token ids")

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        self.started += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return Completion(self.text, self.stop, Cost(prompt_tokens=9, completion_tokens=3, calls=1))


def error_of(reply: httpx.Response) -> dict:
    """The error of a reply, after checking its shape."""
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


@pytest.fixture(scope="module")
def http(address):
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


CHAT = {"model": "tiny", "messages": MESSAGES, "max_tokens": 2}
LEGACY = {"model": "tiny", "prompt": "two", "max_tokens": 2}


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"sead": 1}, "sead", "not known"),
        ({"stream_options": {"include_usages": True}, "stream": True}, "stream_options.include_usages", "not known"),
        ({"tools": [{"type": "function"}]}, "tools", "not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
        ({"audio": {"voice": "x"}}, "audio", "not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "not supported"),
        ({"temperature": -1}, "temperature", ">= 0"),
        ({"temperature": "hot"}, "temperature", "got `str`"),
        ({"top_p": 0}, "top_p", "> 0"),
        ({"top_k": -7}, "top_k", "1 or more"),
        ({"n": 0}, "n", ">= 1"),
        ({"seed": -1}, "seed", ">= 0"),
        ({"max_tokens": 0}, "max_tokens", "asks for nothing"),
        ({"max_completion_tokens": 5}, "max_tokens", "differ"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 30}, "top_logprobs", "<= 20"),
        ({"stop": ["a", ""]}, "stop", "empty string"),
        ({"stream_options": {}}, "stream_options", "only for streams"),
        ({"stream": True, "prompt_logprobs": 1}, "prompt_logprobs", "cannot be streamed"),
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages", "'wizard'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url",
            "not known",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "odd", "text": "x"}]}]}, "messages", "'odd'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"budget": "calls=2"}, "budget", "for solvers"),
        ({"solver": "single", "budget": "apples=2"}, "budget", "not a unit"),
        ({"solver": "single?k=2"}, "solver", "k is not an option"),
        ({"solver": "magic"}, "solver", "not a solver"),
        ({"solver": "delethink?C=8&m=9"}, "solver", "smaller than C"),
        ({"solver": "single", "logprobs": True}, "logprobs", "several calls"),
        ({"solver": "single", "stop": "x"}, "stop", "several calls"),
        ({"solver": "single", "model": "tiny:delethink"}, "solver", "use one of them"),
        ({"model": "tiny:single?k=2"}, "model", "k is not an option"),
    ],
)
def test_chat_refusals(http, change, param, says):
    """400, the field named, one sentence: nothing is ignored in silence."""
    reply = http.post("/v1/chat/completions", json=CHAT | change)
    error = error_of(reply)
    assert (reply.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert says in error["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 3]}, "prompt"),
        ({"prompt": [[1], []]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [3, 4], "solver": "single"}, "prompt"),
        ({"best_of": 3}, "best_of"),
        ({"suffix": "x"}, "suffix"),
        ({"echo": True, "stream": True}, "echo"),
        ({"prompt": ["a"] * 65, "n": 2}, "n"),
        ({"messages": MESSAGES}, "messages"),
        ({"prompt": [10**6]}, "prompt"),
    ],
)
def test_legacy_refusals(http, change, param):
    """The same for the legacy endpoint."""
    reply = http.post("/v1/completions", json=LEGACY | change)
    assert (reply.status_code, error_of(reply)["param"]) == (400, param)


def test_harmless_fields_pass(http):
    """Fields about the caller's account, and values that ask for nothing, change nothing."""
    plain = http.post("/v1/chat/completions", json=CHAT | {"seed": 1}).json()["choices"]
    harmless = {
        "user": "me", "metadata": {"a": "b"}, "store": False, "tools": [], "tool_choice": "none", "frequency_penalty": 0,
        "presence_penalty": 0.0, "logit_bias": None, "response_format": {"type": "text"}, "service_tier": "auto", "top_k": -1, "stop": None,
        "logprobs": None,
    }  # fmt: skip
    assert http.post("/v1/chat/completions", json=CHAT | {"seed": 1} | harmless).json()["choices"] == plain


def test_messages_in_parts_and_roles(http):
    """Text parts are joined; developer is system under its new name."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "what is "}, {"type": "text", "text": "2 + 3 ?"}]}]
    same = [http.post("/v1/chat/completions", json=CHAT | {"seed": 1, "messages": m}).json()["choices"] for m in (MESSAGES, parts)]
    assert same[0] == same[1]
    ids = [
        http.post("/tokenize", json={"messages": [{"role": r, "content": "x"}]}).json()["tokens"] for r in ("developer", "system", "user")
    ]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff\xfe"])
def test_bodies_that_are_none(http, content):
    """What is no JSON object is refused."""
    reply = http.post("/v1/chat/completions", content=content)
    assert reply.status_code == 400
    assert error_of(reply)["type"] == "invalid_request_error"


def test_a_body_too_large(http, monkeypatch):
    """A body beyond the limit is refused before it is read whole."""
    monkeypatch.setattr(app_module, "MOST_BYTES", 2**20)
    reply = http.post("/v1/completions", json=LEGACY | {"prompt": "x" * 2**21})
    assert (reply.status_code, error_of(reply)["param"]) == (413, None)


def test_unknown_model_names_those_there_are(http):
    """404 with the names that exist; also for a solver nobody has."""
    for model in ("gpt-9", "tiny:magic", "tiny:"):
        reply = http.post("/v1/completions", json=LEGACY | {"model": model})
        error = error_of(reply)
        assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert "tiny, tiny:single" in error["message"]


@pytest.mark.parametrize("model", ["tiny", "tiny:self-consistency"])
def test_too_long_a_prompt(http, model):
    """A prompt that fills the window is refused with OpenAI's code; one that just leaves room is not."""
    reply = http.post("/v1/completions", json=LEGACY | {"prompt": "x" * 500, "model": model})
    error = error_of(reply)
    assert (reply.status_code, error["code"]) == (400, "context_length_exceeded")
    assert "500 tokens" in error["message"]
    assert http.post("/v1/completions", json=LEGACY | {"prompt": [5] * 127, "max_tokens": 1}).status_code == 200
    assert (
        http.post("/v1/completions", json=LEGACY | {"prompt": [5] * 128, "max_tokens": 0, "echo": True, "logprobs": 0}).status_code == 200
    )


def test_paths_that_are_none(http):
    """404 and 405 have the error shape too."""
    assert error_of(http.get("/v2/models"))["type"] == "not_found_error"
    wrong = http.get("/v1/completions")
    assert (wrong.status_code, "use POST" in error_of(wrong)["message"]) == (405, True)


def test_the_openai_clients_exceptions(address):
    """Statuses and shapes are those the openai client maps to its classes."""
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as bad:
            client.chat.completions.create(model="tiny", messages=MESSAGES, tools=[{"type": "function", "function": {"name": "f"}}])
        assert bad.value.param == "tools"
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.chat.completions.create(model="nobody", messages=MESSAGES)


def test_small_pages(http):
    """/health answers; / lists the models and escapes nothing it should not."""
    assert http.get("/health").json() == {"status": "ok"}
    page = http.get("/").text
    assert "tiny:delethink" in page
    assert "curl http://127.0.0.1:" in page


def test_tokenize_round_trip(http):
    """/tokenize and /detokenize are inverse on text; messages are rendered by the template."""
    said = http.post("/tokenize", json={"model": "tiny", "prompt": "two plus three", "return_token_strs": True}).json()
    assert "".join(said["token_strs"]) == "two plus three"
    assert (said["count"], said["max_model_len"]) == (len(said["tokens"]), 128)
    assert http.post("/detokenize", json={"tokens": said["tokens"]}).json() == {"prompt": "two plus three"}
    chat = http.post("/tokenize", json={"messages": MESSAGES}).json()["tokens"]
    closed = http.post("/tokenize", json={"messages": MESSAGES, "add_generation_prompt": False}).json()["tokens"]
    assert chat[: len(closed)] == closed
    assert len(chat) > len(closed)
    assert http.post("/tokenize", json={"prompt": ""}).json()["tokens"] == []
    assert error_of(http.post("/tokenize", json={}))["param"] == "prompt"
    assert error_of(http.post("/detokenize", json={"tokens": "x"}))["param"] == "tokens"


def test_the_key(tokenizer: Tokenizer):
    """Without the right key nothing but the front page and /health is served; with it all is; no answer repeats a key."""
    with serving({"tiny": local(tokenizer)}, key=KEY) as url:
        with httpx.Client(base_url=url) as http:
            wrong: list[Any] = [{}, *({"authorization": value} for value in ("Bearer wrong", KEY, b"Bearer schl\xfcssel"))]
            for headers in wrong:
                for path in ("/v1/models", "/tokenizer_info", "/v1/nothing"):
                    reply = http.get(path, headers=headers)
                    assert (reply.status_code, error_of(reply)["code"]) == (401, "invalid_api_key")
            assert http.get("/health").status_code == http.get("/").status_code == 200
            assert KEY not in http.get("/").text
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            assert client.models.list().data
        with openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client, pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_run_refuses_what_is_unsafe_or_impossible(monkeypatch):
    """An address others can reach needs a key; a named variable must hold one; a port in use is said in one sentence."""
    lms = {"scripted": ScriptedLM()}
    with pytest.raises(UserError, match="--key-variable"):
        run(lms, host="0.0.0.0")
    monkeypatch.setenv("SERVE_KEY", "")
    with pytest.raises(UserError, match="SERVE_KEY is not set"):
        run(lms, key_variable="SERVE_KEY")
    with serving(lms) as url, pytest.raises(UserError, match="cannot listen"):
        run(lms, port=int(url.rpartition(":")[2]))
    with pytest.raises(UserError, match="cannot listen"):
        run(lms, port=70000)
    with pytest.raises(UserError, match="no model"):
        build_app({})
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "127.8.8.8", "0.0.0.0", "10.0.0.1", "example.org")] == [True] * 4 + [
        False
    ] * 3


SCRIPT = """
import os, sys
sys.path.insert(0, os.environ["HERE"])
from test_serve_refusals import ScriptedLM
from reasonry.serve.app import run
run({"scripted": ScriptedLM(error=RuntimeError("boom"))}, port=0, key_variable="SERVE_KEY")
"""


def test_run_as_a_process():
    """It says where it serves, answers, ends on an interrupt with code 0, and nothing it wrote holds the key."""
    env = {**os.environ, "SERVE_KEY": KEY, "HERE": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        hello = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", hello)
        assert found, hello
        with httpx.Client(base_url=found[0], timeout=60) as http:
            until = time.monotonic() + 60
            while True:
                try:
                    assert http.get("/models").status_code == 401
                    break
                except httpx.TransportError:
                    assert time.monotonic() < until
                    time.sleep(0.1)
            body = {"model": "scripted", "messages": MESSAGES}
            assert http.post("/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}).status_code == 500
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0
    assert "boom" in rest
    assert KEY not in hello + rest


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (UserError("prompt: too odd"), 400, "too odd"),
        (EndpointError("http://up: no answer in 6 attempts"), 502, "no answer"),
        (RuntimeError(f"boom {KEY}"), 500, "made a mistake (RuntimeError)"),
    ],
)
@pytest.mark.parametrize("model", ["scripted", "scripted:single"])
def test_errors_of_the_model_behind(error, status, says, model, caplog):
    """Each becomes its status in the same shape; the details of our own mistakes stay in the log; a stream ends with an error event."""
    with serving({"scripted": ScriptedLM(error=error)}) as url:
        reply = httpx.post(f"{url}/v1/chat/completions", json={"model": model, "messages": MESSAGES})
        assert reply.status_code == status
        assert says in error_of(reply)["message"]
        assert KEY not in reply.text
        with (
            openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
            pytest.raises(openai.APIError, match=says.replace("(", r"\(").replace(")", r"\)")),
        ):
            list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    assert ("a request failed inside" in caplog.text) == (status == 500)


def test_a_model_without_ids(caplog):
    """A model behind an endpoint serves text, solvers and streams; what it does not offer is refused, never made up."""
    with serving({"scripted": ScriptedLM(stop=Stop.LENGTH)}) as url, httpx.Client(base_url=url) as http:
        base = {"model": "scripted", "messages": MESSAGES}
        reply = http.post("/v1/chat/completions", json=base).json()
        assert reply["choices"][0]["message"]["content"] == "#### 5"
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["prompt_tokens_details"] is None
        voted = http.post("/v1/chat/completions", json=base | {"solver": "self-consistency?k=4"}).json()
        assert voted["usage"]["prompt_tokens"] == 36
        assert "#### 5" in http.post("/v1/chat/completions", json=base | {"stream": True}).text
        echoed = http.post("/v1/completions", json={"model": "scripted", "prompt": "so: ", "echo": True}).json()
        assert echoed["choices"][0]["text"] == "so: #### 5"
        for field, value in {"logprobs": True, "return_token_ids": True, "prompt_logprobs": 1}.items():
            assert error_of(http.post("/v1/chat/completions", json=base | {field: value}))["param"] == field
        also = base | {"logprobs": True, "return_tokens_as_token_ids": True}
        assert error_of(http.post("/v1/chat/completions", json=also))["param"] == "logprobs"
        legacy = {"model": "scripted", "prompt": "x"}
        assert error_of(http.post("/v1/completions", json=legacy | {"echo": True, "logprobs": 1}))["param"] == "echo"
        assert error_of(http.post("/v1/completions", json=legacy | {"echo": True, "max_tokens": 0}))["param"] == "max_tokens"
        assert error_of(http.post("/v1/completions", json=legacy | {"prompt": [1, 2], "solver": "single"}))["param"] == "prompt"
        assert "no token ids" in error_of(http.post("/tokenize", json={"prompt": "x"}))["message"]
        assert http.get("/tokenizer_info").status_code == 404
    assert "a request failed inside" not in caplog.text


@pytest.mark.parametrize("body", [{}, {"stream": True}, {"n": 3}, {"solver": "self-consistency?k=3"}, {"stream": True, "solver": "single"}])
def test_going_away_cancels_the_work(body):
    """A client that hangs up frees what its request held, streamed or not, solver or not."""
    lm = ScriptedLM(seconds=30)
    with serving({"scripted": lm}) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/chat/completions", json={"model": "scripted", "messages": MESSAGES} | body, timeout=0.4)
        until = time.monotonic() + 10
        while (not lm.started or lm.cancelled < lm.started) and time.monotonic() < until:
            time.sleep(0.02)
        assert lm.started == lm.cancelled > 0


def test_a_choice_that_fails_takes_the_others_with_it():
    """No work goes on for a request that has had its error."""
    lm = ScriptedLM(seconds=30)
    first = lm.complete

    async def complete(prompt: Prompt, sampling: Sampling) -> Completion:
        if sampling.seed == 7:
            await asyncio.sleep(0.1)
            raise UserError("no")
        return await first(prompt, sampling)

    lm.complete = complete
    with serving({"scripted": lm}) as url:
        body = {"model": "scripted", "messages": MESSAGES, "n": 3, "seed": 7}
        assert httpx.post(f"{url}/v1/chat/completions", json=body, timeout=10).status_code == 400
        time.sleep(0.2)
        assert lm.started == lm.cancelled == 2


def test_going_away_cancels_a_local_stream(tokenizer: Tokenizer):
    """Hanging up in the middle of a stream takes the request out of the engine, though the window has room for more."""
    lm = local(tokenizer)
    with serving({"tiny": lm}) as url:
        body = {"model": "tiny", "messages": MESSAGES, "stream": True, "ignore_eos": True, "n": 4}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
            next(reply.iter_lines())
        until = time.monotonic() + 10
        while lm.engine.busy and time.monotonic() < until:
            time.sleep(0.01)
        assert not lm.engine.busy
        alone = httpx.post(f"{url}/v1/completions", json=LEGACY | {"seed": 1}, timeout=30)
        assert alone.status_code == 200


def test_a_silent_stream_says_it_is_working(monkeypatch, caplog):
    """While a solver works, comments keep the connection open; a client that reads events does not see them."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.05)
    with serving({"scripted": ScriptedLM(seconds=0.3)}) as url:
        body = {"model": "scripted:single", "messages": MESSAGES, "stream": True}
        text = httpx.post(f"{url}/v1/chat/completions", json=body).text
        assert text.startswith(": working\n\n")
        assert text.endswith("data: [DONE]\n\n")
        with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            chunks = list(client.chat.completions.create(**body))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "#### 5"
