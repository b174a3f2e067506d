"""vLLM as a worker's engine: `core.LM` over its `AsyncLLM`, weights changed under requests that are under way.

Written against vLLM's documentation of asynchronous RL and of weight transfer (0.32, docs.vllm.ai): `pause_generation(mode="keep",
clear_cache=False)` holds requests with their keys; `start_weight_update`, `update_weights`, `finish_weight_update` bring the weights;
`reset_prefix_cache` forgets prefixes of the old ones, which the pause leaves; `resume_generation` goes on. `init_weight_transfer_engine` is
called once.

Weights come through Ray's object store, so neither NCCL nor CUDA's handles fit: they are written once into a file in shared memory, and
vLLM's own processes read it with the transfer engine of `vllm_files`, a registered one as the documentation describes. Our weights are
fp32; vLLM keeps the type it was started with (float32 here).

A token is numbered with the version in use when the one before it came: it may have been sampled just before the weights changed and
handed out after, and what is said to be older than it is costs nothing, the reverse would break the bound on staleness.
`Completion.logprobs` are asked of vLLM as it samples (`processed_logprobs`), so they are those of the temperature.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reasonry.core import Completion, Cost, Ids, Message, Prompt, Sampling, Stop, UserError
from reasonry.lm.tokenizer import Tokenizer

SHARED = Path("/dev/shm")
"""Memory that looks like a folder; where there is none, the system's temporary folder is used."""
BACKEND = "reasonry-files"
"""The name under which `vllm_files` registers."""


class VLLM:
    """One vLLM engine. Made in the process that uses it, from one event loop."""

    def __init__(self, engine: Any, vllm: Any, tokenizer: Tokenizer, name: str, window: int) -> None:
        """`engine` is an `AsyncLLM`, `vllm` the package (for its request types), `window` the model's context in tokens."""
        self._engine, self._vllm, self.tokenizer, self._name, self._window = engine, vllm, tokenizer, name, window
        self.version = 0
        """Of the weights in use."""
        self._requests = count()
        self._ready = False
        self._folder = TemporaryDirectory(dir=SHARED if SHARED.is_dir() else None)

    @classmethod
    def load(cls, folder: Path, rows: int, memory: float = 0.9) -> VLLM:
        """Starts an engine on a checkpoint folder; it takes a share `memory` of its device's. Raises UserError where vLLM is not
        installed."""
        try:
            import vllm  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError("engine: vllm is not installed beside reasonry; install it there, or set engine = local") from error
        from vllm.config import WeightTransferConfig  # pyright: ignore[reportMissingImports]

        from reasonry.train.pipeline.vllm_files import register

        register()
        args = vllm.AsyncEngineArgs(
            model=str(folder), dtype="float32", max_num_seqs=rows, gpu_memory_utilization=memory, logprobs_mode="processed_logprobs",
            weight_transfer_config=WeightTransferConfig(backend=BACKEND),
            worker_extension_cls="reasonry.train.pipeline.vllm_files.Registers",
        )  # fmt: skip
        engine = vllm.AsyncLLMEngine.from_engine_args(args)
        return cls(engine, vllm, Tokenizer.load(folder), folder.name, engine.model_config.max_model_len)

    @property
    def name(self) -> str:
        """Of the checkpoint's folder."""
        return self._name

    async def encode(self, prompt: Prompt) -> Ids:
        """Token ids by our tokenizer, as `LocalLM` gives them: what is sampled there is trained here."""
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, special=True)
        if prompt and all(isinstance(item, Message) for item in prompt):
            return self.tokenizer.encode(self.tokenizer.render(prompt))  # type: ignore[arg-type]  # messages, as just seen
        return tuple(prompt)  # type: ignore[arg-type]  # ids

    async def decode(self, ids: Ids) -> str:
        """The text of token ids, special tokens left out."""
        return self.tokenizer.decode(ids)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Samples one completion, its tokens numbered with the weights they come from. Cancelling it aborts the request."""
        if sampling.top_logprobs:
            raise UserError("sampling: top_logprobs are not read from vLLM while training; leave them out")
        began, context = time.perf_counter(), await self.encode(prompt)
        params = self._vllm.SamplingParams(
            max_tokens=sampling.max_tokens, temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k or 0,
            min_p=sampling.min_p, seed=sampling.seed, stop=list(sampling.stop), stop_token_ids=[*sampling.stop_token_ids],
            ignore_eos=sampling.ignore_eos, logprobs=0, detokenize=bool(sampling.stop),
            output_kind=self._vllm.sampling_params.RequestOutputKind.DELTA,
        )  # fmt: skip
        ids: list[int] = []
        logprobs: list[float] = []
        versions: list[int] = []
        text, last, before = "", None, self.version
        async for output in self._engine.generate({"prompt_token_ids": list(context)}, params, f"{self._name}-{next(self._requests)}"):
            last = output.outputs[0]
            new = list(last.token_ids)
            ids += new
            logprobs += [at[token].logprob for at, token in zip(last.logprobs or (), new, strict=True)]
            versions += [before] * len(new)
            before = self.version
            text += last.text or ""
        assert last is not None
        return Completion(
            text=text if sampling.stop else self.tokenizer.decode(tuple(ids)),
            stop=self._stop(last, len(context) + len(ids), sampling),
            cost=Cost(prompt_tokens=len(context), completion_tokens=len(ids), calls=1, seconds=time.perf_counter() - began),
            prompt_ids=context,
            ids=tuple(ids),
            logprobs=tuple(logprobs),
            sampler_logprobs=tuple(logprobs),
            versions=tuple(versions),
        )

    async def take(self, weights: Mapping[str, Any], version: int) -> None:
        """Changes the weights under what is being sampled: requests and their keys stay, prefixes of the old weights are forgotten."""
        from safetensors.numpy import save_file

        path = Path(self._folder.name) / f"{version}.safetensors"
        save_file({_stored(name): array for name, array in weights.items()}, path)
        base = self._vllm.distributed.weight_transfer.base
        try:
            if not self._ready:
                await self._engine.init_weight_transfer_engine(base.WeightTransferInitRequest(init_info={}))
                self._ready = True
            await self._engine.pause_generation(mode="keep", clear_cache=False)
            try:
                await self._engine.start_weight_update()
                await self._engine.update_weights(base.WeightTransferUpdateRequest(update_info={"path": str(path)}))
                await self._engine.finish_weight_update()
                await self._engine.reset_prefix_cache()
                self.version = version
            finally:
                await self._engine.resume_generation()
        finally:
            path.unlink(missing_ok=True)

    def _stop(self, last: Any, tokens: int, sampling: Sampling) -> Stop:
        """vLLM's reason in our words."""
        if last.finish_reason == "length":
            return Stop.CONTEXT if tokens >= self._window else Stop.LENGTH
        if last.finish_reason == "abort":
            return Stop.CANCELLED
        named = last.stop_reason is not None and (isinstance(last.stop_reason, str) or last.stop_reason in sampling.stop_token_ids)
        return Stop.STOP if named else Stop.EOS


def _stored(name: str) -> str:
    """Our name of a weight as a Hugging Face checkpoint has it."""
    return name if name.startswith("lm_head.") else f"model.{name}"
