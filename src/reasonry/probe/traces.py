"""Does this data set of written answers suit this student? How likely the student finds every token that it is to learn.

Paper: RSD (arXiv 2509.22230). Where a small model gets worse by learning a strong one's answers, the best sign of it beforehand is the
share of tokens to which the model gives less than 1 %. Surprisal is −log P_S, in nats.

Invariants. Every learnt token is scored once, in one pass a row, on the ids that training would use, by the student's own law at
temperature 1; what a row does not learn (prompts, results of tools) is context. A row whose ids do not fit the student's context is not
judged, and said.

Departures. The limits that the advice speaks at are ours: the paper says that 1 % of such tokens is many and "nearly zero" is right.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from reasonry.core import Ids, UserError
from reasonry.lm.local import LocalLM
from reasonry.probe.stats import Estimate, clustered_mean

RARE = 0.01
"""The probability below which a token counts as nearly impossible."""
MANY, FEW = 0.01, 0.005
"""The share of such tokens from which a set is advised against, and up to which it is taken to suit."""
SHOWN, AROUND = 20, 24
"""Worst tokens that are shown, and tokens of context before each."""
TENTHS = 10

Learnt = tuple[Ids, tuple[bool, ...]]
"""(ids, which of them are learnt), as a trainer takes a row."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A token that the student finds hard to believe, where it stands."""

    row: int
    """Number of the row, from 1."""
    at: int
    """Number of the token among the row's learnt ones, from 1."""
    before: str
    token: str
    after: str
    p: float
    rather: str
    """What the student finds likeliest there."""
    rather_p: float


@dataclass(frozen=True, slots=True)
class TraceFound:
    """One row."""

    row: int
    learnt: int
    """Tokens it teaches."""
    tokens: int
    """Tokens in all."""
    rare: float
    """Share of the learnt ones below `RARE`."""
    nats: float
    """Mean surprisal."""
    worst: float
    """The least probability of a learnt token."""


@dataclass(frozen=True, slots=True)
class TraceCheck:
    """What was found of a data set and a student. Intervals resample rows."""

    student: str
    rows: int
    learnt: int
    too_long: int
    """Rows that do not fit the student's context; they are not judged."""
    level: float
    rare: float
    """Share of all learnt tokens below `level`."""
    by_row: Estimate
    """The mean over rows of each row's share."""
    nats: float
    """Mean surprisal of a learnt token."""
    known: float
    """Share of rows that the student would write word for word more often than not."""
    clean: float
    """Share of rows without a rare token."""
    fit: int
    """Rows with so few rare tokens that they suit by themselves."""
    along: tuple[float | None, ...]
    """Share below `level` in each tenth of a row's learnt tokens; `None` where no row reaches it."""
    lengths: tuple[int, float, int]
    """Fewest, median and most learnt tokens of a row."""
    common: tuple[tuple[str, int, int], ...]
    """The tokens that are rare most often: text, how often rare, how often there."""
    worst: tuple[Spot, ...]
    traces: tuple[TraceFound, ...]
    advice: tuple[str, ...]


async def check_traces(
    lm: LocalLM, rows: Sequence[Learnt], level: float = RARE, at_once: int = 64, told: Callable[[], None] = lambda: None
) -> TraceCheck:
    """Scores every row under the student `lm`; `told` after each. Raises UserError for rows that teach nothing, or none that fits."""
    if not 0 < level < 1:
        raise UserError(f"rare: {level} but a probability lies between 0 and 1; the paper's is 0.01")
    if bare := next((i for i, (_, mask) in enumerate(rows, 1) if not any(mask)), None):
        raise UserError(f"row {bare} of the data has no token to be learnt; drop it")
    window = lm.decoder.config.max_position
    fitting = [(i, row) for i, row in enumerate(rows, 1) if len(row[0]) <= window]
    if not fitting:
        raise UserError(f"data: none of the {len(rows)} rows fits the {window} tokens of {lm.name}'s context; shorten them")
    places = asyncio.Semaphore(at_once)

    async def one(number: int, row: Learnt) -> tuple[TraceFound, list[tuple[float, int, int]], list[tuple[int, float]]]:
        ids, mask = row
        async with places:
            scored = await lm.score_prompt(ids, 1)
        told()
        best = [next(iter(top.items())) for top in scored.top_logprobs or ()]
        found = [(scored.logprobs[i - 1], i, n) for n, i in enumerate((i for i, on in enumerate(mask) if on), 1)]
        logs = [x for x, _, _ in found]
        rare = sum(x < math.log(level) for x in logs) / len(logs)
        return TraceFound(number, len(logs), len(ids), rare, -fmean(logs), math.exp(min(logs))), found, best

    made = await asyncio.gather(*(one(number, row) for number, row in fitting))
    traces = tuple(t for t, _, _ in made)
    learnt = sum(t.learnt for t in traces)
    share = sum(t.rare * t.learnt for t in traces) / learnt
    there, rare_there, along = Counter[int](), Counter[int](), defaultdict[int, list[float]](list)
    hard: list[tuple[float, int, int, int]] = []
    for which, ((_, (ids, _)), (trace, found, _)) in enumerate(zip(fitting, made, strict=True)):
        for logp, i, n in found:
            there[ids[i]] += 1
            along[(n - 1) * TENTHS // trace.learnt].append(float(logp < math.log(level)))
            if logp < math.log(level):
                rare_there[ids[i]] += 1
                hard.append((logp, which, i, n))
    worst = [_spot(lm, fitting[w][0], fitting[w][1][0], i, n, logp, made[w][2][i - 1]) for logp, w, i, n in sorted(hard)[:SHOWN]]
    lengths = [t.learnt for t in traces]
    check = TraceCheck(
        student=lm.name, rows=len(rows), learnt=learnt, too_long=len(rows) - len(fitting), level=level, rare=share,
        by_row=clustered_mean([[t.rare] for t in traces]), nats=sum(t.nats * t.learnt for t in traces) / learnt,
        known=fmean(t.nats * t.learnt < math.log(2) for t in traces),
        clean=fmean(t.rare == 0 for t in traces), fit=sum(t.rare <= FEW for t in traces),
        along=tuple(fmean(along[k]) if along[k] else None for k in range(TENTHS)), lengths=(min(lengths), median(lengths), max(lengths)),
        common=tuple((_text(lm, (id,)), n, there[id]) for id, n in rare_there.most_common(SHOWN)), worst=tuple(worst), traces=traces,
        advice=(),
    )  # fmt: skip
    return _advised(check)


def _spot(lm: LocalLM, row: int, ids: Ids, i: int, n: int, logp: float, best: tuple[int, float]) -> Spot:
    before, after = _text(lm, ids[max(i - AROUND, 0) : i]), _text(lm, ids[i + 1 : i + 1 + AROUND // 2])
    return Spot(row, n, before, _text(lm, ids[i : i + 1]), after, math.exp(logp), _text(lm, (best[0],)), math.exp(best[1]))


def _text(lm: LocalLM, ids: Ids) -> str:
    return lm.tokenizer.decode(ids, skip_special=False)


def _advised(c: TraceCheck) -> TraceCheck:
    said: list[str] = []
    if c.rare > MANY:
        said.append(
            "Do not train this student on these rows as they are: regenerate them with it as approver (reasonry synth rsd), and learn only "
            "the beginnings of what stays unsolved."
        )
        if c.fit:
            said.append(f"Or learn only the {c.fit} of {len(c.traces)} rows in which at most {100 * FEW:g} % of the tokens are that rare.")
    elif c.rare > FEW:
        said.append("It may do: look at the worst tokens below, drop the worst rows, or regenerate them with this student as approver.")
    else:
        said.append("The set suits this student.")
    filled = [x for x in c.along if x is not None]
    if c.rare > FEW and filled[0] > 3 * c.rare:
        said.append("Most of it is how answers begin: another opening, or the student's own first words before the answer, may be enough.")
    if c.known > 0.5:
        said.append(
            f"The student would write {100 * c.known:.0f} % of the rows word for word more often than not: there is little to learn."
        )
    if c.too_long:
        said.append(f"{c.too_long} of {c.rows} rows do not fit the student's context and were not judged.")
    said.append("What is found holds for this student alone: check again for another, and after training.")
    return replace(c, advice=tuple(said))
