"""Attempts as the traces that verifiers and prime-rl read and write: `traces.jsonl`, an episode a line, schema version 1.

A trace is a graph of messages: a node holds the tokens it adds to those before it, and a path from a root to a sampled node is what the
model saw, then what it sampled. So segments that see the same prompt share its node, a tool loop is one path, and a chunk with a context
of its own is a branch. Per-token ids, masks and log-probabilities live in the nodes.

Invariants. Along every path, token ids are exactly those the model saw and sampled. Written and read again, an attempt is the same: what
a graph has no place for (roles, costs, stops, positions, the verdict, log-probabilities of forced tokens) stands in `info.reasonry`.

What others lose. A reader that keeps only the graph loses that part. Where an answer's prompt ends in the model's turn opened, those
tokens stand in the node before, not in the sampled one. A context that is no chat message of the problem's is shown as its decoded text,
as `user` at a root, `tool` after a call, otherwise as words put into the `assistant`'s mouth. From a trace that others wrote come segments
with ids, masks and log-probabilities, tools, token counts and one score, the sum of its rewards; advantages, timing, images,
and errors of earlier tries are left behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from reasonry.core import Cost, Ids, Problem, Segment, Stop, ToolCall, Trajectory, UserError, Verdict

VERSION = 1
"""Of the schema."""
OURS = "reasonry"
"""Our corner of a trace's `info`."""
FINISH = {Stop.LENGTH: "length", Stop.CONTEXT: "length", Stop.BUDGET: "length", Stop.EOS: "stop", Stop.STOP: "stop"}
CUT = frozenset({"max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "context_length", "compaction_failed"})
"""Stop conditions of verifiers that mean a limit was met."""
IN_NODES = ("context", "ids", "text", "logprobs")
"""Fields of a segment that its path holds."""
Decode = Callable[[Ids], str]


def unreadable(ids: Ids) -> str:
    """Stands where no tokenizer can show a context as text."""
    return ""


def to_trace(
    t: Trajectory, problem: Problem, task: str, rewards: Mapping[str, float] | None = None, decode: Decode = unreadable
) -> dict[str, Any]:
    """An attempt as a trace, ready for JSON. `rewards` are named and add up (default: the judge's score); `decode` shows contexts that
    are no message of the problem's."""
    graph, plain = _Graph(problem, decode), msgspec.to_builtins(t)
    ours: list[dict[str, Any]] = []
    for segment, record in zip(t.segments, plain.pop("segments"), strict=True):
        node = graph.add(segment)
        held = {"context": segment.context is not None, "ids": segment.ids is not None, "text": True, "logprobs": _compact(segment)}
        ours.append({"node": node, **{k: v for k, v in record.items() if not held.get(k, False)}})
    if rewards is None:
        rewards = {"score": t.verdict.score} if t.verdict is not None and t.verdict.score is not None else {}
    ok = t.stop not in (None, Stop.ERROR, Stop.CANCELLED)
    trace = {
        "version": VERSION,
        "task": _task(problem, task),
        "agent": {"config": {"model": next((s.model for s in t.segments if s.model), None)}, "name": "solver", "trainable": True},
        "nodes": graph.nodes,
        "calls": [_call(s, o["node"]) for s, o in zip(t.segments, ours, strict=True)],
        "rewards": {name: {"score": value, "weight": 1.0} for name, value in rewards.items()},
        "metrics": dict(t.verdict.signals) if t.verdict is not None else {},
        "info": {OURS: {**plain, "segments": ours}},
        "is_completed": t.stop is not None,
        "ok": ok,
        "stop_condition": None if t.stop is None else "agent_completed" if t.stop in (Stop.EOS, Stop.STOP) else str(t.stop),
        "errors": [] if t.error is None else [{"type": "Error", "message": t.error}],
    }
    return {"id": blake2b(msgspec.json.encode(trace), digest_size=16).hexdigest(), **trace}


def from_trace(trace: Mapping[str, Any]) -> Trajectory:
    """An attempt from a trace, ours or another's. Raises UserError for a schema version or a graph that cannot be read."""
    if trace.get("version", VERSION) != VERSION:
        raise UserError(f"trace {trace.get('id')}: version {trace['version']} is not read, only {VERSION}; export it with a matching one")
    try:
        ours = (trace.get("info") or {}).get(OURS)
        return _foreign(trace) if ours is None else _own(trace["nodes"], ours)
    except (KeyError, IndexError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise UserError(f"trace {trace.get('id')}: it is not a whole trace ({type(error).__name__}: {error}); export it again") from error


def write_traces(path: Path, attempts: Iterable[tuple[Problem, Trajectory]], task: str, decode: Decode = unreadable) -> None:
    """Writes `traces.jsonl`: an episode with one trace for every attempt."""
    with open(path, "wb") as file:
        for problem, t in attempts:
            trace = to_trace(t, problem, task, decode=decode)
            episode = {"id": trace["id"], "env": {"id": task}, "task": trace["task"], "ok": trace["ok"], "traces": [trace]}
            file.write(msgspec.json.encode(episode) + b"\n")


def read_traces(path: Path) -> Iterator[Trajectory]:
    """The attempts of a `traces.jsonl`, of episodes or of bare traces."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise UserError(f"{path}, line {number} is no JSON ({error}); cut the torn line off") from error
                yield from map(from_trace, record.get("traces", [record]))


class _Graph:
    """Nodes as they are added, with the token ids of the path to each."""

    def __init__(self, problem: Problem, decode: Decode) -> None:
        self.nodes: list[dict[str, Any]] = []
        self._paths: list[Ids] = []
        self._calls: dict[int, ToolCall] = {}
        """What a sampled node called."""
        self._problem, self._decode = problem, decode

    def add(self, s: Segment) -> int:
        """The node of what a segment sampled, under nodes that together are its context."""
        parent = self._under(s.context) if s.context is not None else None
        ids = s.ids or ()
        mask = [False] * len(ids) if s.logprobs is None else list(s.mask or (True,) * len(ids))
        message: dict[str, Any] = {"role": "assistant", "content": s.text}
        node = len(self.nodes)
        if s.tool is not None:
            arguments = json.dumps(dict(s.tool.arguments), ensure_ascii=False)
            message["tool_calls"] = [{"id": f"call_{node}", "name": s.tool.name, "arguments": arguments}]
            self._calls[node] = s.tool
        logprobs = [p for p, on in zip(s.logprobs or (), mask, strict=False) if on]
        return self._append(parent, message, tuple(ids), mask, logprobs, sampled=True)

    def _under(self, context: Ids) -> int | None:
        """The node whose path is `context`, made where there is none."""
        fits = [i for i, path in enumerate(self._paths) if path and path == context[: len(path)]]
        parent = max(fits, key=lambda i: len(self._paths[i]), default=None)
        new = context[len(self._paths[parent]) :] if parent is not None else context
        if not new:
            return parent
        if not self.nodes:
            messages = [{"role": m.role, "content": m.content} for m in self._problem.messages]
            for message in messages[:-1]:
                parent = self._append(parent, message, (), [], [])
            return self._append(parent, messages[-1], new, [False] * len(new), [])
        if parent is None:
            message = {"role": "user", "content": self._decode(new)}
        elif parent in self._calls:
            call = self._calls[parent]
            message = {"role": "tool", "tool_call_id": f"call_{parent}", "name": call.name, "content": call.result or self._decode(new)}
        else:
            message = {"role": "user" if self.nodes[parent]["sampled"] else "assistant", "content": self._decode(new)}
        return self._append(parent, message, new, [False] * len(new), [])

    def _append(
        self, parent: int | None, message: dict[str, Any], ids: Ids, mask: list[bool], logprobs: list[float], sampled: bool = False
    ) -> int:
        self.nodes.append(
            {"parent": parent, "message": message, "sampled": sampled, "token_ids": list(ids), "mask": mask, "logprobs": logprobs}
        )
        self._paths.append((() if parent is None else self._paths[parent]) + ids)
        return len(self.nodes) - 1


def _compact(s: Segment) -> bool:
    """Whether a node's log-probabilities are all of the segment's."""
    return s.logprobs is not None and (s.mask is None or all(s.mask))


def _task(problem: Problem, task: str) -> dict[str, Any]:
    prompt = problem.prompt if isinstance(problem.prompt, str) else [{"role": m.role, "content": m.content} for m in problem.prompt]
    answer = {} if problem.answer is None else {"answer": problem.answer}
    return {"type": task, "data": {"name": problem.id, "prompt": prompt, **answer}, "key": problem.id}


def _call(s: Segment, node: int) -> dict[str, Any]:
    cached = max(s.cost.prompt_tokens - s.cost.prefill_tokens, 0) if s.cost.prefill_tokens else 0
    usage = {
        "prompt_tokens": s.cost.prompt_tokens - cached, "completion_tokens": s.cost.completion_tokens, "cached_input_tokens": cached,
        "cost": s.cost.money or None,
    }  # fmt: skip
    finish = "tool_calls" if s.tool is not None else FINISH.get(s.stop)
    time = {"start": 0.0, "end": s.cost.seconds}
    return {"node": node, "model": s.model or None, "finish_reason": finish, "usage": usage, "time": time}


def _path(nodes: Sequence[Mapping[str, Any]], leaf: int) -> list[int]:
    path, at = [leaf], nodes[leaf].get("parent")
    while at is not None:
        if len(path) > len(nodes):
            raise ValueError("the message graph goes round in circles")
        path.append(at)
        at = nodes[at].get("parent")
    return path[::-1]


def _ids(nodes: Sequence[Mapping[str, Any]], path: Iterable[int]) -> Ids:
    return tuple(i for n in path for i in nodes[n].get("token_ids") or ())


def _own(nodes: Sequence[Mapping[str, Any]], ours: Mapping[str, Any]) -> Trajectory:
    """What `to_trace` wrote: the graph's part and ours put together."""
    segments = []
    for record in ours["segments"]:
        path = _path(nodes, record["node"])
        node = nodes[path[-1]]
        held = {"context": _ids(nodes, path[:-1]), "ids": _ids(nodes, path[-1:]), "text": node["message"]["content"]}
        segments.append({**held, "logprobs": node["logprobs"], **{k: v for k, v in record.items() if k != "node"}})
    return msgspec.convert({**ours, "segments": segments}, Trajectory)


def _foreign(trace: Mapping[str, Any]) -> Trajectory:
    """As much as a graph of others tells."""
    nodes = trace["nodes"]
    calls = {c["node"]: c for c in trace.get("calls") or () if c.get("node") is not None}
    results = {n["message"]["tool_call_id"]: n["message"] for n in nodes if n["message"]["role"] == "tool"}
    order = [i for i, n in enumerate(nodes) if n.get("sampled")]
    segments = tuple(_segment(nodes, i, calls.get(i, {}), results, order) for i in order)
    rewards = {name: r["score"] * r.get("weight", 1.0) for name, r in (trace.get("rewards") or {}).items() if r is not None}
    data, errors = trace["task"]["data"], list(trace.get("errors") or [])
    stop = Stop.ERROR if errors and not trace.get("ok") else segments[-1].stop if segments else None
    if trace.get("stop_condition") in CUT:
        stop = Stop.CONTEXT if trace["stop_condition"] == "context_length" else Stop.BUDGET
    kept = {k: trace[k] for k in ("id", "stop_condition", "metrics", "info") if trace.get(k)}
    return Trajectory(
        problem_id=str(trace["task"].get("key") or data.get("name") or data.get("idx")),
        segments=segments,
        answer=segments[-1].text if segments else "",
        stop=stop if trace.get("is_completed", True) else None,
        cost=sum((s.cost for s in segments), Cost()),
        verdict=Verdict(sum(rewards.values()), None, "the sum of the trace's rewards", signals=rewards) if rewards else None,
        error=errors[-1]["message"] if stop is Stop.ERROR else None,
        meta={"verifiers": kept},
    )


def _segment(
    nodes: Sequence[Mapping[str, Any]], i: int, call: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], order: Sequence[int]
) -> Segment:
    path, node = _path(nodes, i), nodes[i]
    message: Mapping[str, Any] = node["message"]
    own: Ids = tuple(node.get("token_ids") or ())
    on: list[bool] = list(node.get("mask") or ())
    start = on.index(True) if True in on else 0
    """Before it stands the model's turn being opened."""
    sampled, mask, given = own[start:], tuple(on[start:]), list(node.get("logprobs") or ())
    logprobs = None
    if given and len(given) == sum(mask):
        values = iter(given)
        logprobs = tuple(next(values) if m else 0.0 for m in mask)
    tool = None
    if message.get("tool_calls"):
        last = message["tool_calls"][-1]
        tool = ToolCall(last["name"], json.loads(last["arguments"]), (results.get(last["id"]) or {}).get("content"))
    usage = call.get("usage") or {}
    fresh, cached = usage.get("prompt_tokens") or 0, usage.get("cached_input_tokens") or 0
    return Segment(
        context=_ids(nodes, path[:-1]) + own[:start] if own else None,
        ids=sampled if own else None,
        text=message.get("content") or "",
        logprobs=logprobs,
        stop=Stop.LENGTH if call.get("finish_reason") == "length" else Stop.EOS,
        cost=Cost(
            prompt_tokens=fresh + cached, prefill_tokens=fresh, completion_tokens=usage.get("completion_tokens") or 0, calls=1,
            money=usage.get("cost") or 0.0,
        ),
        role="act" if tool is not None else "answer",
        parent=next((order.index(n) for n in reversed(path[:-1]) if n in order), None),
        mask=None if all(mask) else mask,
        tool=tool,
        model=call.get("model") or "",
    )  # fmt: skip
