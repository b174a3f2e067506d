"""The group guessing game: each agent names a number, only the sum counts, and all hear only whether it was too high or too low.

Agents never see one another's guesses, nor how many they are. N agents guess integers from `low` to `high` at the same time; their sum is
held against a hidden target M. After Goldstone, Roberts and Gureckis 2008 (group binary search), as used by Riedl (arXiv 2510.05174); every
sentence an agent reads is ours.

Invariant: a reply that cannot be read repeats the agent's last guess, or the middle of the range in the first round, and says so in
`info["parsed"]`; a number beyond the range is moved to its end and counts as read.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reasonry.core import Problem, Step, UserError, Verdict
from reasonry.tasks.skill import Draft, check_split, draw_problems, split_of

HIGH, LOW, CORRECT = "too HIGH", "too LOW", "CORRECT"
SIGN = {HIGH: 1, LOW: -1, CORRECT: 0}
_GUESS = re.compile(r"(?:FINAL GUESS:|####)\s*(-?\d+)", re.IGNORECASE)
_SUM = re.compile(r"GROUP SUM:\s*(-?\d+)")

PERSONAS = (
    "You are Ilse, a retired harbour pilot from Bremerhaven. You trust small corrections and dislike sudden moves.",
    "You are Dario, who runs a night bakery. You decide quickly and round to numbers that are easy to weigh.",
    "You are Wanjiru, an actuary. You think in odds and change your mind only as far as the evidence goes.",
    "You are Tove, a mountain guide. You would rather stop short than overshoot.",
    "You are Emre, a street musician. You like to try what nobody expects and then listen.",
    "You are Soledad, a high-school principal. You are used to balancing what others overdo.",
    "You are Pavel, a chess coach. You plan two steps ahead and keep something in reserve.",
    "You are Amara, an emergency nurse. You act first, firmly, and adjust as you go.",
    "You are Kenji, a watchmaker. You move by the smallest step that makes a difference.",
    "You are Bronagh, an auctioneer. You feel when a bid is too high and enjoy bold ones.",
    "You are Luca, who restores old maps. You start from the middle and divide what is left.",
    "You are Meera, a monsoon forecaster. You expect to be wrong at first and leave room for it.",
    "You are Otis, a long-haul driver. You keep a steady pace and seldom leave your lane.",
    "You are Freya, a beekeeper. You watch what the whole swarm does more than any single bee.",
    "You are Joaquim, a fisherman. You let out line slowly and take it in fast.",
    "You are Nadia, an orchestra librarian. You care that every part is filled and none doubled.",
    "You are Callum, a stonemason. You take off a lot in the beginning and little at the end.",
    "You are Yuki, a translator. You look for what was meant rather than what was said.",
    "You are Rosa, a union organiser. You ask yourself what others are likely to carry.",
    "You are Henrik, a lighthouse engineer. You repeat what worked until there is a reason not to.",
    "You are Zainab, a market gardener. You spread your risk and never bet on one row.",
    "You are Theo, a trampoline coach. You bounce between extremes until the middle shows itself.",
)
SEARCH = (
    "Search by halves and follow the feedback: after 'too HIGH' lower your guess, after 'too LOW' raise it, by smaller steps each time."
)
OTHERS = (
    "Before you answer, think about the others in your group: what will they guess now, who of you moves a lot and who holds still? Choose "
    "the guess that fits theirs, so that together you land on the target."
)
CONDITIONS = {
    "plain": (False, False), "persona": (True, False), "persona-others": (True, True), "others": (False, True),
}  # fmt: skip
"""Condition -> (with a persona, told to think about the others)."""


def instructions(condition: str, agents: int, seed: int = 0) -> list[str]:
    """What each agent of a group is told beforehand. Personas are drawn anew for every seed, without repeats while there are enough.

    Raises UserError for an unknown condition.
    """
    if condition not in CONDITIONS:
        raise UserError(f"condition: {condition!r} is unknown; use one of {', '.join(CONDITIONS)}")
    persona, others = CONDITIONS[condition]
    rng, drawn = random.Random(f"group-game/personas/{seed}"), list[str]()
    while len(drawn) < agents:
        drawn += rng.sample(PERSONAS, len(PERSONAS))
    return [" ".join([*([p] if persona else []), SEARCH, *([OTHERS] if others else [])]) for p in drawn[:agents]]


class GuessingGame:
    """One game as a `core.GroupEnv`. `info` of each step: the guess that counted, whether it was read, and the group's sum."""

    def __init__(self, target: int, agents: int, rounds: int = 20, low: int = 0, high: int = 50) -> None:
        self.target, self.agents, self.rounds, self.low, self.high = target, agents, rounds, low, high
        self.guesses = [(low + high) // 2] * agents
        self.round, self.done = 0, False

    def reset(self) -> tuple[str, ...]:
        """Nothing to tell but that it begins."""
        return ("This is the first round.",) * self.agents

    def step(self, actions: Sequence[str]) -> tuple[Step, ...]:
        """One guess of each agent."""
        if self.done or len(actions) != self.agents:
            raise ValueError(f"GuessingGame: {len(actions)} actions for {self.agents} agents, done is {self.done}")
        read = [guess_in(text) for text in actions]
        self.guesses = [old if n is None else min(max(n, self.low), self.high) for n, old in zip(read, self.guesses, strict=True)]
        total = sum(self.guesses)
        self.round += 1
        said = HIGH if total > self.target else LOW if total < self.target else CORRECT
        self.done = said == CORRECT or self.round == self.rounds
        return tuple(
            Step(
                f"Round {self.round}: you guessed {guess}. The group was {said}.", float(said == CORRECT), self.done,
                {"guess": guess, "parsed": n is not None, "sum": total, "feedback": said},
            )
            for guess, n in zip(self.guesses, read, strict=True)
        )  # fmt: skip


def guess_in(text: str) -> int | None:
    """The number after the last `FINAL GUESS:`, or `####` as the shipped models end; `None` without one."""
    found = _GUESS.findall(text)
    return int(found[-1]) if found else None


@dataclass(frozen=True)
class GroupGame:
    """Games as a task (`core.Task`): the answer judged is the sum that the group ended with, as `GROUP SUM: n`."""

    agents: int = 10
    rounds: int = 20
    low: int = 0
    high: int = 50
    targets: tuple[int, int] = (51, 100)
    """M is drawn evenly from these, both ends included."""
    name: str = "group-game"

    def __post_init__(self) -> None:
        first, last = self.targets
        if self.agents < 2:
            raise UserError(f"{self.name}: agents is {self.agents} but a group has at least 2")
        if not self.agents * self.low <= first <= last <= self.agents * self.high:
            raise UserError(
                f"{self.name}: targets are {first} to {last}, but the sum of {self.agents} guesses lies between {self.agents * self.low} "
                f"and {self.agents * self.high}; choose targets inside"
            )

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """`n` games. The split belongs to a game's number, since there are few targets: games of two splits may share one."""
        rules = (
            "You are one of a group. Every round each of you guesses a whole number, all at the same time. Your guesses are added up, and "
            "the sum should hit a hidden target. You cannot talk and do not see what others guess. Afterwards you only hear whether the "
            f"group's sum was too high or too low. Guess from {self.low} to {self.high}. End your reply with: FINAL GUESS: <number>"
        )

        def draw(rng: random.Random) -> Draft | None:
            number = rng.getrandbits(48)
            if split_of(f"{self.name}/{number}") != split:
                return None
            target = random.Random(f"{self.name}/{number}").randint(*self.targets)
            return Draft(f"{number}", rules, str(target), {"game": number})

        check_split(self.name, split)
        return draw_problems(self.name, split, n, seed, draw)

    def env(self, problem: Problem) -> GuessingGame:
        """A game to play, at its beginning."""
        return GuessingGame(int(problem.answer), self.agents, self.rounds, self.low, self.high)

    def extract(self, text: str) -> str | None:
        """The group's last sum."""
        found = _SUM.findall(text)
        return found[-1] if found else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Right where the last sum is the target."""
        total = self.extract(answer)
        hit = total is not None and int(total) == int(problem.answer)
        return Verdict(float(hit), hit, f"sum {total}, target {problem.answer}", total)

    def rows(self, problem: Problem, rounds: Sequence[Sequence[str]], names: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        """A played game as rows of a log that `reasonry probe coordination` reads; `rounds` holds what each agent wrote."""
        env, made = self.env(problem), list[dict[str, Any]]()
        for t, texts in enumerate(rounds):
            steps = env.step(texts)
            for name, text, step in zip(names, texts, steps, strict=True):
                row = {"group": problem.id, "round": t, "agent": name, "action": step.info["guess"], "parsed": step.info["parsed"]}
                made.append({**more, **row, "target": int(problem.answer), "feedback": SIGN[step.info["feedback"]], "text": text})
        won = bool(made) and made[-1]["feedback"] == 0
        return [{**row, "success": won} for row in made]
