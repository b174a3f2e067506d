"""What a progress display says: attempts, rate of this run alone, time left, failures, running accuracy."""

import io

import pytest
from rich.console import Console

from reasonry.evaluate import Snapshot
from reasonry.evaluate.progress import display, duration, line


def snapshot(done: int, resumed: int = 0, seconds: float = 10.0, errors: int = 0) -> Snapshot:
    return Snapshot(total=1200, done=done, resumed=resumed, seconds=seconds, errors=errors, scores={"single": (0.431, 40)})


def test_rate_and_time_left_leave_out_what_an_earlier_run_did():
    assert line(snapshot(700, resumed=600)) == "700 of 1,200 attempts, 10.0 per second, 50 s left; single 43.1 %"


def test_a_run_that_has_just_begun_names_no_rate():
    assert line(snapshot(600, resumed=600, seconds=0.0)) == "600 of 1,200 attempts; single 43.1 %"


def test_failures_are_counted_aloud():
    assert "3 failed" in line(snapshot(100, errors=3))


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7530, "2 h 5 min")])
def test_durations_are_said_as_people_do(seconds, said):
    assert duration(seconds) == said


def test_without_a_terminal_there_are_plain_lines_the_first_and_the_last_always():
    out = io.StringIO()
    with display(Console(file=out)) as progress:
        for done in range(0, 1201, 100):
            progress(snapshot(done))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("0 of 1,200")
    assert lines[-1].startswith("1,200 of 1,200")
    assert len(lines) < 6


def test_on_a_terminal_there_is_a_bar_that_leaves_nothing_behind():
    out = io.StringIO()
    with display(Console(file=out, force_terminal=True, width=120)) as progress:
        progress(snapshot(600))
    assert "600 of 1,200 attempts" in out.getvalue()
    assert "single 43.1 %" in out.getvalue()
