"""A log of groups, measured, for people: a finding in plain words, a text for the terminal, JSON, and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from reasonry.evaluate.page import INK, LINE, MUTED, Section, axes, download, figure_svg, page, series, table
from reasonry.probe.coordination import COLUMN, FUNCTIONAL, ROW, Group, Options, Report, Tested, Verdict, collectivity
from reasonry.probe.coordination.log import Read
from reasonry.probe.coordination.performance import interaction
from reasonry.probe.coordination.power import Power, power, rounds_needed
from reasonry.probe.coordination.scores import SCORES
from reasonry.probe.stats import Estimate

HEAD = ("score", "null", "observed", "null's mean", "above it", "from", "to", "Fisher p", "Wilcoxon p", "groups with p < 0.05, %")
SHOWN = ("synergy", "redundancy", "I3", "G3")
MAIN = ("synergy", "synergy_mmi", "redundancy", "practical", "I3", "G3", "stability", "synchrony")
"""What the terminal shows; the page and the JSON hold every score."""
LOW_ENTROPY = 0.5
"""Bits of the macro signal's states below which nearly all mass lies in one of them, and chance looks like structure."""
FEWEST_GAMES = 30
"""Groups below which success is not regressed."""


@dataclass(frozen=True, eq=False)
class Looked:
    """A log with what was found in it, by condition."""

    source: str
    read: Read
    reports: Mapping[str, Report]
    conditions: tuple[tuple[str, str, str, float], ...] = ()
    """(score, condition, another, p): two-sided Mann–Whitney on what is above the column shuffle."""
    pays: Estimate | None = None
    """The slope of synergy × redundancy on success."""
    powers: tuple[Power, ...] = ()


def look(source: str, read: Read, options: Options, first: int | None = None, with_power: bool = False) -> Looked:
    """Measures every condition of a log; `first` keeps that many rounds of each group. Raises UserError for what cannot be measured."""
    if first is not None:
        read = replace(read, groups=tuple(g.first(first) for g in read.groups))
    names = dict.fromkeys(g.condition for g in read.groups)
    reports = {name: collectivity([g for g in read.groups if g.condition == name], options) for name in names}
    agents = min(g.actions.shape[1] for g in read.groups)
    powers = power(agents, min(len(r.groups) for r in reports.values())) if with_power else []
    return Looked(source, read, reports, _compared(reports), _pays(reports), tuple(powers))


def _compared(reports: Mapping[str, Report]) -> tuple[tuple[str, str, str, float], ...]:
    from itertools import combinations

    from scipy.stats import mannwhitneyu

    made: list[tuple[str, str, str, float]] = []
    for a, b in combinations(reports, 2):
        for score in SHOWN:
            x, y = reports[a].of(score, COLUMN.name), reports[b].of(score, COLUMN.name)
            if x and y and min(len(x.p), len(y.p)) > 1:
                p = mannwhitneyu(x.observed - x.expected, y.observed - y.expected).pvalue
                made.append((score, a, b, float(p)))
    return tuple(made)


def _pays(reports: Mapping[str, Report]) -> Estimate | None:
    won, synergy, redundancy, kind = list[float](), list[float](), list[float](), list[int]()
    for number, r in enumerate(reports.values()):
        s, red = r.of("synergy", COLUMN.name), r.of("redundancy", COLUMN.name)
        for i, g in enumerate(r.groups):
            if s and red and g.success is not None and i in s.groups and not r.options.pool:
                at = s.groups.index(i)
                won.append(float(g.success))
                synergy.append(float(s.observed[at]))
                redundancy.append(float(red.observed[at]))
                kind.append(number)
    if len(won) < FEWEST_GAMES or len(set(won)) < 2:
        return None
    controls = np.array([[float(k == i) for i in range(1, len(reports))] for k in kind]) if len(reports) > 1 else None
    return interaction(np.array(won), np.array(synergy), np.array(redundancy), controls)


SAYS = {
    Verdict.NONE: "Nothing shows that these agents act together, or that they differ.",
    Verdict.OSCILLATORS: "These agents move together, but as copies of one another: nothing shows lasting roles.",
    Verdict.AGGREGATE: "These agents differ from one another, but what they do does not add up: nothing shows that they act as one.",
    Verdict.COLLECTIVE: "These agents differ, and together they carry the group's next step: they act as one.",
}


def finding(r: Report) -> str:
    """What a report says, in a few plain sentences, with what speaks against it."""
    said = [f"{r.verdict.value.capitalize()}. {SAYS[r.verdict]}"]
    if not r.tested:
        return " ".join([*said, "Fewer than two agents of any group ever move, so there is nothing to measure.", *warnings(r)])
    I3, synergy = _tests(r, "I3"), _tests(r, "synergy")
    if I3:
        said.append(f"Three agents tell {np.mean(I3[0].observed):.3f} bit about the group's next signal: {_against(I3)}.")
    if synergy:
        said.append(
            f"Raw synergy is {np.mean(synergy[0].observed):.3f} bit, which agents that merely persist have too: {_against(synergy)}."
        )
    if r.differentiation is not None:
        different = "differ from one another for good" if r.differentiation < 0.05 else "cannot be told apart"
        said.append(f"Agents {different} ({_p(r.differentiation)}).")
    return " ".join([*said, *warnings(r)])


def _tests(r: Report, score: str) -> list[Tested]:
    return [t for t in r.tested if t.score == score]


def _against(tests: Sequence[Tested]) -> str:
    return ", ".join(f"{_bits(t.corrected)} above the {t.null} null ({_p(_decides(t))})" for t in tests if t.null != ROW.name)


def _decides(t: Tested) -> float:
    return t.fisher if t.wilcoxon is None else t.wilcoxon


def warnings(r: Report) -> list[str]:
    """What a reader should know before believing it."""
    made: list[str] = []
    T = min(len(g.actions) for g in r.groups)
    cells = max(r.options.cut.states(g) for g in r.groups) ** 4
    if not r.options.pool and T - r.options.lag < 2 * cells:
        made.append(
            f"Only {T} rounds in the shortest group for {cells} cells of a pair's table: look at what is above a null, never at zero."
        )
    if len({len(g.actions) for g in r.groups}) > 1:
        made.append("Groups differ in length, and short ones are more biased: compare equally long ones with --first.")
    if r.part_of_whole:
        made.append(
            "The signal is made of the actions, and only the nulls column-sum and functional make it anew: without them no I3 counts."
        )
    if r.macro_entropy < LOW_ENTROPY:
        made.append(f"The group's signal has {r.macro_entropy:.2f} bit: nearly always one state, in which chance looks like structure.")
    filled, actions = sum(g.filled for g in r.groups), sum(g.actions.size for g in r.groups)
    if filled:
        made.append(f"{filled} of {actions} actions were missing or unreadable; the agent's last one stands in.")
    if r.dropped:
        made.append(f"{r.dropped} series never move and were left out.")
    if any(t.null == FUNCTIONAL.name for t in r.tested) and all(g.feedback is None and not g.answers_itself for g in r.groups):
        made.append("No feedback was recorded: agents are taken to have heard whether the group's signal was above its median.")
    return made


def rows(r: Report) -> list[list[str]]:
    """A line for each score and null."""
    return [
        [
            t.score, t.null, f"{np.mean(t.observed):.4f}", f"{np.mean(t.expected):.4f}", f"{t.corrected.mean:+.4f}",
            f"{t.corrected.low:+.4f}", f"{t.corrected.high:+.4f}", _plain(t.fisher), "–" if t.wilcoxon is None else _plain(t.wilcoxon),
            f"{100 * t.significant.mean:.0f}",
        ]
        for t in sorted(r.tested, key=lambda t: list(SCORES).index(t.score))
    ]  # fmt: skip


def coordination_text(seen: Looked) -> str:
    """For the terminal."""
    lines: list[str] = []
    for name, r in seen.reports.items():
        T, N = {len(g.actions) for g in r.groups}, {g.actions.shape[1] for g in r.groups}
        head = f"{name or seen.source}: {len(r.groups)} groups of {_span(N)} agents, {_span(T)} rounds. {seen.read.how}"
        lines += [head, "", finding(r), "", *_aligned([HEAD, *(row for row in rows(r) if row[0] in MAIN)]), ""]
    lines += [f"{score}, {a} against {b}: {_p(p)} (above the column shuffle, Mann–Whitney)" for score, a, b, p in seen.conditions]
    if seen.pays is not None:
        lines.append(f"Success, slope of synergy × redundancy: {_bits(seen.pays)} ({seen.pays.n} groups)")
    if seen.powers:
        lines += ["", *power_lines(seen)]
    return "\n".join(lines).rstrip()


def power_lines(seen: Looked) -> list[str]:
    """How many rounds a coalition of known strength needs, in words."""
    r = next(iter(seen.reports.values()))
    N, groups = min(g.actions.shape[1] for g in seen.read.groups), min(len(x.groups) for x in seen.reports.values())
    made = [f"Rounds needed to find a coalition in 80 of 100 logs like this one ({groups} groups, {N} agents):"]
    for bits in dict.fromkeys(x.bits for x in seen.powers):
        T = rounds_needed(seen.powers, bits)
        most = max(x.rounds for x in seen.powers)
        made.append(f"  I3 of {bits:g} bit: {f'{T} rounds' if T else f'more than {most} rounds'}")
    shortest = min(len(g.actions) for g in r.groups)
    return [
        *made,
        f"  here: {shortest}. Groups of planted strength against the column shuffle; with fewer rounds an absence proves nothing.",
    ]


def coordination_json(seen: Looked) -> dict[str, Any]:
    """Everything as JSON values, with the findings."""
    made: dict[str, Any] = {"source": seen.source, "how": seen.read.how, "actions": seen.read.actions, "filled": seen.read.filled}
    made["conditions"] = {
        name: {
            "verdict": r.verdict.value, "finding": finding(r), "warnings": warnings(r), "groups": len(r.groups),
            "differentiation": r.differentiation, "slopes": r.slopes, "macro_entropy": r.macro_entropy, "dropped": r.dropped,
            "scores": [
                {
                    "score": t.score, "null": t.null, "observed": t.observed.tolist(), "expected": t.expected.tolist(), "p": t.p.tolist(),
                    "corrected": asdict(t.corrected), "fisher": t.fisher, "wilcoxon": t.wilcoxon, "exact": t.exact,
                }
                for t in r.tested
            ],
        }
        for name, r in seen.reports.items()
    }  # fmt: skip
    made["compared"] = [{"score": s, "a": a, "b": b, "p": p} for s, a, b, p in seen.conditions]
    made["success"] = None if seen.pays is None else asdict(seen.pays)
    made["power"] = [asdict(x) for x in seen.powers]
    return made


def coordination_html(seen: Looked) -> str:
    """The page."""
    sections: list[Section] = []
    for name, r in seen.reports.items():
        of = f": {name}" if name else ""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEAD, *rows(r)])
        sections += [
            Section(f"What was found{of}", Markup("<p>{}</p>").format(finding(r))),
            Section(
                f"Raw, and above each null{of}", score_plot(r),
                "Bits; mean over groups, bars: 95 %. Row: who did what is shuffled. Column: each agent keeps its rhythm alone. "
                "Functional: each agent answers the feedback as it did, and never hears of the others.",
            ),
            Section(f"The first group{of}", group_plot(r.groups[0]), "Each thin line an agent; the thick one the group's signal."),
            Section(f"Every score{of}", table(HEAD, rows(r), text_columns=2) + download(text.getvalue(), "coordination.csv", "As CSV")),
        ]  # fmt: skip
    if seen.conditions:
        compared = [[score, a, b, _plain(p)] for score, a, b, p in seen.conditions]
        sections.append(Section("Conditions compared", table(("score", "condition", "against", "p"), compared, text_columns=3)))
    if seen.powers:
        sections.append(Section("How many rounds do I need?", power_plot(seen), " ".join(line.strip() for line in power_lines(seen))))
    meant = [[name, what] for name, what in SCORES.items()]
    sections.append(Section("What the scores are", table(("score", "meaning"), meant, text_columns=2)))
    verdicts = "; ".join(f"{name}: {r.verdict.value}" if name else r.verdict.value for name, r in seen.reports.items())
    lead = f"{seen.source}: {seen.read.actions} actions of {len(seen.read.groups)} groups. {seen.read.how}"
    footer = "Made by reasonry probe coordination."
    return page(verdicts[:1].upper() + verdicts[1:], lead, sections, kicker="collective or bundle", footer=footer)


def score_plot(r: Report) -> Markup:
    """Raw scores and what is left above each null."""
    figure, ax = axes(height=360)
    ax.axhline(0, color=LINE, linewidth=1)
    nulls = list(dict.fromkeys(t.null for t in r.tested))
    here = [score for score in SHOWN if _tests(r, score)]
    for i, view in enumerate(["raw", *nulls]):
        at = [x + 0.14 * (i - len(nulls) / 2) for x in range(len(here))]
        found = [r.of(score, nulls[0] if view == "raw" else view) for score in here]
        tests = [t for t in found if t is not None]
        if view == "raw":
            ax.plot(at, [float(np.mean(t.observed)) for t in tests], "o", color=MUTED, markersize=7, label="raw")
            continue
        spread = [[t.corrected.mean - t.corrected.low for t in tests], [t.corrected.high - t.corrected.mean for t in tests]]
        marker = "s^Dvp"[(i - 1) % 5]
        means = [t.corrected.mean for t in tests]
        ax.errorbar(at, means, spread, color=series(i), marker=marker, linestyle="", capsize=3, label=f"above {view}")
    ax.set_xticks(range(len(here)), here)
    ax.set_ylabel("bits", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return figure_svg(figure, "Scores raw and above each null; the table below holds the numbers")


def group_plot(group: Group) -> Markup:
    """A group's actions and signal over its rounds."""
    figure, ax = axes(height=300)
    t = np.arange(len(group.actions))
    for i in range(group.actions.shape[1]):
        ax.plot(t, group.actions[:, i], color=series(i), linewidth=1, alpha=0.7)
    ax.set_xlabel("round", color=MUTED)
    ax.set_ylabel("action" if group.states is None else "state", color=MUTED)
    other: Any = ax.twinx()
    other.plot(t, group.signal, color=INK, linewidth=2.2)
    other.set_ylabel("group's signal", color=INK)
    other.spines[["top", "left", "right"]].set_visible(False)
    other.tick_params(colors=MUTED, length=0)
    return figure_svg(figure, f"Actions of group {group.name} over its rounds, and the group's signal")


def power_plot(seen: Looked) -> Markup:
    """The chance of finding a coalition, by rounds."""
    figure, ax = axes(height=300)
    for i, bits in enumerate(dict.fromkeys(x.bits for x in seen.powers)):
        of = [x for x in seen.powers if x.bits == bits]
        ax.plot([x.rounds for x in of], [x.chance for x in of], color=series(i), marker="o", linewidth=2, label=f"I3 of {bits:g} bit")
    ax.set_xscale("log")
    ax.set_xticks([x.rounds for x in seen.powers[:5]], [str(x.rounds) for x in seen.powers[:5]])
    ax.set_xlabel("rounds", color=MUTED)
    ax.set_ylabel("found with p < 0.05", color=MUTED)
    ax.set_ylim(0, 1.03)
    ax.legend(frameon=False, labelcolor=INK)
    return figure_svg(figure, "Chance of finding a coalition by rounds and strength")


def _span(numbers: set[int]) -> str:
    return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _bits(e: Estimate) -> str:
    return f"{e.mean:+.3f} ({e.low:+.3f} to {e.high:+.3f})"


def _plain(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def _p(p: float) -> str:
    return f"p {'< 0.0001' if p < 1e-4 else f'= {p:.4f}'}"


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells
    ]
