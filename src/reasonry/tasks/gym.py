"""reasoning-gym's datasets as tasks (extra `gym`): its generators make the problems, its scorers judge the answers.

Invariant: the split of a problem is a function of its question, so splits never overlap. A problem remembers how it was made (seed and
index), and is made again to be scored: scorers need their own objects, which JSON cannot hold.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import count
from typing import Any

from reasonry.core import Missing, Problem, UserError, Verdict
from reasonry.tasks.judges import final_answer
from reasonry.tasks.skill import SPLITS, TRIES, check_split

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_SIZE = 1_000_000
"""Index space of a dataset: its items are made when asked for, so this costs nothing."""


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1


@dataclass(frozen=True)
class Gym:
    """A reasoning-gym dataset. Raises Missing without the library, UserError for a name or an option it does not have."""

    dataset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """The dataset's own configuration, such as `min_terms`."""

    def __post_init__(self) -> None:
        _dataset(self.dataset, json.dumps(self.options, sort_keys=True), 0)

    @property
    def name(self) -> str:
        """`gym:` and the dataset's name."""
        return f"gym:{self.dataset}"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` different problems; each split gets a third of all contents. Raises UserError without `n` or where fewer turn up."""
        check_split(self.name, split)
        if n is None:
            raise UserError(f"{self.name}: n is missing but this task never ends; say how many problems")
        found: dict[str, Problem] = {}
        misses = 0
        made = self._made(_number(f"{self.name}/{split}/{seed}"), split)
        while len(found) < n:
            problem = next(made)
            misses = misses + 1 if problem is None or problem.id in found else 0
            if problem is not None:
                found.setdefault(problem.id, problem)
            if misses > TRIES // 10:
                raise UserError(f"{self.name}: n is {n} but split {split!r} gave only {len(found)} different problems; ask for fewer")
        return list(found.values())

    def _made(self, seed: int, split: str) -> Iterator[Problem | None]:
        for index in count():
            entry = self._entry(seed, index)
            question = str(entry["question"])
            if SPLITS[_number(question) % len(SPLITS)] != split:
                yield None
                continue
            prompt = f"{question}\nPut the final answer between <answer> and </answer>."
            made = {"dataset": self.dataset, "seed": seed, "index": index}
            digest = hashlib.sha256(question.encode()).hexdigest()[:12]
            yield Problem(f"{self.name}-{digest}", prompt, _plain(entry["answer"]), made)

    def _entry(self, seed: int, index: int) -> dict[str, Any]:
        return _dataset(self.dataset, json.dumps(self.options, sort_keys=True), seed)[index]

    def extract(self, text: str) -> str | None:
        """What the last `<answer>...</answer>` holds, else the final answer as other judges read it."""
        tagged = _TAGGED.findall(text)
        return (tagged[-1].strip() or None) if tagged else final_answer(text)

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """The dataset's own score; passes at 1. Not scored where the problem cannot be made again or its own answer fails to score."""
        seed, index = problem.meta["seed"], problem.meta["index"]
        entry = self._entry(seed, index)
        if not str(problem.prompt).startswith(str(entry["question"])):
            return Verdict(None, None, "not scored: the dataset made another problem from the same seed")
        found = self.extract(answer)
        if found is None:
            return Verdict(0.0, False, "no answer was found in the text")
        data = _dataset(self.dataset, json.dumps(self.options, sort_keys=True), seed)
        try:
            score = min(max(float(data.score_answer(found, entry)), 0.0), 1.0)
        except Exception as error:  # scorers raise whatever parsing a model's words raises
            return self._unscorable(data, entry, error, found)
        return Verdict(score, score == 1.0, "" if score == 1.0 else f"scored {score:g}", found)

    def _unscorable(self, data: Any, entry: dict[str, Any], error: Exception, found: str) -> Verdict:
        try:
            data.score_answer(entry["answer"], entry)
        except Exception as own:  # the fault is the scorer's
            return Verdict(None, None, f"not scored: the dataset's scorer fails on its own answer ({type(own).__name__})", found)
        return Verdict(0.0, False, f"the scorer could not read the answer ({type(error).__name__})", found)


def _plain(answer: Any) -> Any:
    return answer if isinstance(answer, str | int | float | None) else str(answer)


@lru_cache(maxsize=64)
def _dataset(name: str, options: str, seed: int) -> Any:
    try:
        from reasoning_gym.factory import DATASETS, create_dataset
    except ImportError:
        raise Missing("reasoning-gym", "gym", f"the task gym:{name}") from None
    import reasoning_gym  # noqa: F401  # fills DATASETS

    if name not in DATASETS:
        raise UserError(f"gym: {name!r} is not a dataset of reasoning-gym; use one of {', '.join(sorted(DATASETS))}")
    known = [f.name for f in fields(DATASETS[name][1]) if f.name not in ("seed", "size")]
    given = json.loads(options)
    for option in given:
        if option not in known:
            raise UserError(f"gym:{name}: {option!r} is not an option; use one of {', '.join(known)}")
    try:
        return create_dataset(name, seed=seed, size=_SIZE, **given)
    except (AssertionError, ValueError, TypeError) as error:
        raise UserError(f"gym:{name}: the options {given} are refused ({error}); change them") from None
