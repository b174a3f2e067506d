"""Games of a group of model calls, kept as a log line by line: what `reasonry probe coordination --model` plays and then reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from reasonry.core import LM, Budget, Problem, Sampling, Step, Stop, UserError
from reasonry.core.run import write_whole
from reasonry.core.seeds import inner_seed
from reasonry.evaluate.command import opened
from reasonry.lm.load import load_lm
from reasonry.solve.group import Group, told
from reasonry.solve.single import Single
from reasonry.tasks.group_game import GroupGame, instructions


def last_sum(answered: Sequence[tuple[Step, ...]]) -> str:
    """The answer that `GroupGame` judges."""
    return f"GROUP SUM: {answered[-1][0].info['sum']}"


def group_of(lm: LM, game: GroupGame, condition: str, sampling: Sampling, seed: int) -> Group:
    """`game.agents` agents on one model, each asked in its own words; the turn's seed tells them apart, unless the temperature is 0."""
    asks = [told(text) for text in instructions(condition, game.agents, seed)]
    return Group([Single(lm, sampling)] * game.agents, asks, game.env, game.rounds, last_sum, f"{game.name}, {condition}")


async def play_all(
    model: str, game: GroupGame, conditions: Sequence[str], n: int, keep: Path, sampling: Sampling, seed: int = 0, resume: bool = False
) -> None:
    """`play_games` with the model of a spec."""
    async with opened(load_lm(model)) as lm:
        await play_games(lm, game, conditions, n, keep, sampling, seed, resume)


async def play_games(
    lm: LM, game: GroupGame, conditions: Sequence[str], n: int, keep: Path, sampling: Sampling, seed: int = 0, resume: bool = False
) -> int:
    """Plays `n` games of each condition, the same games in each, and adds every one to `keep` as soon as it ends; with `resume`, only
    those that the file does not hold. Returns how many were played.

    Raises UserError where `keep` is there and `resume` is not said, and for a game in which a whole round of calls failed.
    """
    for condition in conditions:
        instructions(condition, game.agents)  # refuses an unknown one before anything is played
    done = _held(keep, resume, game)
    count = 0
    for condition in dict.fromkeys(conditions):
        for number, problem in enumerate(game.problems("test", n, seed)):
            name = f"{condition}-{seed}-{number}"
            if name not in done:
                await _play(lm, game, condition, replace(problem, id=name), keep, sampling, inner_seed(seed, number))
                count += 1
    return count


async def _play(lm: LM, game: GroupGame, condition: str, problem: Problem, keep: Path, sampling: Sampling, seed: int) -> None:
    t = await group_of(lm, game, condition, sampling, seed)(problem, Budget(), seed)
    if t.stop is Stop.ERROR:
        raise UserError(f"game {problem.id}: every agent failed in one round; the first said: {t.error}")
    log = t.meta["exchange"]
    rounds = [[said["text"] for said in turns] for turns in log["rounds"]]
    more = {"condition": condition, "model": lm.name, "temperature": sampling.temperature}
    rows = game.rows(problem, rounds, log["agents"], **more)
    with open(keep, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    read = sum(row["parsed"] for row in rows)
    won = "hit" if rows[-1]["success"] else "missed"
    click.echo(f"{problem.id}: {len(rounds)} rounds, {won}; {read} of {len(rows)} replies read; {t.cost.tokens} tokens", err=True)


def _held(keep: Path, resume: bool, game: GroupGame) -> set[str]:
    """The games that a file holds whole; what a kill left of another is cut off."""
    if not keep.exists():
        return set()
    if not resume:
        raise UserError(f"--keep: {keep} is there already; add --resume to go on with it, or name another file")
    games: dict[str, list[str]] = {}
    ended: set[str] = set()
    for line in keep.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        games.setdefault(row["group"], []).append(line)
        over = row["feedback"] == 0 or row["round"] + 1 == game.rounds
        if over and len(games[row["group"]]) == (row["round"] + 1) * game.agents:
            ended.add(row["group"])
    write_whole(keep, "".join(line + "\n" for name in games if name in ended for line in games[name]))
    return ended
