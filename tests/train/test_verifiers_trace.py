"""Traces of verifiers: written and read again an attempt is the same, and what others read of it is right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from toy_lm import Digits, toy_lm

from reasonry.core import Budget, Cost, Message, Problem, Segment, Solver, Stop, ToolCall, Trajectory, UserError, Verdict
from reasonry.solve import SOLVERS, build_solver
from reasonry.train.rollout import rollout
from reasonry.train.verifiers_trace import from_trace, read_traces, to_trace, write_traces

TASK = Digits()
SPECS = {
    "single": "single?max_tokens=4", "self-consistency": "self-consistency?k=3&max_tokens=4", "best-of-n": "best-of-n?n=2&max_tokens=4",
    "delethink": "delethink?C=5&m=3&I=3&keep_head=1", "agglm": "agglm?m=2&max_tokens=4&of=single?max_tokens=3",
    "debate": "debate?agents=2&rounds=1&words=bare&max_tokens=3",
    "vgb": "vgb?until=tokens&block=2&depth=2&need=nothing", "guided": "guided?until=tokens&block=2&depth=2&need=nothing",
    "parathinker": "parathinker?P=2&B=4&max_tokens=3",
}  # fmt: skip
PROBLEM = Problem("train/7", (Message("system", "Digits."), Message("user", "7")), "7")


async def attempts(solver: Solver) -> list[tuple[Problem, Trajectory]]:
    done = [g async for g in rollout(solver, TASK, TASK.problems("train", 3), Budget(), 2, seed=1)]
    return [(g.problem, t) for g in done for t in g.trajectories]


def logged(t: Trajectory) -> Trajectory:
    """As a log gives it back: JSON has no tuples inside `meta`."""
    return msgspec.json.decode(msgspec.json.encode(t), type=Trajectory)


def spoken() -> Trajectory:
    """A tool loop of two turns, a forced token in the second, then a judge's word in a context of its own and one by an endpoint."""

    def segment(context: Any, ids: Any, text: str, **more: Any) -> Segment:
        logprobs = None if ids is None else tuple(-0.1 * i for i in ids)
        return Segment(
            context, ids, text, logprobs, Stop.EOS, Cost(prompt_tokens=9, prefill_tokens=4, completion_tokens=2, calls=1), **more
        )

    act = segment(
        (1, 2), (3, 4), "<tool_call>…</tool_call>", role="act", tool=ToolCall("calculator", {"expression": "3+4"}, "7"), model="m"
    )
    answer = segment((1, 2, 3, 4, 8, 8), (5, 6), "7", parent=0, mask=(False, True), policy_version=3, positions=tuple(range(8)))
    judge = replace(segment((11, 12), (13,), "yes", role="judge"), stop=Stop.LENGTH)
    remote = segment(None, None, "words", role="vote")
    verdict = Verdict(1.0, True, "equal", "7", {"brief": 1.0})
    return Trajectory("train/7", verdict=verdict).add(act, answer, judge, remote).finish(Stop.EOS, "7", votes=["7", "8"])


@pytest.mark.parametrize("name", SOLVERS)
async def test_every_solver_s_attempts_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    """Field by field, through the file."""
    async with toy_lm() as lm:
        done = await attempts(build_solver(SPECS.get(name, name), lm, TASK))
        write_traces(tmp_path / "traces.jsonl", done, "digits", lm.tokenizer.decode)
    assert list(read_traces(tmp_path / "traces.jsonl")) == [logged(t) for _, t in done]
    assert len(done) == 6


def test_tools_masks_judges_and_endpoints_survive_a_round_trip() -> None:
    trace = json.loads(json.dumps(to_trace(spoken(), PROBLEM, "digits")))
    assert from_trace(trace) == logged(spoken())


def branches(trace: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Paths from a root to every leaf: what each trains on, as the schema says."""
    nodes = trace["nodes"]
    inner = {n["parent"] for n in nodes}
    paths = []
    for leaf in range(len(nodes)):
        if leaf not in inner:
            path, at = [], leaf
            while at is not None:
                path.append(nodes[at])
                at = nodes[at]["parent"]
            paths.append(path[::-1])
    return paths


def test_the_graph_is_what_the_schema_asks_for() -> None:
    """Nodes come after their parents; masks are as long as ids; log-probabilities are one for each trained token; the tool loop is a single
    path of system, user, assistant, tool, assistant with exactly the tokens the model saw."""
    trace = to_trace(spoken(), PROBLEM, "digits", decode=str)
    for i, node in enumerate(trace["nodes"]):
        assert node["parent"] is None or node["parent"] < i
        assert len(node["mask"]) == len(node["token_ids"])
        assert len(node["logprobs"]) == sum(node["mask"])
        assert node["sampled"] or not any(node["mask"])
    loop, judge, remote = sorted(branches(trace), key=len, reverse=True)
    assert [n["message"]["role"] for n in loop] == ["system", "user", "assistant", "tool", "assistant"]
    assert [i for n in loop for i in n["token_ids"]] == [1, 2, 3, 4, 8, 8, 5, 6]
    assert loop[2]["message"]["tool_calls"] == [{"id": "call_2", "name": "calculator", "arguments": '{"expression": "3+4"}'}]
    assert loop[3]["message"] == {"role": "tool", "tool_call_id": "call_2", "name": "calculator", "content": "7"}
    assert [n["message"] for n in judge] == [{"role": "user", "content": "(11, 12)"}, {"role": "assistant", "content": "yes"}]
    assert [n["message"] for n in remote] == [{"role": "assistant", "content": "words"}]
    assert [c["finish_reason"] for c in trace["calls"]] == ["tool_calls", "stop", "length", "stop"]
    assert trace["calls"][0]["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "cached_input_tokens": 5, "cost": None}
    assert trace["rewards"] == {"score": {"score": 1.0, "weight": 1.0}}
    assert trace["metrics"] == {"brief": 1.0}
    assert trace["task"] == {"type": "digits", "key": "train/7", "data": {
        "name": "train/7", "prompt": [{"role": "system", "content": "Digits."}, {"role": "user", "content": "7"}], "answer": "7",
    }}  # fmt: skip


async def test_samples_of_one_prompt_share_its_node() -> None:
    async with toy_lm() as lm:
        (problem, t), *_ = await attempts(build_solver(SPECS["self-consistency"], lm, TASK))
    trace = to_trace(t, problem, "digits")
    assert [n["parent"] for n in trace["nodes"]] == [None, 0, 0, 0]
    assert len(branches(trace)) == 3


@pytest.mark.parametrize("name", SPECS)
async def test_the_graph_alone_keeps_what_training_needs(name: str) -> None:
    """Without our corner of `info`, contexts, ids, text, log-probabilities and parents' tokens are still there."""
    async with toy_lm() as lm:
        done = await attempts(build_solver(SPECS[name], lm, TASK))
    for problem, t in done:
        trace = to_trace(t, problem, "digits")
        trace["info"] = {}
        back = from_trace(trace)
        assert back.problem_id == t.problem_id
        fields = ("context", "ids", "text", "logprobs", "mask", "model")
        assert [[getattr(s, f) for f in fields] for s in back.segments] == [[getattr(s, f) for f in fields] for s in t.segments]
        assert t.verdict is not None
        assert back.verdict is not None
        assert back.verdict.score == t.verdict.score
        assert back.cost.completion_tokens == t.cost.completion_tokens


def test_traces_of_others_are_read() -> None:
    """The opened turn before the sampled tokens is context; tools find their results; limits are truncations; errors are errors."""
    call = {"id": "a", "name": "search", "arguments": '{"q": "x"}'}
    nodes: list[dict[str, Any]] = [
        {"message": {"role": "user", "content": "hi"}, "token_ids": [1, 2], "mask": [False, False]},
        {
            "parent": 0, "sampled": True, "message": {"role": "assistant", "content": None, "tool_calls": [call]},
            "token_ids": [3, 4, 5, 6], "mask": [False, True, False, True], "logprobs": [-1.0, -2.0],
        },
        {"parent": 1, "message": {"role": "tool", "tool_call_id": "a", "content": "found"}, "token_ids": [7], "mask": [False]},
        {"parent": 2, "sampled": True, "message": {"role": "assistant", "content": "done"}},
    ]  # fmt: skip
    calls = [{"node": 3, "model": "m", "finish_reason": "length", "usage": {"prompt_tokens": 2, "completion_tokens": 5, "cost": 0.5}}]
    trace: dict[str, Any] = {
        "version": 1, "id": "t", "task": {"type": "T", "data": {"idx": 4}}, "nodes": nodes, "calls": calls, "is_completed": True,
        "ok": True, "rewards": {"a": {"score": 0.5, "weight": 2.0}, "b": {"score": 0.25}, "c": None}, "stop_condition": "max_turns",
    }  # fmt: skip
    t = from_trace(trace)
    first, last = t.segments
    assert (first.context, first.ids, first.mask, first.logprobs) == ((1, 2, 3), (4, 5, 6), (True, False, True), (-1.0, 0.0, -2.0))
    assert first.tool == ToolCall("search", {"q": "x"}, "found")
    assert (last.context, last.ids, last.stop, last.parent, last.text) == (None, None, Stop.LENGTH, 0, "done")
    assert last.cost == Cost(prompt_tokens=2, prefill_tokens=2, completion_tokens=5, calls=1, money=0.5)
    assert (t.problem_id, t.stop) == ("4", Stop.BUDGET)
    assert t.verdict is not None
    assert t.verdict.score == 1.25
    failed = from_trace({**trace, "ok": False, "stop_condition": "error", "errors": [{"type": "E", "message": "no line"}]})
    assert (failed.stop, failed.error) == (Stop.ERROR, "no line")


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        ({"id": "x", "version": 9}, "version 9 is not read"),
        ({"id": "x", "nodes": [{"parent": 0, "sampled": True, "message": {"role": "assistant"}}], "task": {"data": {}}}, "in circles"),
        ({"id": "x"}, "not a whole trace"),
    ],
)
def test_what_cannot_be_read_is_named(trace: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        from_trace(trace)


def test_a_torn_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "traces.jsonl").write_text('{"traces": []}\n{"tra')
    with pytest.raises(UserError, match="line 2 is no JSON"):
        list(read_traces(tmp_path / "traces.jsonl"))
