"""What vLLM's own processes load: a weight-transfer engine that reads a safetensors file, and the class by which they come to know it.

vLLM's documentation ("Base Class and Custom Engines") asks for a subclass of `WeightTransferEngine`, registered by name in each of its
processes; a worker extension is imported in each, so registering is what importing it does. Weights by their checkpoint names go through
vLLM's layerwise reloading, as in its own engines.

This file imports vLLM and is imported only where vLLM is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load_file
from vllm.distributed.weight_transfer.base import (  # pyright: ignore[reportMissingImports]
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory  # pyright: ignore[reportMissingImports]
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding  # pyright: ignore[reportMissingImports]
from vllm.model_executor.model_loader.reload import (  # pyright: ignore[reportMissingImports]
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from reasonry.train.pipeline.vllm import BACKEND


@dataclass
class Nothing(WeightTransferInitInfo):
    """A file needs no meeting."""


@dataclass
class File(WeightTransferUpdateInfo):
    """Where the weights are."""

    path: str


class Files(WeightTransferEngine):
    """Reads one file an update."""

    init_info_cls = Nothing
    update_info_cls = File

    def init_transfer_engine(self, init_info: Nothing) -> None:
        """Nothing to do."""

    def start_weight_update(self) -> None:
        """Gets the model's layers ready to be loaded again."""
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: File) -> None:
        """Loads the file."""
        self.model.load_weights(iter(load_file(update_info.path).items()))

    def finish_weight_update(self) -> None:
        """Puts the layers in the form they compute with.

        On a CPU vLLM 0.32 multiplies by a packed copy of the output head, which reloading leaves as it was; so it is packed again.
        """
        finalize_layerwise_reload(self.model, self.model_config)
        for module in self.model.modules():
            if isinstance(module, VocabParallelEmbedding) and hasattr(module, "cpu_linear"):
                module.quant_method.process_weights_after_loading(module)

    def shutdown(self) -> None:
        """Nothing to do."""

    @staticmethod
    def trainer_send_weights(iterator: Iterator[Any], trainer_args: dict[str, Any] | Any) -> None:
        """Never called here, as vLLM's base class demands it: the trainer writes the file itself (`VLLM.take`)."""
        raise RuntimeError("weights reach vLLM as files that VLLM.take writes, not from an iterator; use VLLM.take")


def register() -> None:
    """Makes `Files` known in this process, once."""
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, Files)


class Registers:
    """A worker extension without methods."""


register()
