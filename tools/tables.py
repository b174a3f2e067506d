"""Everything in the repository that is generated from code or from stored measurements: `make tables`.

Writes the README's `table` and `file` blocks, one page per paper in `docs/papers/`, `docs/objectives.md`, and `docs/api.txt`, the public
interface as names.
`--check` (part of `make test`) fails where any of them is stale. A changed interface needs a changed CHANGELOG: `api.txt` remembers the
CHANGELOG it was made beside, and is not renewed until that has moved on too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from blocks import ROOT, Maker, fenced, fill, table
from objectives import objectives_page
from reasonry.core import Evidence, Paper, Result
from reasonry.papers import PAPERS

ROOMS = sorted(p.parent.name for p in (ROOT / "src" / "reasonry").glob("*/__init__.py"))
MODELS = ROOT / "src" / "reasonry" / "lm" / "pocket"


def evidence(slug: str) -> Evidence | None:
    """The stored evidence of a paper, `None` where its experiment has not been run."""
    path = ROOT / "evidence" / f"{slug}.json"
    return msgspec.json.decode(path.read_bytes(), type=Evidence) if path.exists() else None


# Tables of the README.


def papers_table() -> str:
    """One row per paper: what it claims, how the claims fared here, and the command."""
    rows = []
    for slug, paper in sorted(PAPERS.items()):
        found = evidence(slug)
        fared = "not measured yet"
        if found:
            results = [f.result for f in found.findings]
            fared = ", ".join(f"{r.value}: {results.count(r)}" for r in Result if r in results)
        rows.append(
            [
                f"[{paper.title}](docs/papers/{slug}.md) ([{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))",
                f"[`{paper.method.removeprefix('reasonry.')}`](src/{paper.method.replace('.', '/')}.py)",
                fared,
                f"{found.scale}; {len(found.seeds)} seeds" if found else "",
                f"`reasonry run {slug}`",
            ]
        )
    return table(["paper", "method", "claims", "measured with", "again"], rows)


def models_table() -> str:
    """One row per shipped model, from what its training and its card command wrote."""
    rows = []
    for card in sorted(MODELS.glob("*/card.json"), key=lambda p: p.parent.name):
        training = json.loads((card.parent / "training.json").read_text())
        own = [row["sampled"]["mean"] for row in json.loads(card.read_text())["rows"] if row["trained"]]
        rows.append(
            [
                f"[`{card.parent.name}`]({card.parent.relative_to(ROOT)}/README.md)",
                f"{training['parameters']:,}",
                f"{training['tokens']:,} in {training['seconds'] / 60:.0f} min",
                f"{100 * sum(own) / len(own):.0f} % ({100 * min(own):.0f} to {100 * max(own):.0f} by skill)",
            ]
        )
    return table(
        ["model", "parameters", "training tokens, on one CPU thread", "right on held-out problems, temperature 1"], rows, right={1}
    )


def measurements(name: str) -> list[dict[str, Any]]:
    """The stored lines of a benchmark; none where it has not been run."""
    path = ROOT / "benchmarks" / "results" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def engine_table() -> str:
    """Tokens per second beside transformers' own generation."""
    rows = [
        [
            f"{row['way']} ({row['version']})",
            f"{row['tokens_per_second']:,.0f}" if "tokens_per_second" in row else row["why_not"],
            f"{row['tokens_per_cpu_second']:,.0f}" if "tokens_per_second" in row else "",
            f"{row['ratio']:.2f} × ({row['cpu_ratio']:.2f} ×)" if "ratio" in row else "",
        ]
        for row in measurements("engine")
    ]
    head = [
        "64 requests, 8 to 256 new tokens each",
        "useful tokens per second",
        "per processor second",
        "ours against it (per processor second)",
    ]
    return table(head, rows, right={1, 2, 3}) + where_measured("engine")


def serve_table() -> str:
    """Requests per second under load."""
    rows = [
        [str(row["clients"]), f"{row['requests_per_second']:.1f}", f"{row['p50_ms']:,.0f}", f"{row['p95_ms']:,.0f}", f"{row['cpu_ms']:.0f}"]
        for row in measurements("serve")
    ]
    head = ["clients at once", "requests per second", "median ms", "95th percentile ms", "processor ms a request"]
    return table(head, rows, right={0, 1, 2, 3, 4}) + where_measured("serve")


def rl_step_table() -> str:
    """Samples per second of a whole GRPO step beside TRL's."""
    rows = [
        [
            row["model"],
            f"{row['way']} ({row['version']})",
            f"{row['samples_per_second']:.1f}" if "samples_per_second" in row else row["why_not"],
            f"{row['seconds_sampling']:.2f}" if "samples_per_second" in row else "",
            f"{row['seconds_learning']:.2f}" if "samples_per_second" in row else "",
            f"{row['ratio']:.2f} × ({row['cpu_ratio']:.2f} ×)" if "ratio" in row else "",
        ]
        for row in measurements("rl_step")
    ]
    head = [
        "model",
        "8 problems, 8 answers each",
        "answers per second",
        "s sampling",
        "s learning",
        "against TRL's fastest (per processor second)",
    ]
    return table(head, rows, right={2, 3, 4, 5}) + where_measured("rl_step")


def where_measured(name: str) -> str:
    """The conditions of a benchmark, from its first stored line."""
    rows = measurements(name)
    for row in rows[:1]:
        where, threads = row["measured"], sorted({r["threads"] for r in rows})
        return (
            f"\n`benchmarks/{name}.py`, {where['machine']}, {' or '.join(map(str, threads))} thread{'s' * (threads[-1] > 1)}, "
            f"torch {where['torch']}, commit {where['commit']}, {where['date'][:10]}.\n"
        )
    return f"\n`benchmarks/{name}.py` has not been run.\n"


TABLES = {"papers": papers_table, "models": models_table, "engine": engine_table, "serve": serve_table, "rl_step": rl_step_table}


# One page per paper.


def paper_page(slug: str, paper: Paper) -> str:
    """What the paper says, how it differs here, what would contradict it, and what was measured."""
    found = evidence(slug)
    verdicts = {f.claim: f for f in found.findings} if found else {}
    module = paper.method.replace(".", "/")
    parts = [
        f"<!-- Generated by tools/tables.py from src/reasonry/papers/{slug.replace('-', '_')}.py and evidence/{slug}.json. -->\n",
        f"# {paper.title}\n",
        f"arXiv [{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}) · method `src/{module}.py` · `reasonry run {slug}`\n",
        paper.summary + "\n",
        "## How this differs from the paper\n",
        "".join(f"{i}. {line}\n" for i, line in enumerate(paper.differs, 1)),
        "## Claims\n",
    ]
    for claim in paper.claims:
        finding = verdicts.get(claim.id)
        verdict = f"**{finding.result.value}**. {finding.measured}" if finding else "not measured yet"
        parts.append(
            f"### {claim.id}\n\n- The paper says: {claim.says}\n- Kind: {claim.kind.value}\n"
            f"- It fails here if: {claim.falsified_if}\n- Here: {verdict}\n"
        )
    parts.append(f"## Where the method fails\n\n{paper.fails_when}\n")
    parts.append("## Evidence\n")
    parts.append(evidence_part(found) if found else f"None yet. `reasonry run {slug}` measures it.\n")
    return "\n".join(parts)


def evidence_part(found: Evidence) -> str:
    """The measurements as one table, with everything needed to repeat them."""
    facts = [
        ["command", f"`{found.command}`"],
        ["scale", found.scale],
        ["seeds", ", ".join(map(str, found.seeds))],
        ["budget", found.budget],
        ["date, commit", f"{found.date}, {found.commit}"],
        ["machine", found.machine],
    ]
    rows = [[m.arm, m.metric, f"{m.mean:.4g}", f"{m.low:.4g} to {m.high:.4g}", str(m.n)] for m in found.measures]
    return table(["", ""], facts) + "\n" + table(["arm", "metric", "mean", "95 % interval", "n"], rows, right={2, 4})


def papers_index() -> str:
    """The list of papers for the documentation."""
    lines = [f"- [{paper.title}]({slug}.md): {paper.summary}\n" for slug, paper in sorted(PAPERS.items())]
    return "<!-- Generated by tools/tables.py. -->\n\n# Papers\n\n" + "".join(lines)


def models_page() -> str:
    """The cards of the shipped models, one after the other."""
    cards = [card.read_text().split("---\n", 2)[2].lstrip() for card in sorted(MODELS.glob("*/README.md"), key=lambda p: p.parent.name)]
    return "<!-- Generated by tools/tables.py. -->\n\n# The shipped models\n\n" + "\n".join(c.replace("# ", "## ", 1) for c in cards)


# The public interface.


def interface() -> str:
    """Public names with their parameters, and the commands with their options, one per line."""
    lines = []
    for room in ROOMS:
        module = importlib.import_module(f"reasonry.{room}")
        for name in sorted(getattr(module, "__all__", ())):
            thing = getattr(module, name)
            inside = f"({', '.join(inspect.signature(thing).parameters)})" if inspect.isfunction(thing) or _is_record(thing) else ""
            lines.append(f"{room}.{name}{inside}\n")
    cli = importlib.import_module("reasonry.cli").cli
    for name, command in sorted(_commands(cli).items()):
        lines.append(f"{name}: {' '.join(p.opts[-1] for p in command.params)}\n")
    return "".join(lines)


def _is_record(thing: object) -> bool:
    return inspect.isclass(thing) and hasattr(thing, "__dataclass_fields__")


def _commands(cli: click.Group) -> dict[str, click.Command]:
    context = click.Context(cli)
    return {f"reasonry {name}": c for name in cli.list_commands(context) if (c := cli.get_command(context, name)) is not None}


def api_text(before: str) -> str:
    """`docs/api.txt`: the interface, headed by a fingerprint of the CHANGELOG it was made beside. Raises SystemExit as promised above."""
    head, _, old = before.partition("\n")
    now = interface()
    if now == old:
        return before
    print_of_log = hashlib.sha256((ROOT / "CHANGELOG.md").read_bytes()).hexdigest()[:16]
    if head.endswith(print_of_log):
        changed = sorted(set(now.splitlines()) ^ set(old.splitlines()))
        raise SystemExit(f"the public interface changed ({'; '.join(changed[:3])}); say so in CHANGELOG.md, then run: make tables")
    return f"# Public interface; made beside CHANGELOG {print_of_log}\n{now}"


def file_block(where: str) -> str:
    """A file, or the part of it between `--8<-- [start:NAME]` and its end where `where` is `path:NAME`, as the pages' snippets have it."""
    path, _, part = where.partition(":")
    text = (ROOT / path).read_text()
    if part:
        text = text.split(f"# --8<-- [start:{part}]\n")[1].split(f"# --8<-- [end:{part}]")[0].strip()
    return fenced(text, {".py": "python", ".toml": "toml"}.get(Path(path).suffix, "text"))


def generated() -> dict[Path, str]:
    """Every generated file with what it should hold."""

    makers: dict[str, Maker] = {"table": lambda name, body: TABLES[name](), "file": lambda where, body: file_block(where)}
    api, readme = ROOT / "docs" / "api.txt", ROOT / "README.md"
    files = {
        readme: fill(readme.read_text(), makers),
        ROOT / "docs" / "papers" / "index.md": papers_index(),
        ROOT / "docs" / "models.md": models_page(),
        ROOT / "docs" / "objectives.md": objectives_page(),
        api: api_text(api.read_text() if api.exists() else ""),
    }
    for slug, paper in PAPERS.items():
        files[ROOT / "docs" / "papers" / f"{slug}.md"] = paper_page(slug, paper)
    return files


def main() -> int:
    """Writes the generated files, or with `--check` names the stale ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is stale")
    arguments = parser.parse_args()
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not arguments.check:
            path.write_text(generated()[path])
        print(f"{'stale' if arguments.check else 'wrote'}: {path.relative_to(ROOT)}")
    if stale and arguments.check:
        print("run: make tables", file=sys.stderr)
    return int(arguments.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
