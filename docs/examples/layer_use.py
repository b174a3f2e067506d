"""Which blocks inputs need: programs found by search, routers taught by them, a prompt through the blocks they choose."""

import asyncio
from tempfile import TemporaryDirectory

from reasonry.accel.drllm import fresh_routers, route, save_routers
from reasonry.accel.drllm.learn import Teaching, features, learn, optimizer_of
from reasonry.core import Sampling
from reasonry.evaluate.layer_data import search_programs, use_of
from reasonry.evaluate.layers_page import layers_text
from reasonry.lm import load_lm
from reasonry.lm.local import LocalLM
from reasonry.probe.layer_use import layer_use
from reasonry.solve.layer_search import Rules, tree
from reasonry.tasks import load_task


async def main() -> None:
    """Prints the map of a few questions, and what routers taught by it make of another."""
    task = load_task("arithmetic?steps=1")
    lm = load_lm("pocket-1m")  # or the folder of a Qwen2, Qwen3 or Llama checkpoint
    assert isinstance(lm, LocalLM)
    async with lm:
        problems = task.problems("train", 12, 0)
        found = await search_programs(lm, task, problems, tree, Rules(simulations=12, saving=1), max_tokens=16, seed=0)
        layers = lm.decoder.config.num_layers
        uses = [use_of(p, f, layers, "one step") for p, f in zip(problems, found, strict=True)]
        print(layers_text(layer_use(uses)))

        prompts = [await lm.encode(p.messages) for p in problems]
        routers = fresh_routers(lm.decoder, hidden=32)
        seen = features(lm.decoder, prompts, [u.counts for u in uses], routers.windows)
        losses = list(learn(routers, seen, Teaching(epochs=20, rows=4, lr=3e-3), optimizer_of(routers, 0.01)))
        print(f"\nrouters: loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps")
        with TemporaryDirectory() as folder:
            save_routers(routers, folder)  # load_routers(lm.decoder, folder) takes them back
        async with route(lm, routers) as routed:
            question = task.problems("test", 1, 0)[0]
            short = await routed.complete(question.messages, Sampling(max_tokens=16, temperature=0))
            long = await lm.complete(question.messages, Sampling(max_tokens=16, temperature=0))
            for name, made in (("whole network", long), ("routed", short)):
                right = task.judge(question, made.text).passed
                print(f"{name}: {made.cost.layers_run} blocks run, {'right' if right else 'wrong'}")
    # The built-in case where it fails: pocket-1m was not taught to bear skips. Programs are found, but other questions need other ones.


asyncio.run(main())
