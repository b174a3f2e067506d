"""The page of ParaThinker's experiment: width against length, what is read out of the paths, tunnel vision, policies, ablations, cost."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Evidence
from reasonry.evaluate.page import INK, MUTED, Section, axes, figure_svg, series, table
from reasonry.papers.evidence_page import evidence_page
from reasonry.papers.parathinker_findings import (
    AGAIN,
    ANY,
    BASE,
    BASES,
    CHAIN,
    CLAIMS,
    EMPTY,
    FIRST,
    FLAT,
    FORCED,
    HALF,
    NO_T,
    ONES,
    READS,
    RELAY,
    RIGHT,
    SAID,
    SHARED,
    STEPS,
    TOKENS,
    UNSEEN,
    VOTE,
    VOTED,
    WRONG,
    Cell,
    Plan,
    arm,
    level_of,
    para,
    prefixed,
    values,
)
from reasonry.probe.seeds import level
from reasonry.probe.stats import Estimate

LINES = ("ParaThinker", VOTE, ONES, AGAIN, BASE, BASES, CHAIN)
BYTES = (1024, 4096, 16_384)


def report(plan: Plan, cells: Sequence[Cell], evidence: Evidence) -> str:
    """The whole page as HTML."""
    four, most = plan.trained, max(plan.widths)
    sections = [
        Section(
            "The same tokens, wide or long", _tokens(plan, cells),
            "Share of test problems answered rightly against tokens sampled, all paths together; bars: 95 %. The vote and re-prefill have "
            "the very paths of ParaThinker. Chains may take as many tokens as the paths, and stop when they are done; the one taught from "
            "the same paths in a row has learned to stop after four of them.",
        ),
        Section(
            "What the summary reads", _read(plan, cells),
            "Rules over the same paths: the majority, the majority of those whose own check says “found”, and whether any is right at all, "
            "which no way of reading can exceed but by guessing.",
        ),
        Section(
            "Tunnel vision", _tunnel(plan, cells),
            f"The base chain, made to begin with characters of a path in a wrong region, or with as many that mean nothing, then "
            f"{plan.rest} tokens of its own. That chains seldom leave a region is built into what the base was taught.",
        ),
        Section("When thinking ends", _policies(cells, (four, most)), "Steps are batched steps one after another, the summary's included."),
        Section(
            "Taken away, and added", _arms(
                cells,
                [para(four), arm(NO_T, four), arm(FLAT, four), arm(SHARED, four), arm("tags 5 to 8", four), arm(UNSEEN, four),
                 arm(FORCED, four), arm(VOTED, four), para(most), arm(NO_T, most), arm(FLAT, most), arm(SHARED, most)],
            ),
            f"Models without thought embeddings and with flattened positions were taught apart, for as many steps. Examples have at most "
            f"{four} paths with tags from 1 to {plan.tags}; tags 9 to {plan.known} exist and were never trained. One tag: all paths have "
            f"tag 1, in sampling only.",
        ),
        Section(
            "The case where it fails: a relay", _arms(cells, [arm(RELAY, k) for k in (1, 4, 0)], ("one path", "four paths as long",
                                                                                                 "four paths, its tokens in all")),
            "Every step needs the one before it: each path does all the work again, or none of it to the end.",
        ),
        Section(
            "What width costs", _cost(plan, cells),
            "Counted: one decoding step at the shape of the paper's 1.5B model, prompt of 200 tokens, in times of one path's; where a "
            "step's time is that of its bytes, this is its latency. Measured: this small model here, where a step is mostly overhead.",
        ),
    ]  # fmt: skip
    return evidence_page(
        "Paths side by side",
        CLAIMS,
        evidence,
        sections,
        "The rules were written before the evidence was collected. A first run trained for 350 steps instead of "
        f"{plan.steps}; one of its seeds had not learned to read its paths, and the steps were set anew on validation problems.",
    )


def _tokens(plan: Plan, cells: Sequence[Cell]) -> Markup:
    figure, ax = axes(height=380)
    rows = []
    for i, name in enumerate(LINES):
        points = []
        for P in plan.widths:
            of = para(P) if i == 0 else arm(name, P)
            cost = para(P) if name == VOTE else of
            x, y = level_of(values(cells, cost, TOKENS)), level(values(cells, of))
            if x is not None and y is not None:
                points.append((x.mean, y))
                rows.append([of, f"{x.mean:.1f}", _said(y)])
        bars = [[y.mean - y.low for _, y in points], [y.high - y.mean for _, y in points]]
        ax.errorbar(
            [x for x, _ in points], [y.mean for _, y in points], bars, marker="o", color=series(i), linewidth=2, capsize=2,
            linestyle="--" if name in (BASE, BASES, CHAIN) else "-", label=name,
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_xticks([16, 32, 64, 128], ["16", "32", "64", "128"])
    ax.set_xlabel("tokens sampled", color=MUTED)
    ax.set_ylabel("share right", color=MUTED)
    ax.set_ylim(0, 1)
    ax.legend(frameon=False, labelcolor=INK, fontsize=11, ncols=2)
    return figure_svg(figure, "Share right against tokens sampled") + table(["arm", "tokens", "right"], rows)


def _read(plan: Plan, cells: Sequence[Cell]) -> Markup:
    head = ["paths", "ParaThinker", READS, VOTE, SAID, ANY, AGAIN]
    lines = [
        [
            str(P),
            _said(level(values(cells, para(P)))),
            _said(level(values(cells, para(P), READS))),
            *(_said(level(values(cells, arm(n, P)))) for n in (VOTE, SAID, ANY, AGAIN)),
        ]
        for P in plan.widths
    ]
    name = arm("none right", plan.trained)
    figures = [_said(level(values(cells, name, m))) for m in (RIGHT, "guess", "says what paths say")]
    closed = [_said(level_of(values(cells, "closed form", m))) for m in ("votes won", "plug-in")]
    told = Markup("<p>Where none of {} paths is right, the summary is: {}; a guess among what none tried: {}; it repeats a path: {}.</p>")
    voted = Markup("<p>Votes of four paths on one problem won: {}; by the multinomial of its answers: {}.</p>")
    return table(head, lines) + told.format(plan.trained, *figures) + voted.format(*closed)


def _tunnel(plan: Plan, cells: Sequence[Cell]) -> Markup:
    figure, ax = axes(height=300)
    for i, name in enumerate((WRONG, EMPTY)):
        found = [(n, e) for n in plan.prefixes if (e := level(values(cells, prefixed(name, n))))]
        bars = [[e.mean - e.low for _, e in found], [e.high - e.mean for _, e in found]]
        ax.errorbar([n + 0.1 * i for n, _ in found], [e.mean for _, e in found], bars, marker="o", color=series(i), capsize=2, label=name)
    ax.set_xlabel("characters it is made to begin with", color=MUTED)
    ax.set_ylabel("share right", color=MUTED)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, labelcolor=INK, fontsize=11)
    return figure_svg(figure, "Share right against the length of a forced beginning")


def _policies(cells: Sequence[Cell], widths: Sequence[int]) -> Markup:
    lines = []
    for P in widths:
        for name, of in (("last-finish", para(P)), (HALF, arm(HALF, P)), (FIRST, arm(FIRST, P))):
            lines.append([f"{name}, {P} paths", *_three(cells, of)])
    return table(["policy", "right", "tokens", "steps"], lines)


def _arms(cells: Sequence[Cell], names: Sequence[str], shown: Sequence[str] = ()) -> Markup:
    lines = [[label, *_three(cells, of)] for of, label in zip(names, shown or names, strict=True)]
    if shown:
        return table(["arm", "right", "tokens", "steps"], lines)
    for line, of in zip(lines, names, strict=True):
        line.append(_said(level_of(values(cells, of, "different beginnings"))))
    return table(["arm", "right", "tokens", "steps", "different beginnings"], lines)


def _three(cells: Sequence[Cell], of: str) -> list[str]:
    tokens, steps = (level_of(values(cells, of, m)) for m in (TOKENS, STEPS))
    return [_said(level(values(cells, of))), *("–" if e is None else f"{e.mean:.1f}" for e in (tokens, steps))]


def _cost(plan: Plan, cells: Sequence[Cell]) -> Markup:
    def counted(tokens: int, what: str, P: int) -> str:
        e = level_of(values(cells, f"counted, {tokens} tokens", f"{what}, {P} paths over one"))
        return "–" if e is None else f"{e.mean:.2f}"

    head = ["paths", *(f"bytes, {t} tokens" for t in BYTES), *(f"operations, {t} tokens" for t in BYTES), "here, ms a step"]
    lines = []
    for P in sorted({*plan.widths, 16}):
        here = level_of(values(cells, "clock", f"milliseconds a step, P = {P}"))
        figures = [counted(t, what, P) if P > 1 else "1" for what in ("bytes", "operations") for t in BYTES]
        lines.append([str(P), *figures, "–" if here is None else f"{here.mean:.2f}"])
    ratio = _said(level_of(values(cells, "clock", "chain over eight paths")))
    told = Markup("<p>A chain of as many tokens as {} paths takes {} times as long here as the paths.</p>")
    return table(head, lines) + told.format(max(plan.widths), ratio)


def _said(e: Estimate | None) -> str:
    if e is None:
        return "–"
    mean, low, high = (f"{x:.2f}" for x in (e.mean, e.low, e.high))
    return mean if low == high else f"{mean} ({low}–{high})"
