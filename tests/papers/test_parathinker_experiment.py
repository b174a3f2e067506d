"""ParaThinker's experiment: traces are what they say, examples have their masks, verdicts follow the rules, a small run resumes."""

from __future__ import annotations

import random
from itertools import islice, pairwise
from pathlib import Path

import pytest

from reasonry.core import Result
from reasonry.nn.masks import PROMPT, SUMMARY
from reasonry.papers.parathinker import run
from reasonry.papers.parathinker_arms import counted, wrong_prefix
from reasonry.papers.parathinker_findings import ANY, CLAIMS, ONES, VOTE, Cell, Plan, arm, both, findings, para, verdict
from reasonry.papers.parathinker_lab import dependence
from reasonry.papers.parathinker_start import chains, coded, in_one, known, opened, parallel, side_by_side, words
from reasonry.papers.parathinker_task import (
    CANDIDATES,
    LONGEST,
    REGIONS,
    SIZE,
    TRY,
    Find,
    P,
    chain,
    in_a_row,
    lure,
    path,
    region,
    tried,
)
from reasonry.probe.stats import Estimate
from reasonry.tasks.skill import split_of

SMALLEST = Plan(base_steps=2, steps=2, batch=128, n=6, widths=(1, 2), trained=2, relays=2, votes=2, timed=1, prefixes=(0, 13), B=6, rest=6)
TOKENIZER = words(12)
FIND = Find()


def test_a_problem_has_one_answer_and_the_lure_is_not_it() -> None:
    for p in FIND.problems("test", 40, 0):
        a, b, y = (p.meta[k] for k in ("a", "b", "y"))
        assert [CANDIDATES[x] for x in range(1, P) if (a * x + b) % P == y] == [p.answer]
        assert CANDIDATES[lure(y)] != p.answer
        assert split_of(str(p.prompt)) == "test"


def test_paths_check_what_they_try_and_say_so() -> None:
    """A path that says `!` has found the answer, and one that says `?` gives the lure; both within the budget."""
    right = 0
    problems = FIND.problems("train", 200, 0)
    for i, p in enumerate(problems):
        text = path(p, random.Random(i))
        assert len(text) <= LONGEST < Plan().B
        assert text.count("+") == text.endswith("!")
        assert FIND.extract(text) == (p.answer if text.endswith("!") else CANDIDATES[lure(p.meta["y"])])
        tries = [text[k : k + TRY] for k in range(1, len(text) - 3, TRY)]
        assert all(t == tried(p, CANDIDATES.index(t[0])) and region(CANDIDATES.index(t[0])) == text[0] for t in tries)
        right += text.endswith("!")
    assert 0.1 < right / len(problems) < 0.35, "right paths are a minority"


def test_chains_stay_in_their_region_and_rows_stop_at_the_first_that_found_it() -> None:
    for i, p in enumerate(FIND.problems("train", 60, 1)):
        text = chain(p, random.Random(i))
        assert sum(text.count(r) for r in REGIONS) <= 2
        assert text.endswith("!") == ("+" in text)
    assert in_a_row(["#a?", "$b!", "%c!"]) == "#a?$b!"


def test_the_relay_applies_its_step_again_and_again() -> None:
    p = Find(relay=True).problems("train", 1, 0)[0]
    v = p.meta["values"]
    assert all((p.meta["a"] * x + p.meta["b"]) % P == y for x, y in pairwise(v))
    assert path(p, random.Random(0)).endswith(f"={CANDIDATES[v[-1]]}!")


def test_answers_are_read_from_paths_and_from_summaries() -> None:
    assert FIND.extract("#aw3,=l?") == "l"
    assert FIND.extract("<think>#aw3,=l?</think><summary>e</summary>") == "e"
    assert FIND.extract("e") == "e"
    assert FIND.extract("#aw") is None


def test_characters_are_the_tokenizer_s() -> None:
    """The quick spelling of questions, paths and chains is the tokenizer's own."""
    for p in FIND.problems("train", 5, 0):
        assert opened(TOKENIZER, p)[:-1] == TOKENIZER.encode(TOKENIZER.render(p.messages))
        text = path(p, random.Random(p.id))
        assert coded(TOKENIZER, text) == TOKENIZER.encode(text)


def test_an_example_trains_paths_closers_and_summary() -> None:
    """Prompt and openers carry no loss, nor the closer of a path that was cut; paths start together, the summary after the longest."""
    p, c = FIND.problems("train", 1, 0)[0], known(TOKENIZER)[0]
    e = side_by_side(TOKENIZER, p, ["#abcd=e?", "$a"], (3, 5), cut=4)
    assert e.positions is not None
    assert e.groups is not None
    assert e.groups == (PROMPT,) * 4 + (3,) * 6 + (5,) * 4 + (SUMMARY,) * 3
    assert e.positions[4:10] == (4, 5, 6, 7, 8, 9)
    assert e.positions[10:] == (4, 5, 6, 7, 10, 11, 12)
    silent = [i for i, on in enumerate(e.mask) if not on]
    assert silent == [0, 1, 2, 3, 4, 9, 10, 14]
    assert [e.ids[i] for i in silent[4:]] == [c.opens[2], c.closes[2], c.opens[4], c.summary]
    flat = side_by_side(TOKENIZER, p, ["#a", "$a"], (1, 2), stride=22)
    assert flat.positions is not None
    assert flat.positions[4:] == (4, 5, 6, 7, 26, 27, 28, 29, 30, 31, 32)
    one = in_one(TOKENIZER, p, "#a", "mm", "nn")
    assert [i for i, on in enumerate(one.mask) if not on] == [0, 1, 2, 3, 5, 6, 9, 10]


def test_what_is_taught_is_of_the_train_split_and_tags_are_drawn_from_eight() -> None:
    plan, c = Plan(), known(TOKENIZER)[0]
    tags = set[int]()
    for e in islice(parallel(TOKENIZER, 0, plan), 100):
        mine = {g for g in e.groups or () if g > 0}
        assert 1 <= len(mine) <= plan.trained
        tags |= mine
        assert split_of(TOKENIZER.decode(e.ids[:3])) == "train" or e.ids[3] != TOKENIZER.id_of("<|im_start|>")
    assert tags == set(range(1, 9))
    assert all(e.ids.count(c.summary) == 1 for e in islice(chains(TOKENIZER, 0), 20))


def test_wrong_prefixes_are_wrong() -> None:
    for i, p in enumerate(FIND.problems("test", 30, 0)):
        text = wrong_prefix(p, 13, random.Random(i))
        assert len(text) == 13 == 1 + SIZE * TRY
        assert "+" not in text
        assert text[0] != region(p.meta["x"])


def test_dependence_is_mutual_information() -> None:
    assert dependence([(i % 2, "ab"[i % 2]) for i in range(10)]) == pytest.approx(0.6931, abs=1e-4)
    assert dependence([(i % 2, "ab"[i // 2 % 2]) for i in range(8)]) == pytest.approx(0)


def test_verdicts_follow_the_rules() -> None:
    """Wholly above zero holds, a mean not above it fails, everything else is unclear; a single seed says nothing."""
    assert verdict(Estimate(0.2, 0.1, 0.3, 3), 3) is Result.HOLDS
    assert verdict(Estimate(0.2, -0.1, 0.5, 3), 3) is Result.UNCLEAR
    assert verdict(Estimate(-0.1, -0.4, 0.2, 3), 3) is Result.FAILS
    assert verdict(Estimate(0.2, 0.1, 0.3, 1), 1) is Result.UNCLEAR
    assert both(Result.HOLDS, Result.UNCLEAR) is Result.UNCLEAR
    shares = {para(1): 0.2, para(2): 0.4, para(4): 0.7, para(8): 0.9, arm(VOTE, 4): 0.3, arm(ONES, 2): 0.3, arm(ONES, 8): 0.3}
    cells = [Cell(s, a, "right", {str(i): float(i < 100 * v) for i in range(100)}) for s in range(3) for a, v in shares.items()]
    found = {f.claim: f.result for f in findings(Plan(), [*cells, *counted()])}
    assert (
        found["vote"]
        is found["path-vote"]
        is found["gap-grows"]
        is found["more-paths"]
        is found["one-path"]
        is found["bytes"]
        is Result.HOLDS
    )
    assert found["flat"] is found["tags"] is found["tunnel"] is Result.UNCLEAR
    assert list(found) == [c.id for c in CLAIMS]


@pytest.mark.timeout(120)
def test_a_small_run_ends_and_resumes(tmp_path: Path) -> None:
    """Every claim has a verdict, decoding is exact, the page is there, and a second run makes nothing anew."""
    first = run(tmp_path, (0,), SMALLEST)
    found = {f.claim: f for f in first.findings}
    assert list(found) == [c.id for c in CLAIMS]
    assert found["exact"].result is Result.HOLDS
    assert any(m.arm == arm(ANY, 2) for m in first.measures)
    kept = (tmp_path / "seed-0" / "cells.json").stat().st_mtime_ns
    assert run(tmp_path, (0,), SMALLEST).measures == first.measures
    assert (tmp_path / "seed-0" / "cells.json").stat().st_mtime_ns == kept
    assert "Paths side by side" in (tmp_path / "report.html").read_text()
