"""Tools as plain functions: text in, text out. What goes wrong comes back as text that begins with `error: `, for the model to read."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LIMIT = 10**15
"""No intermediate value of the calculator may exceed this."""
_OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call, with the JSON schema that describes it to the model."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments."""
    run: Callable[..., str]

    def __call__(self, arguments: Mapping[str, Any]) -> str:
        """Runs the tool on arguments a model wrote. Never raises for them."""
        try:
            return self.run(**arguments)
        except TypeError:
            wanted = ", ".join(self.parameters["properties"])
            return f"error: {self.name} takes {wanted}"


def calculator(expression: str) -> str:
    """The value of an expression of numbers, parentheses and + - * / // % **; `error: ...` for anything else."""
    if not isinstance(expression, str) or len(expression) > 200:
        return "error: the expression must be a text of at most 200 characters"
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except ZeroDivisionError:
        return "error: division by zero"
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return f"error: {error}" if type(error) is ValueError else "error: cannot read the expression"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _value(node: ast.AST) -> int | float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand) * (-1 if isinstance(node.op, ast.USub) else 1)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and abs(right) > 64:
            raise ValueError("the exponent is too large")
        value = _OPERATIONS[type(node.op)](left, right)
    else:
        raise ValueError("only numbers, parentheses and + - * / // % ** are allowed")
    if isinstance(value, complex) or not abs(value) <= LIMIT:
        raise ValueError("the number is too large")
    return value


def lookup_in(facts: Mapping[str, str]) -> Callable[[str], str]:
    """A look-up function over a table of facts."""

    def lookup(key: str) -> str:
        """The entry under a key; `error: ...` where there is none."""
        return facts.get(key, "error: no such entry")

    return lookup


def _schema(**properties: str) -> dict[str, Any]:
    described = {name: {"type": "string", "description": text} for name, text in properties.items()}
    return {"type": "object", "properties": described, "required": list(properties)}


CALCULATOR = Tool("calculator", "Computes an expression.", _schema(expression="for example 37*48"), calculator)


def lookup_tool(facts: Mapping[str, str]) -> Tool:
    """The look-up tool over a table of facts."""
    return Tool("lookup", "Looks an entry up.", _schema(key="for example price of tea"), lookup_in(facts))
