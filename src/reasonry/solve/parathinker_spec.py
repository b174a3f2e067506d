"""`parathinker?P=4&B=1024&stop=first` as a solver.

Options. `P` paths of at most `B` tokens. `stop`: thinking ends with the `first` path, with `half` of them, with the `last`, or with the
k-th (`stop=3`). `tags`: one for each path, as `5,6,7,8`, or a single one that all share; left out, 1 … P. `leads`: lead-ins of the paths,
with `|` between them. `lead`: what the summary begins with. `fuse`: the summary reads the paths' own keys and values (`join`), the same
paths handed over again (`re-prefill`), or the paths `vote`. `positions`: `shared`, or `flat`, the ablation. `max_tokens` of the summary.
`k` attempts are put to a vote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonry.core import LM, Solver, Task
from reasonry.solve.parathinker import Enough, first_finish, flattened, half_finish, kth_finish, last_finish, shared
from reasonry.solve.parathinker_solver import ParaThinker, reread, reuse
from reasonry.solve.parathinker_vote import Voted

if TYPE_CHECKING:
    from reasonry.solve.build import Options

STOPS: dict[str, Enough] = {"first": first_finish, "half": half_finish, "last": last_finish}


def _stop(text: str) -> Enough:
    return STOPS[text] if text in STOPS else kth_finish(int(text))


def _tags(text: str) -> tuple[int, ...]:
    return tuple(int(i) for i in text.split(","))


def parathinker(lm: LM, task: Task, o: Options, name: str) -> Solver:
    """The solver of such a spec."""
    P, tags = o.read("P", 4, int), o.read("tags", (), _tags, "numbers with commas between")
    leads = o.read("leads", "", str)
    solver = ParaThinker(
        lm, task, P, o.read("B", 1024, int), o.read("stop", first_finish, _stop, "first, half, last or a number"),
        tags * P if len(tags) == 1 else tags, tuple(leads.split("|")) if leads else (),
        o.choice("positions", "shared", {"shared": shared, "flat": flattened}),
        o.choice("fuse", "join", {"join": reuse, "re-prefill": reread, "vote": None}),
        o.read("lead", "", str), o.sampling(256), name,
    )  # fmt: skip
    k = o.read("k", 1, int)
    return solver if k == 1 else Voted(solver, task, k, name)
