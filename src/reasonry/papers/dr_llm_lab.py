"""Dr.LLM's experiment, its parts: the base model, asking many items at once, searches, routers, the best static sets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from reasonry.accel.drllm.adapter import fresh_routers
from reasonry.accel.drllm.execute import Choose, execute, fixed
from reasonry.accel.drllm.learn import Features, Teaching, learn, optimizer_of
from reasonry.accel.drllm.routers import Routers, Windows, decided
from reasonry.lm.decoder import Decoder, DecoderConfig, Program
from reasonry.lm.program import Counts, counts_of, whole
from reasonry.nn.attention import causal
from reasonry.papers.dr_llm_findings import Plan
from reasonry.papers.dr_llm_task import PAD, VOCABULARY, Item, lesson
from reasonry.papers.taught import fresh
from reasonry.solve.layer_search import Found, Rules, Search, together
from reasonry.train.sft import Batch, Example, collate, fit, muon, warm_then_cosine

SHAPE = DecoderConfig(
    vocab_size=VOCABULARY, hidden_size=64, num_layers=8, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=128, max_position=64,
    qk_norm=True,
)  # fmt: skip
"""300 thousand parameters in eight blocks."""
L = SHAPE.num_layers
Strategy = Callable[[int, Rules, random.Random], Search]


def base(plan: Plan, seed: int, drop: float, file: Path) -> Decoder:
    """The model to be routed: taught chains and sorting, each block left out of a step with chance `drop`. Made once, in `file`."""
    decoder = fresh(SHAPE, seed)
    if file.exists():
        decoder.load_state_dict(torch.load(file, weights_only=True))
        return decoder.eval()
    rng, kept = random.Random(f"dr-llm/{seed}/base"), random.Random(f"dr-llm/{seed}/drop")

    def batches() -> Iterator[Batch]:
        while True:
            yield collate([written(lesson(rng)) for _ in range(plan.rows)])

    def losses(decoder: Decoder, batch: Batch) -> Tensor:
        program = tuple(layer for layer in range(L) if kept.random() >= drop)
        positions = torch.arange(batch.ids.shape[1]).expand_as(batch.ids)
        hidden = decoder(batch.ids, positions, causal(), program=program).last
        wanted = batch.mask[:, 1:]
        return F.cross_entropy(decoder.logits(hidden[:, :-1][wanted]), batch.ids[:, 1:][wanted], reduction="none")

    rate = lambda step: plan.lr * warm_then_cosine(step, 20, plan.steps)  # noqa: E731
    for p in fit(decoder, muon(decoder, plan.lr, 0.01), batches(), rate, range(plan.steps), losses=losses):
        if (p.step + 1) % 100 == 0:
            click.echo(f"seed {seed}, base with drop {drop:g}: step {p.step + 1} of {plan.steps}, loss {p.loss:.3f}", err=True)
    part = file.with_suffix(".part")
    torch.save(decoder.state_dict(), part)
    part.replace(file)
    return decoder


def written(item: Item) -> Example:
    """A question with its answer, which alone is to be predicted."""
    return Example(item.prompt + item.answer, (False,) * len(item.prompt) + (True,) * len(item.answer))


@dataclass(frozen=True)
class Asked:
    """Items answered greedily: whether each whole answer was right, and how often each block ran."""

    right: Tensor
    """[N], 0 or 1."""
    counts: Tensor
    """[N, L]."""

    @property
    def depth(self) -> float:
        """Mean blocks run."""
        return float(self.counts.sum(1).float().mean())


@torch.no_grad()
def ask(decoder: Decoder, items: Sequence[Item], choose: Choose) -> Asked:
    """One pass over questions with their answers: an answer is what greedy decoding gives exactly where each of its tokens is likeliest
    after those before. `choose` sees the prompts' states alone, by `Windows` of their lengths."""
    ids = torch.full((len(items), max(len(i.prompt) + len(i.answer) for i in items)), PAD)
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    for b, item in enumerate(items):
        n = len(item.prompt)
        ids[b, : n + len(item.answer)] = torch.tensor(item.prompt + item.answer)
        wanted[b, n : n + len(item.answer)] = True
    hidden, counts = execute(decoder, ids, choose)
    hit = decoder.logits(hidden[:, :-1]).argmax(-1) == ids[:, 1:]
    return Asked((hit | ~wanted[:, 1:]).all(dim=1).float(), counts)


def as_one(counts: Counts, n: int) -> Choose:
    """The same program for all."""
    return fixed(torch.tensor([counts] * n))


def routing(routers: Routers, items: Sequence[Item], knob: float, reads: Sequence[int] = range(L)) -> Choose:
    """Decisions by routers; that of block ℓ reads the state entering block reads[ℓ]."""
    over: list[Windows] = []
    seen: dict[int, Tensor] = {}

    def choose(layer: int, x: Tensor) -> Tensor:
        if layer == 0:
            over[:] = [Windows.of(torch.tensor([len(i.prompt) for i in items]), x.shape[1], routers.windows)]
        seen[layer] = over[0].means(x)
        return decided(routers.logits(layer, seen[reads[layer]], over[0].share), knob)

    return choose


def searched(decoder: Decoder, items: Sequence[Item], strategy: Strategy, rules: Rules, seed: int, common: bool = False) -> list[Found]:
    """A search for each item, all side by side, with the gold answer as judge; `common`: all draw the same random numbers."""

    async def evaluate(asked: Sequence[tuple[int, Program]]) -> list[float]:
        counts = torch.tensor([counts_of(program, L) for _, program in asked])
        return ask(decoder, [items[i] for i, _ in asked], fixed(counts)).right.tolist()

    return asyncio.run(together([strategy(L, rules, random.Random(f"{seed}/{'' if common else item.id}")) for item in items], evaluate))


def static_sets(decoder: Decoder, items: Sequence[Item], beam: int) -> dict[int, Counts]:
    """Depth -> the set of blocks, each once, that answers most of `items`; by a beam over skips, one more a depth."""
    best = {L: (1,) * L}
    held = [whole(L)]
    for depth in range(L - 1, 0, -1):
        shorter = sorted({p[:i] + p[i + 1 :] for p in held for i in range(len(p))})
        score = {p: float(ask(decoder, items, as_one(counts_of(p, L), len(items))).right.mean()) for p in shorter}
        held = sorted(shorter, key=lambda p: -score[p])[:beam]
        best[depth] = counts_of(held[0], L)
    return best


def at_depth(decoder: Decoder, items: Sequence[Item], sets: dict[int, Counts], depth: float) -> Tensor:
    """Chance [N] of a right answer under the static sets of the two depths around `depth`, drawn so that it is the mean."""
    low = min(int(depth), L - 1)
    share = min(depth, L) - low
    a, b = (ask(decoder, items, as_one(sets[d], len(items))).right for d in (low, low + 1))
    return (1 - share) * a + share * b


def routers_for(decoder: Decoder, found: Features, windows: int, t: Teaching, plan: Plan) -> Routers:
    """Routers trained on these features."""
    routers = fresh_routers(decoder, plan.hidden, windows, t.seed)
    for _ in learn(routers, found, t, optimizer_of(routers, t.weight_decay)):
        pass
    return routers


def knob_at(decoder: Decoder, routers: Routers, items: Sequence[Item], depth: float, reads: Sequence[int] = range(L)) -> float:
    """Where on the knob these routers run about `depth` blocks on `items`, by bisection: the higher the knob, the more run."""

    def run(knob: float) -> float:
        return ask(decoder, items, routing(routers, items, knob, reads)).depth

    low, high = -1.0, 0.5
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (low, middle) if run(middle) > depth else (middle, high)
    return min((low, high), key=lambda knob: abs(run(knob) - depth))


def moved(counts: Tensor, rng: random.Random) -> Tensor:
    """Every item's decisions, on blocks drawn at random: as many skips and repeats as it had."""
    return torch.tensor([rng.sample(row, len(row)) for row in counts.tolist()])


def labels(found: Sequence[Found]) -> list[tuple[int, Counts]]:
    """(item's number, how often each block runs) of the items that have a right program."""
    return [(i, counts_of(f.program, L)) for i, f in enumerate(found) if f.program is not None]
