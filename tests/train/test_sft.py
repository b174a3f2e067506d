"""What supervised training promises: the right tokens are predicted, rows are strangers to one another, order follows the seed."""

from collections.abc import Callable
from itertools import islice, pairwise

import pytest
import torch
import torch.nn.functional as F

from reasonry.core import Message
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal
from reasonry.train.muon import orthogonal
from reasonry.train.pocket import CHATML, SPECIAL
from reasonry.train.sft import Example, adamw, batches, chat_example, collate, fit, muon, nll, warm_then_cosine

Make = Callable[[Decoder, float, float], list[torch.optim.Optimizer]]
CONFIG = DecoderConfig(400, 32, 2, 2, 1, 16, 64, 128, qk_norm=True)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["what is 3+4? it is 7", "loop a=1 b=2"], vocab_size=400, special_tokens=SPECIAL, chat_template=CHATML)


@pytest.fixture
def decoder() -> Decoder:
    model = Decoder(CONFIG)
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model


def test_only_what_the_assistant_writes_is_predicted(tokenizer: Tokenizer) -> None:
    """Decoding the masked-in tokens gives each assistant turn and its end token, and the whole row is the rendered chat."""
    chat = (Message("user", "what is 3+4?"), Message("assistant", "it is 7"), Message("tool", "ok 7"), Message("assistant", "7"))
    example = chat_example(tokenizer, chat)
    said = tokenizer.decode([i for i, on in zip(example.ids, example.mask, strict=True) if on], skip_special=False)
    assert said == "it is 7<|im_end|>7<|im_end|>"
    rendered = tokenizer.render(chat, add_generation_prompt=False).rstrip("\n")
    assert tokenizer.decode(example.ids, skip_special=False) == rendered


def test_the_loss_of_a_row_does_not_depend_on_its_company(decoder: Decoder) -> None:
    """A row's losses alone equal its losses in a padded batch, and both equal a hand-written sum."""
    rows = [Example(tuple(range(5, 17)), (False,) * 4 + (True,) * 8), Example(tuple(range(40, 45)), (False,) + (True,) * 4)]
    together = nll(decoder, collate(rows))
    alone = torch.cat([nll(decoder, collate([row])) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    row = rows[0]
    ids = torch.tensor([row.ids])
    logprobs = F.log_softmax(decoder.logits(decoder(ids, torch.arange(12)[None], causal()).last), dim=-1)
    by_hand = torch.stack([-logprobs[0, t - 1, row.ids[t]] for t in range(12) if row.mask[t]])
    torch.testing.assert_close(alone[:8], by_hand, rtol=1e-5, atol=1e-6)


def test_batches_hold_every_example_once_within_the_limit() -> None:
    """No example is lost or doubled, no batch is larger than asked (a single long row excepted), and the seed decides the order."""
    source = [Example((n,) * (n % 13 + 2), (False,) + (True,) * (n % 13 + 1)) for n in range(100)]
    made = list(batches(source, 40, 32, torch.Generator().manual_seed(1)))
    firsts = sorted(int(row[0]) for b in made for row in b.ids)
    assert firsts == list(range(100))
    assert all(b.ids.numel() <= 40 for b in made)
    again = list(batches(source, 40, 32, torch.Generator().manual_seed(1)))
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(made, again, strict=True))


def test_the_learning_rate_warms_and_cools() -> None:
    """Rises linearly to 1, ends at the floor, never rises again after the warm-up."""
    factors = [warm_then_cosine(s, 10, 100) for s in range(101)]
    assert factors[:10] == [(s + 1) / 10 for s in range(10)]
    assert factors[-1] == pytest.approx(0.02)
    assert all(a >= b for a, b in pairwise(factors[9:]))


@pytest.mark.parametrize("make", [adamw, muon])
def test_training_learns_and_a_resumed_run_ends_with_the_same_weights(decoder: Decoder, make: Make) -> None:
    """The loss of a tiny corpus falls; stopping after 5 of 10 steps and going on equals 10 steps, bit for bit."""
    corpus = [Example(tuple((7 * n + t) % 50 for t in range(8)), (False,) + (True,) * 7) for n in range(16)] * 40
    start = {k: v.clone() for k, v in decoder.state_dict().items()}

    def run(model: Decoder, optimizers: list[torch.optim.Optimizer], steps: range) -> list[float]:
        stream = islice(batches(corpus, 64, 16, torch.Generator().manual_seed(0)), steps.start, None)
        return [p.loss for p in fit(model, optimizers, stream, lambda s: 3e-3, steps)]

    losses = run(decoder, make(decoder, 3e-3, 0.1), range(60))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])

    whole, first_half, second_half = Decoder(CONFIG), Decoder(CONFIG), Decoder(CONFIG)
    whole.load_state_dict(start)
    run(whole, make(whole, 3e-3, 0.1), range(10))
    first_half.load_state_dict(start)
    before = make(first_half, 3e-3, 0.1)
    run(first_half, before, range(5))
    second_half.load_state_dict(first_half.state_dict())
    after = make(second_half, 3e-3, 0.1)
    for new, old in zip(after, before, strict=True):
        new.load_state_dict(old.state_dict())
    run(second_half, after, range(5, 10))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), second_half.state_dict().values(), strict=True))


def test_muons_update_is_nearly_orthogonal() -> None:
    """Five Newton-Schulz steps bring the singular values of a random matrix near one and keep its singular vectors."""
    g = torch.randn(24, 64, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    o = orthogonal(g)
    values = torch.linalg.svdvals(o)
    assert 0.6 < values.min() < values.max() < 1.3
    aligned = u.T @ o @ vh.T
    torch.testing.assert_close(aligned, torch.diag(aligned.diagonal()), atol=1e-4, rtol=0)
    torch.testing.assert_close(orthogonal(g.T), o.T, atol=1e-4, rtol=1e-4)
