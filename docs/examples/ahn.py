"""A checkpoint with a window of 24 tokens and a memory for the rest: adapted, distilled for a moment, saved, used."""

import asyncio
import random
from tempfile import TemporaryDirectory

from reasonry.accel.ahn import Window, adapt, remember, save_adapter
from reasonry.accel.ahn.distil import Drawn, distil, pieces
from reasonry.core import Sampling
from reasonry.lm import load_lm
from reasonry.lm.local import LocalLM
from reasonry.tasks import load_task
from reasonry.tasks.skill import Skill


async def main() -> None:
    """Prints how near the patched model comes, and what it keeps."""
    task, rng = load_task("arithmetic?steps=3"), random.Random(0)
    lm = load_lm("pocket-1m")  # or the folder of a Qwen2, Qwen3 or Llama checkpoint
    assert isinstance(lm, LocalLM)
    assert isinstance(task, Skill)
    async with lm:
        chats = [task.demonstration(p, rng) for p in task.problems("train", 300, 0)]
        texts = [lm.tokenizer.encode(lm.tokenizer.render(chat)) for chat in chats]
        adapter = adapt(lm.decoder, "GatedDeltaNet")
        losses = list(distil(lm.decoder, adapter, pieces(texts, 64, 8), lr=3e-3, windows=Drawn((16, 24, 32), (0, 2))))
        early, late = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
        print(f"distance from full attention: {early:.2f} nats in the first ten steps, {late:.2f} in the last ten of {len(losses)}")
        async with remember(lm, adapter, Window(24, 2)) as short:
            problem = task.problems("test", 1, 0)[0]
            answer = await short.complete(problem.messages, Sampling(max_tokens=64, temperature=0))
            print(f"{answer.cost.peak_kv_bytes:,} bytes of memory for {answer.cost.tokens} tokens")
        with TemporaryDirectory() as folder:
            save_adapter(adapter, folder)  # the cells alone; load_adapter(lm.decoder, folder) takes them back


asyncio.run(main())
