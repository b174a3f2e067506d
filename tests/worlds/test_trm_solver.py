"""A trained TRM answers like any solver: priced, within its budget, the same from the same seed."""

import json

import pytest
import torch

from reasonry.core import Budget, Problem, Stop, UserError
from reasonry.tasks import load_task
from reasonry.worlds.arc_world import ArcWorld, Embedded
from reasonry.worlds.changes import Recolouring
from reasonry.worlds.grids import MazeWorld, SudokuWorld, make
from reasonry.worlds.trm import TRM, Shape
from reasonry.worlds.trm_folder import is_trm, load_trm, save_trm, world_name, world_of
from reasonry.worlds.trm_infer import Noise, chosen, curve, exact_accuracy, refine, vote
from reasonry.worlds.trm_solver import Recursive, first, most_voted, surest

WORLD = SudokuWorld(6)
PROBLEM = load_task("sudoku6").problems("test", 1)[0]


def network(**more) -> TRM:
    torch.manual_seed(3)
    model = TRM(Shape(**{"vocab": 8, "cells": 36, "width": 16, "heads": 2, "prefix": 1, "round_to": 1, "T": 2, "n": 1, "N_sup": 4, **more}))
    with torch.no_grad():
        model.halt.weight.normal_()
    return model


def test_a_vote_s_unanimity_returns_the_grid():
    assert vote(["a"] * 5, [0.0] * 5) == ["a"]


def test_a_vote_counts_first_and_breaks_ties_by_the_mean_of_the_head():
    assert vote(["a", "b", "b"], [9.0, -9.0, -9.0]) == ["b", "a"]
    assert vote(["a", "b", "a", "b"], [0.0, 1.0, 0.0, 0.5]) == ["b", "a"]
    assert vote(["a", "b", "a", "b"], [4.0, 1.0, -4.0, -0.5])[0] == "b", "the mean of probabilities, not of logits"
    with pytest.raises(ValueError, match="at least one"):
        vote([], [])


def test_choices():
    answers = torch.tensor([[1, 2], [3, 4], [3, 4]])
    halt = torch.tensor([2.0, -1.0, 1.0])
    assert first(answers, halt) == 0
    assert surest(answers, halt) == 0
    assert most_voted(answers, halt) == 1
    assert chosen(torch.tensor([[0.0, 5.0], [1.0, 4.0]])).tolist() == [1, 0]


async def test_every_step_is_a_call_with_its_price_and_its_grid():
    model = network()
    trace = await Recursive(model, WORLD, steps=3)(PROBLEM, Budget(), 0)
    assert [s.role for s in trace.segments] == ["refine"] * 3
    assert trace.stop is Stop.EOS
    cost = trace.cost
    assert (cost.calls, cost.completion_tokens, cost.prompt_tokens) == (3, 108, 108)
    assert cost.flops == 3 * model.shape.step_flops()
    assert cost.layers_run == 3 * 4 * 2 * 37
    logits = list(refine(model, torch.tensor([WORLD.read(PROBLEM)]), 3))
    assert [s.text for s in trace.segments] == [WORLD.draw(seen.logits[0].argmax(-1).tolist()) for seen in logits]
    assert trace.answer.startswith(trace.segments[-1].text)
    assert trace.meta["halt"] == [round(seen.halt.sigmoid().item(), 4) for seen in logits]


@pytest.mark.parametrize(
    ("budget", "calls", "unit"),
    [(Budget(completion_tokens=107), 2, "completion_tokens"), (Budget(tokens=72), 1, "tokens"), (Budget(calls=3), 3, "calls"),
     (Budget(flops=1), 0, "flops"), (Budget(completion_tokens=35), 0, "completion_tokens")],
)  # fmt: skip
async def test_the_budget_is_never_exceeded_and_what_was_found_is_handed_over(budget, calls, unit):
    solver = Recursive(network(), WORLD, steps=4)
    trace = await solver(PROBLEM, budget, 0)
    assert (trace.cost.calls, trace.stop, trace.spent) == (calls, Stop.BUDGET, unit)
    whole = await Recursive(network(), WORLD, steps=calls)(PROBLEM, Budget(), 0) if calls else None
    assert trace.answer == (whole.answer if whole else "")


@pytest.mark.parametrize("more", [{"sigma": 0.5, "choose": surest}, {"changed": True, "choose": most_voted}])
async def test_rows_cost_their_number_and_a_seed_repeats_the_attempt(more):
    solver = Recursive(network(), WORLD, steps=2, rows=3, **more)
    a, b, other = [await solver(PROBLEM, Budget(), seed) for seed in (0, 0, 1)]
    assert a.cost.completion_tokens == 2 * 3 * 36
    assert a.cost.calls == 2
    assert [s.text for s in a.segments] == [s.text for s in b.segments]
    assert a.meta == b.meta
    assert [s.text for s in other.segments] != [s.text for s in a.segments] or other.meta != a.meta


async def test_one_row_of_either_way_is_the_plain_answer():
    plain = await Recursive(network(), WORLD, steps=2)(PROBLEM, Budget(), 0)
    for more in ({"sigma": 0.5, "choose": surest}, {"changed": True, "choose": most_voted}):
        assert (await Recursive(network(), WORLD, steps=2, **more)(PROBLEM, Budget(), 0)).answer == plain.answer


def test_noise_moves_its_rows_and_leaves_a_row_without_deviation_alone():
    model, cells = network(), torch.tensor([WORLD.read(PROBLEM)]).expand(3, -1)
    noise = Noise(torch.tensor([0.0, 0.5, 0.5]), torch.Generator().manual_seed(0))
    plain, disturbed = ([seen.logits for seen in refine(model, cells, 3, noise=n)] for n in (None, noise))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(plain, disturbed, strict=True))
    assert not torch.equal(disturbed[0][1], disturbed[0][2])
    assert not torch.equal(disturbed[0][1], plain[0][1])


async def test_tags_are_used_where_the_prompt_asks_for_them():
    asked = Problem("q", PROBLEM.messages[-1].content + "\nPut the final answer between <answer> and </answer>.")
    plain, tagged = [await Recursive(network(), WORLD, steps=1)(p, Budget(), 0) for p in (PROBLEM, asked)]
    inside = tagged.answer.removeprefix("<answer>").partition("</answer>")
    assert inside[0].replace(" ", "") == plain.segments[0].text
    assert inside[2].strip() == plain.answer


async def test_a_question_without_a_puzzle_is_refused():
    with pytest.raises(UserError, match="holds no sudoku6 puzzle"):
        await Recursive(network(), WORLD)(Problem("q", "hello"), Budget(), 0)


@pytest.mark.parametrize(("wrong", "says"), [({"steps": 0}, "steps is 0"), ({"rows": 0}, "rows is 0"), ({"sigma": -1.0}, "sigma is -1")])
def test_an_impossible_solver_is_refused(wrong, says):
    with pytest.raises(UserError, match=says):
        Recursive(network(), WORLD, **wrong)


def test_the_curve_is_what_each_step_s_answers_say():
    model, puzzles = network(), make(WORLD, "test", 7, 0, clues=24)
    found = curve(model, puzzles, 3, rows=4)
    logits = [seen.logits.argmax(-1) for seen in refine(model, puzzles.cells, 3)]
    blank = puzzles.cells == 1
    for step in range(3):
        right = logits[step] == puzzles.solutions
        assert torch.equal(found.exact[step], right.all(-1))
        torch.testing.assert_close(found.cells[step], (right & blank).sum(-1) / blank.sum(-1))
    assert exact_accuracy(model, puzzles, 3) == found.exact[-1].float().mean().item()
    assert found.first_halt.tolist() == [next((i for i, h in enumerate(row, 1) if h > 0), 3) for row in found.halt.T.tolist()]


def test_a_network_with_a_table_must_be_told_which_puzzle():
    with pytest.raises(UserError, match="embedding of its own"):
        next(refine(network(puzzles=3, puzzle_width=16), torch.ones(1, 36, dtype=torch.long), 1))


@pytest.mark.parametrize(
    "world",
    [WORLD, SudokuWorld(9), MazeWorld(4), ArcWorld(Embedded({"a": ((0, Recolouring()), (1, Recolouring(3, (0, 2, 1, *range(3, 10)))))}))],
)
def test_a_folder_gives_back_the_network_and_its_world(tmp_path, world):
    model = network(cells=world.side**2, vocab=world.vocab, puzzles=2 if world.name == "arc" else 0, puzzle_width=16)
    folder = save_trm(model, world, tmp_path / "m", about={"steps": 3})
    again, same = load_trm(folder, "cpu")
    assert again.shape == model.shape
    assert same == world
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert is_trm(folder)
    assert json.loads((folder / "config.json").read_text())["about"] == {"steps": 3}


def test_half_of_the_bytes_keeps_the_answers_near(tmp_path):
    model = network()
    folder = save_trm(model, WORLD, tmp_path / "m", torch.bfloat16)
    again, _ = load_trm(folder, "cpu")
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight.bfloat16().float(), rtol=0, atol=0)
    assert (folder / "model.safetensors").stat().st_size < 2.2 * sum(w.numel() for w in model.state_dict().values()) + 4000


def test_other_folders_and_worlds_are_refused(tmp_path):
    assert not is_trm(tmp_path)
    with pytest.raises(UserError, match="no Tiny Recursive Model"):
        load_trm(tmp_path)
    with pytest.raises(UserError, match="use sudoku6"):
        world_of("chess")
    assert world_name(MazeWorld(7)) == "maze7"
    folder = save_trm(network(), WORLD, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "shape": {**config["shape"], "width": 32}}))
    with pytest.raises(UserError, match="does not fit the config"):
        load_trm(folder)
    (folder / "config.json").write_text(json.dumps({**config, "shape": {"width": "x"}}))
    with pytest.raises(UserError, match="shape is wrong"):
        load_trm(folder)
