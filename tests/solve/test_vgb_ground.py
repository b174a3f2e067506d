"""The walk on real ground: proposal and refusal have the listed law, the open sequence gives what rereading gives."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "train"))
from toy_lm import Digits, toy_lm  # the trainer's toy model

from reasonry.core import Budget, Completion, Cost, Ids, Message, Problem, Prompt, Sampling, Stop, UserError
from reasonry.lm.local import LocalLM
from reasonry.lm.scorer import Scores
from reasonry.solve import build_solver
from reasonry.solve.tree.node import Node
from reasonry.solve.tree.walk import VALUE
from reasonry.solve.vgb import Ground, Move, Walked, at_most, coverage, enumerated, first_leaf, retried, stationary
from reasonry.solve.vgb_baselines import beam, best_of, forward, listed_on, outcome_level, rejection, retried_on
from reasonry.solve.vgb_ground import Answers, Blocks
from reasonry.solve.vgb_law import Array, Known, after, stepwise
from reasonry.solve.vgb_law import first_leaf as first_leaf_law
from reasonry.solve.vgb_solver import Guided, walk_to_first
from reasonry.solve.vgb_verifier import (
    Partial,
    answers_of,
    as_it_is,
    avoiding,
    by_rule,
    by_scorer,
    by_task,
    clipped,
    nothing,
    sigmoid,
    tilted,
)

PROBLEM = Problem("p", "7", "7")


class Table:
    """A known tree as a ground."""

    def __init__(self, tree: Known, seed: int) -> None:
        self.tree, self.rng, self.root = tree, Random(seed), Node(0)
        self.asked = Counter[Node]()

    async def children(self, node: Node) -> Sequence[Node]:
        if not node.children and not node.terminal:
            for a, p in enumerate(self.tree.pi[node.depth][node.payload]):
                node.child(node.payload * self.tree.k + a, prior=float(p), terminal=node.depth + 1 == self.tree.depth)
        return node.children

    async def draw(self, node: Node) -> Node:
        below = await self.children(node)
        return self.rng.choices(below, [c.prior for c in below])[0]

    async def value(self, nodes: Sequence[Node]) -> Sequence[float]:
        for n in nodes:
            if VALUE not in n.memo:
                self.asked[n] += 1
                v = float(self.tree.value[n.depth][n.payload])
                n.memo[VALUE] = math.log(v) if v > 0 else -math.inf
        return [n.memo[VALUE] for n in nodes]


def tree() -> Known:
    """Two actions, depth 2, τ = 0 at one leaf, values inside wrong."""
    pi = (np.array([[0.3, 0.7]]), np.array([[0.5, 0.5], [0.8, 0.2]]))
    return Known(pi, (np.ones(1), np.array([0.9, 0.2]), np.array([0.5, 0.0, 0.4, 1.0])))


def far(counts: Counter[int], law: Array) -> float:
    """χ² of counts against a law."""
    n = sum(counts.values())
    assert all(law[y] > 0 for y in counts)
    return sum((counts[y] - n * p) ** 2 / (n * p) for y, p in enumerate(law) if p > 0)


HIGH = 13.8
"""99.9 % of two degrees of freedom."""
N = 3000


async def drawn(decode: Callable[[Table, Random, Walked], object]) -> Counter[int]:
    found, rng = Counter[int](), Random(1)
    ground = Table(tree(), 2)
    for _ in range(N):
        walked = Walked()
        await decode(ground, rng, walked)  # type: ignore[misc]
        if walked.leaf is not None:
            found[walked.leaf.payload] += 1
    assert max(ground.asked.values()) == 1, "a value is asked for once a node"
    return found


MOVES: dict[str, Callable[[Ground], Move]] = {
    "listed": enumerated,
    "a bound": lambda g: retried(g, at_most(1.0)),
    "coverage": lambda g: retried(g, coverage(5.0)),
}


@pytest.mark.parametrize("name", MOVES)
async def test_both_ways_of_stepping_have_the_exact_laws(name: str) -> None:
    """Listed, or by proposal and refusal under a bound or a coverage: the first leaf's law, and after some steps the chain's own."""
    steps = 12
    first = await drawn(lambda g, rng, w: first_leaf(g, MOVES[name](g), rng, 10_000, w))
    assert sum(first.values()) == N
    assert far(first, first_leaf_law(tree())[0]) < HIGH
    late = await drawn(lambda g, rng, w: stationary(g, MOVES[name](g), rng, steps, 1, w))
    leaf = after(tree(), steps)[-1]
    assert sum(late.values()) == pytest.approx(N * leaf.sum(), abs=4 * math.sqrt(N * leaf.sum()))
    assert far(late, leaf / leaf.sum()) < HIGH


async def test_outcome_rejection_and_the_long_walk_agree() -> None:
    """Both have the target's law; stepwise sampling has its own."""
    target = tree().target()
    assert far(await drawn(lambda g, rng, w: stationary(g, enumerated(g), rng, 60, 50, w)), target) < HIGH
    assert far(await drawn(lambda g, rng, w: outcome_level(g, at_most(1.0), 100, rng, w)), target) < HIGH
    for move in (listed_on, lambda g: retried_on(g, at_most(1.0))):
        counts = await drawn(lambda g, rng, w, move=move: forward(g, move(g), rng, w))
        assert far(counts, stepwise(tree())) < HIGH
        assert far(counts, target) > HIGH


async def test_block_baselines_are_what_they_say() -> None:
    """Best of many takes the greatest value; rejection with one candidate is the model; a beam of all finds the likeliest answer."""
    best = await drawn(lambda g, rng, w: forward(g, best_of(g, 30), rng, w))
    assert best[0] > 0.99 * N
    plain = await drawn(lambda g, rng, w: forward(g, rejection(g, at_most(1.0), 1), rng, w))
    assert far(plain, tree().reach()[-1]) < 16.3
    weights = tree().reach()[-1] * tree().value[-1]
    assert await drawn(lambda g, rng, w: beam(g, 4, None, rng, w)) == {int(weights.argmax()): N}
    assert await drawn(lambda g, rng, w: beam(g, 1, None, rng, w)) == {0: N}


async def test_a_value_above_its_bound_is_refused() -> None:
    """The law would be another."""
    with pytest.raises(UserError, match=r"a value is 1 but its bound is 0\.5"):
        await drawn(lambda g, rng, w: first_leaf(g, retried(g, at_most(0.5)), rng, 100, w))


async def test_where_every_way_is_closed_the_walk_gives_up() -> None:
    dead = Known(tree().pi, (np.ones(1), np.zeros(2), np.zeros(4)))
    for move in (enumerated, lambda g: retried(g, at_most(1.0), 50)):
        ground, walked = Table(dead, 0), Walked()
        await first_leaf(ground, move(ground), Random(0), 100, walked)
        assert walked.leaf is None
        await stationary(ground, move(ground), Random(0), 100, 3, walked)
        assert walked.leaf is None


@dataclass
class Elsewhere:
    """The toy model as if it were not on this machine: only whole prefixes can be completed."""

    lm: LocalLM
    name: str = "toy"

    async def encode(self, prompt: Prompt) -> Ids:
        return await self.lm.encode(prompt)

    async def decode(self, ids: Ids) -> str:
        return await self.lm.decode(ids)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        return await self.lm.complete(prompt, sampling)


async def test_the_open_sequence_and_rereading_walk_alike() -> None:
    """Same seeds, same blocks, same steps, same prices of prompts; only what is computed differs."""
    spec = "vgb?until=tokens&block=2&depth=5&verifier=avoid&letters=379&alpha=0.7&need=nothing"
    computed = Counter[str]()
    async with toy_lm() as lm:
        lm.engine.cache.keep = lambda program, ids, slots: None  # type: ignore[method-assign]
        for seed in range(6):
            here, there = [await build_solver(spec, m, Digits())(PROBLEM, Budget(), seed) for m in (lm, Elsewhere(lm))]
            assert here.meta == there.meta
            assert [(s.context, s.ids, s.role, s.parent) for s in here.segments] == [
                (s.context, s.ids, s.role, s.parent) for s in there.segments
            ]
            assert [s.logprobs for s in here.segments] == [pytest.approx(s.logprobs, abs=1e-5) for s in there.segments]
            assert (here.cost.prompt_tokens, here.cost.calls) == (there.cost.prompt_tokens, there.cost.calls)
            computed += Counter(here=here.cost.prefill_tokens, there=there.cost.prefill_tokens)
            assert here.answer == await lm.decode(tuple(i for s in here.segments if s.role == "answer" for i in s.ids or ()))
            assert here.meta["back"] >= 0
    assert computed["here"] < 0.7 * computed["there"]


async def test_listed_tokens_are_the_truncated_law_and_the_answer_is_a_segment() -> None:
    """π after top-k and temperature, renormalised; each place is computed once; the answer's log-probabilities are π's."""
    async with toy_lm() as lm:
        sampling = Sampling(top_k=3, temperature=0.7)
        ground = Answers(lm, PROBLEM, await lm.encode(PROBLEM.messages), Blocks(1, "", 3, 9, True), sampling, nothing(), Budget(), 0)
        below = await ground.children(ground.root)
        seq = await lm.sequence(ground.prompt)
        top = (await seq.logits() / 0.7).softmax(-1).topk(3)
        assert {n.payload[0]: n.prior for n in below} == pytest.approx(
            {int(i): float(p / top.values.sum()) for i, p in zip(top.indices, top.values, strict=True)}, abs=1e-6
        )
        assert await ground.children(ground.root) is below
        assert ground.cost.calls == 1
        seq.close()
        ground.close()
        trace = await build_solver("vgb?until=token&depth=3&top_k=3&need=nothing", lm, Digits())(PROBLEM, Budget(), 3)
        (segment,) = trace.segments
        assert segment.ids is not None
        assert segment.cost.calls == trace.cost.calls >= len(segment.ids)
        assert trace.answer == await lm.decode(segment.ids)


async def test_a_model_elsewhere_cannot_list() -> None:
    async with toy_lm() as lm:
        with pytest.raises(UserError, match="cannot list what may follow; use a model on this machine, or blocks of text"):
            await build_solver("vgb?until=token", Elsewhere(lm), Digits())(PROBLEM, Budget(), 0)


async def test_blocks_drawn_ahead_change_only_the_price() -> None:
    """A walk that draws three at once takes blocks in the order they were drawn, and unused ones stay at their node."""
    async with toy_lm() as lm:
        made = [
            await build_solver(f"vgb?until=tokens&block=2&depth=3&need=nothing&ahead={n}", lm, Digits())(PROBLEM, Budget(), 4)
            for n in (1, 3)
        ]
    assert all(t.stop in (Stop.EOS, Stop.LENGTH) for t in made)
    assert made[1].cost.calls % 3 == 0
    assert made[1].segments[0].ids == made[0].segments[0].ids


@dataclass
class Fake:
    """A scorer with a number for each text."""

    scores_of: Callable[[str], float | None]
    name: str = "fake"

    def scores(self, messages: Sequence[Message], answers: Sequence[str]) -> Scores:
        return Scores(tuple(self.scores_of(a) for a in answers), Cost(prompt_tokens=len(answers), verifier_calls=len(answers)))


def part(text: str, depth: int = 1, leaf: bool = False, ended: bool = False) -> Partial:
    return Partial(text, depth, 4, leaf, ended)


async def logs(verifier: object, *parts: Partial) -> list[float]:
    return list((await verifier.of(PROBLEM, parts)).logs)  # type: ignore[attr-defined]


async def test_links_rules_clips_and_answers() -> None:
    """Each turns scores into log values by its formula, without overflow; a task is asked without the gold answer."""
    assert sigmoid(3.0) == pytest.approx(-math.log1p(math.exp(-3)))
    assert sigmoid(-800.0) == pytest.approx(-800)
    assert tilted(0.01)(50.0) == 5000
    assert as_it_is(0.0) == -math.inf
    scored = by_scorer(Fake(lambda text: None if text == "x" else float(len(text))))
    assert await logs(scored, part("x"), part("ab")) == [-math.inf, sigmoid(2.0)]
    assert await logs(avoiding("e", 0.5), part("ab"), part("be"), part("ab", 3, True)) == [3 * math.log(0.5), -math.inf, 0.0]
    low = clipped(by_rule(lambda p, a: 0.0), 0.01)
    assert await logs(low, part("a"), part("a", leaf=True)) == [math.log(0.01), -math.inf]
    fit = answers_of(Digits(), nothing())
    assert await logs(fit, part(""), part("", leaf=True, ended=True), part("7", leaf=True), part("7", leaf=True, ended=True)) == [
        0.0, -math.inf, -math.inf, 0.0,
    ]  # fmt: skip
    seen: list[object] = []
    await logs(by_rule(lambda p, a: float(seen.append(p.answer) is None)), part("a"))
    assert seen == [None]
    with pytest.raises(UserError, match="gave a value of -1, but values are 0 or more"):
        await logs(by_rule(lambda p, a: -1.0), part("a"))
    with pytest.raises(UserError, match="the task digits values no partial answers"):
        by_task(Digits())


async def test_a_reward_model_s_cost_is_a_segment_and_in_the_budget() -> None:
    """Tokens it reads count; its calls stop at the limit."""
    async with toy_lm() as lm:
        guided = Guided(lm, by_scorer(Fake(lambda text: 1.0)), walk_to_first(at_most(1.0), 99), Blocks(2, "", 3, 9))
        trace = await guided(PROBLEM, Budget(), 0)
        judge = trace.segments[-1]
        assert judge.role == "judge"
        assert judge.cost.verifier_calls == trace.cost.verifier_calls == trace.meta["valued"]
        assert trace.cost.prompt_tokens == sum(s.cost.prompt_tokens for s in trace.segments)
        short = await guided(PROBLEM, Budget(verifier_calls=1), 0)
        assert (short.stop, short.spent, short.cost.verifier_calls) == (Stop.BUDGET, "verifier_calls", 1)


def test_a_rule_of_one_s_own_is_imported(tmp_path: Path) -> None:
    (tmp_path / "rule.py").write_text("def value(problem, part):\n    return 1.0\n")
    lm = toy_lm()
    assert build_solver(f"vgb?verifier={tmp_path}/rule.py:value", lm, Digits()).name.startswith("vgb?")
    for spec, says in (
        (f"vgb?verifier={tmp_path}/rule.py:other", "has no function 'other'"),
        (f"vgb?verifier={tmp_path}/none.py:value", "cannot be imported"),
        ("vgb?temperature=0", "temperature is 0, so there is one answer"),
        ("vgb?until=token&block=4", "with until=token a block is one token"),
        ("vgb?depth=0", "depth is 0 but must be at least 1"),
        ("vgb?bound=0", "a bound is above 0"),
        ("vgb?eps=-1", "eps is 0 or more"),
        ("vgb?verifier=avoid&alpha=2", "alpha above 0, at most 1"),
        ("guided?ahead=0", "ahead is 0"),
    ):
        with pytest.raises(UserError, match=says):
            build_solver(spec, lm, Digits())
