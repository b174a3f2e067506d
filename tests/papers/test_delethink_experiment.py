"""The parts of Delethink's experiment that decide: its verdict rules, its measures, its equal budgets."""

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from reasonry.core import Budget, Completion, Cost, Ids, Problem, Prompt, Result, Sampling, Stop
from reasonry.core.paper import Evidence
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers import PAPERS
from reasonry.papers.catalogue import CATALOGUE, FURTHER
from reasonry.papers.delethink import PAPER, InStyle, lines_right, solver, stages, style_of, truth
from reasonry.papers.delethink_cost import Priced, price
from reasonry.papers.delethink_findings import CLAIMS, Facts, Plan, Row, findings, measures
from reasonry.papers.delethink_page import report
from reasonry.papers.delethink_sft import PIECE, SEEN, piece, pieces, taught
from reasonry.probe.stats import wilson
from reasonry.solve.delethink import Delethink
from reasonry.solve.single import Single
from reasonry.tasks.skills.registers import registers

PLAN = Plan()
FACTS = Facts(1.0, {"restate": wilson(9, 30), "delta": wilson(21, 30)})
PRICED = [
    Priced("s", 64, 10, 10, 90, 90, True, 200),
    Priced("s", 128, 20, 22, 150, 90, True, 200),
    Priced("s", 256, 60, 50, 280, 90, True, 200),
]


def rows(accuracy: dict[tuple[str, str], float], n: int = 40) -> list[Row]:
    """Attempts with the wanted accuracy per (stage, arm), at every point, in both styles."""
    points = {"tracing": PLAN.loops, "ledger": PLAN.ledger, "control": (PLAN.control,), "state": (*PLAN.small_m, *PLAN.large_m)}
    return [
        Row(stage, style, x, arm, f"0/{i}", float(i < share * n), 1.0, 1.0, 0.0)
        for (stage, arm), share in accuracy.items()
        for x in points[stage]
        for style in ("restate", "delta")
        for i in range(n)
    ]


def verdicts(attempts: list[Row], priced: list[Priced] = PRICED, facts: Facts = FACTS) -> dict[str, Result]:
    return {f.claim: f.result for f in findings(PLAN, attempts, priced, facts)}


GOOD = rows({("tracing", "LongCoT"): 0.5, ("tracing", "Delethink"): 0.5, ("control", "m=C/2"): 0.8, ("control", "m=0"): 0.0})


def test_every_claim_gets_a_verdict_and_no_other_does() -> None:
    assert [f.claim for f in findings(PLAN, GOOD, PRICED, FACTS)] == [c.id for c in CLAIMS]


def test_equal_arms_are_parity_but_not_longer() -> None:
    """The direction that the brief calls falsified: Delethink not above LongCoT beyond 2×."""
    found = verdicts(GOOD)
    assert found["parity"] is Result.HOLDS
    assert found["longer"] is Result.FAILS
    assert found["carry"] is Result.HOLDS


def test_a_worse_delethink_fails_and_a_doubtful_one_is_unclear() -> None:
    worse = rows({("tracing", "LongCoT"): 0.9, ("tracing", "Delethink"): 0.3})
    assert verdicts(worse)["parity"] is Result.FAILS
    assert verdicts(worse)["longer"] is Result.FAILS
    better = rows({("tracing", "LongCoT"): 0.1, ("tracing", "Delethink"): 0.6})
    assert verdicts(better)["longer"] is Result.HOLDS
    few = [r for r in rows({("tracing", "LongCoT"): 0.0, ("tracing", "Delethink"): 0.1}, n=20) if r.x == 64]
    assert verdicts(few)["longer"] is Result.UNCLEAR


def test_the_state_limit_needs_a_drop_where_the_ledger_does_not_fit() -> None:
    fits = [r for r in rows({("ledger", "LongCoT"): 0.8, ("ledger", "Delethink"): 0.8}) if r.x <= 4]
    drops = [r for r in rows({("ledger", "LongCoT"): 0.8, ("ledger", "Delethink"): 0.1}) if r.x > 4]
    same = [r for r in rows({("ledger", "LongCoT"): 0.8, ("ledger", "Delethink"): 0.8}) if r.x > 4]
    assert verdicts(fits + drops)["state-limit"] is Result.HOLDS
    assert verdicts(fits + same)["state-limit"] is Result.FAILS
    assert verdicts(fits)["state-limit"] is Result.UNCLEAR


def test_the_size_of_the_carry_over_needs_a_drop_where_it_is_small() -> None:
    level = {("state", "LongCoT"): 1.0, ("state", "Delethink"): 0.9}
    large = [r for r in rows(level) if r.x in PLAN.large_m]
    drops = [r for r in rows({**level, ("state", "Delethink"): 0.2}) if r.x in PLAN.small_m]
    same = [r for r in rows(level) if r.x in PLAN.small_m]
    assert verdicts(large + drops)["state-size"] is Result.HOLDS
    assert verdicts(large + same)["state-size"] is Result.FAILS


@pytest.mark.parametrize(
    "wrong",
    [replace(PRICED[2], exact=False), replace(PRICED[2], delethink_peak=91), replace(PRICED[2], delethink_flops=61)],
    ids=["not the closed form", "memory grows", "dearer past the crossover"],
)
def test_cost_fails_by_any_of_its_three_falsifiers(wrong: Priced) -> None:
    assert verdicts(GOOD)["linear-cost"] is Result.HOLDS
    assert verdicts(GOOD, [*PRICED[:2], wrong])["linear-cost"] is Result.FAILS


def test_one_differing_problem_falsifies_the_identity() -> None:
    assert verdicts(GOOD)["one-chunk"] is Result.HOLDS
    assert verdicts(GOOD, facts=replace(FACTS, one_chunk_equal=0.99))["one-chunk"] is Result.FAILS


def test_two_arms_that_cannot_do_the_task_show_nothing() -> None:
    """Where both are near zero a difference of zero is no finding."""
    floor = rows({("tracing", "LongCoT"): 0.02, ("tracing", "Delethink"): 0.0, ("control", "m=C/2"): 0.0, ("control", "m=0"): 0.0})
    assert {verdicts(floor)[c] for c in ("parity", "longer", "carry")} == {Result.UNCLEAR}


def test_nothing_measured_is_unclear_not_a_result() -> None:
    assert {verdicts([])[c] for c in ("parity", "longer", "carry", "state-limit")} == {Result.UNCLEAR}


def test_arms_share_t_max() -> None:
    """LongCoT's token limit is reached by Delethink's chunks, never undershot."""
    lm = Writer("")
    for t_max in (96, 130, 1000):
        one, chunked = solver(lm, "a", None, t_max), solver(lm, "b", (64, 32), t_max)
        assert isinstance(one, Single)
        assert isinstance(chunked, Delethink)
        assert one.sampling.max_tokens == t_max
        assert t_max <= chunked.t_max < t_max + 32


def test_stages_cover_one_to_eight_times_the_trained_length() -> None:
    made = stages(PLAN, 3)
    assert {s.x for s in made if s.name == "tracing"} >= {PLAN.trained, 8 * PLAN.trained}
    assert {s.x for s in made if s.name == "ledger"} >= {2, 8}
    ledger = next(s for s in made if s.name == "ledger")
    assert ledger.arms["Delethink"] == (48, 16)
    control = next(s for s in made if s.name == "control")
    assert set(control.arms.values()) == {(64, 32), (64, 0), (64, 63)}


def test_every_register_of_a_stage_is_live() -> None:
    """A register that no operation changes need not cross a boundary; the ledger has none."""
    for problem in registers(registers=8, ops=8, loops=2).problems("test", 5):
        assert {op[0] for op in problem.meta["ops"]} == set("abcdefgh")


class Writer:
    """Writes one fixed text, whatever is asked; keeps its seeds."""

    name = "writer"

    def __init__(self, text: str, *others: str) -> None:
        self.texts, self.seeds = (text, *others), list[int | None]()

    async def encode(self, prompt: Prompt) -> Ids:
        return (1,)

    async def decode(self, ids: Ids) -> str:
        return bytes(ids).decode()

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        text = self.texts[min(len(self.seeds), len(self.texts) - 1)][: sampling.max_tokens]
        self.seeds.append(sampling.seed)
        return Completion(text, Stop.EOS, Cost(1, len(text), calls=1), (1,), tuple(text.encode()), (0.0,) * len(text))


async def test_style_is_chosen_by_seed_and_the_attempt_repeats_the_opening_call() -> None:
    """The solver's first call has the very seed whose opening was looked at."""
    lm = Writer("[1]\na=1", "[1]\na=2", "[1] a=1 b=2")
    problem = Problem("p", "?", "")
    trace = await InStyle(Single(lm), lm, "restate")(problem, Budget(), 5)
    assert trace.answer == "[1] a=1 b=2"
    assert len(lm.seeds) == 4
    assert lm.seeds[3] == lm.seeds[2]
    assert len(set(lm.seeds)) == 3
    assert trace.cost.calls == 1
    never = await InStyle(Single(Writer("no")), Writer("no"), "delta")(problem, Budget(), 5)
    assert (never.stop, never.error) == (Stop.ERROR, "no working opened in the style delta")


def test_styles_and_lines_are_read_from_the_text() -> None:
    problem = registers(registers=2, ops=2, loops=4).problems("test", 1)[0]
    for style in ("restate", "delta"):
        text, final = truth(problem, style)
        lines = text.splitlines()
        assert style_of(text) == style
        assert final == problem.answer
        assert lines_right(problem, f"{text}\n#### {final}", style) == 1.0
        assert lines_right(problem, "\n".join([*lines[:3], "oops", *lines[4:]]), style) == 3 / 8
        assert lines_right(problem, "\n".join(lines[:2]), style) == 2 / 8
    assert style_of("a=1") is None


async def test_the_ledger_agrees_with_the_closed_form_on_both_shapes() -> None:
    """`price` with a tiny random model: every point exact, the attention-heavy shape crosses where predicted."""
    template = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}"
    tokenizer = Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], template)
    model = Decoder(DecoderConfig(259, 16, 1, 2, 1, 8, 16, 1024))
    model.reset_parameters(torch.Generator().manual_seed(0))
    async with LocalLM(model, tokenizer, "tiny", max_rows=4, kv_tokens=4096) as lm:
        priced = await price(lm, "tiny", 64, 32, (64, 128, 320))
    assert all(p.exact for p in priced)
    assert verdicts(GOOD, priced)["linear-cost"] is Result.HOLDS
    heavy = [p for p in priced if p.shape == "mostly attention"]
    assert heavy[1].delethink_flops > heavy[1].longcot_flops
    assert heavy[2].delethink_flops < heavy[2].longcot_flops


def test_documents_are_short_pieces_of_train_workings() -> None:
    """No document is longer than a query and `PIECE` tokens; what a reader could not know is not predicted; an end is an end."""
    template = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}"
    tokenizer = Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], template)
    problem, eos = registers(registers=2, ops=2, loops=40).draw_from("train", random.Random(0)), tokenizer.id_of("<|im_end|>")
    context = tokenizer.encode(tokenizer.render(problem.messages))
    text, final = truth(problem, "delta")
    whole = (*tokenizer.encode(f"{text}\n#### {final}"), eos)
    kinds = set[tuple[bool, bool]]()
    for i in range(60):
        made = piece(tokenizer, problem, "delta", random.Random(i))
        part, scored = made.ids[len(context) :], made.mask[len(context) :]
        assert made.ids[: len(context)] == context
        assert not any(made.mask[: len(context)])
        assert 0 < len(part) <= PIECE
        start = next(s for s in range(len(whole)) if whole[s : s + len(part)] == part)
        assert list(scored) == [start == 0 or t >= SEEN for t in range(len(part))]
        kinds.add((start == 0, part[-1] == eos))
    assert kinds == {(True, False), (False, False), (False, True)}
    for example in islice(pieces(tokenizer, 0), 5):
        assert any(example.mask)


def test_an_untaught_model_is_used_where_it_lies(tmp_path: Path) -> None:
    """No steps: the checkpoint folder itself, and nothing is written."""
    (tmp_path / "config.json").write_text("{}")
    assert taught(str(tmp_path), 0, tmp_path / "x") == tmp_path
    assert not (tmp_path / "x").exists()


def test_the_page_holds_every_claim_and_figure() -> None:
    """Self-contained HTML with the verdicts, the plots and the table."""
    evidence = Evidence(
        "delethink",
        "tiny",
        "cmd",
        "c0ffee",
        "2025-01-01",
        "m",
        (0,),
        "b",
        measures(GOOD, PRICED, FACTS),
        findings(PLAN, GOOD, PRICED, FACTS),
    )
    html = report(PLAN, GOOD, PRICED, evidence)
    for claim in CLAIMS:
        assert claim.says.replace("'", "&#39;") in html
    assert html.count("<svg") >= 5
    assert 'src="http' not in html


def test_the_paper_is_listed_and_its_method_exists() -> None:
    assert PAPERS["delethink"] is PAPER
    assert len({e.slug for e in CATALOGUE}) == len(CATALOGUE) == 44
    assert set(PAPERS) <= {e.slug for e in (*CATALOGUE, *FURTHER)}
    assert (Path("src") / (PAPER.method.replace(".", "/") + ".py")).exists()
