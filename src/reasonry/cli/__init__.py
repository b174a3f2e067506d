"""The command line: `run`, `compare`, `train`, `solve`, `serve`, `papers`.

Invariants. Nothing heavy is imported before a command needs it, so `--help` is quick. What a user can mend is one line on standard
error and exit code 2; Ctrl-C exits with 130 and says how to go on; a bug keeps its traceback. No key is read here or stored: commands
hand on the *name* of the variable that holds it.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reasonry.cli.train import train
from reasonry.core import Budget, Trajectory, UserError

if TYPE_CHECKING:
    from reasonry.core import Evidence, Paper

DEFAULT_SOLVERS = ("single", "self-consistency", "best-of-n")
"""What `compare` runs when no solver is named, and Delethink after them."""
SHORT_CHUNKS = "?C=32&m=16&I=32"
"""Delethink's options for the shipped models, whose thoughts are a few dozen tokens; other models get the paper's."""

MODEL = "pocket, pocket-1m, a checkpoint folder (a TRM's too), or an endpoint as http://host:port/v1#model-name."
SOLVER = "single, self-consistency, best-of-n or delethink, with options after a question mark: 'delethink?C=64&m=32'."
NAMED = (
    "Serve a solver as MODEL:NAME; its SPEC may name folders and addresses, which a client's may not. "
    "With several models write MODEL:NAME=SPEC. Repeat it."
)
KEY = "Environment variable that holds the endpoint's key."
BUDGET = "Limit of one attempt: sampled tokens (256), or units as tokens=4096,calls=8."


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="reasonry", message="%(version)s")
def cli() -> None:
    """Better answers for less compute: run methods on your model and your task at the same budget, and see which one pays."""


cli.add_command(train)


@cli.command()
@click.option("--model", required=True, metavar="SPEC", help=MODEL)
@click.option(
    "--task", required=True, metavar="SPEC", help="A built-in task (arithmetic, word, sudoku6, …), a .jsonl file, or gym:DATASET."
)
@click.option(
    "--solver", "solvers", multiple=True, metavar="SPEC", help=SOLVER + " Repeat it; the first is the baseline.  [default: all four]"
)
@click.option(
    "--budget", "budgets", multiple=True, default=["32,64,128,256"], show_default=True, help=BUDGET + " 64,128,256 are three budgets."
)
@click.option("-n", "--problems", type=click.IntRange(1), help="How many problems.  [default: 100, or all where a file holds fewer]")
@click.option("--attempts", default=1, show_default=True, type=click.IntRange(1), help="Attempts at each problem.")
@click.option("--split", default="test", show_default=True, help="Which part of the task.")
@click.option("--seed", default=0, show_default=True, help="Decides problems and sampling.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run directory.  [default: runs/compare-DATE-TIME]")
@click.option("--resume", is_flag=True, help="Go on with the run in --out; what it holds is not done again.")
@click.option("--concurrency", default=256, show_default=True, type=click.IntRange(1), help="Most attempts in flight.")
@click.option("--max-rows", default=64, show_default=True, type=click.IntRange(1), help="Most sequences a local model computes at once.")
@click.option("--key-variable", default="OPENAI_API_KEY", show_default=True, help=KEY)
def compare(solvers: tuple[str, ...], out: Path | None, resume: bool, **given: Any) -> None:
    """Give several methods the same problems and the same budgets; report accuracy against cost.

    Every attempt is on disk before it counts: after a crash, run the same command with --resume --out DIR.
    """
    if resume and out is None:
        raise UserError("--resume: the run to go on with is not named; add --out and its directory")
    from reasonry.evaluate.command import Comparison, run_comparison
    from reasonry.worlds.trm_folder import find_trm

    more = [] if find_trm(given["model"]) else ["delethink" + SHORT_CHUNKS * given["model"].startswith("pocket")]
    request = Comparison(solvers=solvers or (*DEFAULT_SOLVERS, *more), out=out or _fresh("compare"), **given)
    try:
        report = asyncio.run(run_comparison(request, resume))
    except KeyboardInterrupt:
        click.echo(f"\nreasonry: stopped; go on with: {request.command()} --resume", err=True)
        sys.exit(130)
    sys.exit(0 if any(arm.scored for arm in report.arms) else 1)


def _fresh(kind: str) -> Path:
    from datetime import datetime

    return Path("runs") / f"{kind}-{datetime.now():%Y-%m-%d-%H%M%S}"


@cli.command()
@click.argument("question")
@click.option("--model", required=True, metavar="SPEC", help=MODEL)
@click.option("--solver", default="single", show_default=True, metavar="SPEC", help=SOLVER)
@click.option("--budget", help=BUDGET + "  [default: no limit]")
@click.option("--seed", default=0, show_default=True, help="Decides all sampling.")
@click.option("--trace", is_flag=True, help="Show every model call.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole trajectory as JSON.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Draw a grid's steps: .html, .png, .svg or .gif.")
@click.option("--key-variable", default="OPENAI_API_KEY", show_default=True, help=KEY)
def solve(
    question: str, model: str, solver: str, budget: str | None, seed: int, trace: bool, as_json: bool, out: Path | None, key_variable: str
) -> None:
    """Answer one QUESTION (or - for standard input) and say what it cost."""
    asked = sys.stdin.read().strip() if question == "-" else question
    if not asked.strip():
        raise UserError("question: it is empty; write one, or pipe it in with -")
    attempt = asyncio.run(_solve(asked, model, solver, Budget.parse(budget) if budget else Budget(), seed, key_variable))
    if out is not None:
        from reasonry.evaluate.steps import write_steps

        write_steps(out, attempt, Path(model).name, shlex.join(["reasonry", *sys.argv[1:]]))
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(attempt).decode())
        return
    if trace:
        for i, segment in enumerate(attempt.segments, 1):
            cost = f"{segment.cost.prompt_tokens} prompt + {segment.cost.completion_tokens} sampled tokens"
            click.secho(f"── {i} · {segment.role} · {cost} · {segment.stop}", dim=True)
            click.echo(segment.text + "\n")
        click.secho("── answer", dim=True)
    click.echo(attempt.answer)
    cost, ended = attempt.cost, f"{attempt.stop} ({attempt.spent})" if attempt.spent else attempt.stop
    calls = "1 call" if cost.calls == 1 else f"{cost.calls} calls"
    click.echo(f"{calls}, {cost.prompt_tokens} prompt + {cost.completion_tokens} sampled tokens, {cost.seconds:.1f} s, {ended}", err=True)


async def _solve(question: str, model: str, solver: str, budget: Budget, seed: int, key_variable: str) -> Trajectory:
    from reasonry.core import Problem
    from reasonry.evaluate.networks import bound
    from reasonry.serve.catalogue import AnyQuestion

    async with bound(model, [solver], AnyQuestion(), key_variable=key_variable) as (_, solvers):
        return await solvers[0](Problem("question", question), budget, seed)


@cli.command()
@click.option("--model", "models", required=True, multiple=True, metavar="SPEC", help=MODEL + " Repeat it to serve several.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; other than loopback needs a key.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--key-variable", metavar="NAME", help="Environment variable that holds the key clients must send.  [default: no key]")
@click.option("--max-rows", type=click.IntRange(1), default=64, show_default=True, help="Most sequences a model computes at once.")
@click.option("--solver-as", "named", multiple=True, metavar="NAME=SPEC", help=NAMED)
def serve(models: tuple[str, ...], host: str, port: int, key_variable: str | None, max_rows: int, named: tuple[str, ...]) -> None:
    """Serve models, and every method on top of them (as pocket:delethink), to any OpenAI client."""
    from reasonry.evaluate.networks import load_any
    from reasonry.serve.app import key_for
    from reasonry.serve.app import run as run_server
    from reasonry.serve.catalogue import named_choices

    key_for(host, key_variable)
    lms = {lm.name: lm for lm in [load_any(spec, max_rows) for spec in models]}
    run_server(lms, host=host, port=port, key_variable=key_variable, named=named_choices(named, lms))


@cli.command()
@click.argument("slug", metavar="PAPER")
@click.option("--seeds", default="0,1,2", show_default=True, help="Seeds, with commas between.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run directory.  [default: runs/PAPER]")
@click.option("--resume", is_flag=True, help="Go on with what the run directory holds.")
@click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), help="Also write DIRECTORY/PAPER.json, as the repository's evidence/."
)
def run(slug: str, seeds: str, out: Path | None, resume: bool, store: Path | None) -> None:
    """Run a PAPER's experiment and say how its claims fared."""
    import msgspec

    from reasonry.core.run import write_whole

    paper = find_paper(slug)
    numbers = _seeds(seeds)
    folder = out or Path("runs") / slug
    if folder.exists() and any(folder.iterdir()) and not resume:
        raise UserError(f"run directory {folder} already holds a run; add --resume to go on with it, or name another directory with --out")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        evidence = paper.run(folder, numbers)
    except KeyboardInterrupt:
        again = shlex.join(["reasonry", "run", slug, "--seeds", seeds, "--out", str(folder), "--resume"])
        click.echo(f"\nreasonry: stopped; go on with: {again}", err=True)
        sys.exit(130)
    text = msgspec.json.format(msgspec.json.encode(evidence), indent=2).decode() + "\n"
    written = [write_whole(folder / "evidence.json", text)]
    if store:
        store.mkdir(parents=True, exist_ok=True)
        written.append(write_whole(store / f"{slug}.json", text))
    click.echo(f"{paper.title} ({paper.arxiv}), {evidence.scale}, seeds {seeds}\n")
    says = {claim.id: claim.says for claim in paper.claims}
    for finding in evidence.findings:
        click.echo(f"{finding.result.value:8} {finding.claim}: {says.get(finding.claim, '')}\n         here: {finding.measured}\n")
    for path in [*written, *sorted(folder.glob("*.html"))]:
        click.echo(f"{'Report' if path.suffix == '.html' else 'Evidence'}: {path}")


def find_paper(slug: str) -> Paper:
    """The paper of a slug. Raises UserError where it is not built yet, or not on the list."""
    from reasonry.papers import PAPERS
    from reasonry.papers.catalogue import CATALOGUE

    if slug in PAPERS:
        return PAPERS[slug]
    if any(entry.slug == slug for entry in CATALOGUE):
        raise UserError(f"paper: {slug!r} is on the list but not built yet; use one of {', '.join(PAPERS)}")
    raise UserError(f"paper: {slug!r} is not on the list; run: reasonry papers")


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--seeds: {text!r} is not a list of whole numbers; write for example 0,1,2") from None


@cli.command()
@click.argument("slug", metavar="[PAPER]", required=False)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option(
    "--evidence", type=click.Path(path_type=Path, file_okay=False), default="evidence", show_default=True, help="Stored evidence."
)
def papers(slug: str | None, as_json: bool, evidence: Path) -> None:
    """List the 44 methods and further experiments with their state, or show one PAPER's claims and findings."""
    import json

    from reasonry.papers.catalogue import CATALOGUE, FURTHER

    if slug is not None:
        _show_paper(find_paper(slug), evidence, as_json)
        return
    listed = (*CATALOGUE, *FURTHER)
    rows = [{"slug": e.slug, "method": e.method, "source": e.source, "rooms": e.rooms, **_state(e.slug, evidence)} for e in listed]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(row["slug"]) for row in rows)
    for row in rows:
        click.secho(f"{row['slug']:{width}}  {row['state']:9} {row['method']}", dim=row["state"] == "planned")
    built = sum(row["state"] != "planned" for row in rows[: len(CATALOGUE)])
    click.echo(f"\n{built} of {len(CATALOGUE)} are built; reasonry papers NAME shows one, reasonry run NAME measures it.")


def _state(slug: str, folder: Path) -> dict[str, Any]:
    """`planned`, `built`, or `measured` with how many claims hold, fail or are unclear."""
    from reasonry.papers import PAPERS

    if slug not in PAPERS:
        return {"state": "planned"}
    found = _stored(slug, folder)
    if found is None:
        return {"state": "built"}
    results = [finding.result.value for finding in found.findings]
    return {"state": "measured", "claims": {result: results.count(result) for result in dict.fromkeys(results)}}


def _stored(slug: str, folder: Path) -> Evidence | None:
    import msgspec

    from reasonry.core import Evidence

    path = folder / f"{slug}.json"
    return msgspec.json.decode(path.read_bytes(), type=Evidence) if path.exists() else None


def _show_paper(paper: Paper, folder: Path, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from reasonry.cli import survey

    found = _stored(paper.slug, folder)
    if as_json:
        shown = {key: value for key, value in asdict(paper).items() if key != "run"}
        more = survey.as_data() if paper.slug == survey.SLUG else {}
        click.echo(json.dumps({**shown, "evidence": asdict(found) if found else None, **more}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{paper.title} (arXiv {paper.arxiv})\n{paper.summary}\n\nAlgorithm: {paper.method}\nFails when: {paper.fails_when}\n")
    findings = {finding.claim: finding for finding in found.findings} if found else {}
    for claim in paper.claims:
        finding = findings.get(claim.id)
        click.echo(f"{claim.id} ({claim.kind.value}): {claim.says}")
        click.echo(
            f"  {finding.result.value}: {finding.measured}\n" if finding else f"  not measured yet; fails if: {claim.falsified_if}\n"
        )
    if not found:
        click.echo(f"Measure it: reasonry run {paper.slug}")
    if paper.slug == survey.SLUG:
        click.echo("\n" + survey.as_text(), nl=False)


def main() -> None:
    """The `reasonry` command."""
    try:
        sys.exit(cli(standalone_mode=False))
    except UserError as error:
        click.echo(f"reasonry: {error}", err=True)
        sys.exit(2)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        where = f"; see {error.ctx.command_path} --help" if isinstance(error, click.UsageError) and error.ctx else ""
        click.echo(f"reasonry: {error.format_message().rstrip('.')}{where}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


from reasonry.cli import coordination, difficulty, flips, ladder, layers, probe, scale_fit, synth, traces, verifier, window_cost  # noqa: E402, F401 (adds commands)
