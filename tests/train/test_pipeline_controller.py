"""The controller alone, under random events and under simulated clocks: nothing too old, nothing lost, nothing twice."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import UserError
from reasonry.train.pipeline.controller import Action, Controller, Start, Train, in_time
from reasonry.train.pipeline.simulate import Cluster, barrier, play

CLUSTERS = st.builds(
    lambda workers, slots, G, spread, speed, update, transfer, deaths: Cluster(
        workers=workers,
        slots=slots,
        G=G,
        length=lambda rng: rng.lognormvariate(3.0, spread),
        rate=lambda rng: rng.choice(speed),
        update=lambda rng: rng.expovariate(1 / update),
        transfer=lambda rng: rng.expovariate(1 / transfer),
        deaths=deaths,
    ),
    workers=st.integers(1, 4),
    slots=st.integers(1, 12),
    G=st.integers(1, 4),
    spread=st.floats(0.0, 2.0),
    speed=st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=3),
    update=st.floats(0.01, 100.0),
    transfer=st.floats(0.001, 50.0),
    deaths=st.lists(st.floats(0.0, 100.0), max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(k=st.integers(0, 9), P=st.integers(1, 9), cluster=CLUSTERS, seed=st.integers(0, 999))
def test_never_older_than_k_and_nothing_lost_or_trained_twice(k: int, P: int, cluster: Cluster, seed: int) -> None:
    """Whatever the clocks do, and whoever is killed: every update is made, from P groups, each of them once and in time."""
    controller = Controller(k, P, cluster.slots)
    seen = play(controller, cluster, 25, seed)
    assert len(seen.batches) == 25
    assert max(s for update in seen.staleness for s in update) <= k
    trained = [group for batch in seen.batches for group in batch]
    assert len(trained) == len(set(trained)) == 25 * P
    waiting = set(controller.out)
    assert set(trained) | waiting >= set(range(max(trained) + 1)), "a group that was started is trained or still out"
    assert len(waiting) <= (k + 1) * P


@settings(max_examples=60, deadline=None)
@given(k=st.integers(0, 4), P=st.integers(1, 5), resample=st.integers(1, 3), seed=st.integers(0, 999))
def test_with_resampling_batches_are_full_of_groups_that_teach_or_the_draws_are_spent(k: int, P: int, resample: int, seed: int) -> None:
    rng, controller, running = random.Random(seed), Controller(k, P, 8, resample), []
    teaching, todo, updates = {}, deque([*controller.joined(0, 0), *controller.ready()]), 0
    while updates < 12:
        while todo:
            action = todo.popleft()
            if isinstance(action, Start):
                running.append(action.group)
            else:
                updates += 1
                assert all(teaching[g] for g in action.groups)
                assert not any(teaching[g] for g in action.aside)
                assert len(action.groups) == P or len(action.groups) + len(action.aside) >= (1 + resample) * P
                todo.extend(controller.trained() + controller.took(0, controller.version) + controller.ready())
        group = running.pop(rng.randrange(len(running)))
        teaching[group] = rng.random() < 0.3
        todo.extend(controller.finished(group, teaches=teaching[group]))


@given(deadlines=st.lists(st.integers(0, 6), max_size=8), P=st.integers(1, 3))
def test_in_time_is_what_trying_it_out_says(deadlines: list[int], P: int) -> None:
    """Against training the most urgent first and looking whether any deadline passes."""
    left, update = sorted(deadlines), 2
    late = False
    while left:
        batch, left = left[:P], left[P:]
        late |= min(batch) < update
        update += 1
    assert in_time(deadlines, 2, P) is not late


def starts(actions: list[Action]) -> list[tuple[int, int]]:
    return [(a.group, a.worker) for a in actions if isinstance(a, Start)]


def test_lockstep_starts_a_batch_and_waits_for_its_update() -> None:
    """k = 0: P groups; nothing more until the update is made *and* its weights are there."""
    c = Controller(0, 2, 8)
    assert starts(c.joined(0, 0)) == [(0, 0), (1, 0)]
    assert c.ready() == []
    assert c.finished(1) == []
    assert c.finished(0) == [Train((0, 1))]
    assert c.trained() == []
    assert starts(c.took(0, 1)) == [(2, 0), (3, 0)]


def test_the_trainer_waits_for_the_oldest_group_when_an_update_without_it_would_make_it_too_old() -> None:
    c = Controller(1, 1, 8)
    assert starts(c.joined(0, 0)) == [(0, 0), (1, 0)]
    assert c.ready() == []
    assert Train((1,)) in c.finished(1)
    assert starts(c.trained() + c.took(0, 1)) == [(2, 0)]
    assert c.ready() == []
    assert Train((2,)) not in c.finished(2), "group 0 is of version 0 and must be in update 1"
    assert Train((0,)) in c.finished(0)


def test_a_lost_worker_s_unfinished_groups_go_to_another_and_its_finished_ones_stay() -> None:
    c = Controller(1, 2, 4)
    begun = starts([*c.joined(0, 0), *c.joined(1, 0)])
    assert sorted(g for g, _ in begun) == [0, 1, 2, 3]
    mine = [g for g, worker in begun if worker == 0]
    c.finished(mine[0])
    again = starts(c.lost(0) + c.joined(2, 0))
    assert [g for g, _ in again] == mine[1:]
    assert mine[0] in c.out


def test_the_worker_with_the_newest_weights_and_the_most_room_is_asked_first() -> None:
    c = Controller(4, 2, 8, version=3)
    c.joined(0, 1)
    assert {w for _, w in starts(c.joined(1, 3))} <= {1}


def test_a_course_without_problems_gives_short_batches_at_last() -> None:
    """With nothing running and no problem left, what is finished is trained; it is not waited for what can't come."""
    c = Controller(0, 3, 8, resample=2)
    assert len(c.joined(0, 0)) == 3
    c.ready()
    c.finished(0, teaches=True)
    assert starts(c.finished(1, teaches=False)) == [(3, 0)]
    assert c.refused(3) == []
    assert starts(c.finished(2, teaches=True)) == [(3, 0)], "it is tried again"
    assert c.refused(3) == [Train((0, 2), (1,))]


def test_more_ahead_is_faster_and_faster_than_a_barrier() -> None:
    """Throughput rises with k, idle shares fall; sampling k batches, then k updates, leaves bubbles that sampling on does not."""
    cluster = Cluster(workers=2, slots=8, G=8)
    runs = {k: play(Controller(k, 8, 8), cluster, 60) for k in (0, 1, 4, 8)}
    rates = [run.answers_per_second for run in runs.values()]
    assert rates == sorted(rates)
    assert runs[8].answers_per_second > 2 * barrier(cluster, 8, 8, 60).answers_per_second
    assert runs[8].trainer_idle < 0.1 < runs[0].trainer_idle
    assert runs[8].workers_idle < runs[0].workers_idle
    assert max(s for update in runs[8].staleness[10:] for s in update) > 2, "answers really are of older weights"


def test_versions_are_written_along_an_answer() -> None:
    """Long answers of a slow worker go on under new weights: versions rise along them, and tokens add up to the length."""
    cluster = Cluster(workers=1, slots=8, G=1, length=lambda _: 400.0)
    seen = play(Controller(8, 2, 8), cluster, 30)
    for spans in seen.versions.values():
        assert [v for _, v in spans] == sorted(v for _, v in spans)
        assert sum(tokens for tokens, _ in spans) == pytest.approx(400.0)
    assert max(len(spans) for spans in seen.versions.values()) > 2


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="P is 0 but must be at least 1"):
        Controller(1, 0, 1)
