"""Tools run what a model wrote: they answer with text, whatever that was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.tasks.tools import calculator, lookup_in, read_calls, run_call, tool


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("37*48", "1776"), ("12 + 30", "42"), ("2**10", "1024"), ("7/2", "3.5"), ("8/2", "4"), ("7//2", "3"), ("-7 % 3", "2"),
        ("(1+2)*3", "9"), ("1/3", "0.3333333333"), ("--2", "2"), ("2**-1", "0.5"), ("1e3", "1000"),
    ],
)  # fmt: skip
def test_the_calculator_computes(expression, value):
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "1/0", "0**-1", "2**1000", "9**64", "10**15*10", "(-8)**0.5", "1e400", "abs(3)", "x", "True+1", "'a'*3", "[1]", "1;2", "", "1+",
        "()", "__import__('os')", "1" * 300, "(" * 150, "1 if 1 else 2", "2**2**64", "\x00", "1j", "9" * 199, "2**0.5**-9999",
    ],
)  # fmt: skip
def test_the_calculator_refuses_in_words(expression):
    assert calculator(expression).startswith("error: ")


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="0123456789+-*/%(). ", max_size=40))
def test_the_calculator_raises_for_nothing(expression):
    assert isinstance(calculator(expression), str)


def test_a_tool_is_described_by_its_hints():
    def weigh(thing: str, times: int, exactly: bool = False) -> str:
        """Weighs a thing.

        More about it.
        """
        return f"{thing} {times} {exactly}"

    made = tool(weigh)
    assert made.schema == {
        "type": "function",
        "function": {
            "name": "weigh",
            "description": "Weighs a thing.",
            "parameters": {
                "type": "object",
                "properties": {"thing": {"type": "string"}, "times": {"type": "integer"}, "exactly": {"type": "boolean"}},
                "required": ["thing", "times"],
            },
        },
    }
    assert made({"thing": "tea", "times": 2}) == "tea 2 False"
    for wrong in ({}, {"thing": "tea"}, {"thing": 1, "times": 2}, {"thing": "tea", "times": True}, {"thing": "tea", "times": 1, "more": 1}):
        assert made(wrong) == "error: weigh takes thing (string), times (integer), exactly (boolean)"


def test_a_parameter_without_a_plain_hint_is_our_own_mistake():
    def bad(x) -> str:
        return x

    with pytest.raises(TypeError, match="parameter x"):
        tool(bad)


def test_look_ups():
    lookup = tool(lookup_in({"price of tea": "12"}))
    assert lookup({"key": "price of tea"}) == "12"
    assert lookup({"key": "price of gold"}).startswith("error: ")


def test_calls_are_read_and_run():
    tools = {"calculator": tool(calculator)}
    good = '<tool_call>{"name": "calculator", "arguments": {"expression": "6*7"}}</tool_call>'
    bad = '<tool_call>{"name": "calculator"}</tool_call> <tool_call>{oops</tool_call> <tool_call>{"name": "x", "arguments": {}}</tool_call>'
    done = [run_call(call, tools) for call in read_calls(f"so {good} and {bad}")]
    assert [call.result for call in done] == [
        "42",
        "error: a call has a name and arguments",
        "error: the call is not JSON",
        "error: no tool x; there are calculator",
    ]
    assert [call.is_error for call in done] == [False, True, True, True]
    assert read_calls("no call") == []


def test_a_large_power_is_refused_before_it_is_computed():
    assert calculator("9**10**14") == "error: the exponent is too large"
