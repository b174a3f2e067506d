"""VGB's experiment: its trees and texts are what they say, its rules give the verdicts they should, and a small run ends and resumes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from reasonry.core import Result
from reasonry.nn.attention import causal
from reasonry.papers.taught import SMALL, characters, fresh
from reasonry.papers.vgb import run
from reasonry.papers.vgb_arms import constructions
from reasonry.papers.vgb_findings import ACTION, CLAIMS, EXACT_TABLE, FIRST, TEXT, Plan, Row, findings, values, verdict
from reasonry.papers.vgb_lab import Ledger, Spent, at_equal_cost, learned
from reasonry.papers.vgb_task import (
    abc,
    asked,
    balanced,
    blinded,
    bracket_tree,
    clipped,
    delayed,
    demonstrated,
    known_words,
    sentence,
    words_of,
    wrong,
)
from reasonry.solve.vgb_law import Known

SMALLEST = Plan(
    horizons=(3, 4), rollouts=(50, 200), fits=1, mlp_steps=5, teaching=3, text_teaching=3, batch=128, sizes=(2, 4), shares=(0.3,),
    fit_rollouts=60, fit_steps=2, limit=300, draws=20, answers=2, length=4,
)  # fmt: skip


def test_brackets_are_told_from_others() -> None:
    good = [w for w in words_of(6) if balanced(w)]
    assert len(good) == 5 * 2**3, "Catalan's number times the kinds of pairs"
    assert balanced("([])()")
    assert not any(map(balanced, ("([)]", "(", ")(", "(]")))
    rng = random.Random(0)
    made = [demonstrated(8, rng) for _ in range(300)]
    assert {len(w) for w in made} == {8}
    assert 0.05 < np.mean([balanced(w) for w in made]) < 0.6, "slips make most words wrong, not all"


def test_the_tree_is_the_models() -> None:
    """π after a prefix is the softmax over the four brackets; leaves are in the order of `words_of`; inner values are true."""
    decoder, tokenizer = fresh(SMALL, 0), characters()
    tree = bracket_tree(decoder, tokenizer, 4)
    prompt = tokenizer.encode(tokenizer.render(asked(4)))
    prefix = "(["
    ids = torch.tensor([(*prompt, *tokenizer.encode(prefix))])
    logits = decoder.logits(decoder(ids, torch.arange(ids.shape[1])[None], causal()).last[0, -1])
    wanted = logits[[tokenizer.encode(c)[0] for c in "()[]"]].double().softmax(-1)
    np.testing.assert_allclose(tree.pi[2][words_of(2).index(prefix)], wanted.detach().numpy(), atol=1e-6)
    assert tree.value[-1][words_of(4).index("([])")] == 1
    assert tree.value[0][0] == pytest.approx((tree.reach()[-1] * tree.value[-1]).sum())


def test_verifiers_are_wrong_as_they_say() -> None:
    tree: Known = abc(5, 0.0)
    rng = np.random.default_rng(0)
    for v, w in zip(tree.true()[1:5], delayed(tree).value[1:5], strict=True):
        assert len(v) == len(w)
    assert all(delayed(tree).value[3][i] == tree.true()[2][i // 3] for i in range(27))
    bad = wrong(tree, 0.3, rng)
    changed = [(b != t).mean() for b, t in zip(bad.value[3:5], tree.true()[3:5], strict=True)]
    assert 0.15 < np.mean(changed) < 0.45
    assert np.array_equal(bad.value[-1], tree.value[-1]), "answers keep their exact values"
    blind = blinded(tree, 0.3, rng)
    assert all((b[t == 0] == 0).all() for b, t in zip(blind.value[:-1], tree.true()[:-1], strict=True))
    assert min(float(v.min()) for v in clipped(blind, 1e-3).value[1:5]) == 1e-3


def test_sentences_are_of_known_words() -> None:
    rng = random.Random(0)
    text = "".join(sentence(rng) for _ in range(30))
    assert known_words(text) == 1.0
    assert known_words("th xx ") == 0.0
    assert 0.05 < text.count("e") / len(text) < 0.15


def test_the_constructions_are_the_tables() -> None:
    """The stored rows of Example 3.1 are the published figures."""
    rows = constructions()
    for H, figures in EXACT_TABLE.items():
        assert tuple(round(values(rows, arm, f"ABC, H = {H}", "KL")[-1], 4) for arm in (FIRST, ACTION)) == figures
    assert max(r.value for r in rows if r.metric == "stationary TV") < 1e-9


def test_more_rollouts_make_a_better_verifier() -> None:
    """The learned values come nearer to the true ones; leaves stay exact."""
    true = abc(4, 0.0).true()

    def off(N: int) -> float:
        tree = learned(4, N, 0, 400)
        assert np.array_equal(tree.value[-1], true[-1])
        return sum(float(np.abs(v - t).mean()) for v, t in zip(tree.value[1:4], true[1:4], strict=True))

    assert off(3000) < 0.5 * off(30)


def test_at_equal_cost_no_decoder_spends_more() -> None:
    """Calls and tokens stay within the limit; every decoder of the list is run."""
    rows = at_equal_cost(SMALLEST, abc(3), 0, "here")
    assert len({r.arm for r in rows}) == 8
    for arm in {r.arm for r in rows}:
        one = {r.metric: r.value for r in rows if r.arm == arm}
        assert one["calls an answer"] * max(one["right"], 1) <= SMALLEST.limit
        assert one["tokens an answer"] * max(one["right"], 1) <= SMALLEST.limit
    ledger = Ledger(3, 3, 0)
    with pytest.raises(Spent):
        ledger.pay(calls=1)


def test_verdicts_follow_the_rules() -> None:
    """Wholly above zero holds, a mean at or below it fails, everything else is unclear; a single seed says nothing."""
    assert verdict({0: 0.3, 1: 0.31, 2: 0.29}) is Result.HOLDS
    assert verdict({0: 0.3, 1: 0.9, 2: -0.2}) is Result.UNCLEAR
    assert verdict({0: -0.3, 1: 0.1, 2: 0.1}) is Result.FAILS
    assert verdict({0: 0.3}) is Result.UNCLEAR
    rows = [Row(s, arm, TEXT, "log-probability", v + s / 100) for s in range(3) for arm, v in ((FIRST, -1.0), (ACTION, -2.0))]
    found = {f.claim: f for f in findings(Plan(), [*constructions(), *rows])}
    assert found["fluent"].result is Result.HOLDS
    assert found["amplifies"].result is Result.HOLDS
    assert found["noisy"].result is Result.UNCLEAR
    assert set(found) == {c.id for c in CLAIMS}


def test_a_small_run_ends_and_resumes(tmp_path: Path) -> None:
    """Every claim has a verdict, the page is there, and a second run does nothing again."""
    first = run(tmp_path, (0,), SMALLEST)
    assert [f.claim for f in first.findings] == [c.id for c in CLAIMS]
    kept = (tmp_path / "seed-0" / "rows.json").stat().st_mtime_ns
    assert run(tmp_path, (0,), SMALLEST).measures == first.measures
    assert (tmp_path / "seed-0" / "rows.json").stat().st_mtime_ns == kept
    assert "A walk that goes back" in (tmp_path / "report.html").read_text()
