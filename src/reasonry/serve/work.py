"""What a request makes happen: calls of a plain model, or attempts of a solver; whole, or stretch by stretch.

Seeds: the first choice of a prompt uses the request's seed as it is, so that it equals the same call made in process; choice j uses
`inner_seed(seed, j)`. Counts: for a plain model a prompt is counted once, however many choices it has, as OpenAI counts it; for a
solver every inner call's prompt is counted. `max_tokens` bounds a plain model's answer, and all tokens a solver samples.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from reasonry.core import LM, Budget, Completion, Cost, Ids, Message, Problem, Prompt, Sampling, Solver, Stop
from reasonry.lm.local import LocalLM
from reasonry.serve.catalogue import Catalogue
from reasonry.serve.errors import Refusal
from reasonry.serve.replies import Choice, Form, Tokens
from reasonry.serve.requests import Ask
from reasonry.serve.stream import Source
from reasonry.solve import inner_seed

LEGACY_TOKENS = 16
"""`max_tokens` of /v1/completions where the request names none, as OpenAI has it."""

CHAT_TOKENS = 1024
"""The same of /v1/chat/completions, where the model's window is not known; else it is what the window leaves."""


@dataclass(frozen=True)
class Work:
    """One request, ready to run. Made by `prepare`, run once, by `whole` or by `sources`."""

    form: Form
    lm: LM
    solver: Solver | None
    prompts: tuple[Prompt, ...]
    """Token ids already, where the model is local and no solver wants the words."""

    async def whole(self) -> tuple[list[Choice], Cost]:
        """All choices in order, and what they cost together."""
        tasks = [asyncio.ensure_future(self._choice(index)) for index in range(self._count)]
        try:
            done = await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # one that failed takes the others with it
                task.cancel()
        return [choice for choice, _ in done], self.total([cost for _, cost in done])

    def sources(self) -> list[Source]:
        """One source per choice. Only a plain local model speaks token by token; what else there is speaks when it is done."""
        grows = self.solver is None and isinstance(self.lm, LocalLM)
        return [self._stretches(index) if grows else self._at_once(index) for index in range(self._count)]

    def total(self, costs: Sequence[Cost]) -> Cost:
        """The choices' costs as one; they ran side by side."""
        together = reduce(Cost.__or__, costs)
        return together if self.solver else replace(together, prompt_tokens=together.prompt_tokens // self.form.ask.n)

    @property
    def _count(self) -> int:
        return len(self.prompts) * self.form.ask.n

    def _place(self, index: int) -> tuple[Prompt, int | None]:
        """The prompt and the seed of a choice."""
        i, j = divmod(index, self.form.ask.n)
        seed = self.form.ask.sampling.seed
        return self.prompts[i], seed if seed is None or j == 0 else inner_seed(seed, j)

    async def _at_once(self, index: int) -> Source:
        choice, cost = await self._choice(index)
        yield choice
        yield cost

    async def _choice(self, index: int) -> tuple[Choice, Cost]:
        return await (self._call(index) if self.solver is None else self._attempt(index, self.solver))

    async def _attempt(self, index: int, solver: Solver) -> tuple[Choice, Cost]:
        prompt, seed = self._place(index)
        ask = self.form.ask
        budget = ask.budget or Budget()
        if ask.max_tokens is not None:
            limits = (ask.max_tokens, budget.completion_tokens)
            budget = replace(budget, completion_tokens=min(limit for limit in limits if limit is not None))
        words = prompt if isinstance(prompt, str) else tuple(m for m in prompt if not isinstance(m, int))
        trace = await solver(Problem(f"choice-{index}", words), budget, secrets.randbelow(2**31) if seed is None else seed)
        if trace.stop is None or trace.stop is Stop.ERROR:
            raise Refusal(trace.error or f"{solver.name} ended without an answer", code="solver_failed", status=500)
        return Choice(index, trace.answer, trace.stop), trace.cost

    async def _call(self, index: int) -> tuple[Choice, Cost]:
        prompt, sampling = self._call_of(index)
        ask = self.form.ask
        nothing = Completion("", Stop.LENGTH, Cost(prompt_tokens=len(prompt)), ids=(), logprobs=(), top_logprobs=())
        done = await self.lm.complete(prompt, sampling) if sampling.max_tokens else nothing
        choice, cost = self._told(index, done, sampling), done.cost
        if isinstance(self.lm, LocalLM) and (ask.prompt_logprobs is not None or (ask.echo and ask.logprobs is not None)):
            before, spent = await _prompt_tokens(self.lm, _ids(prompt), max(ask.prompt_logprobs or 0, ask.logprobs or 0))
            cost += replace(spent, prompt_tokens=0)
            choice = replace(choice, prompt_tokens=before if ask.prompt_logprobs is not None else None)
            if ask.echo and choice.tokens is not None:
                choice = replace(choice, tokens=before + choice.tokens)
        if ask.echo:
            asked = ask.prompts[index // ask.n]
            choice = replace(choice, text=(asked if isinstance(asked, str) else await self.lm.decode(_ids(asked))) + choice.text)
        return choice, cost

    async def _stretches(self, index: int) -> Source:
        """A local model's choice as it grows: the text certain so far, with the tokens behind it."""
        prompt, sampling = self._call_of(index)
        lm, ask, text = self.lm, self.form.ask, ""
        assert isinstance(lm, LocalLM)
        async for item in lm.stream(prompt, sampling):
            if isinstance(item, Completion):
                whole = self._told(index, item, sampling)
                yield Choice(index, "", whole.stop, whole.stop_reason, ids=())
                yield item.cost
                return
            if not item.text and not ask.token_ids and ask.logprobs is None:
                continue
            tokens = None if ask.logprobs is None else Tokens(item.ids, item.logprobs, item.top_logprobs or (None,) * len(item.ids))
            yield Choice(index, item.text, None, prompt_ids=_ids(prompt), ids=item.ids, tokens=tokens, text_before=text)
            text += item.text

    def _call_of(self, index: int) -> tuple[Prompt, Sampling]:
        """The prompt and the sampling of a choice; `max_tokens` is the request's, or what a known window leaves, or a fixed number."""
        prompt, seed = self._place(index)
        ask = self.form.ask
        if ask.max_tokens is not None or not ask.chat:
            limit = LEGACY_TOKENS if ask.max_tokens is None else ask.max_tokens
        else:
            limit = window(self.lm) - len(prompt) if isinstance(self.lm, LocalLM) else CHAT_TOKENS
        return prompt, ask.sampling.with_(seed=seed, max_tokens=limit)

    def _told(self, index: int, done: Completion, sampling: Sampling) -> Choice:
        """A completion as a choice. Raises Refusal where the model behind did not give what the request asks for."""
        ask, tokens = self.form.ask, None
        if ask.token_ids and done.ids is None:
            raise Refusal(f"{self.lm.name} gives no token ids; leave out return_token_ids", "return_token_ids")
        if ask.logprobs is not None:
            if done.ids is None or done.logprobs is None or (ask.logprobs and done.top_logprobs is None and done.ids):
                raise Refusal(f"{self.lm.name} gives no log-probabilities by token id; leave out logprobs", "logprobs")
            tokens = Tokens(done.ids, done.logprobs, done.top_logprobs or (None,) * len(done.ids))
        return Choice(index, done.text, done.stop, self._stop_reason(done, sampling), done.prompt_ids, done.ids, tokens)

    def _stop_reason(self, done: Completion, sampling: Sampling) -> str | int | None:
        """The stop id or string that ended a completion; `None` for the end of turn, or where it cannot be told."""
        if done.stop is not Stop.STOP:
            return None
        if done.ids and done.ids[-1] in sampling.stop_token_ids:
            return done.ids[-1]
        if isinstance(self.lm, LocalLM) and done.ids:
            rest = self.lm.tokenizer.decode(done.ids)[len(done.text) :]
            return next((s for s in sampling.stop if rest.startswith(s)), None)
        return sampling.stop[0] if len(sampling.stop) == 1 else None


async def prepare(ask: Ask, catalogue: Catalogue) -> Work:
    """Finds the model and checks what only it can tell. Raises Refusal before anything is computed."""
    lm, solver = catalogue.find(ask)
    if solver and not all(isinstance(p, str) or isinstance(p[0], Message) for p in ask.prompts):
        raise Refusal("prompt holds token ids, but a solver reads words; send text or messages", "prompt")
    if not isinstance(lm, LocalLM):
        asked = {
            "prompt_logprobs": ask.prompt_logprobs is not None,
            "echo": ask.echo and (ask.logprobs is not None or not all(isinstance(p, str) for p in ask.prompts)),
            "max_tokens": ask.max_tokens == 0,
            "logprobs": ask.logprobs is not None and not ask.names_as_ids,
        }
        if odd := next((field for field, wanted in asked.items() if wanted), None):
            more = "; set return_tokens_as_token_ids, or leave it out" if odd == "logprobs" else "; leave it out"
            raise Refusal(f"{odd} is not offered for {lm.name}, which this server only passes on to{more}", odd)
        return Work(Form(ask, None), lm, solver, ask.prompts)
    prompts = [await lm.encode(prompt) for prompt in ask.prompts]
    for ids in prompts:
        if bad := [i for i in ids if not 0 <= i < lm.decoder.config.vocab_size]:
            raise Refusal(f"prompt holds the token id {bad[0]}; {lm.name} has ids from 0 to {lm.decoder.config.vocab_size - 1}", "prompt")
        least = 0 if ask.max_tokens == 0 else 1
        if len(ids) + least > window(lm):
            message = f"the prompt has {len(ids)} tokens and {lm.name} holds {window(lm)}, answer included; shorten the prompt"
            raise Refusal(message, "messages" if ask.chat else "prompt", "context_length_exceeded")
    return Work(Form(ask, lm.tokenizer), lm, solver, ask.prompts if solver else tuple(prompts))


def window(lm: LocalLM) -> int:
    """The most tokens one context of a local model can hold: its own window, or less where its memory is smaller."""
    return min(lm.decoder.config.max_position, lm.engine.pool.size)


async def _prompt_tokens(lm: LocalLM, ids: Ids, k: int) -> tuple[Tokens, Cost]:
    """A prompt with the log-probability of each token after the first, and k alternatives."""
    found = await lm.score_prompt(ids, k)
    return Tokens(ids, (None, *found.logprobs), (None, *(found.top_logprobs or (None,) * len(found.logprobs)))), found.cost


def _ids(prompt: Prompt) -> Ids:
    return tuple(i for i in prompt if isinstance(i, int))
