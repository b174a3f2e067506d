"""A hook of the documentation site: links to source files, which work where the repository is read, are plain file names on the site."""

from __future__ import annotations

import re
from typing import Any

SOURCE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(src/[^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs calls it with each page's text."""
    return SOURCE.sub(r"`\2`", markdown)
