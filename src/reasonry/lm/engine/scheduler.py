"""Who is computed next: admission, slots, and the tokens of the coming step.

Requests are admitted first come, first served, as soon as their prompt fits; their completions are *not* reserved. When the pool runs
short, cached prefixes go first, then the youngest request gives its slots back and waits at the head of the queue to be computed again.
That is safe because computing again gives the same numbers and token t's random number depends on (seed, t) alone: pre-emption costs
time, never a different text. The alternative, reserving `max_tokens` at admission, would leave most of the pool empty, for most
requests end long before their limit.

Slots of open sequences are never taken away. A job on an open sequence goes before requests, since what it holds may be what they wait for.
"""

from __future__ import annotations

from collections import deque

from reasonry.core import UserError
from reasonry.lm.engine.pool import Pool
from reasonry.lm.engine.prefix import BLOCK, PrefixCache
from reasonry.lm.engine.row import Job

CHUNK = 512
"""Context tokens computed in one step, over all rows, beside the tokens being decoded: bounds how long a step can take."""
HEADROOM = 16
"""Free slots per active row wanted before another request is admitted, so that it is not pre-empted at once."""


class Scheduler:
    """Queues and the pool's book-keeping. Not thread-safe: its engine's lock guards it."""

    def __init__(self, pool: Pool, cache: PrefixCache, max_rows: int) -> None:
        self.pool, self.cache, self.max_rows = pool, cache, max_rows
        self.waiting: deque[Job] = deque()
        self.steered: deque[Job] = deque()
        self.active: list[Job] = []
        self.failed: list[Job] = []
        """Jobs refused while planning, with their error; the engine reports and empties it."""

    @property
    def busy(self) -> bool:
        """Whether any job is left."""
        return bool(self.waiting or self.steered or self.active)

    def add(self, job: Job) -> None:
        """Queues a job."""
        (self.steered if job.steered else self.waiting).append(job)

    def remove(self, job: Job) -> None:
        """Takes a job out, wherever it is; a request's slots are freed."""
        for queue in (self.waiting, self.steered, self.active):
            if job in queue:
                queue.remove(job)
        if not job.steered:
            self.free(job)

    def free(self, job: Job) -> None:
        """Gives a row's slots back."""
        self.pool.release(job.row.drop_slots(0))
        job.row.hidden, job.row.fresh = None, 0

    def plan(self) -> list[tuple[Job, int]]:
        """The jobs of the coming step and how many tokens each computes (0: its logits are at hand); their slots are taken."""
        self._admit()
        self.active.sort(key=lambda job: not job.steered)
        left, steps, i = CHUNK, [], 0
        while i < len(self.active):
            job = self.active[i]
            row = job.row
            pending = len(row.ids) - row.computed
            n = pending if pending < 2 else min(pending, left)
            if row.whole:
                n = pending if pending <= left or left == CHUNK else 0
            if self.pool.free < n and not self._make_room(job, n):
                continue  # it left `active`
            i += 1
            if n == 1:
                row.add_slot(self.pool.take_one())
            elif n:
                left = max(left - n, 0)
                row.add_slots(self.pool.take(n))
            if n or not pending:
                steps.append((job, n))
        return steps

    def _admit(self) -> None:
        while self.steered and len(self.active) < self.max_rows:
            job = self.steered.popleft()
            self._reuse(job)
            self.active.append(job)
        if not self.waiting:
            return
        coming = {self._next_block(job) for job in self.active if job.row.pending > 1}
        shares: list[Job] = []  # what they lack first is being computed by another: next step they find it in the cache
        while self.waiting and len(self.active) < self.max_rows:
            job = self.waiting.popleft()
            block = self._next_block(job)
            if block in coming:
                shares.append(job)
                continue
            self._reuse(job)
            need = job.row.pending + (HEADROOM * (1 + len(self.active)) if self.active else 0)
            if self.pool.free < need and not self.cache.evict(need - self.pool.free):
                self.free(job)
                self.waiting.appendleft(job)
                break
            self.active.append(job)
            if block is not None:
                coming.add(block)
        self.waiting.extendleft(reversed(shares))

    def _reuse(self, job: Job) -> None:
        """Gives a row that holds nothing the slots of its longest known prefix."""
        row = job.row
        if not len(row.slots) and row.plain:
            row.version = self.cache.version
            row.add_slots(self.cache.find(row.program, row.ids, _reusable(job)))
            row.computed = len(row.slots)

    def _next_block(self, job: Job) -> tuple[object, ...] | None:
        """Names the first block a row lacks; `None` where it lacks no block another could bring."""
        row = job.row
        end = self.cache.known(row.program, row.ids, _reusable(job)) + BLOCK
        return (row.program, *row.ids[:end]) if row.plain and row.computed < end <= _reusable(job) else None

    def _make_room(self, job: Job, n: int) -> bool:
        """Sees to `n` free slots; false when the job has to wait or was refused."""
        while self.pool.free < n and not self.cache.evict(n - self.pool.free):
            youngest = self.active[-1]
            if youngest.steered:
                job.error = UserError(
                    f"kv_tokens is {self.pool.size}, all held by open sequences, and one of them needs {n} more; "
                    "close some sequences or raise kv_tokens"
                )
                self.active.remove(job)
                self.failed.append(job)
                return False
            self.active.remove(youngest)
            self.free(youngest)
            self.waiting.appendleft(youngest)
            if youngest is job:
                return False
        return True


def _reusable(job: Job) -> int:
    """How much of a row may come from the cache: its last token must be computed, or all whose logits are wanted."""
    return len(job.row.ids) - 1 if job.score_from is None else job.score_from - 1
