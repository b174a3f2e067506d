"""A decoder on this machine as an `LM`: requests awaiting at the same time are computed together.

One asyncio task drives the engine, whose steps run in one worker thread, so the event loop stays free; the two meet only when there is
something to tell. What is asked while a step runs joins the next. An exception inside a step ends the requests under way with it, and the
engine goes on with later ones.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import torch

from reasonry.core import Completion, Cost, Ids, Message, Prompt, Sampling, Stop, UserError
from reasonry.lm.decoder import Decoder, Program
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.forward import SMALL
from reasonry.lm.engine.row import Job, Row
from reasonry.lm.engine.sequence import Sequence
from reasonry.lm.engine.text import Text
from reasonry.lm.tokenizer import Detokenizer, Tokenizer

STALL = 30.0
"""Seconds a request waits for open sequences to be closed, while nothing else runs, before it is refused."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a streamed completion grew by. `text` may be empty while characters or stop strings are undecided."""

    text: str
    ids: Ids
    logprobs: tuple[float, ...]
    top_logprobs: tuple[dict[int, float], ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a text's tokens were worth to the model: for each after the first, its log-probability, and the likeliest at its place."""

    logprobs: tuple[float, ...]
    top_logprobs: tuple[dict[int, float], ...] | None
    cost: Cost


class LocalLM:
    """Implements `core.LM` over an `Engine`. At most `max_rows` requests are computed together, over a pool of `kv_tokens` tokens; or it
    is given an `engine` of its own.

    To be used from one event loop at a time; use it in `async with`, or `await close()`.
    """

    def __init__(
        self, decoder: Decoder, tokenizer: Tokenizer, name: str, max_rows: int = 64, kv_tokens: int = 65536, engine: Engine | None = None
    ) -> None:
        choose_threads(decoder)
        self.decoder, self.tokenizer = decoder, tokenizer
        self.engine = Engine(decoder, max_rows, kv_tokens) if engine is None else engine
        self._name = name
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._driver: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """What it was called when made; logs and reports show it."""
        return self._name

    async def encode(self, prompt: Prompt) -> Ids:
        """Token ids of a prompt: raw text with the special tokens the checkpoint puts around it, messages by its chat template."""
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, special=True)
        if prompt and all(isinstance(item, Message) for item in prompt):
            return self.tokenizer.encode(self.tokenizer.render(cast("Seq[Message]", prompt)))
        return tuple(cast("Ids", prompt))

    async def decode(self, ids: Ids) -> str:
        """The text of token ids, special tokens left out."""
        return self.tokenizer.decode(ids)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Samples one completion. Raises UserError for a prompt or `Sampling` that cannot be honoured."""
        job = await self._job(prompt, sampling, streams=False)
        return self._completion(job if sampling.max_tokens == 0 else await self._run(job))

    async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Piece | Completion]:
        """Samples one completion and yields what it grows by; last the whole `Completion`. Closing the iterator cancels it."""
        job = await self._job(prompt, sampling, streams=True)
        grown: asyncio.Queue[Piece | None] = asyncio.Queue()
        seen = 0

        def tell(job: Job) -> None:
            nonlocal seen
            assert job.text is not None
            if job.stop is not None:
                job.text.finish()
            now = len(job.sampled)
            piece = Piece(job.text.take(), tuple(job.sampled[seen:now]), tuple(job.logprobs[seen:now]), tuple(job.top_logprobs[seen:now]))
            seen = now
            if piece.ids or piece.text:
                grown.put_nowait(piece)
            if job.stop is not None or job.error is not None:
                grown.put_nowait(None)

        job.on_change = tell
        try:
            if sampling.max_tokens:
                self._submit(job)
                while (piece := await grown.get()) is not None:
                    yield piece
        finally:
            self.engine.cancel(job)
        if job.error is not None:
            raise job.error
        yield self._completion(job)

    async def score(self, context_ids: Iterable[int], ids: Iterable[int]) -> tuple[float, ...]:
        """The model's own log-probability of each of `ids` after `context_ids` and those before it. Raises UserError for no context."""
        context, ids = list(context_ids), list(ids)
        if not context:
            raise UserError("score: context_ids is empty; a first token has no probability, so give at least one token of context")
        if not ids:
            return ()
        job = await self._run(Job(Row(context + ids), score_from=len(context)))
        return tuple(job.logprobs)

    async def score_prompt(self, ids: Ids, top_logprobs: int = 0) -> Scored:
        """The model's own log-probability of each token of a prompt after its first, with alternatives and what it cost."""
        if len(ids) < 2:
            return Scored((), () if top_logprobs else None, Cost(prompt_tokens=len(ids)))
        job = await self._run(Job(Row(list(ids)), score_from=1, score_top=top_logprobs))
        return Scored(tuple(job.logprobs), tuple(job.top_logprobs) if top_logprobs else None, self.engine.cost(job))

    async def sequence(self, ids: Iterable[int], program: Program | None = None) -> Sequence:
        """A row to be steered token by token, `ids` computed. `program`: which blocks its tokens run through, `None` for all."""
        ids = list(ids)
        if program is not None and (bad := [layer for layer in program if not 0 <= layer < self.decoder.config.num_layers]):
            raise UserError(f"program names block {bad[0]} but the model has {self.decoder.config.num_layers}; use 0 to one less")
        sequence = Sequence(self.engine, Row([], program), self._run, Cost(calls=1))
        try:
            await sequence.append(ids)
        except BaseException:
            sequence.close()
            raise
        return sequence

    async def grow(self, sequence: Sequence, sampling: Sampling) -> Completion:
        """Samples on from an open sequence, which keeps what was sampled: `complete` on its ids, without computing them again."""
        check(sampling)
        text = Text(Detokenizer(self.tokenizer), sampling.stop) if sampling.stop else None
        return self._completion(await sequence.generate(sampling, frozenset(self.tokenizer.eos_ids), text))

    async def close(self) -> None:
        """Ends what is under way (those waiting get a UserError) and the worker thread. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            if self._driver is not None:
                self._driver.cancel()
            _tell(await asyncio.to_thread(self.engine.fail_all, UserError(f"{self._name} was closed while the request was under way")))
            self._worker.shutdown(wait=False)

    async def __aenter__(self) -> LocalLM:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _job(self, prompt: Prompt, sampling: Sampling, streams: bool) -> Job:
        check(sampling)
        text = Text(Detokenizer(self.tokenizer), sampling.stop) if streams or sampling.stop else None
        ends = frozenset(self.tokenizer.eos_ids)
        return Job(Row(list(await self.encode(prompt))), sampling=sampling, end_ids=ends, text=text, streams=streams)

    async def _run(self, job: Job) -> Job:
        """Has the engine do a job and waits for its end; cancelling the wait cancels the job."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        job.on_change = lambda job: None if done.done() else done.set_result(None)
        try:
            self._submit(job)
            await done
        finally:
            self.engine.cancel(job)
        if job.error is not None:
            raise job.error
        return job

    def _submit(self, job: Job) -> None:
        if self._closed:
            raise UserError(f"{self._name} is closed; make another LocalLM")
        self.engine.submit(job)
        loop = asyncio.get_running_loop()
        if self._driver is None or self._driver.done() or self._driver.get_loop() is not loop:
            self._driver = loop.create_task(self._drive())

    async def _drive(self) -> None:
        """Steps until nothing is left to do."""
        loop = asyncio.get_running_loop()
        stalled_since: float | None = None
        while self.engine.busy:
            try:
                changed = await loop.run_in_executor(self._worker, self.engine.work)
            except Exception as error:
                changed = self.engine.fail_all(error)
            _tell(changed)
            if not self.engine.stalled:
                stalled_since = None
                continue
            stalled_since = stalled_since or loop.time()
            if loop.time() - stalled_since > STALL:
                kv_tokens = self.engine.pool.size
                _tell(
                    self.engine.fail_all(
                        UserError(f"kv_tokens is {kv_tokens}, held by open sequences for {STALL:g} s; close some or raise it")
                    )
                )
            await asyncio.sleep(0.01)

    def _completion(self, job: Job) -> Completion:
        ids = tuple(job.sampled)
        if job.text is not None:
            job.text.finish()
        return Completion(
            text=self.tokenizer.decode(ids) if job.text is None else job.text.text,
            stop=job.stop or Stop.LENGTH,
            cost=self.engine.cost(job),
            prompt_ids=tuple(job.row.ids[: job.prompt]),
            ids=ids,
            logprobs=tuple(job.logprobs),
            sampler_logprobs=tuple(job.sampler_logprobs),
            top_logprobs=tuple(job.top_logprobs) if job.top_logprobs else None,
            versions=tuple(job.versions),
        )


def check(sampling: Sampling) -> None:
    """Raises UserError for values that mean nothing."""
    s = sampling
    wrong = [
        (s.max_tokens < 0, "max_tokens", s.max_tokens, "use 0 or more"),
        (not 0 <= s.temperature < float("inf"), "temperature", s.temperature, "use 0 (greedy) or more"),
        (not 0 < s.top_p <= 1, "top_p", s.top_p, "use a number above 0, at most 1"),
        (s.top_k is not None and s.top_k < 1, "top_k", s.top_k, "use 1 or more, or leave it out"),
        (not 0 <= s.min_p <= 1, "min_p", s.min_p, "use a number from 0 to 1"),
        (s.top_logprobs < 0, "top_logprobs", s.top_logprobs, "use 0 or more"),
        ("" in s.stop, "stop", s.stop, "leave the empty string out"),
    ]
    for bad, name, value, mend in wrong:
        if bad:
            raise UserError(f"sampling: {name} is {value!r}; {mend}")


def choose_threads(decoder: Decoder) -> None:
    """One thread for a small decoder on a CPU, unless OMP_NUM_THREADS says otherwise: its products are too small to share out, and on
    a busy machine threads that wait for one another are many times slower. `benchmarks/engine.py --threads` measures it."""
    small = sum(p.numel() for p in decoder.parameters()) < SMALL
    if small and decoder.embed_tokens.weight.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _tell(jobs: list[Job]) -> None:
    for job in jobs:
        if job.on_change is not None:
            job.on_change(job)
