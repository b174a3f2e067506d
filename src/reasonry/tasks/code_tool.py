"""The `python` tool: a model's program goes in, what it printed comes back; run in the sandbox.

Invariant: whatever the program does, the answer is text, and text that begins with `error: ` where it did not end well.
"""

from __future__ import annotations

from reasonry.tasks.sandbox import Ending, Ran, Sandbox
from reasonry.tasks.tools import TIMED_OUT, Tool, tool

SILENT = "(the program printed nothing)"


def observation(ran: Ran, seconds: float, longest: int = 4000) -> str:
    """A run as a model reads it: what it printed, or `error: ` and why, with the end of the traceback.

    `seconds`: the limit, to name it. `longest`: characters; of a longer text the middle is left out.
    """
    if ran.ok:
        return _short(ran.stdout.strip(), longest) or SILENT
    why = {
        Ending.SECONDS: f"{TIMED_OUT} after {seconds:g} seconds",
        Ending.CPU_SECONDS: f"{TIMED_OUT}: it used more computing time than allowed",
        Ending.OUTPUT: "error: it printed too much",
        Ending.DISK: "error: it wrote too much to files",
        Ending.SIGNAL: "error: it was stopped or crashed",
        Ending.EXIT: f"error: exit status {ran.exit}",
    }[ran.ending]
    if ran.ending is Ending.EXIT and ran.stderr.strip():
        why = f"error: {ran.stderr.strip().splitlines()[-1]}"
    said = [part for part in (_short(ran.stdout.strip(), longest // 2), _short(ran.stderr.strip(), longest // 2)) if part]
    return "\n".join([why, *said])


def _short(text: str, longest: int) -> str:
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def python_tool(sandbox: Sandbox) -> Tool:
    """A tool named `python`; every call is a program of its own, without the variables of earlier ones."""

    def python(code: str) -> str:
        """Runs a Python program (standard library only, no network, no other processes) and returns what it prints."""
        return observation(sandbox.run_now(code), sandbox.limits.seconds)

    async def wait(code: str) -> str:
        return observation(await sandbox.run(code), sandbox.limits.seconds)

    made = tool(python)
    return Tool(made.name, made.description, made.parameters, made.run, wait)
