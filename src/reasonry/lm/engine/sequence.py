"""A row of the engine's batch that a solver steers token by token.

Its operations are batched with everything else the engine does. It holds its slots until it is closed; what forks share is held once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType

import numpy as np
from torch import Tensor

from reasonry.core import Cost, Ids, Sampling, UserError
from reasonry.lm.decoder import Program
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.row import Job, Row
from reasonry.lm.engine.text import Text


class Sequence:
    """Made by `LocalLM.sequence`, or by `fork`. One operation at a time; close it, or use it in a `with` block.

    A sampled or appended token sees every token listed in `ids` before it. `sample` leaves its token to be computed by the next operation.
    """

    def __init__(self, engine: Engine, row: Row, run: Callable[[Job], Awaitable[Job]], cost: Cost) -> None:
        self._engine, self._row, self._run = engine, row, run
        self._closed = False
        self._appended = 0
        self._cost = cost
        self._version = 0

    @property
    def ids(self) -> Ids:
        """All tokens it attends to, in the order they came; a joined sequence's after its own."""
        return tuple(self._row.ids)

    @property
    def positions(self) -> Ids:
        """The position each token was computed at."""
        return tuple(self._row.positions)

    @property
    def thoughts(self) -> Ids:
        """The thought each token was computed with; 0 is no path's own."""
        return tuple(self._row.thoughts)

    @property
    def version(self) -> int:
        """The number of the weights that its last `sample` was drawn from."""
        return self._version

    @property
    def program(self) -> Program | None:
        """Which blocks its tokens run through; `None` for all, and in a routed model before its first token."""
        return self._row.program

    @property
    def cost(self) -> Cost:
        """What its operations took. What a fork's parent paid for is not counted again, but for the peak of what is held."""
        return self._cost

    def __len__(self) -> int:
        return len(self._row.ids)

    async def sample(self, sampling: Sampling | None = None) -> tuple[int, float]:
        """Draws the next token and appends it: (id, its log-probability under the distribution drawn from).

        Of `sampling`, what concerns one token counts; its seed and the sequence's length decide the draw.
        """
        self._needs_last()
        sampling = (sampling or Sampling()).with_(max_tokens=1)
        job = await self._do(Job(self._row, steered=True, sampling=sampling, first_draw=len(self._row.ids)))
        self._version = job.versions[0]
        return job.sampled[0], job.sampler_logprobs[0]

    async def generate(self, sampling: Sampling, end_ids: frozenset[int] = frozenset(), text: Text | None = None) -> Job:
        """Samples on until `sampling`, an end id or a stop string of `text` ends it, and keeps what it sampled (`LocalLM.grow`).

        The job is priced as one call on all that the sequence holds; only what was not computed before is prefill.
        """
        self._needs_last()
        job = Job(self._row, steered=True, sampling=sampling, end_ids=end_ids, text=text, prompt=len(self._row.ids))
        self._appended = 0
        try:
            return await self._run(job)
        finally:
            self._cost += self._engine.cost(job)

    async def append(self, ids: Iterable[int], positions: Iterable[int] | None = None, thought: int | None = None) -> None:
        """Computes `ids` after what is there, by default at the positions after the largest so far.

        `thought` is the number of the thought embedding they get (`None`: the last token's, 0 for a first one), and that what is sampled
        after them gets; a model without such embeddings computes the same with any.
        """
        ids = list(ids)
        places = None if positions is None else list(positions)
        if places is not None and len(places) != len(ids):
            raise UserError(f"positions has {len(places)} numbers for {len(ids)} ids; give one for each")
        known = self._engine.config.num_thoughts
        if thought is not None and (thought < 0 or thought >= known > 0):
            raise UserError(f"thought is {thought} but the model has thoughts 0 to {max(known, 1) - 1}; use one of them")
        with self._engine.lock:
            self._check()
            self._row.add_ids(ids, places, thought)
        self._appended += len(ids)
        if self._row.pending:
            await self._do(Job(self._row, steered=True))

    async def draft(self, sampling: Sampling, end_ids: frozenset[int] = frozenset(), first_draw: int = 0) -> Job:
        """Samples on until `sampling` or an end id ends it, and keeps what it sampled, priced as steps of this sequence.

        The t-th token drawn gets the random number `first_draw + t` of the sampling's seed, so that drafts which begin at a reply's n-th
        token with `first_draw` n draw, whatever their lengths, as one completion would.
        """
        self._needs_last()
        return await self._do(Job(self._row, steered=True, sampling=sampling, end_ids=end_ids, first_draw=first_draw))

    async def score(self, ids: Iterable[int]) -> tuple[float, ...]:
        """Appends `ids` and hands back the log-probability of each under the model's own distribution, all in one pass."""
        ids = list(ids)
        self._needs_last()
        if not ids:
            return ()
        with self._engine.lock:
            start = len(self._row.ids)
            self._row.add_ids(ids)
        self._appended += len(ids)
        job = await self._do(Job(self._row, steered=True, score_from=start))
        return tuple(job.logprobs)

    async def logits(self) -> Tensor:
        """The model's own logits [V] for the next token, in fp32."""
        self._needs_last()
        job = await self._do(Job(self._row, steered=True, wants_logits=True))
        assert job.logits is not None
        return job.logits.float().clone()

    def fork(self) -> Sequence:
        """A sequence that goes on from here by itself. Shares all keys and values there are so far; copies none."""
        with self._engine.lock:
            self._check()
            row = self._row.copy()
            self._engine.pool.share(row.slots)
        return Sequence(self._engine, row, self._run, Cost())

    async def join(self, *others: Sequence) -> None:
        """From now on this sequence also sees the tokens of `others`, each at the position and under the context it was computed with.

        Tokens they share with it (a common prompt) are seen once. Append at least one token before the next `sample` or `logits`:
        the last token there is has seen only its own path. The others stay open.
        """
        for one in (self, *others):
            one._check()
            if one._row.pending:
                await one._do(Job(one._row, steered=True))
        with self._engine.lock:
            for other in others:
                self._check()
                other._check()
                mine, theirs = self._row, other._row
                new = np.flatnonzero(~np.isin(theirs.slots, mine.slots))
                self._engine.pool.share(theirs.slots[new])
                mine.add_slots(theirs.slots[new])
                mine.computed += len(new)
                mine.ids += [theirs.ids[i] for i in new]
                mine.positions += [theirs.positions[i] for i in new]
                mine.thoughts += [theirs.thoughts[i] for i in new]
                mine.top = max(mine.top, theirs.top)
                mine.joined, mine.hidden = True, None

    def truncate(self, length: int) -> None:
        """Drops all tokens after the first `length`. After a `join`, append before the next `sample` or `logits`."""
        row = self._row
        with self._engine.lock:
            self._check()
            if not 0 <= length <= len(row.ids):
                raise UserError(f"truncate: length is {length} but the sequence has {len(row.ids)} tokens; give 0 to {len(row.ids)}")
            if length == len(row.ids):
                return
            del row.ids[length:], row.positions[length:], row.thoughts[length:]
            row.top = max(row.positions, default=-1)
            row.fresh = min(row.fresh, max(length - row.computed, 0))
            if length < row.computed or (length == row.computed and row.hidden is None):
                # the last token's hidden state was not kept: it is computed again
                keep = length if row.joined else max(length - 1, 0)
                self._engine.pool.release(row.drop_slots(keep))
                row.hidden, row.fresh = None, 0

    def close(self) -> None:
        """Gives everything back. Closing twice is fine; using it afterwards raises UserError."""
        if self._closed:
            return
        self._closed = True
        if (job := self._row.job) is not None:
            job.steered = False  # so that its slots are freed with it
            self._engine.cancel(job)
            return
        with self._engine.lock:
            self._engine.pool.release(self._row.drop_slots(0))

    def __enter__(self) -> Sequence:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def _do(self, job: Job) -> Job:
        self._check()
        job.prompt, job.calls, self._appended = self._appended, 0, 0
        try:
            return await self._run(job)
        finally:
            self._cost += self._engine.cost(job)

    def _check(self) -> None:
        if self._closed:
            raise UserError("the sequence is closed; fork it before closing, or open another")
        if self._row.job is not None:
            raise UserError("the sequence is busy: await its last operation before the next")

    def _needs_last(self) -> None:
        self._check()
        if not self._row.ids or (self._row.hidden is None and not self._row.pending):
            raise UserError(
                "the sequence has no last token to go on from (it is empty, or was just joined); append at least one token first"
            )
