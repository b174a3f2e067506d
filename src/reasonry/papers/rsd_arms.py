"""All that one seed of RSD's experiment measures: a student, traces of every kind for it, and what training on each makes of it."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import fmean

from reasonry.core import Ids, Problem, Sampling
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.lm.tokenizer import Tokenizer
from reasonry.papers.rsd_findings import (
    FEW,
    FOREIGNER,
    HAND,
    HARD,
    IN,
    LONGER,
    LOST,
    MASKED,
    NONE,
    OWN,
    PREFIXES,
    RARE,
    SIBLING,
    TEACHER,
    WHOLE,
    Found,
    Plan,
    Row,
    Solved,
    again,
    rsd,
)
from reasonry.papers.rsd_task import (
    HARDER,
    IN_STYLE,
    LEAST,
    SEEN,
    STUDENT,
    TEACHER_SHAPE,
    Sums,
    chatty,
    documents,
    doubting,
    foreign,
    mostly,
    plain,
    right,
    worked,
)
from reasonry.papers.taught import Teaching, characters, fresh, taught
from reasonry.synth.reverse_speculative import Rule, pair
from reasonry.synth.trace_set import Attempt, Choice, Maker, TraceRow, alone, approved, attempts, choose
from reasonry.train.sft import Example, adamw, cuts, fit, packed, packed_nll, warm_then_cosine

SAMPLING = Sampling(temperature=0.7, top_p=0.95)
CHATTY = 0.7
"""The share of B's steps in what the teacher was taught, and a quarter in what the student of another kind was."""
TRIALS, ANSWERS, TRAINING = 1, 2, 3
"""What a seed is for."""


@dataclass(frozen=True)
class Models:
    """Folders of the models that are one for all seeds."""

    teacher: Path
    sibling: Path
    foreigner: Path
    lost: Path
    """A teacher that writes digits nobody else knows."""


@dataclass(frozen=True)
class Traces:
    """What an arm is trained on, and how it was made."""

    examples: Sequence[Example]
    rows: Sequence[TraceRow] = ()
    made: Sequence[Attempt] = ()


def models(plan: Plan, folder: Path) -> Models:
    """Teaches them, or finds them taught."""
    tokenizer = characters()
    student, teacher = Teaching(plan.student, batch=plan.batch), Teaching(plan.teaching, batch=plan.batch)
    writes = documents(tokenizer, mostly(chatty, CHATTY), right, 999)
    of_a_kind, other = (
        documents(tokenizer, mostly(chatty, SEEN), doubting("b"), 900),
        documents(tokenizer, mostly(chatty, 0.25), doubting(""), 901),
    )
    return Models(
        taught(folder / "teacher", fresh(TEACHER_SHAPE, 999), tokenizer, writes, teacher, 999),
        taught(folder / "sibling", fresh(STUDENT, 900), tokenizer, of_a_kind, student, 900),
        taught(folder / "foreigner", fresh(STUDENT, 901), tokenizer, other, student, 901),
        taught(folder / "lost", fresh(STUDENT, 902), tokenizer, documents(tokenizer, foreign, right, 902), student, 902),
    )


def one_seed(plan: Plan, seed: int, folder: Path, others: Models) -> Found:
    """Everything of one seed."""
    tokenizer = characters()
    written = documents(tokenizer, mostly(chatty, SEEN), doubting(""), seed)
    start = taught(folder / "student", fresh(STUDENT, seed), tokenizer, written, Teaching(plan.student, batch=plan.batch), seed)
    return asyncio.run(_Arms(plan, seed, tokenizer, start, others).run())


class _Arms:
    """One seed's work; lives while it is done."""

    def __init__(self, plan: Plan, seed: int, tokenizer: Tokenizer, start: Path, others: Models) -> None:
        self.plan, self.seed, self.tokenizer, self.start, self.others = plan, seed, tokenizer, start, others
        self.task = Sums(HARDER, LEAST)
        self.problems = self.task.problems("train", plan.problems, seed)
        self.choice = Choice(trials=plan.trials, prefix=plan.prefix)
        self.rule = Rule(plan.p_th[1], max_tokens=plan.longest)
        self.rows: list[Row] = []
        self.solved: list[Solved] = []

    async def run(self) -> Found:
        plan, ours = self.plan, rsd(self.plan.p_th[1])
        async with AsyncExitStack() as stack:

            async def lm(decoder: Decoder, name: str) -> LocalLM:
                return await stack.enter_async_context(LocalLM(decoder, self.tokenizer, name, max_rows=128))

            student, teacher = await lm(load_decoder(self.start), "student"), await lm(load_decoder(self.others.teacher), "teacher")
            await self.judged(NONE, load_decoder(self.start))
            await self.judged("the teacher", load_decoder(self.others.teacher))
            arms: dict[str, Traces] = {HAND: Traces(self.by_hand())}
            arms[OWN] = await self.traces(alone(student, SAMPLING.with_(max_tokens=plan.longest), teacher=False), student)
            arms[TEACHER] = await self.traces(alone(teacher, SAMPLING.with_(max_tokens=plan.longest), teacher=True), student)
            arms[MASKED] = Traces([await self.masked(student, e) for e in arms[TEACHER].examples])
            for p_th in plan.p_th:
                rule = Rule(p_th, max_tokens=plan.longest)
                arms[rsd(p_th)] = await self.traces(approved(pair(teacher, student), rule), student)
            for name, of in ((SIBLING, self.others.sibling), (FOREIGNER, self.others.foreigner)):
                approver = await lm(load_decoder(of), name)
                arms[name] = await self.traces(approved(pair(teacher, approver), self.rule), approver)
            made = arms[ours].made
            arms[FEW] = self.chosen(made, Choice(trials=1, prefix=plan.prefix))
            arms[WHOLE] = self.chosen(made, Choice(trials=1, prefix=0))
            arms[PREFIXES] = self.chosen(made, Choice(trials=1, prefix=plan.prefix, whole=False))
            for arm, traces in arms.items():
                await self.told(arm, traces, student)
                await self.judged(arm, self.trained(load_decoder(self.start), traces.examples))
            await self.judged(LONGER, self.trained(load_decoder(self.start), arms[ours].examples, plan.rounds))
            lost = await lm(load_decoder(self.others.lost), "lost")
            await self.told(LOST, await self.traces(approved(pair(lost, student), self.rule), student), student)
            await self.repeated(arms[ours], teacher)
        return Found(self.rows, self.solved)

    async def repeated(self, first: Traces, teacher: LocalLM) -> None:
        """RSD with the student that the round before has trained as approver, from the second round on."""
        decoder = self.trained(load_decoder(self.start), first.examples)
        for r in range(2, self.plan.rounds + 1):
            async with LocalLM(decoder, self.tokenizer, again(r), max_rows=128) as student:
                traces = await self.traces(approved(pair(teacher, student), self.rule), student, r)
            async with LocalLM(load_decoder(self.start), self.tokenizer, "student", max_rows=128) as first_student:
                await self.told(again(r), traces, first_student)
            decoder = self.trained(decoder, traces.examples)
            await self.judged(again(r), decoder)

    async def traces(self, make: Maker, student: LocalLM, r: int = 1) -> Traces:
        """Attempts at the problems, chosen as every arm's are."""
        seed = 100 * self.seed + 10 * TRIALS + r
        return self.chosen(await attempts(make, student, self.task, self.problems, self.plan.trials, seed, at_once=128), self.choice)

    def chosen(self, made: Sequence[Attempt], choice: Choice) -> Traces:
        """The rows of a choice."""
        rows = choose(made, choice)
        return Traces([Example(r.ids, r.mask) for r in rows], rows, made)

    def by_hand(self) -> list[Example]:
        """The right working of every problem in the student's style: what no method has."""
        rng, made = random.Random(self.seed), list[Example]()
        for p in self.problems:
            prompt = self.tokenizer.encode(self.tokenizer.render(p.messages))
            said = (*self.tokenizer.encode(worked(p.meta["digits"], plain, right, rng)), *self.tokenizer.eos_ids[:1])
            made.append(Example((*prompt, *said), (False,) * len(prompt) + (True,) * len(said)))
        return made

    async def masked(self, student: LocalLM, e: Example) -> Example:
        """Without loss on what the student finds nearly impossible."""
        likely = (False, *(x >= math.log(RARE) for x in await student.score(e.ids[:1], e.ids[1:])))
        return Example(e.ids, tuple(on and sure for on, sure in zip(e.mask, likely, strict=True)))

    async def told(self, arm: str, traces: Traces, student: LocalLM) -> None:
        """What a data set is like, under the student as it was."""
        if traces.examples:
            scored = await asyncio.gather(*(student.score(e.ids[:1], e.ids[1:]) for e in traces.examples))
            logs = [x for e, found in zip(traces.examples, scored, strict=True) for on, x in zip(e.mask[1:], found, strict=True) if on]
            figures = {"rare tokens": fmean(x < math.log(RARE) for x in logs), "nats a token": -fmean(logs)}
            figures["tokens of a row"] = len(logs) / len(traces.examples)
        else:
            figures = {}
        if traces.made:
            made, rows = traces.made, traces.rows
            figures["right attempts"] = fmean(a.right for a in made)
            figures["fallback rate"] = fmean(a.fallback_rate for a in made)
            figures["whole traces"] = float(sum(r.kind == "whole" for r in rows))
            figures["beginnings"] = float(sum(r.kind == "prefix" for r in rows))
        self.rows += [Row(self.seed, arm, metric, value) for metric, value in figures.items()]

    def trained(self, decoder: Decoder, examples: Sequence[Example], times: int = 1) -> Decoder:
        """The student after so many steps on the examples, in the order of the seed; as it was where there are none."""
        if not examples:
            return decoder
        plan, steps = self.plan, self.plan.steps * times
        decoder.requires_grad_(True)
        lengths = [len(e.ids) for e in examples]
        order = (cut for epoch in count() for cut in cuts(lengths, plan.tokens, 100 * self.seed + 10 * TRAINING, epoch))
        stream = (packed([examples[i] for i in cut]) for cut in order)
        optimizers = adamw(decoder, plan.lr, 0.0)
        for _ in fit(decoder, optimizers, stream, lambda s: plan.lr * warm_then_cosine(s, 4, steps), range(steps), losses=packed_nll):
            pass
        return decoder.requires_grad_(False)

    async def judged(self, arm: str, decoder: Decoder) -> None:
        """Answers to the test problems, one each; and how sure the student is."""
        async with LocalLM(decoder, self.tokenizer, arm, max_rows=128) as lm:
            for kind, task in ((IN, Sums(IN_STYLE, LEAST)), (HARD, Sums(HARDER, HARDER))):
                asked = task.problems(self.plan.split, self.plan.test, 0)
                answers = await self.answers(lm, asked, SAMPLING)
                verdicts = {p.id: float(task.judge(p, text).passed is True) for p, (text, _, _) in zip(asked, answers, strict=True)}
                self.solved.append(Solved(self.seed, arm, kind, verdicts))
                self.rows.append(Row(self.seed, arm, f"tokens of an answer, {kind}", fmean(len(ids) for _, ids, _ in answers)))
            free = await self.answers(lm, Sums(IN_STYLE, LEAST).problems("validation", min(100, self.plan.test), 0), Sampling())
            logs = [x for _, _, found in free for x in found]
            self.rows.append(Row(self.seed, arm, "entropy, nats a token", -fmean(logs)))

    async def answers(self, lm: LocalLM, asked: Sequence[Problem], sampling: Sampling) -> list[tuple[str, Ids, Sequence[float]]]:
        """Text, ids and log-probabilities of an answer to each."""
        seeds = (10_000 * self.seed + 1000 * ANSWERS + i for i in range(len(asked)))
        wanted = (lm.complete(p.messages, sampling.with_(max_tokens=self.plan.longest, seed=s)) for p, s in zip(asked, seeds, strict=True))
        return [(c.text, c.ids or (), c.logprobs or ()) for c in await asyncio.gather(*wanted)]
