"""Seeds derived from seeds: the same on every machine, in any order of asking."""

from __future__ import annotations

import hashlib


def inner_seed(seed: int, *index: int) -> int:
    """The seed number `index` under `seed` (several: one level after another): a stable hash, below 2**31."""
    for i in index:
        digest = hashlib.blake2b(f"{seed}/{i}".encode(), digest_size=4).digest()
        seed = int.from_bytes(digest, "big") >> 1
    return seed
