"""The server as the `openai` client sees it, and as the same model in this process says it should be."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from reasonry.core import Budget, Message, Problem, Sampling
from reasonry.lm.local import LocalLM
from reasonry.serve.catalogue import AnyQuestion
from reasonry.solve import build_solver, inner_seed

ASK = (Message("user", "what is 2 + 3 ?"),)
MESSAGES: Any = [{"role": "user", "content": "what is 2 + 3 ?"}]


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as c:
        yield c


def extra(value, name: str):
    """A field the client's types do not know."""
    return (value.model_extra or {})[name]


async def test_chat_equals_the_model_in_process(client, twin: LocalLM):
    """Text, ids, log-probabilities, alternatives and counts over HTTP are those of LocalLM itself, to the last digit."""
    reply = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_completion_tokens=12, seed=5, temperature=0.8, logprobs=True, top_logprobs=3,
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    async with twin:
        own = await twin.complete(ASK, Sampling(max_tokens=12, seed=5, temperature=0.8, top_logprobs=3))
    choice = reply.choices[0]
    assert choice.message.content == own.text
    assert extra(choice, "token_ids") == list(own.ids or ())
    assert extra(reply, "prompt_token_ids") == list(own.prompt_ids or ())
    content = choice.logprobs.content
    assert tuple(p.logprob for p in content) == own.logprobs
    assert [[t.logprob for t in p.top_logprobs] for p in content] == [list(top.values()) for top in own.top_logprobs or ()]
    assert bytes(b for p in content for b in p.bytes).decode("utf-8", "replace").replace("<|im_end|>", "") == own.text
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (own.cost.prompt_tokens, own.cost.completion_tokens)
    assert reply.usage.total_tokens == own.cost.tokens


async def test_legacy_completion_equals_the_model_in_process(client, twin: LocalLM):
    """The same for text and for ids, with the parallel lists of the legacy form."""
    ids = await twin.encode("two plus")
    async with twin:
        own = await twin.complete(ids, Sampling(max_tokens=9, seed=2, top_logprobs=2))
    for prompt in ("two plus", list(ids), [list(ids)], ["two plus"]):
        choice = client.completions.create(model="tiny", prompt=prompt, max_tokens=9, seed=2, logprobs=2).choices[0]
        assert choice.text == own.text
        assert tuple(choice.logprobs.token_logprobs) == own.logprobs
        assert all(v in t.values() for t, v in zip(choice.logprobs.top_logprobs, own.logprobs or (), strict=True))


async def test_echo_scores_the_prompt(client, twin: LocalLM):
    """echo with max_tokens 0 is the prompt alone: its tokens, the first without a log-probability, the rest as `score` gives them."""
    text = "two plus three is five"
    reply = client.completions.create(model="tiny", prompt=text, max_tokens=0, echo=True, logprobs=1)
    ids = await twin.encode(text)
    async with twin:
        own = await twin.score(ids[:1], ids[1:])
    found = reply.choices[0]
    assert found.text == text == "".join(found.logprobs.tokens)
    assert found.logprobs.token_logprobs == [None, *own]
    assert found.logprobs.top_logprobs[0] is None
    assert all(max(top.values()) >= value for value, top in zip(own, found.logprobs.top_logprobs[1:], strict=True))
    starts = found.logprobs.text_offset
    assert [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)] == found.logprobs.tokens
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (len(ids), 0)


async def test_offsets_pass_over_special_tokens(client, twin: LocalLM):
    """A special token is listed by its name and takes no room in the text, which leaves it out."""
    ids = await twin.encode(ASK)
    found = client.completions.create(model="tiny", prompt=list(ids), max_tokens=0, echo=True, logprobs=0).choices[0]
    starts = found.logprobs.text_offset
    pieces = [found.text[a:b] for a, b in zip(starts, [*starts[1:], len(found.text)], strict=True)]
    assert pieces == ["" if token.startswith("<|im_") else token for token in found.logprobs.tokens]
    assert "" in pieces


def test_echo_before_an_answer(client):
    """echo with an answer puts the prompt's tokens before the answer's, offsets running on."""
    ask = {"model": "tiny", "prompt": "two plus", "max_tokens": 3, "seed": 1, "logprobs": 0}
    with_echo, without = (client.completions.create(**ask, echo=echo).choices[0] for echo in (True, False))
    assert with_echo.text == "two plus" + without.text
    assert with_echo.logprobs.tokens[2:] == without.logprobs.tokens
    assert with_echo.logprobs.token_logprobs[2:] == without.logprobs.token_logprobs
    assert with_echo.logprobs.text_offset[2] == len("two plus")


async def test_prompt_logprobs(client, twin: LocalLM):
    """prompt_logprobs gives per place the token itself and the likeliest, by id; in chat beside the choices, else inside them."""
    ids = await twin.encode(ASK)
    chat = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=0, extra_body={"prompt_logprobs": 2})
    legacy = client.completions.create(model="tiny", prompt=list(ids), max_tokens=1, extra_body={"prompt_logprobs": 2})
    async with twin:
        own = await twin.score(ids[:1], ids[1:])
    places = extra(chat, "prompt_logprobs")
    assert places == extra(legacy.choices[0], "prompt_logprobs")
    assert places[0] is None
    assert [place[str(i)]["logprob"] for place, i in zip(places[1:], ids[1:], strict=True)] == list(own)
    assert all(len(place) in (2, 3) for place in places[1:])


def test_n_choices_differ_and_repeat(client):
    """A seed repeats every choice exactly; choices differ; the first is the choice one gets with n=1; a prompt is counted once."""

    def ask(n):
        reply = client.completions.create(model="tiny", prompt="two", max_tokens=12, seed=7, n=n)
        return [c.text for c in reply.choices], reply.usage

    (first, usage), (again, _), (alone, one) = ask(2), ask(2), ask(1)
    assert first == again
    assert first[0] != first[1]
    assert first[0] == alone[0]
    assert usage.prompt_tokens == one.prompt_tokens
    assert usage.completion_tokens == 24


def test_a_list_of_prompts_equals_each_alone(client):
    """Prompts in one request do not disturb one another; choices come prompt by prompt."""
    prompts = ["two", "three is", "what"]
    together = client.completions.create(model="tiny", prompt=prompts, max_tokens=6, seed=3, n=2)
    assert [c.index for c in together.choices] == list(range(6))
    for i, prompt in enumerate(prompts):
        alone = client.completions.create(model="tiny", prompt=prompt, max_tokens=6, seed=3, n=2)
        assert [c.text for c in alone.choices] == [c.text for c in together.choices[2 * i : 2 * i + 2]]


def test_no_seed_draws_anew(client):
    """Without a seed two requests differ (twelve tokens drawn almost uniformly: equal by chance is as good as impossible)."""
    ask = {
        "model": "tiny",
        "prompt": "two",
        "max_tokens": 12,
        "temperature": 20,
        "extra_body": {"ignore_eos": True, "return_token_ids": True},
    }
    texts = {tuple(extra(client.completions.create(**ask).choices[0], "token_ids")) for _ in range(4)}
    assert len(texts) > 1


async def test_stop_string_and_stop_id(client, twin: LocalLM):
    """A stop string cuts the text before it, a stop id ends it; stop_reason says which it was and finish_reason says stop."""
    async with twin:
        free = await twin.complete("two", Sampling(max_tokens=30, seed=4, ignore_eos=True))
        ids = list(free.ids or ())
        words = [await twin.decode((i,)) for i in ids]
        word = next(w for w in words[5:] if w.isascii() and w.isprintable() and w)
    body = {"ignore_eos": True}
    cut = client.completions.create(model="tiny", prompt="two", max_tokens=30, seed=4, stop=[word], extra_body=body).choices[0]
    assert (cut.text, cut.finish_reason, extra(cut, "stop_reason")) == (free.text[: free.text.index(word)], "stop", word)
    ended = client.completions.create(
        model="tiny", prompt="two", max_tokens=30, seed=4, extra_body=body | {"stop_token_ids": [ids[5]]}
    ).choices[0]
    assert (ended.finish_reason, extra(ended, "stop_reason")) == ("stop", ids[5])


def test_streams_join_to_the_whole(client):
    """Chunks joined, their ids and log-probabilities joined, are the unstreamed reply; usage comes last, with no choices."""
    ask = {"model": "tiny", "max_tokens": 20, "seed": 9, "n": 2}
    whole = client.chat.completions.create(messages=MESSAGES, logprobs=True, **ask, extra_body={"return_token_ids": True})
    stream = client.chat.completions.create(
        messages=MESSAGES, logprobs=True, **ask, stream=True, stream_options={"include_usage": True}, extra_body={"return_token_ids": True}
    )
    chunks = list(stream)
    assert chunks[-1].choices == []
    assert all(chunk.usage is None for chunk in chunks[:-1])
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [getattr(chunks[-1].usage, c) for c in counts] == [getattr(whole.usage, c) for c in counts]
    assert extra(chunks[-1].usage, "reasonry")["stop"] == extra(whole.usage, "reasonry")["stop"]
    for choice in whole.choices:
        parts = [c for chunk in chunks for c in chunk.choices if c.index == choice.index]
        assert parts[0].delta.role == "assistant"
        assert "".join(p.delta.content or "" for p in parts) == choice.message.content
        assert [i for p in parts for i in extra(p, "token_ids")] == extra(choice, "token_ids")
        assert [t.logprob for p in parts if p.logprobs for t in p.logprobs.content] == [t.logprob for t in choice.logprobs.content]
        assert [p.finish_reason for p in parts] == [None] * (len(parts) - 1) + [choice.finish_reason]


def test_legacy_streams(client):
    """The same in the legacy form, without usage unless asked."""
    whole = client.completions.create(model="tiny", prompt="two plus", max_tokens=20, seed=9, stop="\n")
    chunks = list(client.completions.create(model="tiny", prompt="two plus", max_tokens=20, seed=9, stop="\n", stream=True))
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert len(chunks) > 3, "it grows, it does not come at once"
    assert all(c.usage is None for c in chunks)


@pytest.mark.parametrize(
    "spec", ["single?max_tokens=20", "self-consistency?k=3&max_tokens=20", "best-of-n?n=2&max_tokens=20", "delethink?C=24&m=8&I=3"]
)
async def test_a_solver_is_a_model(client, twin: LocalLM, spec):
    """Through the model's name or the body, whole or streamed: the answer is the trajectory's, usage the sum over its segments."""
    async with twin:
        trace = await build_solver(spec, twin, AnyQuestion())(Problem("p", ASK), Budget(), 11)
    named = client.chat.completions.create(model=f"tiny:{spec}", messages=MESSAGES, seed=11)
    field = client.chat.completions.create(model="tiny", messages=MESSAGES, seed=11, extra_body={"solver": spec})
    streamed = list(
        client.chat.completions.create(
            model=f"tiny:{spec}", messages=MESSAGES, seed=11, stream=True, stream_options={"include_usage": True}
        )
    )
    assert named.choices[0].message.content == field.choices[0].message.content == trace.answer
    assert "".join(c.choices[0].delta.content or "" for c in streamed if c.choices) == trace.answer
    for usage in (named.usage, field.usage, streamed[-1].usage):
        assert usage.prompt_tokens == sum(s.cost.prompt_tokens for s in trace.segments)
        assert usage.completion_tokens == sum(len(s.ids or ()) for s in trace.segments)
        assert extra(usage, "reasonry")["calls"] == len(trace.segments) == trace.cost.calls
        assert extra(usage, "reasonry")["stop"] == [str(trace.stop)]
    assert extra(named.usage, "reasonry")["prefill_tokens"] > 0


async def test_sampling_fields_and_budget_reach_the_solver(client, twin: LocalLM):
    """temperature and top_k become options of the solver; budget and max_tokens bound all its calls together."""
    async with twin:
        solver = build_solver("self-consistency?k=4&max_tokens=10&temperature=0.5&top_k=3", twin, AnyQuestion())
        trace = await solver(Problem("p", ASK), Budget(calls=2), 1)
        short = await solver(Problem("p", ASK), Budget(completion_tokens=15), 1)
    model, body = "tiny:self-consistency?k=4&max_tokens=10&temperature=0.5", {"top_k": 3}
    two = client.chat.completions.create(model=model, messages=MESSAGES, seed=1, extra_body=body | {"budget": "calls=2"})
    few = client.chat.completions.create(model=model, messages=MESSAGES, seed=1, max_tokens=15, extra_body=body)
    assert two.choices[0].message.content == trace.answer
    assert extra(two.usage, "reasonry")["calls"] == 2
    assert few.choices[0].message.content == short.answer
    assert few.usage.completion_tokens <= 15


async def test_choices_of_a_solver_have_their_own_seeds(client, twin: LocalLM):
    """Choice j of a solver is its attempt with the derived seed, and all are paid for."""
    async with twin:
        solver = build_solver("single?max_tokens=12", twin, AnyQuestion())
        traces = [await solver(Problem("p", ASK), Budget(), s) for s in (6, inner_seed(6, 1))]
    reply = client.chat.completions.create(model="tiny:single?max_tokens=12", messages=MESSAGES, seed=6, n=2)
    assert [c.message.content for c in reply.choices] == [t.answer for t in traces]
    assert reply.usage.prompt_tokens == sum(t.cost.prompt_tokens for t in traces)


def test_models_are_listed(client):
    """Every model with every solver on top has a card."""
    names = [m.id for m in client.models.list()]
    assert names[0] == "tiny"
    assert {"tiny:single", "tiny:self-consistency", "tiny:best-of-n", "tiny:delethink"} <= set(names)
    assert client.models.retrieve("tiny:delethink").id == "tiny:delethink"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


async def test_many_at_once_equal_one_at_a_time(address, client):
    """Twelve requests in flight give what each gives alone."""
    alone = [client.completions.create(model="tiny", prompt="two", max_tokens=8, seed=s).choices[0].text for s in range(12)]
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as many:
        replies = await asyncio.gather(*(many.completions.create(model="tiny", prompt="two", max_tokens=8, seed=s) for s in range(12)))
    assert [r.choices[0].text for r in replies] == alone


async def test_async_stream(address):
    """The asynchronous client streams too."""
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as many:
        stream = await many.chat.completions.create(model="tiny", messages=MESSAGES, seed=1, max_tokens=6, stream=True)
        assert [c.choices[0].finish_reason async for c in stream][-1] in ("stop", "length")


def test_chat_without_max_tokens_uses_the_window(client, twin: LocalLM):
    """A chat answer may fill the window; its finish is then length and our own word says why."""
    reply = client.chat.completions.create(model="tiny", messages=MESSAGES, seed=0, extra_body={"ignore_eos": True})
    assert reply.usage.total_tokens == twin.decoder.config.max_position
    assert reply.choices[0].finish_reason == "length"
