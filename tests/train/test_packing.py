"""Packed batches: the same losses and gradients as padded ones and as an explicit block mask; every example once; runs that go on."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from reasonry.core import Message, UserError, open_run
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.load import POCKET
from reasonry.lm.thoughts import with_thoughts
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import masked
from reasonry.nn.masks import PROMPT, SUMMARY
from reasonry.nn.masks import packed as blocks
from reasonry.train.health import Record, silent
from reasonry.train.settings import Supervised, plain
from reasonry.train.sft import Example, chat_example, collate, cuts, muon, nll, packed, packed_nll
from reasonry.train.supervised import hold_out, read_examples, steps_of, supervise

CONFIG = DecoderConfig(50, 32, 2, 4, 2, 8, 64, 128, qk_norm=True)


@pytest.fixture
def decoder() -> Decoder:
    model = Decoder(CONFIG).double()
    model.reset_parameters(torch.Generator().manual_seed(0))
    return model


def examples(n: int, seed: int = 0) -> list[Example]:
    """Ragged rows; some share a beginning, some have forced gaps in their mask."""
    g = torch.Generator().manual_seed(seed)
    made = []
    for i in range(n):
        length = int(torch.randint(3, 17, (1,), generator=g))
        ids = [7, 8, 9][: i % 4] + torch.randint(0, 50, (length,), generator=g).tolist()
        mask = [False, *(torch.rand(len(ids) - 1, generator=g) < 0.7).tolist()]
        mask[-1] = True
        made.append(Example(tuple(ids), tuple(mask)))
    return made


def test_a_pack_equals_padding_and_a_block_mask(decoder: Decoder) -> None:
    """Losses in order and the gradient of their mean, three ways; so no example sees another and positions begin anew."""
    rows = examples(7)
    losses = {}
    grads = {}

    def block_nll() -> torch.Tensor:
        ids = torch.tensor([[t for r in rows for t in r.ids]])
        groups = torch.tensor([[i for i, r in enumerate(rows) for _ in r.ids]])
        positions = torch.tensor([[t for r in rows for t in range(len(r.ids))]])
        on = torch.tensor([m for r in rows for m in r.mask])
        logits = decoder.logits(decoder(ids, positions, masked(blocks(groups))).last)[0]
        return F.cross_entropy(logits[:-1][on[1:]].float(), ids[0, 1:][on[1:]], reduction="none")

    for name, way in (
        ("pack", lambda: packed_nll(decoder, packed(rows))),
        ("pad", lambda: nll(decoder, collate(rows))),
        ("mask", block_nll),
    ):
        decoder.zero_grad()
        losses[name] = way()
        losses[name].mean().backward()
        grads[name] = [p.grad.clone() for p in decoder.parameters() if p.grad is not None]
    for other in ("pad", "mask"):
        torch.testing.assert_close(losses["pack"], losses[other], rtol=1e-5, atol=1e-6)
        for a, b in zip(grads["pack"], grads[other], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_examples_of_parallel_paths_pack_and_pad_alike() -> None:
    """Beside plain examples, of unequal lengths, in a model with thought embeddings: losses in order and every gradient."""
    model = with_thoughts(Decoder(CONFIG), 4).double()
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64) * 0.3 + (p.ndim < 2))
    rows = examples(3)
    for n, tags in ((4, (3, 1)), (6, (2, 4, 1)), (2, (1,))):
        groups = [PROMPT] * n + [tag for i, tag in enumerate(tags) for _ in range(i + 2)] + [SUMMARY] * 3
        at = [*range(n), *(n + t for i, _ in enumerate(tags) for t in range(i + 2)), *range(n + len(tags) + 1, n + len(tags) + 4)]
        ids = torch.randint(0, 50, (len(at),), generator=g).tolist()
        mask = [i > 0 and (groups[i] != SUMMARY or groups[i - 1] == SUMMARY) and i % 4 != 3 for i in range(len(at))]
        rows.append(Example(tuple(ids), tuple(mask), tuple(at), tuple(groups)))
    found = []
    for losses in (packed_nll(model, packed(rows)), nll(model, collate(rows))):
        model.zero_grad()
        losses.mean().backward()
        found.append((losses.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (a, grads), (b, others) = found
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert len(grads) == len(others) == len(list(model.parameters()))
    for x, y in zip(grads, others, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


def test_muon_leaves_thought_embeddings_to_adamw() -> None:
    """They are rows of a table, not a matrix between two spaces."""
    model = with_thoughts(Decoder(CONFIG), 2)
    by_muon, by_adamw = ({id(p) for g in o.param_groups for p in g["params"]} for o in muon(model, 0.1, 0.0))
    tables = {id(p) for n, p in model.named_parameters() if n.endswith("thought.weight")}
    assert len(tables) == 2
    assert tables <= by_adamw
    assert len(by_muon) == 2 * 7
    assert len(by_muon | by_adamw) == len(list(model.parameters()))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 64), st.integers(0, 3))
def test_every_example_is_in_one_pack_within_the_limit(lengths: list[int], tokens: int, epoch: int) -> None:
    made = cuts(lengths, tokens, 5, epoch)
    assert sorted(i for cut in made for i in cut) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in cut) <= tokens or len(cut) == 1 for cut in made)
    assert all(sum(lengths[i] for i in [*a, b[0]]) > tokens for a, b in pairwise(made)), "a pack is as full as it can be"
    assert made == cuts(lengths, tokens, 5, epoch)


def test_epochs_have_orders_of_their_own() -> None:
    assert cuts([1] * 30, 4, 5, 0) != cuts([1] * 30, 4, 5, 1)


def settings(**more: Any) -> Supervised:
    return Supervised(
        model="toy", data="toy.jsonl", **{"batch_tokens": 40, "lr": 1e-2, "epochs": 2, "save_every": 3, "validation": 4, **more}
    )


def run_of(decoder: Decoder, path: Path, s: Supervised, stop_at: int | None = None) -> list[dict[str, Any]]:
    class KilledError(Exception):
        pass

    def progress(record: Record) -> None:
        if record["step"] == stop_at:
            raise KilledError

    rows, held_out = hold_out(examples(30, 3), s.validation, s.seed)
    run = open_run(path, plain(s), resume=True)
    with suppress(KilledError):
        asyncio.run(supervise(decoder, lambda epoch: rows, held_out, s, run, silent if stop_at is None else progress))
    timed = {"tokens_per_second", "seconds"}
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in run.lines("steps")]


@pytest.mark.parametrize("stops", [(0, 4), (2, 5), (7, 8)])
def test_stopped_anywhere_and_resumed_ends_with_the_same_weights(tmp_path: Path, stops: tuple[int, ...]) -> None:
    """Weights and log are those of a run that was not stopped; the best weights by validation remain."""

    def fresh() -> Decoder:
        model = Decoder(CONFIG)
        model.reset_parameters(torch.Generator().manual_seed(0))
        return model

    s, whole = settings(), fresh()
    told = run_of(whole, tmp_path / "whole", s)
    assert len(told) == steps_of(s, lambda epoch: hold_out(examples(30, 3), 4, 0)[0])
    for stop in stops:
        run_of(fresh(), tmp_path / "cut", s, stop)
    last = fresh()
    assert run_of(last, tmp_path / "cut", s) == told
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), last.parameters(), strict=True))
    best = min((r for r in told if "validation_loss" in r), key=lambda r: r["validation_loss"])
    assert torch.load(tmp_path / "whole" / "best.pt", weights_only=True)["step"] == best["step"] + 1


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(POCKET / "pocket-1m")


def test_rows_of_both_kinds_become_the_same_chat(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """`messages`, and a prompt with an answer, text or number."""
    chat = [{"role": "user", "content": "what is 3+4?"}, {"role": "assistant", "content": "7"}]
    lines = [{"messages": chat}, {"question": "what is 3+4?", "answer": "7"}, {"prompt": chat[:1], "answer": 7}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = read_examples(tmp_path / "rows.jsonl", tokenizer, 100)
    assert made == [chat_example(tokenizer, (Message("user", "what is 3+4?"), Message("assistant", "7")))] * 3


def test_rows_of_ids_are_learnt_as_they_are(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Ids that their own text would not give back, and a mask with holes: nothing is tokenised again."""
    ids = [*tokenizer.encode("3"), *tokenizer.encode("+"), *(tokenizer.encode(c)[0] for c in "ab"), *tokenizer.eos_ids]
    assert tokenizer.encode(tokenizer.decode(ids)) != tuple(ids)
    mask = [False, True, False, True, True]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"ids": ids, "mask": mask, "kind": "whole"}) + "\n")
    assert read_examples(tmp_path / "rows.jsonl", tokenizer, 100) == [Example(tuple(ids), tuple(mask))]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]", "line 1: is a list but must be an object"),
        ('{"ids": [1, 99999], "mask": [false, true]}', "line 1: ids must be a list of whole numbers below"),
        ('{"ids": [1, true], "mask": [false, true]}', "line 1: ids must be a list of whole numbers below"),
        ('{"ids": [1, 2]}', "line 1: mask must say true or false for each of the 2 ids"),
        ('{"ids": [1, 2], "mask": [false, false]}', "and true for one at least"),
        ('{"ids": [1, 2], "mask": [true, true]}', "line 1: mask begins with true"),
        ('{"text": "x"}', "line 1: has no column any of messages, prompt"),
        ('{"prompt": "x"}', "line 1: ends without an answer"),
        ('{"prompt": "x", "answer": true}', "line 1: ends without an answer"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "line 1: messages holds"),
        ('{"prompt": "x", "answer": "' + "1 " * 200 + '"}', "but the model's context holds 100"),
        ("{", "line 1: is not JSON"),
        ("", "holds no rows"),
    ],
)
def test_a_row_that_cannot_be_learnt_is_refused(tokenizer: Tokenizer, tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=says):
        read_examples(tmp_path / "rows.jsonl", tokenizer, 100)


def test_holding_out_all_is_refused() -> None:
    with pytest.raises(UserError, match="validation: is 3 but the file has 3 rows"):
        hold_out(examples(3), 3, 0)
