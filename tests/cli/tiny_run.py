"""A checkpoint folder of thirty thousand weights, a file of questions and a reward, for runs of `reasonry train` that take seconds.

As a script: `tiny_run.py DIRECTORY KILLS SEED` runs the command there, killed as often as asked at random instants, each time resumed. Each
try is a forked child, so the libraries are loaded once; a kill is `SIGKILL`. Prints how many kills struck, and how far
the run was when each try began.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

import reasonry.cli.training  # noqa: F401  # the children need it, and are forked
from reasonry import cli
from reasonry.lm.checkpoint import save_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.load import POCKET
from reasonry.lm.tokenizer import Tokenizer

REWARD = """
def early(prompts, completions, **columns):
    return [sum(c < "h" for c in text) / max(len(text), 1) for text in completions]
"""


def prepare(folder: Path) -> list[str]:
    """Writes the model, the questions and the reward; the arguments of a run with two stages, validation and an evaluation."""
    tokenizer = Tokenizer.load(POCKET / "pocket-1m")
    decoder = Decoder(DecoderConfig(tokenizer.vocab_size, 32, 2, 4, 2, 8, 64, max_position=128, qk_norm=True))
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    save_decoder(decoder, folder / "tiny", tokenizer=tokenizer)
    rows = [{"question": f"what is {a}+{b}?", "answer": str(a + b)} for a in range(10) for b in range(10)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "reward.py").write_text(REWARD)
    return [
        "train", "--model", str(folder / "tiny"), "--task", f"{folder}/sums.jsonl", "--objective", "dapo", "--steps", "6", "--lr", "1e-3",
        "--validation", "3", "--evaluate", "4", "--set", "max_tokens=8", "--set", "prompts=3", "--set", "group=4", "--set", "updates=2",
        "--set", "save_every=2", "--set", f'functions=["{folder}/reward.py:early"]', "--set", "weights={early=1.0}",
    ]  # fmt: skip


def command(arguments: list[str]) -> int:
    """Runs the command in this process; its exit code."""
    sys.argv = ["reasonry", *arguments]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    raise AssertionError("main returns by SystemExit alone")


def main() -> None:
    """See the module."""
    folder, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    arguments, out = prepare(folder), folder / "run"
    struck, began = 0, list[int]()
    while True:
        resumed = (out / "recipe.toml").exists()
        began.append(progress(out))
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(command(["train", "--out", str(out), "--resume"] if resumed else [*arguments, "--out", str(out)]))
        ended, status = 0, 0
        if struck < kills:
            wanted = began[-1] + rng.randint(0, 3)
            while not ended and progress(out) < wanted:
                time.sleep(0.002)
                ended, status = os.waitpid(child, os.WNOHANG)
            time.sleep(rng.random() * 0.05)
            if not ended:
                os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(status if ended else os.waitpid(child, 0)[1])
        if code or struck == kills:
            if code != -signal.SIGKILL:
                print(struck, *began)
                sys.exit(code)
            struck += 1


def progress(out: Path) -> int:
    """How far a run is: attempts evaluated, steps taken, a model saved."""
    logs = (out / "evaluation" / "attempts.jsonl", out / "steps.jsonl")
    return sum(log.read_bytes().count(b"\n") for log in logs if log.exists()) + (out / "model").exists()


if __name__ == "__main__":
    main()
