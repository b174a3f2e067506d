"""The oracles of Delethink (arXiv 2510.06557) that need no training: each holds to the last digit."""

import asyncio
import math
from dataclasses import dataclass, field, replace
from functools import cache

import pytest
import torch

from reasonry.core import LM, Budget, Completion, Cost, Ids, Message, Problem, Prompt, Sampling, Stop, Trajectory, UserError
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.engine.flops import causal_pairs, forward_flops
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal as causal_memory
from reasonry.solve.delethink import (
    Boundary,
    Carried,
    Carry,
    Delethink,
    head_and_tail,
    head_beside_tail,
    multi_head,
    progressive,
    summary,
    tagged,
    tail,
)
from reasonry.solve.delethink_cost import R1_DISTILL_1_5B, Call, causal, chunks, cost_of_calls, crossover, full, longcot_cost, thinking_cost
from reasonry.solve.single import Single
from reasonry.tasks.judges import exact

PROBLEM = Problem("p", "a=3 b=7. loop 4: a+=4 b+=a. give a b", "a=9 b=1")
CHATML = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
TINY = DecoderConfig(
    vocab_size=259, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48, max_position=1024,
    qk_norm=True,
)  # fmt: skip


@cache
def tokenizer() -> Tokenizer:
    """One token per byte: nearly every boundary falls inside a character."""
    return Tokenizer.train([], vocab_size=259, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], chat_template=CHATML)


@cache
def decoder(max_position: int = 1024) -> Decoder:
    """A random network, sharp enough that contexts matter."""
    made = Decoder(replace(TINY, max_position=max_position))
    made.reset_parameters(torch.Generator().manual_seed(7))
    with torch.no_grad():
        made.embed_tokens.weight.mul_(12)
        for block in made.layers:
            for p in block.parameters():
                if p.dim() == 2:
                    p.mul_(5)
    return made.eval()


def local(max_position: int = 1024, kv_tokens: int = 8192) -> LocalLM:
    return LocalLM(decoder(max_position), tokenizer(), "tiny", max_rows=8, kv_tokens=kv_tokens)


@dataclass
class Playback:
    """Plays one fixed answer, one id per byte, from where the last call left off; whatever the context. Keeps its calls."""

    answer: bytes
    name: str = "playback"
    at: int = 0
    calls: list[tuple[Ids, Sampling]] = field(default_factory=list)

    async def encode(self, prompt: Prompt) -> Ids:
        if isinstance(prompt, str):
            return tuple(prompt.encode())
        return tuple(i for p in prompt for i in (p.content.encode() if isinstance(p, Message) else (p,)))

    async def decode(self, ids: Ids) -> str:
        return bytes(i for i in ids if i < 256).decode(errors="replace")

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        context = await self.encode(prompt)
        ids = (*self.answer, 256)[self.at : self.at + sampling.max_tokens]
        stop = Stop.EOS if ids[-1] == 256 else Stop.LENGTH
        if (hit := next((n for n, i in enumerate(ids) if i in sampling.stop_token_ids), None)) is not None:
            ids, stop = ids[: hit + 1], Stop.STOP
        self.at += len(ids)
        self.calls.append((context, sampling))
        cost = Cost(len(context), len(ids), len(context), 1)
        return Completion(await self.decode(ids), stop, cost, prompt_ids=context, ids=ids, logprobs=(0.0,) * len(ids))


def long(n: int) -> bytes:
    """`n` different-looking bytes, then an answer."""
    return bytes(97 + i * i % 26 for i in range(n)) + b"\n#### a=9 b=1"


async def think(
    lm: LM, C: int, m: int, I: int, carry: Carry = tail, seed: int = 0, budget: Budget | None = None, **more: object
) -> Trajectory:
    sampling = Sampling().with_(**more)
    return await Delethink(lm, C, m, I, carry, sampling)(PROBLEM, budget or Budget(), seed)


# One chunk is plain generation.


async def test_one_chunk_equals_plain_generation_token_for_token() -> None:
    """Where C holds the whole answer, Delethink is `single` with the same seed: ids, log-probabilities, text and reason to stop."""
    async with local() as lm:
        ended = 0
        plainly = asyncio.gather(*(Single(lm, Sampling(max_tokens=150, temperature=2.0))(PROBLEM, Budget(), seed) for seed in range(8)))
        chunkwise = asyncio.gather(*(think(lm, C=150, m=100, I=3, seed=seed, temperature=2.0) for seed in range(8)))
        for plain, chunked in zip(await plainly, await chunkwise, strict=True):
            first, only = chunked.segments[0], plain.segments[0]
            assert (first.context, first.ids, first.logprobs) == (only.context, only.ids, only.logprobs)
            if plain.stop is Stop.EOS:
                ended += 1
                assert len(chunked.segments) == 1
                assert (chunked.answer, chunked.stop) == (plain.answer, Stop.EOS)
        assert ended


async def test_first_chunk_is_the_beginning_of_plain_generation() -> None:
    """Up to the first boundary the two are the same thought; I = 1 is plain generation of C tokens."""
    async with local() as lm:
        plain = await Single(lm, Sampling(max_tokens=90))(PROBLEM, Budget(), 5)
        chunked = await think(lm, C=30, m=10, I=4, seed=5)
        whole = plain.segments[0].ids
        assert whole is not None
        assert chunked.segments[0].ids == whole[:30]
        once = await think(lm, C=90, m=10, I=1, seed=5)
        assert once.segments[0].ids == whole


# Budget identities.


@pytest.mark.parametrize(("C", "m", "I"), [(8192, 4096, 5), (8192, 4096, 23), (64, 32, 7), (16, 0, 3), (16, 15, 9)])
def test_t_max_identity(C: int, m: int, I: int) -> None:
    """T_max = C + (I - 1)(C - m); the paper's runs are 24 576 (I = 5) and 98 304 (I = 23)."""
    t_max = Delethink(Playback(b""), C, m, I).t_max
    assert t_max == C + (I - 1) * (C - m)
    assert t_max == {(8192, 5): 24_576, (8192, 23): 98_304}.get((C, I), t_max)
    assert chunks(t_max, C, m) == [C] + [C - m] * (I - 1)


@pytest.mark.parametrize(
    ("carry", "beside"),
    [(tail, 0), (head_and_tail(5), 0), (multi_head(2), 0), (head_beside_tail(5), 5)],
    ids=["tail", "trainer", "multi", "demo"],
)
@pytest.mark.parametrize(("C", "m", "I"), [(30, 16, 6), (40, 12, 4), (26, 20, 8)])
async def test_chunk_lengths_and_largest_context(carry: Carry, beside: int, C: int, m: int, I: int) -> None:
    """|y_1| <= C, |y_l| <= C - m, a truncated thought has T_max tokens, and no context exceeds |q| + C (+ head in the demo form)."""
    lm = Playback(long(1000))
    trace = await think(lm, C, m, I, carry)
    q = len(await lm.encode(PROBLEM.messages))
    lengths = [len(s.ids or ()) for s in trace.segments]
    assert lengths == chunks(sum(lengths), C, m) == [C] + [C - m] * (I - 1)
    assert (trace.stop, trace.meta["thinking_tokens"]) == (Stop.MAX_CHUNKS, C + (I - 1) * (C - m))
    assert max(len(s.context or ()) + len(s.ids or ()) for s in trace.segments) == q + C + beside


# What crosses.


async def test_head_and_tail_together_are_m() -> None:
    """The trainer's form: of the running answer, the first `head` ids and the last m - head; the head stays for good."""
    lm = Playback(long(200))
    trace = await think(lm, C=30, m=12, I=4, carry=head_and_tail(5))
    q = await lm.encode(PROBLEM.messages)
    running: Ids = ()
    for before, after in zip(trace.segments, trace.segments[1:], strict=False):
        carried = (after.context or ())[len(q) :]
        running = running + (before.ids or ())
        assert (after.context or ())[: len(q)] == q
        assert len(carried) == 12
        assert carried == running[:5] + running[-7:]
        assert carried[:5] == (trace.segments[0].ids or ())[:5]
        running = carried


async def test_the_demo_form_keeps_the_head_beside_m() -> None:
    """The listing's form: query, first `head` ids, last m ids."""
    lm = Playback(long(200))
    trace = await think(lm, C=30, m=12, I=3, carry=head_beside_tail(5))
    ids = tuple(i for s in trace.segments for i in s.ids or ())
    q = len(await lm.encode(PROBLEM.messages))
    assert (trace.segments[1].context or ())[q:] == ids[:5] + ids[30 - 12 : 30]
    assert (trace.segments[2].context or ())[q:] == ids[:5] + ids[48 - 12 : 48]


async def test_multi_head_keeps_one_head_per_chunk() -> None:
    """h_1, h_2, …, then as much of the tail as m leaves; refused when the heads fill m."""
    lm = Playback(long(300))
    trace = await think(lm, C=30, m=12, I=3, carry=multi_head(3))
    ids = tuple(i for s in trace.segments for i in s.ids or ())
    q = len(await lm.encode(PROBLEM.messages))
    assert (trace.segments[1].context or ())[q:] == ids[:3] + ids[30 - 9 : 30]
    assert (trace.segments[2].context or ())[q:] == ids[:3] + ids[30:33] + ids[48 - 6 : 48]
    with pytest.raises(UserError, match="keep_head is 20 but with m \\(12\\) beside it must stay below C"):
        await think(lm, C=30, m=12, I=3, carry=head_beside_tail(20))
    with pytest.raises(UserError, match="keep_head is 6 in each of 2 chunks, filling m \\(12\\)"):
        await think(Playback(long(300)), C=30, m=12, I=3, carry=multi_head(6))


def test_the_trimmer_refuses_a_running_answer_that_is_not_longer() -> None:
    """Head and tail would overlap: the official trimmer raises, and so do we."""
    assert progressive((1, 2, 3, 4), 1, 2) == (1, 3, 4)
    with pytest.raises(ValueError, match="not longer than head 1 \\+ tail 2"):
        progressive((1, 2, 3), 1, 2)


async def test_ids_cross_the_boundary_never_text() -> None:
    """Boundaries inside characters: the next context holds the very ids that were sampled, which text could not give back."""
    async with local() as lm:
        trace = await think(lm, C=24, m=9, I=6, seed=3, temperature=1.5, ignore_eos=True)
        q = await lm.encode(PROBLEM.messages)
        lossy = 0
        for before, after in zip(trace.segments, trace.segments[1:], strict=False):
            carried = (after.context or ())[len(q) :]
            assert carried == ((before.context or ())[len(q) :] + (before.ids or ()))[-9:]
            lossy += tokenizer().encode(tokenizer().decode(carried, skip_special=False)) != carried
        assert lossy


async def test_a_character_split_by_a_boundary_is_read_whole() -> None:
    """The trace's text is decoded once, from all chunks' new ids together, the carried part counted once."""
    text = "x" * 29 + "é" + "y" * 20
    trace = await think(Playback(text.encode()), C=30, m=12, I=5)
    assert (trace.segments[0].ids or (0,))[-1] == "é".encode()[0]
    assert trace.answer == text


@pytest.mark.parametrize("shift", range(14))
async def test_an_answer_split_by_a_boundary_is_still_judged(shift: int) -> None:
    """Wherever the boundary falls in `#### a=9 b=1`, the judge reads it."""
    trace = await think(Playback(long(30 - shift)), C=31, m=12, I=4)
    assert len(trace.segments) > 1 or shift == 13
    assert exact(PROBLEM, trace.answer).passed


async def test_tokens_that_do_not_cross_never_change_what_follows() -> None:
    """Permuting a chunk's tokens outside the carry-over leaves every later chunk as it was: ids and log-probabilities."""
    C, m = 24, 10

    @dataclass
    class Shuffling:
        """Hands back chunk `which` with the tokens outside the carry-over reversed."""

        lm: LM
        which: int
        keep_head: int
        name: str = "shuffling"
        seen: int = 0

        async def encode(self, prompt: Prompt) -> Ids:
            return await self.lm.encode(prompt)

        async def decode(self, ids: Ids) -> str:
            return await self.lm.decode(ids)

        async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
            y = await self.lm.complete(prompt, sampling)
            self.seen += 1
            if self.seen - 1 != self.which or y.ids is None:
                return y
            head = self.keep_head if self.which == 0 else 0
            free = len(y.ids) - (m - self.keep_head)
            return replace(y, ids=y.ids[:head] + y.ids[head:free][::-1] + y.ids[free:])

    async with local() as lm:
        for carry, head in ((tail, 0), (head_and_tail(3), 3)):
            for which in (0, 1):
                plain = await think(lm, C, m, 5, carry, seed=2, temperature=2.0, ignore_eos=True)
                shuffled = await think(Shuffling(lm, which, head), C, m, 5, carry, seed=2, temperature=2.0, ignore_eos=True)
                assert len(plain.segments) == 5
                assert shuffled.segments[which].ids != plain.segments[which].ids
                for a, b in zip(plain.segments[which + 1 :], shuffled.segments[which + 1 :], strict=True):
                    assert (a.context, a.ids, a.logprobs) == (b.context, b.ids, b.logprobs)


# Each chunk is scored on its own context.


async def test_rescoring_each_chunk_on_its_own_context_gives_ratio_one() -> None:
    """The decoder finds the sampler's log-probabilities again from a segment's own context; over the concatenated trace it does not."""
    async with local() as lm:
        trace = await think(lm, C=24, m=10, I=5, seed=4, ignore_eos=True)
    model = decoder()

    def score(context: Ids, ids: Ids) -> list[float]:
        row = torch.tensor([context + ids])
        positions = torch.arange(row.shape[1])[None]
        with torch.no_grad():
            logits = model.logits(model(row, positions, causal_memory()).last)[0]
        logp = logits.log_softmax(-1)
        return [logp[len(context) + t - 1, i].item() for t, i in enumerate(ids)]

    assert len(trace.segments) == 5
    for s in trace.segments:
        assert s.context is not None
        assert s.ids is not None
        assert s.logprobs is not None
        ratios = [math.exp(a - b) for a, b in zip(score(s.context, s.ids), s.logprobs, strict=True)]
        assert ratios == pytest.approx([1.0] * len(ratios), abs=1e-4)
    thought = tuple(i for s in trace.segments for i in s.ids or ())
    wrong = score(trace.segments[0].context or (), thought)
    right = [p for s in trace.segments for p in s.logprobs or ()]
    assert max(abs(a - b) for a, b in zip(wrong, right, strict=True)) > 0.01


# Cost.


async def test_processed_tokens_and_flops_equal_the_closed_form() -> None:
    """The ledger: Σ |x_l| + |y_l| tokens, re-reading included; FLOPs of the causal convention, less what the prefix cache held."""
    async with local() as lm:
        trace = await think(lm, C=32, m=12, I=6, seed=1, ignore_eos=True)
    q = len(trace.segments[0].context or ())
    closed = thinking_cost(TINY, trace.meta["thinking_tokens"], 32, 12, query=q)
    assert trace.cost.tokens == closed.processed == sum(len(s.context or ()) + len(s.ids or ()) for s in trace.segments)
    calls = [Call(s.cost.prompt_tokens, s.cost.completion_tokens, s.cost.prompt_tokens - s.cost.prefill_tokens) for s in trace.segments]
    assert trace.cost.flops == pytest.approx(cost_of_calls(TINY, calls).flops, rel=1e-12)
    assert all(0 <= c.cached <= q for c in calls)  # of the old chunk nothing is kept: only the query is shared
    uncached = cost_of_calls(TINY, [replace(c, cached=0) for c in calls])
    assert uncached.flops == pytest.approx(closed.flops, rel=1e-12)
    assert trace.cost.flops <= closed.flops


async def test_peak_memory_does_not_depend_on_how_long_the_thought_is() -> None:
    """Key-value bytes held at once: the same for 2 chunks and for 9; one long context needs ever more."""
    async with local() as lm:
        peaks, plain = [], []
        for I in (2, 4, 9):
            trace = await think(lm, C=32, m=12, I=I, seed=1, ignore_eos=True)
            assert len(trace.segments) == I
            peaks.append(trace.cost.peak_kv_bytes)
            once = await Single(lm, Sampling(max_tokens=trace.meta["thinking_tokens"], ignore_eos=True))(PROBLEM, Budget(), 1)
            plain.append(once.cost.peak_kv_bytes)
        q = len(trace.segments[0].context or ())
    assert len(set(peaks)) == 1
    assert plain == sorted(set(plain))
    per_token = 2 * TINY.num_layers * TINY.num_kv_heads * TINY.head_dim * 4
    assert peaks[0] == thinking_cost(TINY, 32 + 20, 32, 12, query=q).peak_kv_tokens * per_token


def test_closed_form_is_the_engines_formula() -> None:
    """One call of the closed form equals `forward_flops`, cache or not."""
    one = cost_of_calls(TINY, [Call(20, 9)])
    assert one.flops == forward_flops(TINY, 28, causal_pairs(28, 0), 9)
    assert cost_of_calls(TINY, [Call(20, 9, cached=16)]).flops == forward_flops(TINY, 12, causal_pairs(12, 16), 9)


@pytest.mark.parametrize(
    ("S", "pairs", "ratio"),
    [
        (24_576, causal, "0.87"), (39_936, causal, "1.0"), (131_072, causal, "2.08"), (1_048_576, causal, "13.2"),
        (24_576, full, "1.02"), (1_048_576, full, "21.6"),
    ],
)  # fmt: skip
def test_flops_ratio_at_the_papers_shape(S: int, pairs, ratio: str) -> None:
    """LongCoT / Delethink for R1-Distill-1.5B, C = 8192, m = 4096, under each convention; the paper's own figures lie between them."""
    found = longcot_cost(R1_DISTILL_1_5B, S, pairs=pairs).flops / thinking_cost(R1_DISTILL_1_5B, S, 8192, 4096, pairs=pairs).flops
    assert f"{found:.{len(ratio.partition('.')[2])}f}" == ratio


def test_crossover_at_the_papers_shape() -> None:
    """Where chunking starts to pay: about 39K tokens counted causally, just below 24K counted as full squares."""
    assert 38_000 < crossover(R1_DISTILL_1_5B, 8192, 4096) < 40_000
    assert 23_000 < crossover(R1_DISTILL_1_5B, 8192, 4096, pairs=full) < 24_576
    for pairs in (causal, full):
        S = crossover(R1_DISTILL_1_5B, 8192, 4096, pairs=pairs)
        for length, pays in ((S - 1, False), (S, True)):
            chunked = thinking_cost(R1_DISTILL_1_5B, length, 8192, 4096, pairs=pairs).flops
            assert (chunked <= longcot_cost(R1_DISTILL_1_5B, length, pairs=pairs).flops) == pays


# Ways to stop.


async def test_each_way_to_stop_is_named() -> None:
    """EOS, an early-stop token, the iteration cap, the budget (with its unit), the context window."""
    ended = await think(Playback(long(40)), C=30, m=12, I=9)
    assert (ended.stop, ended.spent, len(ended.segments)) == (Stop.EOS, None, 3)
    early = await think(Playback(long(40)), C=30, m=12, I=9, stop_token_ids=(ord("#"),))
    assert (early.stop, early.answer[-1]) == (Stop.STOP, "#")
    capped = await think(Playback(long(400)), C=30, m=12, I=3)
    assert (capped.stop, len(capped.segments)) == (Stop.MAX_CHUNKS, 3)
    for budget, unit, spent in ((Budget(completion_tokens=40), "completion_tokens", 40), (Budget(calls=2), "calls", 48)):
        trace = await think(Playback(long(400)), C=30, m=12, I=9, budget=budget)
        assert (trace.stop, trace.spent, trace.meta["thinking_tokens"]) == (Stop.BUDGET, unit, spent)
    tight = await think(Playback(long(400)), C=30, m=12, I=9, budget=Budget(tokens=150))
    assert (tight.stop, tight.spent) == (Stop.BUDGET, "tokens")
    assert tight.cost.tokens <= 150
    async with local(max_position=64) as lm:
        q = len(await lm.encode(PROBLEM.messages))
        assert q < 64
        cut = await think(lm, C=60, m=12, I=9, seed=1)
        assert cut.stop is Stop.CONTEXT


async def test_an_ended_chunk_is_final_and_nothing_is_carried_out_of_it() -> None:
    """The check for the end comes before carrying; even a chunk that ends on its very last token is not followed by another."""
    for extra in range(36):
        crossed = 0

        async def counting(at: Boundary) -> Carried:
            nonlocal crossed
            crossed += 1
            return await tail(at)

        trace = await think(Playback(long(extra)), C=20, m=8, I=9, carry=counting)
        assert trace.stop is Stop.EOS
        assert crossed == len(trace.segments) - 1
        assert (trace.segments[-1].ids or (0,))[-1] == 256


async def test_at_the_cap_nothing_is_carried() -> None:
    """A truncated trace makes no further boundary: with I = 2 there is one."""
    crossed: list[int] = []

    async def counting(at: Boundary) -> Carried:
        crossed.append(len(at.chunks))
        return await tail(at)

    await think(Playback(long(500)), C=20, m=8, I=2, carry=counting)
    assert crossed == [1]


async def test_an_endpoint_without_ids_is_refused() -> None:
    """Ids are what crosses: an LM that cannot encode says so itself, one that returns none is named."""

    class Remote(Playback):
        async def encode(self, prompt: Prompt) -> Ids:
            raise UserError("endpoint: gives no token ids")

    with pytest.raises(UserError, match="gives no token ids"):
        await think(Remote(b""), C=20, m=8, I=2)

    class Mute(Playback):
        async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
            return replace(await super().complete(prompt, sampling), ids=None)

    with pytest.raises(UserError, match="playback returned no token ids"):
        await think(Mute(long(5)), C=20, m=8, I=2)


def test_bad_settings_are_refused() -> None:
    """One sentence each, with the mend."""
    lm = Playback(b"")
    with pytest.raises(UserError, match=r"Delethink: m is 9000 but must be smaller than C \(8192\); lower m or raise C\."):
        Delethink(lm, C=8192, m=9000)
    with pytest.raises(UserError, match="m is -1"):
        Delethink(lm, m=-1)
    with pytest.raises(UserError, match="I is 0"):
        Delethink(lm, I=0)
    with pytest.raises(UserError, match="a boundary may split a stop string"):
        Delethink(lm, sampling=Sampling(stop=("####",)))


# Other states.


async def test_a_summary_is_written_by_the_model_and_priced_apart() -> None:
    """The call is a segment with role `summary`; cue and summary cross; the trace's text does not hold it."""
    lm = Playback(long(300))
    trace = await think(lm, C=30, m=20, I=3, carry=summary(cue="S:"))
    roles = [s.role for s in trace.segments]
    assert roles == ["think", "summary", "think", "summary", "think"]
    written = trace.segments[1]
    q = await lm.encode(PROBLEM.messages)
    assert written.context == q + (trace.segments[0].ids or ()) + tuple(b"S:")
    assert trace.segments[2].context == q + tuple(b"S:") + (written.ids or ())
    assert len(written.ids or ()) == 18
    assert trace.meta["thinking_tokens"] == 30 + 10 + 10
    assert trace.cost.completion_tokens == 50 + 2 * 18
    assert trace.answer.encode() == b"".join(bytes(s.ids or ()) for s in trace.segments if s.role == "think")


async def test_a_tagged_state_crosses_as_the_ids_that_were_sampled() -> None:
    """The last match of the pattern crosses; without one, `otherwise` decides."""
    thought = b"abc <s>a=1</s> defghij <s>b=2\xc3\xa9</s> klmnopqrst" + b"z" * 100
    lm = Playback(thought)
    trace = await think(lm, C=50, m=20, I=2, carry=tagged(r"<s>.*?</s>"))
    q = len(await lm.encode(PROBLEM.messages))
    assert bytes((trace.segments[1].context or ())[q:]) == b"<s>b=2\xc3\xa9</s>"
    plain = await think(Playback(b"k" * 100), C=50, m=20, I=2, carry=tagged(r"<s>.*?</s>"))
    assert bytes((plain.segments[1].context or ())[q:]) == b"k" * 20


async def test_with_m_zero_a_chunk_sees_the_query_alone() -> None:
    """The control: nothing crosses, every chunk starts over."""
    async with local() as lm:
        trace = await think(lm, C=16, m=0, I=3, seed=1, ignore_eos=True)
        q = await lm.encode(PROBLEM.messages)
    assert [s.context for s in trace.segments] == [q] * 3
    assert trace.segments[0].ids != trace.segments[1].ids  # each chunk has a seed of its own
