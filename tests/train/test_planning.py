"""Planning masks: each source marks what it says and nothing else, in the order of the trained tokens; HICRA with them is exact."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonry.core import Cost, Segment, Stop, Trajectory, UserError, Verdict
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.tokenizer import Tokenizer
from reasonry.probe.strategic_grams import StrategicGrams, listed
from reasonry.train.advantage import PlanningBoost
from reasonry.train.catalogue import find
from reasonry.train.objective import loss, score
from reasonry.train.planning import EntropyTopK, Gated, Given, RandomTokens, Strategic, planning_figures, policy_entropy
from reasonry.train.recipe import Recipe, every_segment
from reasonry.train.reward import Rewarded
from reasonry.train.tokens import Tokens, flatten
from reasonry.train.update import learn, make_batch

TOKENIZER = Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "")
GRAMS = listed(["work backwards from the goal"])
STRATEGIC = Strategic(GRAMS, TOKENIZER)
HICRA = find("hicra").objective


def segment(text: str, p: float = -0.5, **more: object) -> Segment:
    ids = (*TOKENIZER.encode(text), TOKENIZER.id_of("<|im_end|>"))
    return Segment(TOKENIZER.encode("?"), ids, text, (p,) * len(ids), Stop.EOS, Cost(), **more)  # type: ignore[arg-type]


def attempt(*texts: str, passed: bool = True, problem: str = "p") -> Trajectory:
    return Trajectory(problem, tuple(segment(t) for t in texts), texts[-1], Stop.EOS, verdict=Verdict(float(passed), passed))


def batch(*attempts: Trajectory, rewards: list[float] | None = None) -> tuple[Tokens, list[Trajectory]]:
    tokens = flatten(attempts, rewards or [float(i == 0) for i in range(len(attempts))])
    return replace(tokens, draw=torch.rand(tokens.segment.numel(), generator=torch.Generator().manual_seed(0))), list(attempts)


def marked(tokens: Tokens) -> list[bool]:
    assert tokens.planning is not None
    return tokens.planning.tolist()


def test_strategic_marks_the_bytes_of_the_gram_in_every_segment_and_the_end_token_never() -> None:
    tokens, attempts = batch(attempt("é3: Work backwards from the goal\n3-2=1", "nothing here"), attempt("1+1=2"))
    said = "é3: Work backwards from the goal\n3-2=1"
    start, end = said.encode().index(b"Work"), said.encode().index(b"\n")
    expected = [start <= i < end for i in range(len(said.encode()) + 1)] + [False] * (len("nothing here") + 1 + 6)
    assert marked(STRATEGIC(tokens, attempts)) == expected


def test_forced_tokens_and_other_models_segments_have_no_place_in_the_mask() -> None:
    text = "work backwards from the goal"
    forced = replace(attempt(text), segments=(segment(text, mask=(False, *[True] * len(text))), segment(text, role="vote")))

    def trained(s: Segment) -> bool:
        return s.role != "vote"

    tokens = flatten([forced], [1.0], trained)
    assert marked(Strategic(GRAMS, TOKENIZER, trained)(tokens, [forced])) == [*[True] * (len(text) - 1), False]
    with pytest.raises(UserError, match="same `trained`"):
        STRATEGIC(tokens, [forced])


def test_a_given_mask_must_fit() -> None:
    tokens, attempts = batch(attempt("ab"))
    assert marked(Given(lambda s: [True, False, False])(tokens, attempts)) == [True, False, False]
    with pytest.raises(UserError, match="one for each"):
        Given(lambda s: [True])(tokens, attempts)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(["work backwards from the goal", "3-2=1", "so it is", "é"]), min_size=1, max_size=5), st.integers(0, 99))
def test_random_tokens_are_as_many_seeded_and_follow_the_draw(parts: list[str], seed: int) -> None:
    tokens, attempts = batch(attempt("\n".join(parts)), attempt("work backwards from the goal"))
    tokens = replace(tokens, draw=torch.rand(tokens.segment.numel(), generator=torch.Generator().manual_seed(seed)))
    source = RandomTokens(STRATEGIC)
    one = source(tokens, attempts)
    assert sum(marked(one)) == sum(marked(STRATEGIC(tokens, attempts)))
    assert marked(one) == marked(source(tokens, attempts))


def entropies(values: list[float]):
    return lambda trajectories, trained: torch.tensor(values)


def test_entropy_marks_the_top_share_of_the_batch() -> None:
    tokens, attempts = batch(attempt("abcd"), attempt("abcd"))
    found = EntropyTopK(entropies([0, 9, 1, 8, 0, 7, 0, 0, 0, 0]), share=0.3)(tokens, attempts)
    assert [i for i, on in enumerate(marked(found)) if on] == [1, 3, 5]


def test_the_reported_variant_keeps_to_right_answers_longer_than_their_groups_mean() -> None:
    attempts = [attempt("abcdef"), attempt("ab"), attempt("abcdef", passed=False)]
    tokens, _ = batch(*attempts)
    found = EntropyTopK(entropies([1.0] * tokens.segment.numel()), share=1.0, long_and_right=True)(tokens, attempts)
    assert marked(found) == [*[True] * 7, *[False] * 3, *[False] * 7]


def test_the_gate_shuts_while_execution_is_unsure() -> None:
    tokens, attempts = batch(attempt("work backwards from the goal\n3-2=1"))
    assert tokens.logp_sampler is not None  # −0.5 nats a token: perplexity 1.65
    shut, open_ = Gated(STRATEGIC, 1.6)(tokens, attempts), Gated(STRATEGIC, 1.7)(tokens, attempts)
    assert not any(marked(shut))
    assert marked(open_) == marked(STRATEGIC(tokens, attempts))
    with pytest.raises(UserError, match="never below 1"):
        Gated(STRATEGIC, 0.9)


def test_the_briefs_group_of_four() -> None:
    """Rewards 1, 0, 0, 0: Â = .75, −.25, −.25, −.25; planning tokens at α = .2: .9, −.2, −.2, −.2; the sum is α·Σ|Â|."""
    text = "work backwards from the goal"
    tokens, attempts = batch(*[attempt(f"{text}\n3")] * 4)
    scored = score(HICRA, STRATEGIC(tokens, attempts))
    A = scored.advantage.reshape(4, -1)
    assert torch.allclose(A[:, 0], torch.tensor([0.9, -0.2, -0.2, -0.2]))
    assert torch.allclose(A[:, -1], torch.tensor([0.75, -0.25, -0.25, -0.25]))
    assert float(A[:, 0].sum()) == pytest.approx(0.2 * (0.75 + 3 * 0.25))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(0, 0.99))
def test_the_boost_is_one_plus_alpha_times_the_sign_monotone_and_never_below_zero_in_sum(values: list[float], alpha: float) -> None:
    A = torch.tensor(values, dtype=torch.float64)
    every = torch.arange(len(values))
    tokens = Tokens(segment=every, trajectory=every, prompt=every * 0, reward=A, planning=torch.ones(len(values), dtype=torch.bool))
    boosted = PlanningBoost(alpha)(A, tokens)
    assert torch.allclose(boosted, A * (1 + alpha * A.sign()), atol=1e-12)
    assert bool((boosted[A.argsort()].diff() >= -1e-12).all())
    centred = A - A.mean()
    assert float(PlanningBoost(alpha)(centred, tokens).sum()) == pytest.approx(alpha * float(centred.abs().sum()), abs=1e-9)


def test_everything_planning_and_right_scales_the_loss_by_one_plus_alpha() -> None:
    tokens, attempts = batch(attempt("abc"), attempt("abd"), rewards=[1.0, 1.0])
    tokens = replace(tokens, logp_old=tokens.logp_sampler)
    plain = replace(HICRA, reshape=(), advantage=replace(HICRA.advantage, baseline=lambda R, tokens: torch.zeros_like(R)))  # type: ignore[type-var]
    every = Given(lambda s: [True] * len(s.ids or ()))(tokens, attempts)
    logp = torch.full((tokens.segment.numel(),), -0.5, requires_grad=True)
    losses = [loss(o, score(o, every), logp)[0] for o in (plain, replace(plain, reshape=(PlanningBoost(0.2),)))]
    assert losses[1].item() == pytest.approx(1.2 * losses[0].item())


def tiny() -> Decoder:
    decoder = Decoder(DecoderConfig(259, 16, 1, 2, 1, 8, 16, 512))
    decoder.reset_parameters(torch.Generator().manual_seed(1))
    return decoder


def weights(recipe: Recipe, attempts: list[Trajectory]) -> list[torch.Tensor]:
    decoder = tiny()
    groups = [[Rewarded(t, {"score": float(i % 2)}, float(i % 2)) for i, t in enumerate(attempts)]]
    learn(decoder, [torch.optim.SGD(decoder.parameters(), lr=1.0)], recipe, make_batch(groups, recipe, every_segment, 0), 1.0, None)
    return [p.detach() for p in decoder.parameters()]


def test_alpha_zero_and_no_gram_are_grpo_bit_for_bit_and_a_boost_is_not() -> None:
    attempts = [attempt(f"work backwards from the goal\n{i}-2=1") for i in range(4)]
    recipe = Recipe(objective=HICRA, lr=1.0, steps=1, clip_norm=1e9, enrich=STRATEGIC)
    grpo = weights(replace(recipe, objective=replace(HICRA, reshape=())), attempts)
    off = weights(replace(recipe, objective=replace(HICRA, reshape=(PlanningBoost(0.0),))), attempts)
    none = weights(replace(recipe, enrich=Strategic(StrategicGrams(()), TOKENIZER)), attempts)
    assert all(torch.equal(a, b) for a, b in zip(grpo, off, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(grpo, none, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(grpo, weights(recipe, attempts), strict=True))


def test_policy_entropy_is_the_networks_and_the_figures_split_it() -> None:
    attempts = [attempt("work backwards from the goal\n3")]
    decoder = tiny()
    entropy = policy_entropy(decoder)(attempts, every_segment)
    assert entropy.shape == (len(attempts[0].segments[0].ids or ()),)
    assert bool(((entropy > 0) & (entropy <= math.log(259) + 1e-4)).all())
    found = planning_figures(attempts, STRATEGIC, entropy)
    many = len("work backwards from the goal")
    assert found["planning_token_ratio"] == pytest.approx(many / (many + 3))
    assert found["planning_entropy"] == pytest.approx(float(entropy[:many].mean()), rel=1e-5)
    assert found["execution_entropy"] == pytest.approx(float(entropy[many:].mean()), rel=1e-5)
    assert found["execution_perplexity"] == pytest.approx(math.exp(0.5))
    assert found["strategic_gram_entropy"] == 0.0
