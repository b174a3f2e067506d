"""Endpoint against a real server on loopback whose faults are put in by script, one per request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reasonry.core import LM, Cost, Message, Sampling, Stop, UserError
from reasonry.lm.endpoint import Endpoint, EndpointError, Retries

KEY = "sk-test-4f9a2b7c"
QUICK = Retries(attempts=4, first=0.01, longest=3.0)
PLAIN = Sampling()
ASK = (Message("user", "What is 2 + 3?"),)
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.asked.append((self.path, body, dict(self.headers), time.monotonic()))
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            act = self.server.script.pop(0) if self.server.script else self.server.default
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            act(self)
        with self.server.lock:
            self.server.now -= 1

    def reply(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


Act = Callable[[Handler], None]


class Scripted(ThreadingHTTPServer):
    """Answers request k with `script[k]`, then with `default`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.asked, self.script, self.now, self.most = threading.Lock(), [], [], 0, 0
        self.default: Act = answers(chat())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


def chat(text: str = "#### 5", finish: str = "stop", usage: dict | None = USAGE, **choice: object) -> dict:
    message = {"role": "assistant", "content": text}
    top = {} if usage is None else {"usage": usage}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}], **top}


def legacy(text: str = " 5", finish: str = "stop", **choice: object) -> dict:
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": finish, **choice}], "usage": USAGE}


def answers(value: object, status: int = 200, **headers: str) -> Act:
    return lambda h: h.reply(status, json.dumps(value).encode(), **headers)


def raw(content: bytes, status: int = 200) -> Act:
    return lambda h: h.reply(status, content)


def error(message: str, param: str | None = None) -> dict:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


def drop(h: Handler) -> None:
    """Announces more bytes than it sends, then closes."""
    h.send_response(200)
    h.send_header("content-length", "1000")
    h.end_headers()
    h.wfile.write(b'{"choices": [')
    h.wfile.flush()
    h.close_connection = True


def stall(seconds: float) -> Act:
    return lambda h: (time.sleep(seconds), h.reply(200, json.dumps(chat()).encode()))[1]


def drip(h: Handler) -> None:
    """Sends a byte now and then for ten seconds, so that no single read takes long. Ends early when nobody listens."""
    h.send_response(200)
    h.send_header("content-length", "1000")
    h.end_headers()
    for _ in range(200):
        h.wfile.write(b" ")
        h.wfile.flush()
        time.sleep(0.05)


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=scripted.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield scripted
    scripted.shutdown()
    scripted.server_close()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def ask(server: Scripted, prompt=ASK, sampling: Sampling = PLAIN, **options):
    async with Endpoint(server.url, "m", **{"retries": QUICK, **options}) as lm:
        return await lm.complete(prompt, sampling)


async def test_a_plain_chat_reply_becomes_a_completion(server):
    """Text, stop, tokens and money are what the reply says; what it does not say is None."""
    got = await ask(server, price=(2.0, 10.0))
    assert (got.text, got.stop) == ("#### 5", Stop.EOS)
    assert (got.ids, got.prompt_ids, got.logprobs, got.sampler_logprobs, got.top_logprobs) == (None,) * 5
    assert got.cost.seconds > 0
    expected = Cost(prompt_tokens=9, completion_tokens=3, calls=1, money=(9 * 2 + 3 * 10) / 1e6, seconds=got.cost.seconds)
    assert got.cost == expected
    path, body, headers, _ = server.asked[0]
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "What is 2 + 3?"}]
    assert headers["authorization"] == f"Bearer {KEY}"


async def test_it_is_an_lm():
    """Endpoint has the shape of core.LM."""
    async with Endpoint("http://127.0.0.1:1/v1", "m") as lm:
        assert isinstance(lm, LM)
        assert lm.name == "m"


async def test_request_fields(server):
    """Default fields that every server knows are always said; extensions only where set; wishes always."""
    await ask(server)
    plain = server.asked[0][1]
    assert plain == {
        "model": "m", "messages": plain["messages"], "temperature": 1.0, "top_p": 1.0, "max_tokens": 256,
        "logprobs": True, "return_token_ids": True,
    }  # fmt: skip
    every = Sampling(
        max_tokens=7, temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, seed=0,
        stop=("\n",), stop_token_ids=(3,), ignore_eos=True, top_logprobs=2,
    )  # fmt: skip
    await ask(server, sampling=every)
    said = server.asked[1][1]
    extra = {"top_k": 5, "min_p": 0.1, "seed": 0, "stop": ["\n"], "stop_token_ids": [3], "ignore_eos": True, "top_logprobs": 2}
    assert said == {
        **plain, "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, **extra, "return_tokens_as_token_ids": True
    }  # fmt: skip


async def test_text_and_ids_go_to_legacy_completions(server):
    """Text and ids are sent as they are, never re-tokenised; ids of the prompt are known without the server saying them."""
    server.default = answers(legacy())
    assert (await ask(server, prompt="2 + 3 =")).text == " 5"
    got = await ask(server, prompt=(4, 5, 6))
    assert [(p, b["prompt"], b["logprobs"]) for p, b, _, _ in server.asked] == [
        ("/v1/completions", "2 + 3 =", 0), ("/v1/completions", [4, 5, 6], 0)
    ]  # fmt: skip
    assert got.prompt_ids == (4, 5, 6)


async def test_ids_logprobs_and_cache_when_offered(server):
    """Offered ids, log-probabilities and cached tokens arrive; alternatives are keyed by id where the server names ids."""
    content = [{"token": f"token_id:{i}", "logprob": -i / 8, "top_logprobs": [{"token": "token_id:1", "logprob": -0.1}]} for i in (1, 2, 3)]
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    reply = chat(usage=usage, logprobs={"content": content}, token_ids=[1, 2, 3]) | {"prompt_token_ids": [7, 8]}
    server.default = answers(reply)
    got = await ask(server, sampling=Sampling(top_logprobs=1))
    assert (got.ids, got.prompt_ids) == ((1, 2, 3), (7, 8))
    assert got.logprobs == got.sampler_logprobs == (-1 / 8, -2 / 8, -3 / 8)
    assert got.top_logprobs == ({1: -0.1},) * 3
    assert got.cost.prefill_tokens == 5
    warm = await ask(server, sampling=Sampling(temperature=0.5))
    assert warm.logprobs is not None
    assert warm.sampler_logprobs is None, "after a temperature a server's one number cannot be both kinds"


async def test_legacy_logprobs(server):
    """The parallel lists of the legacy form give the same."""
    lists = {
        "tokens": ["token_id:4", "token_id:9"],
        "token_logprobs": [-0.5, -0.25],
        "top_logprobs": [{"token_id:4": -0.5}, {"token_id:9": -0.25}],
    }
    server.default = answers(legacy(logprobs=lists, token_ids=[4, 9]))
    got = await ask(server, prompt="x", sampling=Sampling(top_logprobs=1))
    assert (got.logprobs, got.top_logprobs) == ((-0.5, -0.25), ({4: -0.5}, {9: -0.25}))


async def test_values_that_cannot_be_aligned_are_unknown(server):
    """A hole in the log-probabilities, or another length than the ids, is None: never a made-up number."""
    hole = {"tokens": ["a", "b"], "token_logprobs": [None, -0.25], "top_logprobs": None}
    server.script = [answers(legacy(logprobs=hole)), answers(legacy(logprobs={**hole, "token_logprobs": [-1.0, -0.25]}, token_ids=[4]))]
    assert (await ask(server, prompt="x")).logprobs is None
    got = await ask(server, prompt="x", sampling=Sampling(top_logprobs=1))
    assert (got.ids, got.logprobs, got.top_logprobs) == ((4,), None, None)


@pytest.mark.parametrize(
    ("choice", "sampling", "stop"),
    [
        ({"finish": "stop"}, Sampling(), Stop.EOS),
        ({"finish": "stop", "stop_reason": None}, Sampling(stop=("\n",)), Stop.EOS),
        ({"finish": "stop", "stop_reason": "\n"}, Sampling(stop=("\n",)), Stop.STOP),
        ({"finish": "stop"}, Sampling(stop=("\n",)), Stop.STOP),
        ({"finish": "stop", "token_ids": [5, 3]}, Sampling(stop_token_ids=(3,)), Stop.STOP),
        ({"finish": "stop", "token_ids": [5, 1]}, Sampling(stop_token_ids=(3,)), Stop.EOS),
        ({"finish": "length"}, Sampling(max_tokens=3), Stop.LENGTH),
        ({"finish": "length"}, Sampling(max_tokens=300), Stop.CONTEXT),
        ({"finish": "content_filter"}, Sampling(), Stop.ERROR),
    ],
)
async def test_finish_reasons(server, choice, sampling, stop):
    """Each finish reason becomes one stop reason; `length` before max_tokens is a full context."""
    server.default = answers(chat(**choice))
    assert (await ask(server, sampling=sampling)).stop is stop


FAULTS: dict[str, Act] = {
    "dropped connection": drop,
    "500": answers(error(f"oops {KEY}"), 500),
    "503 without JSON": raw(b"<html>busy</html>", 503),
    "409": answers(error("conflict"), 409),
    "408": answers(error("slow"), 408),
    "malformed JSON": raw(b'{"choices": [{"index": 0, "mess'),
    "JSON of another shape": answers({"choices": 3}),
    "not UTF-8": raw(b'{"choices": "\xff"}'),
    "stall": stall(4.0),
    "drip": drip,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_survived(server, fault):
    """One fault, then an answer: the answer arrives, is counted once, and its seconds hold the wait."""
    server.script = [FAULTS[fault]]
    got = await ask(server, timeout=1.0 if fault in ("stall", "drip") else 20.0)
    assert got.text == "#### 5"
    assert len(server.asked) == 2
    assert (got.cost.calls, got.cost.prompt_tokens) == (1, 9)
    if fault in ("stall", "drip"):
        assert got.cost.seconds >= 1.0
        assert server.asked[1][3] - server.asked[0][3] < 9, "the time-out is for the whole attempt, not for a single read"


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_stays_ends_in_one_sentence(server, fault):
    """After the attempts allowed the error names the address; it never holds the key."""
    server.default = FAULTS[fault]
    with pytest.raises(EndpointError, match=r"no answer in 2 attempts") as caught:
        await ask(server, timeout=0.5 if fault in ("stall", "drip") else 20.0, retries=Retries(attempts=2, first=0.01))
    assert len(server.asked) == 2
    assert server.url in str(caught.value)


async def test_nobody_listens():
    """A refused connection is retried, then told."""
    with pytest.raises(EndpointError, match="ConnectError"):
        async with Endpoint("http://127.0.0.1:9/v1", "m", retries=Retries(attempts=2, first=0.01)) as lm:
            await lm.complete(ASK, Sampling())


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_honoured(server, form):
    """The next attempt comes no sooner than the server asked, as seconds or as a date."""
    after = "0.7" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.script = [answers(error("slow down"), 429, retry_after=after)]
    await ask(server)
    assert server.asked[1][3] - server.asked[0][3] >= 0.7


async def test_a_retry_after_beyond_the_longest_wait_ends_at_once(server):
    """Nobody is left waiting an hour without a word."""
    server.default = answers(error("quota"), 429, retry_after="3600")
    with pytest.raises(EndpointError, match="asks to wait 3600 s"):
        await ask(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 307])
async def test_other_refusals_are_told_at_once(server, status):
    """No retry on a refusal; the server's own message is in the sentence, the key is not."""
    server.default = answers(error(f"max_tokens is too large for {KEY}"), status)
    with pytest.raises(UserError, match=r"max_tokens is too large for \[key\]") as caught:
        await ask(server)
    assert not isinstance(caught.value, EndpointError)
    assert len(server.asked) == 1


async def test_wishes_refused_are_dropped_once(server):
    """A server that refuses a field we only wished for is asked again without it, and never sent it again."""
    server.script = [answers(error("Unrecognized request argument supplied: return_token_ids"), 400), answers(error("no", "logprobs"), 403)]
    async with Endpoint(server.url, "m", retries=QUICK) as lm:
        await lm.complete(ASK, Sampling())
        await lm.complete(ASK, Sampling())
    wished = [{"return_token_ids", "logprobs"} & b.keys() for _, b, _, _ in server.asked]
    assert wished == [{"return_token_ids", "logprobs"}, {"logprobs"}, set(), set()]


async def test_asked_for_alternatives_are_no_wish(server):
    """Log-probabilities the caller asked for are not dropped in silence."""
    server.default = answers(error("no", "logprobs"), 403)
    with pytest.raises(UserError, match="answered 403: no"):
        await ask(server, sampling=Sampling(top_logprobs=2))


async def test_the_other_name_of_max_tokens(server):
    """A server that knows only max_completion_tokens is asked again in its own words, from then on at once."""
    server.script = [answers(error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"), 400)]
    async with Endpoint(server.url, "m", retries=QUICK) as lm:
        await lm.complete(ASK, Sampling())
        await lm.complete(ASK, Sampling())
    assert [("max_tokens" in b, "max_completion_tokens" in b) for _, b, _, _ in server.asked] == [
        (True, False),
        (False, True),
        (False, True),
    ]


async def test_without_usage_the_ids_are_counted_and_without_both_it_refuses(server):
    """A cost is counted or refused, never zero by silence."""
    server.script = [answers(chat(usage=None, token_ids=[1, 2, 3]) | {"prompt_token_ids": [7, 8]}), answers(chat(usage=None))]
    got = await ask(server)
    assert (got.cost.prompt_tokens, got.cost.completion_tokens) == (2, 3)
    with pytest.raises(UserError, match="no budget can be kept"):
        await ask(server)


async def test_concurrency_is_bounded(server):
    """No more requests are open at the server than allowed, and all are answered."""
    server.default = stall(0.05)
    async with Endpoint(server.url, "m", concurrency=3) as lm:
        got = await asyncio.gather(*(lm.complete(ASK, Sampling()) for _ in range(12)))
    assert len(got) == 12
    assert server.most == 3


async def test_cancelling_frees_the_slot(server):
    """A cancelled call gives its place to the next."""
    server.script = [stall(60.0)]
    async with Endpoint(server.url, "m", concurrency=1, retries=QUICK) as lm:
        held = asyncio.create_task(lm.complete(ASK, Sampling()))
        while not server.asked:
            await asyncio.sleep(0.01)
        held.cancel()
        assert (await asyncio.wait_for(lm.complete(ASK, Sampling()), 30)).text == "#### 5"
        assert held.cancelled()


async def test_tokenize_and_detokenize(server):
    """Ids come from the server's own routes beside /v1, in vLLM's form; ids given are returned as they are."""
    server.script = [answers({"count": 2, "tokens": [5, 6]}), answers({"count": 1, "tokens": [5]}), answers({"prompt": "hi"})]
    async with Endpoint(server.url, "m") as lm:
        assert await lm.encode(ASK) == (5, 6)
        assert await lm.encode("h") == (5,)
        assert await lm.decode((5, 6)) == "hi"
        assert await lm.encode((1, 2)) == (1, 2)
        with pytest.raises(UserError, match="empty"):
            await lm.encode(())
    assert [p for p, *_ in server.asked] == ["/tokenize", "/tokenize", "/detokenize"]
    assert server.asked[0][1] == {"model": "m", "messages": [{"role": "user", "content": "What is 2 + 3?"}], "add_generation_prompt": True}


async def test_a_server_without_tokenize_says_what_cannot_run(server):
    """The refusal names the methods that need ids and the mend."""
    server.default = answers({"detail": "Not Found"}, 404)
    async with Endpoint(server.url, "m") as lm:
        with pytest.raises(UserError, match=r"gives no token ids.*Delethink.*vLLM or reasonry serve"):
            await lm.encode(ASK)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"http://me:{KEY}@host/v1", "password"),
        (f"http://host/v1?key={KEY}", "query"),
        ("host:8000/v1", "does not start with"),
        ("ftp://host/v1", "does not start with"),
    ],
)
def test_bad_addresses(url, why):
    """An address that is none, or that carries a secret, is refused; the secret is not repeated."""
    with pytest.raises(UserError, match=why) as caught:
        Endpoint(url, "m")
    assert KEY not in str(caught.value)


async def test_no_key_no_header(server, monkeypatch):
    """Without the variable no header is sent; a 401 then names the variable."""
    monkeypatch.delenv("OPENAI_API_KEY")
    server.script = [answers(chat()), answers(error("who are you?"), 401)]
    await ask(server)
    assert "authorization" not in server.asked[0][2]
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        await ask(server)


async def test_the_key_is_nowhere(server, caplog, capfd, monkeypatch):
    """Every fault and refusal with a server that repeats the key: no message, traceback, log line, repr or output holds it."""
    caplog.set_level(logging.DEBUG)
    faults = [
        *FAULTS.values(),
        *(answers(error(f"bad key {KEY}"), s) for s in (400, 401, 403, 429)),
        answers(chat(finish="odd")),
    ]
    told = []
    for fault in faults:
        server.default = fault
        async with Endpoint(server.url, "m", timeout=0.1, retries=Retries(attempts=2, first=0.01)) as lm:
            told.append(repr(lm))
            for call in (lm.complete(ASK, Sampling()), lm.encode(ASK)):
                with pytest.raises(UserError) as caught:
                    await call
                told += ["".join(traceback.format_exception(caught.value)), str(caught.value), repr(caught.value)]
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nx")
    with pytest.raises(UserError, match="no header can carry") as caught:
        await ask(server)
    told += ["".join(traceback.format_exception(caught.value)), caplog.text, *capfd.readouterr()]
    assert "attempt 1 failed" in caplog.text
    assert KEY not in "\n".join(told)
