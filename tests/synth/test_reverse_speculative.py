"""Reverse speculative decoding against what it must be at its ends, its one-step law in closed form, and its twin token by token."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, cast

import pytest
import torch

from reasonry.core import Ids, Message, Sampling, Stop, UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.synth.reverse_speculative import (
    AUTHORS,
    Pair,
    Rule,
    Trace,
    by_lookahead,
    by_pool,
    by_steps,
    pair,
    student_seed,
    write,
)
from reasonry.synth.vocabulary import SAME, Match, match

PROMPT: Ids = (1, 2, 3)
FULL = Sampling()
LOOSE = Rule(p_th=0.05, teacher=FULL, student=FULL, max_tokens=24)


@dataclass(frozen=True)
class Numbers:
    """As much of a tokenizer as a local model needs: ids are ids."""

    eos_ids: Ids

    def encode(self, text: str, special: bool = False) -> Ids:
        return tuple(map(int, text.split()))

    def render(self, messages: Sequence[Message], **_: Any) -> str:
        return messages[-1].content

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        return " ".join(map(str, ids))


def model(seed: int, vocabulary: int = 24, window: int = 128, eos: Ids = (0,), sharp: float = 2.0) -> LocalLM:
    """Random weights whose laws are far from flat, and from one another."""
    decoder = Decoder(DecoderConfig(vocabulary, 16, 2, 2, 1, 8, 32, max_position=window, qk_norm=True, tie_embeddings=False))
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        decoder.embed_tokens.weight.mul_(50)
        for name, p in decoder.named_parameters():
            if name == "lm_head.weight":
                p.mul_(sharp)
    return LocalLM(decoder.requires_grad_(False), cast(Tokenizer, Numbers(eos)), f"model {seed}", max_rows=1024, kv_tokens=16384)


def two(vocabulary: int = 24, **more: Any) -> Pair:
    return Pair(model(0, vocabulary, **more), model(1, vocabulary, **more), SAME)


async def traces(p: Pair, rule: Rule, seeds: Iterable[int], extend: Any = by_lookahead) -> list[Trace]:
    return list(await asyncio.gather(*(write(p, PROMPT, rule, seed, extend) for seed in seeds)))


@pytest.mark.parametrize("extend", [by_lookahead, by_steps])
async def test_with_no_threshold_it_is_the_teacher_and_above_one_the_student(extend: Any) -> None:
    """Token by token what the model alone completes with the same seed, the end included."""
    p = two()
    for sampling in (FULL, Sampling(temperature=0.7, top_p=0.95)):
        rule = replace(LOOSE, teacher=sampling, student=sampling, max_tokens=12)
        for lm, p_th, seed_of in ((p.teacher, 0.0, int), (p.student, 1.1, student_seed)):
            alone = (lm.complete(PROMPT, sampling.with_(max_tokens=12, seed=seed_of(seed))) for seed in range(6))
            made = await traces(p, replace(rule, p_th=p_th), range(6), extend)
            for trace, completion in zip(made, await asyncio.gather(*alone), strict=True):
                assert (trace.ids, trace.stop) == (completion.ids, completion.stop)
                assert trace.fallback_rate == float(lm is p.student)


@pytest.mark.parametrize("p_th", [0.01, 0.05, 0.2])
async def test_looking_ahead_and_going_by_steps_write_the_same_traces(p_th: float) -> None:
    """However many tokens are drafted at a time, and whatever is written beside: ids, sources and probabilities."""
    p, rule = two(), replace(LOOSE, p_th=p_th, student=Sampling(temperature=0.8, top_p=0.9))
    wanted = await traces(p, rule, range(8), by_steps)
    assert 0 < fmean(t.fallback_rate for t in wanted) < 1
    for K in (1, 3, 8):
        found = await traces(p, replace(rule, ahead=K), range(8))
        for a, b in zip(found, wanted, strict=True):
            assert (a.ids, a.stop) == (b.ids, b.stop)
            assert [t.teachers for t in a.tokens] == [t.teachers for t in b.tokens]
            assert [t.log_teacher for t in a.tokens] == pytest.approx([t.log_teacher for t in b.tokens], abs=1e-5)
            assert [t.log_student for t in a.tokens] == pytest.approx([t.log_student for t in b.tokens], abs=1e-5)
            assert [t.log_drawn is None for t in a.tokens] == [t.teachers for t in a.tokens]
            drawn = [[t.log_drawn for t in x.tokens if t.log_drawn is not None] for x in (a, b)]
            assert drawn[0] == pytest.approx(drawn[1], abs=1e-5)


def law(lm: LocalLM) -> torch.Tensor:
    from reasonry.nn.attention import causal

    ids = torch.tensor([PROMPT])
    return lm.decoder.logits(lm.decoder(ids, torch.arange(len(PROMPT))[None], causal()).last[0, -1]).double().softmax(-1)


@pytest.mark.parametrize(("k", "extend"), [(1, by_lookahead), (1, by_steps), (3, by_steps), (3, by_pool)])
async def test_one_token_has_the_law_of_the_formula(k: int, extend: Any) -> None:
    """P(y) = P_T(y) [P_S(y) ≥ p] (1 − ρᵏ)/(1 − ρ) + ρᵏ P_S(y), ρ the teacher's mass below p, on five tokens."""
    p, n = two(5), 600
    P_T, P_S = law(p.teacher), law(p.student)
    p_th = float(P_S.sort().values[2]) + 1e-6
    good = p_th <= P_S
    rho = float(P_T[~good].sum())
    assert 0.05 < rho < 0.95
    formula = P_T * good * (1 - rho**k) / (1 - rho) + rho**k * P_S
    assert float(formula.sum()) == pytest.approx(1.0)
    rule = replace(LOOSE, p_th=p_th, proposals=k, max_tokens=1)
    made = await traces(p, rule, range(n), extend)
    counts = torch.bincount(torch.tensor([t.ids[0] for t in made]), minlength=5).double()
    chi = float(((counts - n * formula) ** 2 / (n * formula)).sum())
    assert chi < 18.5  # 99.9 % of samples of this law, 4 degrees of freedom
    assert fmean(t.fallback_rate for t in made) == pytest.approx(rho**k, abs=0.05)
    for token in (t.tokens[0] for t in made):
        assert math.exp(token.log_teacher) == pytest.approx(float(P_T[token.id]), abs=1e-5)
        assert math.exp(token.log_student) == pytest.approx(float(P_S[token.id]), abs=1e-5)


async def test_a_student_that_teaches_itself_keeps_all_but_its_own_rare_tokens() -> None:
    """Fallbacks come as often as the mass below p, and then are drawn once more, whatever their probability."""
    lm, n = model(3, 5), 600
    P = law(lm)
    p_th = float(P.sort().values[2]) + 1e-6
    rare = float(P[p_th > P].sum())
    made = await traces(Pair(lm, lm, SAME), replace(LOOSE, p_th=p_th, max_tokens=1), range(n))
    assert fmean(t.fallback_rate for t in made) == pytest.approx(rare, abs=0.04)
    assert fmean(math.exp(t.tokens[0].log_student) < p_th for t in made) == pytest.approx(rare**2, abs=0.03)


async def test_every_teachers_token_is_found_likely_when_the_trace_is_scored_again() -> None:
    """By another engine, from the ids alone: a token scored in the wrong place or under another prompt would show."""
    p, other = two(), model(1)
    async with other:
        for trace in await traces(p, LOOSE, range(12)):
            again = await other.score(trace.prompt, trace.ids)
            assert [t.log_student for t in trace.tokens] == pytest.approx(again, abs=1e-5)
            assert all(math.exp(x) >= LOOSE.p_th - 1e-6 for x, t in zip(again, trace.tokens, strict=True) if t.teachers)


async def test_rare_tokens_fall_with_the_threshold_up_to_their_own_level_and_rise_beyond() -> None:
    """The share below a level is Σ P_T over p_th ≤ P_S < level, plus ρ times the student's own share: past the level only ρ grows."""
    p = two(5)
    P_T, P_S = law(p.teacher), law(p.student)
    level = float(P_S.sort().values[2]) + 1e-6
    own = float(P_S[level > P_S].sum())
    thresholds = [0.0, *(float(x) + 1e-6 for x in P_S.sort().values)]
    shares = [float(P_T[(p_th <= P_S) & (level > P_S)].sum()) + float(P_T[p_th > P_S].sum()) * own for p_th in thresholds]
    assert shares[:4] == sorted(shares[:4], reverse=True)
    assert shares[3:] == sorted(shares[3:])
    assert shares[-1] == pytest.approx(own)
    for p_th, share in zip(thresholds, shares, strict=True):
        made = await traces(p, replace(LOOSE, p_th=p_th, max_tokens=1), range(300))
        assert fmean(math.exp(t.tokens[0].log_student) < level for t in made) == pytest.approx(share, abs=0.08)


async def test_on_whole_traces_rare_tokens_fall_with_the_threshold() -> None:
    p = two()
    shares = []
    for p_th in (0.0, 0.005, 0.05):
        made = await traces(p, replace(LOOSE, p_th=p_th), range(24))
        shares.append(fmean(t.log_student < math.log(0.05) for trace in made for t in trace.tokens))
    assert shares[0] > shares[1] > shares[2]


async def test_the_students_law_may_be_judged_as_it_is_sampled() -> None:
    """At temperature 0.7 a likely token is likelier, so less is refused; and looking ahead says that it cannot."""
    p = two()
    sharp = replace(LOOSE, judged=Sampling(temperature=0.4))
    own, judged = [fmean(t.fallback_rate for t in await traces(p, rule, range(8), by_steps)) for rule in (LOOSE, sharp)]
    assert own != judged
    for rule in (sharp, replace(LOOSE, proposals=2), replace(LOOSE, among=5)):
        with pytest.raises(UserError, match="use by_steps or by_pool"):
            await write(p, PROMPT, rule, 0)


async def test_a_token_outside_the_students_likeliest_is_refused() -> None:
    p = two()
    rule = replace(LOOSE, p_th=0.0, among=1)
    for trace in await traces(p, rule, range(6), by_steps):
        for at, token in enumerate(trace.tokens):
            if token.teachers:
                with await p.student.sequence((*trace.prompt, *trace.ids[:at])) as s:
                    assert int((await s.logits()).argmax()) == token.id


async def test_a_trace_ends_where_a_context_does() -> None:
    """The shorter of the two windows, wherever the draft stands."""
    p = Pair(model(0, window=20, eos=()), model(1, window=17, eos=()), SAME)
    for extend in (by_lookahead, by_steps):
        trace = await write(p, PROMPT, replace(LOOSE, max_tokens=64), 0, extend)
        assert (trace.stop, len(trace.tokens)) == (Stop.CONTEXT, 14)
        assert (await write(p, PROMPT, replace(LOOSE, max_tokens=5), 0, extend)).stop is Stop.LENGTH


async def test_nothing_is_held_when_a_trace_is_done() -> None:
    p = two()
    await traces(p, LOOSE, range(4))
    for lm in (p.teacher, p.student):
        lm.engine.flush()
        assert lm.engine.pool.used == 0


class TestVocabularies:
    SPECIAL = ("<|endoftext|>", "<|im_end|>")
    CHAT = "{% for m in messages %}{{ m.content }}{% endfor %}"

    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """A teacher and a student that spell alike in other ids; the student has marks of its own and ends in another way."""
        teacher = Tokenizer.train(["abc abd"], 262, self.SPECIAL, self.CHAT)
        student = Tokenizer.train(["xyz xyw"], 268, [*self.SPECIAL, "<|end|>"], self.CHAT, eos="<|end|>", markup=["<think>", "</think>"])
        return teacher, student

    def test_tokens_are_matched_by_spelling(self) -> None:
        teacher, student = self.tokenizers()
        m = match(teacher, student, {"<think>": "("})
        for token, id in teacher.backend.get_vocab(True).items():
            if id not in teacher.eos_ids:
                assert m.to_student(id) == student.backend.token_to_id(token)
        assert m.to_student(teacher.eos_ids[0]) == student.eos_ids[0]
        assert m.to_teacher(student.id_of("<think>")) == teacher.encode("(")
        assert m.to_teacher(student.id_of("</think>")) == teacher.encode("</think>")
        text = "xyz <think>é</think>"
        assert teacher.decode(m.context(student.encode(text))) == "xyz (é</think>"
        assert match(teacher, teacher) is SAME

    def test_a_mark_that_stands_for_nothing_is_refused(self) -> None:
        teacher, student = self.tokenizers()
        with pytest.raises(UserError, match="special: '<none>'"):
            match(teacher, student, {"<none>": "x"})
        with pytest.raises(UserError, match="say what stands for it"):
            Match({0: 0}, {0: (0,)}).to_teacher(7)

    async def test_models_of_different_ids_write_what_those_of_one_vocabulary_do(self) -> None:
        """The student's ids turned round, its weights with them: greedy traces spell the same."""
        teacher, student = model(0, eos=()), model(1, eos=())
        turned = Decoder(student.decoder.config)
        turned.load_state_dict(student.decoder.state_dict())
        order = torch.arange(24).flip(0)
        with torch.no_grad():
            for p in (turned.embed_tokens.weight, turned.get_parameter("lm_head.weight")):
                p.copy_(p[order].clone())
        around = Match({i: 23 - i for i in range(24)}, {i: (23 - i,) for i in range(24)})
        other = LocalLM(turned.requires_grad_(False), cast(Tokenizer, Numbers(())), "turned")
        greedy = Sampling(temperature=0.0)
        rule, sources = replace(LOOSE, p_th=0.02, teacher=greedy, student=greedy), set[bool]()
        for extend in (by_lookahead, by_steps, by_pool):
            for start in range(2):
                prompt = (start, start + 5, start + 9)
                plain = await write(Pair(teacher, student, SAME), prompt, rule, 0, extend)
                here = await write(Pair(teacher, other, around), tuple(23 - i for i in prompt), rule, 0, extend)
                assert here.ids == tuple(23 - i for i in plain.ids)
                assert [t.teachers for t in here.tokens] == [t.teachers for t in plain.tokens]
                sources |= {t.teachers for t in plain.tokens}
        assert sources == {True, False}

    async def test_what_the_student_cannot_say_is_never_the_teachers(self) -> None:
        """Left out of the draw by the authors' rule, refused by the paper's; with nothing shared, all is the student's."""
        teacher, student = model(0, eos=()), model(1, eos=())
        half = Match({i: i for i in range(12)}, {i: (i,) for i in range(24)})
        p = Pair(teacher, student, half)
        for rule, extend in ((replace(LOOSE, p_th=0.0), by_lookahead), (replace(LOOSE, p_th=0.0), by_steps), (AUTHORS, by_pool)):
            for trace in await traces(p, replace(rule, max_tokens=16), range(4), extend):
                assert all(t.id < 12 for t in trace.tokens if t.teachers)
        nothing = Pair(teacher, student, Match({}, half.teacher_of))
        assert {t.fallback_rate for t in await traces(nothing, replace(AUTHORS, max_tokens=8), range(3), by_pool)} == {1.0}

    async def test_pairs_are_matched_by_their_tokenizers(self) -> None:
        teacher, student = self.tokenizers()
        shape = DecoderConfig(268, 16, 1, 2, 1, 8, 32, max_position=128, qk_norm=True)
        lms = []
        for seed, (tokenizer, size) in enumerate(((teacher, 262), (student, 268))):
            decoder = Decoder(replace(shape, vocab_size=size))
            decoder.reset_parameters(torch.Generator().manual_seed(seed))
            lms.append(LocalLM(decoder, tokenizer, str(seed)))
        trace = await write(pair(lms[0], lms[1], {"<think>": "("}), "xyz <think>", replace(LOOSE, p_th=0.004, max_tokens=40), 0)
        assert len(trace.tokens) == 40
        assert {t.teachers for t in trace.tokens} == {True, False}
