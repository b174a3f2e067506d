"""Reverse speculative decoding: a teacher writes, and a student says of every token whether it could have come up with it.

Paper: RSD (arXiv 2509.22230). A token is drawn from the teacher; it stays where the student gives it at least `p_th`, else the student's
own token stands there, and both go on from what was written. The trace is the teacher's reasoning without the leaps that the student finds
nearly impossible. Not to be taken for *reward-guided* speculative decoding, which has the same letters.

Symbols: P_T, P_S the models' laws; p_th `Rule.p_th`; K `Rule.ahead`; k `Rule.proposals`; n the number of a reply's token.

Invariants. Two stores of keys and values go in lock-step: after every extension both models have read the same tokens, each in its own
ids; a token is made text and read again only where the other vocabulary lacks it. A random number is a function of (seed, n, what it is
for), so that the ways to extend agree token by token, and a trace is the same in any company. With `p_th` 0 it is the teacher's completion
for that seed, above 1 the student's for `student_seed(seed)`.

Three ways to extend a trace. `by_lookahead`: the teacher drafts K tokens, the student scores them in one pass, the first below `p_th` is
replaced, what follows it is thrown away. `by_steps`: token by token, its naive twin. `by_pool`: the rule of the authors' code, which draws
up to k times from those of the teacher's likeliest tokens that the student has too; `AUTHORS` are its settings.

Differs from the paper: (1) P_S is the student's law at temperature 1 before truncation; the authors' depends on their engine's version;
`Rule.judged` is the switch. (2) A teacher's token that the student's vocabulary lacks has probability 0 under the student; the authors'
code, and `by_pool`, leave it out of the draw. (3) The student's end, not the teacher's, ends a trace.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from reasonry.core import Budget, Cost, Ids, Prompt, Sampling, Stop, UserError
from reasonry.core.seeds import inner_seed
from reasonry.lm.engine.sampler import Draws, Settings, draw, truncate
from reasonry.lm.engine.sequence import Sequence
from reasonry.lm.local import LocalLM
from reasonry.synth.vocabulary import Match, match

OWN = Sampling()
"""A model's own law: temperature 1, nothing cut off."""
_STUDENT, _TRIAL = 1, 2
"""What a random number is for, besides the teacher's first proposal."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a teacher's token stays. The defaults are the paper's rule at its threshold."""

    p_th: float = 0.01
    """The least probability the student must give a teacher's token; 0 keeps all, above 1 none."""
    ahead: int = 8
    """K, tokens drafted at a time by `by_lookahead`; it changes the cost alone."""
    proposals: int = 1
    """k, the teacher's draws before the student's own token is taken; more than one needs `by_steps` or `by_pool`."""
    teacher: Sampling = Sampling(temperature=0.7, top_p=0.95)
    student: Sampling = Sampling(temperature=0.7, top_p=0.95)
    """How each samples; of their seeds and lengths nothing is read."""
    judged: Sampling = OWN
    """The form of the student's law that `p_th` is compared with; another than its own needs `by_steps` or `by_pool`."""
    among: int | None = None
    """A token must also be one of so many likeliest of the student; `None`: need not."""
    max_tokens: int = 1024
    """Of a trace."""

    def __post_init__(self) -> None:
        for name, value in (("ahead", self.ahead), ("proposals", self.proposals), ("max_tokens", self.max_tokens)):
            if value < 1:
                raise UserError(f"rsd: {name} is {value} but must be at least 1")
        if not self.p_th >= 0:
            raise UserError(f"rsd: p_th is {self.p_th} but a threshold is 0 or more; the paper's is 0.01")


POOLED = Sampling(temperature=0.7, top_p=0.95, top_k=20)
AUTHORS = Rule(proposals=5, teacher=POOLED, student=POOLED, among=20, max_tokens=7168)
"""The settings of the authors' code, for `by_pool`."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a trace, in the student's ids."""

    id: int
    teachers: bool
    """Whether the teacher proposed it; else it is the student's own."""
    log_teacher: float
    log_student: float
    """Natural log-probability under each model's own law, in the context it stands in."""
    log_drawn: float | None = None
    """That of the student's own token under the law it was drawn from, temperature and truncation in it; `None` for the teacher's."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What two models wrote together."""

    prompt: Ids
    """The student's ids."""
    tokens: tuple[Token, ...]
    """The end token included."""
    stop: Stop
    """EOS, LENGTH (of `max_tokens`), CONTEXT (of either model) or BUDGET."""
    teacher: Cost
    student: Cost
    """Tokens drafted or proposed and then refused were sampled all the same."""
    spent: str | None = None
    """The unit that ran out, where it was the budget."""

    @property
    def ids(self) -> Ids:
        """The trace's ids."""
        return tuple(t.id for t in self.tokens)

    @property
    def fallback_rate(self) -> float:
        """The share of tokens that are the student's own."""
        return sum(not t.teachers for t in self.tokens) / max(len(self.tokens), 1)


@dataclass(frozen=True)
class Pair:
    """A teacher and a student whose tokens are matched. Made by `pair`."""

    teacher: LocalLM
    student: LocalLM
    match: Match


def pair(teacher: LocalLM, student: LocalLM, special: dict[str, str] | None = None) -> Pair:
    """Two local models as teacher and student; `special` as in `vocabulary.match`."""
    return Pair(teacher, student, match(teacher.tokenizer, student.tokenizer, special or {}))


@dataclass
class Writing:
    """A trace under way: both models' sequences. Lives as long as one call of `write`."""

    t: Sequence
    s: Sequence
    match: Match
    rule: Rule
    seed: int
    teacher_ends: frozenset[int]
    student_ends: frozenset[int]
    vocabulary: int
    """Tokens of the teacher."""
    tokens: list[Token] = field(default_factory=list)
    drawn: tuple[int, int] = (0, 0)
    """Tokens that `_step` drew from the teacher and from the student by their logits, which their sequences do not know of."""
    taken: tuple[int, int] = (0, 0)
    """How many of those stayed."""

    @cached_property
    def shared(self) -> Tensor:
        """[V] of the teacher: which tokens the student has too."""
        return torch.tensor([self.match.to_student(i) is not None for i in range(self.vocabulary)])

    @property
    def n(self) -> int:
        """The number of the next token."""
        return len(self.tokens)

    async def own(self) -> int:
        """The student's token in the n-th place; it is appended."""
        sampling = self.rule.student.with_(max_tokens=1, seed=student_seed(self.seed))
        return (await self.s.draft(sampling, first_draw=self.n)).sampled[0]

    async def read(self, id: int) -> float:
        """Has the teacher read a student's token; its log-probability."""
        return sum(await self.t.score(self.match.to_teacher(id)))


Extend = Callable[[Writing, int], Awaitable[None]]
"""(a trace under way, how many tokens there is room for) adds at least one token to it and to both sequences."""


def student_seed(seed: int) -> int:
    """The seed of the student's own tokens in the trace with `seed`."""
    return inner_seed(seed, _STUDENT)


async def by_lookahead(w: Writing, room: int) -> None:
    """K tokens of the teacher, judged by the student in one pass: all up to the first below `p_th`, which is the student's own instead."""
    draft = await w.t.draft(w.rule.teacher.with_(max_tokens=min(w.rule.ahead, room), seed=w.seed), w.teacher_ends, first_draw=w.n)
    at_t, at_s = len(w.t) - len(draft.sampled), len(w.s)
    ids: list[int] = []
    for id in (w.match.to_student(i) for i in draft.sampled):
        if id is None or (ids and ids[-1] in w.student_ends):
            break
        ids.append(id)
    found = await w.s.score(ids)
    good = next((i for i, logp in enumerate(found) if math.exp(logp) < w.rule.p_th), len(ids))
    w.tokens += [Token(ids[i], True, draft.logprobs[i], found[i]) for i in range(good)]
    w.t.truncate(at_t + good)
    w.s.truncate(at_s + good)
    if good == len(draft.sampled) or (good and ids[good - 1] in w.student_ends):
        return
    job = await w.s.draft(w.rule.student.with_(max_tokens=1, seed=student_seed(w.seed)), first_draw=w.n)
    id = job.sampled[0]
    w.tokens.append(Token(id, False, await w.read(id), job.logprobs[0], job.sampler_logprobs[0]))


async def by_steps(w: Writing, room: int) -> None:
    """One token: up to k draws of the teacher, then the student's own."""
    await _step(w, shared=None)


async def by_pool(w: Writing, room: int) -> None:
    """One token, drawn from what is left of the teacher's likeliest tokens without those the student lacks."""
    await _step(w, shared=w.shared)


async def _step(w: Writing, shared: Tensor | None) -> None:
    rule, logits_t, logits_s = w.rule, await w.t.logits(), await w.s.logits()
    law = _law(logits_s, rule.judged)
    least = -math.inf if rule.among is None else float(logits_s.topk(min(rule.among, len(logits_s))).values[-1])
    trial = 0
    for trial in range(rule.proposals):
        proposed = _draw(logits_t, rule.teacher, shared, Draws(_trial_seed(w.seed, trial))(w.n))
        id = None if proposed is None else w.match.to_student(proposed)
        if id is not None and float(law[id].exp()) >= rule.p_th and float(logits_s[id]) >= least:
            break
    else:
        trial, proposed = rule.proposals - 1, None
        id = _draw(logits_s, rule.student, None, Draws(student_seed(w.seed))(w.n))
    assert id is not None
    own = proposed is None
    w.drawn, w.taken = (w.drawn[0] + trial + 1, w.drawn[1] + own), (w.taken[0] + (not own), w.taken[1] + own)
    (log_s,) = await w.s.score([id])
    log_t = await w.read(id) if proposed is None else sum(await w.t.score([proposed]))
    greedy = rule.student.temperature == 0  # then there was no choice
    log_drawn = None if not own else 0.0 if greedy else float(_law(logits_s, rule.student)[id])
    w.tokens.append(Token(id, not own, log_t, log_s, log_drawn))


def _trial_seed(seed: int, trial: int) -> int:
    return seed if trial == 0 else inner_seed(seed, _TRIAL, trial)


def _law(logits: Tensor, sampling: Sampling) -> Tensor:
    """[V] log-probabilities of the form `sampling` gives a model's law."""
    return truncate(logits.log_softmax(-1)[None], Settings.of([sampling], len(logits), logits.device))[0]


def _draw(logits: Tensor, sampling: Sampling, shared: Tensor | None, uniform: float) -> int | None:
    """A token of logits [V], as the engine draws it; with `shared` [V] only of those, `None` where none of them can be drawn."""
    if shared is not None:
        logits = _law(logits, sampling).masked_fill(~shared.to(logits.device), -math.inf)
        if bool(logits.isneginf().all()):
            return None
        sampling = Sampling(temperature=0.0 if sampling.temperature == 0 else 1.0)
    return draw(logits[None], Settings.of([sampling], len(logits), logits.device), [uniform]).ids[0]


def _priced(cost: Cost, drawn: int, taken: int) -> Cost:
    """A sequence's cost with the tokens that were drawn by hand; those that stayed were appended, but are no prompt."""
    return replace(cost, completion_tokens=cost.completion_tokens + drawn, prompt_tokens=cost.prompt_tokens - taken)


def _affordable(budget: Budget, cost: Cost, room: int, longest: int, rule: Rule) -> tuple[int, str | None]:
    """How many tokens the next extension may add, at most `room`, and the unit that ran out where that is none.

    One that adds n draws n tokens of the teacher (going by steps, up to k for one) and one of the student; each model reads the other's.
    """
    if unit := budget.spent(cost):
        return 0, unit
    left = budget.left(cost)
    if left.completion_tokens is not None:
        room = min(room, left.completion_tokens - rule.proposals)
    if left.tokens is not None:
        room = min(room, (left.tokens - rule.proposals - longest) // 2)
    return (room, None) if room > 0 else (0, "tokens" if left.tokens is not None else "completion_tokens")


async def write(pair: Pair, prompt: Prompt, rule: Rule, seed: int, extend: Extend = by_lookahead, budget: Budget = Budget()) -> Trace:
    """One trace after `prompt`, which the student's tokenizer and chat template make ids. Many may be written at once.

    `budget` bounds what both models spend together. Raises UserError for a prompt that leaves no room in either model's context, or a rule
    that `by_lookahead` cannot follow.
    """
    if extend is by_lookahead and (rule.proposals > 1 or rule.judged != OWN or rule.among is not None):
        raise UserError("rsd: looking ahead takes one proposal, judged by the student's own law; use by_steps or by_pool for another rule")
    ids = await pair.student.encode(prompt)
    theirs, ours, context = pair.teacher.decoder.config, pair.student.decoder.config, pair.match.context(ids)
    most, longest = theirs.max_position - pair.match.longest + 1, pair.match.longest
    if budget.tokens is not None and budget.tokens <= len(ids) + len(context):
        return Trace(ids, (), Stop.BUDGET, Cost(), Cost(), "tokens")
    if budget.calls is not None and budget.calls < 2:  # one of each model; what follows goes on from them
        return Trace(ids, (), Stop.BUDGET, Cost(), Cost(), "calls")
    ends = frozenset(pair.teacher.tokenizer.eos_ids), frozenset(pair.student.tokenizer.eos_ids)
    with await pair.student.sequence(ids) as s, await pair.teacher.sequence(context) as t:
        w, stop, unit = Writing(t, s, pair.match, rule, seed, *ends, theirs.vocab_size), None, None
        costs = t.cost, s.cost
        while stop is None:
            room = min(rule.max_tokens - w.n, most - len(t), ours.max_position - len(s))
            if room < 1:
                stop = Stop.LENGTH if w.n == rule.max_tokens else Stop.CONTEXT
                break
            room, unit = _affordable(replace(budget, calls=None), costs[0] + costs[1], room, longest, rule)
            if unit:
                stop = Stop.BUDGET
                break
            await extend(w, room)
            costs = _priced(t.cost, w.drawn[0], w.taken[0]), _priced(s.cost, w.drawn[1], w.taken[1])
            stop = Stop.EOS if w.tokens[-1].id in w.student_ends else None
        return Trace(ids, tuple(w.tokens), stop, *costs, unit)
