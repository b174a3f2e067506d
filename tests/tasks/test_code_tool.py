"""The python tool answers in text whatever a program does, and tools are packed by name."""

import asyncio
import json
from pathlib import Path

import pytest

from reasonry.core import Problem, ToolCall, UserError
from reasonry.tasks import load_task
from reasonry.tasks.code_tool import SILENT, observation, python_tool
from reasonry.tasks.sandbox import Ending, Limits, Ran, Sandbox, sandbox_report
from reasonry.tasks.toolbox import toolbox
from reasonry.tasks.tools import Failure, Tool, await_call, failure, run_call, tool

needs_a_sandbox = pytest.mark.skipif(sandbox_report().form is None, reason=str(sandbox_report().refused))


@pytest.fixture(scope="module")
def python() -> Tool:
    return python_tool(Sandbox(Limits(seconds=3, output=2000)))


def called(code: object) -> ToolCall:
    return ToolCall("python", {"code": code})


@needs_a_sandbox
@pytest.mark.parametrize(
    ("code", "begins", "kind"),
    [
        ("print(sum(range(10)))", "45", None),
        ("x = 1", SILENT, None),
        ("print('seen'); 1 / 0", "error: ZeroDivisionError: division by zero\nseen\nTraceback", Failure.ERROR),
        ("x = ", "error: SyntaxError: invalid syntax", Failure.ERROR),
        ("while True: pass", "error: timed out after 3 seconds", Failure.TIMEOUT),
        ("while True: print(1)", "error: it printed too much", Failure.ERROR),
        ("import os; os._exit(3)", "error: exit status 3", Failure.ERROR),
        ("import os; os.abort()", "error: it was stopped or crashed", Failure.ERROR),
        ("open('/etc/passwd')", "error: ", Failure.ERROR),
        (5, "error: python takes code (string)", Failure.ERROR),
    ],
)
async def test_every_program_gets_an_answer(python: Tool, code: object, begins: str, kind: Failure | None):
    """The same whether the caller waits or does other things meanwhile."""
    done = await await_call(called(code), {"python": python})
    assert (done.result or "").startswith(begins), done.result
    assert failure(done) is kind
    if kind is not Failure.TIMEOUT:
        assert run_call(called(code), {"python": python}).result == done.result


@needs_a_sandbox
async def test_the_loop_goes_on_while_a_program_runs(python: Tool):
    """A call that never ends does not hold up another agent."""
    slow = asyncio.create_task(await_call(called("while True: pass"), {"python": python}))
    beats = 0
    while not slow.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert beats > 10


def test_a_long_text_keeps_its_ends():
    ran = Ran("a" * 5000 + "z", "", 0, Ending.EXIT, 0.1, 0, False)
    text = observation(ran, 1, longest=100)
    assert text == "a" * 50 + "\n[... 4901 characters left out ...]\n" + "a" * 49 + "z"


@pytest.mark.parametrize("ending", Ending)
def test_every_ending_has_a_reason(ending: Ending):
    assert observation(Ran("", "", 1, ending, 1.0, 0, False), 1).startswith("error: ")


async def test_an_awaited_tool_says_what_a_tool_says():
    """Plain tools, unknown ones, those that raise: the same words on both ways."""

    def fine(x: int) -> str:
        """Doubles."""
        return str(2 * x)

    def bad(x: int) -> str:
        """Raises."""
        raise TimeoutError if x else ValueError("no\nway")

    tools = {"fine": tool(fine), "bad": tool(bad)}
    for call in (
        ToolCall("fine", {"x": 4}), ToolCall("fine", {"y": 4}), ToolCall("none", {}), ToolCall("bad", {"x": 0}), ToolCall("bad", {"x": 1}),
        ToolCall("", {}, "error: said", is_error=True),
    ):  # fmt: skip
        assert await await_call(call, tools) == run_call(call, tools)


def test_tools_are_packed_by_name(tmp_path: Path):
    (tmp_path / "facts.jsonl").write_text(json.dumps({"text": "Tea costs twelve."}))
    task, problem = load_task("arithmetic"), Problem("p", (), "1")
    assert list(toolbox("own", task)(problem)) == ["calculator"]
    assert list(toolbox("search,calculator", task, str(tmp_path))(problem)) == ["search", "calculator"]
    assert toolbox("search", task, str(tmp_path))(problem)["search"]({"query": "tea"}) == "1. Tea costs twelve."
    for names, docs, why in (
        ("java", "", "'java' is not a tool; use own, calculator, python, search"),
        ("search", "", "search has nothing to search"),
        ("own", "here", "search is not among the tools"),
        ("search", str(tmp_path / "not"), "is not there"),
    ):
        with pytest.raises(UserError, match=why):
            toolbox(names, task, docs)


@needs_a_sandbox
def test_the_python_tool_joins_the_tasks_own():
    tools = toolbox("own,python", load_task("arithmetic"))(Problem("p", (), "1"))
    assert list(tools) == ["calculator", "python"]
    assert tools["python"]({"code": "print(1)"}) == "1"


def test_where_nothing_holds_the_box_is_not_packed(monkeypatch: pytest.MonkeyPatch):
    import sys

    from reasonry.tasks.sandbox import report

    report._trial.cache_clear()
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match="cannot protect against model-written code"):
        toolbox("python", load_task("arithmetic"))
    monkeypatch.undo()
    report._trial.cache_clear()
