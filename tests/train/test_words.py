"""Objectives in words: nothing is left in code, and every value that sets two entries apart is said."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reasonry.train.aggregate import Constant
from reasonry.train.catalogue import CATALOGUE, find
from reasonry.train.ratio import Clip
from reasonry.train.surrogate import PPO
from reasonry.train.words import in_words, source


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_no_part_of_the_catalogue_falls_back_to_code(slug: str) -> None:
    """No call with keyword arguments, no Python name."""
    for cell in in_words(find(slug)).values():
        assert not re.search(r"\w+\(\w+=|[a-z]_[a-z]{4}", cell.replace("squared_log_ratio", "")), cell
    assert in_words(find(slug))["advantage"]
    assert source(find(slug))


def test_entries_with_the_same_words_have_the_same_objective() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for slug, entry in CATALOGUE.items():
        words = tuple(in_words(entry).values())
        if words in seen:
            assert entry.objective == CATALOGUE[seen[words]].objective, (slug, seen[words])
        seen.setdefault(words, slug)


def test_words_follow_the_values() -> None:
    """A changed bound and length are said."""
    grpo = find("grpo")
    changed = replace(grpo, objective=replace(grpo.objective, surrogate=PPO(Clip(0.7, 1.4)), aggregate=Constant(77)))
    assert in_words(changed)["surrogate"] == "PPO's clip, r within [0.7, 1.4]"
    assert in_words(changed)["aggregate"] == "sum over tokens / 77, mean over answers"
    assert in_words(grpo)["advantage"] == "R − the group's mean, over the group's sd"
    assert in_words(grpo)["more"] == "KL 0.04·k3 in the loss"
