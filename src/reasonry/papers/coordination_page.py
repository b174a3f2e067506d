"""The page of the coordination experiment: synergy raw and against each null, coalitions by arm, verdicts and combined p-values."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, LINE, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.coordination_agents import ARMS, PLAIN
from reasonry.papers.coordination_findings import CLAIMS, NULL, ROUNDS, Batch, mean, values
from reasonry.papers.evidence_page import evidence_page

VIEWS = (None, *NULL)
"""Raw, then less each null's mean."""


def report(batches: Sequence[Batch], evidence: Evidence) -> str:
    """The whole page as HTML."""
    long = ROUNDS[1]
    sections = [
        Section(
            f"Synergy of {long} rounds, raw and above each null", _bars(batches, "synergy", long),
            "The emergence capacity, bits; bars: 95 %, over seeds and groups. Raw and above the row shuffle it is persistence; the column "
            "shuffle keeps persistence.",
        ),
        Section(
            f"Coalitions of {long} rounds: I3", _bars(batches, "I3", long),
            "What three agents tell about the group's next signal, bits. Copies hear a stranger's feedback: what they share is not theirs.",
        ),
        Section(
            "The built-in case where raw synergy fails", _persistence(batches),
            "Plain agents never interact. Their synergy, and how much each null explains of it, by the length of the game.",
        ),
        Section(
            "Verdicts and combined p-values", _verdicts(batches), "Wilcoxon's signed ranks over the first seed's groups, one-sided.",
        ),
    ]  # fmt: skip
    return evidence_page("Collective or bundle?", CLAIMS, evidence, sections, "Each rule was written before the evidence was collected.")


def _bars(batches: Sequence[Batch], score: str, rounds: int) -> Markup:
    rows = [r for b in batches for r in b.rows]
    figure, ax = axes(height=430)
    ax.axhline(0, color=LINE, linewidth=1)
    for i, view in enumerate(VIEWS):
        found = [(x, e) for x, arm in enumerate(ARMS) if (e := mean(values(rows, arm, rounds, score, view)))]
        if found:
            spread = [[e.mean - e.low for _, e in found], [e.high - e.mean for _, e in found]]
            at = [x + 0.15 * (i - 1.5) for x, _ in found]
            name = "raw" if view is None else f"above {view}"
            ax.errorbar(at, [e.mean for _, e in found], spread, color=series(i), marker="os^D"[i], linestyle="", capsize=3, label=name)
    ax.set_xticks(range(len(ARMS)), [arm.replace(" ", "\n") for arm in ARMS])
    ax.set_ylabel(f"{score}, bits", color=MUTED)
    ax.legend(frameon=False, labelcolor=INK, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.14))
    return figure_svg(figure, f"{score} by arm, raw and above each null; the table below holds the numbers")


def _persistence(batches: Sequence[Batch]) -> Markup:
    rows = [r for b in batches for r in b.rows]
    lines: list[list[str]] = []
    for rounds in ROUNDS:
        shown = [mean(values(rows, PLAIN, rounds, "synergy", view)) for view in VIEWS]
        lines.append([f"{rounds} rounds", *("–" if e is None else f"{e.mean:.3f}" for e in shown)])
    return table(("plain", "raw", *(f"above {null}" for null in NULL)), lines)


def _verdicts(batches: Sequence[Batch]) -> Markup:
    lines: list[list[str]] = []
    for arm in ARMS:
        for rounds in ROUNDS:
            of = [b for b in batches if b.rows and (b.rows[0].arm, b.rows[0].rounds) == (arm, rounds)]
            if of:
                said = ", ".join(dict.fromkeys(b.verdict for b in of))
                p = [_p(of[0].wilcoxon.get(null, {}).get(score)) for null in ("column", "functional") for score in ("synergy", "I3")]
                lines.append([arm, str(rounds), said, *p])
    head = ("arm", "rounds", "verdict", "synergy, column", "I3, column", "synergy, functional", "I3, functional")
    return table(head, lines, text_columns=3)


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"
