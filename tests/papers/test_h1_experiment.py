"""The parts of h1's experiment that decide: chains without shared atoms, equal budgets, verdict rules, and what is resumed."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from reasonry.core import Evidence, Problem, Result
from reasonry.core.run import Run
from reasonry.lm.load import model_folder
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers import PAPERS
from reasonry.papers.catalogue import CATALOGUE
from reasonry.papers.h1 import PAPER, same_weights
from reasonry.papers.h1_agent import growth
from reasonry.papers.h1_arms import arm, coin, limit, log_of, next_stop, steps_right
from reasonry.papers.h1_findings import CLAIMS, CONTROL, LONG, MIX, RAMP, SHORT, START, Arm, Draws, Facts, Plan, Row, Step, findings
from reasonry.papers.h1_measures import measures
from reasonry.papers.h1_page import report
from reasonry.papers.h1_start import start
from reasonry.papers.h1_task import TOP, bundle, chains
from reasonry.tasks.judges import hash_answer

PLAN = Plan()
TINY = replace(
    PLAN, teaching=2, tokens=900, control_tokens=400, every=2, steps_per_stage=1, prompts=2, G=4, pool=20, validation=2, problems=3, H=2,
    longest=3, drawn_length=3, drawn_problems=2, draws=4,
)  # fmt: skip


# Chains ---------------------------------------------------------------------------------------------------------------------------------


def operations(problem: Problem) -> set[str]:
    """The two operations of each problem in a chain, whatever stands before them."""
    return set(re.findall(r"(?:^|=)(?:\(.*?\)|\w+)((?:[-+*]\d+){2})$", str(problem.prompt), re.MULTILINE))


def test_no_atom_of_a_test_chain_is_in_a_training_chain_in_any_slot():
    seen = {o for h in (1, 4) for p in chains(h).problems("train", 300) for o in operations(p)}
    for split in ("validation", "test"):
        new = {o for h in (1, 4, 6) for p in chains(h, split).problems(split, 60) for o in operations(p)}
        assert new
        assert not seen & new


def test_labels_are_what_the_prompt_says_in_the_usual_order_of_operations():
    """Each line evaluated with the values of the lines before it."""
    for h in (1, 2, 6):
        for problem in chains(h).problems("train", 40):
            values: dict[str, int] = {}
            lines = str(problem.prompt).splitlines()
            for line in lines[:-1] if h > 1 else [f"P={lines[0]}"]:
                name, _, expression = line.partition("=")
                values[name] = eval(expression, {}, values)
                assert 0 <= values[name] <= TOP
            assert str(list(values.values())[-1]) == problem.answer


def test_another_first_value_gives_every_atom_another_answer():
    """No atom can be answered without its slot, so no chain can be without its earlier steps."""
    for atom in chains(1).atoms("train")[:200]:
        assert atom.slot is not None
        assert atom.solve is not None
        answers = [y for x in range(TOP + 1) if (y := atom.solve(Fraction(x))) is not None]
        assert len(answers) == len(set(answers)) > 1


def test_a_worked_answer_fits_into_its_limit_with_room_to_spare():
    tokenizer = Tokenizer.load(model_folder("pocket-1m"))
    for h in range(1, PLAN.longest + 1):
        longest = max(len(tokenizer.encode(f"{p.meta['solution']}\n#### {p.answer}")) + 1 for p in chains(h).problems("train", 60))
        assert 1.05 * longest < limit(PLAN, h)


@pytest.mark.parametrize("linked", [False, True])
def test_bundles_have_at_most_one_link_and_right_answers(linked: bool):
    atoms, rng = chains(1).atoms("train"), random.Random(0)
    for k in (2, 4, 6):
        prompt, worked = bundle(k, linked, atoms, rng)
        values: dict[str, int] = {}
        for line in prompt.content.splitlines()[:-1]:
            name, _, expression = line.partition("=")
            values[name] = eval(expression, {}, values)
        assert len(re.findall(r"=\(?[A-Z]", prompt.content)) == int(linked)
        assert [line.rpartition("=")[2] for line in worked.content.splitlines()[:-1]] == [str(v) for v in values.values()]
        assert hash_answer(worked.content) == str(list(values.values())[-1])


def test_steps_are_read_by_line_and_the_last_from_the_answer():
    problem = Problem("p", "", "7", {"values": ["3", "5", "7"]})
    assert steps_right(problem, "P=1+2=3\nQ=3+2=5\nR=5+2=7\n#### 7") == [True, True, True]
    assert steps_right(problem, "X=3\nQ=3+2=6\n#### 7") == [True, False, True]
    assert steps_right(problem, "3") == [True, None, False]


# Arms -----------------------------------------------------------------------------------------------------------------------------------


def steps(lengths: Sequence[float], plan: Plan = PLAN) -> list[Step]:
    made, tokens = list[Step](), 0
    for i, length in enumerate(lengths):
        tokens += round(length * plan.prompts * plan.G)
        made.append(Step(i, 0, tokens, length, 0.5, 0.5, 0.0, 1000.0))
    return made


def test_arms_stop_at_the_budget_to_the_nearest_step():
    """128 answers of 10 tokens are 1,280 a step: 20,000 tokens are 15.6 steps, so 16."""
    stops, log = list[int](), list[Step]()
    while not stops or stops[-1] != len(log) or next_stop(PLAN, 20_000, log) != stops[-1]:
        stops.append(next_stop(PLAN, 20_000, log))
        log = steps([10.0] * stops[-1])
    assert stops == [10, 16]


def test_where_an_arm_stops_does_not_depend_on_where_it_was_killed():
    """A log ahead of its checkpoint is cut back by the loop; the stop must not have looked at what is cut."""
    whole = steps([10.0] * 10)
    assert next_stop(PLAN, 20_000, whole) == next_stop(PLAN, 20_000, [*whole, *steps([90.0] * 14)[10:]])


@pytest.mark.slow
async def test_an_arm_goes_on_where_it_was_left(tmp_path: Path):
    """Training is not repeated, the examination is; its rows are the same."""
    begin = start(TINY.model, TINY.teaching, 0, tmp_path / "start")
    first = await arm(TINY, RAMP, 0, begin, tmp_path / RAMP)
    assert abs(first.log[-1].tokens - TINY.tokens) < 300
    assert {s.stage for s in first.log} == {0, 1}
    assert {(r.h, r.seed) for r in first.rows} == {(1, 0), (2, 0), (3, 0)}
    assert [d.n for d in first.draws] == [4, 4]
    (tmp_path / RAMP / "arm.json").unlink()
    again = await arm(TINY, RAMP, 0, begin, tmp_path / RAMP)
    assert (again.rows, again.log, again.draws) == (first.rows, first.log, first.draws)
    assert len(log_of(Run(tmp_path / RAMP, {}))) == len(first.log)


@pytest.mark.slow
async def test_curricula_that_are_the_same_training_leave_the_same_weights(tmp_path: Path):
    """h1's oracle, with the real loop and a language model, to the last bit."""
    found = await same_weights(replace(PLAN, H=2), model_folder("pocket-1m"), tmp_path, 0)
    assert found == {"H = 1 and standard training": True, "gate 0 and only the longest": True}


def test_the_controls_reward_does_not_look_at_answers():
    from reasonry.core import Cost, Segment, Stop, Trajectory, Verdict

    def group(right: bool) -> list[Trajectory]:
        segment = Segment((1,), (2,), "", (0.0,), Stop.EOS, Cost())
        return [Trajectory("p", (segment,), verdict=Verdict(float(right), right)) for _ in range(64)]

    problem = Problem("p", "", "1")
    paid = [s["score"] for s in coin(problem, group(True)) if s]
    assert paid == [s["score"] for s in coin(problem, group(False)) if s]
    assert 16 < sum(paid) < 48


# Verdicts -------------------------------------------------------------------------------------------------------------------------------

FACTS = Facts(
    {
        name: growth((2, 4, 6, 8), [f(H) for H in (2, 4, 6, 8)])
        for name, f in {
            "only-H": lambda H: 3.6**H, "uniform mix": lambda H: H**2.9, "curriculum": lambda H: H**2.3, "dense reward": lambda H: H**2.0,
        }.items()
    },
    {"only-H": [1, 2, 3, 4], "uniform mix": [1, 2, 3, 4], "curriculum": [1, 2, 3, 4], "dense reward": [1, 2, 3, 4]},
    {"a": True, "b": True}, dict.fromkeys(range(1, 7), 0.05),
)  # fmt: skip
LEVELS = {START: 0.3, RAMP: 0.7, LONG: 0.3, SHORT: 0.3, MIX: 0.5, CONTROL: 0.3}


def made(levels: dict[str, float], signal: dict[str, float] | None = None, seeds: int = 3, n: int = 60, single: float = 0.9) -> list[Arm]:
    """Arms whose accuracy on chains is as wanted at every length above one, and whose groups lack a signal as often as wanted."""
    arms = list[Arm]()
    for name, level in levels.items():
        for seed in range(seeds):
            rows = []
            for h in range(1, PLAN.longest + 1):
                for i in range(n):
                    right = i < n * (single if h == 1 else level)
                    rows.append(Row(name, seed, h, str(i), right, False, [True] * (h - 1) + [right]))
            zero = (signal or {LONG: 0.95, RAMP: 0.4}).get(name, 0.5)
            log = [
                Step(i, s, 100 * (i + 1), 10.0, 0.5, zero, 0.0, 1000.0, 0.5 if i % 10 == 9 else None)
                for s in (range(PLAN.H) if name == RAMP else range(1))
                for i in range(20 * s, 20 * s + 20)
            ] if name != START else []  # fmt: skip
            draws = [Draws(name, seed, str(i), 128, 128, round(128 * level * (i % 2))) for i in range(16)]
            arms.append(Arm(name, seed, log, rows, draws if name in PLAN.drawn_arms else []))
    return arms


def verdicts(arms: list[Arm], facts: Facts = FACTS) -> dict[str, Result]:
    return {f.claim: f.result for f in findings(PLAN, arms, facts)}


def test_every_claim_gets_a_verdict_and_no_other_does():
    assert [f.claim for f in findings(PLAN, made(LEVELS), FACTS)] == [c.id for c in CLAIMS]


def test_what_the_paper_says_holds_where_it_is_so():
    found = verdicts(made(LEVELS))
    assert {claim for claim, result in found.items() if result is not Result.HOLDS} == {"new-paths"}


@pytest.mark.parametrize(
    ("claim", "arm_name"), [("over-short", SHORT), ("over-long", LONG), ("over-mix", MIX), ("reaches", START)]
)  # fmt: skip
def test_a_curriculum_that_is_no_better_fails_its_comparison(claim: str, arm_name: str):
    assert verdicts(made({**LEVELS, arm_name: 0.7}))[claim] is Result.FAILS
    assert verdicts(made({**LEVELS, arm_name: 0.68}))[claim] is not Result.FAILS


def test_a_difference_that_one_seed_reverses_is_unclear():
    arms = made(LEVELS)
    other = [a for a in made({**LEVELS, MIX: 0.8}) if a.name == MIX and a.seed == 2]
    assert verdicts([a for a in arms if (a.name, a.seed) != (MIX, 2)] + other)["over-mix"] is not Result.HOLDS


def test_arms_that_cannot_do_a_length_show_nothing_there():
    assert verdicts(made(dict.fromkeys(LEVELS, 0.0)))["over-short"] is Result.UNCLEAR


def test_pass_at_k_counts_whole_chains_and_needs_the_gain_at_large_k():
    """Every problem has the answer right in all attempts, so the gain must come from attempts with every step right."""
    arms = made(LEVELS)
    few = [msgspec.structs.replace(a, draws=[msgspec.structs.replace(d, whole=0) for d in a.draws]) if a.name == START else a for a in arms]
    assert verdicts(few)["new-paths"] is Result.HOLDS
    same = [msgspec.structs.replace(a, draws=[msgspec.structs.replace(d, whole=64) for d in a.draws]) for a in arms]
    assert verdicts(same)["new-paths"] is Result.FAILS


def test_a_start_without_a_gap_and_a_long_arm_with_signal_contradict_the_paper():
    assert verdicts(made({**LEVELS, START: 0.85}))["gap"] is Result.FAILS
    assert verdicts(made(LEVELS, {LONG: 0.4, RAMP: 0.6}))["vanishing"] is Result.FAILS


def test_a_control_that_gains_as_much_contradicts_the_reward():
    assert verdicts(made({**LEVELS, CONTROL: 0.7}))["reward"] is Result.FAILS


def test_one_other_weight_falsifies_the_identity_and_a_better_line_the_theory():
    assert verdicts(made(LEVELS), replace(FACTS, same_weights={"a": True, "b": False}))["identity"] is Result.FAILS
    turned = replace(FACTS, grown={**FACTS.grown, "curriculum": FACTS.grown["only-H"], "only-H": FACTS.grown["curriculum"]})
    found = verdicts(made(LEVELS), turned)
    assert (found["exponential"], found["polynomial"]) == (Result.FAILS, Result.FAILS)


def test_nothing_measured_is_unclear_not_a_result():
    found = verdicts([])
    assert {found[c] for c in ("gap", "vanishing", "reaches", "over-short", "over-long", "over-mix", "new-paths", "reward")} == {
        Result.UNCLEAR
    }


def test_the_page_says_every_claim_and_every_figure():
    arms = made(LEVELS)
    evidence = Evidence(
        "h1", "a scale", "reasonry run h1", "abc", "2026-01-01", "a machine", (0, 1, 2), "a budget", measures(PLAN, arms, FACTS),
        findings(PLAN, arms, FACTS),
    )  # fmt: skip
    html = report(PLAN, arms, FACTS, evidence)
    assert html.count("<svg") == 6
    assert all(c.says.split(":")[0][:40] in html for c in CLAIMS)
    assert "accuracy at h = 6" in html
    assert "atoms executed until H = 8" in html


def test_the_paper_is_on_the_list_and_its_parts_agree():
    assert PAPERS["h1"] is PAPER
    assert PAPER.slug in {entry.slug for entry in CATALOGUE}
    assert len({c.id for c in PAPER.claims}) == len(PAPER.claims)
