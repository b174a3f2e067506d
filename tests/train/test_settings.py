"""Recipes as files: what is written is read back, mistakes are named, shipped recipes can be run, overrides change what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_lm import Digits

from reasonry.core import Problem, Trajectory, UserError, Verdict
from reasonry.train.aggregate import Constant
from reasonry.train.catalogue import CATALOGUE
from reasonry.train.compose import curriculum_of, imported, objective_of, recipe_of, reward_of
from reasonry.train.curriculum import every_group, informative
from reasonry.train.kl import InLoss, InReward
from reasonry.train.pass_at_k import PassAtK
from reasonry.train.settings import Settings, Supervised, from_flag, open_toml, plain, read, shipped, write
from reasonry.train.surrogate import CISPO, PPO

BASE = {"model": "pocket-1m", "task": "arithmetic?steps={level}"}


def make(**more: Any) -> Settings:
    return read(Settings, {**BASE, **more})


@settings(deadline=None)
@given(
    st.floats(1e-9, 1.0), st.integers(1, 10**6), st.text(min_size=1), st.tuples(st.floats(0, 1), st.floats(1, 9)),
    st.dictionaries(st.text(), st.floats(-5, 5), max_size=3), st.booleans(),
)  # fmt: skip
def test_what_is_written_is_read_back(
    lr: float, steps: int, model: str, clip: tuple[float, float], weights: dict[str, float], reference: bool
) -> None:
    """Any text, number, list and table; with all keys written and with those that differ from the defaults."""
    import tomllib

    s = make(lr=lr, steps=steps, model=model, clip=clip, weights=weights, reference=reference, functions=["a:b", 'c"\\:d'])
    assert read(Settings, tomllib.loads(write(s))) == s
    assert read(Settings, tomllib.loads(write(s, all_keys=False))) == s


def test_every_key_is_shown() -> None:
    shown = write(make())
    assert all(f"{name} =" in shown for name in Settings.__dataclass_fields__)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_is_complete(name: str) -> None:
    """It names its paper, builds its objective, reward and curriculum, and is read back from what it shows."""
    s = read(Settings, open_toml(name), name)
    assert "arXiv" in shipped()[name].read_text().splitlines()[0]
    recipe = recipe_of(s)
    assert type(recipe.objective.surrogate) is type(CATALOGUE[s.objective].objective.surrogate)
    assert curriculum_of(s).stages


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"lr": "fast"}, 'lr is "fast" but must be a number'),
        ({"lr": True}, "lr is true but must be a number"),
        ({"steps": 1.5}, "steps is 1.5 but must be a whole number"),
        ({"clip": [0.8]}, "clip is [0.8] but must be a list of 2 numbers"),
        ({"max_tokens": "many"}, "must be a whole number or a list of whole numbers"),
        ({"keep": "some"}, 'keep is "some" but must be one of informative, every'),
        ({"weights": [1.0]}, "must be a table of numbers"),
        ({"functions": "a:b"}, 'functions is "a:b" but must be a list of texts'),
        ({"reference": "yes"}, "must be true or false"),
        ({"lr": float("nan")}, "lr is nan but must be finite"),
        ({"lrate": 1e-5}, "'lrate' is not a key; did you mean"),
        ({"lr": -1e-5}, "lr: is -1e-05; use a number above 0"),
        ({"temperature": 0.0}, "temperature: is 0.0; use a number above 0"),
        ({"steps": 0}, "steps: is 0; use at least 1"),
        ({"kl": -0.1}, "kl: is -0.1; use 0 or more"),
        ({"levels": []}, "levels: is []; name at least one"),
        ({"levels": [1, 2], "curriculum": "ramp", "task": "word"}, "write {level} in it"),
        ({"levels": [1, 2], "curriculum": "ramp", "max_tokens": [1, 2, 3]}, "max_tokens: is [1, 2, 3]; give one number"),
        ({"curriculum": "scaling-inter"}, "turns: is []"),
        ({"turns": [1]}, "turns: is [1]; it goes with scaling-inter"),
        ({"rehearse": 0.5}, "rehearse: is 0.5; it goes with"),
        ({"group": 1, "keep": "informative"}, "group: is 1; one attempt tells nothing apart"),
        ({"lora_alpha": 4.0}, "lora: is left out; give the rank too"),
        ({"lora": 0}, "lora: is 0; use a rank"),
        ({"minibatches": 9}, "minibatches: is 9; use 1 to 8"),
        ({"pass_at": 0}, "pass_at: is 0; use 1 or more, less than group, 8"),
        ({"pass_at": 8}, "pass_at: is 8; use 1 or more, less than group, 8"),
        ({"pass_at": 4, "objective": "hero"}, "pass_at: is 4; HERO's bands"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_the_mend(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        make(**values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"objective": "reinforce", "clip": [0.8, 1.2]}, "Reinforce, which clips nothing"),
        ({"clip": [1.1, 1.2]}, "must hold 1; they are absolute"),
        ({"objective": "grpo", "length": 5}, "length: grpo divides by no constant"),
        ({"objective": "ppo", "pass_at": 4}, "pass_at: ppo compares no answers of a group"),
        ({"objective": "remax", "pass_at": 4}, "pass_at: remax compares no answers of a group"),
        ({"objective": "grpo", "reference": False}, "reference: is false, but grpo compares"),
        ({"overlong": [10, 20]}, "overlong: buffer is 20"),
        ({"functions": ["nowhere_at_all:f"]}, "functions: 'nowhere_at_all' cannot be imported"),
        ({"functions": ["f"]}, "functions: 'f' names no function"),
        ({"functions": ["math:nothing"]}, "'math' has no function 'nothing'"),
        ({"functions": ["math:sqrt", "cmath:sqrt"]}, "two signals are called 'sqrt'"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says.replace("(", r"\(")):
        recipe_of(make(**values))


def test_overrides_change_the_objective_and_nothing_else() -> None:
    plain, o = CATALOGUE["dr-grpo"].objective, objective_of(make(clip=[0.7, 1.5], kl=0.1, entropy=0.01, length=99))
    assert isinstance(o.surrogate, PPO)
    assert (o.surrogate.clip.low, o.surrogate.clip.high) == (0.7, 1.5)
    assert isinstance(o.kl, InLoss)
    assert o.kl.beta == 0.1
    assert (o.entropy, o.aggregate) == (0.01, Constant(99))
    assert replace(objective_of(make(pass_at=4)), advantage=plain.advantage) == plain
    assert objective_of(make(pass_at=4)).advantage == PassAtK(4)
    assert (o.advantage, o.ratio, o.weights) == (plain.advantage, plain.ratio, plain.weights)
    assert objective_of(make()) == plain
    assert objective_of(make(objective="grpo", kl=0.0)).kl is None
    in_reward = objective_of(make(objective="rloo", kl=0.2)).kl
    assert isinstance(in_reward, InReward)
    assert in_reward.beta == 0.2
    assert isinstance(objective_of(make(objective="cispo", clip=[0.0, 8.0])).surrogate, CISPO)


def test_a_ramp_has_a_stage_a_level_and_rehearses_below() -> None:
    c = curriculum_of(make(curriculum="ramp", levels=[1, 3, 5], max_tokens=[8, 16, 32], rehearse=0.4, steps_per_stage=7, gate=0.5))
    assert [s.max_new_tokens for s in c.stages] == [8, 16, 32]
    assert c.stages[0].levels == {1: 1.0}
    assert c.stages[2].levels == {1: 0.2, 3: 0.2, 5: 0.6}
    assert (c.gate, c.steps_per_stage) == (0.5, 7)
    assert curriculum_of(make(curriculum="mix", levels=[1, 2])).stages[0].levels == {1: 1.0, 2: 1.0}
    turns = curriculum_of(make(curriculum="scaling-inter", turns=[2, 4], steps_per_stage=3)).stages
    assert [s.max_turns for s in turns] == [2, 4]


def test_groups_are_kept_as_the_objective_can_learn_from_them() -> None:
    """A group of equal rewards teaches GRPO nothing and a critic something; the recipe may say otherwise."""
    assert curriculum_of(make(objective="grpo")).group_filter is informative
    assert curriculum_of(make(objective="ppo")).group_filter is every_group
    assert curriculum_of(make(objective="grpo", keep="every")).group_filter is every_group


def test_a_trl_function_from_a_file_is_one_signal_among_others(tmp_path: Path) -> None:
    """Verdict and function count once each, or as the weights say."""
    (tmp_path / "mine.py").write_text("def short(prompts, completions, answer, **_):\n    return [-float(len(c)) for c in completions]\n")
    place = f"{tmp_path}/mine.py:short"
    assert imported(place).__name__ == "short"
    problem = Problem("1", "7", "7")
    group = [Trajectory("1", answer=text, verdict=Digits().judge(problem, text)) for text in ("7", "71")]
    assert [r.reward for r in reward_of(make(functions=[place]))(problem, group)] == [0.0, -1.0]
    assert [r.reward for r in reward_of(make(functions=[place], weights={"short": 0.5}))(problem, group)] == [-0.5, -1.0]
    judged = [Trajectory("1", answer="7", verdict=Verdict(0.25, False))]
    assert reward_of(make())(problem, judged)[0].reward == 0.25


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("lr=1e-5", ("lr", 1e-5)), ("lr=.5", ("lr", 0.5)), ("levels=[1, 2]", ("levels", [1, 2])), ("reference=false", ("reference", False)),
        ("task=arithmetic?steps=3", ("task", "arithmetic?steps=3")), ('model="a b"', ("model", "a b")),
        ("weights={a=1}", ("weights", {"a": 1})),
    ],
)  # fmt: skip
def test_a_flag_is_toml_or_plain_text(text: str, means: tuple[str, Any]) -> None:
    assert from_flag(text) == means


def test_supervised_settings_are_checked_too() -> None:
    s = read(Supervised, {"model": "pocket-1m", "data": "x.jsonl", "lr": 1e-4})
    assert (s.epochs, s.schedule) == (1, "cosine")
    with pytest.raises(UserError, match="epochs: is 0; use at least 1"):
        read(Supervised, {"model": "pocket-1m", "data": "x.jsonl", "epochs": 0})


def test_sampling_ahead_takes_the_lag_s_place_and_goes_with_what_it_can() -> None:
    """A recipe with a lag can be run ahead; vLLM needs a process of its own, a search none."""
    s = make(lag=1, ahead=8)
    assert (s.ahead, s.workers, recipe_of(s).lag) == (8, 0, 0)
    for keys, says in (
        ({"ahead": -1}, "ahead"),
        ({"engine": "vllm"}, "set workers = 1"),
        ({"engine_memory": 1.5}, "use a share above 0, at most 1"),
        ({"explore": "deepsearch", "workers": 2}, "leave ahead and workers out"),
    ):
        with pytest.raises(UserError, match=says):
            make(**keys)


def test_a_run_from_before_a_key_existed_goes_on() -> None:
    """Its configuration has no `minibatches`, nor has one now that leaves it alone; other values are told apart."""
    assert "minibatches" not in plain(make())
    assert plain(make(minibatches=2))["minibatches"] == 2
    assert plain(make())["updates"] == 1
