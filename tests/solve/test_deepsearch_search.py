"""DeepSearch's rounds: which end is backed up, what the choice can change, what local selection sees; and plain attempts as a tree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

import pytest
from scripted_lm import Digits, ScriptedLM

from reasonry.core import Budget, Problem, Segment, Stop, Verdict
from reasonry.core.cost import Cost
from reasonry.core.seeds import inner_seed
from reasonry.solve.build import build_explorer, build_solver
from reasonry.solve.deepsearch import END, DeepSearch, Tree
from reasonry.solve.explore import PrefixTree
from reasonry.solve.tree import UCT, Node
from reasonry.solve.tree.dump import of_attempt, text

TASK = Digits()
PROBLEMS = TASK.problems("test", 6)


def ends(*given: tuple[float, float, Stop]) -> tuple[Tree, list[Node]]:
    """A tree whose ends have such (worth, entropy, stop), siblings below one node."""
    tree = Tree((1,))
    above = tree.root.child((1,), entropy=1.0)
    for worth, entropy, stop in given:
        node = above.child((2,), entropy=entropy, terminal=True)
        node.memo[END] = worth
        tree.segments[node] = Segment((1,), (2,), "", (-entropy,), stop, Cost())
    return tree, above.children


def test_right_ends_come_first_then_surely_wrong_ones_then_those_cut_short() -> None:
    tree, made = ends((-1, 0.1, Stop.LENGTH), (-1, 0.9, Stop.EOS), (-1, 0.3, Stop.EOS), (1, 0.8, Stop.EOS), (1, 0.5, Stop.EOS))
    search = DeepSearch(ScriptedLM(), TASK)
    assert [made.index(n) for n in search._order(tree, made, Random(0))] == [4, 3, 2, 1, 0]
    unsure = replace(search, negative="unsure")._order(tree, made, Random(0))
    assert [made.index(n) for n in unsure] == [4, 3, 1, 2, 0]
    firsts = {made.index(replace(search, negative="random")._order(tree, made[:3], Random(i))[0]) for i in range(20)}
    assert firsts == {1, 2}


async def grown(search: DeepSearch, problem: Problem, seed: int) -> Tree:
    async def judge(text: str) -> bool:
        return bool(TASK.judge(problem, text).passed)

    return await search.search(problem, judge, Budget(calls=40), 12, seed, partial(inner_seed, seed))


async def test_new_ends_of_a_round_are_siblings_so_the_negative_chosen_changes_no_other_node() -> None:
    """The same tree, node for node, and the same values on all nodes but ends, whichever wrong end is backed up."""
    differed = 0
    for seed in range(6):
        trees = [
            await grown(DeepSearch(ScriptedLM(), TASK, n=3, chunk=4, depth=6, negative=how), PROBLEMS[0], seed)
            for how in ("confident", "random")
        ]
        a, b = (list(t.root.walk()) for t in trees)
        assert [n.payload for n in a] == [n.payload for n in b]
        assert [(n.value, n.visits) for n in a if not n.terminal] == [(n.value, n.visits) for n in b if not n.terminal]
        differed += [n.value for n in a] != [n.value for n in b]
    assert differed


async def test_local_selection_only_ever_sees_newcomers() -> None:
    """With a frontier of nodes without children UCT compares nodes that were never visited: all are infinite, and chance decides."""
    seen: list[int] = []

    @dataclass(frozen=True)
    class Watched:
        def __call__(self, node: Node) -> float:
            seen.append(node.visits)
            return UCT(2.0)(node)

    for seed in range(4):
        await grown(DeepSearch(ScriptedLM(), TASK, n=3, chunk=3, depth=8, score=Watched()), PROBLEMS[0], seed)
    assert seen
    assert set(seen) == {0}


async def test_the_solver_never_asks_the_judge_and_its_attempt_holds_the_tree() -> None:
    @dataclass(frozen=True)
    class Sealed(Digits):
        def judge(self, problem: Problem, answer: str) -> Verdict:
            raise AssertionError("a solver asked the judge")

    t = await build_solver("deepsearch?n=3&chunk=4&ends=5&depth=6", ScriptedLM(), Sealed())(PROBLEMS[0], Budget(), 1)
    records = of_attempt(t)
    assert len(records) == len(t.segments) + 1
    for r, s in zip(records[1:], t.segments, strict=True):
        above = records[r["parent"]]
        assert r["depth"] == above["depth"] + 1
        if s.parent is not None:
            parent = t.segments[s.parent]
            assert s.context == (parent.context or ()) + (parent.ids or ())
    assert text(records).count("\n") + 1 == len(t.segments)
    assert sum(r["end"] is not None for r in records) >= 5
    assert t.meta["end"][t.meta["taken"]] is not None


async def test_backed_ways_are_some_of_all_ways() -> None:
    for problem in PROBLEMS:
        made = {
            ways: await build_explorer(f"deepsearch?n=3&chunk=4&depth=6&ways={ways}", ScriptedLM(), TASK).group(problem, Budget(), 6, 2)
            for ways in ("all", "backed")
        }
        written = {ways: {tuple(i for s in t.segments for i in s.ids or ()) for t in found} for ways, found in made.items()}
        assert written["backed"] <= written["all"]
        assert 0 < len(made["backed"]) < len(made["all"])
        spent = {ways: sum(t.cost.completion_tokens for t in found) for ways, found in made.items()}
        assert spent["backed"] == spent["all"]


async def test_plain_attempts_become_a_tree_of_what_they_have_in_common() -> None:
    """Tokens, costs and contexts stay; equal beginnings have equal values; a chunk that holds an answer is a single node."""
    search = DeepSearch(ScriptedLM(), TASK, chunk=1, max_tokens=30)
    for problem in PROBLEMS:
        made = await PrefixTree(search).group(problem, Budget(), 8, 3)
        values: dict[tuple[int, ...], float] = {}
        for i, t in enumerate(made):
            alone = await build_solver("single?max_tokens=30", ScriptedLM(), TASK)(problem, Budget(), inner_seed(3, i))
            ids = tuple(i for s in t.segments for i in s.ids or ())
            assert ids == alone.segments[0].ids
            assert t.cost == alone.cost == sum((s.cost for s in t.segments), Cost())
            assert tuple(p for s in t.segments for p in s.logprobs or ()) == alone.segments[0].logprobs
            for k, (s, q) in enumerate(zip(t.segments, t.meta["q"], strict=True)):
                assert len(s.ids or ()) == 1
                assert s.context == (alone.segments[0].context or ()) + ids[:k]
                if k + 1 < len(t.segments):
                    assert values.setdefault(ids[: k + 1], q) == q
        whole = await PrefixTree(replace(search, chunk=99)).group(problem, Budget(), 8, 3)
        assert all(len(t.segments) == 1 and t.meta["q"] in ([1.0], [-1.0]) for t in whole)


@pytest.mark.parametrize("field", ["n", "chunk", "depth", "ends", "max_tokens"])
def test_sizes_below_one_are_refused(field: str) -> None:
    with pytest.raises(Exception, match=f"{field} is 0 but must be at least 1"):
        DeepSearch(ScriptedLM(), TASK, **{field: 0})  # type: ignore[arg-type]
