"""What a model is taught must be right, must be the same everywhere, and must leave the test problems out."""

import hashlib
import itertools
import os
import random
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Task, UserError
from reasonry.tasks.skills import SKILLS, SPLITS, split_of
from reasonry.tasks.skills.arithmetic import TOP, Atom, chain, lines, result
from reasonry.tasks.skills.calc import tools_of
from reasonry.tasks.skills.corpus import MIXTURE, Pocket, documents, numbered_documents
from reasonry.tasks.skills.registers import cut, registers, restates, run, unknowable
from reasonry.tasks.skills.style import STYLES, follows, in_words
from reasonry.tasks.tools import read_calls, run_call

N = 60
every_skill = pytest.mark.parametrize("name", SKILLS)


def asked(problem) -> str:
    return problem.messages[-1].content


def content(problem):
    """What is asked, and what the tools know: "what is the price of tea?" is another problem where tea has another price."""
    return problem.messages, str(problem.meta.get("facts"))


@every_skill
def test_a_skill_is_a_task_whose_demonstrations_its_own_judge_passes(name):
    skill = SKILLS[name]()
    assert isinstance(skill, Task)
    for i, problem in enumerate(skill.problems("train", N, seed=3)):
        chat = skill.demonstration(problem, random.Random(i))
        assert chat[: len(problem.messages)] == problem.messages
        assert chat[-1].role == "assistant"
        verdict = skill.judge(problem, chat[-1].content)
        assert verdict.passed
        assert verdict.score == 1.0
        assert verdict.answer == skill.extract(chat[-1].content) == problem.answer
        assert problem.meta["skill"] == name


@every_skill
def test_a_changed_final_answer_fails(name):
    skill = SKILLS[name]()
    for i, problem in enumerate(skill.problems("train", N, seed=4)):
        working, _, final = skill.demonstration(problem, random.Random(i))[-1].content.rpartition("#### ")
        for wrong in (f"{final}1", final[:-1] or "x", "", f"{final} ?"):
            assert not skill.judge(problem, f"{working}#### {wrong}").passed
        assert not skill.judge(problem, working).passed


@every_skill
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=60))
def test_a_judge_raises_for_nothing_a_model_writes(name, text):
    skill = SKILLS[name]()
    problem = skill.problems("test", 1)[0]
    for written in (text, f"#### {text}", f"{text}\n#### {problem.answer}"):
        assert skill.judge(problem, written).score is not None


@every_skill
def test_the_question_does_not_hold_the_working(name):
    """Nothing of the answer is in the meta's place: solvers see the prompt alone, and it never ends with `####`."""
    for problem in SKILLS[name]().problems("test", 20):
        assert "####" not in "".join(m.content for m in problem.messages)


@every_skill
def test_splits_do_not_overlap_whatever_the_seed(name):
    skill = SKILLS[name]()
    held = {s: {content(p) for seed in (0, 1) for p in skill.problems(s, N, seed)} for s in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not held[one] & held[other]


def test_a_chain_is_in_the_same_split_in_every_skill():
    """A test chain of `arithmetic` must not be worked out in the training text of another skill."""
    for name in ("arithmetic", "word", "revise"):
        for split in SPLITS:
            for problem in SKILLS[name]().problems(split, 20):
                key = " ".join([str(problem.meta["start"]), *(f"{op}{operand}" for op, operand in problem.meta["atoms"])])
                assert split_of(key) == split


def test_split_shares():
    """Of 20 contents 2 are for the test and 1 for validation; the hash may not drift from that."""
    counted = [split_of(str(i)) for i in range(20_000)]
    assert abs(counted.count("test") - 2000) < 200
    assert abs(counted.count("validation") - 1000) < 150


@every_skill
def test_problems_are_different_and_have_ids_of_their_own(name):
    problems = SKILLS[name]().problems("train", N)
    assert len({p.id for p in problems}) == len({(p.messages, str(p.answer)) for p in problems}) == N


_PRINT = """
import hashlib, itertools
from reasonry.tasks.skills.corpus import Pocket, numbered_documents
found = repr([Pocket().problems(s, 40, 7) for s in ("train", "test")]) + repr(list(itertools.islice(numbered_documents("train", 5), 200)))
print(hashlib.sha256(found.encode()).hexdigest())
"""


def test_a_seed_gives_the_same_problems_in_every_process():
    """Python's own hash differs between processes; nothing here may depend on it."""
    digests = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", _PRINT], capture_output=True, text=True, env=environment, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_the_training_text_is_the_one_the_shipped_models_were_trained_on():
    """A change to a generator changes what the model card describes: retrain, then store the new digest."""
    digest = hashlib.sha256()
    for name, chat in itertools.islice(numbered_documents(), 1000):
        digest.update(repr([name, [(m.role, m.content) for m in chat]]).encode())
    assert digest.hexdigest() == "03cbd9ddbd7bcdf61e6b2ad379008d7b8aae3fef60e37aead30cb43965a50147"


def test_documents_can_be_read_on_from_any_place():
    whole = list(itertools.islice(numbered_documents("train", 1), 30))
    assert list(itertools.islice(numbered_documents("train", 1, start=20), 10)) == whole[20:]
    assert list(itertools.islice(documents("train", 1), 30)) == [chat for _, chat in whole]
    assert list(itertools.islice(numbered_documents("train", 2), 30)) != whole


def test_the_corpus_is_compact_plain_text_of_every_skill():
    chats = list(itertools.islice(numbered_documents(), 3000))
    words = set()
    for _, chat in chats:
        text = "\n".join(m.content for m in chat)
        assert text.isascii()
        words |= set(re.findall(r"[A-Za-z]+", text))
        assert len(re.findall(r"[A-Za-z]+|\d|[^\sA-Za-z\d]|\n", text)) <= 220
    assert len(words) < 400
    assert {name for name, _ in chats} == set(SKILLS)
    assert sum(weight for weight, _ in MIXTURE) == pytest.approx(1)


def test_the_mixture_task_asks_for_every_skill_and_judges_by_it():
    task = Pocket()
    problems = task.problems("test", 20)
    assert {p.meta["skill"] for p in problems} == set(SKILLS)
    assert len(problems) == 20
    for problem in problems:
        chat = SKILLS[problem.meta["skill"]]().demonstration(problem, random.Random(0))
        assert task.judge(problem, chat[-1].content).passed


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("arithmetic", {"steps": 0}, "steps"), ("word", {"steps": -1}, "steps"), ("judge", {"steps": 0}, "steps"),
        ("revise", {"peers": 0}, "peers"), ("notes", {"items": 1}, "items"), ("recall", {"pairs": 0}, "pairs"),
        ("recall", {"filler": -1}, "filler"), ("registers", {"registers": 9}, "registers"), ("registers", {"loops": 0}, "loops"),
        ("registers", {"modulus": 1}, "modulus"), ("registers", {"restate": 2.0}, "restate"), ("registers", {"ops": 0}, "ops"),
        ("registers", {"registers": 4, "ops": 2, "long_share": 0.5}, "ops"),
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_named(name, options, word):
    with pytest.raises(UserError, match=word):
        SKILLS[name](**options)


def test_bad_split_and_missing_n_are_named():
    for ask in (lambda t: t.problems("tset", 1), lambda t: t.problems("test")):
        with pytest.raises(UserError):
            ask(SKILLS["arithmetic"]())
    with pytest.raises(UserError, match="only"):
        SKILLS["registers"](registers=2, modulus=2, ops=1, loops=1).problems("validation", 100)


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 30), seed=st.integers())
def test_chains_stay_in_range_and_their_lines_are_true(steps, seed):
    start, atoms = chain(steps, random.Random(seed))
    written = lines(start, atoms)
    for line in written:
        left, right = line.split("=")
        assert eval(left) == int(right)
        assert 0 <= int(right) <= TOP
    assert written[-1].endswith(f"={result(start, atoms)}")


@settings(max_examples=40, deadline=None)
@given(a=st.integers(0, 50), b=st.integers(0, 50))
def test_atoms_compose(a, b):
    atoms = [Atom("+", a), Atom("*", 2), Atom("-", b)]
    assert result(result(7, atoms[:1]), atoms[1:]) == result(7, atoms) == (7 + a) * 2 - b


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(), size=st.integers(2, 8), modulus=st.integers(2, 30))
def test_register_programs_are_what_python_says_they_are(seed, size, modulus):
    """The final register file, computed again by running the program text as Python."""
    problem = registers(registers=size, modulus=modulus).draw(random.Random(seed)).problem("registers")
    scope = {}
    ((declared, looped),) = re.findall(r"^(?:mod \d+\. )?([^.]*)\. loop \d+: ([^.]*)\. give", asked(problem))
    exec(declared.replace(" ", "\n"), {}, scope)
    for _ in range(problem.meta["loops"]):
        for op in looped.split():
            exec(op, {}, scope)
            scope = {name: value % modulus for name, value in scope.items()}
    assert problem.answer == " ".join(f"{name}={value}" for name, value in scope.items())


def test_the_register_question_does_not_grow_with_its_loops():
    short, long = (registers(loops=loops, ops=3).draw(random.Random(1)).prompt for loops in (1, 9))
    assert len(short) == len(long)


def test_restating_and_delta_styles():
    restated, final = run({"a": 3, "b": 7}, ["a+=4", "b+=a"], 2, 10, restate=True)
    assert restated == "[1] a=3 b=7\na=7 b=4\n[2] a=7 b=4\na=1 b=5"
    delta, same = run({"a": 3, "b": 7}, ["a+=4", "b+=a"], 2, 10, restate=False)
    assert delta == "[1]\na=7 b=4\n[2]\na=1 b=5"
    assert final == same == "a=1 b=5"
    assert (restates(restated), restates(delta), restates("")) == (1.0, 0.0, 0.0)
    assert restates("[1] a=3 b=7\na=7 b=4\n[2]\na=1 b=5") == 0.5
    assert restates("[1] a=3\na=7 b=4") == 0.0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(), restate=st.booleans(), size=st.integers(2, 4))
def test_a_cut_working_is_a_tail_that_still_shows_the_state(seed, restate, size):
    rng = random.Random(seed)
    problem = registers(registers=size).draw(rng)
    meta = problem.meta
    whole, _ = run(meta["start"], meta["ops"], meta["loops"], meta["modulus"], restate)
    tail = cut(whole, tuple(meta["start"]), rng)
    assert whole.endswith(tail)
    assert re.match(r"\[\d+\]|[a-h]=", tail)
    if tail != whole:
        names = set(meta["start"])
        seen = re.findall(r"^\[\d+\] (.*)$", tail, re.MULTILINE)[-1] if restate else tail
        assert {item[0] for item in re.findall(r"[a-h]=", seen)} == names
        skip = unknowable(f"{tail}\n#### {problem.answer}")
        assert {item[0] for item in re.findall(r"[a-h]=", tail[:skip])} == names


def test_shares_of_style_and_cut():
    """The documented shares of demonstrations: 30 % restating, and about 25 % starting in the middle where a cut is possible."""
    skill = registers()
    texts = [skill.demonstration(p, random.Random(i))[-1].content for i, p in enumerate(skill.problems("train", 600))]
    assert 0.2 < sum(restates(t) == 1 for t in texts) / len(texts) < 0.4
    assert 0.05 < sum(not t.startswith("[1]") for t in texts) / len(texts) < 0.25
    whole = registers(cut_share=0.0, restate=1.0)
    assert all(whole.demonstration(p, random.Random(0))[-1].content.startswith("[1] ") for p in whole.problems("train", 50))


def test_what_a_cut_leaves_unknowable():
    assert unknowable("[1]\na=7 b=4\n#### a=7 b=4") == 0
    assert unknowable("b=4\n[2]\na=1 b=5\n#### a=1 b=5") == len("b=4\n[2]\na=1")


def test_tool_calls_of_a_demonstration_give_the_results_it_shows():
    skill = SKILLS["calc"]()
    for problem in skill.problems("train", N):
        chat = skill.demonstration(problem, random.Random(0))
        for said, heard in itertools.pairwise(chat):
            for call in read_calls(said.content) if said.role == "assistant" else []:
                done = run_call(call, tools_of(problem))
                assert not done.is_error
                assert heard.role == "tool"
                assert done.result == heard.content


def test_notes_are_copied_with_the_item_in_its_place():
    copied = [p for p in SKILLS["notes"]().problems("train", N) if "copy" in asked(p)]
    for problem in copied:
        items = re.findall(r"^\d+\. (.*)$", asked(problem), re.MULTILINE)
        ((new, place),) = re.findall(r"with (.*) as number (\d+)", asked(problem))
        items.insert(int(place) - 1, new)
        assert problem.answer == "; ".join(items)
    assert copied


def test_half_of_the_judged_solutions_are_wrong_and_their_lines_say_so():
    problems = SKILLS["judge"]().problems("train", 400)
    assert 0.4 < sum(p.answer == "wrong" for p in problems) / 400 < 0.6
    for problem in problems:
        shown = re.findall(r"(\d+[-+*]\d+)=(\d+)", asked(problem))
        false = [i for i, (left, right) in enumerate(shown, 1) if eval(left) != int(right)]
        assert problem.answer == ("wrong" if false else "right")
        assert problem.meta["wrong_line"] == (false[0] if false else None)


def test_stated_reliability_of_peers_is_true():
    right: dict[int, list[bool]] = {}
    for problem in SKILLS["revise"]().problems("train", 1500):
        for k, said in re.findall(r"right (\d) of 10\): (\d+)", asked(problem)):
            right.setdefault(int(k), []).append(said == problem.answer)
    for k, held in right.items():
        assert abs(sum(held) / len(held) - k / 10) < 0.12


@pytest.mark.parametrize("style", STYLES)
def test_each_style_is_recognised_and_told_from_the_others(style):
    for x in (0, 7, 42, 113):
        assert follows(style, f"40+2={x}\n{STYLES[style](x)}\n#### {x}")
        others = [other for other in STYLES if other != style and follows(style, f"{STYLES[other](x)}\n#### {x}")]
        assert not others
    assert not follows(style, "#### 42")


def test_style_and_answer_are_judged_apart():
    skill = SKILLS["style"]()
    problem = next(p for p in skill.problems("train", 50) if p.meta["style"] == "in brackets")
    x, y = problem.answer, int(problem.answer) + 1
    judged = [skill.judge(problem, text) for text in (f"[ {x} ]\n#### {x}", f"{x}\n#### {x}", f"[ {y} ]\n#### {y}", f"{y}\n#### {y}")]
    assert [(v.signals["correct"], v.signals["style"]) for v in judged] == [(1, 1), (1, 0), (0, 1), (0, 0)]
    assert [v.passed for v in judged] == [True, False, False, False]


def test_numbers_in_words():
    assert [in_words(n) for n in (0, 13, 20, 42, 100, 142, 999)] == [
        "zero", "thirteen", "twenty", "forty two", "one hundred", "one hundred forty two", "nine hundred ninety nine",
    ]  # fmt: skip
