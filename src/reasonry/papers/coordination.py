"""Emergent coordination, measured: simulated groups of known make against every null, by arm and by length of the game.

Composition only: the measures are `probe.coordination`, the simulated agents `coordination_agents`, claims and rules
`coordination_findings`, the page `coordination_page`. Real models play the same game with `reasonry probe coordination --model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import numpy as np

from reasonry.core import Evidence, Paper
from reasonry.core.run import commit, machine, write_whole
from reasonry.core.seeds import inner_seed
from reasonry.papers.coordination_agents import ARMS, COMPLEMENTARY, PERSONA, exclusive_or, simulate
from reasonry.papers.coordination_findings import CLAIMS, PAIR, ROUNDS, Batch, Plan, Row, findings, measures
from reasonry.papers.coordination_page import report
from reasonry.probe.coordination import COLUMN, PLUGIN, Group, Options, Report, collectivity
from reasonry.probe.coordination.performance import interaction
from reasonry.probe.coordination.scores import measure, moves, triplets
from reasonry.probe.coordination.tables import Table, decompose, i_min, mmi
from reasonry.probe.stats import Estimate

PLAN = Plan()
EARLY = 10
"""Rounds of which early synergy and redundancy are taken."""
GAME = 20
"""Rounds within which a game counts as won."""
KNOWN: Mapping[str, tuple[float, float, float, float]] = {
    "xor": (0, 0, 0, 1), "and": (0.31127812445913283, 0, 0, 0.5), "copy": (1, 0, 0, 1), "unique": (0, 1, 0, 0), "double": (1, 0, 0, 0),
}  # fmt: skip
"""Redundancy, both unique parts and synergy of two fair bits about a target; of `double` the two bits are one."""


def known_table(name: str) -> np.ndarray:
    """The counts of an example in `KNOWN`: [A, B, target]."""
    counts = np.zeros((2, 2, 4))
    target = {"xor": lambda a, b: a ^ b, "and": lambda a, b: a & b, "copy": lambda a, b: 2 * a + b, "unique": lambda a, b: a}
    for a in (0, 1):
        for b in (0, 1):
            if name != "double":
                counts[a, b, target[name](a, b)] += 1
            elif a == b:
                counts[a, b, a] += 1
    return counts


def oracles() -> float:
    """The largest error of an atom over the known examples and both redundancies."""
    worst = 0.0
    for name, wanted in KNOWN.items():
        table = Table(known_table(name), 3, PLUGIN)
        for redundancy in (i_min, mmi):
            atoms = decompose(table, redundancy(table))
            found = (atoms.redundancy, atoms.unique_a, atoms.unique_b, atoms.synergy)
            worst = max(worst, *(abs(float(x) - y) for x, y in zip(found, wanted, strict=True)))
    return worst


def artefact(stays: float) -> float:
    """Synergy, in the limit, of two agents that each keep their state with this probability and never interact."""
    keep = np.array([[stays, 1 - stays], [1 - stays, stays]]) / 2
    table = Table(np.einsum("ac,bd->abcd", keep, keep).reshape(2, 2, 4), 3, PLUGIN)
    return float(decompose(table, i_min(table)).synergy)


def drawn(arm: str, rounds: int, plan: Plan, seed: int) -> list[Group]:
    """The groups of an arm, a length and a seed."""
    rngs = (np.random.default_rng([inner_seed(seed, i), rounds, sum(map(ord, arm))]) for i in range(plan.groups))
    if arm == PAIR:
        return [exclusive_or(rounds, rng, name=str(i)) for i, rng in enumerate(rngs)]
    return [simulate(arm, rounds, plan.agents, rng, name=str(i)) for i, rng in enumerate(rngs)]


def measured(arm: str, rounds: int, plan: Plan, seed: int) -> Batch:
    """One arm, length and seed."""
    groups = drawn(arm, rounds, plan, seed)
    options = Options(surrogates=plan.surrogates.get(str(rounds), 200), seed=seed)
    if arm == PAIR:
        options = Options(surrogates=200, seed=seed, nulls=(COLUMN,))
    found = collectivity(groups, options)
    return Batch(
        tuple(_row(found, i, arm, rounds, seed) for i in range(len(groups))), found.verdict.value,
        _by_null(found, lambda t: t.fisher), _by_null(found, lambda t: t.wilcoxon),
    )  # fmt: skip


def _by_null(found: Report, value) -> dict[str, dict[str, float]]:
    made: dict[str, dict[str, float]] = {}
    for t in found.tested:
        if value(t) is not None:
            made.setdefault(t.null, {})[t.score] = value(t)
    return made


def _row(found: Report, i: int, arm: str, rounds: int, seed: int) -> Row:
    group = found.groups[i]
    ratio = found.ratios[i] if found.ratios else None
    scores: dict[str, float] = {}
    corrected: dict[str, dict[str, float]] = {}
    p: dict[str, dict[str, float]] = {}
    for t in found.tested:
        at = t.groups.index(i) if i in t.groups else None
        if at is not None:
            scores[t.score] = float(t.observed[at])
            corrected.setdefault(t.null, {})[t.score] = float(t.observed[at] - t.expected[at])
            p.setdefault(t.null, {})[t.score] = float(t.p[at])
    d, _ = found.options.cut(group.first(EARLY))
    early = measure(moves(d, 1), found.options.estimator, triplets(d.agents.shape[-1], 1))
    won = bool((group.signal[:GAME] == 0).any())
    kept = {name: float(early[name][0]) for name in ("synergy", "redundancy") if name in early}
    return Row(seed, arm, rounds, i, scores, corrected, p, None if ratio is None else ratio.p_intercepts, won, kept)


def performance(rows: list[Row]) -> Estimate | None:
    """The interaction over persona and complementary games of the short length; `None` where all fared alike."""
    used = [r for r in rows if r.arm in (PERSONA, COMPLEMENTARY) and r.rounds == ROUNDS[0] and len(r.early) == 2]
    won = np.array([r.success for r in used], dtype=np.float64)
    if len(np.unique(won)) < 2:
        return None
    kind = np.array([[r.arm == PERSONA] for r in used], dtype=np.float64)
    return interaction(won, np.array([r.early["synergy"] for r in used]), np.array([r.early["redundancy"] for r in used]), kind)


def run(path: Path, seeds: tuple[int, ...], plan: Plan = PLAN) -> Evidence:
    """The experiment; resumes what `path` already holds, arm by arm."""
    path.mkdir(parents=True, exist_ok=True)
    batches: list[Batch] = []
    for seed in seeds:
        for arm, rounds in [(PAIR, plan.pair_rounds), *((arm, rounds) for rounds in ROUNDS for arm in ARMS)]:
            done = path / f"{arm.replace(' ', '-')}-{rounds}-{seed}.json"
            if not done.exists():
                write_whole(done, msgspec.json.encode(measured(arm, rounds, plan, seed)).decode())
            batches.append(msgspec.json.decode(done.read_bytes(), type=Batch))
            click.echo(f"seed {seed}, {arm}, {rounds} rounds: {batches[-1].verdict}", err=True)
    rows = [r for b in batches for r in b.rows]
    evidence = Evidence(
        paper="emergent-coordination",
        scale=f"simulated agents whose response is written down; groups of {plan.agents}, {plan.groups} of every arm, length and seed",
        command=f"reasonry run emergent-coordination --seeds {','.join(map(str, seeds))}",
        commit=commit(),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        seeds=seeds,
        budget=", ".join(f"{n} surrogates of every null at {rounds} rounds" for rounds, n in plan.surrogates.items()),
        measures=measures(batches),
        findings=findings(batches, oracles(), [artefact(r) for r in (0.75, 0.9, 1.0)], performance(rows)),
        meta={"plan": asdict(plan), "n": "groups over all seeds"},
    )
    write_whole(path / "report.html", report(batches, evidence))
    return evidence


PAPER = Paper(
    slug="emergent-coordination",
    title="Emergent Coordination in Multi-Agent Language Models",
    arxiv="2510.05174",
    method="reasonry.probe.coordination.scores",
    summary="Decomposes what agents tell about their own and the group's next step into redundant, unique and synergistic information, and "
    "holds it against surrogates, to tell a collective from a bundle of agents and from oscillators.",
    differs=(
        "Groups are simulated, their response written down; real models can play the same game, and nothing is claimed of them here.",
        "The functional null was not published: ours resamples each agent's own recorded responses and lets the copies play on with the "
        "feedback of their own sum, since a recorded one lets them drift.",
        "Mixed models take off every round's mean, not a trend, and series are freed of their autocorrelation before agents are compared.",
        "Atoms and triplets come from one smoothed table each, so that they add up.",
        "The verdict, and synchrony in it, are ours.",
    ),
    fails_when="Agents persist: raw synergy is then high without any interaction; and what chance set apart in the first rounds lasts, so "
    "that agents who are alike pass for different ones.",
    claims=CLAIMS,
    run=run,
)
