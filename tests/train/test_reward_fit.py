"""Fitting a reward model: scores and preferences are learned, in an order that the seed decides; the fitted one ranks for best-of-n."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_lm import Digits, toy_decoder, toy_lm

from reasonry.core import Budget, Message, UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.reward_model import RewardModel, load_reward_model, save_reward_model
from reasonry.lm.tokenizer import Tokenizer
from reasonry.solve import build_solver
from reasonry.solve.best_of_n import BestOfN, reward_score
from reasonry.train.compose import imported
from reasonry.train.reward_fit import Labelled, Preferred, fit_pairs, fit_scores, pairs_of

TEMPLATE = "{% for m in messages %}{{ m.content }}<|im_start|>{% endfor %}"


def fresh() -> RewardModel:
    decoder = Decoder(DecoderConfig(259, 32, 2, 4, 2, 8, 64, max_position=64, qk_norm=True))
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    return RewardModel(decoder, Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE))


def ask(i: int) -> tuple[Message, ...]:
    return (Message("user", str(i)),)


DATA = [Labelled(ask(i), f"{d}{d}", float(d == i)) for i in range(6) for d in range(6)]
"""Right is the answer that repeats the digit asked for."""


def right_first(model: RewardModel) -> float:
    """How often the right answer has the best score."""
    values = [model.scores(ask(i), [f"{d}{d}" for d in range(6)]).values for i in range(6)]
    return sum(of[i] == max(v for v in of if v is not None) for i, of in enumerate(values)) / 6


def test_scores_are_learned_in_standard_deviations() -> None:
    model = fresh()
    losses = list(fit_scores(model, DATA, 60, lr=1e-2, batch=36))
    assert losses[0] == pytest.approx(1.0, abs=1e-4)  # all data in one batch, a head of zeros
    assert losses[-1] < 0.1
    assert right_first(model) >= 0.9
    values = [model.scores(ask(3), ["33"]).values[0], model.scores(ask(3), ["44"]).values[0]]
    assert values == pytest.approx([5**0.5, -(5**-0.5)], abs=0.7)
    assert not any(p.requires_grad for p in model.parameters())


def test_preferences_are_learned_from_the_logarithm_of_two_down() -> None:
    """Bradley–Terry: a head of zeros has loss log 2, and only differences inside a prompt are taught."""
    pairs = pairs_of(DATA)
    assert len(pairs) == 30
    assert pairs[0] == Preferred(ask(0), "00", "11")
    model = fresh()
    losses = list(fit_pairs(model, pairs, 60, lr=1e-2))
    assert losses[0] == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-5)
    assert losses[-1] < 0.1
    assert right_first(model) >= 0.9


def test_the_seed_decides_the_fit() -> None:
    first, again, other = (list(fit_scores(fresh(), DATA, 5, batch=16, seed=s)) for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_nothing_to_learn_is_refused() -> None:
    for data in ([], [Labelled(ask(1), "1", 0.5)] * 3):
        with pytest.raises(UserError, match="teach nothing"):
            next(fit_scores(fresh(), data, 1))
    with pytest.raises(UserError, match="no pairs"):
        next(fit_pairs(fresh(), [], 1))


async def test_best_of_n_takes_what_the_reward_model_likes_and_pays_for_its_opinion(tmp_path: Path) -> None:
    model = fresh()
    list(fit_scores(model, [Labelled(ask(i), f"{d}", -float(d)) for i in range(3, 4) for d in range(10)], 40, lr=1e-2, batch=10))
    save_reward_model(model, tmp_path / "judge")
    task = Digits()
    async with toy_lm(toy_decoder()) as lm:
        problem = task.problems("train", 4)[3]
        for solver in (
            build_solver(f"best-of-n?n=6&max_tokens=1&rm={tmp_path / 'judge'}", lm, task),
            replace(build_solver("best-of-n?n=6&max_tokens=1", lm, task), score=reward_score(model)),  # type: ignore[type-var]
        ):
            assert isinstance(solver, BestOfN)
            t = await solver(problem, Budget(), 1)
            *answers, judged = t.segments
            scores = model.scores(problem.messages, [a.text for a in answers]).values
            assert t.answer == answers[max(range(6), key=lambda i: scores[i] or 0.0)].text
            assert judged.role == "judge"
            different = len({a.text for a in answers})
            assert t.cost.verifier_calls == judged.cost.verifier_calls == different
            assert t.cost.prompt_tokens == sum(s.cost.prompt_tokens for s in t.segments)
        poor = await solver(problem, Budget(verifier_calls=1), 1)
        assert poor.cost.verifier_calls <= 1


def test_the_example_fits_scores_and_preferences(tmp_path: Path) -> None:
    fit = imported(f"{Path(__file__).parents[2] / 'docs' / 'examples' / 'reward_model.py'}:fit")
    for name, more in (("scores", {"score": 1.0}), ("pairs", {"rejected": "5"})):
        rows = [
            {"prompt": "2+2", "completion": "4", **more},
            {"prompt": "2+3", "completion": "4", **more, **({"score": 0.0} if "score" in more else {})},
        ]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
        folder = fit(tmp_path / name, "pocket-1m", tmp_path / f"judge-{name}", steps=2)
        assert load_reward_model(folder).scores(ask(1), ["4", "5"]).values[0] is not None
