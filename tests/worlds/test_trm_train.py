"""Training a TRM: the carry, halting, and a kill at any moment."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import UserError, open_run
from reasonry.worlds.grids import Draw, Puzzles, SudokuWorld, endless, make
from reasonry.worlds.optim import AdamATan2
from reasonry.worlds.stablemax import grid_loss, log_softmax
from reasonry.worlds.trm import TRM, Shape
from reasonry.worlds.trm_infer import exact_accuracy
from reasonry.worlds.trm_train import BEST, CHECKPOINT, Carry, Recipe, Trainer, halting, train

WORLD = SudokuWorld(6)
PUZZLES = make(WORLD, "train", 12, 0, clues=24)
DRAW = endless(PUZZLES, WORLD.changes)


def network(**more) -> TRM:
    torch.manual_seed(3)
    return TRM(Shape(**{"vocab": 8, "cells": 36, "width": 16, "heads": 2, "prefix": 1, "round_to": 1, "T": 2, "n": 1, "N_sup": 4, **more}))


def recipe(**more) -> Recipe:
    return Recipe(
        **{"steps": 8, "batch": 4, "lr": 1e-3, "warmup": 2, "weight_decay": 0.1, "mu": 0.9, "save_every": 3, "log_every": 2, **more}
    )


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def wanting(at: Trainer, halt: float) -> Trainer:
    """A trainer whose halting head always says `halt`."""
    with torch.no_grad():
        at.model.halt.bias.fill_(halt)
    for p in (at.model.halt.weight, at.model.halt.bias):
        p.requires_grad_(False)
    return at


def test_with_one_supervision_step_every_slot_halts_at_each_step():
    at = Trainer(network(N_sup=1), DRAW, recipe())
    for _ in range(3):
        at.advance()
        assert at.carry.halted.all()
        assert (at.carry.steps == 1).all()


def test_at_first_nobody_halts_before_the_last_step():
    at = wanting(Trainer(network(), DRAW, recipe()), -5.0)
    for wanted in (1, 2, 3, 4, 1):
        at.advance()
        assert (at.carry.steps == wanted).all()
        assert (at.carry.halted == (wanted == 4)).all()


def test_a_slot_that_wants_to_halt_does_so_unless_exploration_forbids_it():
    at = wanting(Trainer(network(), DRAW, recipe(explore=0.0)), 5.0)
    at.advance()
    assert at.carry.halted.all()
    at = wanting(Trainer(network(), DRAW, recipe(explore=1.0)), 5.0)
    at.advance()
    assert not at.carry.halted.any(), "a drawn least number of steps is at least 2"


@given(st.integers(1, 6), st.floats(0, 1), st.integers(0, 99))
def test_exploration_never_lets_a_slot_exceed_the_last_step(N_sup, explore, seed):
    rng = torch.Generator().manual_seed(seed)
    steps = torch.arange(1, N_sup + 1).repeat(20)
    halted = halting(steps, torch.zeros(len(steps), dtype=torch.bool), N_sup, explore, rng)
    assert torch.equal(halted, steps >= N_sup)


def test_the_head_is_obeyed_only_where_exploration_is_silent():
    rng = torch.Generator().manual_seed(0)
    steps, wants = torch.full((4000,), 2), torch.ones(4000, dtype=torch.bool)
    halted = halting(steps, wants, 4, 0.5, rng).float().mean().item()
    assert halted == pytest.approx(0.5 + 0.5 / 3, abs=0.03), "drawn from 2, 3, 4: a third of the draws allow to halt at 2"


def test_a_halted_slot_begins_again_at_the_initial_state_and_the_others_keep_theirs():
    model = network()
    carry = Carry.empty(model, 4, torch.float32)
    thought = type(carry.thought)(torch.randn(4, 37, 16), torch.randn(4, 37, 16))
    carry = carry._replace(thought=thought, halted=torch.tensor([True, False, True, False]), steps=torch.tensor([4, 2, 1, 3]))
    new = PUZZLES[torch.arange(4)]
    filled = carry.filled(model, new)
    for row in (0, 2):
        assert torch.equal(filled.thought.y[row], model.y0.expand(37, 16))
        assert torch.equal(filled.thought.z[row], model.z0.expand(37, 16))
        assert torch.equal(filled.puzzles.cells[row], new.cells[row])
    for row in (1, 3):
        assert torch.equal(filled.thought.y[row], thought.y[row])
        assert not filled.puzzles.cells[row].any()
    assert filled.steps.tolist() == [0, 2, 0, 3]


def test_an_unfinished_puzzle_stays_in_its_slot_with_its_thought():
    at = wanting(Trainer(network(), DRAW, recipe()), -5.0)
    at.advance()
    before = at.carry
    at.advance()
    assert torch.equal(at.carry.puzzles.cells, before.puzzles.cells)
    assert not torch.equal(at.carry.thought.y, before.thought.y)


def test_one_step_follows_the_written_loss():
    """Weights after a step are those of plain descent on Σ_b [cross-entropy + ½ BCE] / batch."""
    at = Trainer(network(), DRAW, recipe(optimizer=AdamATan2, warmup=1, log_probs=log_softmax))
    twin = network()
    rng = torch.Generator().manual_seed(0)
    drawn = DRAW(4, rng)
    _, seen = twin.deep_recursion(twin.embedded(drawn.cells), twin.begin(4))
    right = (seen.logits.argmax(-1) == drawn.solutions).all(-1).float()
    halt = -(right * seen.halt.sigmoid().log() + (1 - right) * (1 - seen.halt.sigmoid()).log())
    ((grid_loss(seen.logits, drawn.solutions, log_softmax) + 0.5 * halt).sum() / 4).backward()
    AdamATan2(twin.parameters(), lr=1e-3, weight_decay=0.1).step()
    at.advance()
    for (name, a), b in zip(at.model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def with_table(**more) -> tuple[TRM, Puzzles]:
    ids = torch.arange(len(PUZZLES)) % 5
    return network(puzzles=9, puzzle_width=16, **more), Puzzles(PUZZLES.cells, PUZZLES.solutions, ids)


def test_only_embeddings_of_puzzles_in_the_batch_are_learnt():
    model, puzzles = with_table()
    at = Trainer(model, endless(puzzles, WORLD.changes), recipe(puzzle_lr=0.01))
    for _ in range(4):
        at.advance()
    assert model.puzzles is not None
    assert model.puzzles[:5].abs().sum() > 0
    assert not model.puzzles[5:].any()


class KilledError(Exception):
    pass


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("more", [{}, {"hrm_halting": True}, {"optimizer": AdamATan2}, {"latents": 2}])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, more):
    def fresh() -> tuple[TRM, Recipe, Draw]:
        how = dict(more)
        model, puzzles = with_table(n=2, latents=how.pop("latents", 1))
        return model, recipe(puzzle_lr=0.01, **how), endless(puzzles, WORLD.changes)

    def validate(model: TRM) -> float:
        return -model.head.weight.sum().item()

    model, how, draw = fresh()
    through = open_run(tmp_path / "through", {}, resume=True)
    whole = train(model, draw, how, through, validate)
    for after in (2, 4, 6):

        def kill(record, after=after):
            if record["step"] >= after:
                raise KilledError

        run = open_run(tmp_path / f"killed-{after}", {}, resume=True)
        model, how, draw = fresh()
        with pytest.raises(KilledError):
            train(model, draw, how, run, validate, kill)
        model, how, draw = fresh()
        resumed = train(model, draw, how, run, validate)
        assert same(dict(whole.state_dict()), dict(resumed.state_dict()))
        a, b = (torch.load(r.path / CHECKPOINT, weights_only=True) for r in (through, run))
        assert same(a, b)
        assert list(run.lines("steps")) == list(through.lines("steps"))


def test_what_remains_is_the_best_average_by_validation(tmp_path):
    scores = iter([0.2, 0.9, 0.4])
    run, seen = open_run(tmp_path / "r", {}, resume=True), []

    def validate(model: TRM) -> float:
        seen.append(model.embed.detach().clone())
        return next(scores)

    model = train(network(), DRAW, recipe(steps=9), run, validate)
    assert torch.equal(model.embed, seen[1])
    assert (run.path / BEST).exists()
    assert [json.loads(line).get("validation") for line in run.lines("steps")] == [None, 0.2, None, 0.9, None, 0.4]


def test_of_equally_good_weights_the_latest_remain(tmp_path):
    seen: list[torch.Tensor] = []

    def validate(model: TRM) -> float:
        seen.append(model.embed.detach().clone())
        return 0.0

    model = train(network(), DRAW, recipe(steps=6), open_run(tmp_path / "r", {}, resume=True), validate)
    assert torch.equal(model.embed, seen[-1]), "nothing is solved at first, and the first checkpoint is the worst"


def test_the_log_tells_of_the_slots_that_halted(tmp_path):
    run = open_run(tmp_path / "r", {}, resume=True)
    train(network(), DRAW, recipe(steps=8, log_every=4), run)
    told = {record["step"]: record.get("steps") for record in map(json.loads, run.lines("steps"))}
    assert told == {3: None, 4: 4, 6: None, 8: 4}, "all slots halt together at the fourth step and at the eighth"


def test_the_learning_rate_rises_then_stays():
    at, rates = Trainer(network(), DRAW, recipe(warmup=4, lr=0.8)), []
    for _ in range(6):
        at.advance()
        rates.append(at.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_hrm_s_rule_costs_one_more_supervision_step():
    def calls(**more) -> int:
        at, count = Trainer(network(), DRAW, recipe(**more)), []
        at.model.f.register_forward_hook(lambda *_: count.append(1))
        at.advance()
        return len(count)

    assert calls(hrm_halting=True) == 2 * calls() == 2 * network().shape.evaluations


def test_four_fixed_puzzles_can_be_learnt_by_heart():
    """The whole loop learns: with no changes, a few puzzles are solved by the averaged weights."""
    few = PUZZLES[slice(0, 4)]
    at = Trainer(
        network(width=32), lambda rows, rng: few[torch.randint(4, (rows,), generator=rng)],
        recipe(batch=8, lr=5e-3, warmup=5, log_probs=log_softmax, weight_decay=0.0),
    )  # fmt: skip
    for _ in range(120):
        at.advance()
    with at.average.swapped(at.model):
        assert exact_accuracy(at.model, few, 4) == 1.0


@pytest.mark.parametrize(
    ("wrong", "says"), [({"steps": 0}, "steps is 0"), ({"mu": 1.5}, "mu is 1.5"), ({"explore": -0.1}, "explore is -0.1")]
)
def test_an_impossible_recipe_is_refused(wrong, says):
    with pytest.raises(UserError, match=says):
        recipe(**wrong)
