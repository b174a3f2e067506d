"""What a training run shows of itself while it runs: one record per step, on a live display and always as a line of JSON.

The record's names: `step`, `stage`; of all attempts `reward`, `pass_rate`, `truncated` (share stopped by a limit), `failed`, `unscored`,
`zero_variance` (share of groups with one reward only), and where the solver has tools what `probe.tool_use.tool_health` tells; `draws` of
problems, `learned` groups the update saw; of the update whatever `update.learn` tells (`entropy`, `mismatch`, `kl_ref`, `clip_share`,
`grad_norm`, …); `length` sampled tokens an attempt, `tokens` sampled so far, `tokens_per_second`, `seconds_sampling`, `seconds_learning`,
`lr`; at a checkpoint `validation`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reasonry.probe.tool_use import tool_health
from reasonry.train.reward import Rewarded
from reasonry.train.rollout import CUT, Attempts

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Record = Mapping[str, Any]
Progress = Callable[[Record], None]
"""Told every step's record."""
SHOWN = (
    "loss", "validation_loss", "reward", "pass_rate", "validation", "zero_variance", "truncated", "length", "tool_calls", "tool_success",
    "entropy", "kl_ref", "clip_share", "mismatch", "grad_norm", "tokens_per_second",
)  # fmt: skip
"""What a display has room for, in this order."""
RECENT = 20
"""Steps the display's running mean is over."""
PLAIN_EVERY = 10.0
"""Seconds between lines where there is no terminal."""
MISMATCH = 0.05
"""Mean |log π_old − log π_gen| above which `warnings` speaks."""


def silent(_: Record) -> None:
    """Shows nothing."""


def of_attempts(groups: Sequence[Attempts], rewarded: Sequence[Sequence[Rewarded]]) -> dict[str, float | None]:
    """What a step's attempts say, before anything is filtered; `None` where there was nothing to look at."""
    attempts = [t for g in groups for t in g.trajectories]
    rewards = [[r.reward for r in group] for group in rewarded if group]
    passed = [t.verdict.passed for t in attempts if t.verdict is not None and t.verdict.passed is not None]
    return {
        "reward": _mean([r for group in rewards for r in group]),
        "pass_rate": _mean([float(p) for p in passed]),
        "zero_variance": _mean([float(min(group) == max(group)) for group in rewards]),
        "truncated": _mean([float(t.stop in CUT) for t in attempts]),
        "length": _mean([float(t.cost.completion_tokens) for t in attempts]),
        "failed": sum(len(g.failures) for g in groups),
        "unscored": len(attempts) - sum(map(len, rewarded)),
        **tool_health([g.trajectories for g in groups]),
    }


def warnings(record: Record) -> list[str]:
    """What in a record should not be so, one sentence each."""
    found: list[str] = []
    if record.get("mismatch", 0.0) > MISMATCH:
        found.append(
            f"mismatch is {record['mismatch']:.3f} nats a token: sampler and trainer disagree; "
            "the recipe's temperature must be the solver's, with top_p, top_k and min_p off (a lag accounts for some of it)"
        )
    if record.get("zero_variance") == 1.0:
        found.append("zero_variance is 1: every group had a single reward, so there was nothing to learn; choose other problems")
    if (record.get("truncated") or 0.0) > 0.5:
        found.append(f"truncated is {record['truncated']:.2f}: most answers met a limit; give them more tokens, or reward shorter ones")
    return found


@contextmanager
def display(console: Console, steps: int) -> Iterator[Progress]:
    """A live table where there is a terminal, a plain line now and then where there is none."""
    if not console.is_terminal:
        yield _plain(console, steps)
        return
    from rich.live import Live

    past: list[Record] = []
    with Live(console=console, refresh_per_second=4) as live:

        def show(record: Record) -> None:
            past.append(record)
            live.update(_table(past[-RECENT:], steps))

        yield show


def line(record: Record, steps: int) -> str:
    """A record in one line."""
    shown = (f"{name} {record[name]:.4g}" for name in SHOWN if record.get(name) is not None)
    return f"{_place(record, steps)}: " + ", ".join(shown)


def _place(record: Record, steps: int) -> str:
    return f"step {record['step'] + 1} of {steps}" + (f", stage {record['stage']}" if "stage" in record else "")


def _plain(console: Console, steps: int) -> Progress:
    last: float | None = None

    def show(record: Record) -> None:
        nonlocal last
        now = time.monotonic()
        if last is None or now - last >= PLAIN_EVERY or record["step"] + 1 == steps:
            last = now
            for text in (line(record, steps), *warnings(record)):
                console.print(text, highlight=False, soft_wrap=True)

    return show


def _table(past: Sequence[Record], steps: int) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    now = past[-1]
    table = Table("", "now", f"mean of {len(past)}", title=_place(now, steps))
    for name in SHOWN:
        if (values := [r[name] for r in past if r.get(name) is not None]) and now.get(name) is not None:
            table.add_row(name, f"{now[name]:.4g}", f"{statistics.fmean(values):.4g}")
    return Group(ProgressBar(total=steps, completed=now["step"] + 1, width=40), table, *warnings(now))


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
