"""Agents designed by a person or a model, read from a file: TUMIX-Evolve's pool (arXiv 2510.01279), without its generation step.

    [agents.Skeptic]
    instruction = "Try to refute the first answer that comes to mind."
    tools = ["code", "search"]
    source = "com"

Have any model write such entries; then `probe.groups.search_groups` over first answers of all agents says which group to take.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from reasonry.core import UserError
from reasonry.solve.tumix_marks import Kind


@dataclass(frozen=True, slots=True)
class Design:
    """One agent of a file."""

    instruction: str
    tools: tuple[Kind, ...] = ()
    source: str = "com"
    """Where it searches, if it does: the first place, the second, or both."""


def read_designs(path: Path) -> dict[str, Design]:
    """Name -> design, in the file's order. Raises UserError for a file that holds something else."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"designs: cannot read {path} ({error.strerror}); name a TOML file of agents") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"designs: {path} is not TOML ({error}); mend it") from None
    try:
        designs = msgspec.convert(found.get("agents"), dict[str, Design])
    except msgspec.ValidationError as error:
        raise UserError(f"designs: {path} does not describe agents ({error}); write [agents.NAME] with instruction and tools") from None
    if bad := next((name for name, d in designs.items() if d.source not in ("gs", "llm", "com") or "," in name), None):
        raise UserError(f"designs: {bad!r} in {path} has a comma in its name or a source other than gs, llm, com; mend it")
    return designs
