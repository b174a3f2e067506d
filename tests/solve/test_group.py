"""Several models in one environment: each hears only the environment; the log is what was played; greedy twins are identical."""

import json
from dataclasses import replace

import pytest

from reasonry.core import Budget, Completion, Cost, Message, Sampling, Stop, UserError
from reasonry.evaluate.group_games import group_of, play_games
from reasonry.lm.load import load_lm
from reasonry.probe.coordination import Options, read_groups
from reasonry.probe.coordination.collectivity import collectivity
from reasonry.tasks.group_game import GroupGame

GAME = GroupGame(agents=3, rounds=6, targets=(15, 30))


class Searcher:
    """Stands in for a model: halves the range by what it has been told, and says so."""

    name = "searcher"

    def __init__(self, mute: int = 0, fails: bool = False) -> None:
        self.mute, self.fails, self.prompts = mute, fails, list[tuple[Message, ...]]()

    async def encode(self, prompt):
        return tuple(range(3))

    async def decode(self, ids):
        return ""

    async def complete(self, prompt, sampling):
        if self.fails:
            raise RuntimeError("gone")
        self.prompts.append(tuple(prompt))
        low, high = 0, 50
        for line in prompt[-1].content.splitlines():
            if line.startswith("Round"):
                guess = int(line.split("guessed ")[1].split(".")[0])
                low, high = (low, guess) if "HIGH" in line else (guess, high)
        text = "hm" if self.mute and len(self.prompts) % self.mute == 0 else f"FINAL GUESS: {(low + high) // 2}"
        return Completion(text, Stop.EOS, Cost(prompt_tokens=3, completion_tokens=2, calls=1), (0, 1, 2), (3, 4), (-0.5, -0.5))


def problem(target: int):
    return replace(GAME.problems("test", 1)[0], answer=str(target))


async def test_a_group_searches_until_it_hits():
    """25·3 is too high for 18, 12·3 too high, 6·3 is right: three rounds, nine calls, priced and trainable."""
    lm = Searcher()
    t = await group_of(lm, GAME, "plain", Sampling(), 0)(problem(18), Budget(), 0)
    assert (t.answer, t.stop, t.cost.calls) == ("GROUP SUM: 18", Stop.EOS, 9)
    assert GAME.judge(problem(18), t.answer).passed
    assert t.meta["exchange"]["ended"] == "done"
    assert all(s.ids == (3, 4) and s.logprobs for s in t.segments)
    last = lm.prompts[-1]
    assert [m.role for m in last] == ["system", "user"]
    assert last[-1].content.splitlines()[-2:] == [
        "Round 1: you guessed 25. The group was too HIGH.", "Round 2: you guessed 12. The group was too HIGH.",
    ]  # fmt: skip


async def test_a_budget_and_a_failing_model_end_it(tmp_path):
    t = await group_of(Searcher(), GAME, "plain", Sampling(), 0)(problem(17), Budget(calls=6), 0)
    assert t.cost.calls <= 6
    broken = await group_of(Searcher(fails=True), GAME, "plain", Sampling(), 0)(problem(17), Budget(), 0)
    assert broken.stop is Stop.ERROR
    with pytest.raises(UserError, match="every agent failed"):
        await play_games(Searcher(fails=True), GAME, ["plain"], 1, tmp_path / "never.jsonl", Sampling())
    assert not (tmp_path / "never.jsonl").exists()


async def test_games_are_kept_and_a_killed_run_goes_on(tmp_path):
    """Two conditions, the same games; a torn and an unfinished game are played again; unread replies are in the log."""
    keep = tmp_path / "games.jsonl"
    assert await play_games(Searcher(mute=4), GAME, ["plain", "persona"], 2, keep, Sampling()) == 4
    whole = keep.read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert {r["group"] for r in rows} == {"plain-0-0", "plain-0-1", "persona-0-0", "persona-0-1"}
    assert not all(r["parsed"] for r in rows)
    targets = {r["group"]: r["target"] for r in rows}
    assert targets["plain-0-0"] == targets["persona-0-0"]
    with pytest.raises(UserError, match="is there already; add --resume"):
        await play_games(Searcher(), GAME, ["plain"], 2, keep, Sampling())
    keep.write_text(whole[:-60])
    assert await play_games(Searcher(), GAME, ["plain", "persona"], 2, keep, Sampling(), resume=True) == 1
    assert len({json.loads(line)["group"] for line in keep.read_text().splitlines()}) == 4
    read = read_groups(keep)
    assert read.filled == sum(not json.loads(line)["parsed"] for line in keep.read_text().splitlines())
    assert all(g.feedback is None for g in read.groups)


async def test_a_real_model_plays_and_greedy_agents_asked_alike_are_identical(tmp_path):
    """The shipped model, whose replies are mostly unreadable here: flagged, repeated, measured without a stumble."""
    game = GroupGame(agents=3, rounds=4, targets=(15, 30))
    lm = load_lm("pocket-1m")
    t = await group_of(lm, game, "plain", Sampling(max_tokens=8, temperature=0), 0)(problem(20), Budget(), 0)
    for told in t.meta["exchange"]["rounds"]:
        assert len({turn["text"] for turn in told}) == 1
    keep = tmp_path / "games.jsonl"
    await play_games(lm, game, ["plain"], 1, keep, Sampling(max_tokens=8))
    rows = [json.loads(line) for line in keep.read_text().splitlines()]
    assert len({r["text"] for r in rows if r["round"] == 0}) > 1
    assert len(rows) == 12 or rows[-1]["success"]
    report = collectivity(read_groups(keep).groups, Options(surrogates=19))
    assert report.verdict.value
