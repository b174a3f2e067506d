"""GRPO-TCR's experiment: what its texts hold, what its arms differ in, when its claims hold, that it goes on where it stopped."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Evidence, Result
from reasonry.core.run import Run
from reasonry.papers import PAPERS
from reasonry.papers.catalogue import CATALOGUE
from reasonry.papers.grpo_tcr import PAPER
from reasonry.papers.grpo_tcr_arms import arm, asked_of, log_of, next_stop, opened, orders, recipe, same_weights
from reasonry.papers.grpo_tcr_findings import (
    CLAIMS,
    CURATED,
    EPSILONS,
    ONE,
    PROSE,
    REAL,
    SCR,
    STITCHED,
    T_C,
    T_R,
    TCR,
    TEST,
    UNSEEN,
    Arm,
    Asked,
    Plan,
    Step,
    T,
    findings,
    swept,
)
from reasonry.papers.grpo_tcr_measures import measures
from reasonry.papers.grpo_tcr_page import report
from reasonry.papers.grpo_tcr_start import base, characters
from reasonry.papers.grpo_tcr_task import (
    DELIBERATE,
    FAMILIES,
    REACT,
    TOOLS,
    expression,
    judge,
    plain,
    problems_of,
    read,
    real,
    synthetic,
)
from reasonry.tasks.tools import Failure, calculator, failure, run_call
from reasonry.train.sft import chat_example

PLAN = Plan()
TINY = replace(
    PLAN, base_steps=1, tokens=200, every=1, prompts=2, G=2, pool=12, rated=3, ratings=2, problems=2, unseen=2, attempts=2,
    split="validation",
)  # fmt: skip
PROBLEMS = problems_of().problems("train", 200)


# Texts ----------------------------------------------------------------------------------------------------------------------------------


def test_answers_are_what_the_calculator_gives() -> None:
    assert {p.meta["family"] for p in PROBLEMS} == set(FAMILIES)
    for p in PROBLEMS:
        assert calculator(expression(p)) == p.answer
        assert judge(p, f"[1+1]\n#{p.answer}").passed
        assert judge(p, f"#{p.answer}0").passed is False
        assert judge(p, "no answer").answer is None


@pytest.mark.parametrize("mode", [REACT, DELIBERATE])
def test_real_traces_are_right_read_what_tools_said_and_recover(mode: str) -> None:
    """One call fails in every trace here, the next one is right, and the answer is the last result."""
    for i, p in enumerate(PROBLEMS[:60]):
        chat = real(p, random.Random(i), mode, fail=1.0)
        said, results = [m.content for m in chat if m.role == "assistant"], [m.content for m in chat if m.role == "tool"]
        assert judge(p, chat[-1].content).passed
        assert [r for r in results if r.startswith("error")] == ["error: ?"]
        assert len(results) == (2 if mode == DELIBERATE else 3)
        assert said[-1] == f"#{results[-1]}"
        assert said[0].startswith(f"{expression(p)}~[") == (mode == DELIBERATE)
        for text, result in zip(said, results, strict=False):
            assert run_call(read(text)[0], TOOLS).result == result


def test_stitched_traces_hold_one_genuine_call_and_ignore_it() -> None:
    """The result is the calculator's; the lines after it are the text's own, and often disagree. Filtered ones never do."""
    ignored = 0
    for i, p in enumerate(PROBLEMS):
        for filtered in (False, True):
            chat = synthetic(p, random.Random(i), filtered)
            (call,) = [c for m in chat if m.role == "assistant" for c in read(m.content)]
            (result,) = [m.content for m in chat if m.role == "tool"]
            assert run_call(call, TOOLS).result == result
            right = judge(p, chat[-1].content).passed
            assert right or not filtered
            ignored += not right
    assert 20 < ignored < 120


def test_texts_without_tools_slip_about_as_often_as_they_should() -> None:
    right = sum(bool(judge(p, plain(p, random.Random(i))[-1].content).passed) for i, p in enumerate(PROBLEMS))
    assert 0.6 < right / len(PROBLEMS) < 0.85


def test_every_turn_of_a_trace_is_a_target_and_no_result_is() -> None:
    tokenizer, chat = characters(), real(PROBLEMS[0], random.Random(0), REACT, fail=1.0)
    example = chat_example(tokenizer, chat)
    learnt = tokenizer.decode([i for i, on in zip(example.ids, example.mask, strict=True) if on])
    assert learnt.replace("<|im_end|>", "") == "".join(m.content for m in chat if m.role == "assistant")


def test_a_bracket_that_is_not_closed_is_a_failed_call() -> None:
    (call,) = read("12+3~[12+3")
    assert failure(run_call(call, TOOLS)) is Failure.UNDECODABLE
    assert read("12+3=15\n#15") == []


# Arms -----------------------------------------------------------------------------------------------------------------------------------


def test_arms_differ_in_what_their_names_say() -> None:
    made = orders()
    assert made[T_R] == replace(made[T], shaped=True)
    assert made[T_C].objective.kl is not None
    assert replace(made[T_C].objective, kl=None) == made[TCR].objective
    assert replace(made[swept(0.2)].objective) == replace(made[T].objective, kl=None)
    assert made[CURATED] == replace(made[TCR], curated=True)
    assert made[ONE].objective == made[TCR].objective
    assert {swept(e) for e in EPSILONS} <= set(made)
    rewards = {name: recipe(PLAN, order, 0).reward.combine for name, order in made.items()}
    assert rewards[T] != rewards[T_R] == rewards[TCR] == rewards[SCR]


def test_sets_share_no_problem_and_modes_share_all() -> None:
    """Only the last character of a prompt differs between modes; the unseen family is in no RL set."""
    test, planned = asked_of(TINY, TEST, 0), asked_of(TINY, "deliberate", 0)
    assert [str(p.prompt)[:-1] for p in test] == [str(p.prompt)[:-1] for p in planned]
    assert {str(p.prompt)[-1] for p in planned} == {DELIBERATE}
    assert {p.meta["family"] for p in asked_of(PLAN, UNSEEN, 0)} == {"products"}
    assert all("products" not in order.families for order in orders().values())
    assert not {p.id for p in asked_of(PLAN, TEST, 0)} & {p.id for p in PROBLEMS}


def step(i: int, tokens: int = 100, **more: float) -> Step:
    told = {"length": 20.0, "pass_rate": 0.5, "zero_variance": 0.3, "truncated": 0.0, "tool_calls": 2.0, "entropy": 0.2}
    return Step(i, tokens, **{**told, **more})


def test_arms_stop_at_the_tokens_to_the_nearest_step_wherever_they_were_killed() -> None:
    """64 attempts of 20 tokens are 1,280 a step: 12,000 tokens are 9.4 steps."""
    log: list[Step] = []
    stops: list[int] = []
    while not stops or stops[-1] != next_stop(PLAN, PLAN.tokens, log):
        stops.append(next_stop(PLAN, PLAN.tokens, log))
        log = [step(i, 1280 * (i + 1)) for i in range(stops[-1])]
    assert stops == [4, 8, 9]
    assert next_stop(PLAN, PLAN.tokens, [step(i, 1280 * (i + 1)) for i in range(6)]) == 8


async def test_an_arm_goes_on_where_it_was_left_and_bounds_do_nothing_on_policy(tmp_path: Path) -> None:
    """Training is not repeated, the examination is; its attempts are the same."""
    begin = base(TINY, tmp_path / "base")
    first = await arm(TINY, CURATED, 0, begin, tmp_path / "arm")
    assert {a.where for a in first.asked} == {TEST}
    assert len(first.ratings) == 3
    (tmp_path / "arm" / "arm.json").unlink()
    again = await arm(TINY, CURATED, 0, begin, tmp_path / "arm")
    assert (again.asked, again.log) == (first.asked, first.log)
    assert len(log_of(Run(tmp_path / "arm", {}))) == len(first.log)
    assert await same_weights(TINY, begin, tmp_path / "same", 0)
    assert opened(begin).name


# Verdicts -------------------------------------------------------------------------------------------------------------------------------

LEVELS = {
    REAL: 0.6, STITCHED: 0.2, T: 0.7, TCR: 0.9, SCR: 0.7, ONE: 0.7, CURATED: 1.0, swept(0.2): 0.6, swept(0.5): 0.8, swept(1.0): 0.6,
}  # fmt: skip


def attempts(where: str, i: int, share: float, calls: int = 2, failed: int = 0) -> Asked:
    right = [j < round(share * 32) - (i % 2 if share < 1 else 0) for j in range(32)]
    return Asked(where, str(i), "sums", right, [20] * 32, [calls] * 32, [failed] * 32, [False] * 32)


def made(levels: dict[str, float], logged: Mapping[str, dict[str, float]], gone: float = 0.0) -> list[Arm]:
    """Arms as accurate as wanted on all but a third of the problems, which none of them solves unless it is better than .85."""
    arms = []
    for name, share in {**levels, PROSE: 0.1}.items():
        for seed in range(3):
            own = [attempts(w, i, share if i % 3 or share > 0.85 else 0.0) for w in (TEST, UNSEEN) for i in range(12)]
            if name == REAL:
                own = [attempts(TEST, i, share if i % 3 else 0.0) for i in range(12)]
                own += [attempts("react", i, 0.5, 3, 1) for i in range(12)] + [attempts("deliberate", i, 0.8, 1, 0) for i in range(12)]
            told = {key: of.get(name, of[""]) for key, of in logged.items()}
            log = [step(i, 1000 * (i + 1), **told, **({"tool_calls": gone if i else 1.0} if name == PROSE else {})) for i in range(9)]
            arms.append(Arm(name, seed, [] if name in (REAL, STITCHED) else log, own, [0, 4, 8], 3))
    return arms


LOGGED = {
    "pass_rate": {"": 0.6, TCR: 0.7}, "entropy": {"": 0.1, TCR: 0.2, swept(1.0): 0.4}, "zero_variance": {"": 0.4, CURATED: 0.2},
}  # fmt: skip


def verdicts(arms: Sequence[Arm], same: bool = True) -> dict[str, Result]:
    return {f.claim: f.result for f in findings(PLAN, arms, same)}


def test_what_the_paper_says_holds_where_it_is_so() -> None:
    found = verdicts(made(LEVELS, LOGGED))
    assert list(found) == [c.id for c in CLAIMS]
    assert {claim for claim, result in found.items() if result is not Result.HOLDS} == {"real-pass"}


@pytest.mark.parametrize(
    ("claim", "levels"),
    [
        ("real", {STITCHED: 0.6}), ("tcr", {T: 0.9}), ("widens", {TCR: 0.6}), ("token-level", {SCR: 0.9}), ("diverse", {ONE: 0.9}),
        ("curated", {CURATED: 0.9}), ("sweet-spot", {swept(1.0): 0.95}),
    ],
)  # fmt: skip
def test_no_difference_fails(claim: str, levels: dict[str, float]) -> None:
    assert verdicts(made({**LEVELS, **levels}, LOGGED))[claim] is Result.FAILS


def test_logs_that_do_not_differ_fail_too() -> None:
    found = verdicts(made(LEVELS, {key: {"": 0.3} for key in LOGGED}))
    assert {found[c] for c in ("efficient", "entropy", "diverse-entropy", "curated-signal")} == {Result.FAILS}


def test_a_difference_that_one_seed_reverses_is_unclear() -> None:
    arms = made(LEVELS, LOGGED)
    other = [a for a in made({**LEVELS, T: 0.95}, LOGGED) if (a.name, a.seed) == (T, 2)]
    assert verdicts([a for a in arms if (a.name, a.seed) != (T, 2)] + other)["tcr"] is Result.UNCLEAR


def test_calls_that_do_not_go_fail_and_calls_that_go_half_way_are_unclear() -> None:
    assert verdicts(made(LEVELS, LOGGED, gone=0.9))["long-cot"] is Result.FAILS
    assert verdicts(made(LEVELS, LOGGED, gone=0.3))["long-cot"] is Result.UNCLEAR


def test_other_weights_falsify_the_identity_and_nothing_measured_is_unclear() -> None:
    assert verdicts(made(LEVELS, LOGGED), same=False)["on-policy"] is Result.FAILS
    assert set(verdicts([]).values()) == {Result.HOLDS, Result.UNCLEAR}


def test_the_page_says_every_claim_and_every_figure() -> None:
    arms = made(LEVELS, LOGGED)
    evidence = Evidence(
        "grpo-tcr", "a scale", "reasonry run grpo-tcr", "abc", "2026-01-01", "a machine", (0, 1, 2), "a budget", measures(PLAN, arms),
        findings(PLAN, arms, True),
    )  # fmt: skip
    html = report(PLAN, arms, evidence)
    assert html.count("<svg") == 6
    assert all(c.says.split(":")[0][:30] in html for c in CLAIMS)
    assert "tokens sampled in training" in html


def test_the_paper_is_on_the_list_and_its_parts_agree() -> None:
    assert PAPERS["grpo-tcr"] is PAPER
    assert PAPER.slug in {entry.slug for entry in CATALOGUE}
    assert len({c.id for c in PAPER.claims}) == len(PAPER.claims)
