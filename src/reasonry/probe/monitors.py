"""Monitors of a training run: plain functions from its log to findings, on anyone's log.

Each monitor reads one or two series and compares a *rolling median* with a limit. It speaks where the median stays beyond the limit by
more than two of its standard errors for a whole window, so that noise, a single odd step and a value that grazes the limit raise nothing.
The limits are the constants below (those about tools in `tool_monitors`), with the reason for each; every function takes another as an
argument. Not here, because they need the sampled texts and a list of phrases: semantic entropy over strategic grams and the curves of
planning against execution (HICRA).

Letters: N points of a series, w the window: N / 20, at least 5 and at most 25.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reasonry.probe.monitor import (
    FEWEST,
    Crossing,
    Finding,
    Level,
    Monitor,
    beginning,
    crossing,
    gain,
    median_error,
    noise,
    rolling_median,
    window,
)
from reasonry.probe.tool_monitors import calls_for_nothing, tool_calls, tool_failures
from reasonry.probe.training_log import Log, Series

ENTROPY_LOW, ENTROPY_HIGH, ENTROPY_RISE = 0.2, 2.0, 0.1
"""Entropy's sweet spot as shares of where the run began, and the least rise (nats a token) that counts as an explosion. GRPO-TCR (arXiv
2510.11701) finds a range that is neither collapsed nor excessive and gives no numbers, which would be the model's and the task's; so the
run's own beginning is the measure. A warning, not a verdict: ScaleRL (arXiv 2510.13786) finds entropy alone a poor predictor."""
ZERO_VARIANCE = 0.5
"""Above it most sampling is for groups that teach nothing: a group with one reward has no advantage."""
TRUNCATED, TRUNCATED_HINT = 0.10, 0.05
"""ScaleRL (section on stability): above 10–15 % instability follows; healthy runs stayed below 5 %."""
LENGTH = 2.0
"""Times the length of the beginning. Longer answers are what reasoning RL does; longer ones *for the same reward* are not."""
MISMATCH, MISMATCH_PROB = 0.05, 0.01
"""Sampler and trainer compute the same network, so rounding alone should part them: 0.05 nats is a ratio of 5 % a token before any
update. On probabilities verl's FAQ calls 0.005 normal and 0.01 a fault."""
CLIPPED = 0.2
"""Every fifth token without gradient. Token-level PPO clips far below 1 % of tokens; sequence-level GSPO (arXiv 2507.18071) about 15 %."""
SPIKE, SPIKE_NOISE, SPIKES, SPIKE_SHARE = 5.0, 8.0, 3, 0.005
"""A spike is 5 times the median of the steps before it and 8 robust standard deviations above it, in logs; fewer than 3, or than one step
in 200, are let pass, since the norm is clipped anyway."""
KL_FAR, KL_FROM, KL_TIMES = 1.0, 0.05, 5.0
"""KL to the reference in nats a token: 1 is far whatever the task; from 0.05, 5 times as much within a quarter of the run is a runaway."""
KL_STEP = 0.05
"""KL of one update in nats a token; PPO implementations stop early at 0.01 to 0.02."""
STUCK = 0.02
"""Pass rate below which a stage had next to nothing to learn from: with 8 answers a group, 85 % of groups are all wrong."""


@dataclass(frozen=True, slots=True)
class StageRow:
    """How one stage of a curriculum went: medians of the pass rate over its first and last third."""

    stage: float
    first: float
    last: float
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Health:
    """What all monitors said of a log."""

    findings: tuple[Finding, ...]
    quiet: tuple[str, ...]
    """Monitors that ran and found nothing."""
    skipped: dict[str, str]
    """Monitor -> why it could not run."""
    stages: tuple[StageRow, ...]


def numbers(log: Log) -> list[Finding]:
    """Values that are no numbers. Columns that are mostly NaN are taken for sparse logging."""
    found: list[Finding] = []
    for name, series in log.series.items():
        bad = ~np.isfinite(series.values)
        if bad.any() and bad.mean() < 0.5:
            at = int(np.argmax(bad))
            says = f"{name} is {series.values[at]:g} at step {series.steps[at]:g}, and {int(bad.sum()) - 1} times after."
            advice = "Look at the batch of that step: an empty answer, a reward that is no number, or a ratio that overflowed."
            found.append(
                Finding(
                    "numbers", Level.ALARM, name, float(series.steps[at]), float(series.values[at]), math.inf, says, advice, bool(bad[-1])
                )
            )
    return found


def entropy(log: Log, low: float = ENTROPY_LOW, high: float = ENTROPY_HIGH) -> list[Finding]:
    """Collapse below, or explosion above, a share of the entropy at the beginning."""
    series = log.series["entropy"]
    start = beginning(series.values)
    if (c := crossing(series, low * start, above=False)) and start > 0:
        says = (
            f"Entropy fell from {start:.3g} to {c.value:.3g} nats a token: answers hardly differ any more, and there is little left to try."
        )
        advice = "Raise the upper clip bound a little (0.28 instead of 0.2), bring more varied problems, or sample at a higher temperature."
        return [Finding("entropy", Level.ALARM, "entropy", c.step, c.value, low * start, says, advice, c.ongoing)]
    limit = max(high * start, start + ENTROPY_RISE)
    if c := crossing(series, limit):
        says = f"Entropy rose from {start:.3g} to {c.value:.3g} nats a token: the policy is being blurred rather than taught."
        advice = (
            "Lower the upper clip bound, the learning rate or the entropy bonus; in tool use, see whether failing tools cause the noise."
        )
        return [Finding("entropy", Level.ALARM, "entropy", c.step, c.value, limit, says, advice, c.ongoing)]
    return []


def zero_variance(log: Log, limit: float = ZERO_VARIANCE) -> list[Finding]:
    """Groups without contrast; the pass rate (or a reward within 0 … 1) tells whether problems are too easy or too hard."""
    if not (c := crossing(log.series["zero_variance"], limit)):
        return []
    level = next((name for name in ("pass_rate", "reward") if name in log.series), None)
    kind, advice = "Whether they are all right or all wrong the log does not say.", "Log the pass rate; then filter accordingly."
    if level is not None:
        values = log.series[level].values[log.series[level].steps >= c.step]
        if len(values) and np.nanmin(values) >= 0 and np.nanmax(values) <= 1:
            mean = float(np.nanmedian(values))
            easy = mean >= 0.5
            kind = f"{level} is {mean:.2f} there, so mostly {'all right: too easy' if easy else 'all wrong: too hard'}."
            advice = (
                "Drop problems that are always solved, and bring harder ones."
                if easy
                else "Start with easier problems or give partial credit; more answers a group help only a little."
            )
    says = f"Up to {100 * c.value:.0f} % of groups have a single reward and teach nothing. {kind}"
    return [Finding("zero variance", Level.ALARM, "zero_variance", c.step, c.value, limit, says, advice, c.ongoing)]


def truncation(log: Log, limit: float = TRUNCATED, hint: float = TRUNCATED_HINT) -> list[Finding]:
    """Too many attempts cut off by a limit."""
    advice = (
        "Give more tokens, force an answer near the limit, or penalise length softly before it; do not train on the cut as on a mistake."
    )
    for level, above in ((Level.ALARM, limit), (Level.HINT, hint)):
        if c := crossing(log.series["truncated"], above):
            says = f"Up to {100 * c.value:.0f} % of attempts were cut off; above 10 % runs tend to become unstable."
            return [Finding("truncation", level, "truncated", c.step, c.value, above, says, advice, c.ongoing)]
    return []


def length(log: Log, times: float = LENGTH) -> list[Finding]:
    """Answers that grow without earning more; where the log has no reward, answers that grow."""
    series = log.series["length"]
    start = beginning(series.values)
    if not (c := crossing(series, times * start)):
        return []
    earned = ""
    if (reward := _judged(log, "reward")) is not None:
        change, error = gain(reward)
        if change > 3 * error and change > 0:
            return []
        earned = f", and reward did not rise ({change:+.3g})"
    says = f"Answers grew from {start:.0f} to {c.value:.0f} tokens{earned}."
    advice = "Average the loss over all tokens or by a constant, not per answer; add a soft length penalty; look for repetition."
    return [Finding("length", Level.ALARM, "length", c.step, c.value, times * start, says, advice, c.ongoing)]


def mismatch(log: Log, limit: float = MISMATCH, limit_prob: float = MISMATCH_PROB) -> list[Finding]:
    """Sampler and trainer that disagree about the same tokens."""
    advice = (
        "Make temperature and filters (top-p, top-k) the same on both sides, clear prefix caches after updates, compute logits in float32; "
        "until then weight by truncated importance."
    )
    for name, above, unit in (("mismatch", limit, "nats a token"), ("mismatch_prob", limit_prob, "in probability")):
        if (series := _judged(log, name)) is not None and (c := crossing(series, above)):
            says = f"Sampler and trainer differ by up to {c.value:.3g} {unit}: part of every update corrects the software, not the policy."
            return [Finding("mismatch", Level.ALARM, name, c.step, c.value, above, says, advice, c.ongoing)]
    return []


def clipping(log: Log, limit: float = CLIPPED) -> list[Finding]:
    """A large share of tokens without gradient."""
    if not (c := crossing(log.series["clip_share"], limit)):
        return []
    says = f"Up to {100 * c.value:.0f} % of tokens were clipped and taught nothing."
    advice = "Lower the learning rate or the updates per batch; with an asynchronous sampler, lower its lag."
    return [Finding("clipping", Level.ALARM, "clip_share", c.step, c.value, limit, says, advice, c.ongoing)]


def gradient(log: Log, times: float = SPIKE, sigmas: float = SPIKE_NOISE, fewest: int = SPIKES) -> list[Finding]:
    """Spikes of the gradient's norm over the steps just before."""
    series = log.series["grad_norm"]
    w = window(len(series))
    logs = np.log(np.maximum(series.values, 1e-12))
    rise = logs[w:] - rolling_median(logs, w)[:-1]
    spikes = np.flatnonzero(rise > max(math.log(times), sigmas * noise(logs))) + w
    if len(spikes) < max(fewest, SPIKE_SHARE * len(series)):
        return []
    worst = spikes[np.argmax(series.values[spikes])]
    says = f"The gradient's norm spiked {len(spikes)} times, to {series.values[worst]:.3g} at step {series.steps[worst]:g}."
    advice = "Keep clipping the norm, look at the batches of those steps (very long answers, extreme ratios), and lower the learning rate."
    typical = float(np.median(series.values))
    ongoing = bool(spikes[-1] >= len(series) - w)
    step, value = float(series.steps[spikes[0]]), float(series.values[worst])
    return [Finding("gradient", Level.HINT, "grad_norm", step, value, times * typical, says, advice, ongoing)]


def kl(log: Log, far: float = KL_FAR, times: float = KL_TIMES, per_step: float = KL_STEP) -> list[Finding]:
    """A policy that runs away from its reference, or from itself within one update."""
    found: list[Finding] = []
    if (series := _judged(log, "kl_ref")) is not None:
        advice = "Lower the learning rate, add or raise the KL penalty, or check the reward: fast drift often means it is being gamed."
        if c := crossing(series, far):
            says = f"KL to the reference reached {c.value:.3g} nats a token: this is another model by now."
            found.append(Finding("KL", Level.ALARM, "kl_ref", c.step, c.value, far, says, advice, c.ongoing))
        elif c := _runaway(series, times):
            says = f"KL to the reference grew more than {times:g} times within a quarter of the run, to {c.value:.3g} nats a token."
            found.append(Finding("KL", Level.HINT, "kl_ref", c.step, c.value, times, says, advice, c.ongoing))
    if (series := _judged(log, "kl_step")) is not None and (c := crossing(series, per_step)):
        says = f"A single update moved the policy by up to {c.value:.3g} nats a token."
        advice = "Lower the learning rate or the updates per batch."
        found.append(Finding("KL", Level.ALARM, "kl_step", c.step, c.value, per_step, says, advice, c.ongoing))
    return found


def _runaway(series: Series, times: float) -> Crossing | None:
    """Where the rolling median is `times` what it was a quarter of the run before, once above `KL_FROM`, and after the first half."""
    w = window(len(series))
    medians, quarter = rolling_median(series.values, w), len(series) // 4
    before, now = medians[:-quarter], medians[quarter:]
    late = np.arange(len(now)) + quarter >= len(medians) // 2  # every KL multiplies at first: it starts at zero
    beyond = late & (now - 2 * median_error(series.values, w) > np.maximum(times * before, KL_FROM))
    if beyond.sum() < w:
        return None
    return Crossing(float(series.steps[quarter + int(np.argmax(beyond))]), float(now[beyond].max()), bool(beyond[-1]))


def validation(log: Log) -> list[Finding]:
    """Reward that rises where validation does not: the reward, or its problems, are being fitted."""
    reward, held_out = log.series["reward"], log.series["validation"]
    earned, error = gain(reward)
    learned, doubt = gain(held_out)
    if earned <= 3 * error or earned <= 0 or learned > 2 * doubt:
        return []
    falls = learned < -2 * doubt
    says = f"Reward rose by {earned:.3g} while validation {'fell' if falls else 'stayed flat'} ({learned:+.3g} ± {2 * doubt:.2g})."
    advice = (
        "Read the best-paid answers for tricks, run the reward lint, take fresh problems; stop at the best validation, not the last step."
    )
    level = Level.ALARM if falls else Level.HINT
    return [Finding("validation", level, "validation", float(held_out.steps[0]), learned, 2 * doubt, says, advice)]


def stages(log: Log, stuck: float = STUCK) -> list[Finding]:
    """Stages whose pass rate never left the ground, or fell while they lasted."""
    found: list[Finding] = []
    advice = "Make the step to this stage smaller, mix in the stage before it, or hold its gate until the pass rate there is higher."
    for row, series in _stages(log):
        if len(series) < FEWEST:
            continue
        change, error = gain(series)
        last = row.last >= float(log.series["pass_rate"].steps[-1])
        if row.ended < stuck and row.began < stuck:
            says = f"Stage {row.stage:g} (steps {row.first:g} to {row.last:g}) ended at a pass rate of {row.ended:.3f}: it never took off."
            found.append(Finding("stages", Level.ALARM, "pass_rate", row.first, row.ended, stuck, says, advice, last))
        elif change < -4 * error and change < -0.1:
            says = f"In stage {row.stage:g} the pass rate fell from {row.began:.2f} to {row.ended:.2f}."
            found.append(Finding("stages", Level.ALARM, "pass_rate", row.first, row.ended, row.began, says, advice, last))
    return found


def _stages(log: Log) -> list[tuple[StageRow, Series]]:
    """Each stretch of one stage; without a stage column the whole run is stage 0."""
    rate = log.series["pass_rate"]
    named = log.series.get("stage")
    of = np.zeros(len(rate)) if named is None else named.values[np.searchsorted(named.steps, rate.steps, side="right") - 1]
    rows: list[tuple[StageRow, Series]] = []
    for part in np.split(np.arange(len(rate)), np.flatnonzero(np.diff(of)) + 1):
        values, third = rate.values[part], max(len(part) // 3, 1)
        began, ended = float(np.median(values[:third])), float(np.median(values[-third:]))
        row = StageRow(float(of[part[0]]), float(rate.steps[part[0]]), float(rate.steps[part[-1]]), began, ended)
        rows.append((row, Series(rate.steps[part], values)))
    return rows


MONITORS: dict[str, Monitor] = {
    "entropy": Monitor(entropy, ("entropy",), "below 20 % of its beginning (collapse), or above twice it and 0.1 nats (explosion)"),
    "tool calls": Monitor(tool_calls, ("tool_calls",), "below 10 % of the calls at the beginning, where tools were in use"),
    "tool failures": Monitor(tool_failures, ("tool_success",), "more than 30 % of calls fail, unless ever fewer do"),
    "calls for nothing": Monitor(
        calls_for_nothing, ("tool_calls_all_wrong", "pass_rate"), "calls in groups without a right answer double, while no more is right"
    ),
    "zero variance": Monitor(
        zero_variance, ("zero_variance",), "more than 50 % of groups with one reward; too easy or too hard by pass rate"
    ),
    "truncation": Monitor(truncation, ("truncated",), "more than 10 % of attempts cut off (hint: 5 %)"),
    "length": Monitor(length, ("length",), "twice the length of the beginning while reward does not rise"),
    "mismatch": Monitor(mismatch, ("mismatch|mismatch_prob",), "sampler and trainer apart by 0.05 nats a token, or 0.01 in probability"),
    "clipping": Monitor(clipping, ("clip_share",), "more than 20 % of tokens clipped"),
    "gradient": Monitor(gradient, ("grad_norm",), "three or more steps at 5 times the norm of those before, and 8 deviations out"),
    "KL": Monitor(
        kl, ("kl_ref|kl_step",), "1 nat a token from the reference, 5 times as much in a quarter of the run, 0.05 nats in one update"
    ),
    "validation": Monitor(validation, ("reward", "validation"), "reward rises, validation does not", fewest=6),
    "stages": Monitor(stages, ("pass_rate",), "a stage's pass rate stays below 2 %, or falls by 10 points"),
}
"""All that `examine` runs, beside `numbers`."""


def examine(log: Log) -> Health:
    """Runs every monitor whose series the log has, with enough points in each."""
    found, quiet, skipped = numbers(log), [], {}
    finite = Log(log.name, {name: _finite(s) for name, s in log.series.items()}, log.columns)
    for name, monitor in MONITORS.items():
        if reason := _lacking(finite, monitor):
            skipped[name] = reason
        elif said := monitor.check(finite):
            found += said
        else:
            quiet.append(name)
    rows = [row for row, _ in _stages(finite)] if len(finite.series.get("pass_rate", ())) else []
    return Health(tuple(sorted(found, key=lambda f: (f.level, f.step))), tuple(quiet), skipped, tuple(rows))


def _lacking(log: Log, monitor: Monitor) -> str:
    """Why a monitor cannot run, or nothing."""
    for need in monitor.needs:
        held = [name for name in need.split("|") if name in log.series]
        if not held:
            return f"no {need.replace('|', ' or ')} in the log"
        if (most := max(len(log.series[name]) for name in held)) < monitor.fewest:
            return f"{held[0]} has {most} values, fewer than {monitor.fewest}"
    return ""


def _judged(log: Log, name: str) -> Series | None:
    """A series that is long enough to be judged."""
    series = log.series.get(name)
    return series if series is not None and len(series) >= FEWEST else None


def _finite(series: Series) -> Series:
    kept = np.isfinite(series.values)
    return Series(series.steps[kept], series.values[kept])
