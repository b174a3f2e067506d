"""Every way out that `sandbox_attempts` knows is closed, in every form, for root and for an ordinary user."""

import os

import pytest
import sandbox_attempts_files
import sandbox_attempts_rest
from sandbox_attempts import ATTEMPTS, UNCONFINED
from sandbox_lab import GROUNDS, NOBODY, Ground, attempts_in, attempts_outside, untouched, world

from reasonry.tasks.sandbox import Form

NAMES = list(ATTEMPTS)
assert sandbox_attempts_files
assert sandbox_attempts_rest


@pytest.fixture(scope="module", params=GROUNDS, ids=str)
def outcomes(request: pytest.FixtureRequest):
    """All attempts in one program, and a world that was not harmed by them."""
    ground: Ground = request.param
    sandbox = ground.sandbox(seconds=250, cpu_seconds=30)
    with world(ground.form, ground.user) as seen:
        found = attempts_in(sandbox, seen, NAMES)
        untouched(seen)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_attempt_is_refused(outcomes: dict[str, dict[str, str]], name: str):
    assert outcomes[name]["outcome"] == "refused", outcomes[name]


def test_the_attempts_are_attempts():
    """Where nothing confines them they work, as an ordinary user; those that would do harm, or need root, are not tried."""
    user = NOBODY if os.geteuid() == 0 else None
    names = [name for name in NAMES if name in UNCONFINED]
    with world(Form.LANDLOCK, user) as seen:
        found = attempts_outside(seen, names, user)
    assert {name: row for name, row in found.items() if row["outcome"] != "worked"} == {}
    assert len(names) >= 40
