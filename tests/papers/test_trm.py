"""TRM's experiment: its rules, its matched compute, and a small run that is killed and goes on."""

from dataclasses import replace

import pytest
import torch

from reasonry.core import Result
from reasonry.papers import trm, trm_arms
from reasonry.papers import trm_autoregressive as autoregressive
from reasonry.papers.trm_arms import DEEP, DIRECT, LIVE, ROLLOUTS, WHOLE, WRITES, Plan, Read, arms, decoder, shapes, steps_of
from reasonry.papers.trm_findings import CLAIMS, SIZES, Pair, findings, pair, sizes
from reasonry.probe.stats import Estimate
from reasonry.worlds.grids import SudokuWorld, make
from reasonry.worlds.trm import TRM, Mixer, parameters_of

PLAN = Plan()
TINY = Plan(clues=26, puzzles=8, tested=6, width=8, heads=2, n=1, N_sup=2, longest=3, steps=4, batch=4, K=2, save_every=2)


def test_the_counts_are_the_paper_s():
    assert sizes() == SIZES == {Mixer.MLP: 5_028_866, Mixer.ATTENTION: 6_828_034}


def test_direct_networks_get_the_same_flops_and_the_others_the_same_steps():
    held = shapes(PLAN)
    whole = held[WHOLE].training_flops() * PLAN.steps
    for name, shape in held.items():
        if name in (DIRECT, DEEP):
            assert shape.training_flops() * steps_of(PLAN, name) == pytest.approx(whole, rel=2e-3)
        else:
            assert steps_of(PLAN, name) == PLAN.steps
    assert held[DIRECT].evaluations == held[DEEP].evaluations == 1
    assert held[DEEP].layers == held[WHOLE].layers * held[WHOLE].evaluations, "as deep as one supervision step"


def test_an_arm_differs_from_the_whole_in_one_thing():
    held = shapes(PLAN)
    for name, field in (("one-step gradient", "through"), ("z alone", "answer"), ("two networks", "networks"), ("attention", "mixer")):
        assert replace(held[name], **{field: getattr(held[WHOLE], field)}) == held[WHOLE]


def row(name: str, seed: int, marks: list[str], **more) -> Read:
    return Read(name, seed, 1, 1, 1.0, marks, **{"blanks": [0.9] * len(marks), "halt": [1.0] * len(marks[0]), "first_halt": 1.0, **more})


def test_a_pair_is_read_at_its_steps_and_pooled_over_seeds():
    reads = [row("a", 0, ["0000", "1111"]), row("b", 0, ["0011"]), row("a", 1, ["0000", "1110"]), row("b", 1, ["0010"])]
    found = pair(reads, "a", "b", 2, 1)
    assert found.all.mean == pytest.approx((0.5 + 0.5) / 2)
    assert found.by_seed == pytest.approx((0.5, 0.5))
    assert pair(reads, "a", "a", 2, 1).all.mean == pytest.approx(7 / 8)


@pytest.mark.parametrize(
    ("mean", "low", "by_seed", "result"),
    [(0.1, 0.05, (0.1, 0.1), Result.HOLDS), (0.1, 0.05, (0.3, -0.1), Result.UNCLEAR), (0.1, -0.01, (0.1, 0.1), Result.UNCLEAR),
     (-0.1, -0.2, (-0.1, -0.1), Result.FAILS), (0.0, 0.0, (0.0,), Result.FAILS)],
)  # fmt: skip
def test_a_difference_holds_only_with_its_interval_and_every_seed(mean, low, by_seed, result):
    assert Pair(Estimate(mean, low, 1.0, 9), by_seed, (0.5, 0.4)).result is result
    for level in ((0.01, 0.0), (0.99, 0.985)):
        assert Pair(Estimate(mean, low, 1.0, 9), by_seed, level).result is Result.UNCLEAR


def everything(whole: str, others: str, halt: list[float]) -> list[Read]:
    names = [*arms(PLAN), LIVE, ROLLOUTS]
    return [
        row(name, seed, [others if name != WHOLE else "0" * len(whole)] * 7 + [whole if name == WHOLE else others], halt=halt)
        for name in names for seed in (0, 1)
    ]  # fmt: skip


def test_findings_follow_the_rules():
    halt = [3.0] * 40 + [-3.0] * 10
    told = {f.claim: f.result for f in findings(PLAN, everything("1" * 40 + "0" * 10, "1" * 5 + "0" * 45, halt))}
    assert set(told) == {claim.id for claim in CLAIMS}
    assert told.pop("rollouts") is Result.FAILS
    assert set(told.values()) == {Result.HOLDS}
    told = {f.claim: f.result for f in findings(PLAN, everything("1" * 5 + "0" * 45, "1" * 48 + "00", halt))}
    for claim in ("recursion", "depth", "writing", "full-gradient", "single-network", "two-features", "average", "mixer", "blanks"):
        assert told[claim] is Result.FAILS


def test_the_decoder_that_writes_has_the_same_size_and_flops_and_sees_no_cell_before_it_is_said():
    model = decoder(PLAN)
    size = sum(p.numel() for p in model.parameters())
    assert size == pytest.approx(parameters_of(TRM(shapes(PLAN)[WHOLE])), rel=0.02)
    cost = autoregressive.training_flops(model, 36)
    assert cost * steps_of(PLAN, WRITES) == pytest.approx(shapes(PLAN)[WHOLE].training_flops() * PLAN.steps, rel=2e-3)
    puzzles = make(SudokuWorld(6), "train", 2, 0, clues=24)
    said = autoregressive.write(model, puzzles)
    logits = autoregressive.answer_logits(model, puzzles.cells, said[:, :-1])
    assert torch.equal(logits.argmax(-1), said), "greedy, cell by cell, is what one causal pass over it says"


def test_flops_of_the_decoder_are_those_counted_by_torch():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    model, cells = decoder(PLAN), torch.ones(1, 36, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        autoregressive.answer_logits(model, cells, cells[:, :-1])
    assert autoregressive.training_flops(model, 36) == pytest.approx(3 * counter.get_total_flops(), rel=1e-3)


class KilledError(Exception):
    pass


def test_a_small_run_gives_evidence_and_a_killed_one_goes_on(tmp_path, monkeypatch):
    real, seen = trm_arms.train, []

    def dies(*given, **more):
        seen.append(1)
        if len(seen) == 3:
            raise KilledError
        return real(*given, **more)

    monkeypatch.setattr(trm_arms, "train", dies)
    with pytest.raises(KilledError):
        trm.run(tmp_path / "a", (0,), TINY)
    evidence = trm.run(tmp_path / "a", (0,), TINY)
    assert len(seen) == 3 + len(shapes(TINY)) - 2, "the two arms that were finished are not trained again"
    monkeypatch.setattr(trm_arms, "train", real)
    assert trm.run(tmp_path / "b", (0,), TINY).measures == evidence.measures
    assert {f.claim for f in evidence.findings} == {claim.id for claim in CLAIMS}
    page = (tmp_path / "a" / "report.html").read_text()
    assert "Refinement" in page
    assert {m.arm for m in evidence.measures} == {*arms(TINY), LIVE, ROLLOUTS}
