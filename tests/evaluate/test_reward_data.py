"""Groups from files, runs and models; rewards of both kinds, called as in training."""

import json
import re

import pytest

from reasonry.core import Problem, UserError
from reasonry.evaluate.reward_data import judge_of, load_reward, read_groups, sample_groups, score_of
from reasonry.evaluate.reward_page import lint_html, lint_json, lint_text
from reasonry.probe.reward_lint import lint

SOURCE = '''
from reasonry.train.reward import Reward, Weighted, overlong, verdict
seen = {}
def trl(prompts, completions, answer, completion_ids, trainer_state, log_metric, **columns):
    seen.update(prompts=prompts, completions=completions, answer=answer, ids=completion_ids, columns=columns)
    log_metric("mine", 1.0)
    return [float(c.endswith(a)) for c, a in zip(completions, answer)]
def strict(completions, answer):
    return [float(c.endswith(a)) for c, a in zip(completions, answer)]
async def later(completions, **columns):
    return [None if not c else 1.0 for c in completions]
def signal(problem, group):
    return [None if not t.answer else {"a": 1.0, "b": 0.5 * (t.answer == problem.answer)} for t in group]
ours = Reward((verdict, overlong(4, 2)), Weighted({"score": 1.0, "overlong": 0.5}))
number = 3
def odd(text):
    return 1
'''  # fmt: skip


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def score(source, name, judge=None):
    return score_of(load_reward(f"{source}:{name}")[0], judge)


def test_a_trl_function_gets_what_trl_hands_it(source, monkeypatch):
    reward, lacking = load_reward(f"{source}:trl")
    assert lacking == []
    problem = Problem("p", "2+2?", "4", {"level": 3})
    given = score_of(reward, None)(problem, ["#### 4", "#### 5"])
    assert given == [1.0, 0.0]
    assert load_reward(f"{source}:strict")[1][0].check == "signature"
    assert score(source, "strict")(problem, ["4", "5"]) == [1.0, 0.0]
    assert score(source, "later")(problem, ["a", ""]) == [1.0, None]
    chat = Problem("p", tuple(problem.messages), "4")
    seen = {}

    def spy(prompts, completions, **columns):
        seen.update(columns, prompts=prompts, completions=completions)
        return [0.0] * len(completions)

    import reasonry.evaluate.reward_data as module

    monkeypatch.setattr(module, "spy", spy, raising=False)
    assert score_of(load_reward("reasonry.evaluate.reward_data:spy")[0], None)(chat, ["x", "y"]) == [0, 0]
    assert seen["prompts"] == [[{"role": "user", "content": "2+2?"}]] * 2
    assert seen["completions"] == [[{"role": "assistant", "content": text}] for text in "xy"]
    assert seen["answer"] == ["4", "4"]


def test_our_signals_and_rewards_get_judged_attempts(source):
    problem = Problem("p", "2+2?", "4")
    assert score(source, "signal")(problem, ["4", "5", ""]) == [1.5, 1.0, None]
    long = "#### 4" + " " * 30
    assert score(source, "ours", judge_of("exact"))(problem, ["#### 4", "#### 5", long]) == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "holds no 'nothing'"),
        ("number", "is a int, not a function"),
        ("odd", "takes (text)"),
    ],
)
def test_what_is_no_reward_is_said(source, name, says):
    with pytest.raises(UserError, match=re.escape(says)):
        load_reward(f"{source}:{name}")
    for spec, sentence in (("mine", "names no function"), ("no.such.module:f", "cannot be imported"), ("nowhere.py:f", "there is no file")):
        with pytest.raises(UserError, match=sentence):
            load_reward(spec)


def test_rows_of_one_prompt_make_a_group_and_columns_reach_the_reward(tmp_path):
    rows = [
        {"prompt": "2+2?", "completion": "4", "answer": "4", "level": 2, "score": 1},
        {"prompt": "2+2?", "completion": "5", "answer": "4", "level": 2, "score": 0},
        {"prompt": [{"role": "user", "content": "3+3?"}], "completions": ["6", [{"role": "assistant", "content": "7"}]],
         "correct": [True, False], "reward_model": {"ground_truth": "6"}},
        {"question": "1+1?", "completions": ["2"], "answer": "work #### 2"},
    ]  # fmt: skip
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    a, b, c = read_groups(path)[0]
    assert (a.completions, a.quality, a.problem.answer, a.problem.meta) == (("4", "5"), (1.0, 0.0), "4", {"level": 2})
    assert (b.completions, b.quality, b.problem.answer) == (("6", "7"), (1.0, 0.0), "6")
    assert c.quality is None
    judged = read_groups(path, judge_of("numeric"))[0]
    assert judged[0].quality == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no line"),
        ("no json", "line 1: is not JSON"),
        ("[]", "line 1: is a JSON list"),
        ('{"prompt": "a"}', "has the columns prompt"),
        ('{"prompt": "a", "completions": []}', "must be a list with at least one answer"),
        ('{"prompt": "a", "completions": [3]}', "is neither a text nor messages"),
        ('{"prompt": 3, "completions": ["a"]}', "the prompt is neither"),
        ('{"prompt": "a", "completions": ["a"], "score": [1, 2]}', "score must hold one number for each of the 1"),
    ],
)
def test_bad_data_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "data.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(says)):
        read_groups(path)
    with pytest.raises(UserError, match=r"holds no attempts\.jsonl"):
        read_groups(tmp_path)
    with pytest.raises(UserError, match="'astrology' is unknown"):
        judge_of("astrology")


async def test_fresh_answers_are_judged_and_go_through_the_whole_lint(source):
    groups, judge = await sample_groups("pocket-1m", "arithmetic?steps=1", 3, 4, 32, 0, "train")
    assert [len(g.completions) for g in groups] == [4, 4, 4]
    assert all(q in (0.0, 1.0) for g in groups for q in g.quality or (None,))
    reward, _ = load_reward("reasonry.train.reward:verdict")
    found = lint(score_of(reward, judge), groups)
    assert [f.says for f in found.findings if f.level == "alarm"] == []
    text, page, held = (
        lint_text("verdict", found),
        lint_html("verdict", "here", found),
        json.dumps(lint_json("verdict", found), allow_nan=False),
    )
    for shown in (text, page, held):
        assert "right, said twice" in shown
    assert "<svg" in page
