"""The shell that every page of ours shares: one self-contained HTML file, light and dark, wide and narrow, with figures inlined.

Invariant: a page asks the network for nothing. Figures are matplotlib's SVG whose colours are variables of the page's style, so one
drawing is legible on light and on dark ground. Draw with `axes` and the colours `INK`, `MUTED`, `LINE`, `PAPER` and `series(i)`, then
call `figure_svg`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#7e0001", "#7e0002", "#7e0003", "#7e0004"
"""Colours to draw with. They stand for the page's own (text, quiet text, rules, ground) and are exchanged for them by `figure_svg`."""

SERIES = 8
"""Distinct series colours; each is readable as text on both grounds."""

_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", PAPER: "--paper"} | {f"#5e000{i + 1}": f"--s{i + 1}" for i in range(SERIES)}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    body: Markup
    note: str = ""
    """A quiet line under the heading: how to read what follows."""


def series(index: int) -> str:
    """The colour to draw series `index` with, counted from 0; after the eighth they begin again."""
    return f"#5e000{index % SERIES + 1}"


def page(title: str, lead: str | Markup, sections: Sequence[Section], kicker: str = "", footer: str | Markup = "") -> str:
    """A whole page: `kicker` a word above the title, `lead` the finding in a sentence or two, then the sections."""
    return render("page.html.j2", title=title, lead=lead, sections=sections, kicker=kicker, footer=footer)


def render(template: str, **context: Any) -> str:
    """Renders a template that lies beside this file; values are escaped unless they are `Markup`, an unknown name is an error."""
    return _ENVIRONMENT.get_template(template).render(**context)


def table(head: Sequence[str | Markup], rows: Sequence[Sequence[str | Markup]], text_columns: int = 1, caption: str = "") -> Markup:
    """A table whose first `text_columns` columns are words and the others numbers, aligned by their digits.

    A row whose first cell is empty belongs to the row above it.
    """
    return Markup(_ENVIRONMENT.from_string(_TABLE).render(head=head, rows=rows, text_columns=text_columns, caption=caption))


def download(text: str, filename: str, label: str, mime: str = "text/csv") -> Markup:
    """A link that saves `text` as a file; the text travels inside the page."""
    return Markup('<a class="download" download="{}" href="data:{};charset=utf-8,{}">{}</a>').format(filename, mime, quote(text), label)


def axes(width: int = 920, height: int = 420) -> tuple[Figure, Axes]:
    """An empty plot in the page's style, sized in CSS pixels; its font sizes are pixels too when shown at that width."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 13, "font.family": "sans-serif"}):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        ax = figure.add_subplot()
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(LINE)
    ax.grid(axis="y", color=LINE, linewidth=0.8)
    ax.tick_params(colors=MUTED, length=0, pad=6)
    ax.set_axisbelow(True)
    return figure, ax


def figure_svg(figure: Figure, label: str = "", css_class: str = "") -> Markup:
    """A matplotlib figure as inline SVG in the page's colours and typeface. `label` is read out to those who cannot see it."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "reasonry"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return Markup(svg.replace("<svg", f'<svg class="{escape(css_class)}" role="img" aria-label="{escape(label)}"', 1))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
)

_TABLE = """<div class="scroll"><table>
{% if caption %}<caption>{{ caption }}</caption>{% endif %}
<thead><tr>{% for cell in head %}
<th scope="col" class="{{ '' if loop.index0 < text_columns else 'n' }}">{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr{% if not row[0] %} class="more"{% endif %}>{% for cell in row %}
<td class="{{ '' if loop.index0 < text_columns else 'n' }}">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>"""
