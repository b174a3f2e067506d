"""Bit for bit the same in any company: fp32, CPU, one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from engines import TINY, decoder, job, prompt, run

from reasonry.lm.decoder import DecoderConfig
from reasonry.lm.engine import batch
from reasonry.lm.engine.engine import Engine
from reasonry.lm.engine.row import Job, Row

POCKET = DecoderConfig(
    vocab_size=512, hidden_size=192, num_layers=2, num_heads=6, num_kv_heads=2, head_dim=32, intermediate_size=512, max_position=1024,
    qk_norm=True,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def outcome(one: Job) -> tuple[list[int], list[float], list[float]]:
    return one.sampled, one.logprobs, one.sampler_logprobs


def subject() -> Job:
    return job(prompt(45, 99), max_tokens=70, temperature=0.9, top_p=0.95, seed=7)


@pytest.mark.parametrize(("config", "company"), [(TINY, 7), (POCKET, 1), (POCKET, 7), (POCKET, 33)])
def test_neighbours_never_change_a_request(config, company):
    """Alone, or with neighbours of other lengths admitted before, with and after it, in a warm or a cold cache."""
    model = decoder(config)
    alone = subject()
    run(Engine(model, 64, 32768), alone)
    engine = Engine(model, 64, 32768)
    others = [job(prompt(3 + 17 * i % 200, i), max_tokens=5 + 13 * i % 60, seed=i, temperature=i % 2) for i in range(company)]
    crowded, late = subject(), subject()
    for one in others[::2]:
        engine.submit(one)
    engine.step()
    engine.submit(crowded)
    for _ in range(3):
        engine.step()
    run(engine, *others[1::2])
    run(engine, late)
    assert late.prefilled < crowded.prefilled == 45
    assert outcome(alone) == outcome(crowded) == outcome(late)


@pytest.mark.parametrize("max_rows", [1, 2, 3, 40])
def test_how_many_rows_run_at_once_changes_nothing(max_rows):
    model = decoder(POCKET)
    jobs = [job(prompt(20 + i, i), max_tokens=12, seed=i) for i in range(6)]
    run(Engine(model, max_rows, 8192), *jobs)
    alone = [job(prompt(20 + i, i), max_tokens=12, seed=i) for i in range(6)]
    for one in alone:
        run(Engine(model, 1, 8192), one)
    assert [outcome(one) for one in jobs] == [outcome(one) for one in alone]


def test_lanes_and_slots_read_the_same_bits(monkeypatch):
    """A row read side by side in a bank, one moved to wider banks, and one read by slot."""
    model = decoder(POCKET)
    with_lanes, without = subject(), subject()
    run(Engine(model, 8, 8192), with_lanes, *(job(prompt(250, i), max_tokens=10) for i in range(2)))
    engine = Engine(model, 8, 8192)
    engine._lanes = None
    run(engine, without)
    assert outcome(with_lanes) == outcome(without)


def test_prefill_and_decode_give_the_same_bits():
    """Scored in one piece or sampled token by token: the same log-probabilities."""
    model = decoder(POCKET)
    engine = Engine(model, 8, 8192)
    one = job(prompt(50), max_tokens=120, seed=1)
    run(engine, one)
    engine.flush()
    score = Job(Row(one.row.ids.copy()), score_from=50)
    run(engine, score)
    assert score.logprobs == one.logprobs


def test_attention_of_a_row_is_blind_to_its_neighbours_and_its_padding():
    """The three rules of `batch`, at awkward sizes: rows, heads, keys up to several spans, and more padding than keys."""
    g = torch.Generator().manual_seed(0)
    for heads in ((1, 1), (3, 3), (6, 2), (8, 1)):
        for keys in (1, 15, 16, 130, 257, 400):
            q, k, v = torch.randn(5, 1, heads[0], 32, generator=g), *torch.randn(2, 5, heads[1], 640, 32, generator=g)
            outs = []
            for rows, width in ((5, 640), (1, batch._padded(keys)), (3, batch._padded(keys) + 48)):
                mask = torch.zeros(rows, 1, 1, width).masked_fill_(torch.arange(width) >= keys, float("-inf"))
                outs.append(batch.attention(q[:rows], k[:rows, :, :width], v[:rows, :, :width], mask)[0])
            assert torch.equal(outs[0], outs[1])
            assert torch.equal(outs[0], outs[2])


def test_fused_attention_agrees():
    """The path of half precision and CUDA, up to rounding."""
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 5, 6, 16, generator=g), *torch.randn(2, 3, 2, 32, 16, generator=g)
    mask = torch.zeros(3, 1, 5, 32).masked_fill_(torch.arange(32) >= torch.arange(20, 25)[:, None], float("-inf"))
    exact = batch.attention(q, k, v, mask)
    fused = batch.attention(q.double(), k.double(), v.double(), mask)
    assert torch.allclose(exact, fused.float(), atol=1e-5)
