"""HICRA's experiments: the simulated reasoner's exact gradients, the verdict rules, the arms' masks, and a run that is resumed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasonry.core import Result
from reasonry.lm.decoder import DecoderConfig
from reasonry.papers import PAPERS, hicra_agent, hicra_arms, hicra_grams, hicra_start
from reasonry.papers.hicra import PAPER
from reasonry.papers.hicra import run as run_experiment
from reasonry.papers.hicra_agent import World, accuracy, anywhere, arms, grpo, hicra, learn, louder, softmax
from reasonry.papers.hicra_arms import next_stop, slug
from reasonry.papers.hicra_findings import CLAIMS, findings
from reasonry.papers.hicra_grams import demonstrations, dropped, marks
from reasonry.papers.hicra_rows import (
    ARMS,
    DIGITS,
    ENTROPY,
    GRPO,
    HICRA,
    OWN,
    PLACEBO,
    START,
    WORDS_TOO,
    Facts,
    Plan,
    Quality,
    Row,
    Step,
    half_way,
    speeds,
)
from reasonry.probe.strategic_grams import extract
from reasonry.tasks.puzzle import planning_spans

TINY = DecoderConfig(hicra_start.VOCABULARY, 16, 1, 2, 1, 8, 16, 256)


def test_boosts_are_the_briefs_numbers_and_the_placebo_boosts_one_token_of_each_answer() -> None:
    A = np.array([[[0.75, -0.25, -0.25, -0.25]]])
    rng = np.random.default_rng(0)
    assert np.allclose(hicra(0.2, 3)(A, rng)[0, 0], [[0.9, 0.75, 0.75], *[[-0.2, -0.25, -0.25]] * 3])
    assert np.allclose(louder(0.2, 3)(A, rng)[0, 0], [[0.9, 0.75, 0.75], *[[-0.3, -0.25, -0.25]] * 3])
    random = anywhere(0.2, 3)(A, rng)[0, 0] - grpo(3)(A, rng)[0, 0]
    assert np.allclose(np.sort(random, axis=1), [[0, 0, 0.15], *[[0, 0, 0.05]] * 3])


def test_one_update_of_the_reasoner_is_the_gradient_of_the_sampled_groups() -> None:
    """Ascent on mean Â·log π, against finite differences of the same function on the same draws."""
    world = World(P=2, S=2, E=2, K=3, G=4, rate=1e-3, q=0.6, leak=0.3)
    seen: list[np.ndarray] = []

    def spy(A: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(A)
        return grpo(3)(A, rng)

    before = float(accuracy(world, np.zeros((1, 2, 2)), _phi(world))[0])
    after = learn(world, spy, 1, [5], [0, 1])
    assert after[0][0] == pytest.approx(before)
    assert np.allclose(seen[0].sum(-1), 0)
    many = [float(learn(replace(world, rate=0.5), grpo(3), 1, [s], [1])[1][0]) - before for s in range(200)]
    assert np.mean(many) > 2 * np.std(many) / 200**0.5  # an unbiased step up: better on average


def _phi(world: World) -> np.ndarray:
    phi = np.zeros((1, world.S, world.E, world.K))
    phi[..., 0] = np.log(world.q * (world.K - 1) / (1 - world.q))
    assert np.allclose(softmax(phi)[..., 0], world.q)
    return phi


def test_exact_accuracy_is_the_frequency_of_rewards() -> None:
    world = World(P=3, S=3, E=2, K=2, q=0.7, leak=0.1)
    exact = float(accuracy(world, np.zeros((1, 3, 3)), _phi(world))[0])
    assert exact == pytest.approx(0.7**2 * (1 / 3 + 2 / 3 * 0.1))


def test_no_boost_learns_as_grpo_does_and_a_boost_does_not() -> None:
    world = World(P=4, E=3, rate=20)
    plain, zero, some = (learn(world, b, 20, [0, 1], [20])[20] for b in (grpo(4), hicra(0.0, 4), hicra(0.2, 4)))
    assert np.array_equal(plain, zero)
    assert not np.array_equal(plain, some)
    assert set(arms(world)) >= {GRPO, HICRA, PLACEBO}


PLAN = Plan(updates=40, marked=20)
CURVES = {GRPO: 0.4, HICRA: 0.5, PLACEBO: 0.4, "planning × 1.2": 0.45, "HICRA, α = .5": 0.6}
BASE = {"0.65": 0.41, "0.8": 0.5, "0.9": 0.6}


def facts(seed: int, curves: dict[str, float] = CURVES, base: dict[str, float] = BASE, **more: object) -> Facts:
    agents = {f"{q}/{arm}": [[x + 0.001 * seed, x + 0.001 * i] for i in range(3)] for q in BASE for arm, x in curves.items()}
    agents |= {f"{q}/{HICRA}": [[x + 0.001 * seed, x + 0.001 * i] for i in range(3)] for q, x in base.items() if HICRA in curves}
    agents[f"0.8/{HICRA}"] = [[curves[HICRA] + 0.001 * seed, curves[HICRA] + 0.001 * i] for i in range(3)]
    quality = [
        Quality(seed, corpus, top, 0.99 + 0.001 * seed, 0.5, 0.99 + 0.001 * seed, 50)
        for corpus in (DIGITS, OWN, WORDS_TOO)
        for top in PLAN.tops
    ]
    known = {"high_planning": 0.3, "planning_high": 0.5, "planning_share": 0.2, "same": {"α = 0": True}, "quality": quality}
    return Facts(**{"seed": seed, "agents": agents, **known, **more})  # type: ignore[arg-type]


TESTS = {START: 0.3, GRPO: 0.5, HICRA: 0.6, PLACEBO: 0.5, ENTROPY: 0.45}


def rows(scores: dict[str, float] = TESTS) -> list[Row]:
    return [Row(s, arm, f"{i}", float(i < 50 * x + s), 0.1, 0.1) for arm, x in scores.items() for s in range(3) for i in range(50)]


def steps(fast: dict[str, float] = {HICRA: 0.6}, sg: float = 0.01, execution: int = 4, settled: int = 30) -> list[Step]:  # noqa: B006
    """Execution is done after `execution` steps; strategic-gram entropy changes by `sg` a step until `settled`."""
    return [
        Step(
            seed=s, arm=arm, step=t, tokens=1000 * (t + 1), passed=fast.get(arm, 0.5) + 0.001 * s, entropy=0.5 - 0.01 * t, ratio=0.2,
            sg_entropy=1 + (sg + 0.001 * s) * min(t, settled), execution_perplexity=max(2 - t / execution, 1), planning_perplexity=1.5,
        )
        for arm in ARMS for s in range(3) for t in range(30)
    ]  # fmt: skip


def verdicts(made: list[Facts], tests: list[Row], log: list[Step]) -> dict[str, Result]:
    return {f.claim: f.result for f in findings(PLAN, tests, log, made)}


def test_what_the_brief_expects_holds_and_every_claim_has_one_verdict() -> None:
    assert verdicts([facts(s) for s in range(3)], rows(), steps()) == dict.fromkeys([c.id for c in CLAIMS], Result.HOLDS)


@pytest.mark.parametrize(
    ("claim", "known", "tests", "log"),
    [
        ("identity", {"same": {"α = 0": False}}, TESTS, {}),
        ("agent-gain", {"curves": CURVES | {HICRA: 0.35}}, TESTS, {}),
        ("agent-placebo", {"curves": CURVES | {PLACEBO: 0.6}}, TESTS, {}),
        ("agent-sign", {"curves": CURVES | {"planning × 1.2": 0.55}}, TESTS, {}),
        ("agent-base", {"base": BASE | {"0.9": 0.4}}, TESTS, {}),
        ("pass", {}, TESTS | {HICRA: 0.4}, {}),
        ("placebo", {}, TESTS | {PLACEBO: 0.7}, {}),
        ("entropy", {}, TESTS | {ENTROPY: 0.7}, {}),
        ("sooner", {}, TESTS, {"fast": {HICRA: 0.4}}),
        ("phases", {}, TESTS, {"execution": 40, "settled": 4}),
        ("blind", {}, TESTS, {"sg": -0.02}),
        ("proxy", {"high_planning": 0.6}, TESTS, {}),
        ("extractor", {"quality": [Quality(0, DIGITS, t, 0.5, 0.5, 0.95, 50) for t in PLAN.tops]}, TESTS, {}),
        ("dropping", {"quality": [Quality(0, DIGITS, t, 0.95, 0.5, 0.5, 50) for t in PLAN.tops]}, TESTS, {}),
    ],
)  # fmt: skip
def test_each_claim_falls_by_its_own_falsifier(claim: str, known: dict, tests: dict[str, float], log: dict) -> None:
    found = verdicts([facts(s, **known) for s in range(3)], rows(tests), steps(**log))
    assert found[claim] is Result.FAILS


def test_a_single_seed_decides_no_effect_of_the_small_model() -> None:
    found = verdicts([facts(0)], [r for r in rows() if r.seed == 0], [s for s in steps() if s.seed == 0])
    assert found["sooner"] is found["extractor"] is found["dropping"] is Result.UNCLEAR


def test_half_of_the_way_is_where_the_running_mean_has_gone_half() -> None:
    log = [Step(0, GRPO, t, t + 1, 0.5, 0.5, 0.2, 1.0, 2.0 - min(t, 10) / 10, 1.5) for t in range(30)]
    assert half_way(log, 0, "execution_perplexity") == 4
    assert half_way(log, 0, "sg_entropy") is None


def test_speed_weighs_steps_by_their_tokens() -> None:
    two = [replace(steps()[0], arm=GRPO, step=t, tokens=tokens, passed=p) for t, tokens, p in ((0, 100, 0.0), (1, 400, 1.0))]
    assert speeds(two, GRPO) == {0: 0.75}


def test_arms_stop_at_the_budget_to_the_nearest_step() -> None:
    plan = Plan(tokens=1000, every=10, prompts=1, group=10)
    slice_ = [{"length": 4.0, "tokens": 40.0 * (t + 1)} for t in range(20)]
    assert [next_stop(plan, slice_[:n]) for n in (0, 5, 10, 20)] == [10, 10, 20, 25]
    assert next_stop(plan, [*slice_, *({"length": 4.0, "tokens": 840.0 + 40 * t} for t in range(5))]) == 25
    assert len({slug(arm) for arm in (*ARMS, *hicra_arms.NEITHER)}) == len(ARMS) + 2


def test_the_extractors_truth_is_its_own_ceiling_and_dropping_is_seeded() -> None:
    texts = demonstrations(150, 0)
    grams = extract(texts, top=0.2)
    found, truth = marks(texts, grams.spans), marks(texts, planning_spans)
    assert len(found & truth) / len(found) > 0.9
    fewer = dropped(grams, 0.3, 0)
    assert fewer.index == dropped(grams, 0.3, 0).index
    assert len(fewer.index) == len(grams.index) - round(0.3 * len(grams.index))
    assert marks(texts, fewer.spans) <= found


@pytest.mark.slow
def test_a_run_is_stored_reported_and_not_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All arms at tiny size. A second call trains nothing; an arm that was lost comes out the same; claims and plots are on the page."""
    monkeypatch.setattr(hicra_start, "SHAPE", TINY)
    for module in (hicra_arms, hicra_grams):  # a model that learnt nothing is never right
        monkeypatch.setattr(module, "right", lambda answers: demonstrations(8, 0))
    plan = Plan(
        teaching=2, tokens=60, every=1, prompts=1, group=2, max_tokens=16, train_problems=5, test_problems=2, mined=1, min_documents=1,
        tops=(0.2, 0.4), corpus=8, agents=1, updates=4, marked=2,
    )  # fmt: skip
    first = run_experiment(tmp_path, (0,), plan)
    saved = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "report.html"}
    again = run_experiment(tmp_path, (0,), plan)
    assert first.measures == again.measures
    assert saved == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "report.html"}
    for lost in tmp_path.glob("hicra-seed0*"):
        shutil.rmtree(lost)
    assert run_experiment(tmp_path, (0,), plan).measures == first.measures
    assert {f.claim: f.result for f in first.findings}["identity"] is Result.HOLDS
    assert {m.arm for m in first.measures} >= {START, *ARMS, "simulated, q = 0.8: HICRA", f"extractor, {DIGITS}"}
    html = (tmp_path / "report.html").read_text()
    assert all(claim.says.replace("'", "&#39;") in html for claim in CLAIMS)
    assert html.count("<svg") >= 6


def test_the_paper_is_listed() -> None:
    assert PAPERS["hicra"] is PAPER
    assert hicra_agent.World().E == 12
