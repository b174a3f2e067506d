"""Delethink's RL experiment: the training oracles end to end, the task's invariant, the verdict rules, and a run that is resumed."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reasonry.core import Budget, Problem, Result, Stop, Trajectory, Verdict
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.papers import PAPERS, delethink_rl_start
from reasonry.papers.delethink_rl import PAPER, SAMPLING, length, outcome
from reasonry.papers.delethink_rl import run as run_experiment
from reasonry.papers.delethink_rl_findings import (
    CLAIMS,
    CROSSED,
    DELETHINK,
    LONGCOT,
    NOTHING,
    START,
    WINDOW,
    Learnt,
    Plan,
    Row,
    findings,
)
from reasonry.papers.delethink_rl_start import PIECE, SEEN, characters, document, start
from reasonry.papers.delethink_rl_task import LINE, REPEATS, relay, restating
from reasonry.papers.delethink_rl_task import run as work_out
from reasonry.probe.seeds import level, over_seeds
from reasonry.solve.delethink import Delethink, tail
from reasonry.solve.single import Single
from reasonry.train.catalogue import find
from reasonry.train.recipe import Recipe, every_segment
from reasonry.train.reward import Rewarded
from reasonry.train.rows import lay_out, read, row_of
from reasonry.train.update import Batch, learn, make_batch

TINY = DecoderConfig(259, 16, 1, 2, 1, 8, 16, 512)
TASK = relay()
RECIPE = Recipe(objective=find("delethink").objective, lr=0.1, steps=1, clip_norm=1e9, temperature=SAMPLING.temperature)


def tiny() -> LocalLM:
    decoder = Decoder(TINY)
    decoder.reset_parameters(torch.Generator().manual_seed(1))
    return LocalLM(decoder, characters(), "tiny", max_rows=8, kv_tokens=4096)


async def traces(lm: LocalLM, solver: Single | Delethink, G: int = 3) -> list[Trajectory]:
    problems = TASK.problems("train", 2)
    return [await solver(p, Budget(completion_tokens=40), seed) for p in problems for seed in range(G)]


def update(decoder: Decoder, found: list[Trajectory], rewards: list[float]) -> tuple[Batch, dict[str, float], list[torch.Tensor]]:
    """The batch, the update's health and each weight's gradient (plain descent with rate 1)."""
    half = len(found) // 2
    pairs = [Rewarded(t, {"score": r}, r) for t, r in zip(found, rewards, strict=True)]
    batch = make_batch([pairs[:half], pairs[half:]], RECIPE, every_segment, 0)
    before = [p.detach().clone() for p in decoder.parameters()]
    health = learn(decoder, [torch.optim.SGD(decoder.parameters(), lr=1.0)], RECIPE, batch, 1.0, None)
    return batch, health, [b - p.detach() for b, p in zip(before, decoder.parameters(), strict=True)]


MIXED = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]


async def test_chunks_are_trained_on_their_own_prompts_and_on_no_other() -> None:
    """Before an update every ratio is 1; scored over the joined trace, as if one context held it all, they would not be."""
    async with tiny() as lm:
        found = await traces(lm, Delethink(lm, 12, 6, 6, tail, SAMPLING))
        t = max(found, key=lambda t: len(t.segments))
        assert len(t.segments) > 3
        _, health, _ = update(lm.decoder, found, MIXED)
        assert health["mismatch_max"] < 1e-4
    async with tiny() as lm:
        thought = tuple(i for s in t.segments for i in s.ids or ())
        q = t.segments[0].context or ()
        joined = replace(t.segments[0], context=q, ids=thought, logprobs=(0.0,) * len(thought))
        wrong = read(lm.decoder, lay_out([row_of(joined)], torch.device("cpu")), SAMPLING.temperature)[0]
        recorded = torch.tensor([p for s in t.segments for p in s.logprobs or ()])
        C = len(t.segments[0].ids or ())
        assert (wrong - recorded)[:C].abs().max() < 1e-4
        assert (wrong - recorded)[C:].abs().max() > 1e-3


async def test_a_chunk_that_holds_the_thought_trains_as_grpo_does() -> None:
    """C at least the length: the same rows and bit for bit the same gradient as plain generation, each token weighing 1/(M·ℓ)."""
    gradients, rows = list[list[torch.Tensor]](), list[object]()
    for make in (lambda lm: Delethink(lm, 64, 32, 3, tail, SAMPLING), lambda lm: Single(lm, SAMPLING.with_(max_tokens=64))):
        async with tiny() as lm:
            found = await traces(lm, make(lm))
            batch, _, gradient = update(lm.decoder, found, MIXED)
            gradients.append(gradient)
            rows.append(batch.rows)
    assert rows[0] == rows[1]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert any(bool(g.abs().sum() > 0) for g in gradients[0])


async def test_equal_rewards_in_every_group_give_no_gradient() -> None:
    async with tiny() as lm:
        found = await traces(lm, Delethink(lm, 12, 6, 6, tail, SAMPLING))
        _, _, gradient = update(lm.decoder, found, [1.0] * 3 + [0.0] * 3)
    assert all(not g.any() for g in gradient)


@pytest.mark.parametrize("stop", [Stop.LENGTH, Stop.BUDGET, Stop.MAX_CHUNKS, Stop.CONTEXT])
def test_a_truncated_trace_is_a_failure_whatever_it_says(stop: Stop) -> None:
    right = Trajectory("p", answer="#### a1b2c3", verdict=Verdict(1.0, True), stop=stop)
    ended = replace(right, stop=Stop.EOS)
    wrong = replace(ended, verdict=Verdict(0.0, False))
    assert [s["score"] for s in outcome(Problem("p", "?"), [right, ended, wrong])] == [0.0, 1.0, 0.0]


def test_the_first_target_idles_for_a_stage_and_only_restating_keeps_it_near() -> None:
    """The task's invariant: for every m and C of the plan a delta working shows the value nowhere a later chunk can see it."""
    plan = Plan()
    wanted_later = 0
    for problem in TASK.problems("test", 50):
        ops = problem.meta["ops"]
        idle = ops[0][0]
        assert idle not in ops[1]
        wanted_later += idle in ops[2]
        for restate in (False, True):
            text, final = work_out(problem.meta["start"], ops, restate)
            lines = text.splitlines(keepends=True)
            assert all(len(line.rstrip("\n")) == LINE - 1 for line in lines)
            assert final == problem.answer
            assert restating(text) == float(restate)
            last = text[REPEATS * LINE : 2 * REPEATS * LINE]
            assert any(c == idle and last[i + 1].isdigit() for i, c in enumerate(last[:-1])) == restate
    assert wanted_later
    assert plan.C - 1 < REPEATS * LINE + 3
    assert plan.m >= LINE + 6


def test_a_working_restates_when_more_than_half_of_its_lines_do() -> None:
    full, delta = "11a1+b2 a3b2c0", "12a3+b2 a5b-c-"
    assert restating(f"{full}\n{full}\n{delta}") == 1.0
    assert restating(f"{full}\n{delta}") == 0.0
    assert restating("") == 0.0
    assert restating("11a1+b2 a3b2c0 and more") == 0.0


async def test_all_workings_are_of_one_length(tmp_path: Path) -> None:
    """So the styles differ in nothing that an equal budget of tokens could favour."""
    characters().save(tmp_path)
    assert await length(tmp_path) == 3 * REPEATS * LINE + len("#### a1b2c3") + 1


def test_documents_predict_only_what_a_boundary_leaves_knowable() -> None:
    tokenizer, kinds = characters(), set[bool]()
    for i in range(40):
        made = document(tokenizer, TASK, random.Random(i))
        context = made.ids.index(tokenizer.id_of("<|im_start|>")) + 1
        part = made.mask[context:]
        assert not any(made.mask[:context])
        piece = not part[0]
        assert list(part) == [not piece or t >= SEEN for t in range(len(part))]
        assert not piece or len(part) <= PIECE
        kinds.add(piece)
    assert kinds == {True, False}


def rows(rates: dict[tuple[str, str], tuple[float, float]], n: int = 50) -> list[Row]:
    """Attempts with the wanted (reward, restating rate) of (arm, environment), the same in three seeds but for one problem."""
    return [
        Row(seed, arm, environment, f"{i}", float(i < reward * n - seed), float(i < restated * n - seed), 0.0, 100.0)
        for (arm, environment), (reward, restated) in rates.items()
        for seed in range(3)
        for i in range(n)
    ]


EXPECTED = {
    (START, LONGCOT): (0.7, 0.3), (START, DELETHINK): (0.3, 0.3), (LONGCOT, LONGCOT): (0.95, 0.3), (LONGCOT, DELETHINK): (0.3, 0.3),
    (DELETHINK, DELETHINK): (0.95, 0.98), (NOTHING, NOTHING): (0.05, 0.3), (WINDOW, WINDOW): (0.95, 0.9),
}  # fmt: skip
STEPS = [Learnt(s, arm, t, 0.5, 0.3, 100, 200, 1e-6) for s in range(3) for arm in Plan().shapes for t in range(2)]


def verdicts(attempts: list[Row], steps: list[Learnt] = STEPS) -> dict[str, Result]:
    return {f.claim: f.result for f in findings(attempts, steps)}


def test_what_the_brief_expects_holds_and_every_claim_has_one_verdict() -> None:
    assert verdicts(rows(EXPECTED)) == dict.fromkeys([c.id for c in CLAIMS], Result.HOLDS)


@pytest.mark.parametrize(
    ("claim", "change", "result"),
    [
        ("restating", {(DELETHINK, DELETHINK): (0.9, 0.3)}, Result.FAILS),
        ("restating", {(DELETHINK, DELETHINK): (0.9, 0.7)}, Result.UNCLEAR),
        ("only-chunked", {(LONGCOT, LONGCOT): (0.9, 0.98)}, Result.FAILS),
        ("parity", {(DELETHINK, DELETHINK): (0.6, 0.98)}, Result.FAILS),
        ("needs-training", {(LONGCOT, DELETHINK): (0.95, 0.3)}, Result.FAILS),
        ("carry", {(NOTHING, NOTHING): (0.5, 0.3)}, Result.FAILS),
        ("window", {(WINDOW, WINDOW): (0.5, 0.9)}, Result.FAILS),
    ],
)
def test_each_claim_falls_by_its_own_falsifier(claim: str, change: dict[tuple[str, str], tuple[float, float]], result: Result) -> None:
    found = verdicts(rows(EXPECTED | change))
    assert found[claim] is result


def test_one_wrong_ratio_falsifies_the_identity() -> None:
    assert verdicts(rows(EXPECTED), [*STEPS, replace(STEPS[0], mismatch=0.01)])["own-prompt"] is Result.FAILS


def test_nothing_measured_is_unclear() -> None:
    assert set(verdicts([], []).values()) == {Result.UNCLEAR}


def test_intervals_are_over_seeds_and_over_problems_where_there_is_one_seed() -> None:
    """Student's interval of 1, 2, 3: 2 ± 4.303·1/√3."""
    e = over_seeds([1.0, 2.0, 3.0])
    assert e.high - e.mean == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    one = level({0: {str(i): float(i < 10) for i in range(40)}})
    assert one is not None
    assert one.n == 40
    agreed = level({seed: {str(i): 0.0 for i in range(40)} for seed in range(3)})
    assert agreed is not None
    assert 0.0 == agreed.low < agreed.high < 0.1
    assert level({}) is None


@pytest.mark.slow
def test_a_run_is_stored_reported_and_not_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All arms at tiny size. A second call trains nothing; an arm that was lost comes out the same; claims and plots are on the page."""
    monkeypatch.setattr(delethink_rl_start, "SHAPE", TINY)
    plan = Plan(teaching=2, steps=2, prompts=1, group=2, train_problems=5, test_problems=2)
    first = run_experiment(tmp_path, (0, 1), plan)
    saved = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "report.html"}
    again = run_experiment(tmp_path, (0, 1), plan)
    assert first.measures == again.measures
    assert saved == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "report.html"}
    for lost in tmp_path.glob("delethink-seed1*"):
        shutil.rmtree(lost)
    assert run_experiment(tmp_path, (0, 1), plan).measures == first.measures
    steps = [json.loads(line) for line in (tmp_path / "delethink-seed0" / "steps.jsonl").read_text().splitlines()]
    assert [s["step"] for s in steps] == [0, 1]
    assert all(s["mismatch_max"] < 1e-4 and 0 <= s["restated"] <= 1 and s["processed"] > 0 for s in steps)
    tried = {(m.arm, m.metric) for m in first.measures}
    assert {(f"{arm}, tried in {e}", "test reward") for arm, of in CROSSED.items() for e in of} <= tried
    html = (tmp_path / "report.html").read_text()
    assert all(claim.says.replace("'", "&#39;") in html for claim in CLAIMS)
    assert html.count("<svg") >= 2


def test_the_start_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert start(tmp_path, 10) == tmp_path


def test_the_paper_is_listed() -> None:
    assert PAPERS["delethink-rl"] is PAPER
