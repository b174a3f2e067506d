"""The tool loop: results reach the model, what was sampled is never re-tokenised, every way of ending is named."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from reasonry.core import Budget, Completion, Cost, Ids, Message, Problem, Prompt, Sampling, Stop, UserError
from reasonry.lm.tokenizer import Tokenizer
from reasonry.solve.build import build_solver
from reasonry.solve.tool_loop import ToolLoop, after_turn
from reasonry.tasks import load_task
from reasonry.tasks.tools import Tool, calculator, tool
from reasonry.train.pocket import CHATML, MARKUP, SPECIAL

CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "37*48"}}</tool_call>'
PROBLEM = Problem("p", (Message("system", "tools"), Message("user", "what is 37*48?")), "1776")
TOOLS = {"calculator": tool(calculator)}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([CALL, "what is 37*48? tools ####"], vocab_size=420, special_tokens=SPECIAL, markup=MARKUP, chat_template=CHATML)


@dataclass
class ScriptedTurns:
    """Says the given turns one after another, spelled in single bytes so that re-tokenising would show; records what it was asked."""

    tokenizer: Tokenizer
    turns: list[str]
    asked: list[Ids] = field(default_factory=list)
    name: str = "scripted"

    async def encode(self, prompt: Prompt) -> Ids:
        assert not isinstance(prompt, str)
        return self.tokenizer.encode(self.tokenizer.render([m for m in prompt if isinstance(m, Message)]))

    async def decode(self, ids: Ids) -> str:
        return self.tokenizer.decode(ids)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        context = tuple(i for i in prompt if isinstance(i, int))
        text = self.turns[len(self.asked)]
        self.asked.append(context)
        letters = tuple(i for c in text for i in self.tokenizer.encode(c))
        ids = (*letters, min(self.tokenizer.eos_ids))[: sampling.max_tokens]
        stop = Stop.EOS if len(ids) > len(letters) else Stop.LENGTH
        cost = Cost(prompt_tokens=len(context), completion_tokens=len(ids), calls=1)
        return Completion(self.tokenizer.decode(ids), stop, cost, context, ids, (0.0,) * len(ids))


async def test_a_result_reaches_the_next_turn_after_the_very_tokens_sampled(tokenizer: Tokenizer) -> None:
    """The second context is the first, the sampled ids as they were, and the template's rendering of the result."""
    lm = ScriptedTurns(tokenizer, [CALL, "#### 1776"])
    trace = await ToolLoop(lm, lambda _: TOOLS)(PROBLEM, Budget(), seed=0)
    assert (trace.answer, trace.stop, [s.role for s in trace.segments]) == ("#### 1776", Stop.EOS, ["act", "answer"])
    first, second = trace.segments
    assert first.context is not None
    assert first.ids is not None
    assert lm.asked[1][: len(first.context) + len(first.ids)] == first.context + first.ids
    rest = tokenizer.decode(lm.asked[1][len(first.context) + len(first.ids) :], skip_special=False)
    assert rest == "<|im_start|>tool\n1776<|im_end|><|im_start|>assistant\n"
    assert first.tool is not None
    assert first.tool.result == "1776"
    assert trace.cost.calls == 2
    assert second.parent == 0


async def test_a_broken_call_comes_back_as_an_error_to_read(tokenizer: Tokenizer) -> None:
    """What a model got wrong is told to the model, marked as an error, and the attempt goes on."""
    wrong = CALL.replace("calculator", "oracle")
    trace = await ToolLoop(ScriptedTurns(tokenizer, [wrong, "#### 0"]), lambda _: TOOLS)(PROBLEM, Budget(), seed=0)
    asked = trace.segments[0].tool
    assert asked is not None
    assert asked.is_error
    assert "no tool oracle" in (asked.result or "")
    assert trace.stop is Stop.EOS


async def test_every_way_of_ending_is_named(tokenizer: Tokenizer) -> None:
    """Turns run out, a turn is cut short, the budget is spent: three different stops."""
    turns = await ToolLoop(ScriptedTurns(tokenizer, [CALL] * 3), lambda _: TOOLS, max_turns=2)(PROBLEM, Budget(), 0)
    assert (turns.stop, len(turns.segments)) == (Stop.MAX_CHUNKS, 2)
    cut = await ToolLoop(ScriptedTurns(tokenizer, [CALL]), lambda _: TOOLS, sampling=Sampling(max_tokens=4))(PROBLEM, Budget(), 0)
    assert cut.stop is Stop.LENGTH
    spent = await ToolLoop(ScriptedTurns(tokenizer, [CALL]), lambda _: TOOLS)(PROBLEM, Budget(completion_tokens=5), 0)
    assert (spent.stop, spent.spent, spent.cost.completion_tokens) == (Stop.BUDGET, "completion_tokens", 5)


async def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    """Where the next turn's rendering does not extend this one's, keeping tokens would be a lie."""
    forgetful = "{% for m in messages[-1:] %}{{ m.content }}{% endfor %}"
    tokenizer = Tokenizer.train([json.dumps("tools")], vocab_size=400, special_tokens=SPECIAL, markup=MARKUP, chat_template=forgetful)
    with pytest.raises(UserError, match="rewrites earlier turns"):
        await after_turn(ScriptedTurns(tokenizer, []), PROBLEM.messages, (Message("tool", "x"),))


async def test_named_tools_are_told_of_and_run(tokenizer: Tokenizer) -> None:
    """`tools=` puts a tool's description before the question; without it a task's words stand alone."""
    task = load_task("arithmetic")
    lm = ScriptedTurns(tokenizer, [CALL, "#### 1776"])
    trace = await build_solver("tool-loop?tools=calculator", lm, task)(PROBLEM, Budget(), 0)  # type: ignore[arg-type]
    assert trace.segments[0].tool is not None
    assert trace.segments[0].tool.result == "1776"
    first = tokenizer.decode(lm.asked[0], skip_special=False)
    assert '{"name": "calculator", "description": "Computes an expression' in first
    assert first.index("tools\n\nYou may call") < first.index("what is 37*48?")
    plain = ScriptedTurns(tokenizer, ["#### 1"])
    await build_solver("tool-loop", plain, task)(PROBLEM, Budget(), 0)  # type: ignore[arg-type]
    assert "You may call" not in tokenizer.decode(plain.asked[0], skip_special=False)


async def test_a_slow_tool_holds_up_no_other_attempt(tokenizer: Tokenizer) -> None:
    """While one attempt's tool works, another attempt begins and ends."""
    free = asyncio.Event()

    async def work(expression: str) -> str:
        await free.wait()
        return "1776"

    slow = Tool("calculator", "", TOOLS["calculator"].parameters, lambda expression: "not awaited", work)
    waiting = asyncio.create_task(
        ToolLoop(ScriptedTurns(tokenizer, [CALL, "#### 1776"]), lambda _: {"calculator": slow})(PROBLEM, Budget(), 0)
    )
    await ToolLoop(ScriptedTurns(tokenizer, [CALL, "#### 2"]), lambda _: TOOLS)(PROBLEM, Budget(), 0)
    assert not waiting.done()
    free.set()
    done = (await waiting).segments[0].tool
    assert done is not None
    assert done.result == "1776"
