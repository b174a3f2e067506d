"""Every figure of h1's experiment, as measures with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from reasonry.core import Measure
from reasonry.papers.h1_findings import START, Arm, Facts, Plan, Step, pass_curve, profile_of, rows_of, scores, share
from reasonry.probe.stats import Estimate, wilson

KS = (1, 2, 4, 8, 16, 32, 64, 128)


def names(arms: Sequence[Arm]) -> list[str]:
    """Arms in the order they were made, the start first."""
    found = dict.fromkeys(arm.name for arm in arms)
    return [START, *(name for name in found if name != START)]


def log(arms: Sequence[Arm], name: str, stage: int | None = None) -> list[Step]:
    """An arm's steps over all seeds, of one stage or of all."""
    return [step for arm in arms if arm.name == name for step in arm.log if stage in (None, step.stage)]


def stages(arms: Sequence[Arm], name: str) -> list[int]:
    """The stages an arm went through."""
    return sorted({step.stage for step in log(arms, name)})


def measures(plan: Plan, arms: Sequence[Arm], facts: Facts) -> tuple[Measure, ...]:
    """Accuracy at every length, whole chains, truncation, step profiles, pass@k, signal by stage, tokens; then the simulated agent."""
    rows, made = rows_of(arms), list[Measure]()

    def add(arm: str, metric: str, e: Estimate | None) -> None:
        if e is not None:
            made.append(Measure(arm, metric, e.mean, e.low, e.high, e.n))

    def exact(arm: str, metric: str, value: float, n: int = 1) -> None:
        made.append(Measure(arm, metric, value, value, value, n))

    for name in names(arms):
        for h in range(1, plan.longest + 1):
            add(name, f"accuracy at h = {h}", share(scores(rows, name, (h,))))
            add(name, f"every step right at h = {h}", share(scores(rows, name, (h,), lambda r: r.whole)))
            add(name, f"cut short at h = {h}", share(scores(rows, name, (h,), lambda r: r.cut)))
        for h in (plan.H, plan.longest):
            found = profile_of(rows, name, h)
            for j in range(h if found else 0):
                assert found is not None
                add(name, f"first {j + 1} of {h} steps right", found.s[j])
                if (q := found.q[j]) is not None and (sigma := found.sigma[j]) is not None:
                    before = found.n if j == 0 else round(found.s[j - 1].mean * found.n)
                    add(name, f"q of step {j + 1} of {h}", wilson(round(q * before), before))
                    exact(name, f"σ of step {j + 1} of {h}", sigma, before)
        for k in KS:
            if k <= plan.draws:
                add(name, f"pass@{k} at h = {plan.drawn_length}, every step right", pass_curve(arms, name, k))
                add(name, f"pass@{k} at h = {plan.drawn_length}, answer right", pass_curve(arms, name, k, lambda d: d.passed))
        for stage in stages(arms, name):
            steps = log(arms, name, stage)
            where = f" in stage {stage + 1}" if len(stages(arms, name)) > 1 else ""
            groups, answers = len(steps) * plan.prompts, len(steps) * plan.prompts * plan.G
            add(name, f"groups without a signal{where}", wilson(round(sum(s.zero_variance for s in steps) * plan.prompts), groups))
            add(name, f"training answers right{where}", wilson(round(sum(s.pass_rate for s in steps) / len(steps) * answers), answers))
            add(name, f"training answers cut short{where}", wilson(round(sum(s.truncated for s in steps) / len(steps) * answers), answers))
        for arm in arms:
            if arm.name == name and arm.log:
                exact(name, f"sampled tokens, seed {arm.seed}", arm.log[-1].tokens, len(arm.log))
    for h, chance in facts.chance.items():
        exact("always the commonest answer", f"accuracy at h = {h}", chance)
    for order, atoms in facts.atoms.items():
        for H, value in zip(plan.agent_lengths, atoms, strict=True):
            exact(f"simulated agent, {order}", f"atoms executed until H = {H} is learnt, median", value, plan.agent_seeds)
    return tuple(made)
