"""A client never chooses what the server's machine loads, reads or calls."""

from typing import Any

import pytest

from reasonry.serve.catalogue import Catalogue
from reasonry.serve.errors import Refusal
from reasonry.serve.requests import Ask


def asked(spec: str) -> Any:
    """A request for a solver; nothing else of it is looked at."""
    ask = object.__new__(Ask)
    for field, value in {"model": "m", "solver": spec, "budget": None, "said": frozenset(), "sampling": None}.items():
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
    ],
)
def test_options_that_name_a_place_are_refused(spec: str):
    """Before anything is opened, also inside another solver's spec."""
    with pytest.raises(Refusal, match="names a model or file, which only who starts the server may"):
        Catalogue({"m": object()}).find(asked(spec))  # type: ignore[dict-item]


def test_the_aggregator_itself_is_served():
    lm: Any = object()
    _, solver = Catalogue({"m": lm}).find(asked("agglm?m=2&words=bare"))
    assert solver is not None
    assert solver.name == "agglm?m=2&words=bare"
