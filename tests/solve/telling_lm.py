"""A stand-in for a chat model: what it says is a function of what it is asked; stops at stop strings as servers do."""

from collections.abc import Callable
from dataclasses import dataclass, field

from reasonry.core import Completion, Cost, Ids, Message, Prompt, Sampling, Stop

Say = Callable[[tuple[Message, ...], Sampling], str]


@dataclass
class TellingLM:
    """Says `say(messages, sampling)`, counts a word as a token, and keeps what it was asked."""

    say: Say
    name: str = "telling"
    asked: list[tuple[Message, ...]] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    async def encode(self, prompt: Prompt) -> Ids:
        return tuple(range(sum(len(m.content.split()) for m in _messages(prompt))))

    async def decode(self, ids: Ids) -> str:
        raise NotImplementedError

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        messages = _messages(prompt)
        self.asked.append(messages)
        text, stop = self.say(messages, sampling), Stop.EOS
        at = min((i for s in sampling.stop if (i := text.find(s)) >= 0), default=None)
        if at is not None:
            text, stop = text[:at], Stop.STOP
        words = text.split(" ")
        if len(words) > sampling.max_tokens:
            text, stop = " ".join(words[: sampling.max_tokens]), Stop.LENGTH
        cost = Cost(len(await self.encode(messages)), min(len(words), sampling.max_tokens), calls=1)
        self.costs.append(cost)
        return Completion(text, stop, cost)


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    assert not isinstance(prompt, str)
    return tuple(m for m in prompt if isinstance(m, Message))


def turns(*texts: str) -> Say:
    """One text after another, however it is asked; the last for ever."""
    left = list(texts)
    return lambda messages, sampling: left.pop(0) if len(left) > 1 else left[0]
