"""What moves a TRM's weights."""

import math

import pytest
import torch
from torch import nn

from reasonry.worlds.optim import A, AdamATan2, Average, sign_update


def test_without_memory_the_average_is_the_network_itself():
    model = nn.Linear(3, 2)
    average = Average(model, 0.0)
    for _ in range(3):
        with torch.no_grad():
            model.weight.add_(torch.randn_like(model.weight))
        average.follow(model)
        assert torch.equal(average.weights["weight"], model.weight)


def test_the_average_forgets_at_its_rate_and_gives_the_live_weights_back():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = Average(model, 0.75)
    nn.init.constant_(model.weight, 5.0)
    average.follow(model)
    assert average.weights["weight"].item() == pytest.approx(0.75 * 1 + 0.25 * 5)
    with average.swapped(model):
        assert model.weight.item() == pytest.approx(2.0)
    assert model.weight.item() == 5.0


def test_signs_move_only_the_rows_of_the_batch_after_summing_repeated_ids():
    table = torch.arange(12.0).reshape(4, 3)
    before, gradient = table.clone(), torch.tensor([[1.0, -1.0, 2.0], [-3.0, 5.0, 0.0], [2.0, -4.0, -2.0]])
    sign_update(table, torch.tensor([2, 0, 2]), gradient, lr=0.1, weight_decay=0.5)
    assert torch.equal(table[[1, 3]], before[[1, 3]])
    torch.testing.assert_close(table[0], before[0] * 0.95 - 0.1 * torch.tensor([-1.0, 1.0, 0.0]))
    torch.testing.assert_close(table[2], before[2] * 0.95 - 0.1 * torch.tensor([1.0, -1.0, 0.0]))


def test_atan2_is_adam_without_an_epsilon():
    w = nn.Parameter(torch.tensor([2.0, -1.0, 4.0]))
    optimizer = AdamATan2([w], lr=0.1, betas=(0.9, 0.95), weight_decay=0.5)
    gradients = [torch.tensor([0.3, -0.0001, 0.0]), torch.tensor([-1.0, 0.0002, 0.0])]
    wanted, m, v = [2.0, -1.0, 4.0], [0.0] * 3, [0.0] * 3
    for t, gradient in enumerate(gradients, 1):
        w.grad = gradient
        optimizer.step()
        for i, g in enumerate(gradient.tolist()):
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.95 * v[i] + 0.05 * g * g
            wanted[i] = wanted[i] * 0.95 - 0.1 * A * math.atan2(m[i] / (1 - 0.9**t), math.sqrt(v[i] / (1 - 0.95**t)))
    assert w.tolist() == pytest.approx(wanted, rel=1e-5)
