"""Tools as plain functions: text in, text out, and the JSON schema that describes one to a model.

Invariant: what goes wrong with a model's call comes back as text that begins with `error: `, for the model to read; nothing is raised.
"""

from __future__ import annotations

import ast
import inspect
import json
import operator
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_type_hints

from reasonry.core import Message, Problem, Task, ToolCall

LIMIT = 10**15
"""No value of the calculator, on the way or at the end, may exceed this."""
_OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_NO_TOOL = "error: no tool "
TIMED_OUT = "error: timed out"
"""What the result of a call that took too long begins with."""
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call. Made by `tool`; read by whoever writes the prompt, called by whoever runs the calls."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments."""
    run: Callable[..., str]
    wait: Callable[..., Awaitable[str]] | None = None
    """The same for callers that do other things meanwhile; for a tool that takes long."""

    @property
    def schema(self) -> dict[str, Any]:
        """The description in the form chat APIs take."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def __call__(self, arguments: Mapping[str, Any]) -> str:
        """Runs the tool on arguments a model wrote; arguments of other names or types give `error: ...`."""
        return self._misfit(arguments) or self.run(**arguments)

    async def awaited(self, arguments: Mapping[str, Any]) -> str:
        """The same by `wait`, where the tool has it."""
        return self._misfit(arguments) or (await self.wait(**arguments) if self.wait else self.run(**arguments))

    def _misfit(self, arguments: Mapping[str, Any]) -> str | None:
        fields = self.parameters["properties"]
        wanted = ", ".join(f"{name} ({field['type']})" for name, field in fields.items())
        named = arguments.keys() <= fields.keys() and arguments.keys() >= set(self.parameters["required"])
        if not named or not all(_fits(value, fields[name]["type"]) for name, value in arguments.items()):
            return f"error: {self.name} takes {wanted}"
        return None


ToolsOf = Callable[[Problem], Mapping[str, Tool]]
"""The tools a problem may use, by name."""


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, {"string": str, "integer": int, "number": (int, float), "boolean": bool}[kind])


def tool(function: Callable[..., str]) -> Tool:
    """A tool from a plain function: its name, the first line of its docstring, and the schema its type hints imply.

    Raises TypeError where a parameter is not hinted `str`, `int`, `float` or `bool`.
    """
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters
    for name in parameters:
        if hints.get(name) not in _TYPES:
            raise TypeError(f"tool {function.__name__}: parameter {name} must be hinted str, int, float or bool")
    schema = {
        "type": "object",
        "properties": {name: {"type": _TYPES[hints[name]]} for name in parameters},
        "required": [name for name, p in parameters.items() if p.default is p.empty],
    }
    return Tool(function.__name__, (inspect.getdoc(function) or "").split("\n")[0], schema, function)


def read_calls(text: str) -> list[ToolCall]:
    """The calls a text makes, in order: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.

    A call that is not such JSON has an empty name and is an error, whose `result` says what is wrong.
    """
    return [_read_call(body) for body in _CALL.findall(text)]


def _read_call(body: str) -> ToolCall:
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return ToolCall("", {}, "error: the call is not JSON", is_error=True)
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not isinstance(call.get("arguments"), dict):
        return ToolCall("", {}, "error: a call has a name and arguments", is_error=True)
    return ToolCall(call["name"], call["arguments"])


def run_call(call: ToolCall, tools: Mapping[str, Tool]) -> ToolCall:
    """The call with its result; an unknown tool, or one that says `error: ...` or raises, is marked as an error."""
    if call.is_error:
        return call
    found = tools.get(call.name)
    try:
        return _done(call, found(call.arguments) if found else _unknown(call, tools))
    except Exception as error:
        return _raised(call, error)


async def await_call(call: ToolCall, tools: Mapping[str, Tool]) -> ToolCall:
    """`run_call` for callers that do other things meanwhile."""
    if call.is_error:
        return call
    found = tools.get(call.name)
    try:
        return _done(call, await found.awaited(call.arguments) if found else _unknown(call, tools))
    except Exception as error:
        return _raised(call, error)


def _done(call: ToolCall, result: str) -> ToolCall:
    return ToolCall(call.name, call.arguments, result, is_error=result.startswith("error: "))


def _unknown(call: ToolCall, tools: Mapping[str, Tool]) -> str:
    return f"{_NO_TOOL}{call.name}; there are {', '.join(tools)}"


def _raised(call: ToolCall, error: Exception) -> ToolCall:
    text = TIMED_OUT if isinstance(error, TimeoutError) else " ".join(f"error: {type(error).__name__}: {error}".split())
    return _done(call, text)


class Failure(StrEnum):
    """Why a call failed."""

    UNDECODABLE = "undecodable"
    """It could not be read as a call."""
    UNKNOWN = "unknown tool"
    ERROR = "error"
    """The tool said so, or raised."""
    TIMEOUT = "time-out"


def failure(call: ToolCall) -> Failure | None:
    """The class of a call's failure; `None` for one that succeeded."""
    if not call.is_error:
        return None
    if not call.name:
        return Failure.UNDECODABLE
    result = call.result or ""
    return Failure.UNKNOWN if result.startswith(_NO_TOOL) else Failure.TIMEOUT if result.startswith(TIMED_OUT) else Failure.ERROR


def calculator(expression: str) -> str:
    """Computes an expression of numbers, parentheses and + - * / // % **.

    At most 200 characters; a whole result has no decimal point, another has up to ten digits. `error: ...` for anything else.
    """
    if len(expression) > 200:
        return "error: the expression is longer than 200 characters"
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except ZeroDivisionError:
        return "error: division by zero"
    except _RefusedError as refused:
        return f"error: {refused}"
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return "error: cannot read the expression"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


class _RefusedError(Exception):
    """The calculator will not compute this; the message says why."""


def _value(node: ast.AST) -> int | float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        value: int | float = node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand) * (-1 if isinstance(node.op, ast.USub) else 1)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and abs(right) > 64:
            raise _RefusedError("the exponent is too large")
        value = _OPERATIONS[type(node.op)](left, right)
    else:
        raise _RefusedError("only numbers, parentheses and + - * / // % ** are allowed")
    if isinstance(value, complex) or not abs(value) <= LIMIT:
        raise _RefusedError("the number is too large or not real")
    return value


def introduced(messages: tuple[Message, ...], tools: Mapping[str, Tool]) -> tuple[Message, ...]:
    """A conversation whose system message tells of the tools, and of the form of calls that `read_calls` reads."""
    known = "\n".join(json.dumps(t.schema["function"]) for t in tools.values())
    form = '<tool_call>{"name": ..., "arguments": {...}}</tool_call>'
    told = f"You may call these tools:\n{known}\nTo call one, write {form} and end your turn; its result comes next. "
    told += "When you know the answer, give it without a call."
    if messages and messages[0].role == "system":
        return (Message("system", f"{messages[0].content}\n\n{told}"), *messages[1:])
    return (Message("system", told), *messages)


def tools_for(task: Task) -> ToolsOf:
    """The tools of a task's problems: its own `tools_of`, else the calculator for every problem."""
    own: ToolsOf | None = getattr(task, "tools_of", None)
    return own or (lambda problem: {"calculator": tool(calculator)})


def lookup_in(facts: Mapping[str, str]) -> Callable[[str], str]:
    """A look-up function over a table of facts."""

    def lookup(key: str) -> str:
        """Looks up the entry under a key."""
        return facts.get(key, "error: no such entry")

    return lookup
