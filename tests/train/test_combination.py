"""One recipe of four papers: Delethink's chunks, CISPO, HERO's reward and h1's chains; each part is seen to act."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from reasonry.cli import cli
from reasonry.cli.training import draw, levels_of
from reasonry.core import open_run
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.load import load_lm, model_folder
from reasonry.lm.local import LocalLM
from reasonry.lm.reward_model import RewardModel, save_reward_model
from reasonry.lm.tokenizer import Tokenizer
from reasonry.solve import build_solver
from reasonry.train.advantage import times_weight
from reasonry.train.assemble import beside_for
from reasonry.train.compose import curriculum_of, entry_of, recipe_of
from reasonry.train.curriculum import Lesson
from reasonry.train.hero import Hero
from reasonry.train.loop import train
from reasonry.train.objective import loss, score
from reasonry.train.reward import Rewarded
from reasonry.train.settings import Settings, open_toml, read
from reasonry.train.surrogate import CISPO
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch

C, M = 14, 10
"""Delethink's chunk and carry-over, in tokens."""
RECIPE = f"""
# Delethink's chunks, CISPO, HERO's reward and h1's chains in one recipe.
model = "pocket-1m"
task = "chain?h={{level}}&wording=terse&pool=60&of=arithmetic?steps=1"
solver = "delethink?C={C}&m={M}&I=8&keep_head=0"
objective = "cispo"
clip = [0.0, 5.0]
reward_model = "JUDGE"
hero = {{alpha = 0.1, beta = 0.1}}
curriculum = "ramp"
levels = [1, 2]
max_tokens = [32, 48]
steps_per_stage = 2
problems = 30
prompts = 2
group = 4
steps = 4
lr = 1e-4
save_every = 2
"""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe, with a reward model of the small model's blocks and a head drawn at random."""
    folder, small = tmp_path_factory.mktemp("combined"), model_folder("pocket-1m")
    judge = RewardModel(load_decoder(small), Tokenizer.load(small))
    torch.nn.init.normal_(judge.head.weight, generator=torch.Generator().manual_seed(0))
    save_reward_model(judge, folder / "judge")
    path = folder / "combined.toml"
    path.write_text(RECIPE.replace("JUDGE", str(folder / "judge")))
    return path


class Witness:
    """Keeps what every step learned from."""

    def __init__(self) -> None:
        self.steps: list[tuple[Lesson, list[list[Rewarded]], Tokens]] = []

    async def prepare(self, batch: Batch, rewarded: Sequence[Sequence[Rewarded]], lesson: Lesson, step: int) -> Tokens:
        self.steps.append((lesson, [list(g) for g in rewarded], batch.tokens))
        return batch.tokens

    def learn(self, batch: Batch, step: int) -> Mapping[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


async def test_four_papers_in_one_recipe_each_do_their_part(recipe_file: Path, tmp_path: Path) -> None:
    s = read(Settings, open_toml(str(recipe_file)))
    recipe, curriculum, task = recipe_of(s), curriculum_of(s), levels_of(s)
    witness, lm = Witness(), load_lm(s.model, "cpu")
    assert isinstance(lm, LocalLM)
    before = [p.detach().clone() for p in lm.decoder.parameters()]
    async with lm:
        solver = build_solver(s.solver, lm, task)
        parts = [*beside_for(entry_of(s), lm, solver, task, recipe), witness]
        await train(lm, solver, task, curriculum, draw(task, s).train, recipe, open_run(tmp_path / "run", {}, resume=False), beside=parts)
    assert any(not torch.equal(a, b) for a, b in zip(before, lm.decoder.parameters(), strict=True))
    assert len(witness.steps) == 4

    # h1: two steps of single problems, then two of chains of two, told as one question, with more tokens
    assert [lesson.levels for lesson, *_ in witness.steps] == [(1, 1), (1, 1), (2, 2), (2, 2)]
    assert [lesson.budget.completion_tokens for lesson, *_ in witness.steps] == [32, 32, 48, 48]
    for lesson, groups, _ in witness.steps:
        assert {r.trajectory.problem_id for g in groups for r in g} <= {p.id for p in lesson.problems}

    # Delethink: attempts of several chunks, each of which begins with the query and the last of the chunk before, and is a row of its own
    chunked = [r.trajectory for _, groups, _ in witness.steps for g in groups for r in g if len(r.trajectory.segments) > 1]
    assert chunked
    for t in chunked:
        query = t.segments[0].context or ()
        for one, other in zip(t.segments, t.segments[1:], strict=False):
            seen = (one.context or ())[len(query) :] + (one.ids or ())
            assert other.context == query + seen[-M:]
            assert len(other.ids or ()) <= C - M
    for _, groups, tokens in witness.steps:
        assert tokens.trajectory.numel() == sum(len(r.trajectory.segments) for g in groups for r in g)

    # HERO: rewards are those of the strata, groups of one verdict are learned from, and the weights are on the advantages
    hero = recipe.reward.combine
    assert hero == Hero(0.1, 0.1)
    assert recipe.objective.reshape[-1] is times_weight
    for _, groups, tokens in witness.steps:
        for group in groups:
            assert {"score", "reward_model", "broken"} <= set(group[0].signals)
            assert [r.reward for r in group] == hero([r.signals for r in group])
            assert all(-0.1 <= r.reward <= 0.1 or 0.9 <= r.reward <= 1.1 for r in group)
        assert tokens.weight is not None
        assert bool(((tokens.weight > 0.4) & (tokens.weight < 3.0)).all())
    one_verdict = [g for _, groups, _ in witness.steps for g in groups if len({r.signals["score"] for r in g}) == 1]
    assert any(len({r.reward for r in g}) > 1 for g in one_verdict)
    _, _, tokens = witness.steps[-1]
    weighed, plain = score(recipe.objective, tokens), score(replace(recipe.objective, reshape=()), tokens)
    assert tokens.weight is not None
    torch.testing.assert_close(weighed.advantage, plain.advantage * tokens.by_trajectory.spread(tokens.weight))

    # CISPO: a token whose ratio is beyond the cap keeps its gradient, at the cap; PPO's would be zero
    assert isinstance(recipe.objective.surrogate, CISPO)
    assert tokens.logp_sampler is not None
    old = replace(tokens, logp_old=tokens.logp_sampler)
    logp = (tokens.logp_sampler + 2.0).requires_grad_()
    part = score(recipe.objective, old)
    loss(recipe.objective, part, logp)[0].backward()
    torch.testing.assert_close(logp.grad, -part.weight * part.advantage * 5.0)
    assert bool((part.advantage != 0).any())


def test_the_recipe_is_a_file_that_the_command_trains(recipe_file: Path, tmp_path: Path) -> None:
    """Stages, strata and weights are in the run's log, the reward model and all keys in its recipe, and the model is saved."""
    out = tmp_path / "run"
    done = CliRunner().invoke(cli, ["train", "--recipe", str(recipe_file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [r["stage"] for r in steps] == [0, 0, 1, 1]
    assert all(r["grad_norm"] > 0 and r["hero_sigma"] > 0 and 0 <= r["hero_all_wrong"] <= 1 for r in steps)
    levels = {group[1] for line in (out / "history.jsonl").read_text().splitlines() for group in json.loads(line)}
    assert levels == {1, 2}
    assert (out / "model" / "model.safetensors").is_file()
    written = read(Settings, open_toml(str(out / "recipe.toml")))
    assert (written.solver, written.objective, written.hero) == (
        f"delethink?C={C}&m={M}&I=8&keep_head=0",
        "cispo",
        {"alpha": 0.1, "beta": 0.1},
    )
