"""What `reasonry train` does with a recipe that names a `patch`: distils AHN's cells for a model, saves them, says what they are worth.

Invariants: whatever a user may have got wrong is looked at first; OUT/adapter holds the cells alone; a killed run goes on with --resume,
bit for bit on a CPU with one thread; the sequences it is measured on are not trained on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F

from reasonry.accel.ahn import Adapter, Window, adapt, save_adapter
from reasonry.accel.ahn.distil import LOSSES, Sequences, distil, optimizer_of, pieces, streams
from reasonry.accel.ahn.memory import Edit, as_they_are
from reasonry.accel.ahn.settings import PatchSettings
from reasonry.cli.training import examples_of, local_folder
from reasonry.core import Ids, Run, UserError, open_run
from reasonry.evaluate.patch_page import Worth, patch_page, said
from reasonry.lm.decoder import Decoder
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.tasks.loaders import json_lines
from reasonry.train.multipath import Traces
from reasonry.train.settings import Supervised

STEPS, CHECKPOINT, ADAPTER = "steps", "checkpoint.pt", "adapter"


def run_patch(s: PatchSettings, config: Mapping[str, Any], recipe: str, out: Path, resume: bool, command: str) -> None:
    """The whole of it: distils, saves, measures, writes `report.html`, says what came out."""
    local_folder(s.model)
    lm = load_lm(s.model)
    assert isinstance(lm, LocalLM)
    if s.tokens > lm.decoder.config.max_position:
        raise UserError(f"tokens: is {s.tokens}, but the model's context holds {lm.decoder.config.max_position}; use fewer")
    adapter = adapt(lm.decoder, s.cell, s.seed, s.full, s.routed)
    held, trained = cut(list(texts(s, lm)), s, lm.engine.device)
    run = open_run(out, config, resume)
    if not (out / "recipe.toml").exists():
        run.write("recipe.toml", recipe)
        run.write("command.txt", command + "\n")
    learnt = sum(p.numel() for p in adapter.parameters())
    whole = sum(p.numel() for p in lm.decoder.parameters())
    click.echo(f"{learnt:,} numbers for the {whole:,} of {s.model}; {len(trained)} sequences of {s.tokens} tokens, in {out}", err=True)
    learn(lm.decoder, adapter, trained, s, run)
    save_adapter(adapter, out / ADAPTER)
    worth = [measured(lm.decoder, adapter, held, total, s) for total in s.windows.fitting(s.tokens)]
    records = [json.loads(line) for line in run.lines(STEPS)]
    first = (out / "command.txt").read_text().rstrip()
    report = run.write("report.html", patch_page(s.model, s.loss, records, worth, recipe, first))
    for each in worth:
        click.echo(said(each))
    middle = worth[len(worth) // 2]
    click.echo(f"\nCells:  {out / ADAPTER}\nReport: {report}")
    click.echo(f"Try it: --solver 'ahn?adapter={out / ADAPTER}&window={middle.total - middle.sinks}&sinks={middle.sinks}'")


def texts(s: PatchSettings, lm: LocalLM) -> Iterator[Ids]:
    """The data as token ids."""
    rows = [row for _, row in json_lines(Path(s.data))] if s.data.endswith(".jsonl") else []
    if rows and all(isinstance(row, Mapping) and isinstance(row.get("text"), str) for row in rows):
        yield from (lm.tokenizer.encode(row["text"], special=True) for row in rows)
    else:
        for example in examples_of(Supervised(model=s.model, data=s.data, examples=s.examples, seed=s.seed), lm):
            if isinstance(example, Traces):
                raise UserError(f"data: {s.data} has a row with paths, which is no plain text to distil on; leave such rows out")
            yield example.ids


def cut(found: Sequence[Ids], s: PatchSettings, device: torch.device) -> tuple[Sequences, list[Sequences]]:
    """Sequences held out, as one batch, and those to learn from. Raises UserError where there are too few."""
    mixed = random.Random(s.seed).sample(found, len(found))
    whole = list(pieces(mixed, s.tokens, 1))
    if len(whole) < s.validation + s.rows:
        raise UserError(
            f"data: {s.data} gives {len(whole)} sequences of {s.tokens} tokens, but {s.validation} are held out and a step takes "
            f"{s.rows}; give more, or lower tokens or validation"
        )
    whole = [Sequences(b.ids.to(device), b.labelled.to(device)) for b in whole]
    return together(whole[: s.validation]), whole[s.validation :]


def together(parts: Iterable[Sequences]) -> Sequences:
    """Sequences of one length as one batch."""
    parts = list(parts)
    return Sequences(torch.cat([b.ids for b in parts]), torch.cat([b.labelled for b in parts]))


def batches(trained: Sequence[Sequences], s: PatchSettings) -> Iterator[Sequences]:
    """`steps` batches: every sequence once, in an order drawn from the seed; then all again in another."""
    rng, waiting = random.Random(f"{s.seed}/order"), list[Sequences]()
    for _ in range(s.steps):
        while len(waiting) < s.rows:
            waiting += rng.sample(trained, len(trained))
        yield together(waiting[: s.rows])
        del waiting[: s.rows]


def learn(decoder: Decoder, adapter: Adapter, trained: Sequence[Sequences], s: PatchSettings, run: Run) -> None:
    """Distils, a record a step, from the run's checkpoint on where there is one."""
    optimizer, done = optimizer_of(adapter, s.weight_decay), 0
    if (run.path / CHECKPOINT).exists():
        kept = torch.load(run.path / CHECKPOINT, map_location=adapter.device, weights_only=True)
        adapter.load_state_dict(kept["adapter"])
        optimizer.load_state_dict(kept["optimizer"])
        done = kept["step"]
    lines = [line for line in run.lines(STEPS) if json.loads(line)["step"] <= done]
    run.write(f"{STEPS}.jsonl", "".join(line.decode() + "\n" for line in lines))
    told = batches(trained, s)
    losses = distil(decoder, adapter, told, s.lr, s.warmup, s.steps, s.windows, LOSSES[s.loss], optimizer, done, s.seed)
    for step, loss in enumerate(losses, done + 1):
        run.append(STEPS, {"step": step, "loss": loss})
        if step % s.save_every == 0 or step == s.steps:
            save_whole(run.path / CHECKPOINT, {"step": step, "adapter": adapter.state_dict(), "optimizer": optimizer.state_dict()})
            click.echo(f"step {step:,} of {s.steps:,} · loss {loss:.4g}", err=True)


def save_whole(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint beside the old one, then renames: a kill leaves one or the other."""
    part = path.with_name(path.name + ".part")
    torch.save(state, part)
    part.replace(path)


@torch.inference_mode()
def measured(decoder: Decoder, adapter: Adapter, held: Sequences, total: int, s: PatchSettings) -> Worth:
    """What the cells are worth at one size on the sequences held out, two at a time: beside the plain window and the other's memory."""
    sinks = max(n for n in s.sinks if n <= total / 2)
    window = Window(total - sinks, sinks)
    pairs = [Sequences(*both) for both in zip(held.ids.split(2), held.labelled.split(2), strict=True)]

    def apart(write: bool = True, edit: Edit = as_they_are) -> float:
        found, places = 0.0, 0
        for pair in pairs:
            teacher, student, following = streams(decoder, adapter, pair, window, write, edit)
            found += float(F.kl_div(student.float().log_softmax(-1), teacher.float().log_softmax(-1), log_target=True, reduction="sum"))
            places += len(following)
        return found / places

    return Worth(total, sinks, apart(write=False), apart(), apart(edit=lambda v: v.roll(1, 0)))
