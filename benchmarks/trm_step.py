"""Samples per second of a training step of a Tiny Recursive Model, beside the authors' code: same weights, data, optimiser, run.

    TRM_REFERENCE=FOLDER python benchmarks/trm_step.py [--shapes paper,small] [--repeats 5] [--compiled]

FOLDER is a checkout of github.com/SamsungSAILMontreal/TinyRecursiveModels (it imports `einops` and `pydantic`); nothing of it is here.
Without it only our own rate is measured, and the line says so.

A step is what training does: slots that halted take a new puzzle, one supervision step, stablemax and halting loss, backward, AdamW on the
network, signs on the puzzle embedding, the average. In fp32 on one thread of a processor, the batch cut to what that bears; the rest of
`paper` is the configuration for 9×9 sudoku with the MLP mixer. Before anything is timed, both are given the same weights and the same
batch, and their first loss must agree to five digits. The ways alternate. One JSON line per way: medians, and `ratio`, theirs over ours in
seconds; `cpu_ratio` the same in processor seconds, which is the steadier where others use the machine too. `--compiled` adds torch.compile
of their model, as their script has it on a GPU: minutes of compiling here.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from reasonry.core.run import machine
from reasonry.worlds.grids import Puzzles
from reasonry.worlds.trm import TRM, Shape
from reasonry.worlds.trm_train import Recipe, Trainer

SHAPES = {
    "paper": (Shape(puzzles=1), 4),
    "small": (Shape(width=128, heads=4, prefix=1, puzzles=1, puzzle_width=128, T=2, n=3), 32),
}
"""The network, and the batch. Hidden sizes are multiples of 256 in both, as theirs always are."""
LR, DECAY, BETAS, MU = 1e-4, 1.0, (0.9, 0.95), 0.999


@dataclass
class Way:
    """One implementation, ready to make steps."""

    name: str
    step: Callable[[], object]
    first_loss: float
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.step()
        self.seconds.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def batch(rows: int) -> Puzzles:
    """Random cells: time does not depend on what they say."""
    rng = Generator().manual_seed(0)
    cells, solutions = (torch.randint(1, 11, (rows, 81), generator=rng) for _ in range(2))
    return Puzzles(cells, solutions, torch.zeros(rows, dtype=torch.long))


def network(shape: Shape) -> TRM:
    torch.manual_seed(0)
    return TRM(shape)


def ours(shape: Shape, puzzles: Puzzles) -> Way:
    rows = len(puzzles)
    recipe = Recipe(steps=10**6, batch=rows, lr=LR, warmup=0, weight_decay=DECAY, betas=BETAS, mu=MU, puzzle_lr=LR, puzzle_decay=DECAY)
    first = Trainer(network(shape), lambda n, rng: puzzles, recipe).advance()
    at = Trainer(network(shape), lambda n, rng: puzzles, recipe)
    return Way("reasonry", at.advance, float(first["loss"] * rows + 0.5 * first["halt_loss"] * rows))


def theirs(folder: Path, shape: Shape, puzzles: Puzzles, compiled: bool) -> Way:
    """Their model under their loss head, with a step written as their training script's."""
    sys.path.insert(0, str(folder))
    try:
        trm, losses, sparse, ema = (
            importlib.import_module(name)
            for name in ("models.recursive_reasoning.trm", "models.losses", "models.sparse_embedding", "models.ema")
        )
    finally:
        sys.path.remove(str(folder))
    rows = len(puzzles)
    config = {
        "batch_size": rows, "seq_len": shape.cells, "puzzle_emb_ndim": shape.puzzle_width, "num_puzzle_identifiers": shape.puzzles,
        "vocab_size": shape.vocab, "H_cycles": shape.T, "L_cycles": shape.n, "H_layers": 0, "L_layers": shape.layers,
        "hidden_size": shape.width, "expansion": shape.expansion, "num_heads": shape.heads, "pos_encodings": "none",
        "halt_max_steps": shape.N_sup, "halt_exploration_prob": 0.1, "forward_dtype": "float32", "mlp_t": True,
        "puzzle_emb_len": shape.prefix, "no_ACT_continue": True,
    }  # fmt: skip

    def fresh() -> Any:
        model = trm.TinyRecursiveReasoningModel_ACTV1(config)
        model.load_state_dict(renamed(network(shape)))
        return losses.ACTLossHead(model, "stablemax_cross_entropy").train()

    data = {"inputs": puzzles.cells, "labels": puzzles.solutions, "puzzle_identifiers": puzzles.ids}
    head = fresh()
    first = head(carry=head.initial_carry(data), batch=data, return_keys=[])[1].item()
    head = fresh()
    table = head.model.inner.puzzle_emb
    optimisers = [
        sparse.CastedSparseEmbeddingSignSGD_Distributed(
            [table.weights, table.local_weights, table.local_ids], world_size=1, lr=LR, weight_decay=DECAY
        ),
        torch.optim.AdamW(head.parameters(), lr=LR, betas=BETAS, weight_decay=DECAY),
    ]
    average = ema.EMAHelper(MU)
    average.register(head)
    carry: list[Any] = [head.initial_carry(data)]
    run = torch.compile(head) if compiled else head

    def step() -> None:
        carry[0], loss, *_ = run(carry=carry[0], batch=data, return_keys=[])
        (loss / rows).backward()
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        average.update(head)

    return Way("authors' code" + ", compiled" * compiled, step, first)


def renamed(model: TRM) -> dict[str, Tensor]:
    """Our weights under their names."""
    mine = model.state_dict()
    names = {
        "inner.embed_tokens.embedding_weight": mine["embed"], "inner.lm_head.weight": mine["head.weight"],
        "inner.q_head.weight": mine["halt.weight"], "inner.q_head.bias": mine["halt.bias"],
        "inner.H_init": mine["y0"], "inner.L_init": mine["z0"], "inner.puzzle_emb.weights": mine["puzzles"],
    }  # fmt: skip
    for i in range(model.shape.layers):
        for half, own in (("mlp_t", "mix"), ("mlp", "mlp")):
            gate, up, down = (mine[f"f.blocks.{i}.{own}.{part}.weight"] for part in ("gate", "up", "down"))
            names[f"inner.L_level.layers.{i}.{half}.gate_up_proj.weight"] = torch.cat((gate, up))
            names[f"inner.L_level.layers.{i}.{half}.down_proj.weight"] = down
    return names


def reference() -> tuple[Path | None, str]:
    """The folder of their code, or why there is none."""
    named = os.environ.get("TRM_REFERENCE", "")
    if not named:
        return None, "TRM_REFERENCE names no checkout of their code: ours alone was measured"
    if not (Path(named) / "models" / "recursive_reasoning" / "trm.py").is_file():
        return None, f"{named} (TRM_REFERENCE) holds no models/recursive_reasoning/trm.py: ours alone was measured"
    if missing := [name for name in ("einops", "pydantic") if importlib.util.find_spec(name) is None]:
        return None, f"their code needs {' and '.join(missing)}, not installed here: ours alone was measured"
    return Path(named).resolve(), ""


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step of a Tiny Recursive Model, beside the authors' implementation.")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    folder, why = reference()
    if why:
        print(why, file=sys.stderr)
    for name in a.shapes.split(","):
        shape, rows = SHAPES[name]
        puzzles = batch(rows)
        ways = [ours(shape, puzzles)]
        if folder is not None:
            ways += [theirs(folder, shape, puzzles, compiled) for compiled in (False, True)[: 1 + a.compiled]]
        for way in ways[1:]:
            if abs(way.first_loss / ways[0].first_loss - 1) > 1e-5:
                raise SystemExit(
                    f"{way.name}: the first loss is {way.first_loss} and ours {ways[0].first_loss}; they are not the same step"
                )
        for way in ways:
            way.step()  # warms up
        for _ in range(a.repeats):
            for way in ways:
                way.run()
        seconds, cpu = (statistics.median(getattr(ways[0], unit)) for unit in ("seconds", "cpu"))
        for way in ways:
            wall, spent = statistics.median(way.seconds), statistics.median(way.cpu)
            line = {
                "benchmark": "trm_step", "shape": name, "way": way.name, "batch": rows, "threads": 1,
                "samples_per_second": round(rows / wall, 3),
                "seconds": round(wall, 3), "cpu_seconds": round(spent, 3),
                "gflops": round(shape.training_flops() * rows / spent / 1e9, 1),
                "first_loss": round(way.first_loss, 4), "torch": torch.__version__, "machine": machine(),
            }  # fmt: skip
            if way is not ways[0]:
                line |= {"ratio": round(wall / seconds, 2), "cpu_ratio": round(spent / cpu, 2)}
            print(json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
