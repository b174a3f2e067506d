"""Continuous batching for a `Decoder`: jobs come and go at every step, and each step computes whatever all of them need next.

Guarantees. A job's tokens and log-probabilities are a function of the weights, its row's tokens and its `Sampling` alone, bit for bit, in
fp32 on a CPU with one thread, whatever else is computed beside it, whenever it was admitted, pre-empted or found in the prefix cache. With
several threads, in half precision or on CUDA they are so only up to rounding, and a rounding can change a token. Log-probabilities are
those of the step that sampled. The pool never holds more than `kv_tokens` tokens.

Threads. `step` and `fail_all` run in one thread at a time; everything else may be called from any thread while a step runs: it takes the
lock only for book-keeping, never during the forward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from reasonry.core import Cost, Sampling, Stop, UserError
from reasonry.lm.decoder import Decoder, Program
from reasonry.lm.engine.batch import LEAST, build
from reasonry.lm.engine.flops import causal_pairs
from reasonry.lm.engine.forward import Fused, Plain, fits, plain
from reasonry.lm.engine.lanes import Lanes
from reasonry.lm.engine.pool import Pool
from reasonry.lm.engine.prefix import PrefixCache
from reasonry.lm.engine.programs import known, ordered, together
from reasonry.lm.engine.row import Job
from reasonry.lm.engine.sampler import Settings, draw
from reasonry.lm.engine.scheduler import Scheduler

SCORED = 1024
"""Rows of logits made at once when scoring; bounds the memory of a large vocabulary."""


class Engine:
    """Batches jobs over one decoder. `max_rows` jobs are active at a time, over a pool of `kv_tokens` slots."""

    def __init__(self, decoder: Decoder, max_rows: int, kv_tokens: int) -> None:
        for name, value in (("max_rows", max_rows), ("kv_tokens", kv_tokens)):
            if value < 1:
                raise UserError(f"{name} is {value} but must be at least 1")
        self.decoder = decoder
        self.version = 0
        """Number of the weights in use, as given with them; written on every token they sample."""
        self.before_step: Callable[[], None] | None = None
        """Called by `work` before every step, in its thread: the place to change weights while rows are under way."""
        self.config = decoder.config
        weight = decoder.embed_tokens.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.pool = Pool(self.config, kv_tokens, self.dtype, self.device)
        self.cache = PrefixCache(self.pool)
        self.scheduler = Scheduler(self.pool, self.cache, max_rows)
        self._lanes = Lanes(self.pool) if self.device.type == "cpu" else None
        """A second copy of what is decoded; on CUDA that memory is better left to the pool."""
        self._fused = Fused(decoder) if fits(decoder) else None
        self.lock = threading.Lock()
        self._stepping = threading.Lock()
        self._computing: set[Job] = set()
        self._dropped: set[Job] = set()
        self._sampling: tuple[list[Job], Settings] | None = None

    @property
    def busy(self) -> bool:
        """Whether a step would have anything to consider."""
        return self.scheduler.busy

    @property
    def stalled(self) -> bool:
        """Whether requests wait while nothing is active: open sequences hold the pool."""
        return bool(self.scheduler.waiting) and not self.scheduler.active and not self.scheduler.steered

    def submit(self, job: Job) -> None:
        """Queues a job. Raises UserError when its row is busy, empty, outside the vocabulary, or can never fit."""
        row, window = job.row, self.config.max_position
        most = 0 if job.sampling is None else job.sampling.max_tokens
        if not row.ids:
            raise UserError("the prompt is empty: 0 tokens; give at least one")
        if row.top >= window - (most > 0):
            raise UserError(f"the prompt has {row.top + 1} tokens but the model's context window is {window}; shorten it")
        need = len(row.ids) + min(most, window - row.top - 1)
        if need > self.pool.size:
            raise UserError(f"prompt and max_tokens need {need} tokens but kv_tokens is {self.pool.size}; ask for less or raise kv_tokens")
        bad = next((i for i in row.ids[row.computed :] if not 0 <= i < self.config.vocab_size), None)
        if bad is not None:
            raise UserError(f"token id {bad} is outside the vocabulary of {self.config.vocab_size}; use the model's own tokenizer")
        with self.lock:
            if row.job is not None:
                raise UserError("the sequence is busy: await its last operation before the next")
            row.job = job
            self.scheduler.add(job)

    def cancel(self, job: Job) -> None:
        """Ends a job; what it held is free when this returns, or at the end of the step that is computing it. Safe when it has ended."""
        with self.lock:
            if job.stop is None and job.error is None:
                job.stop = Stop.CANCELLED
                if job in self._computing:
                    self._dropped.add(job)
                else:
                    self.scheduler.remove(job)
                    job.row.job = None

    def flush(self, decoder: Decoder | None = None, version: int | None = None) -> None:
        """Takes up changed weights, or those of another `decoder` of the same shape; to be called whenever they change. Forgets cached
        prefixes; rows under way keep the keys they have, and go on under the new weights and their `version` (`None`: as it was)."""
        with self._stepping, self.lock:
            self.decoder = self.decoder if decoder is None else decoder
            self.version = self.version if version is None else version
            self._fused = Fused(self.decoder) if fits(self.decoder) else None
            self.cache.clear()

    def cost(self, job: Job) -> Cost:
        """What a job has spent so far."""
        return job.cost(self.config, self.pool.site_bytes())

    @torch.inference_mode()
    def step(self) -> list[Job]:
        """Computes one step; returns the jobs that ended, and those that stream and grew."""
        with self._stepping:
            with self.lock:
                steps = self.scheduler.plan()
                refused, self.scheduler.failed = self.scheduler.failed, []
                for job in refused:
                    job.row.job = None
                self._computing = {job for job, _ in steps}
            if not steps:
                return refused
            hidden = self._forward(steps)
            ready = [i for i, (job, n) in enumerate(steps) if n == job.row.pending]
            self._sample(*_those(steps, hidden, [i for i in ready if steps[i][0].sampling is not None]))
            self._logits(*_those(steps, hidden, [i for i in ready if steps[i][0].wants_logits]))
            with self.lock:
                return refused + [job for i, (job, n) in enumerate(steps) if self._commit(job, n, hidden[i] if job.steered else hidden)]

    def work(self) -> list[Job]:
        """Steps until there is something to tell, or nothing to do; returns what `step` returns."""
        while True:
            if self.before_step is not None:
                self.before_step()
            changed = self.step()
            if changed or self.stalled or not self.busy:
                return changed

    def fail_all(self, error: Exception) -> list[Job]:
        """Ends every job with `error` and returns them; the engine can go on with new ones."""
        with self._stepping, self.lock:
            queues = (self.scheduler.active, self.scheduler.steered, self.scheduler.waiting)
            jobs = list(dict.fromkeys(job for queue in queues for job in queue))
            self._computing, self._dropped = set(), set()
            for job in jobs:
                if job.stop is None:
                    job.error = error
                self.pool.release(job.row.drop_slots(job.row.computed))
                self.scheduler.remove(job)
                job.row.job = None
            return jobs

    def _forward(self, steps: list[tuple[Job, int]]) -> Tensor:
        """[len(steps), D]: the last hidden state of each job's row, after computing its next tokens.

        Rows with different programs go through the blocks together; where one leaves the blocks' order, one program after another.
        """
        programs: dict[Program | None, list[int]] = {}
        thinks = self.config.num_thoughts > 0
        for i, (job, n) in enumerate(steps):
            if n:
                programs.setdefault(job.row.program, []).append(i)
        out = torch.empty(len(steps), self.config.hidden_size, dtype=self.dtype, device=self.device)
        mixed = len(programs) > 1 and ordered(list(programs))
        for program, members in ((None, [i for some in programs.values() for i in some]),) if mixed else programs.items():
            rows = [(steps[i][0].row, steps[i][1]) for i in members]
            if mixed:
                choose = known([row.program for row, _ in rows])
                hidden, ends = together(self.decoder, self._fused or Plain(self.decoder), rows, choose, self.pool, self.device, thinks)
            else:
                batch, ends = build(rows, self.pool, self._lanes, self.device, thinks)
                hidden = plain(self.decoder, batch, program) if self._fused is None else self._fused(batch, program)
            out[members] = hidden[ends]
            self._score([steps[i] for i in members], ends, hidden)
        for i, (job, n) in enumerate(steps):
            if not n and job.row.hidden is not None:
                out[i] = job.row.hidden
        return out

    def _head(self, hidden: Tensor) -> Tensor:
        """Logits [n, V] of hidden states [n, D], never computed with fewer than `LEAST` rows."""
        n = len(hidden)
        if n < LEAST:
            hidden = torch.cat((hidden, hidden.new_zeros(LEAST - n, hidden.shape[1])))
        return self.decoder.logits(hidden)[:n]

    def _sample(self, jobs: list[Job], hidden: Tensor) -> None:
        """Draws a token for each job; its row gets it when the step is committed."""
        if not jobs:
            return
        if self._sampling is None or self._sampling[0] != jobs:
            wishes = [job.sampling for job in jobs if job.sampling is not None]
            self._sampling = (jobs, Settings.of(wishes, self.config.vocab_size, self.device))
        uniforms = [job.draws(job.first_draw + len(job.sampled)) for job in jobs if job.draws is not None]
        drawn = draw(self._head(hidden), self._sampling[1], uniforms)
        for i, job in enumerate(jobs):
            job.sampled.append(drawn.ids[i])
            job.logprobs.append(drawn.logprobs[i])
            job.sampler_logprobs.append(drawn.sampler_logprobs[i])
            job.versions.append(self.version)
            job.heads += 1
            if drawn.top is not None and job.sampling is not None and (wanted := job.sampling.top_logprobs):
                job.top_logprobs.append(dict(zip(*(column[:wanted] for column in drawn.top[i]), strict=True)))

    def _logits(self, jobs: list[Job], hidden: Tensor) -> None:
        if jobs:
            for job, row in zip(jobs, self._head(hidden), strict=True):
                job.logits = row
                job.heads += 1

    def _score(self, members: list[tuple[Job, int]], ends: list[int], hidden: Tensor) -> None:
        """Appends to scoring jobs the log-probabilities of the tokens that follow those just computed, each token once."""
        flat: list[int] = []
        targets: list[int] = []
        owners: list[Job] = []
        for (job, n), end in zip(members, ends, strict=True):
            if job.score_from is not None:
                done = job.row.computed
                if done == job.score_from and not job.logprobs and job.row.hidden is not None:  # the state that predicts the first is old
                    hidden = torch.cat((hidden, job.row.hidden[None]))
                    flat.append(len(hidden) - 1)
                    targets.append(job.row.ids[done])
                    owners.append(job)
                first, stop = max(done, job.score_from - 1 + len(job.logprobs)), min(done + n, len(job.row.ids) - 1)
                flat += range(end - n + 1 + first - done, end - n + 1 + stop - done)
                targets += job.row.ids[first + 1 : stop + 1]
                owners += [job] * (stop - first)
        for at in range(0, len(flat), SCORED):
            logp = self._head(hidden[flat[at : at + SCORED]]).float().log_softmax(dim=-1)
            wanted = torch.tensor(targets[at : at + SCORED], device=self.device)
            some = owners[at : at + SCORED]
            for job, value in zip(some, logp.gather(1, wanted[:, None])[:, 0].tolist(), strict=True):
                job.logprobs.append(value)
                job.heads += 1
            if k := max((job.score_top for job in some), default=0):
                values, ids = logp.topk(min(k, logp.shape[1]), dim=-1)
                for job, top, where in zip(some, values.tolist(), ids.tolist(), strict=True):
                    if job.score_top:
                        job.top_logprobs.append(dict(zip(where[: job.score_top], top[: job.score_top], strict=True)))

    def _commit(self, job: Job, n: int, hidden: Tensor) -> bool:
        """Books what the step computed for a job; whether its listener is to be told."""
        row = job.row
        self._computing.discard(job)
        if n:
            fresh = min(row.fresh, n)
            job.decoded += fresh
            job.prefilled += n - fresh
            job.pairs += causal_pairs(n, row.computed)
            row.computed += n
            row.fresh = 0
            job.peak = max(job.peak, row.computed)
        cancelled = job in self._dropped
        self._dropped.discard(job)
        finished = row.computed == len(row.ids) and not cancelled
        if row.computed == len(row.ids) and job.steered:
            row.hidden = hidden.clone()
        elif n:
            row.hidden = None
        if finished and job.sampling is not None:
            row.add_sampled(job.sampled[-1])
            job.stop = self._ends(job, job.sampling)
        elif finished:
            job.stop = Stop.LENGTH
        if (n > 1 or job.stop is not None) and row.plain and row.version == self.cache.version:
            self.cache.keep(row.program, row.ids, row.slots)
        if job.stop is not None:
            self.scheduler.remove(job)
            row.job = None
        return not cancelled and (job.stop is not None or (job.streams and finished))

    def _ends(self, job: Job, sampling: Sampling) -> Stop | None:
        """Why a job's last token ends it, if it does."""
        token = job.sampled[-1]
        if job.text is not None and job.text.push(token):
            return Stop.STOP
        if token in sampling.stop_token_ids:
            return Stop.STOP
        if token in job.end_ids and not sampling.ignore_eos:
            return Stop.EOS
        if len(job.sampled) >= sampling.max_tokens:
            return Stop.LENGTH
        return Stop.CONTEXT if job.row.top + 1 >= self.config.max_position else None


def _those(steps: list[tuple[Job, int]], hidden: Tensor, wanted: list[int]) -> tuple[list[Job], Tensor]:
    """The jobs and hidden states of some of the steps."""
    return [steps[i][0] for i in wanted], hidden if len(wanted) == len(steps) else hidden[wanted]
