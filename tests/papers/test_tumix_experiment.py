"""TUMIX's experiment: its questions, what is taught, its rules on made-up rows, and a whole small run that is resumed."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from reasonry.core import Result, Sampling
from reasonry.papers import tumix as paper
from reasonry.papers.grpo_tcr_start import characters
from reasonry.papers.tumix_arms import alone, best, group_rows
from reasonry.papers.tumix_findings import ALL, ALONE, BEST, BEST_SIX, CLAIMS, GROUPS, SIX, STOPS, Fact, Plan, Row, findings, kept, measures
from reasonry.papers.tumix_lab import TURN, Told, Turn, searches
from reasonry.papers.tumix_start import alone as demonstrated
from reasonry.papers.tumix_start import document, peers_of, revised, told, world
from reasonry.papers.tumix_task import KINDS, NOISE, THINGS, Mixture, number, read_answer, rumour
from reasonry.solve.tumix import AGENTS, SOURCES
from reasonry.solve.tumix_words import LETTERS
from reasonry.tasks.skill import split_of

TASK = Mixture(world=3)


def test_the_last_marked_number_counts():
    for text, answer in {"7<12>": "12", "<1><2>": "2", "<?>": None, "<012>": "12", "12": None, "<1.5>": None, "<-3>": "-3"}.items():
        assert read_answer(text) == answer


def test_gold_answers_follow_from_the_encyclopaedia():
    for p in TASK.problems("test", 40):
        text = str(p.prompt).rstrip("?")
        if p.meta["kind"] == "word":
            assert p.answer.isdecimal()
            continue
        terms = [int(t) if t.isdecimal() else number(t, 3) for t in text.split("*")]
        assert int(p.answer) == (terms[0] * terms[1] if len(terms) == 2 else terms[0])


def test_kinds_come_by_turns_and_splits_share_nothing():
    found = {split: TASK.problems(split, 40) for split in ("train", "validation", "test")}
    assert [p.meta["kind"] for p in found["test"][:8]] == list(KINDS) * 2
    prompts = [{p.prompt for p in ps} for ps in found.values()]
    assert not prompts[0] & prompts[2]
    assert not prompts[1] & prompts[2]


def test_the_noisy_index_errs_as_often_as_it_says_and_always_alike():
    wrong = [rumour(t, 1) != number(t, 1) for t in THINGS]
    assert sum(wrong) / len(wrong) == pytest.approx(NOISE, abs=0.05)
    gs, llm, com = (searches(1)[s] for s in SOURCES)
    for thing in THINGS[:20]:
        assert gs.run(query=thing) == str(number(thing, 1))
        assert com.run(query=thing) == f"{gs.run(query=thing)}/{llm.run(query=thing)}"
    assert gs.run(query="xyz").startswith("error: ")


def test_demonstrations_are_true_where_the_agent_can_know():
    """Alone and with the exact index: C+ computes right, S looks up right, CS does both; who cannot says so."""
    rng = random.Random(0)
    for _ in range(200):
        w = world(rng)
        values = [w.right[t] for t in w.asked.things] or list(w.asked.terms)
        truth = sum(values) if w.asked.kind == "word" else values[0] if len(values) == 1 else values[0] * values[1]
        answers = {kind: read_answer(told(demonstrated(letter, w, False, rng))) for kind, letter in LETTERS.items()}
        if w.asked.things:
            assert {answers[k] for k in ("Base", "CoT", "CoT-code", "C", "C+")} == {None}
            if w.index == "exact":
                assert answers["CS"] == str(truth)
                assert answers["S"] == (str(truth) if w.asked.kind == "fact" else None)
        else:
            assert {answers[k] for k in ("CoT-code", "C+", "CS")} == {str(truth)}
            assert {answers[k] for k in ("Base", "CoT", "S")} == {str(truth) if w.asked.kind == "word" else None}


def test_demonstrations_are_of_the_train_split_and_short_enough():
    rng = random.Random(1)
    tokenizer = characters()
    for i in range(150):
        w = world(rng)
        assert split_of(f"{w.asked.terms}" if w.asked.kind == "word" else w.asked.text) == "train"
        example = document(tokenizer, random.Random(i))
        assert any(example.mask)
        assert len(example.ids) < 600
        for letter in LETTERS.values():
            assert all(len(said) < TURN.max_tokens for said, _ in demonstrated(letter, w, False, rng))


def test_a_revision_uses_what_others_looked_up():
    """C cannot search: it computes with the numbers shown; Base takes the answer that was made with a tool."""
    rng = random.Random(2)
    while (w := world(rng)).asked.kind != "mixed":
        pass
    a, b = w.asked.things
    seen = [f"[{a}]20[{b}]30<599>", "<?>"]
    assert revised(LETTERS["C"], w, seen, rng) == [("{20*30}", "600"), ("<600>", None)]
    assert revised(LETTERS["Base"], w, [*seen, "{20*30}600<600>", "<1>", "<1>"], rng) == [("<600>", None)]
    assert revised(LETTERS["Base"], w, ["<?>"], rng) == [("<?>", None)]
    assert len(peers_of(w, rng)) in (2, 3, 5, 8, 15)


def turn(agent: str, answer: str | None) -> Turn:
    return Turn(agent, f"<{answer}>", answer, 10, 50, 2)


def test_rows_count_what_was_said():
    """Averages, coverage, the vote in expectation over a tie, cumulative cost, and flips, on one question by hand."""
    (problem,) = Mixture(kinds=("arithmetic",)).problems("test", 1)
    right = str(problem.answer)
    said = Told(problem.id, [[turn("a", right), turn("b", "1")], [turn("a", "1"), turn("b", "1")], [turn("a", right), turn("b", right)]])
    one, two, three = group_rows(0, "g", [said], [problem])
    assert (one.average, one.coverage, one.vote, one.tokens, one.calls) == (0.5, 1.0, 0.5, 20, 4)
    assert (two.average, two.vote, two.to_wrong, two.to_right, two.tokens) == (0.0, 0.0, 0.5, 0.0, 40)
    assert (three.to_right, three.vote, three.prompt_tokens) == (1.0, 1.0, 300)
    (row,) = alone(0, "sc", [Told(problem.id, [[turn("a", right), turn("a", "1"), turn("a", right)]])], [problem], spent=30)
    assert row.vote == 1.0
    assert row.tokens == 30
    (row,) = alone(0, "sc", [Told(problem.id, [[turn("a", right), turn("a", "1"), turn("a", right)]])], [problem], spent=10)
    assert row.vote == pytest.approx(2 / 3)


def test_the_best_agent_is_the_most_accurate_and_then_the_first():
    (problem,) = Mixture(kinds=("arithmetic",)).problems("test", 1)
    right = str(problem.answer)
    answers = [right if a in ("S", "C+") else "1" for a in AGENTS]
    assert best([Told(problem.id, [[turn(a, x) for a, x in zip(AGENTS, answers, strict=True)]])], [problem])[:3] == ["S", "C+", "Base"]


def rows(better: float) -> list[Row]:
    """Groups whose vote, average and coverage move by `better` from round to round, and lie so far above what they are compared with."""
    made: list[Row] = []
    rng = random.Random(0)
    for seed in range(3):
        for i in range(60):
            base, kind = 0.4 + 0.2 * rng.random(), KINDS[i % 4]

            def row(arm: str, round: int, up: float, tokens: float, seed: int = seed, i: int = i, b: float = base, kind: str = kind) -> Row:
                return Row(seed, arm, f"p{i}", kind, round, b + up, b - up, b + up, tokens, 9, 9)

            for group in GROUPS:
                made += [row(group, r, better * (r - 1), 100 * r) for r in (1, 2, 3, 4)]
            for group, copies in ((ALL, BEST), (SIX, BEST_SIX)):
                made += [row(f"{group}, {stop}", 2, 3 * better, 200) for stop in STOPS]
                made.append(row(ALONE + copies, 1, 0.0, 200))
    return [replace(r, coverage=r.coverage - better) if r.arm == BEST else r for r in made]


def facts(better: float) -> list[Fact]:
    model = {0.0: 0.3, 0.9: 0.3 - better, 1.0: 0.0 if better > 0 else 0.1}
    return [
        fact
        for seed in range(3)
        for fact in (
            Fact(seed, "errors", "within", 0.5 + better), Fact(seed, "errors", "between", 0.5),
            Fact(seed, "groups", "held-out combined score of the best", 2 + better),
            *(Fact(seed, "model", f"advantage at correlation {rho:g}", value) for rho, value in model.items()),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("better", "result"), [(0.05, Result.HOLDS), (-0.05, Result.FAILS)])
def test_the_rules_say_holds_and_fails(better: float, result: Result):
    found = findings(rows(better), facts(better))
    assert [f.claim for f in found] == [c.id for c in CLAIMS]
    assert {f.claim: f.result for f in found} == {c.id: result for c in CLAIMS}


def test_what_a_stop_keeps():
    vote, tokens = kept(rows(0.05), ALL, "judge") or (0, 0)
    assert vote == pytest.approx(1.0)
    assert tokens == pytest.approx(0.5)
    assert measures([], []) == ()
    assert kept([], ALL, "judge") is None


def test_a_small_run_writes_its_page_and_a_second_one_does_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All arms by an untaught model with the real sandbox; what is there is not made again."""
    monkeypatch.setattr("reasonry.papers.tumix_lab.TURN", Sampling(max_tokens=4))
    plan = Plan(steps=1, batch=256, each=1, validation=4, rounds=3, pool=3, groups=20, model_questions=50)
    evidence = paper.run(tmp_path, (0,), plan)
    assert {f.claim for f in evidence.findings} == {c.id for c in CLAIMS}
    arms = {m.arm for m in evidence.measures}
    assert arms >= {f"{group}, round 3" for group in GROUPS} | {f"{ALL}, judge", f"{SIX}, oracle", ALONE + BEST, ALONE + BEST_SIX}
    assert "<svg" in (tmp_path / "report.html").read_text()
    kept = asyncio.run(paper.one_seed(tmp_path, plan, 0, tmp_path / "start"))
    with monkeypatch.context() as patch:
        patch.setattr(paper, "opened", None)
        assert asyncio.run(paper.one_seed(tmp_path, plan, 0, tmp_path / "start")) == kept
    (tmp_path / "seed-0" / "seed.json").unlink()
    monkeypatch.setattr("reasonry.papers.tumix_lab.tumix", None)
    assert asyncio.run(paper.one_seed(tmp_path, plan, 0, tmp_path / "start")) == kept
