"""Traces of tool use: real ones hold what the tools said, stitched ones ignore it, and only the assistant is learnt."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from reasonry.core import Message, UserError
from reasonry.lm.tokenizer import Tokenizer
from reasonry.synth.traces import enacted, right, stitched
from reasonry.tasks.tools import calculator, tool
from reasonry.train.sft import chat_example

TOOLS = {"calculator": tool(calculator)}
PROMPT = (Message("user", "2*3+4"),)
CALL = '<tool_call>{{"name": "calculator", "arguments": {{"expression": "{}"}}}}</tool_call>'


def agent(chat: Sequence[Message]) -> str:
    """Calls with an expression that cannot be read, reads that, calls again, answers with what it read."""
    results = [m.content for m in chat if m.role == "tool"]
    if not results:
        return CALL.format("2*3+")
    return CALL.format("2*3+4") if results[-1].startswith("error: ") else f"#### {results[-1]}"


def test_a_real_trace_holds_the_failure_the_recovery_and_the_result() -> None:
    chat = enacted(PROMPT, agent, TOOLS)
    assert [m.role for m in chat] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [m.content for m in chat if m.role == "tool"] == ["error: cannot read the expression", "10"]
    assert chat[-1].content == "#### 10"
    assert right(chat, lambda text: text.endswith("10"))


def test_an_agent_that_never_ends_is_refused() -> None:
    with pytest.raises(UserError, match="has called in 3 turns"):
        enacted(PROMPT, lambda _: CALL.format("1"), TOOLS, most=3)


def test_a_stitched_traces_later_lines_ignore_the_result() -> None:
    """The result is the tool's; what follows is the text's own, wrong as it was."""
    chat = stitched(PROMPT, ["2*3=7", "7+4=11", "#### 11"], 0, CALL.format("2*3"), TOOLS)
    assert [m.content for m in chat[2:]] == ["6", "7+4=11\n#### 11"]
    with pytest.raises(UserError, match="makes no call"):
        stitched(PROMPT, ["2*3=6"], 0, "2*3", TOOLS)


def test_only_what_the_assistant_wrote_is_learnt() -> None:
    """Neither prompt nor results, failed or not, are targets; every turn and its end is."""
    template = "{% for m in messages %}{{ m.content }}{{ '<|im_end|>' if m.role == 'assistant' else '<|im_start|>' }}{% endfor %}"
    tokenizer = Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], template)
    example = chat_example(tokenizer, enacted(PROMPT, agent, TOOLS))
    learnt = tokenizer.decode([i for i, on in zip(example.ids, example.mask, strict=True) if on], skip_special=False)
    assert learnt == "<|im_end|>".join([CALL.format("2*3+"), CALL.format("2*3+4"), "#### 10", ""])


def test_the_documented_example_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (block,) = [b.partition("```")[0] for b in page.split("```python\n")[1:] if "import enacted" in b]
    exec(block, {})
    assert f"# {capsys.readouterr().out.strip()}" in block
