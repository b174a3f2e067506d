"""The frame of every paper's page: its claims with what was measured, the experiment's own sections, every figure as a table and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from markupsafe import Markup

from reasonry.core import Claim, Evidence, Result
from reasonry.evaluate.page import Section, download, page, table

WORDS = {Result.HOLDS: "holds", Result.FAILS: "does not hold", Result.UNCLEAR: "unclear"}
HEAD = ("arm", "metric", "mean", "low", "high", "n")


def evidence_page(title: str, claims: Sequence[Claim], evidence: Evidence, sections: Sequence[Section], rules: str) -> str:
    """The whole page as HTML; `rules` says when the claims' rules were written."""
    found = {f.claim: f for f in evidence.findings}
    said = Markup("<p><strong>{}</strong>: {} <br>Here: {}.</p>")
    verdicts = Markup().join(said.format(WORDS[found[c.id].result], c.says, found[c.id].measured) for c in claims)
    figures = [[m.arm, m.metric, f"{m.mean:.4g}", f"{m.low:.4g}", f"{m.high:.4g}", str(m.n)] for m in evidence.measures]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEAD, *figures])
    as_csv = download(text.getvalue(), f"{evidence.paper}.csv", "These figures as CSV")
    lead = f"{sum(f.result is Result.HOLDS for f in evidence.findings)} of {len(evidence.findings)} claims hold with {evidence.scale}."
    footer = f"{evidence.command} · commit {evidence.commit} · {evidence.machine} · {evidence.date}"
    framed = [Section("Claims", verdicts, rules), *sections, Section("Every figure", table(HEAD, figures, text_columns=2) + as_csv)]
    return page(title, lead, framed, kicker="Paper", footer=footer)
