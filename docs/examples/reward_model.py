"""A reward model from scored answers: `python docs/examples/reward_model.py scored.jsonl pocket-1m runs/judge`.

Rows have `prompt` and `completion`, and either a `score` of any range, or `rejected`, an answer that was liked less.
"""

import json
import sys
from pathlib import Path

from reasonry.core import Message
from reasonry.lm.checkpoint import load_decoder
from reasonry.lm.load import model_folder
from reasonry.lm.reward_model import RewardModel, save_reward_model
from reasonry.lm.tokenizer import Tokenizer
from reasonry.train.reward_fit import Labelled, Preferred, fit_pairs, fit_scores


def fit(data: Path, model: str, out: Path, steps: int = 200) -> Path:
    """Fits and saves; the folder."""
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    folder = model_folder(model)
    judge = RewardModel(load_decoder(folder), Tokenizer.load(folder))
    if "rejected" in rows[0]:
        pairs = [Preferred((Message("user", r["prompt"]),), r["completion"], r["rejected"]) for r in rows]
        losses = fit_pairs(judge, pairs, steps)
    else:
        scored = [Labelled((Message("user", r["prompt"]),), r["completion"], r["score"]) for r in rows]
        losses = fit_scores(judge, scored, steps)
    for step, loss in enumerate(losses, 1):
        if step % 20 == 0:
            print(f"step {step} of {steps}: loss {loss:.3f}")
    return save_reward_model(judge, out)


if __name__ == "__main__":
    print(fit(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])) if len(sys.argv) == 4 else __doc__)
