"""The trace check: what it counts is what the student's own law says of the learnt tokens, and its advice follows from it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from reasonry.cli import cli
from reasonry.core import Sampling, UserError
from reasonry.evaluate.traces_page import check_html, check_json, check_text
from reasonry.lm.local import LocalLM
from reasonry.nn.attention import causal
from reasonry.papers.taught import SMALL, characters, fresh
from reasonry.probe.traces import check_traces

ROOT = Path(__file__).parents[2]
TOKENIZER = characters()
GREEDY = Sampling(max_tokens=6, temperature=0.0, ignore_eos=True)
ROWS = [
    (tuple(TOKENIZER.encode("ab+cd=efghijkl")), (False,) * 6 + (True,) * 8),
    (tuple(TOKENIZER.encode("xy=zzz")), (False,) * 3 + (True, False, True)),
    (tuple(TOKENIZER.encode("12=3")), (False,) * 3 + (True,)),
]


def lm() -> LocalLM:
    return LocalLM(fresh(SMALL, 0).requires_grad_(False), TOKENIZER, "student")


async def test_every_learnt_token_is_counted_once_and_no_other() -> None:
    """Against the whole forward pass written out: shares, surprisal, worst tokens and what would rather stand there."""
    logs: list[list[float]] = []
    best: list[list[int]] = []
    decoder = fresh(SMALL, 0)
    with torch.no_grad():
        for ids, mask in ROWS:
            logp = decoder.logits(decoder(torch.tensor([ids]), torch.arange(len(ids))[None], causal()).last[0]).log_softmax(-1)
            logs.append([float(logp[i - 1, ids[i]]) for i, on in enumerate(mask) if on])
            best.append([int(logp[i - 1].argmax()) for i, on in enumerate(mask) if on])
    level = math.exp(sorted(x for row in logs for x in row)[4]) + 1e-9
    every = [x for row in logs for x in row]
    async with lm() as student:
        found = await check_traces(student, ROWS, level)
    assert (found.rows, found.learnt, found.too_long, found.lengths) == (3, 11, 0, (1, 2, 8))
    assert found.rare == pytest.approx(5 / 11)
    assert found.nats == pytest.approx(-sum(every) / 11, abs=1e-5)
    assert [t.rare for t in found.traces] == pytest.approx([sum(x < math.log(level) for x in row) / len(row) for row in logs])
    assert found.by_row.mean == pytest.approx(sum(t.rare for t in found.traces) / 3)
    assert [math.log(s.p) for s in found.worst] == pytest.approx(sorted(every)[:5], abs=1e-5)
    for s in found.worst:
        ids, mask = ROWS[s.row - 1]
        place = [i for i, on in enumerate(mask) if on][s.at - 1]
        assert s.token == TOKENIZER.decode(ids[place : place + 1], skip_special=False)
        assert s.before == TOKENIZER.decode(ids[:place])
        assert s.rather == TOKENIZER.decode([best[s.row - 1][s.at - 1]], skip_special=False)
    assert sum(n for _, n, _ in found.common) == 5


async def test_the_advice_follows_from_what_was_found() -> None:
    """A set full of rare tokens is advised against, one of likely tokens taken, one the student writes itself called little use."""
    async with lm() as student:
        bad = await check_traces(student, ROWS, 0.5)
        prompt = tuple(TOKENIZER.encode("12="))
        likely = [(await student.complete(prompt, GREEDY)).ids or () for _ in range(2)]
        good = await check_traces(student, [(prompt + ids, (False,) * 3 + (True,) * len(ids)) for ids in likely], 1e-6)
        long = await check_traces(student, [*ROWS, (tuple(range(200)) * 3, (False,) * 599 + (True,))])
    assert bad.advice[0].startswith("Do not train this student on these rows as they are")
    assert good.advice[0] == "The set suits this student."
    assert "1 of 4 rows do not fit the student's context" in " ".join(long.advice)
    assert "row" in check_text(bad)
    assert (bad.known, good.known) == (0.0, 0.0)
    decoder = fresh(SMALL, 0).requires_grad_(False)
    decoder.embed_tokens.weight.mul_(400)  # so that it repeats the last token for sure
    async with LocalLM(decoder, TOKENIZER, "sure") as student:
        sure = await check_traces(student, [((5, 7, 7, 7), (False, False, True, True)), ((5, 7, 8), (False, False, True))], 1e-6)
    assert sure.known == 0.5
    assert not any("word for word" in said for said in sure.advice)
    async with LocalLM(decoder, TOKENIZER, "sure") as student:
        sure = await check_traces(student, [((5, 7, 7, 7), (False, False, True, True))])
    assert any(said.startswith("The student would write 100 % of the rows word for word") for said in sure.advice)
    assert json.loads(json.dumps(check_json(bad)))["learnt"] == 11
    html = check_html(bad, "here")
    assert html.count("<svg") == 2
    assert "Do not train this student" in html


async def test_rows_that_cannot_be_judged_are_refused() -> None:
    async with lm() as student:
        with pytest.raises(UserError, match="row 2 of the data has no token to be learnt"):
            await check_traces(student, [ROWS[0], ((1, 2), (False, False))])
        with pytest.raises(UserError, match="none of the 1 rows fits the 512 tokens"):
            await check_traces(student, [((1,) * 600, (False, *[True] * 599))])
        with pytest.raises(UserError, match="a probability lies between 0 and 1"):
            await check_traces(student, ROWS, 0.0)


def test_the_command_judges_the_documented_example(tmp_path: Path) -> None:
    """Half its rows are in the model's own words, and it is those that are advised."""
    page = tmp_path / "page.html"
    arguments = ["probe", "traces", "--model", "pocket-1m", "--data", str(ROOT / "docs/examples/traces/rows.jsonl")]
    said = CliRunner().invoke(cli, [*arguments, "--out", str(page)])
    assert said.exit_code == 0, said.output
    assert "Or learn only the 12 of 24 rows" in said.output
    assert said.output.partition("\n")[0] in (ROOT / "docs/tools.md").read_text(), "the page shows what the command says"
    assert "<svg" in page.read_text()
    as_json = CliRunner().invoke(cli, [*arguments, "--json", "-n", "3"])
    assert json.loads(as_json.stdout)["rows"] == 3


def test_the_example_is_what_its_maker_writes(tmp_path: Path) -> None:
    script = (ROOT / "docs/examples/traces/make.py").read_text()
    exec(compile(script, "make.py", "exec"), {"__file__": str(tmp_path / "make.py")})
    assert (tmp_path / "rows.jsonl").read_text() == (ROOT / "docs/examples/traces/rows.jsonl").read_text()
