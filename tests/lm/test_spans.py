"""Token spans: the text is the decoder's, every character belongs to the tokens that gave it bytes, and tokens without text have none."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from reasonry.lm.load import model_folder
from reasonry.lm.spans import byte_spans, token_spans, touched
from reasonry.lm.tokenizer import Tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTES = Tokenizer.train([], 259, SPECIAL, "")
PIECES = Tokenizer.train(["héllo wörld, 你好 wörld 🙂🙂 naïve café"] * 30, 330, SPECIAL, "")
POCKET = Tokenizer.load(model_folder("pocket-1m"))


def by_prefixes(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    """Whole characters after each token, by decoding every prefix: a slow, independent count for texts that are whole at their end."""
    return [len(tokenizer.decode(ids[: i + 1]).rstrip("\ufffd")) for i in range(len(ids))]


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\ufffd"), max_size=30))
def test_spans_cover_the_text_in_order_and_agree_with_decoding_every_prefix(text: str) -> None:
    for tokenizer in (BYTES, PIECES, POCKET):
        ids = list(tokenizer.encode(text))
        said, spans = token_spans(tokenizer, ids)
        assert said == tokenizer.decode(ids)
        assert sorted({i for a, b in spans for i in range(a, b)}) == list(range(len(said)))
        assert all(a <= c and b <= d for (a, b), (c, d) in pairwise(spans))
        done = by_prefixes(tokenizer, ids)
        for (start, end), after, before in zip(spans, done, [0, *done], strict=False):
            assert start <= before  # begins no later than the first character that was not whole yet
            assert end in (after, after + 1)  # and ends in the last whole one, or in one that it only begins


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 258), max_size=40))
def test_any_ids_decode_to_the_same_text_as_the_tokenizer_says(ids: list[int]) -> None:
    """Broken UTF-8, special tokens in the middle: the text is a view of the ids, whatever they are."""
    text, spans = token_spans(BYTES, ids)
    assert text == BYTES.decode(ids)
    assert len(spans) == len(ids)
    assert all(0 <= a <= b <= len(text) for a, b in spans)


def test_every_byte_of_a_character_has_its_span_and_special_tokens_have_none() -> None:
    ids = [*BYTES.encode("aé🙂"), BYTES.id_of("<|im_end|>")]
    text, spans = token_spans(BYTES, ids)
    assert text == "aé🙂"
    assert spans == [(0, 1), *[(1, 2)] * 2, *[(2, 3)] * 4, (3, 3)]
    assert touched([(1, 2)], spans) == [False, True, True, False, False, False, False, False]


def test_a_token_that_ends_inside_a_character_holds_it_too() -> None:
    text, spans = byte_spans([b"caf" + "é".encode()[:1], "é".encode()[1:] + b"!"])
    assert (text, spans) == ("café!", [(0, 4), (3, 5)])


def test_sentencepiece_byte_tokens_and_its_leading_space() -> None:
    vocabulary = {t: i for i, t in enumerate(["▁hi", "▁you", *(f"<0x{b:02X}>" for b in range(256))])}
    backend = Backend(models.BPE(vocabulary, [], byte_fallback=True, unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer = Tokenizer({"tokenizer.json": backend.to_str().encode()})
    ids = [0, *(vocabulary[f"<0x{b:02X}>"] for b in "é".encode()), 1]
    text, spans = token_spans(tokenizer, ids)
    assert (text, spans) == ("hié you", [(0, 2), (2, 3), (2, 3), (3, 7)])


@pytest.mark.parametrize("tokens", [[(0, 0)], [(3, 3)]])
def test_an_empty_span_is_touched_by_nothing(tokens: list[tuple[int, int]]) -> None:
    assert touched([(0, 5)], tokens) == [False]
