"""Stand-ins for a model, a task and a solver whose every answer follows from the seed: no network, no weights."""

import asyncio
from dataclasses import dataclass, field
from hashlib import blake2b

from reasonry.core import Budget, Completion, Cost, Ids, Problem, Prompt, Sampling, Segment, Stop, Task, Trajectory, Verdict


def draw(*parts: object) -> float:
    """A number in [0, 1) that follows from the parts."""
    return int.from_bytes(blake2b("|".join(map(str, parts)).encode(), digest_size=6).digest(), "big") / 2**48


@dataclass(frozen=True)
class Sums:
    """Additions; the answer is the text after `#### `."""

    name: str = "sums"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        return [Problem(id=f"{split}-{i:04d}", prompt=f"What is {i} + {i + 1}?", answer=str(2 * i + 1)) for i in range(n or 20)]

    def extract(self, text: str) -> str | None:
        return text.rpartition("#### ")[2].strip() if "#### " in text else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        read = self.extract(answer)
        passed = read == problem.answer
        return Verdict(float(passed), passed, f"{read} against {problem.answer}", read)


@dataclass(frozen=True)
class ScriptedLM:
    """Answers `What is a + b?` correctly with chance `skill`, in words of one id each; the seed decides everything."""

    skill: float = 0.6
    seconds: float = 0.0
    name: str = "scripted"
    calls: list[int] = field(default_factory=list)

    async def encode(self, prompt: Prompt) -> Ids:
        return tuple(range(len(_words(prompt))))

    async def decode(self, ids: Ids) -> str:
        return " ".join(map(str, ids))

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        self.calls.append(1)
        if self.seconds:
            await asyncio.sleep(self.seconds * draw("wait", sampling.seed))
        words = _words(prompt)
        a, b = (int(w.strip("?")) for w in words if w.strip("?").isdigit())
        right = draw("right", sampling.seed, a) < self.skill
        text = f"I add {a} and {b}\n#### {a + b if right else a + b + 1 + int(3 * draw('slip', sampling.seed))}"
        ids = tuple(range(2 + int(draw("length", sampling.seed, a) * 30)))
        room = sampling.max_tokens
        stop = Stop.EOS if len(ids) <= room else Stop.LENGTH
        ids, text = ids[:room], text if stop is Stop.EOS else "I add"
        cost = Cost(
            prompt_tokens=len(words),
            prefill_tokens=len(words),
            completion_tokens=len(ids),
            calls=1,
            flops=0.1 * len(ids),
            peak_kv_bytes=len(ids),
        )
        return Completion(text, stop, cost, prompt_ids=tuple(range(len(words))), ids=ids, logprobs=(-0.5,) * len(ids))


def _words(prompt: Prompt) -> list[str]:
    return (prompt if isinstance(prompt, str) else " ".join(m.content for m in prompt if not isinstance(m, int))).split()


@dataclass(frozen=True)
class Votes:
    """`n` calls, the most frequent answer; a stand-in for any solver."""

    lm: ScriptedLM
    task: Task
    n: int = 1
    name: str = "single"

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        trace = Trajectory(problem.id)
        for i in range(self.n):
            if unit := budget.spent(trace.cost):
                return trace.finish(Stop.BUDGET, self._vote(trace), spent=unit)
            room = budget.left(trace.cost).room(64, prompt_tokens=5)
            trace = trace.add(
                Segment.of(await self.lm.complete(problem.messages, Sampling(max_tokens=room, seed=seed + i)), model=self.lm.name)
            )
        return trace.finish(trace.segments[-1].stop, self._vote(trace))

    def _vote(self, trace: Trajectory) -> str:
        votes = [a for s in trace.segments if (a := self.task.extract(s.text)) is not None]
        return f"#### {max(votes, key=votes.count)}" if votes else ""
