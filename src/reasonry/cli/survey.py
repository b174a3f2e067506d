"""What `reasonry papers rl-survey` shows: every objective of the catalogue, and the survey's map with the part that holds each leaf."""

from __future__ import annotations

import textwrap
from typing import Any

SLUG = "rl-survey"
"""The paper whose page has the catalogue."""


def as_data() -> dict[str, Any]:
    """The catalogue and the map as plain values, for `--json`."""
    from dataclasses import asdict

    from reasonry.train.catalogue import CATALOGUE
    from reasonry.train.entry import row
    from reasonry.train.export import export_trl, export_verl
    from reasonry.train.taxonomy import TAXONOMY
    from reasonry.train.words import in_words

    objectives = [
        {
            "slug": e.slug, "title": e.title, "arxiv": list(e.arxiv), "known": e.known.value, "says": e.says, "differs": list(e.differs),
            "in_words": in_words(e), "in_code": row(e), "parts": [asdict(p) for p in e.parts], "missing": list(e.missing),
            "trl": asdict(export_trl(e)), "verl": asdict(export_verl(e)),
        }
        for e in CATALOGUE.values()
    ]  # fmt: skip
    return {"objectives": objectives, "map": [asdict(leaf) for leaf in TAXONOMY]}


def as_text() -> str:
    """The same for people."""
    from reasonry.train.catalogue import CATALOGUE
    from reasonry.train.export import export_trl, export_verl
    from reasonry.train.taxonomy import TAXONOMY, State
    from reasonry.train.words import in_words, source

    lines = [f"{len(CATALOGUE)} objectives. Train with one: reasonry train --objective NAME", ""]
    for e in CATALOGUE.values():
        lines += [f"{e.slug}: {e.title}, {source(e)}"]
        lines += _cells({**in_words(e), "parts": "; ".join(f"{p.what}: {p.where}" for p in e.parts if p.where)})
        lines += _cells({"not built yet": "; ".join(e.missing)})
        for library, export in (("TRL", export_trl(e)), ("verl", export_verl(e))):
            lines += _cells({library: ", ".join(f"{k}={v}" for k, v in export.args.items()), "  notes": "; ".join(export.notes)})
        lines.append("")
    lines.append("The survey's map")
    for section in dict.fromkeys(leaf.section for leaf in TAXONOMY):
        lines += ["", section]
        for leaf in (leaf for leaf in TAXONOMY if leaf.section == section):
            where = leaf.where if leaf.state is State.PART else f"{leaf.state.value}: {leaf.where}"
            lines += _cells({leaf.leaf: where}, width=66)
    return "\n".join(lines) + "\n"


def _cells(cells: dict[str, str], width: int = 15) -> list[str]:
    """Names on the left, values beside them; empty values are left out."""
    lines: list[str] = []
    for name, value in cells.items():
        if value:
            lines += textwrap.wrap(f"  {name:{width}}{value}", 140, subsequent_indent=" " * (width + 2), break_long_words=False)
    return lines
