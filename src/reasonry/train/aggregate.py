"""How summed per-token losses of flat rows become the loss of whole attempts.

An attempt of several segments (Delethink's chunks, an agent's turns) is trained as independent rows, one per segment. Invariant: with the
right divisor per row, the mean over rows *is* the nested sum over attempts, to rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def trace_length_divisors(tokens: Sequence[int], trace: Sequence[int], correct: bool = True) -> list[float]:
    """What each row's summed loss is divided by, for the trace-length mean (1/G) Σ_g (1/ℓ_g) Σ_l Σ_t of Delethink (arXiv 2510.06557).

    `tokens[r]` is how many tokens row r trains, `trace[r]` which trace it belongs to; ℓ_g is the trace's tokens over all its rows. The
    divisor is ℓ · (traces / rows), the official trainer's flat-batch correction: with it the mean over rows equals the sum above. Without
    it (`correct` false) the loss is smaller by the factor traces / rows, which silently changes the learning rate. Raises ValueError for
    a trace without tokens.
    """
    length = Counter[int]()
    for n, g in zip(tokens, trace, strict=True):
        length[g] += n
    if not all(length[g] > 0 for g in trace):
        raise ValueError(f"every trace needs a token to train, but their lengths are {dict(length)}")
    ratio = len(length) / len(tokens) if correct and tokens else 1.0
    return [length[g] * ratio for g in trace]
