"""Steers the shipped model token by token: one greedy answer, and one that goes back where the model hesitated most."""

import asyncio

from reasonry.core import Message, Sampling
from reasonry.lm.engine.sequence import Sequence
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM

QUESTION = "take 92, add 26, then add 35, then add 2. what do you get?"


# --8<-- [start:steer]
async def go_on(seq: Sequence, ends: tuple[int, ...], most: int) -> float:
    """Samples greedily to the end of the turn; the log-probability of what was sampled."""
    total, greedy = 0.0, Sampling(temperature=0)
    for _ in range(most):
        before = (await seq.logits()).log_softmax(-1)
        id, _ = await seq.sample(greedy)
        total += before[id].item()
        if id in ends:
            break
    return total


async def second_thought(lm: LocalLM, question: str) -> None:
    """Answers, finds the token that was least certain, and answers again with the runner-up in its place."""
    prompt, ends = await lm.encode((Message("user", question),)), lm.tokenizer.eos_ids
    with await lm.sequence(prompt) as start, start.fork() as first:
        sure = await go_on(first, ends, 64)
        answer = first.ids[len(prompt) :]
        with start.fork() as walk:
            gaps = list[float]()
            for id in answer:
                best = (await walk.logits()).log_softmax(-1).topk(2).values
                gaps.append((best[0] - best[1]).item())
                await walk.append([id])
            at = min(range(len(answer)), key=gaps.__getitem__)
            walk.truncate(len(prompt) + at)
            other = int((await walk.logits()).topk(2).indices[1])
            await walk.append([other])
            doubt = await go_on(walk, ends, 64)
            print(f"first  {await lm.decode(answer)!r}: {sure:.2f}")
            print(f"second {await lm.decode(walk.ids[len(prompt) :])!r}: {doubt:.2f} after the fork")
        print(f"{start.cost.prefill_tokens + first.cost.prefill_tokens} tokens of the question computed, once for both")


# --8<-- [end:steer]


async def main() -> None:
    """Runs it."""
    lm = load_lm("pocket-1m")
    assert isinstance(lm, LocalLM)
    async with lm:
        await second_thought(lm, QUESTION)


if __name__ == "__main__":
    asyncio.run(main())
