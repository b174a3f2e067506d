"""The network of TRM: the paper's sizes, its recursion, and where gradients flow."""

import math

import pytest
import torch
from torch import nn

from reasonry.core import UserError
from reasonry.worlds.stablemax import grid_loss, log_softmax, log_stablemax, s, solved
from reasonry.worlds.trm import TRM, Mixer, Shape, Thought, parameters_of, rms, truncated_normal

SMALL = {"vocab": 6, "cells": 9, "width": 16, "heads": 2, "prefix": 2, "round_to": 1}


def small(**more) -> TRM:
    torch.manual_seed(0)
    model = TRM(Shape(**{**SMALL, "T": 2, "n": 2, "N_sup": 4, **more}))
    with torch.no_grad():
        model.halt.weight.normal_()
    return model


def cells(rows: int = 3) -> torch.Tensor:
    return torch.randint(1, 6, (rows, 9), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("mixer", "count"), [(Mixer.MLP, 5_028_866), (Mixer.ATTENTION, 6_828_034)])
def test_the_paper_s_sizes_to_the_last_parameter(mixer, count):
    with torch.device("meta"):
        assert parameters_of(TRM(Shape(mixer=mixer))) == count
        assert parameters_of(TRM(Shape(mixer=mixer, puzzles=7))) == count, "the table of puzzle embeddings is not counted"


@pytest.mark.parametrize("more", [{}, {"T": 3, "n": 4}, {"T": 1, "n": 1}, {"networks": 2}, {"answer": False}, {"through": 2}])
def test_a_supervision_step_evaluates_the_network_t_times_n_plus_1_times(more):
    model = small(**more)
    calls: list[int] = []
    for f in (model.f, model.second):
        if f is not None:
            f.register_forward_hook(lambda *_: calls.append(1))
    model.deep_recursion(model.embedded(cells()), model.begin(3))
    assert len(calls) == model.shape.evaluations == model.shape.T * (model.shape.n + 1)


def test_the_smallest_recursion_is_the_written_formula():
    model = small(T=1, n=1, N_sup=1)
    x, (y0, z0) = model.embedded(cells()), model.begin(3)
    (y, z), seen = model.deep_recursion(x, Thought(y0, z0))
    wanted = model.f(y0 + model.f(z0 + y0 + x))
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(z, model.f(z0 + y0 + x))
    torch.testing.assert_close(seen.logits, wanted[:, 2:] @ model.head.weight.T)
    torch.testing.assert_close(seen.halt, (wanted[:, 0] @ model.halt.weight.T + model.halt.bias)[:, 0])


def test_several_latents_are_renewed_in_turn():
    model = small(T=1, n=3, latents=2)
    x, thought = model.embedded(cells()), model.begin(3)
    assert thought.z.shape == (3, 11, 32)
    (y, z), _ = model.deep_recursion(x, thought)
    a, b = thought.z.split(16, -1)
    a = model.f(a + b + thought.y + x)
    b = model.f(a + b + thought.y + x)
    a = model.f(a + b + thought.y + x)
    torch.testing.assert_close(z, torch.cat((a, b), -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y, model.f(thought.y + a + b), rtol=1e-4, atol=1e-5)
    assert parameters_of(model) == parameters_of(small()), "one network still"


def gradients(model: TRM, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("networks", [1, 2])
def test_gradients_are_those_of_the_last_recursion_unrolled_from_what_came_before(networks):
    model = small(T=3, n=2, networks=networks).double()
    g = model.second or model.f
    thought = Thought(*(rms(torch.randn(3, 11, 16, dtype=torch.float64)) for _ in range(2)))
    x = model.embedded(cells(), dtype=torch.float64)
    _, seen = model.deep_recursion(x, thought)
    real = gradients(model, seen.logits.square().mean() + seen.halt.sum())

    y, z = thought
    with torch.no_grad():
        for _ in range(2):
            z = model.f(z + y + x)
            z = model.f(z + y + x)
            y = g(y + z)
    x = model.embedded(cells(), dtype=torch.float64)
    z = model.f(model.f(z + y + x) + y + x)
    seen = model.read(g(y + z))
    unrolled = gradients(model, seen.logits.square().mean() + seen.halt.sum())
    assert real.keys() == unrolled.keys() == dict(model.named_parameters()).keys()
    for name, gradient in real.items():
        torch.testing.assert_close(gradient, unrolled[name], rtol=1e-9, atol=1e-12, msg=name)


def traced(model: TRM) -> list[bool]:
    """Whether each evaluation's output takes part in the backward pass."""
    outputs: list[torch.Tensor] = []

    def note(_module, _inputs, out) -> None:
        outputs.append(out)

    model.f.register_forward_hook(note)
    _, seen = model.deep_recursion(model.embedded(cells()), model.begin(3))
    seen.logits.sum().backward()
    return [out.requires_grad for out in outputs]


def test_one_step_gradients_reach_the_last_two_evaluations_and_no_other():
    assert traced(small(T=2, n=3, through=2)) == [False] * 6 + [True] * 2
    assert traced(small(T=2, n=3)) == [False] * 4 + [True] * 4
    assert all(traced(small(T=1, n=3))), "with one recursion nothing is cut off"


def test_the_thought_comes_back_detached():
    model = small()
    (y, z), _ = model.deep_recursion(model.embedded(cells()), model.begin(3))
    assert not y.requires_grad
    assert not z.requires_grad


@pytest.mark.parametrize("more", [{}, {"mixer": Mixer.ATTENTION}, {"answer": False}])
def test_every_position_of_y_and_z_has_root_mean_square_one(more):
    model = small(**more)
    thought = model.begin(3)
    for _ in range(3):
        thought, _ = model.deep_recursion(model.embedded(cells()), thought)
        for state in thought:
            torch.testing.assert_close(state.square().mean(-1).sqrt(), torch.ones(3, 11), rtol=0, atol=1e-3)


def test_rows_do_not_see_one_another():
    for mixer in Mixer:
        model = small(mixer=mixer).double()
        alone, _ = model.deep_recursion(model.embedded(cells()[:1], dtype=torch.float64), model.begin(1, torch.float64))
        together, _ = model.deep_recursion(model.embedded(cells(), dtype=torch.float64), model.begin(3, torch.float64))
        torch.testing.assert_close(together.y[:1], alone.y, rtol=1e-9, atol=1e-12)


def test_the_prefix_holds_the_puzzle_s_embedding_then_zeros():
    model = small(puzzles=2, puzzle_width=20)
    puzzle = torch.arange(20.0).expand(3, -1)
    x = model.embedded(cells(), puzzle)
    assert x.shape == (3, 11, 16)
    torch.testing.assert_close(x[0, :2].flatten(), 4 * torch.cat((torch.arange(20.0), torch.zeros(12))))
    torch.testing.assert_close(x[:, 2:], 4 * model.embed[cells()])


def test_nobody_wants_to_halt_at_first():
    torch.manual_seed(0)
    shape: dict = {**SMALL, "T": 1, "n": 1}
    model = TRM(Shape(**shape))
    _, seen = model.deep_recursion(model.embedded(cells()), model.begin(3))
    assert seen.halt.tolist() == [-5.0] * 3


def test_flops_are_those_counted_by_torch():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    for more in ({}, {"mixer": Mixer.ATTENTION}, {"layers": 3}):
        model = small(T=2, n=3, through=None, **more)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            model.deep_recursion(model.embedded(cells(1)), model.begin(1))
        assert model.shape.step_flops() == pytest.approx(counter.get_total_flops(), rel=1e-3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n": 0}, "n is 0"), ({"width": 18, "heads": 4}, "even multiple of heads"), ({"networks": 3}, "networks is 3"),
        ({"through": 9}, r"1 to n \+ 1 \(3\)"), ({"networks": 2, "answer": False}, "no answer"), ({"T": 0}, "T is 0"),
        ({"latents": 3}, r"at most n \(2\)"), ({"latents": 2, "answer": False}, "without an answer"),
        ({"puzzles": 1, "puzzle_width": 99}, "room for 32"),
    ],
)  # fmt: skip
def test_an_impossible_shape_is_refused_with_the_mend(wrong, says):
    with pytest.raises(UserError, match=says):
        Shape(**{**SMALL, "T": 2, "n": 2, **wrong})


def test_stablemax_sums_to_one_rises_and_has_slope_one_at_zero_from_both_sides():
    v = torch.linspace(-30, 30, 601, dtype=torch.float64)
    assert (s(v).diff() > 0).all()
    assert s(torch.zeros(1)).item() == 1
    h = 1e-7
    right, left = (s(torch.tensor(sign * h, dtype=torch.float64)).item() for sign in (1, -1))
    assert (right - 1) / h == pytest.approx(1, abs=1e-6)
    assert (1 - left) / h == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(log_stablemax(torch.randn(4, 7)).exp().sum(-1), torch.ones(4, dtype=torch.float64))
    assert log_stablemax(torch.tensor([1e30, -1e30])).isfinite().all()


@pytest.mark.parametrize("log_probs", [log_stablemax, log_softmax])
def test_the_loss_is_the_mean_over_a_row_s_labelled_cells(log_probs):
    logits, labels = torch.randn(2, 4, 5), torch.tensor([[1, 2, 0, 0], [4, 3, 2, 1]])
    p = log_probs(logits).exp()
    wanted = [-(math.log(p[0, 0, 1]) + math.log(p[0, 1, 2])) / 2, -sum(math.log(p[1, i, 4 - i]) for i in range(4)) / 4]
    assert grid_loss(logits, labels, log_probs).tolist() == pytest.approx(wanted, rel=1e-5)


def test_a_grid_is_solved_when_every_labelled_cell_is():
    labels = torch.tensor([[1, 2, 0], [1, 2, 3]])
    logits = nn.functional.one_hot(torch.tensor([[1, 2, 4], [1, 2, 4]]), 5).float()
    assert solved(logits, labels).tolist() == [True, False]


def test_truncated_normal_has_the_asked_deviation_and_no_tails():
    torch.manual_seed(0)
    drawn = truncated_normal((200_000,), 0.3)
    assert drawn.std().item() == pytest.approx(0.3, rel=0.01)
    assert drawn.abs().max().item() < 0.3 * 2 / 0.87


def test_in_bfloat16_states_are_halved_and_losses_are_not():
    model = small(T=2, n=2)
    x = model.embedded(cells(), dtype=torch.bfloat16)
    (y, z), seen = model.deep_recursion(x, model.begin(3, torch.bfloat16))
    assert (x.dtype, y.dtype, z.dtype) == (torch.bfloat16,) * 3
    assert seen.halt.dtype is torch.float32
    assert grid_loss(seen.logits, cells(), log_stablemax).dtype is torch.float64
    exact, _ = model.deep_recursion(model.embedded(cells()), model.begin(3))
    assert (y.float() - exact.y).abs().mean() < 0.05
    torch.testing.assert_close(y.float().square().mean(-1).sqrt(), torch.ones(3, 11), rtol=0, atol=1e-2)


@pytest.mark.gpu
def test_a_compiled_network_on_a_gpu_agrees_with_the_cpu():
    model = small(T=2, n=2)
    plain, _ = model.deep_recursion(model.embedded(cells()), model.begin(3))
    model.to("cuda")
    model.f.compile()
    found, seen = model.deep_recursion(model.embedded(cells().cuda()), model.begin(3))
    seen.logits.sum().backward()
    torch.testing.assert_close(found.y.cpu(), plain.y, rtol=0, atol=1e-3)
