"""The page: self-contained, safe for what a model writes, and its numbers are the CSV's."""

import csv
import io
import re
from dataclasses import dataclass, replace
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from scripted import ScriptedLM, Sums, Votes

from reasonry.core import Budget, Problem, Stop, Trajectory, open_run
from reasonry.evaluate import compare, evaluate
from reasonry.evaluate import html as page_module
from reasonry.evaluate.html import report_html, write_report
from reasonry.evaluate.page import INK, Section, axes, figure_svg, page, series, table

VOID = {"meta", "input", "br", "path", "use", "rect"}


class Checked(HTMLParser):
    """Fails on a tag that closes another; collects addresses and ids."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "action", "srcset"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src", "xlink:href"):
                self.addresses.append(value)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def checked(text: str) -> Checked:
    parser = Checked()
    parser.feed(text)
    assert parser.open == []
    return parser


@pytest.fixture
async def made(tmp_path):
    lm, task = ScriptedLM(), Sums()
    problems = task.problems("test", 30)
    run = open_run(tmp_path / "run", {"model": "scripted", "task": "sums"}, False)
    solvers = [Votes(lm, task), Votes(lm, task, n=3, name="votes")]
    report = await compare(solvers, task, problems, [Budget(completion_tokens=b) for b in (16, 80)], run)
    return report, run, problems


async def test_the_page_is_well_formed_and_asks_the_network_for_nothing(made):
    report, run, problems = made
    text = write_report(report, run, problems, "reasonry compare").read_text()
    found = checked(text)
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert len(found.ids) == len(set(found.ids))
    assert not re.search(r"@import|url\((?!#|\"#)|<link|<script src|<img|<iframe", text)
    assert re.findall(r"https?://[^\"'<\s]+", re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)) == []


async def test_the_table_and_the_download_hold_the_numbers_of_the_csv(made):
    report, run, problems = made
    path = write_report(report, run, problems)
    text = path.read_text()
    stored = (run.path / "report.csv").read_text()
    [link] = re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)"', text)
    assert unquote(link) == stored == report.csv()
    shown = unescape(re.sub(r"<[^>]+>", " ", text.split("The numbers")[1].split("</table>")[0]))
    for row in csv.DictReader(io.StringIO(stored)):
        assert f"{100 * float(row['accuracy']):.1f}" in shown
        assert f"{float(row['mean_tokens']):.1f}" in shown


async def test_every_attempt_can_be_opened_and_says_how_it_went(made):
    report, run, problems = made
    text = report_html(report, run, problems)
    assert text.count('<details class="problem"') == 30
    assert text.count('<details class="attempt"') == 30 * 4
    assert text.count('data-how="pass"') == sum(round(a.accuracy.mean * 30) for a in report.arms if a.accuracy)
    assert text.count('<div class="call"><p>1 · answer') == 30 * 4


async def test_what_a_model_writes_cannot_break_the_page(tmp_path):
    @dataclass(frozen=True)
    class Evil:
        name: str = '<script>alert("solver")</script>'

        async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
            return Trajectory(problem.id).finish(Stop.EOS, '</pre><script>alert("answer")</script> #### <b>1</b>')

    problems = [replace(Sums().problems("test", 1)[0], prompt='</summary><img src=x onerror="alert(1)">')]
    run = open_run(tmp_path, {"model": "</dl><script>"}, False)
    text = report_html(await evaluate(Evil(), Sums(), problems, Budget(), run), run, problems, "<b>command</b>")
    checked(text)
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "<b>command" not in text


async def test_only_the_first_problems_are_embedded_and_the_page_says_so(made, monkeypatch):
    report, run, problems = made
    monkeypatch.setattr(page_module, "MOST_PROBLEMS", 7)
    text = report_html(report, run, problems)
    assert text.count('<details class="problem"') == 7
    assert "The first 7 of 30 problems are here" in text
    monkeypatch.setattr(page_module, "MOST_CHARACTERS", 12_000)
    assert text.count('<details class="problem"') > report_html(report, run, problems).count('<details class="problem"') > 0


async def test_a_run_without_any_score_still_has_a_page(tmp_path):
    @dataclass(frozen=True)
    class Down:
        name: str = "down"

        async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
            raise ConnectionError("nobody answers")

    problems = Sums().problems("test", 2)
    run = open_run(tmp_path, {}, False)
    text = report_html(await evaluate(Down(), Sums(), problems, Budget(), run), run, problems)
    checked(text)
    assert "No attempt could be scored" in text
    assert "ConnectionError: nobody answers" in text


def test_figures_carry_the_page_s_colours_and_no_fixed_size():
    figure, ax = axes(300, 200)
    ax.plot([1, 2], [3, 4], color=series(1))
    ax.text(1, 3, "label", color=INK)
    svg = figure_svg(figure, 'a "plot"')
    assert "var(--s2)" in svg
    assert "var(--ink)" in svg
    assert "#5e0002" not in svg
    assert 'aria-label="a &#34;plot&#34;"' in svg
    assert not re.search(r"<svg[^>]* (width|height)=", svg)
    assert ">label</text>" in svg
    assert svg == figure_svg(figure, 'a "plot"')


def test_the_shell_serves_other_pages_too():
    body = table(["name", "n"], [["<x>", "1"]])
    text = page("Title", "Lead & more", [Section("Part", body, "a note")], kicker="paper")
    checked(text)
    assert "&lt;x&gt;" in text
    assert "Lead &amp; more" in text
