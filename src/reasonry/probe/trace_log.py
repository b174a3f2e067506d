"""Attempts from anyone's logs, as the strategic-gram probes read them.

Two kinds. Our run directories (`attempts.jsonl` of compare and of a training run's evaluation) hold token ids; the tokenizer is that of the
run's model, or of `--model`. A JSONL has one attempt a line:

    {"text": "work backwards …", "passed": true, "step": 40, "tokens": ["work", " back", …], "logprobs": [-0.1, …], "entropies": [0.3, …]}

`text` may be called `completion`, `response`, `answer_text` or `output`, or be the last of `messages`; `passed` may be called `correct`,
`is_correct`, `acc` or `score` (1 and up is passed); everything but the text may be absent. `tokens` joined must be the text. `logprobs` may
be OpenAI's object, which brings the tokens with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from reasonry.core import Stop, Trajectory, UserError
from reasonry.lm.load import model_folder
from reasonry.lm.spans import Span, byte_spans, token_spans
from reasonry.lm.tokenizer import Tokenizer
from reasonry.probe.gram_metrics import Trace
from reasonry.probe.log_rows import json_rows

TEXTS = ("text", "completion", "response", "answer_text", "output")
PASSED = ("passed", "correct", "is_correct", "acc", "score")
STEPS = ("step", "global_step", "training_step")


def read_traces(path: Path, model: str | None = None) -> list[Trace]:
    """The attempts of a JSONL file or of one of our run directories. `model`: whose tokenizer made a run's ids, where the run does not say.

    Raises UserError for what cannot be read.
    """
    if path.is_dir():
        return _of_run(path, model)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a JSONL with a text a line, or a run directory")
    found = [_trace(row, where) for where, row in json_rows(path, "give one with a text")]
    if not found:
        raise UserError(f"{path}: holds no line; give one object a line with a text")
    return found


def solutions(traces: Sequence[Trace]) -> tuple[list[str], str]:
    """The texts to extract grams from, and that choice in words: of the attempts that passed, or of all where none was judged, in the
    first step that the log names. Raises UserError where all failed."""
    first = min((t.step for t in traces if t.step is not None), default=None)
    early = [t for t in traces if t.step == first]
    of = f" of step {first:g}" if first is not None else ""
    if all(t.passed is None for t in early):
        return [t.text for t in early], f"{len(traces)} attempts, none judged; grams of all{of}"
    right = [t.text for t in early if t.passed]
    if not right:
        raise UserError(
            f"LOG: none of the {len(early)} attempts{of} passed, and grams are those of correct solutions; give better attempts"
        )
    return right, f"{len(traces)} attempts; grams of the {len(right)} that passed{of}"


def trace_of(t: Trajectory, tokenizer: Tokenizer | None, step: float | None = None, arm: str = "") -> Trace:
    """An attempt of ours: the texts of its model calls, one after another, with the tokens that may be trained."""
    text, spans, logps = "", list[Span](), list[float]()
    known = tokenizer is not None and all(s.ids is not None and s.logprobs is not None for s in t.segments)
    for s in t.segments:
        said, places = token_spans(tokenizer, s.ids) if known and tokenizer is not None and s.ids is not None else (s.text, [])
        spans += [(a + len(text), b + len(text)) for a, b in places]
        logps += (s.logprobs or ()) if known else ()
        text += said + "\n"
    passed = None if t.verdict is None else t.verdict.passed
    return Trace(text, passed, step, arm, tuple(spans) if known else None, tuple(logps) if known else None)


@dataclass
class _Line:
    trajectory: Trajectory
    solver: str = ""


def _of_run(path: Path, model: str | None) -> list[Trace]:
    folder = path if (path / "attempts.jsonl").is_file() else path / "evaluation"
    log = folder / "attempts.jsonl"
    if not log.is_file():
        raise UserError(
            f"{path}: holds no attempts.jsonl, nor evaluation/attempts.jsonl; name a run of compare, a training run with --evaluate, "
            "or a JSONL"
        )
    named = model or next((m for f in (folder, folder.parent) if (m := _model(f / "config.json")) is not None), None)
    tokenizer = _tokenizer(named, insist=model is not None)
    decode = msgspec.json.Decoder(_Line).decode
    with open(log, "rb") as file:
        lines = [decode(raw) for raw in file if raw.endswith(b"\n")]
    return [trace_of(line.trajectory, tokenizer, None, line.solver) for line in lines if line.trajectory.stop is not Stop.ERROR]


def _model(config: Path) -> str | None:
    found = json.loads(config.read_text()).get("model") if config.is_file() else None
    return found if isinstance(found, str) else None


def _tokenizer(model: str | None, insist: bool) -> Tokenizer | None:
    """`None` for endpoints and models that are gone, unless the caller named them."""
    if model is None or model.startswith(("http://", "https://")):
        return None
    try:
        return Tokenizer.load(model_folder(model))
    except UserError:
        if insist:
            raise
        return None


def _trace(row: Mapping[str, Any], where: str) -> Trace:
    text = next((row[name] for name in TEXTS if isinstance(row.get(name), str)), None)
    if text is None and isinstance(row.get("messages"), list) and row["messages"] and isinstance(row["messages"][-1], Mapping):
        text = row["messages"][-1].get("content")
    if not isinstance(text, str):
        raise UserError(f"{where}: has the columns {', '.join(row) or 'none'}; it needs a text ({', '.join(TEXTS)}, or messages)")
    passed = next((row[name] for name in PASSED if isinstance(row.get(name), bool | int | float)), None)
    step = next((float(row[name]) for name in STEPS if isinstance(row.get(name), int | float)), None)
    tokens, logprobs = row.get("tokens"), row.get("logprobs")
    if isinstance(logprobs, Mapping):
        content = logprobs.get("content") or []
        tokens, logprobs = [_piece(c) for c in content], [c["logprob"] for c in content]
    spans = None if tokens is None else _spans(tokens, text, where)
    values = {"logprobs": logprobs, "entropies": row.get("entropies")}
    for name, given in values.items():
        if given is not None and (spans is None or not isinstance(given, list) or len(given) != len(spans)):
            raise UserError(f"{where}: {name} must be a list with one number for each of tokens; mend it or leave it out")
    arm = row.get("arm", row.get("solver", ""))
    return Trace(
        text, None if passed is None else passed >= 1, step, str(arm), spans, None if logprobs is None else tuple(map(float, logprobs)),
        None if values["entropies"] is None else tuple(map(float, values["entropies"])),
    )  # fmt: skip


def _piece(told: Mapping[str, Any]) -> str | bytes:
    return bytes(told["bytes"]) if told.get("bytes") is not None else told["token"]


def _spans(tokens: Any, text: str, where: str) -> tuple[Span, ...]:
    if isinstance(tokens, list) and all(isinstance(t, str | bytes) for t in tokens):
        joined, spans = byte_spans([t.encode() if isinstance(t, str) else t for t in tokens])
        if joined == text:
            return tuple(spans)
    raise UserError(f"{where}: tokens joined are not the text; give each token's own text, or leave tokens out")
