"""Running, logging, resuming: nothing is done twice, nothing is lost, a failure is data."""

import asyncio
import json
from dataclasses import dataclass

import pytest
from scripted import ScriptedLM, Sums, Votes

from reasonry.core import Budget, Problem, Stop, Trajectory, UserError, Verdict, open_run
from reasonry.evaluate import Snapshot, compare, evaluate, seed_of
from reasonry.evaluate.attempts import sentence

BUDGETS = [Budget(completion_tokens=16), Budget(completion_tokens=48)]


def solvers(lm: ScriptedLM):
    return [Votes(lm, Sums()), Votes(lm, Sums(), n=3, name="votes")]


async def run_all(path, lm=None, resume=False, **more):
    lm = lm or ScriptedLM()
    problems = Sums().problems("test", 12)
    return await compare(solvers(lm), Sums(), problems, BUDGETS, open_run(path, {}, resume), attempts=2, seed=5, **more)


async def test_every_job_is_done_once_and_logged_whole(tmp_path):
    seen: list[Snapshot] = []
    report = await run_all(tmp_path, progress=seen.append, concurrency=7)
    records = [json.loads(line) for line in (tmp_path / "attempts.jsonl").read_text().splitlines()]
    keys = {(r["solver"], r["budget"], r["problem"], r["attempt"]) for r in records}
    assert len(records) == len(keys) == 2 * 2 * 12 * 2 == sum(a.attempts for a in report.arms)
    assert all(r["trajectory"]["verdict"] and r["trajectory"]["segments"] for r in records)
    assert [s.done for s in seen] == list(range(len(records) + 1))
    assert seen[-1].total == len(records)
    assert seen[-1].scores.keys() == {"single", "votes"}


async def test_all_solvers_get_the_same_seed_for_the_same_problem_and_attempt(tmp_path):
    await run_all(tmp_path)
    seeds: dict[tuple[str, int], set[int]] = {}
    for line in (tmp_path / "attempts.jsonl").read_text().splitlines():
        record = json.loads(line)
        seeds.setdefault((record["problem"], record["attempt"]), set()).add(record["seed"])
    assert all(len(s) == 1 for s in seeds.values())
    assert len({s for group in seeds.values() for s in group}) == 24
    assert seed_of(5, "test-0003", 1) in seeds["test-0003", 1]


def test_the_seed_of_an_attempt_never_changes():
    """A stored run can only be resumed while this formula stands."""
    assert [seed_of(0, "test-0", 0), seed_of(0, "test-0", 1), seed_of(1, "test-0", 0)] == [1629888405, 1771541690, 1938568634]


async def test_concurrency_changes_nothing_but_the_order(tmp_path):
    one = await run_all(tmp_path / "one", ScriptedLM(seconds=0.001), concurrency=1)
    many = await run_all(tmp_path / "many", ScriptedLM(seconds=0.001), concurrency=50)
    assert one == many


async def test_at_most_concurrency_attempts_are_in_flight(tmp_path):
    now, most = 0, 0

    @dataclass(frozen=True)
    class Busy:
        name: str = "busy"

        async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1
            return Trajectory(problem.id).finish(Stop.EOS, "#### 1")

    await evaluate(Busy(), Sums(), Sums().problems("test", 40), Budget(), open_run(tmp_path, {}, False), concurrency=6)
    assert most == 6


@pytest.mark.parametrize("kept", [0, 1, 17, 60, 96])
async def test_resume_after_losing_the_log_s_tail_does_only_what_is_missing(tmp_path, kept):
    """Also when the last line is torn in the middle."""
    whole = await run_all(tmp_path / "whole")
    lines = (tmp_path / "whole" / "attempts.jsonl").read_bytes().splitlines(keepends=True)
    torn = tmp_path / "torn"
    open_run(torn, {}, False)
    (torn / "attempts.jsonl").write_bytes(b"".join(lines[:kept]) + b"".join(lines[kept : kept + 1])[:-40])
    lm, seen = ScriptedLM(), list[Snapshot]()
    assert await run_all(torn, lm, resume=True, progress=seen.append) == whole
    assert seen[0].resumed == seen[0].done == kept
    assert len((torn / "attempts.jsonl").read_bytes().splitlines()) == 96
    assert bool(lm.calls) == (kept < 96)


@dataclass(frozen=True)
class Failing:
    """Fails on some problems, as a network does."""

    broken: frozenset[str]
    error: Exception
    name: str = "failing"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        if problem.id in self.broken:
            raise self.error
        return Trajectory(problem.id).finish(Stop.EOS, f"#### {problem.answer}")


async def test_a_failed_attempt_is_data_unscored_and_never_stops_its_siblings(tmp_path):
    broken = frozenset({"test-0000", "test-0004"})
    error = ConnectionError("lost the line to host; Authorization: Bearer abcdef123456")
    problems = Sums().problems("test", 10)
    report = await evaluate(Failing(broken, error), Sums(), problems, Budget(), open_run(tmp_path, {}, False))
    arm = report.arms[0]
    assert (arm.attempts, arm.scored, arm.unscored, arm.errors, arm.stops) == (10, 8, 2, 2, {"eos": 8, "error": 2})
    assert arm.accuracy is not None
    assert arm.accuracy.mean == 1.0
    assert report.first_error == "ConnectionError: lost the line to host; Authorization: Bearer ***"
    assert "abcdef123456" not in "".join(p.read_text() for p in tmp_path.iterdir())
    assert "Traceback" in (tmp_path / "errors.jsonl").read_text()


async def test_resume_tries_failed_attempts_again(tmp_path):
    problems = Sums().problems("test", 10)
    await evaluate(Failing(frozenset({"test-0004"}), OSError("down")), Sums(), problems, Budget(), open_run(tmp_path, {}, False))
    report = await evaluate(Failing(frozenset(), OSError()), Sums(), problems, Budget(), open_run(tmp_path, {}, True))
    assert report.arms[0].errors == 0
    assert report.arms[0].attempts == report.arms[0].scored == 10


async def test_a_user_error_at_the_very_start_stops_everything_and_later_ones_do_not(tmp_path):
    problems = Sums().problems("test", 10)
    with pytest.raises(UserError, match="no such model"):
        await evaluate(
            Failing(frozenset({"test-0000"}), UserError("no such model")), Sums(), problems, Budget(), open_run(tmp_path, {}, False)
        )
    later = Failing(frozenset({"test-0007"}), UserError("prompt too long"))
    report = await evaluate(later, Sums(), problems, Budget(), open_run(tmp_path / "later", {}, False))
    assert report.arms[0].errors == 1


async def test_an_unfinished_trajectory_and_one_that_is_no_json_are_errors_of_their_solver(tmp_path):
    @dataclass(frozen=True)
    class Odd:
        name: str = "odd"

        async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
            trace = Trajectory(problem.id)
            return trace.finish(Stop.EOS, "", thing=object()) if problem.id == "test-0001" else trace

    report = await evaluate(Odd(), Sums(), Sums().problems("test", 2), Budget(), open_run(tmp_path, {}, False))
    assert report.arms[0].errors == 2
    assert report.first_error is not None
    assert "not finished" in report.first_error


async def test_a_judge_that_raises_leaves_the_attempt_unscored(tmp_path):
    @dataclass(frozen=True)
    class BadJudge(Sums):
        def judge(self, problem: Problem, answer: str) -> Verdict:
            raise RuntimeError("cannot read")

    report = await evaluate(
        Failing(frozenset(), OSError()), BadJudge(), Sums().problems("test", 3), Budget(), open_run(tmp_path, {}, False)
    )
    assert report.arms[0].accuracy is None
    assert (report.arms[0].unscored, report.arms[0].errors) == (3, 0)


async def test_resume_with_another_seed_is_refused(tmp_path):
    await run_all(tmp_path)
    with pytest.raises(UserError, match="another seed than 6"):
        await compare(solvers(ScriptedLM()), Sums(), Sums().problems("test", 12), BUDGETS, open_run(tmp_path, {}, True), attempts=2, seed=6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"solvers": []}, "solvers: none given"),
        ({"solvers": [Votes(ScriptedLM(), Sums())] * 2}, "'single' is there twice"),
        ({"problems": []}, "problems: none given"),
        ({"budgets": [Budget(calls=3)] * 2}, "'calls=3' is there twice"),
        ({"attempts": 0}, "attempts: is 0"),
        ({"concurrency": 0}, "concurrency: is 0"),
    ],
)
async def test_an_empty_or_ambiguous_request_is_refused_in_one_sentence(tmp_path, change, says):
    request = {"solvers": [Votes(ScriptedLM(), Sums())], "problems": Sums().problems("test", 2), "budgets": [Budget()], **change}
    with pytest.raises(UserError, match=says):
        await compare(task=Sums(), run=open_run(tmp_path, {}, False), **request)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-abcdefgh12345678 refused", "key sk-*** refused"),
        ("api_key=12345678abcdef in url", "api_key=*** in url"),
        ("two\nlines  and more", "two lines and more"),
    ],
)
def test_error_sentences_hold_one_line_and_no_key(text, shown):
    assert sentence(RuntimeError(text)) == f"RuntimeError: {shown}"
    assert len(sentence(RuntimeError("x" * 5000))) == 300
