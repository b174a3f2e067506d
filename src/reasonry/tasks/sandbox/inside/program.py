"""The confined program: runs what the model wrote, in an interpreter that has already given up every right.

Invariant: everything here runs behind the barriers, so nothing here is one.
"""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

SNIPPETS, MARKS = 3, 4
"""File descriptors of a session: snippets come in on one, a mark for each that ended goes out on the other."""


def prepare(path: Sequence[str], files: Mapping[str, bytes]) -> dict[str, Any]:
    """Writes the files, makes the interpreter look fresh, and returns the namespace of a new `__main__`."""
    for name, content in files.items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as file:
            file.write(content)
    for name in [name for name in sys.modules if name.split(".")[0] == __name__.split(".")[0]]:
        del sys.modules[name]
    main = type(sys)("__main__")
    sys.modules["__main__"] = main
    sys.argv, sys.orig_argv = ["main.py"], ["python", "main.py"]
    sys.path[:] = [os.getcwd(), *sys.path, *path]
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]  # what was printed survives a kill
    return main.__dict__


class _Source:
    """Gives tracebacks the lines of a program that is in no file. Lives as long as the program."""

    def __init__(self, code: str) -> None:
        self.code = code

    def get_source(self, name: str) -> str:
        """The program's text."""
        return self.code


def _run(code: str, name: str, scope: dict[str, Any], show_last: bool) -> int:
    """Runs a text; its exit status. What it raises is printed as the interpreter prints it, without our frames."""
    scope["__loader__"] = _Source(code)
    try:
        parts = _parts(code, name) if show_last else [compile(code, name, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        _show(error, code, name, None)
        return 1
    try:
        for part in parts:
            exec(part, scope)
    except SystemExit as exit:
        if exit.code is None or isinstance(exit.code, int):
            _end((exit.code or 0) & 255)
        print(exit.code, file=sys.stderr)
        _end(1)
    except BaseException as error:
        _show(error, code, name, error.__traceback__ and error.__traceback__.tb_next)
        return 1
    return 0


def _parts(code: str, name: str) -> list[Any]:
    """A snippet compiled, its last expression apart, to be shown; its lines kept for the tracebacks of later snippets."""
    import ast
    import linecache

    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    tree = ast.parse(code, name)
    last = [tree.body.pop()] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
    return [compile(tree, name, "exec", dont_inherit=True), compile(ast.Interactive(last), name, "single", dont_inherit=True)]  # type: ignore[arg-type]


def _show(error: BaseException, code: str, name: str, frames: Any) -> None:
    try:
        import linecache
        import traceback
    except (OSError, MemoryError):  # it holds every file or byte that it may: without the lines, then
        sys.__excepthook__(type(error), error, frames)
        return
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    traceback.print_exception(type(error), error, frames)


def _end(status: int) -> NoReturn:
    """Ends the process as the interpreter does: other threads, what is registered for the end, the last of the output."""
    try:
        if threading := sys.modules.get("threading"):
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException as error:
        print(f"at the end: {type(error).__name__}: {error}", file=sys.stderr)
        status = status or 120
    finally:
        os._exit(status)


def once(code: str, scope: dict[str, Any]) -> NoReturn:
    """Runs one program and ends."""
    _end(_run(code, "main.py", scope, show_last=False))


def session(scope: dict[str, Any]) -> NoReturn:
    """Runs snippets in one namespace until none comes; the value of a last expression is shown, as in a notebook."""
    count = 0
    while length := os.read(SNIPPETS, 4):
        code, size = b"", int.from_bytes(length, "big")
        while len(code) < size:
            code += os.read(SNIPPETS, size - len(code))
        count += 1
        status = _run(code.decode(), f"snippet {count}", scope, show_last=True)
        sys.stdout.flush()
        os.write(MARKS, bytes([status]))
    _end(0)
