"""Generated blocks in Markdown files.

A block is `<!-- kind: argument -->`, whatever was generated, and `<!-- end -->`. Invariant: only what stands between the two marks is
ever replaced, and a mark without its end is an error, so hand-written text cannot be lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- (?P<kind>[a-z]+): (?P<argument>.+?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)

Maker = Callable[[str, str], str]
"""(argument, present body) -> new body, ending in a newline."""


def fill(text: str, makers: Mapping[str, Maker]) -> str:
    """The text with every block of a known kind made anew; blocks of other kinds stay. Raises ValueError for an unclosed mark."""
    for mark in re.finditer(r"<!-- [a-z]+: .+? -->\n", text):
        rest = text[mark.end() :]
        following = re.search(r"<!-- (end|[a-z]+: .+?) -->", rest)
        if following is None or following[1] != "end":
            raise ValueError(f"{mark[0].strip()} has no <!-- end -->")

    def one(block: re.Match[str]) -> str:
        maker = makers.get(block["kind"])
        return block[0] if maker is None else block[1] + maker(block["argument"], block["body"]) + block[5]

    return BLOCK.sub(one, text)


def fenced(text: str, language: str) -> str:
    """A fenced code block."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def table(head: list[str], rows: list[list[str]], right: set[int] | None = None) -> str:
    """A Markdown table; columns in `right` are set flush right."""
    rule = ["--:" if i in (right or set()) else "---" for i in range(len(head))]
    lines = [head, rule, *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines)
