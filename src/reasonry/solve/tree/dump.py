"""A tree as plain data and as text: for logs, reports (`evaluate.tree`) and eyes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reasonry.core import Trajectory
from reasonry.solve.tree.node import Node

Record = dict[str, Any]
"""A node as JSON: `parent` (an index), `label`, `depth`, `visits`, `value`, `entropy`, `terminal`, `end` (±1 where it was judged)."""


def dump(root: Node, label: Callable[[Node], str] = lambda node: str(node.payload)) -> list[Record]:
    """One record a node, JSON values only, parents before their children; `parent` is the index of the parent's record."""
    at: dict[int, int] = {}
    records: list[Record] = []
    for node in root.walk():
        at[id(node)] = len(records)
        records.append(
            {
                "parent": None if node.parent is None else at[id(node.parent)], "label": "" if node is root else label(node),
                "depth": node.depth, "visits": node.visits, "value": node.value, "entropy": node.entropy, "terminal": node.terminal,
                "end": node.memo.get("end"),
            }
        )  # fmt: skip
    return records


def of_attempt(t: Trajectory) -> list[Record]:
    """The same from an attempt whose segments are nodes (`Segment.parent`) and whose `meta` has their values, as DeepSearch's."""
    q, H, ends = (t.meta.get(name, [0.0] * len(t.segments)) for name in ("q", "entropy", "end"))
    records: list[Record] = [_record(None, "", 0, 0.0, 0.0, None)]
    for i, s in enumerate(t.segments):
        parent = 0 if s.parent is None else s.parent + 1
        records.append(_record(parent, s.text, records[parent]["depth"] + 1, q[i], H[i], ends[i]))
    for r in records[1:]:
        records[r["parent"]]["visits"] += 1
    return records


def _record(parent: int | None, label: str, depth: int, value: float, entropy: float, end: float | None) -> Record:
    return {
        "parent": parent, "label": label, "depth": depth, "visits": 0, "value": value, "entropy": entropy, "terminal": end is not None,
        "end": end,
    }  # fmt: skip


def text(records: list[Record]) -> str:
    """A dump as indented lines: label, value, visits, and how it ended."""
    children: dict[int | None, list[int]] = {}
    for i, r in enumerate(records):
        children.setdefault(r["parent"], []).append(i)
    lines: list[str] = []

    def below(i: int, lead: str) -> None:
        for k, j in enumerate(children.get(i, [])):
            r, last = records[j], k + 1 == len(children[i])
            end = "" if r["end"] is None else "  ✓" if r["end"] > 0 else "  ✗"
            lines.append(f"{lead}{'└' if last else '├'}─ {r['label']!r}  q {r['value']:+.2f}  N {r['visits']}{end}")
            below(j, lead + ("   " if last else "│  "))

    below(0, "")
    return "\n".join(lines)
