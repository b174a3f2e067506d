"""Best of n chooses among answers."""

from scripted_lm import Digits

from reasonry.core import Budget, Completion, Cost, Problem, Sampling, Stop
from reasonry.solve import BestOfN


class Fragments:
    """Three answers, the last one cut off after a token that was nearly certain."""

    name = "fragments"
    texts = (("so\n#### 4", -0.9, Stop.EOS), ("so\n#### 5", -0.4, Stop.EOS), ("so", -0.001, Stop.LENGTH))

    def __init__(self, *order: int) -> None:
        self.left = [self.texts[i] for i in order]

    async def encode(self, prompt):
        return (1,)

    async def decode(self, ids):
        return ""

    async def complete(self, prompt, sampling: Sampling) -> Completion:
        text, logprob, stop = self.left.pop(0)
        return Completion(text, stop, Cost(1, 1, 1, 1), (1,), (2,), (logprob,), (logprob,))


async def test_a_cut_off_text_is_never_taken_over_an_answer():
    """Its mean log-probability is the highest of all, for it had no time to be unlikely."""
    trace = await BestOfN(Fragments(0, 1, 2), Digits(), n=3)(Problem("p", "digit?", "5"), Budget(), 0)
    assert trace.answer.endswith("#### 5")
    assert trace.meta["chosen"] == 1
    assert trace.meta["scores"] == [-0.9, -0.4, -0.001]


async def test_where_no_text_holds_an_answer_the_likeliest_is_taken():
    lm = Fragments(2, 2)
    trace = await BestOfN(lm, Digits(), n=2)(Problem("p", "digit?", "5"), Budget(), 0)
    assert trace.answer == "so"
    assert trace.meta["chosen"] == 0
