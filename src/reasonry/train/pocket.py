"""The pocket models, from nothing: `python -m reasonry.train.pocket pocket-1m` (and `pocket`).

Two Qwen3-style decoders small enough to ship, trained on text that `tasks.skills` generates, so that every method can be tried on a real
model on any machine. Both share one tokenizer, trained first on the same text. The result is an ordinary Hugging Face checkpoint folder
under `reasonry/lm/pocket/`, in bfloat16. Only train-split problems are used; `--card` measures the held-out ones.

A killed run goes on where its last checkpoint was (every `SAVE_EVERY` steps) and sees the data an unkilled run would have seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import click
import torch

from reasonry.core import Message, UserError
from reasonry.core.run import environment, write_whole
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.tokenizer import Tokenizer
from reasonry.tasks.skills.corpus import documents, numbered_documents
from reasonry.tasks.skills.registers import unknowable
from reasonry.train.sft import Batch, Example, batches, chat_example, fit, muon, warm_then_cosine

SHIPPED = Path(__file__).parents[1] / "lm" / "pocket"
SAVE_EVERY = 200
VOCABULARY = 1024
"""At most; the text's few hundred words need fewer."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP = (
    "<think>", "</think>", "<summary>", "</summary>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
    *(f"<think{i}>" for i in range(1, 9)), *(f"</think{i}>" for i in range(1, 9)),
)  # fmt: skip
"""Tokens a reader should see. Those the text never uses are there for methods that teach their own (parallel paths, summaries)."""
CHATML = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)


@dataclass(frozen=True)
class Plan:
    """How one pocket model is made."""

    config: DecoderConfig
    tokens: int
    """Training length in tokens, prompts and padding included."""
    batch: int
    """Tokens per step."""
    lr: float = 6e-3
    weight_decay: float = 0.05
    warmup: int = 60
    seed: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps; a batch is at most `batch` tokens, about 96 % of it in practice."""
        return round(self.tokens / (0.96 * self.batch))


def _shape(width: int, layers: int, heads: int, ffn: int) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_layers=layers, num_heads=heads, num_kv_heads=2, head_dim=32,
        intermediate_size=ffn, max_position=2048, rope_theta=10_000.0, qk_norm=True,
    )  # fmt: skip


PLANS = {
    "pocket-1m": Plan(_shape(128, 4, 4, 384), tokens=4_800_000, batch=2048),
    "pocket": Plan(_shape(192, 10, 6, 512), tokens=7_800_000, batch=3072),
}


def pocket_tokenizer(seed: int = 0, texts: int = 20_000) -> Tokenizer:
    """The tokenizer both models share, trained on the contents of `texts` documents."""
    contents = (m.content for document in islice(documents("train", seed), texts) for m in document)
    return Tokenizer.train(contents, vocab_size=VOCABULARY, special_tokens=SPECIAL, markup=MARKUP, chat_template=CHATML)


def data(tokenizer: Tokenizer, plan: Plan) -> Iterator[Batch]:
    """The training stream: a function of the plan's seed alone."""
    examples = (_example(tokenizer, skill, chat) for skill, chat in numbered_documents("train", plan.seed))
    return batches(examples, plan.batch, pool=2048, generator=torch.Generator().manual_seed(plan.seed))


def _example(tokenizer: Tokenizer, skill: str, chat: tuple[Message, ...]) -> Example:
    """A chat as a row. Where a register trace begins in its middle, what nobody could know at that point is not scored."""
    example = chat_example(tokenizer, chat)
    if skill != "registers" or not (hidden := unknowable(chat[-1].content)):
        return example
    first = example.mask.index(True)
    known = first + len(tokenizer.encode(chat[-1].content[:hidden]))
    return replace(example, mask=tuple(on and i >= known for i, on in enumerate(example.mask)))


def make(name: str, work: Path, out: Path) -> None:
    """Trains `name`, keeping checkpoints and a loss log in `work`, and writes the folder `out/name`."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    if name not in PLANS:
        raise UserError(f"pocket: {name!r} is not a pocket model; choose one of {', '.join(PLANS)}")
    plan = PLANS[name]
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = pocket_tokenizer()
    decoder = Decoder(replace(plan.config, vocab_size=tokenizer.vocab_size))
    decoder.reset_parameters(torch.Generator().manual_seed(plan.seed))
    optimizers = muon(decoder, plan.lr, plan.weight_decay)
    start, tokens, seconds = 0, 0, 0.0
    checkpoint = work / f"{name}.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        decoder.load_state_dict(state["decoder"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        start, tokens, seconds = state["step"], state["tokens"], state["seconds"]
    stream = islice(data(tokenizer, plan), start, None)
    began = time.monotonic() - seconds
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns) as bar, open(work / f"{name}.jsonl", "a") as log:
        shown = bar.add_task(name, total=plan.steps, completed=start, note="")
        smooth = None
        for p in fit(
            decoder, optimizers, stream, lambda s: plan.lr * warm_then_cosine(s, plan.warmup, plan.steps), range(start, plan.steps), tokens
        ):
            smooth = p.loss if smooth is None else 0.95 * smooth + 0.05 * p.loss
            spent = time.monotonic() - began
            rate = p.tokens / spent
            bar.update(shown, completed=p.step + 1, note=f"loss {smooth:.4f}  {rate:,.0f} tokens/s")
            if (p.step + 1) % 20 == 0:
                log.write(json.dumps({"step": p.step + 1, "loss": round(smooth, 4), "tokens": p.tokens, "seconds": round(spent, 1)}) + "\n")
                log.flush()
            if (p.step + 1) % SAVE_EVERY == 0 or p.step + 1 == plan.steps:
                state = {"decoder": decoder.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
                part = checkpoint.with_suffix(".part")
                torch.save({**state, "step": p.step + 1, "tokens": p.tokens, "seconds": spent}, part)
                part.replace(checkpoint)
                tokens, seconds = p.tokens, spent
    folder = out / name
    from reasonry.lm.checkpoint import save_decoder

    save_decoder(decoder.to(torch.bfloat16), folder, tokenizer=tokenizer)
    made = {
        "name": name, "command": f"python -m reasonry.train.pocket {name}", "parameters": sum(p.numel() for p in decoder.parameters()),
        "tokens": tokens, "seconds": round(seconds), "threads": torch.get_num_threads(), "seed": plan.seed,
        "plan": {k: v for k, v in asdict(plan).items() if k != "config"}, "environment": environment(),
    }  # fmt: skip
    write_whole(folder / "training.json", json.dumps(made, indent=2) + "\n")
    click.echo(f"wrote {folder}")


@click.command()
@click.argument("name", type=click.Choice(list(PLANS)))
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/pocket"), help="Checkpoints and the loss log.")
@click.option("--out", type=click.Path(path_type=Path), default=SHIPPED, help="Where the checkpoint folder goes.")
def main(name: str, work: Path, out: Path) -> None:
    """Train a pocket model from scratch."""
    make(name, work, out)


if __name__ == "__main__":
    main()
