"""Strategic grams: CDF counts documents, grams stay inside clauses, matching is exact at word boundaries, and what is found can be kept."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import UserError
from reasonry.lm.spans import token_spans, touched
from reasonry.lm.tokenizer import Tokenizer
from reasonry.probe.gram_embeddings import letters, sentence_encoder
from reasonry.probe.strategic_grams import StrategicGrams, extract, grams_of, listed, load, placebo, stripped, words
from reasonry.tasks.puzzle import planning_spans, puzzle

PLAN, BACK = "work backwards from the goal", "let us try another way"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PIECES = Tokenizer.train([f"Wait, {PLAN}! {BACK} naïve 你好 🙂 x=3"] * 20, 400, SPECIAL, "")


def apart(grams: Sequence[str]) -> np.ndarray:
    """Every gram far from every other."""
    return np.eye(len(grams))


def test_cdf_counts_documents_not_occurrences() -> None:
    once = ["try to factor it\n3"] * 5
    often = ["\n".join(["look at both ends"] * 100)]
    found = extract([*once, *often], n=(4, 4), top=1.0, min_documents=1, clusters=10, embed=apart)
    assert {c.grams[0]: c.documents for c in found.clusters} == {"try to factor it": 5, "look at both ends": 1}


def test_the_top_share_of_clusters_is_kept_in_the_order_of_their_cdf() -> None:
    phrases = ["go there now", "turn it round", "sum them up", "guess at it", "halve it first"]
    texts = ["\n".join(phrases[: 1 + i % 5]) for i in range(50)]
    for top, many in ((0.2, 1), (0.21, 2), (1.0, 5)):
        found = extract(texts, n=(3, 3), top=top, min_documents=1, clusters=5, embed=apart)
        assert len(found.clusters) == many
        assert [c.documents for c in found.clusters] == sorted((c.documents for c in found.clusters), reverse=True)
    assert found.settings["clusters"] == 5
    assert extract(texts, n=(3, 3), min_documents=1, embed=apart).settings["clusters"] == 2  # a third of five


@pytest.mark.parametrize(
    ("text", "grams"),
    [
        ("go on now", ["go on now"]),
        ("go on 3 now", []),
        ("go on x now", []),
        ("go on\nnow", []),
        ("go on. now", []),
        ("go on = now", []),
        ("go on, now", ["go on now"]),
        ("Go  ON “now”", ["go on now"]),
        ("let’s go on", ["let's go on"]),
        ("is a goal", ["is a goal"]),
        ("the ﬁrst goal", ["the first goal"]),
    ],
)
def test_grams_hold_no_number_or_variable_and_cross_no_line_sentence_or_formula(text: str, grams: list[str]) -> None:
    assert [g for g, _, _ in grams_of(text, (3, 3))] == grams


def test_boilerplate_of_the_answer_and_the_callers_template_are_left_out() -> None:
    texts = [f"as an expert I say\n{PLAN}\nso the final answer is clear to me\n#### that is all here\n\\boxed{{now it is done}}"] * 5
    found = extract(texts, top=1.0, strip=["as an expert I say"])
    assert all(set(g.split()) <= set(PLAN.split()) for g in found.index)
    assert "template" not in stripped("a template here", ["template"])


def test_nothing_to_extract_is_said() -> None:
    with pytest.raises(UserError, match="lower min_documents"):
        extract(["only this one text"], min_documents=2)
    with pytest.raises(UserError, match="top is 0"):
        extract(["a"], top=0.0)


PARTS = ("3", "x=", "naïve", "你好", "🙂", "backwards", "from", "the goal", "work", ",", "\n", " ", "Ärger", ".")
CHUNKS = st.lists(st.sampled_from(PARTS), max_size=12)
SAID = (PLAN, PLAN.upper(), "Work  backwards,\tfrom the goal")


@settings(deadline=None, max_examples=80)
@given(CHUNKS, CHUNKS, st.sampled_from(SAID), st.sampled_from([" ", "\n", "3", "你", "."]))
def test_a_gram_inserted_anywhere_marks_exactly_the_tokens_it_stands_in(before: list[str], after: list[str], said: str, mark: str) -> None:
    """decode → match → mask: the tokens whose characters meet the gram's span, in bytes, in pieces, beside multi-byte characters."""
    joined = mark != "你"  # a letter right before or behind makes another word of the gram's
    a, b = "".join(before), "".join(after)
    text = f"{a}{mark}{said}{mark}{b}" if joined else f"{a} {mark} {said} {mark} {b}"
    grams = listed([PLAN])
    ids = PIECES.encode(text)
    shown, places = token_spans(PIECES, ids)
    if shown != text:  # NFC changed it: find the phrase in what is shown
        text = shown
    start = text.index(said, len(a) if text.startswith(a) else 0)
    expected = {i for i, (s, e) in enumerate(places) if max(s, start) < min(e, start + len(said))}
    alone = [(s, e) for s, e in grams.spans(text) if not (s == start and e == start + len(said))]
    assert (start, start + len(said)) in grams.spans(text)
    got = {i for i, on in enumerate(touched(grams.spans(text), places)) if on}
    assert got - {i for i, on in enumerate(touched(alone, places)) if on} <= expected <= got


def test_matching_is_at_word_boundaries() -> None:
    grams = listed([PLAN])
    assert grams.spans(f"{PLAN}s") == []
    assert grams.spans(f"re{PLAN}") == []
    assert grams.spans("work backwards from the 3 goal") == []
    assert grams.spans(f"({PLAN})") == [(1, 1 + len(PLAN))]


def test_overlapping_grams_make_one_span_and_occurrences_do_not_overlap() -> None:
    grams = listed(["work backwards from", "backwards from the goal", "the goal is"])
    text = "Work backwards from the goal is what we do"
    assert grams.spans(text) == [(0, 31)]
    assert [(m.start, m.end, m.cluster) for m in grams.matches(text)] == [(0, 19, 0), (20, 31, 2)]


def test_a_users_phrases_and_expressions(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Let’s try again\n\n/wait[,.]* (no|hmm)/\n")
    grams = load(path)
    assert [m.cluster for m in grams.matches("let's TRY again. Wait, no")] == [0, 1]
    for bad, mend in (("/(/", "mend it"), ("x = 3", "words alone"), ("", "one a line")):
        path.write_text(bad + "\n")
        with pytest.raises(UserError, match=mend):
            load(path)


def test_what_was_found_is_kept_as_it_is(tmp_path: Path) -> None:
    found = extract([PLAN, BACK] * 5, top=1.0)
    found.save(tmp_path / "grams.json")
    assert load(tmp_path / "grams.json") == found
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(UserError, match="no strategic grams"):
        load(tmp_path / "other.json")


def texts(many: int) -> list[str]:
    task = puzzle()
    return [task.demonstration(p, random.Random(p.id))[-1].content for p in task.problems("train", many)]


def test_a_placebo_is_as_large_random_and_disjoint() -> None:
    own = texts(150)
    true = extract(own, top=0.4)
    one, two = placebo(true, own, 0), placebo(true, own, 1)

    def covered(grams: StrategicGrams) -> set[tuple[int, int]]:
        return {(d, i) for d, t in enumerate(own) for i, w in enumerate(words(t)) if any(a <= w.start < b for a, b in grams.spans(t))}

    assert one.index != two.index
    assert placebo(true, own, 0) == one
    assert not covered(one) & covered(true)
    assert 0.9 <= len(covered(one)) / len(covered(true)) <= 1.0
    assert one.settings["share"] == len(covered(one)) / len(covered(true))


def test_a_text_of_nothing_but_strategy_has_no_placebo() -> None:
    with pytest.raises(UserError, match="other phrases"):
        placebo(listed([PLAN]), [PLAN])


def test_planted_phrases_are_found_and_fillers_are_rarer() -> None:
    """On digits' puzzles every kept gram of the top share is part of a phrase that announces a strategy."""
    found = extract(texts(200), top=0.2)
    assert found.coverage > 0.4
    phrases = {text[a:b] for text in texts(50) for a, b in planning_spans(text)}
    assert all(any(gram in phrase for phrase in phrases) for gram in found.index)


def test_letters_put_spellings_together_and_have_unit_length() -> None:
    rows = letters(["try another way", "try another way now", "add the numbers up", "sum of digits"])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    near = rows @ rows.T
    assert near[0, 1] > near[0, 2]
    assert near[0, 1] > near[0, 3]


def test_a_sentence_encoder_means_over_tokens_that_are_no_padding(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    backend = Backend(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "try": 2, "another": 3, "way": 4}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)).eval()
    model.save_pretrained(tmp_path)
    embed = sentence_encoder(tmp_path, batch=2)
    together = embed(["try", "try another way", "way"])
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([[2]])).last_hidden_state[0].mean(0)
    assert np.allclose(together[0], torch.nn.functional.normalize(alone, dim=0).numpy(), atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    with pytest.raises(UserError, match="holds no config"):
        sentence_encoder(tmp_path / "nowhere")
