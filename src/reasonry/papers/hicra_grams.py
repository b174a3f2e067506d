"""The extractor held against puzzles whose strategic phrases are known, and entropy against planning (HICRA's experiment C)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch

from reasonry.lm.local import LocalLM
from reasonry.lm.spans import Span, token_spans, touched
from reasonry.papers.hicra_arms import Grams, right
from reasonry.papers.hicra_rows import DIGITS, OWN, WORDS_TOO, Plan, Quality
from reasonry.probe.strategic_grams import Cluster, StrategicGrams, extract, words
from reasonry.tasks.puzzle import planning_spans, puzzle, spelled
from reasonry.train.planning import policy_entropy
from reasonry.train.recipe import every_segment


def demonstrations(many: int, seed: int) -> list[str]:
    """Right demonstrations of training problems."""
    task, rng, found = puzzle(), random.Random(f"hicra/corpus/{seed}"), list[str]()
    while len(found) < many:
        problem = task.draw_from("train", rng)
        text = task.demonstration(problem, rng)[-1].content
        found += [text] if task.judge(problem, text).passed else []
    return found


def quality(plan: Plan, grams: Grams, seed: int) -> list[Quality]:
    """Precision and recall in words on three corpora, for every share of clusters."""
    corpora = {DIGITS: demonstrations(plan.corpus, seed), OWN: right(grams.answers)}
    corpora[WORDS_TOO] = [spelled(text) for text in corpora[DIGITS]]
    found = list[Quality]()
    for name, texts in corpora.items():
        truth = marks(texts, planning_spans)
        for top in plan.tops:
            mined = extract(texts, top=top, seed=seed, min_documents=plan.min_documents)
            full, fewer = marks(texts, mined.spans), marks(texts, dropped(mined, 0.3, seed).spans)
            hit = len(full & truth)
            found.append(
                Quality(
                    seed, name, top, hit / max(len(full), 1), hit / max(len(truth), 1), len(fewer) / max(len(full), 1), len(mined.clusters)
                )
            )
    return found


def marks(texts: Sequence[str], spans_of: Callable[[str], list[Span]]) -> set[tuple[int, int]]:
    """The words inside the spans, as (text, place)."""
    spans = [spans_of(text) for text in texts]
    return {(d, i) for d, text in enumerate(texts) for i, w in enumerate(words(text)) if any(a <= w.start < b for a, b in spans[d])}


def dropped(grams: StrategicGrams, share: float, seed: int) -> StrategicGrams:
    """Without a random share of its grams."""
    every = sorted(grams.index)
    gone = set(random.Random(f"hicra/dropped/{seed}").sample(every, round(share * len(every))))
    return StrategicGrams(tuple(Cluster(tuple(g for g in c.grams if g not in gone)) for c in grams.clusters))


def entropy_and_planning(lm: LocalLM, grams: Grams, share: float = 0.3) -> tuple[float, float, float]:
    """Of the tokens with the highest entropy the share that truly is planning; of planning tokens the share among those; and planning's
    share of all tokens. Over the start's own answers."""
    entropy = policy_entropy(lm.decoder)(grams.answers, every_segment)
    mask: list[bool] = []
    for s in (s for t in grams.answers for s in t.segments):
        text, places = token_spans(lm.tokenizer, s.ids or ())
        mask += touched(planning_spans(text), places)
    planning, high = torch.tensor(mask), torch.zeros(len(mask), dtype=torch.bool)
    high[entropy.topk(round(share * len(mask))).indices] = True
    both = float((planning & high).sum())
    return both / float(high.sum()), both / max(float(planning.sum()), 1.0), float(planning.float().mean())
