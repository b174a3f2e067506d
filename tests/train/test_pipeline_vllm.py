"""vLLM as an engine: against a fake with the documented signatures; against a real one where `REASONRY_VLLM_PYTHON` names its Python."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from safetensors.numpy import load_file
from toy_lm import END, Characters, Digits, toy_decoder

from reasonry.core import Budget, Sampling, Stop, UserError
from reasonry.lm.tokenizer import Tokenizer
from reasonry.solve import build_solver
from reasonry.train.pipeline.vllm import VLLM
from reasonry.train.rollout import attempts


@dataclass
class Request:
    """Both of vLLM's request classes."""

    init_info: Mapping[str, Any] = field(default_factory=dict)
    update_info: Mapping[str, Any] = field(default_factory=dict)


class Kind(Enum):
    DELTA = 1


PACKAGE = SimpleNamespace(
    SamplingParams=lambda **given: SimpleNamespace(**given),
    sampling_params=SimpleNamespace(RequestOutputKind=Kind),
    distributed=SimpleNamespace(
        weight_transfer=SimpleNamespace(base=SimpleNamespace(WeightTransferInitRequest=Request, WeightTransferUpdateRequest=Request))
    ),
)


class Fake:
    """Answers 7 7 7 … one token at a time; while it is paused no token comes. Fails where a call comes out of turn."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running, self.seen = asyncio.Event(), asyncio.Event()
        self.running.set()
        self.weights: dict[str, Any] = {}
        self.params: Any = None

    async def generate(self, prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        self.params = params
        for i in range(params.max_tokens):
            await self.running.wait()
            await asyncio.sleep(0)
            token = END if i == 5 else 7
            last = token == END or i + 1 == params.max_tokens
            reason = None if not last else "stop" if token == END else "length"
            logprob = {token: SimpleNamespace(logprob=-0.5 - i)}
            self.seen.set() if i == 2 else None
            one = SimpleNamespace(token_ids=[token], logprobs=[logprob], text="", finish_reason=reason, stop_reason=None)
            yield SimpleNamespace(outputs=[one])
            if i == 2:
                await asyncio.sleep(0.05)
            if last:
                return

    async def init_weight_transfer_engine(self, request: Request) -> None:
        self.calls.append("init")

    async def pause_generation(self, *, mode: str, clear_cache: bool) -> None:
        assert (mode, clear_cache) == ("keep", False)
        self.running.clear()
        self.calls.append("pause")

    async def start_weight_update(self) -> None:
        assert not self.running.is_set()
        self.calls.append("start")

    async def update_weights(self, request: Request) -> None:
        assert self.calls[-1] == "start"
        self.weights = load_file(request.update_info["path"])
        self.calls.append("update")

    async def finish_weight_update(self) -> None:
        self.calls.append("finish")

    async def reset_prefix_cache(self) -> None:
        self.calls.append("reset")

    async def resume_generation(self) -> None:
        self.calls.append("resume")
        self.running.set()


def engine() -> tuple[Fake, VLLM]:
    fake = Fake()
    return fake, VLLM(fake, PACKAGE, cast(Tokenizer, Characters()), "toy", 512)


WEIGHTS = {name: p.detach().numpy() for name, p in toy_decoder().named_parameters()}
ROUND = ["pause", "start", "update", "finish", "reset", "resume"]


async def test_weights_change_under_a_request_and_its_tokens_say_so() -> None:
    """In the documented order, prefixes forgotten, the request kept; no token says it is newer than it is."""
    fake, lm = engine()
    asked = asyncio.create_task(lm.complete((1, 2), Sampling(max_tokens=9, temperature=0.7, seed=3)))
    await fake.seen.wait()
    await asyncio.sleep(0)
    await lm.take(WEIGHTS, 4)
    done = await asked
    assert fake.calls == ["init", *ROUND]
    assert done.ids == (7, 7, 7, 7, 7, END)
    assert done.versions == (0, 0, 0, 0, 4, 4), "the fourth came after the change, but may have been sampled before"
    assert done.sampler_logprobs == (-0.5, -1.5, -2.5, -3.5, -4.5, -5.5)
    assert (done.stop, done.prompt_ids, done.cost.completion_tokens) == (Stop.EOS, (1, 2), 6)
    assert (fake.params.temperature, fake.params.seed, fake.params.logprobs) == (0.7, 3, 0)
    await lm.take(WEIGHTS, 5)
    assert fake.calls == ["init", *ROUND, *ROUND]


async def test_weights_have_the_names_of_a_checkpoint() -> None:
    fake, lm = engine()
    await lm.take(WEIGHTS, 1)
    assert "model.embed_tokens.weight" in fake.weights
    assert "model.layers.0.self_attn.q_proj.weight" in fake.weights
    assert all((fake.weights[f"model.{name}"] == array).all() for name, array in WEIGHTS.items() if not name.startswith("lm_head"))


async def test_a_failed_update_leaves_the_engine_running_by_the_old_weights() -> None:
    fake, lm = engine()

    async def broken(request: Request) -> None:
        raise RuntimeError("no space")

    fake.update_weights = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no space"):
        await lm.take(WEIGHTS, 1)
    assert fake.running.is_set()
    assert lm.version == 0


async def test_a_solver_and_a_rollout_work_over_it() -> None:
    _, lm = engine()
    problem = Digits().problems()[7]
    made = await attempts(build_solver("single?max_tokens=3", lm, Digits()), Digits(), problem, 0, Budget(), 2, 0, lm.version)
    assert [t.answer for t in made.trajectories] == ["777", "777"]
    assert all(t.verdict and t.verdict.passed and t.stop is Stop.LENGTH for t in made.trajectories)


async def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match="top_logprobs"):
        await engine()[1].complete((1,), Sampling(top_logprobs=2))


def test_without_vllm_it_is_missed_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="vllm is not installed"):
        VLLM.load(Path("nowhere"), 8)


@pytest.mark.slow
@pytest.mark.timeout(960)
def test_the_real_engine_changes_weights_under_a_request(tmp_path: Path) -> None:
    """Runs `vllm_real.py` with the Python that has vLLM and this package."""
    python = os.environ.get("REASONRY_VLLM_PYTHON")
    if python is None:
        pytest.skip("REASONRY_VLLM_PYTHON names no Python with vLLM and reasonry")
    script = Path(__file__).parent / "vllm_real.py"
    done = subprocess.run([python, str(script), str(tmp_path)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ok" in done.stdout
