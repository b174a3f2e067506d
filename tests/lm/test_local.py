"""`LocalLM`: what solvers and the server see of the engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from engines import TINY, decoder, prompt

from reasonry.core import LM, Completion, Message, Sampling, Stop, UserError
from reasonry.lm import local
from reasonry.lm.engine.text import Text
from reasonry.lm.local import LocalLM, Piece
from reasonry.lm.tokenizer import Detokenizer, Tokenizer

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LETTERS = Tokenizer.train(["abab"], 259, SPECIAL, CHAT)


class Spelling:
    """A detokenizer for tests: each id stands for a fixed string."""

    def __init__(self, pieces: dict[int, str]) -> None:
        self.pieces = pieces

    def push(self, id: int) -> str:
        return self.pieces[id]

    def flush(self) -> str:
        return ""


def make(**options: Any) -> LocalLM:
    return LocalLM(decoder(replace(TINY, vocab_size=259)), LETTERS, "tiny", **options)


def texts(stops: tuple[str, ...], *pieces: str) -> tuple[list[str], str, bool]:
    """What is taken after each piece, the whole text, and whether a stop was found."""
    text = Text(Spelling(dict(enumerate(pieces))), stops)  # type: ignore[arg-type]
    taken, found = [], False
    for i in range(len(pieces)):
        found = text.push(i)
        taken.append(text.take())
        if found:
            break
    found |= text.finish()
    taken.append(text.take())
    assert "".join(taken) == text.text
    return taken, text.text, found


def test_stop_strings_are_found_across_tokens_and_never_shown():
    assert texts(("###",), "ab#", "#", "#cd") == (["ab", "", "", ""], "ab", True)
    assert texts(("###",), "ab#", "x", "##") == (["ab", "#x", "", "##"], "ab#x##", False)
    assert texts(("\n\n", "END"), "one\n", "\ntwo") == (["one", "", ""], "one", True)
    assert texts(("b", "abc"), "abc") == (["a", ""], "a", True)
    assert texts(("aab",), "aaab") == (["a", ""], "a", True)
    assert texts((), "ab", "c") == (["ab", "c", ""], "abc", False)


def test_pieces_of_broken_characters_wait():
    """A character of several byte tokens comes out whole, or as U+FFFD at the end."""
    ids = LETTERS.encode("é")
    assert len(ids) == 2
    text = Text(Detokenizer(LETTERS), ())
    text.push(ids[0])
    assert text.take() == ""
    text.push(ids[1])
    assert text.take() == "é"
    text.push(ids[0])
    text.finish()
    assert text.take() == "\ufffd"


async def test_it_is_an_lm_and_completes():
    async with make() as lm:
        assert isinstance(lm, LM)
        done = await lm.complete("ab", Sampling(max_tokens=5, seed=1, ignore_eos=True))
        assert done.prompt_ids == LETTERS.encode("ab")
        assert done.ids is not None
        assert done.text == await lm.decode(done.ids)
        assert done.logprobs is not None
        assert len(done.ids) == len(done.logprobs) == 5
        chat = await lm.encode((Message("user", "hi"),))
        assert LETTERS.decode(chat, skip_special=False) == "<|im_start|>user:hi<|im_end|><|im_start|>"
        nothing = await lm.complete("ab", Sampling(max_tokens=0))
        assert (nothing.ids, nothing.stop, nothing.cost.completion_tokens) == ((), Stop.LENGTH, 0)


async def test_stop_strings_cut_the_text_and_keep_the_ids():
    async with make() as lm:
        free = await lm.complete("ab", Sampling(max_tokens=40, seed=2, ignore_eos=True))
        at = next(i for i in range(4, 36) if (s := free.text[i : i + 2]).isascii() and len(s) == 2 and free.text.find(s) == i)
        stop = free.text[at : at + 2]
        done = await lm.complete("ab", Sampling(max_tokens=40, seed=2, ignore_eos=True, stop=(stop, "never there")))
        assert done.stop is Stop.STOP
        assert done.text == free.text[:at]
        assert done.ids is not None
        assert free.ids is not None
        assert done.ids == free.ids[: len(done.ids)]
        assert stop in await lm.decode(done.ids)


async def test_the_end_token_ends_a_turn_unless_ignored():
    async with make() as lm:
        ends = LETTERS.eos_ids[0]
        asked = [lm.complete(tuple(prompt(5, i)), Sampling(max_tokens=60, seed=i, temperature=2.0)) for i in range(30)]
        runs = await asyncio.gather(*asked)
        ended = [done for done in runs if done.stop is Stop.EOS]
        assert ended
        for done in runs:
            assert done.ids is not None
            assert (ends in done.ids) == (done.stop is Stop.EOS)
            assert ends not in done.ids[:-1]


async def test_requests_awaited_together_share_steps(monkeypatch):
    async with make() as lm:
        steps: Counter[str] = Counter()
        plain = lm.engine.step

        def counted():
            steps["n"] += 1
            return plain()

        monkeypatch.setattr(lm.engine, "step", counted)
        await asyncio.gather(*(lm.complete(tuple(prompt(8, i)), Sampling(max_tokens=20, ignore_eos=True)) for i in range(10)))
        assert steps["n"] <= 22


async def test_a_stream_is_the_completion_piece_by_piece():
    async with make() as lm:
        sampling = Sampling(max_tokens=30, seed=5, ignore_eos=True, top_logprobs=2)
        whole = await lm.complete("ab", sampling)
        *pieces, last = [piece async for piece in lm.stream("ab", sampling)]
        assert isinstance(last, Completion)
        grown = [piece for piece in pieces if isinstance(piece, Piece)]
        assert len(grown) == len(pieces) > 10
        assert "".join(p.text for p in grown) == last.text == whole.text
        assert tuple(i for p in grown for i in p.ids) == last.ids == whole.ids
        assert tuple(lp for p in grown for lp in p.logprobs) == last.logprobs == whole.logprobs
        assert tuple(top for p in grown for top in p.top_logprobs) == last.top_logprobs


async def test_leaving_a_stream_or_cancelling_a_request_frees_its_slots():
    async with make() as lm:
        async for _ in (stream := lm.stream("ab", Sampling(max_tokens=400, ignore_eos=True))):
            break
        await stream.aclose()
        task = asyncio.ensure_future(lm.complete(tuple(prompt(30)), Sampling(max_tokens=400, ignore_eos=True)))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await lm.complete("b", Sampling(max_tokens=3))
        assert not lm.engine.busy
        lm.engine.flush()
        assert lm.engine.pool.used == 0


async def test_scores_are_the_logprobs_of_a_completion():
    async with make() as lm:
        done = await lm.complete(tuple(prompt(12)), Sampling(max_tokens=9, seed=3, ignore_eos=True))
        assert done.ids is not None
        assert done.prompt_ids is not None
        assert await lm.score(done.prompt_ids, done.ids) == pytest.approx(done.logprobs, abs=1e-5)
        assert await lm.score(done.prompt_ids, ()) == ()
        with pytest.raises(UserError, match="context_ids is empty"):
            await lm.score((), done.ids)


async def test_an_exception_in_a_step_reaches_those_who_wait(monkeypatch):
    async with make() as lm:
        with monkeypatch.context() as patch:
            patch.setattr(lm.engine, "_forward", lambda steps: 1 / 0)
            results = await asyncio.gather(*(lm.complete("ab", Sampling(max_tokens=3)) for _ in range(3)), return_exceptions=True)
        assert [type(r) for r in results] == [ZeroDivisionError] * 3
        assert (await lm.complete("ab", Sampling(max_tokens=3, ignore_eos=True))).cost.completion_tokens == 3


async def test_bad_sampling_is_refused_by_name():
    async with make() as lm:
        for bad, name in (
            (Sampling(temperature=-1), "temperature"), (Sampling(top_p=0), "top_p"), (Sampling(top_k=0), "top_k"),
            (Sampling(min_p=2), "min_p"),
            (Sampling(max_tokens=-1), "max_tokens"), (Sampling(stop=("",)), "stop"), (Sampling(top_logprobs=-1), "top_logprobs"),
        ):  # fmt: skip
            with pytest.raises(UserError, match=f"sampling: {name} is"):
                await lm.complete("ab", bad)
        with pytest.raises(UserError, match="program names block 9 but the model has 3"):
            await lm.sequence((1, 2), program=(0, 9))


async def test_closing_ends_what_is_under_way():
    lm = make()
    task = asyncio.ensure_future(lm.complete("ab", Sampling(max_tokens=400, ignore_eos=True)))
    await asyncio.sleep(0.01)
    await lm.close()
    await lm.close()
    with pytest.raises(UserError, match="tiny was closed"):
        await task
    with pytest.raises(UserError, match="tiny is closed"):
        await lm.complete("ab", Sampling())


async def test_a_request_that_waits_on_open_sequences_is_refused_in_the_end(monkeypatch):
    monkeypatch.setattr(local, "STALL", 0.05)
    async with make(kv_tokens=100) as lm:
        with await lm.sequence(prompt(90)):
            with pytest.raises(UserError, match="kv_tokens is 100, held by open sequences"):
                await lm.complete(tuple(prompt(50, 1)), Sampling(max_tokens=5))
        assert (await lm.complete(tuple(prompt(50, 1)), Sampling(max_tokens=5))).stop is not None


def test_one_lm_serves_one_event_loop_after_another():
    lm = make()
    first, second = (asyncio.run(lm.complete("ab", Sampling(max_tokens=4, seed=1))) for _ in range(2))
    assert first.ids == second.ids
    asyncio.run(lm.close())
