"""Health: what a record counts, what it warns of, how it is shown."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from reasonry.core import Cost, Problem, Stop, Trajectory, Verdict
from reasonry.train.health import display, line, of_attempts, warnings
from reasonry.train.reward import Reward
from reasonry.train.rollout import Attempts

RECORD: dict[str, Any] = {
    "step": 3, "stage": 1, "reward": 0.25, "pass_rate": 0.5, "zero_variance": 0.0, "truncated": 0.1, "length": 12.0, "entropy": 1.5,
    "mismatch": 1e-7, "grad_norm": 0.3, "tokens_per_second": 1234.5,
}  # fmt: skip


def attempt(score: float | None, stop: Stop, tokens: int) -> Trajectory:
    passed = None if score is None else score == 1.0
    return Trajectory("p", stop=stop, cost=Cost(completion_tokens=tokens), verdict=Verdict(score, passed))


def test_shares_are_of_all_attempts() -> None:
    """Two groups: one of a single reward, one mixed with an unscored attempt and a failed one."""
    problem = Problem("p", "?")
    groups = [
        Attempts(0, problem, (attempt(1.0, Stop.EOS, 2), attempt(1.0, Stop.LENGTH, 4))),
        Attempts(1, problem, (attempt(0.5, Stop.BUDGET, 6), attempt(0.0, Stop.EOS, 8), attempt(None, Stop.EOS, 10)), ("lost",)),
    ]
    told = of_attempts(groups, [Reward()(problem, g.trajectories) for g in groups])
    assert told == {
        "reward": 0.625, "pass_rate": 0.5, "zero_variance": 0.5, "truncated": 0.4, "length": 6.0, "failed": 1, "unscored": 1,
    }  # fmt: skip


def test_nothing_to_look_at_is_none_not_zero() -> None:
    told = of_attempts([Attempts(0, Problem("p", "?"), (), ("lost",))], [[]])
    assert told["reward"] is told["pass_rate"] is told["truncated"] is None
    assert told["failed"] == 1


def test_warnings_name_what_should_not_be() -> None:
    assert warnings(RECORD) == []
    bad = warnings({**RECORD, "mismatch": 0.2, "zero_variance": 1.0, "truncated": 0.9})
    assert [w.split()[0] for w in bad] == ["mismatch", "zero_variance", "truncated"]


def test_a_line_leaves_out_what_is_not_known() -> None:
    text = line({**RECORD, "reward": None}, 10)
    assert text.startswith("step 4 of 10, stage 1: pass_rate 0.5, ")
    assert "reward" not in text
    assert "kl_ref" not in text


def test_without_a_terminal_plain_lines_are_printed_and_the_last_always() -> None:
    out = io.StringIO()
    with display(Console(file=out, force_terminal=False, width=200), 5) as show:
        for step in range(5):
            show({**RECORD, "step": step})
    assert [text.split(",")[0] for text in out.getvalue().splitlines()] == ["step 1 of 5", "step 5 of 5"]


def test_a_terminal_shows_the_running_mean() -> None:
    out = io.StringIO()
    with display(Console(file=out, force_terminal=True, width=100, color_system=None), 5) as show:
        show({**RECORD, "step": 0, "reward": 0.2})
        show({**RECORD, "step": 1, "reward": 0.4})
    assert "mean of 2" in out.getvalue()
    assert "0.3" in out.getvalue()
