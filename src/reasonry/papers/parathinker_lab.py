"""What ParaThinker's attempts tell: right or not, tokens and steps, what rules make of the same paths, what tags do to them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import torch

from reasonry.core import Problem, Trajectory
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import masked
from reasonry.nn.masks import thoughts, two_stage
from reasonry.papers.parathinker_findings import ANY, READS, RIGHT, SAID, STEPS, TOKENS, VOTE, Cell, arm, para
from reasonry.papers.parathinker_task import CANDIDATES, TRY, Find
from reasonry.solve.select import vote

FIND = Find()
SHUFFLES = 200


def cells(seed: int, name: str, problems: Sequence[Problem], made: Sequence[Trajectory], task: Find = FIND) -> list[Cell]:
    """Right or not, tokens sampled, and steps one after another."""
    told = {
        RIGHT: [float(task.judge(p, t.answer).passed is True) for p, t in zip(problems, made, strict=True)],
        TOKENS: [float(t.cost.completion_tokens) for t in made],
        STEPS: [float(steps(t)) for t in made],
    }
    return [cell(seed, name, metric, problems, values) for metric, values in told.items()]


def steps(t: Trajectory) -> int:
    """Batched steps one after another: an attempt's own count, that of the longest of several, or of the longest call."""
    if "attempts" in t.meta:
        return max(a["steps"] for a in t.meta["attempts"])
    return t.meta.get("steps", max(s.cost.completion_tokens for s in t.segments))


def cell(seed: int, name: str, metric: str, problems: Sequence[Problem], values: Sequence[float]) -> Cell:
    """One metric."""
    return Cell(seed, name, metric, {p.id: v for p, v in zip(problems, values, strict=True)})


def texts(t: Trajectory) -> list[str]:
    """What its paths say."""
    return [s.text for s in t.segments if s.role == "think"]


def of_paths(seed: int, P: int, problems: Sequence[Problem], made: Sequence[Trajectory]) -> list[Cell]:
    """What a rule makes of the same paths: their vote, the vote of those that say they found it, and whether any is right."""
    found: dict[str, list[float]] = {VOTE: [], SAID: [], ANY: []}
    for p, t in zip(problems, made, strict=True):
        answers, said = t.meta["answers"], [text.endswith("!") for text in texts(t)]
        for name, voters in ((VOTE, answers), (SAID, [a if ok else None for a, ok in zip(answers, said, strict=True)])):
            choice = vote(voters)
            found[name].append(float(choice.index is not None and answers[choice.index] == p.answer))
        found[ANY].append(float(p.answer in answers))
    there = [(p, t) for p, t in zip(problems, made, strict=True) if p.answer in t.meta["answers"]]
    told = [cell(seed, arm(name, P), RIGHT, problems, v) for name, v in found.items()]
    read = cell(seed, para(P), READS, [p for p, _ in there], [float(t.answer == p.answer) for p, t in there])
    return [*told, read] if there else told


def none_right(seed: int, P: int, problems: Sequence[Problem], made: Sequence[Trajectory]) -> list[Cell]:
    """Where no path is right: the summary, a guess among what no path tried, and how often the summary repeats the lure."""
    left = [(p, t) for p, t in zip(problems, made, strict=True) if p.answer not in t.meta["answers"]]
    if not left:
        return []
    some = [p for p, _ in left]
    guess = [1 / max(len(CANDIDATES) - 1 - len({text[i] for text in texts(t) for i in range(1, len(text) - 3, TRY)}), 1) for _, t in left]
    lured = [float(t.answer in t.meta["answers"]) for _, t in left]
    name = arm("none right", P)
    right = [float(t.answer == p.answer) for p, t in left]
    return [cell(seed, name, m, some, v) for m, v in ((RIGHT, right), ("guess", guess), ("says what paths say", lured))]


def dependence(pairs: Sequence[tuple[int, str]]) -> float:
    """Mutual information of tags and first characters, in nats."""
    n, both = len(pairs), Counter(pairs)
    tags, firsts = Counter(t for t, _ in pairs), Counter(f for _, f in pairs)
    return sum(c / n * math.log(c * n / (tags[t] * firsts[f])) for (t, f), c in both.items())


def by_tag(seed: int, made: Sequence[Trajectory]) -> list[Cell]:
    """How much a path's beginning tells of its tag, and what tags dealt anew within each problem give in 19 of 20 deals."""
    firsts = [[text[:1] for text in texts(t)] for t in made]
    rng = random.Random(f"parathinker/tags/{seed}")

    def dealt(tags: list[int]) -> float:
        return dependence([(tag, f) for row in firsts for tag, f in zip(tags if tags else _shuffled(len(row), rng), row, strict=True)])

    chance = sorted(dealt([]) for _ in range(SHUFFLES))[int(0.95 * SHUFFLES)]
    seen = dealt(list(range(len(firsts[0]))))
    return [Cell(seed, "tags", "dependence", {"": seen}), Cell(seed, "tags", "by chance", {"": chance})]


def _shuffled(n: int, rng: random.Random) -> list[int]:
    return rng.sample(range(n), n)


def different(seed: int, name: str, problems: Sequence[Problem], made: Sequence[Trajectory]) -> Cell:
    """Different beginnings among a problem's paths."""
    return cell(seed, name, "different beginnings", problems, [float(len({text[:1] for text in texts(t)})) for t in made])


@torch.no_grad()
def off(decoder: Decoder, made: Sequence[Trajectory]) -> float:
    """The largest difference between a drawn token's recorded log-probability and that of the flattened two-stage forward pass."""
    worst = 0.0
    for s in (s for t in made for s in t.segments):
        assert s.context is not None
        assert s.ids is not None
        assert s.logprobs is not None
        ids, groups = torch.tensor([s.context + s.ids]), torch.tensor([s.groups])
        hidden = decoder(ids, torch.tensor([s.positions]), masked(two_stage(groups)), thoughts=thoughts(groups)).last[0]
        logp = decoder.logits(hidden[len(s.context) - 1 : -1]).log_softmax(-1).gather(1, ids[0, len(s.context) :, None])[:, 0]
        free = torch.tensor(s.mask or [True] * len(s.ids))
        worst = max([worst, *(logp - torch.tensor(s.logprobs))[free].abs().tolist()])
    return worst
