"""The quick form of TRM's network is the network."""

import pytest
import torch

from reasonry.worlds.trm import TRM, Mixer, Shape, Thought, rms
from reasonry.worlds.trm_quick import Half

SHAPE = Shape(vocab=6, cells=9, width=16, heads=2, prefix=2, round_to=1, T=2, n=2, N_sup=4)


def network() -> TRM:
    torch.manual_seed(0)
    model = TRM(SHAPE)
    torch.nn.init.normal_(model.halt.weight)
    return model


@pytest.mark.parametrize("along", [False, True])
def test_the_gradient_written_by_hand_is_the_numerical_one(along):
    torch.manual_seed(1)
    size = (6, 5) if along else (5, 6)
    of = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in (size, (7, 6), (7, 6), (6, 7))]
    assert torch.autograd.gradcheck(lambda *given: Half.apply(*given, along), of)


def test_it_is_the_plain_network_with_positions_first():
    model = network()
    h = torch.randn(3, 11, 16)
    torch.testing.assert_close(model.f(h.transpose(0, 1).contiguous(), True).transpose(0, 1), model.f(h))


def test_a_supervision_step_and_its_gradients_are_those_of_the_plain_network():
    model = network().double()
    cells = torch.randint(1, 6, (3, 9), generator=torch.Generator().manual_seed(1))
    thought = Thought(*(rms(torch.randn(3, 11, 16, dtype=torch.float64)) for _ in range(2)))
    found = []
    for plain in (False, True):
        model.zero_grad()
        x = model.embedded(cells, dtype=torch.float64)
        if plain:
            with torch.no_grad():
                y, z = model.latent_recursion(x, *thought, traced=0)
            y, z = model.latent_recursion(x, y, z, traced=3)
            seen = model.read(y)
        else:
            (y, z), seen = model.deep_recursion(x, thought)
        (seen.logits.square().sum() + seen.halt.sum()).backward()
        found.append([y.detach(), z.detach(), *(p.grad for p in model.parameters())])
    for quick, plain in zip(*found, strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-9, atol=1e-12)


def test_only_the_mlp_mixer_in_the_weights_type_on_a_processor_is_quick():
    calls: list[bool] = []
    for mixer, dtype, wanted in (
        (Mixer.MLP, torch.float32, True),
        (Mixer.MLP, torch.bfloat16, False),
        (Mixer.ATTENTION, torch.float32, False),
    ):
        model = TRM(Shape(vocab=6, cells=9, width=16, heads=2, prefix=2, round_to=1, T=1, n=1, mixer=mixer))
        calls.clear()
        model.f.register_forward_pre_hook(lambda _, given: calls.append(given[1]))
        model.deep_recursion(model.embedded(torch.ones(1, 9, dtype=torch.long), dtype=dtype), model.begin(1, dtype))
        assert calls == [wanted] * 2
