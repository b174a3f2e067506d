"""A client never chooses what the server's machine loads, reads or calls; who starts the server does, under a name."""

from pathlib import Path
from typing import Any

import pytest
from tiny_server import local

from reasonry.accel.ahn import adapt, save_adapter
from reasonry.core import Budget, Message, Problem, Sampling, UserError
from reasonry.lm.tokenizer import Tokenizer
from reasonry.serve.catalogue import Catalogue, named_choices
from reasonry.serve.errors import Refusal
from reasonry.serve.requests import Ask
from reasonry.solve import Single


def asked(spec: str | None, model: str = "m", **sampling: Any) -> Any:
    """A request for a solver; nothing else of it is looked at."""
    ask = object.__new__(Ask)
    wishes = {"said": frozenset(sampling), "sampling": Sampling(**sampling)}
    for field, value in {"model": model, "solver": spec, "budget": None, **wishes}.items():
        object.__setattr__(ask, field, value)
    return ask


@pytest.mark.parametrize(
    "spec",
    [
        "agglm?m=2&by=http://elsewhere/v1%23x",
        "agglm?pool=/etc/passwd",
        "agglm?m=2&of=best-of-n?n=2&rm=/some/where",
        "best-of-n?rm=here",
        "agglm?%62y=here",
        "ahn?adapter=somewhere",
        "vgb?verifier=file.py:function",
        "vgb?verifier=rule.py:value",
        "tool-loop?tools=python",
        "tumix?tools=python",
        "tumix?docs=/etc",
        "tumix?designs=agents.toml",
    ],
)
def test_options_that_name_a_place_are_refused(spec: str):
    """Before anything is opened, also inside another solver's spec."""
    with pytest.raises(Refusal, match="names a model, a file or a tool, which only who starts the server may"):
        Catalogue({"m": object()}).find(asked(spec))  # type: ignore[dict-item]


def test_the_aggregator_itself_is_served():
    lm: Any = object()
    _, solver = Catalogue({"m": lm}).find(asked("agglm?m=2&words=bare"))
    assert solver is not None
    assert solver.name == "agglm?m=2&words=bare"


async def test_a_named_choice_is_asked_for_by_its_name(tokenizer: Tokenizer, tmp_path: Path):
    """Also in the field `solver`; it is loaded once, costs what the cheaper form costs, and takes the request's sampling."""
    lm = local(tokenizer)
    adapter = adapt(lm.decoder)
    for name, p in adapter.named_parameters():
        p.data += 0.1 * name.endswith("o_proj")
    save_adapter(adapter, tmp_path)
    choice = f"ahn?adapter={tmp_path}&window=8&of=single?max_tokens=20"
    catalogue = Catalogue({"m": lm}, named_choices([f"short={choice}"], ["m"]))
    assert catalogue.names[:2] == ["m", "m:short"]
    found = [catalogue.find(a)[1] for a in (asked(None, "m:short", temperature=0.0), asked("short", temperature=0.0))]
    plain = catalogue.find(asked("single?max_tokens=20", temperature=0.0))[1]
    assert all(isinstance(s, Single) for s in (*found, plain))
    first, second = (s for s in found if isinstance(s, Single))
    assert first.lm is second.lm is not lm
    assert first.sampling == Sampling(max_tokens=20, temperature=0.0)
    async with lm:
        problem = Problem("p", (Message("user", "what is 2 + 3 ?"),))
        made, again, full = [await s(problem, Budget(), 1) for s in (first, second, plain) if s is not None]
        await catalogue.opened.close()
    assert made.answer == again.answer
    assert made.cost.peak_kv_bytes < full.cost.peak_kv_bytes


def test_a_bad_named_choice_ends_the_start(tokenizer: Tokenizer):
    """Before the first request, in a sentence that says what to write."""
    models = {"a": local(tokenizer), "b": local(tokenizer)}
    assert named_choices(["b:x=single"], models) == {("b", "x"): "single"}
    with pytest.raises(UserError, match="does not say whose it is; write MODEL:NAME=SPEC with one of a, b"):
        named_choices(["x=single"], models)
    for text in ("x", "x=", "=single", "a b=single"):
        with pytest.raises(UserError, match="is not NAME=SPEC"):
            named_choices([text], ["a"])
    for texts in (["single=single?k=2"], ["x=single", "x=agglm"]):
        with pytest.raises(UserError, match="is taken"):
            named_choices(texts, ["a"])
    with pytest.raises(UserError, match=r"nowhere has no ahn\.json"):
        Catalogue(models, {("a", "x"): "ahn?adapter=nowhere"})


@pytest.mark.parametrize("name", ["short", "tiny"])
def test_a_name_that_nobody_gave_is_refused(name: str):
    """As a model with 404, as a solver with 400."""
    lm: Any = object()
    with pytest.raises(Refusal, match="does not exist"):
        Catalogue({"m": lm}).find(asked(None, f"m:{name}"))
    with pytest.raises(Refusal, match="is not a solver"):
        Catalogue({"m": lm}).find(asked(name))
