"""The controller under simulated clocks: what a cluster would do, in milliseconds, the same every time.

A worker has `slots × G` rows, each of which gives `rate` tokens a second; a group's attempts run side by side and it is done with its
longest. An update takes `update` seconds, and after it every worker takes up the weights `transfer` seconds later, in mid-answer. Nothing
here knows how the controller decides; it only plays out what it says.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reasonry.train.pipeline.controller import Action, Controller, Start, Train

Draw = Callable[[random.Random], float]
"""A random number, from the generator it is given."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What is simulated. Times are in seconds, lengths in tokens."""

    workers: int = 2
    slots: int = 8
    """Groups a worker attempts side by side."""
    G: int = 8
    length: Draw = lambda rng: rng.lognormvariate(4.0, 0.8)
    """Tokens of an answer."""
    rate: Draw = lambda rng: 100.0
    """Tokens a second of a row."""
    update: Draw = lambda rng: 1.0
    """Seconds of an update."""
    transfer: Draw = lambda rng: 0.05
    """Seconds until a worker has the weights of an update."""
    deaths: Sequence[float] = ()
    """Times at which the worker with the lowest number is killed; another takes its place at once, without weights but those of then."""


@dataclass
class Played:
    """What was seen."""

    seconds: float = 0.0
    batches: list[tuple[int, ...]] = field(default_factory=list)
    """The groups of every update."""
    staleness: list[list[float]] = field(default_factory=list)
    """Of every update, one number a group: how many updates behind its oldest token is."""
    versions: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    """Of every group's longest answer: (tokens, version) in the order of sampling."""
    trainer_idle: float = 0.0
    """Share of the time in which the trainer waits for a batch, the first included."""
    workers_idle: float = 0.0
    """Share of the time in which a row of a worker has nothing to sample, on average over rows."""
    answers_per_second: float = 0.0
    started: int = 0
    asked_again: int = 0


def play(controller: Controller, cluster: Cluster, updates: int, seed: int = 0) -> Played:
    """Runs `updates` updates from an empty pipeline."""
    return _Stage(controller, cluster, seed).play(updates)


class _Stage:
    def __init__(self, controller: Controller, cluster: Cluster, seed: int) -> None:
        self.controller, self.cluster, self.rng = controller, cluster, random.Random(seed)
        self.now, self.order, self.busy = 0.0, 0, 0.0
        self.queue: list[tuple[float, int, Callable[[], list[Action]]]] = []
        self.running: dict[int, tuple[int, float, float]] = {}
        """Group -> worker, when it was started, tokens a second."""
        self.swaps: dict[int, list[tuple[float, int]]] = {}
        """Worker -> when it took which version."""
        self.oldest: dict[int, int] = {}
        self.seen, self.waited_since = Played(), 0.0

    def after(self, seconds: float, event: Callable[[], list[Action]]) -> None:
        self.order += 1
        heapq.heappush(self.queue, (self.now + seconds, self.order, event))

    def play(self, updates: int) -> Played:
        for worker in range(self.cluster.workers):
            self.join(worker)
        for i, time in enumerate(self.cluster.deaths):
            self.after(time, lambda i=i: self.death(self.cluster.workers + i))
        self.perform(self.controller.ready())
        while len(self.seen.batches) < updates and self.queue:
            self.now, _, event = heapq.heappop(self.queue)
            self.perform(event())
        seen, c = self.seen, self.cluster
        seen.seconds = self.now
        seen.trainer_idle /= max(self.now, 1e-12)
        seen.workers_idle = 1 - self.busy / max(self.now * c.workers * c.slots * c.G, 1e-12)
        seen.answers_per_second = sum(map(len, seen.batches)) * c.G / max(self.now, 1e-12)
        return seen

    def join(self, worker: int) -> None:
        self.swaps[worker] = [(self.now, self.controller.version)]
        self.perform(self.controller.joined(worker, self.controller.version))

    def death(self, successor: int) -> list[Action]:
        dead = min(self.controller.workers)
        for group in [g for g, (worker, _, _) in self.running.items() if worker == dead]:
            del self.running[group]
            self.seen.asked_again += 1
        self.join(successor)
        return self.controller.lost(dead)

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Start):
                self.start(action.group, action.worker)
            else:
                self.train(action)

    def start(self, group: int, worker: int) -> None:
        c, rng = self.cluster, self.rng
        rate, lengths = c.rate(rng), [max(c.length(rng), 1.0) for _ in range(c.G)]
        self.running[group] = run = (worker, self.now, rate)
        self.seen.started += 1
        self.after(max(lengths) / rate, lambda: self.finish(group, run, sum(lengths) / rate))

    def finish(self, group: int, run: tuple[int, float, float], row_seconds: float) -> list[Action]:
        if self.running.get(group) is not run:  # its worker was killed meanwhile
            return []
        worker, began, rate = self.running.pop(group)
        self.busy += row_seconds
        edges = self.swaps[worker]
        spans = [(max(t, began), min(end, self.now), v) for (t, v), (end, _) in zip(edges, [*edges[1:], (self.now, 0)], strict=True)]
        self.seen.versions[group] = [((end - start) * rate, v) for start, end, v in spans if end > start]
        self.oldest[group] = min(v for _, v in self.seen.versions[group])
        return self.controller.finished(group, self.oldest[group])

    def train(self, action: Train) -> None:
        self.seen.trainer_idle += self.now - self.waited_since
        self.seen.batches.append(action.groups)
        self.seen.staleness.append([self.controller.next - 1 - self.oldest[group] for group in action.groups])
        self.after(self.cluster.update(self.rng), self.updated)

    def updated(self) -> list[Action]:
        self.waited_since = self.now
        actions = self.controller.trained()
        version = self.controller.version
        for worker in self.controller.workers:
            self.after(self.cluster.transfer(self.rng), lambda worker=worker: self.took(worker, version))
        return actions + self.controller.ready()

    def took(self, worker: int, version: int) -> list[Action]:
        if worker in self.controller.workers and version > self.swaps[worker][-1][1]:  # transfers may overtake one another
            self.swaps[worker].append((self.now, version))
        return self.controller.took(worker, version)


def barrier(cluster: Cluster, P: int, k: int, updates: int, seed: int = 0) -> Played:
    """The other way to be k updates behind, PPO-off-policy-k: sample k·P groups by one version, then make k updates, and so on."""
    rng, c, seen, busy = random.Random(seed), cluster, Played(), 0.0
    while len(seen.batches) < updates:
        ends = [0.0] * (c.workers * c.slots)
        for _ in range(k * P):
            rate, lengths = c.rate(rng), [max(c.length(rng), 1.0) for _ in range(c.G)]
            slot = min(range(len(ends)), key=ends.__getitem__)
            ends[slot] += max(lengths) / rate
            busy += sum(lengths) / rate
        sampling, learning = max(ends), [c.update(rng) for _ in range(k)]
        seen.trainer_idle += sampling
        seen.seconds += sampling + sum(learning) + c.transfer(rng)
        for u in range(k):
            seen.batches.append(tuple(range(len(seen.batches) * P, (len(seen.batches) + 1) * P)))
            seen.staleness.append([float(u)] * P)
    seen.trainer_idle /= seen.seconds
    seen.workers_idle = 1 - busy / (seen.seconds * c.workers * c.slots * c.G)
    seen.answers_per_second = len(seen.batches) * P * c.G / seen.seconds
    return seen
