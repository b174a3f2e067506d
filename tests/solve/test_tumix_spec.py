"""`tumix?…` as a spec: what is run only when asked for, whose tools agents get, and agents read from a file."""

from pathlib import Path

import pytest
from telling_lm import TellingLM, turns
from test_tumix import TASK, obedient

from reasonry.core import Budget, Problem, UserError
from reasonry.solve import build_solver
from reasonry.solve.exchange import Exchange
from reasonry.solve.tumix import AGENTS
from reasonry.solve.tumix_designs import Design, read_designs

PROBLEM = Problem("p", "How high is Ben Nevis?", "7")


def names(spec: str) -> list[str]:
    solver = build_solver(spec, TellingLM(obedient), TASK)
    assert isinstance(solver, Exchange)
    return [a.name for a in solver.agents]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "hills.txt").write_text("Ben Nevis is 7 high.\n\nSnowdon is 6 high.")
    return tmp_path


def test_nothing_runs_unless_it_is_named(docs: Path):
    """Without tools only the agents that need none; with code those that need it; with both all fifteen, in the table's order."""
    assert names("tumix") == ["Base", "CoT"]
    assert names("tumix?tools=python") == ["Base", "CoT", "CoT-code", "C", "C+"]
    assert names(f"tumix?docs={docs}") == ["Base", "CoT", "S"]
    assert names(f"tumix?tools=python&docs={docs}") == list(AGENTS)


async def test_all_fifteen_with_the_real_sandbox_and_a_real_index(docs: Path):
    """Code is run and files are searched; every agent's answer is read."""
    lm = TellingLM(obedient)
    trace = await build_solver(f"tumix?tools=python&docs={docs}&rounds=2", lm, TASK)(PROBLEM, Budget(), 0)
    assert TASK.judge(PROBLEM, trace.answer).passed
    results = {s.tool.name: s.tool.result for s in trace.segments if s.tool is not None}
    assert results["python"] == "7"
    assert results["search"] == "error: nothing was found; try other words"
    assert trace.cost.calls == len(lm.costs) == len(trace.segments)


async def test_code_that_does_not_end_is_an_observation():
    lm = TellingLM(turns("```python\nwhile True: pass\n```\n", "<<<7>>>"))
    trace = await build_solver("tumix?tools=python&agents=C&rounds=1&timeout=1", lm, TASK)(PROBLEM, Budget(), 0)
    assert "error: timed out" in lm.asked[1][-1].content
    assert TASK.judge(PROBLEM, trace.answer).passed


async def test_two_places_are_two_sources(docs: Path, tmp_path_factory: pytest.TempPathFactory):
    """The first is `gs`, the second `llm`, both together `com`."""
    other = tmp_path_factory.mktemp("more")
    (other / "a.md").write_text("Nevis, they say, is 5 high.")
    found: dict[str, str] = {}
    for agent in ("CS_gs", "CS_llm", "CS_com"):
        lm = TellingLM(turns("<search>nevis</search>", "<<<7>>>"))
        spec = f"tumix?tools=python&docs={docs}&more={other}&agents={agent}&rounds=1"
        trace = await build_solver(spec, lm, TASK)(PROBLEM, Budget(), 0)
        tool = trace.segments[0].tool
        found[agent] = (tool.result or "") if tool else ""
    assert found["CS_gs"] == "1. Ben Nevis is 7 high."
    assert found["CS_llm"] == "1. Nevis, they say, is 5 high."
    assert {line[3:] for line in found["CS_com"].splitlines()} == {"Ben Nevis is 7 high.", "Nevis, they say, is 5 high."}


TOML = """
[agents.Skeptic]
instruction = "Try to refute the first answer that comes to mind."

[agents.Checker]
instruction = "Compute it in two ways."
tools = ["code"]

[agents.Reader]
instruction = "Look it up."
tools = ["search"]
source = "gs"
"""


async def test_designed_agents_join_the_fifteen(tmp_path: Path):
    """They are told how to use the tools they have; those without their tools are left out, unless they are named."""
    file = tmp_path / "agents.toml"
    file.write_text(TOML)
    assert read_designs(file)["Reader"] == Design("Look it up.", ("search",), "gs")
    assert names(f"tumix?designs={file}") == ["Base", "CoT", "Skeptic"]
    assert names(f"tumix?designs={file}&tools=python")[-2:] == ["Skeptic", "Checker"]
    lm = TellingLM(turns("<<<7>>>"))
    spec = f"tumix?designs={file}&tools=python&agents=Checker,Skeptic&rounds=1"
    await build_solver(spec, lm, TASK)(PROBLEM, Budget(), 0)
    checker, skeptic = sorted((m[0].content for m in lm.asked), key=lambda c: "Compute it" not in c)
    assert "You may run Python" in checker
    assert "You may" not in skeptic
    with pytest.raises(UserError, match="tumix: Reader needs the search gs, which is not there"):
        names(f"tumix?designs={file}&agents=Reader")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[agents", "is not TOML"),
        ("x = 1", "does not describe agents"),
        ("[agents.A]\ntools = []", "does not describe agents"),
        ('[agents.A]\ninstruction = "x"\ntools = ["shell"]', "does not describe agents"),
        ('[agents."A,B"]\ninstruction = "x"', "has a comma in its name"),
        ('[agents.A]\ninstruction = "x"\nsource = "web"', "a source other than gs, llm, com"),
    ],
)
def test_a_bad_file_of_agents_is_refused(tmp_path: Path, text: str, says: str):
    file = tmp_path / "agents.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=says):
        read_designs(file)
    with pytest.raises(UserError, match="cannot read"):
        read_designs(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("agents=CoT,D", "'D' is not an agent; use some of Base, CoT"),
        ("agents=C", "C needs code, which is not there; provide it, or leave the agent out"),
        ("stop=never", "stop is 'never' but must be one of judge, fixed, rule, margin, confidence, short"),
        ("tools=bash", "tools is 'bash' but must be one of none, python"),
        ("more=x", "more is given without docs"),
        ("docs=nowhere-at-all", "nowhere-at-all is not there"),
        ("words=bytes&designs=x", "words=bytes cannot say"),
        ("rounds=0", "rounds is 0"),
        ("min_rounds=0", "min_rounds is 0 but must be at least 1"),
        ("turns=-1", "interactions is -1"),
    ],
)
def test_a_bad_option_is_one_sentence(options: str, says: str):
    with pytest.raises(UserError, match=says):
        names(f"tumix?{options}")
