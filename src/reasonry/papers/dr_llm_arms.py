"""Dr.LLM's experiment, one seed: labels by search, routers and their rivals, everything asked of the test items once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import click
import torch

from reasonry.accel.drllm.learn import Features, Teaching, features, quality
from reasonry.accel.drllm.routers import ASIS, Routers
from reasonry.lm.decoder import Decoder
from reasonry.lm.program import REPEAT
from reasonry.papers.dr_llm_findings import (
    BASE,
    CE,
    CHAIN,
    CHAINS,
    COMMON,
    DEEP,
    EDITED,
    FIRST,
    MOVED,
    ORACLE,
    OTHER,
    ROUTED,
    SHUFFLED,
    SORTS,
    STATIC,
    STATIC_AS,
    TREE,
    WEIGHTED,
    WINDOWS,
    Figure,
    Plan,
    Row,
    Used,
)
from reasonry.papers.dr_llm_lab import (
    Asked,
    L,
    as_one,
    ask,
    at_depth,
    base,
    fixed,
    knob_at,
    labels,
    moved,
    routers_for,
    routing,
    searched,
    static_sets,
)
from reasonry.papers.dr_llm_task import Item, again, items
from reasonry.solve.layer_search import Found, Rules, chain, edited, tree

WHOLE = (1,) * L
FROM_FIRST = tuple(min(layer, 1) for layer in range(L))
"""Which block's entering state each router reads where all read the first block's: the state that leaves it."""
Result = tuple[list[Row], list[Figure], list[Used]]


def one_seed(plan: Plan, seed: int, folder: Path) -> Result:
    """Everything of one seed."""
    decoder = base(plan, seed, plan.drop, folder / "base.pt")
    rules = Rules(simulations=plan.simulations, saving=plan.saving)
    train, validation = items("chain", "train", plan.searched, seed), items("chain", "validation", plan.validation, seed)
    test, sorts = items("chain", "test", plan.tested, seed), items("sort", "test", plan.sorted, seed)
    found = searched(decoder, train, tree, rules, seed)
    held = searched(decoder, validation, tree, rules, seed)
    click.echo(f"seed {seed}: searched, {sum(f.program is not None for f in found)} of {len(found)} labelled", err=True)
    made = trained(plan, seed, decoder, train, found)
    deep = searched(decoder, train, tree, replace(rules, saving=plan.deep), seed)
    common = searched(decoder, train, edited, rules, seed, common=True)
    for arm, other in ((DEEP, deep), (COMMON, common)):
        made[arm] = taught_by(plan, seed, decoder, train, other)
    figures = [*searches(plan, seed, decoder, validation, rules, held), *luck(seed, decoder, train, found)]
    for arm, one in ((ROUTED, found), (DEEP, deep), (COMMON, common)):
        figures += of_labels(seed, arm, one)
    figures += judged(plan, seed, decoder, made, validation, held)
    sets = static_sets(decoder, train, plan.beam)
    rows = tested(plan, seed, decoder, made, validation, test, sorts, sets, figures)
    best = searched(decoder, test[: plan.compared], tree, rules, seed)
    rows.append(
        Row(
            seed, ORACLE, CHAINS, {i.id: float(f.program is not None) for i, f in zip(test, best, strict=False)},
            {i.id: float(len(f.program or WHOLE)) for i, f in zip(test, best, strict=False)},
        )
    )  # fmt: skip
    routed = ask(decoder, test, routing(made[ROUTED], test, ASIS))
    used = [Used(seed, i.id, i.level, tuple(c)) for i, c in zip(test, routed.counts.tolist(), strict=True)]
    figures += sensitivity(seed, BASE, decoder, validation)
    figures += sensitivity(seed, "no drop", base(plan, seed, 0.0, folder / "no-drop.pt"), validation)
    return rows, figures, used


def trained(plan: Plan, seed: int, decoder: Decoder, train: Sequence[Item], found: Sequence[Found]) -> dict[str, Routers]:
    """Routers as proposed, and those that differ in one thing."""
    t = Teaching(epochs=plan.epochs, lr=plan.lr_router, seed=seed)
    said = labels(found)
    prompts, own = [train[i].prompt for i, _ in said], [counts for _, counts in said]
    full = features(decoder, prompts, own, plan.windows)
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed)).tolist()
    first = Features(full.means[:, list(FROM_FIRST)], full.share, full.labels)
    made = {
        ROUTED: routers_for(decoder, full, plan.windows, t, plan),
        SHUFFLED: routers_for(decoder, features(decoder, prompts, [own[i] for i in order], plan.windows), plan.windows, t, plan),
        FIRST: routers_for(decoder, first, plan.windows, t, plan),
        CE: routers_for(decoder, full, plan.windows, replace(t, gamma=0.0, beta=0.0), plan),
        WEIGHTED: routers_for(decoder, full, plan.windows, replace(t, gamma=0.0), plan),
    }
    for W, arm in WINDOWS.items():
        made[arm] = routers_for(decoder, features(decoder, prompts, own, W), W, t, plan)
    return made


def taught_by(plan: Plan, seed: int, decoder: Decoder, train: Sequence[Item], found: Sequence[Found]) -> Routers:
    """Routers as proposed, with other labels."""
    t, said = Teaching(epochs=plan.epochs, lr=plan.lr_router, seed=seed), labels(found)
    seen = features(decoder, [train[i].prompt for i, _ in said], [counts for _, counts in said], plan.windows)
    return routers_for(decoder, seen, plan.windows, t, plan)


def tested(
    plan: Plan, seed: int, decoder: Decoder, made: dict[str, Routers], validation: Sequence[Item], test: Sequence[Item],
    sorts: Sequence[Item], sets: dict[int, tuple[int, ...]], figures: list[Figure],
) -> list[Row]:  # fmt: skip
    """Every arm on the test items; curves over the knob and over static depths go to `figures`."""
    rows: list[Row] = []

    def add(arm: str, over: Sequence[Item], a: Asked, kind: str = CHAINS) -> None:
        right, depth = a.right.tolist(), a.counts.sum(1).tolist()
        rows.append(Row(seed, arm, kind, {i.id: r for i, r in zip(over, right, strict=True)},
                        {i.id: float(d) for i, d in zip(over, depth, strict=True)}))  # fmt: skip

    routed = ask(decoder, test, routing(made[ROUTED], test, ASIS))
    rng = random.Random(f"dr-llm/{seed}/controls")
    add(BASE, test, ask(decoder, test, as_one(WHOLE, len(test))))
    add(ROUTED, test, routed)
    add(MOVED, test, ask(decoder, test, fixed(moved(routed.counts, rng))))
    add(OTHER, test, ask(decoder, test, fixed(routed.counts[rng.sample(range(len(test)), len(test))])))
    add(BASE, sorts, ask(decoder, sorts, as_one(WHOLE, len(sorts))), SORTS)
    add(ROUTED, sorts, ask(decoder, sorts, routing(made[ROUTED], sorts, ASIS)), SORTS)
    for arm, fixed_arm in ((ROUTED, STATIC), *STATIC_AS.items()):
        own = ask(decoder, test, routing(made[arm], test, ASIS))
        static = at_depth(decoder, test, sets, own.depth)
        depths = dict.fromkeys((i.id for i in test), min(own.depth, float(L)))
        rows.append(Row(seed, fixed_arm, CHAINS, {i.id: r for i, r in zip(test, static.tolist(), strict=True)}, depths))
        if arm != ROUTED:
            add(arm, test, own)
    depth = ask(decoder, validation, routing(made[ROUTED], validation, ASIS)).depth
    for arm, routers in made.items():
        if arm not in (ROUTED, DEEP, COMMON):
            reads = FROM_FIRST if arm == FIRST else range(L)
            knob = knob_at(decoder, routers, validation, depth, reads)
            add(arm, test, ask(decoder, test, routing(routers, test, knob, reads)))
            alone = ask(decoder, test, routing(routers, test, ASIS, reads))
            figures += [Figure(seed, arm, "knob at matched depth", knob), Figure(seed, arm, "right, knob untouched", _mean(alone.right)),
                        Figure(seed, arm, "blocks run, knob untouched", alone.depth)]  # fmt: skip
    for knob in plan.knobs:
        a = ask(decoder, test, routing(made[ROUTED], test, knob))
        figures += [Figure(seed, f"knob {knob:g}", "right", _mean(a.right)), Figure(seed, f"knob {knob:g}", "blocks run", a.depth)]
    for d, counts in sets.items():
        figures.append(Figure(seed, f"static, {d} blocks", "right", _mean(ask(decoder, test, as_one(counts, len(test))).right)))
    for k in sorted({i.level for i in test}):
        at = [n for n, i in enumerate(test) if i.level == k]
        whole = [r for r, i in zip(rows[0].right.values(), test, strict=True) if i.level == k]
        figures += [Figure(seed, ROUTED, f"right at level {k}", _mean(routed.right[at])), Figure(seed, BASE, f"right at level {k}",
                    fmean(whole)), Figure(seed, ROUTED, f"blocks run at level {k}", _mean(routed.counts[at].sum(1).float()))]  # fmt: skip
    return rows


def searches(
    plan: Plan, seed: int, decoder: Decoder, validation: Sequence[Item], rules: Rules, tree_found: Sequence[Found]
) -> list[Figure]:
    """The three searches on the same items."""
    over = validation[: plan.compared]
    both = {
        TREE: tree_found[: plan.compared],
        CHAIN: searched(decoder, over, chain, rules, seed),
        EDITED: searched(decoder, over, edited, rules, seed),
    }
    made: list[Figure] = []
    for name, found in both.items():
        made += [
            Figure(seed, name, "blocks saved", fmean(L - len(f.program or WHOLE) for f in found)),
            Figure(seed, name, "right", fmean(f.program is not None for f in found)),
            Figure(seed, name, "evaluations", fmean(f.evaluations for f in found)),
        ]
    return made


def luck(seed: int, decoder: Decoder, train: Sequence[Item], found: Sequence[Found]) -> list[Figure]:
    """What becomes of found programs when the question is put in other words."""
    made: list[Figure] = []
    for name, base_right in (("flips", 0.0), ("shorter", 1.0)):
        some = [(train[i], c) for i, c in labels(found) if found[i].base == base_right and c != WHOLE]
        if some:
            other = [again(item) for item, _ in some]
            own = ask(decoder, other, fixed(torch.tensor([c for _, c in some]))).right
            whole = ask(decoder, other, as_one(WHOLE, len(other))).right
            next_ones = [some[(n + 1) % len(some)][1] for n in range(len(some))]
            theirs = ask(decoder, other, fixed(torch.tensor(next_ones))).right
            figures = {"right": own, "base right": whole, "another's program": theirs}
            made += [Figure(seed, name, f"{what} when re-asked", _mean(right)) for what, right in figures.items()]
            made.append(Figure(seed, name, "items", float(len(some))))
    return made


def of_labels(seed: int, arm: str, found: Sequence[Found]) -> list[Figure]:
    """What the searches gave to learn from."""
    counts = [c for _, c in labels(found)]
    flat = [n for c in counts for n in c]
    return [
        Figure(seed, arm, "labelled share of items", len(counts) / len(found)),
        Figure(seed, arm, "labels: wrong put right", fmean(f.base == 0 and f.program is not None for f in found)),
        Figure(seed, arm, "labels: blocks saved", fmean(L - sum(c) for c in counts)),
        *(Figure(seed, arm, f"labels: {name}", flat.count(n)) for n, name in enumerate(("skip", "run", "repeat"))),
    ]


def judged(
    plan: Plan, seed: int, decoder: Decoder, made: dict[str, Routers], validation: Sequence[Item], held: Sequence[Found]
) -> list[Figure]:
    """How well routers say what searches on validation items found."""
    said = labels(held)
    prompts, own = [validation[i].prompt for i, _ in said], [c for _, c in said]
    figures = [Figure(seed, "labels", "repeats on validation items", float(sum(c.count(REPEAT) for c in own)))]
    for arm in (ROUTED, SHUFFLED, CE, WEIGHTED):
        q = quality(made[arm], features(decoder, prompts, own, plan.windows))
        figures += [Figure(seed, arm, f"recall of {n}", r or 0.0) for n, r in zip(("skip", "run", "repeat"), q.recall, strict=True)]
        figures += [Figure(seed, arm, "macro-F1", q.f1), Figure(seed, arm, "accuracy of decisions", q.accuracy)]
    return figures


def sensitivity(seed: int, arm: str, decoder: Decoder, over: Sequence[Item]) -> list[Figure]:
    """What a skip of one block costs, of a model's own right answers, mean over the blocks."""
    whole = ask(decoder, over, as_one(WHOLE, len(over))).right
    made = [Figure(seed, arm, "right on validation items", _mean(whole))]
    if bool(whole.any()):
        each = [tuple(int(i != layer) for i in range(L)) for layer in range(L)]
        kept = [_mean(ask(decoder, over, as_one(counts, len(over))).right[whole > 0]) for counts in each]
        made.append(Figure(seed, arm, "lost by a skip", 1 - fmean(kept)))
    return made


def _mean(x: torch.Tensor) -> float:
    return float(x.float().mean())
