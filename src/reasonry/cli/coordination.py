"""`reasonry probe coordination`: a collective, a bundle of agents, or oscillators; of anyone's log, or of games played here."""

from __future__ import annotations

from pathlib import Path

import click

from reasonry.cli.probe import JSON, OUT, _print_json, _write, probe
from reasonry.core import UserError


@probe.command()
@click.argument("log", metavar="[LOG]", required=False, type=click.Path(path_type=Path))
@click.option("--lag", default=1, show_default=True, type=click.IntRange(1), help="Rounds ahead that are predicted.")
@click.option("--bins", default=2, show_default=True, type=click.IntRange(2, 4), help="States that numbers are cut into.")
@click.option("--estimator", default="jeffreys", show_default=True, help="jeffreys, miller_madow or plugin.")
@click.option(
    "--null", "nulls", multiple=True, default=["row", "column", "functional"], show_default=True,
    help="row, column, column-sum, block or functional. Repeat it.",
)  # fmt: skip
@click.option("--surrogates", default=200, show_default=True, type=click.IntRange(19), help="Of every null.")
@click.option("--detrend", is_flag=True, help="Take a straight line in time off every series of numbers.")
@click.option("--first", type=click.IntRange(4), metavar="N", help="Look at each group's first N rounds only.")
@click.option("--pool", is_flag=True, help="Count all groups in one table: for games too short to tell anything alone.")
@click.option("--mean", is_flag=True, help="The mean over pairs instead of the median.")
@click.option("--max-triplets", default=120, show_default=True, type=click.IntRange(1), help="More than these are drawn from.")
@click.option(
    "--min-entropy", default=0.0, show_default=True, type=click.FloatRange(0), help="Leave out agents with no more bits than this."
)
@click.option("--power", is_flag=True, help="Also say how many rounds a coalition of known strength needs.")
@click.option(
    "--encoder", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="A sentence encoder for texts (Hugging Face folder).  [default: by letters and words]",
)  # fmt: skip
@click.option("--model", metavar="SPEC", help="Play the group guessing game instead: pocket, a checkpoint folder, or an endpoint.")
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where the games are kept: FILE.jsonl.")
@click.option("--resume", is_flag=True, help="Go on with --keep; games it holds are not played again.")
@click.option("--condition", "conditions", multiple=True, default=["plain"], help="plain, persona, persona-others or others. Repeat it.")
@click.option("-n", "--games", default=6, show_default=True, type=click.IntRange(1), help="Games of each condition.")
@click.option("--agents", default=10, show_default=True, type=click.IntRange(2), help="Agents of a game.")
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(4), help="Rounds of a game, at most.")
@click.option("--temperature", default=1.0, show_default=True, type=click.FloatRange(0), help="At 0 agents asked alike are identical.")
@click.option("--max-tokens", default=200, show_default=True, type=click.IntRange(1), help="Tokens of a reply.")
@click.option("--seed", default=0, show_default=True, help="Decides games, sampling and surrogates.")
@JSON
@OUT
def coordination(
    log: Path | None, lag: int, bins: int, estimator: str, nulls: tuple[str, ...], surrogates: int, detrend: bool, first: int | None,
    pool: bool, mean: bool, max_triplets: int, min_entropy: float, power: bool, encoder: Path | None, model: str | None,
    keep: Path | None, resume: bool, conditions: tuple[str, ...], games: int, agents: int, rounds: int, temperature: float,
    max_tokens: int, seed: int, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Say whether a group of agents is a collective, a bundle, or oscillators, against surrogates of it.

    LOG is a JSONL with one action of one agent a line: group, round, agent, and action (a number or a word), tool or text.
    """
    if (log is None) == (model is None or keep is None):
        raise UserError("LOG: name a file, or play games with both --model and --keep")
    from reasonry.evaluate.coordination_page import coordination_html, coordination_json, coordination_text, look
    from reasonry.probe.coordination import ESTIMATORS, NULLS, Cut, Options, read_groups
    from reasonry.probe.gram_embeddings import letters, sentence_encoder

    for flag, value, known in [("--estimator", estimator, ESTIMATORS), *(("--null", name, NULLS) for name in nulls)]:
        if value not in known:
            raise UserError(f"{flag}: {value!r} is unknown; use one of {', '.join(known)}")
    if model is not None and keep is not None:
        import asyncio

        from reasonry.core import Sampling
        from reasonry.evaluate.group_games import play_all
        from reasonry.tasks.group_game import GroupGame

        most = 50 * agents
        game = GroupGame(agents, rounds, targets=(round(0.102 * most), round(0.2 * most)))
        sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
        asyncio.run(play_all(model, game, conditions, games, keep, sampling, seed, resume))
        log = keep
    assert log is not None
    read = read_groups(log, letters if encoder is None else sentence_encoder(encoder))
    cut = Cut(bins, detrend, min_entropy)
    options = Options(
        lag, cut, ESTIMATORS[estimator], tuple(NULLS[n] for n in dict.fromkeys(nulls)), surrogates, mean, max_triplets, pool, seed
    )
    seen = look(str(log), read, options, first, power)
    if as_json:
        _print_json(coordination_json(seen))
    else:
        click.echo(coordination_text(seen))
    _write(out, lambda: coordination_html(seen))
