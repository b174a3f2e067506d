"""Thinking along several paths at once: what is computed, what a vote would give, and what a step costs by its width.

Run it as it is: python docs/examples/parallel_thinking.py
"""

from __future__ import annotations

import asyncio

from reasonry.core import Budget, Sampling
from reasonry.lm import load_lm
from reasonry.lm.local import LocalLM
from reasonry.lm.thoughts import equipped
from reasonry.solve.delethink_cost import R1_DISTILL_1_5B
from reasonry.solve.parathinker import last_finish
from reasonry.solve.parathinker_cost import decoding_step
from reasonry.solve.parathinker_solver import ParaThinker, reread, reuse
from reasonry.solve.parathinker_vote import vote_chances
from reasonry.tasks import load_task


async def main() -> None:
    """The same three paths with three ends: read as they are, handed to the model once more, put to a vote."""
    task = load_task("arithmetic")
    problem = task.problems("test", 1)[0]
    pocket = load_lm("pocket-1m")
    assert isinstance(pocket, LocalLM)
    print(problem.prompt)

    # --8<-- [start:solver]
    decoder, tokenizer = equipped(pocket.decoder, pocket.tokenizer, tags=4)  # thought embeddings at zero: to be trained
    async with LocalLM(decoder, tokenizer, "pocket-1m with four paths") as lm:
        for fuse in (reuse, reread, None):
            solver = ParaThinker(lm, task, P=4, B=40, enough=last_finish, fuse=fuse, lead="#### ", sampling=Sampling(max_tokens=8))
            t = await solver(problem, Budget(), seed=0)
            spent = f"{t.cost.prefill_tokens} tokens read, {t.cost.completion_tokens} sampled, {t.meta['steps']} steps"
            print(f"{t.meta['mode']}: paths said {t.meta['answers']}, answer {task.extract(t.answer)}; {spent}")
    # --8<-- [end:solver]
    await pocket.close()


asyncio.run(main())

print("\nFour paths, each right with chance 0.3; the others all say the same wrong thing, or never the same:")
for wrong in ((0.7,), (0.07,) * 10):
    print(f"  the vote is right with chance {vote_chances((0.3, *wrong), 4)[0]:.2f}, and one path at least with {1 - 0.7**4:.2f}")

print("\nA decoding step of a model of 1.5 billion weights, 200 tokens of prompt and 4096 of every path, against one path's:")
one = decoding_step(R1_DISTILL_1_5B, 1, 200, 4096)
for P in (2, 4, 8, 16):
    step = decoding_step(R1_DISTILL_1_5B, P, 200, 4096)
    print(f"  {P:2d} paths: {step.bytes / one.bytes:.2f} times the bytes, {step.flops / one.flops:.1f} times the arithmetic")
