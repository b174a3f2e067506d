"""Reward models: fitted, saved, loaded, equal to transformers', scoring a group as each answer alone; and one behind HTTP that fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from reasonry.core import Message, UserError
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.lm.endpoint import Retries
from reasonry.lm.likelihood import Likelihood
from reasonry.lm.load import model_folder
from reasonry.lm.reward_endpoint import RewardEndpoint
from reasonry.lm.reward_model import RewardModel, load_reward_model, save_reward_model
from reasonry.lm.scorer import load_scorer
from reasonry.lm.tokenizer import Tokenizer
from reasonry.nn.attention import causal

SHAPE = DecoderConfig(259, 32, 2, 4, 2, 8, 64, max_position=64, qk_norm=True)
TEMPLATE = "{% for m in messages %}{{ m.content }}<|im_start|>{% endfor %}"
ASK = (Message("user", "2+2"),)
ANSWERS = ["4", "2+2=4\n#### 4", "5", "", "4", "a longer answer of some forty characters"]


def model(seed: int = 0, **more: Any) -> RewardModel:
    decoder = Decoder(SHAPE)
    decoder.reset_parameters(torch.Generator().manual_seed(seed))
    made = RewardModel(decoder, Tokenizer.train([], 259, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TEMPLATE), **more)
    torch.nn.init.normal_(made.head.weight, generator=torch.Generator().manual_seed(seed))
    return made


def test_a_group_is_scored_as_each_answer_alone_however_it_is_batched() -> None:
    together = model().scores(ASK, ANSWERS)
    alone = [model().scores(ASK, [a]).values[0] for a in ANSWERS]
    assert together.values == pytest.approx(alone, abs=1e-5)
    assert model(tokens=1).scores(ASK, ANSWERS).values == pytest.approx(alone, abs=1e-5)
    assert together.values[0] == together.values[4]
    assert len(set(together.values)) == 5
    assert together.cost.verifier_calls == 5
    assert together.cost.prompt_tokens == sum(len(model().encode(ASK, a)) for a in set(ANSWERS))
    assert together.cost.flops > 0
    assert model().scores(ASK, []).values == ()


def test_it_is_one_pass_for_a_group() -> None:
    made, passes = model(), []
    made.trunk.register_forward_hook(lambda *_: passes.append(1))
    made.scores(ASK, ANSWERS)
    assert len(passes) == 1


def test_a_saved_one_scores_alike_here_and_in_transformers(tmp_path: Path) -> None:
    made = model()
    save_reward_model(made, tmp_path / "judge")
    loaded = load_reward_model(tmp_path / "judge")
    assert loaded.scores(ASK, ANSWERS).values == made.scores(ASK, ANSWERS).values
    assert loaded.name == "judge"
    assert isinstance(load_scorer(str(tmp_path / "judge"), "cpu"), RewardModel)
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge")
    for answer, value in zip(ANSWERS, made.scores(ASK, ANSWERS).values, strict=True):
        with torch.no_grad():
            logits = theirs(torch.tensor([made.encode(ASK, answer)])).logits
        assert float(logits[0, 0]) == pytest.approx(value, abs=1e-5)


def test_what_is_no_reward_model_is_refused_and_a_reward_model_is_no_language_model(tmp_path: Path) -> None:
    save_reward_model(model(), tmp_path / "judge")
    with pytest.raises(UserError, match=r"score\.weight"):
        load_decoder(tmp_path / "judge")
    with pytest.raises(UserError, match=r"has no score\.weight"):
        load_reward_model(model_folder("pocket-1m"))
    with pytest.raises(UserError, match="names no model"):
        load_scorer("http://127.0.0.1:1/v1")
    with pytest.raises(UserError, match="64 fit; shorten"):
        model().scores(ASK, ["x" * 80])


def test_a_language_model_scores_by_the_mean_log_probability_of_each_answer_by_itself() -> None:
    """Equal to reading it off the logits row by row; a likely answer beats an unlikely one under the shipped model."""
    scorer = load_scorer("pocket-1m", "cpu")
    assert isinstance(scorer, Likelihood)
    ask = (Message("user", "start with 17. add 25. what is the result?"),)
    answers = ["17+25=42\n#### 42", "17+25=57\n#### 57", "17+25=42\n#### 42", "no"]
    found = scorer.scores(ask, answers)
    prompt = scorer.tokenizer.encode(scorer.tokenizer.render(ask))
    for answer, value in zip(answers, found.values, strict=True):
        ids = torch.tensor([[*prompt, *scorer.tokenizer.encode(answer), min(scorer.tokenizer.eos_ids)]])
        with torch.no_grad():
            hidden = scorer.decoder(ids, torch.arange(ids.shape[1])[None], causal()).last
            logp = scorer.decoder.logits(hidden)[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0]
        assert value == pytest.approx(float(logp.mean()), abs=1e-4)
    first, second, *_ = found.values
    assert first is not None
    assert second is not None
    assert first > second
    assert found.cost.verifier_calls == 3


# Behind HTTP ----------------------------------------------------------------------------------------------------------------------------


class Pooling(BaseHTTPRequestHandler):
    """Scores an answer by its length, as a list of a value for each token; fails as the answer says."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))  # type: ignore[attr-defined]
        answer = body["messages"][-1]["content"]
        failing = {"down": 503, "refused": 404}.get(answer)
        data: object = float(len(answer)) if answer == "plain" else [[0.0], [float(len(answer))]]
        reply = {"data": [{"index": 0, "data": [] if answer == "empty" else data}], "usage": {"prompt_tokens": 7}}
        content = json.dumps({"error": {"message": "no such model"}} if failing else reply).encode()
        self.send_response(failing or 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Pooling)
    made.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def endpoint(server: ThreadingHTTPServer, attempts: int = 2) -> RewardEndpoint:
    return RewardEndpoint(f"http://127.0.0.1:{server.server_port}/v1", "rm", retries=Retries(attempts, 0.01, 0.1))


def test_an_endpoint_scores_chats_and_leaves_out_what_failed(server: ThreadingHTTPServer) -> None:
    """The last number counts; what fails after its retries has none, and the others keep theirs; the same answer is asked once."""
    found = endpoint(server).scores(ASK, ["four", "plain", "down", "four", "empty"])
    assert found.values == (4.0, 5.0, None, 4.0, None)
    asked = server.asked  # type: ignore[attr-defined]
    assert {path for path, _ in asked} == {"/pooling"}
    assert len(asked) == 4 + 1
    assert asked[0][1]["model"] == "rm"
    assert [m["role"] for m in asked[0][1]["messages"]] == ["user", "assistant"]
    assert (found.cost.verifier_calls, found.cost.prompt_tokens) == (4, 21)
    assert load_scorer(f"http://127.0.0.1:{server.server_port}/v1#rm").scores(ASK, ["four"]).values == (4.0,)


def test_a_refusal_is_raised_and_a_dead_server_is_a_missing_score(server: ThreadingHTTPServer) -> None:
    with pytest.raises(UserError, match="no such model"):
        endpoint(server).scores(ASK, ["refused"])
    dead = RewardEndpoint("http://127.0.0.1:9/v1", "rm", retries=Retries(1, 0.01, 0.1))
    assert dead.scores(ASK, ["four"]).values == (None,)
