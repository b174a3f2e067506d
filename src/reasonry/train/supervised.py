"""A supervised run: a file of written answers, packed batches, checkpoints, the best by the loss on examples held out.

Invariant: as in `train.loop`: a run killed at any instant and resumed ends with the weights of one that was not, bit for bit on a CPU with
one thread. The examples of an epoch and their order are functions of the seed; weights, optimiser and position are in one file that is
replaced whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch

from reasonry.core import Message, Run, UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.thoughts import controls
from reasonry.lm.tokenizer import Tokenizer
from reasonry.tasks.loaders import ANSWERS, PROMPTS, json_lines
from reasonry.train.compose import optimizer_of, schedule_of
from reasonry.train.health import Progress
from reasonry.train.loop import CHECKPOINT, STEPS
from reasonry.train.multipath import PATHS, Traces, read_traces
from reasonry.train.settings import Supervised
from reasonry.train.sft import Example, Pack, chat_example, cuts, fit, packed, packed_nll

ROLES = ("system", "user", "assistant", "tool")
Epochs = Callable[[int], Sequence[Example]]
"""What is learnt in an epoch: in each the same rows in the same order, though what is drawn of them may differ (tags of paths)."""
R = TypeVar("R")


def read_examples(path: Path, tokenizer: Tokenizer, longest: int, prompt: str | None = None, answer: str | None = None) -> list[Example]:
    """What `read_rows` gives for a file without parallel paths. Raises UserError for one that has any."""
    rows = read_rows(path, tokenizer, longest, prompt, answer)
    examples = [row for row in rows if isinstance(row, Example)]
    if len(examples) == len(rows):
        return examples
    raise UserError(f"{path}: holds rows of parallel paths, of which tags make many examples each; give rows of one answer")


def read_rows(
    path: Path, tokenizer: Tokenizer, longest: int, prompt: str | None = None, answer: str | None = None
) -> list[Example | Traces]:
    """The rows of a .jsonl file as examples of at most `longest` positions.

    A row has `messages` that end with the assistant's, or a prompt (text or messages) and an answer (text or number) column; every
    assistant message is learnt. Or it has `ids` and `mask`, which are learnt as they are. Or a prompt, `paths` and a `summary`: parallel
    thinking. Raises UserError, with file and line, for a row that cannot be used.
    """
    examples: list[Example | Traces] = []
    for where, row in json_lines(path):
        if not isinstance(row, Mapping):
            raise UserError(f"{where}: is a {type(row).__name__} but must be an object with messages, or with a prompt and an answer")
        if PATHS in row:
            asked = tokenizer.encode(tokenizer.render(_asked(row, where, prompt)))
            example = read_traces(row, where, tokenizer, controls(tokenizer), asked)
        else:
            example = _exact(row, where, tokenizer) if "ids" in row else chat_example(tokenizer, _chat(row, where, prompt, answer))
        size = example.longest if isinstance(example, Traces) else len(example.ids)
        if size > longest:
            raise UserError(f"{where}: has {size} tokens but the model's context holds {longest}; shorten or drop it")
        examples.append(example)
    if not examples:
        raise UserError(f"{path}: holds no rows; give at least one")
    return examples


def _exact(row: Mapping[str, Any], where: str, tokenizer: Tokenizer) -> Example:
    """A row of token ids with a mask of the same length: made by a model, never to be text in between."""
    ids, mask = row["ids"], row.get("mask")
    if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < tokenizer.vocab_size for i in ids):
        raise UserError(f"{where}: ids must be a list of whole numbers below {tokenizer.vocab_size}, this model's tokens; use its own ids")
    if not isinstance(mask, list) or len(mask) != len(ids) or not all(type(on) is bool for on in mask) or not any(mask):
        raise UserError(f"{where}: mask must say true or false for each of the {len(ids)} ids, and true for one at least")
    if mask[0]:
        raise UserError(f"{where}: mask begins with true, but nothing comes before a first token that could predict it; make it false")
    return Example(tuple(ids), tuple(mask))


def _asked(row: Mapping[str, Any], where: str, prompt: str | None) -> tuple[Message, ...]:
    asked_in = prompt or next((c for c in PROMPTS if c in row), None)
    if asked_in is None or asked_in not in row:
        looked = repr(prompt) if prompt else f"any of {', '.join(PROMPTS)}"
        raise UserError(f"{where}: has no column {looked}, only {', '.join(row)}; name the prompt's column with prompt")
    asked = row[asked_in]
    return (Message("user", asked),) if isinstance(asked, str) else _messages(asked, f"{where}: {asked_in}")


def _chat(row: Mapping[str, Any], where: str, prompt: str | None, answer: str | None) -> tuple[Message, ...]:
    chat = _asked(row, where, prompt)
    if chat[-1].role == "assistant":
        return chat
    said_in = answer or next((c for c in ANSWERS if c in row), None)
    said = row.get(said_in) if said_in else None
    if isinstance(said, bool) or not isinstance(said, str | int | float) or not str(said).strip():
        raise UserError(
            f"{where}: ends without an answer; end messages with the assistant's, or give an answer column (a text or a number)"
        )
    return (*chat, Message("assistant", str(said)))


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{where} is {str(value)[:60]!r} but must be a text or a list of messages")
    for m in value:
        if not isinstance(m, Mapping) or not isinstance(m.get("content"), str) or m.get("role") not in ROLES:
            raise UserError(f"{where} holds {str(m)[:60]!r} but a message has a role ({', '.join(ROLES)}) and a text as content")
    return tuple(Message(m["role"], m["content"]) for m in value)


@dataclass
class _Position:
    step: int = 0
    tokens: int = 0
    best: float | None = None
    """Least validation loss so far."""


def hold_out(examples: Sequence[R], n: int, seed: int) -> tuple[list[R], list[R]]:
    """(training, validation): `n` rows drawn by the seed are held out. Raises UserError where nothing would be left."""
    if n >= len(examples):
        raise UserError(f"validation: is {n} but the file has {len(examples)} rows; hold out fewer")
    out = set(torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))[:n].tolist())
    return [e for i, e in enumerate(examples) if i not in out], [examples[i] for i in sorted(out)]


def steps_of(s: Supervised, epochs: Epochs) -> int:
    """Steps of the run: those asked for, else what the epochs take."""
    return s.steps or sum(len(cuts([len(e.ids) for e in epochs(i)], s.batch_tokens, s.seed, i)) for i in range(s.epochs))


def packs(epochs: Epochs, s: Supervised, skip: int) -> Iterator[list[Example]]:
    """The examples of each step, epoch after epoch, without those of the first `skip` steps."""
    for i in count():
        examples = epochs(i)
        order = cuts([len(e.ids) for e in examples], s.batch_tokens, s.seed, i)
        yield from ([examples[k] for k in cut] for cut in order[skip:])
        skip = max(skip - len(order), 0)


async def supervise(decoder: Decoder, epochs: Epochs, held_out: Sequence[Example], s: Supervised, run: Run, progress: Progress) -> None:
    """Trains `decoder` in place, from the run's checkpoint where there is one; with examples held out, the best weights remain."""
    device = decoder.embed_tokens.weight.device
    steps = steps_of(s, epochs)
    optimizers, schedule = optimizer_of(s)(decoder, s.lr, s.weight_decay), schedule_of(s, steps)
    at = _resume(run, decoder, optimizers)
    stream: Iterator[Pack] = (packed(examples, device) for examples in packs(epochs, s, at.step))
    began = time.perf_counter()
    for p in fit(decoder, optimizers, stream, lambda i: s.lr * schedule(i), range(at.step, steps), at.tokens, s.clip_norm, packed_nll):
        now = time.perf_counter()
        record: dict[str, Any] = {
            "step": p.step, "loss": p.loss, "grad_norm": p.grad_norm, "lr": s.lr * schedule(p.step), "tokens": p.tokens,
            "tokens_per_second": (p.tokens - at.tokens) / (now - began), "seconds": now - began,
        }  # fmt: skip
        at.step, at.tokens = p.step + 1, p.tokens
        at_checkpoint = at.step % s.save_every == 0 or at.step == steps
        if at_checkpoint and held_out:
            record["validation_loss"] = validation_loss(decoder, held_out, s.batch_tokens)
        run.append(STEPS, record)
        if at_checkpoint:
            if held_out and (at.best is None or record["validation_loss"] < at.best):
                at.best = record["validation_loss"]
                _save(run.path / "best.pt", {"decoder": decoder.state_dict(), "step": at.step})
            _save(
                run.path / CHECKPOINT,
                {"decoder": decoder.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "at": asdict(at)},
            )
        progress(record)
        await asyncio.sleep(0)  # where Ctrl-C is heard
        began = time.perf_counter()
    if held_out:
        decoder.load_state_dict(torch.load(run.path / "best.pt", weights_only=True, map_location=device)["decoder"])


@torch.no_grad()
def validation_loss(decoder: Decoder, examples: Sequence[Example], tokens: int) -> float:
    """Mean negative log-likelihood of the examples' predicted tokens, in nats."""
    device, total, n = decoder.embed_tokens.weight.device, 0.0, 0
    for cut in cuts([len(e.ids) for e in examples], tokens, 0, 0):
        losses = packed_nll(decoder, packed([examples[i] for i in cut], device))
        total, n = total + float(losses.double().sum()), n + losses.numel()
    return total / max(n, 1)


def _save(path: Path, state: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _resume(run: Run, decoder: Decoder, optimizers: Sequence[torch.optim.Optimizer]) -> _Position:
    at, path = _Position(), run.path / CHECKPOINT
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=decoder.embed_tokens.weight.device)
        decoder.load_state_dict(state["decoder"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        at = _Position(**state["at"])
    lines = [line.decode() for line in run.lines(STEPS)]
    kept = [line for line in lines if json.loads(line)["step"] < at.step]
    if len(kept) != len(lines):
        run.write(f"{STEPS}.jsonl", "".join(line + "\n" for line in kept))
    return at
