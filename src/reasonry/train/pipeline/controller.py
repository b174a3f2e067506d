"""Who may start, and what is trained next: PipelineRL-k without a clock, a model or a network.

Events go in, actions come out. A *group* is all attempts at one problem; a *version* is how many updates the weights have behind them.
Update number u is made from the weights of version u, and the oldest token it learns from may be of version u − k, no older.

    actions = controller.joined(worker, 0)          # a worker is there, with weights of version 0       -> Start(group, worker), …
    actions = controller.ready()                    # the trainer waits for a batch                      -> Train(groups) once there is one
    actions = controller.finished(group, oldest)    # a group's attempts are all done
    actions = controller.trained()                  # the update is made: version + 1; send the weights to all workers
    actions = controller.took(worker, version)      # a worker samples by them from here on
    actions = controller.lost(worker)               # its unfinished groups are asked again

How staleness stays within k. A group begun by version a must be in update a + k at the latest: its *deadline*. Let `next` be the next
update, and P the groups of one. Every update in time is possible exactly if, for each d, at most P (d − next + 1) groups that are out
(started, not yet trained) have a deadline up to d. A group is started only if that stays true with it, and a batch, the groups with the
earliest deadlines among the finished, is trained only if it stays true without it; else the trainer waits. So at most (k + 1) P groups are
out, and nothing that was sampled is ever too old to be learned from. Nor is anything started while `BUFFER` batches wait already.

Departures from PipelineRL: 1. the unit is the group, which advantages need whole, not the answer; 2. there is no ring buffer that drops
what is too old: it is not sampled. What a killed worker had not finished is the only loss, and is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reasonry.core import UserError

BUFFER = 2
"""Batches of finished groups that may wait; more would only grow old. One costs throughput where updates are quick to come, two do not."""


@dataclass(frozen=True, slots=True)
class Start:
    """Have `worker` attempt group number `group`: a new problem where the number is new, else the same problem again."""

    group: int
    worker: int


@dataclass(frozen=True, slots=True)
class Train:
    """Make the next update from `groups`, in their order; `aside` finished too and taught nothing."""

    groups: tuple[int, ...]
    aside: tuple[int, ...] = ()


Action = Start | Train


@dataclass
class _Worker:
    version: int
    """The newest weights it is known to sample by."""
    running: set[int] = field(default_factory=set)


def in_time(deadlines: Iterable[int], next: int, P: int) -> bool:
    """Whether groups with these deadlines can all be trained in time, P in each update from number `next` on."""
    return all(i < P * (d - next + 1) for i, d in enumerate(sorted(deadlines)))


class Controller:
    """One per run. Not thread-safe; everything it decides follows from the order of the calls."""

    def __init__(self, k: int, P: int, slots: int, resample: int = 0, version: int = 0) -> None:
        """`slots`: groups that a worker attempts side by side. `resample`: as in `Recipe`; at 0 a batch is P finished groups, whether they
        teach or not; else P that teach, or as many as (1 + resample) P finished ones hold. `version`: updates the run has behind it."""
        for name, value, least in (("k", k, 0), ("P", P, 1), ("slots", slots, 1), ("resample", resample, 0)):
            if value < least:
                raise UserError(f"pipeline: {name} is {value} but must be at least {least}")
        self.k, self.P, self.slots, self.resample = k, P, slots, resample
        self.version, self.next = version, version
        self.workers: dict[int, _Worker] = {}
        self.out: dict[int, int] = {}
        """Deadline of every group that was started and not yet trained or set aside."""
        self._again: list[int] = []
        """Groups that a lost worker had not finished."""
        self._done: set[int] = set()
        """Finished groups that wait for their update."""
        self._aside: list[int] = []
        self._numbers = 0
        self._waiting, self._dry = False, False

    @property
    def running(self) -> int:
        """Groups that are being attempted."""
        return sum(len(worker.running) for worker in self.workers.values())

    def joined(self, worker: int, version: int) -> list[Action]:
        """A worker is there and samples by the weights of `version`."""
        assert worker not in self.workers
        self.workers[worker] = _Worker(version)
        return self._go()

    def took(self, worker: int, version: int) -> list[Action]:
        """A worker has taken up the weights of `version`; what it is sampling goes on under them."""
        if worker in self.workers:
            self.workers[worker].version = max(version, self.workers[worker].version)
        return self._go()

    def lost(self, worker: int) -> list[Action]:
        """A worker is gone. Its unfinished groups are started again, by whoever has room, as new ones of whatever version is there then."""
        for group in sorted(self.workers.pop(worker).running):
            del self.out[group]
            self._again.append(group)
        return self._go()

    def finished(self, group: int, oldest: int | None = None, teaches: bool = True) -> list[Action]:
        """All attempts of a group are done; `oldest` is the version of their oldest token where known, else that of when it was started."""
        self._dry = False
        for worker in self.workers.values():
            worker.running.discard(group)
        if oldest is not None:
            assert oldest + self.k >= self.out[group], "a token is older than the weights its worker was known to have"
            self.out[group] = oldest + self.k
        if self.resample and not teaches:
            del self.out[group]
            self._aside.append(group)
        else:
            self._done.add(group)
        return self._go()

    def refused(self, group: int) -> list[Action]:
        """There is no problem for a group just now. It is tried again after the next event; while nothing runs, a batch may be short."""
        for worker in self.workers.values():
            worker.running.discard(group)
        del self.out[group]
        self._again.append(group)
        self._again.sort()
        self._dry = True
        return self._go()

    def ready(self) -> list[Action]:
        """The trainer waits for the next batch."""
        self._waiting = True
        return self._go()

    def trained(self) -> list[Action]:
        """The update is made."""
        self._dry = False
        self.version += 1
        assert self.version == self.next
        return self._go()

    def _go(self) -> list[Action]:
        """Everything that can be done now."""
        actions: list[Action] = []
        if self._waiting and (batch := self._batch()) is not None:
            self._waiting = False
            actions.append(batch)
        while (start := self._start()) is not None:
            actions.append(start)
        return actions

    def _batch(self) -> Train | None:
        chosen = sorted(self._done, key=lambda group: (self.out[group], group))[: self.P]
        exhausted = self.resample and len(self._done) + len(self._aside) >= (1 + self.resample) * self.P
        dry = self._dry and not self.running and (self._done or self._aside)
        enough = len(self._done) >= self.P or exhausted or dry
        rest = [deadline for group, deadline in self.out.items() if group not in set(chosen)]
        if not enough or not in_time(rest, self.next + 1, self.P):
            return None
        for group in chosen:
            del self.out[group]
        self._done -= set(chosen)
        aside, self._aside = self._aside, []
        self.next += 1
        return Train(tuple(sorted(chosen)), tuple(aside))

    def _start(self) -> Start | None:
        """The next group, on the worker with the newest weights and the most room; `None` where it would come too late."""
        if self._dry or len(self._done) >= BUFFER * self.P:
            return None
        free = [(-w.version, len(w.running), n) for n, w in self.workers.items() if len(w.running) < self.slots]
        if not free:
            return None
        worker = min(free)[2]
        deadline = self.workers[worker].version + self.k
        if not in_time([*self.out.values(), deadline], self.next, self.P):
            return None
        if self._again:
            group = self._again.pop(0)
        else:
            group = self._numbers
            self._numbers += 1
        self.out[group] = deadline
        self.workers[worker].running.add(group)
        return Start(group, worker)
