"""Pairs of agents decomposed all at once, beside the library dit one table at a time: the same tables, the same redundancy, in one run.

    python benchmarks/coordination.py [--agents 10] [--rounds 20] [--surrogates 200] [--peer 10] [--repeats 3]

Ours: counts, probabilities and the four atoms (I_min) of every pair of every surrogate. dit: `PID_WB` on the first `--peer` of these
tables, given as probabilities (its counting is not timed). Both are warmed up and checked against one another to 1e-9. One JSON line:
processor seconds for a table of each, and `ratio`, how many times dit takes. Without dit (pip install dit) only ours is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any

import numpy as np

from reasonry.core.run import environment, machine
from reasonry.probe.coordination.group import Discrete
from reasonry.probe.coordination.scores import moves, pair_table
from reasonry.probe.coordination.tables import JEFFREYS, Atoms, decompose, i_min


def ours(d: Discrete) -> Atoms:
    """The atoms of every pair [S, P]."""
    i, j = np.triu_indices(d.agents.shape[2], 1)
    table = pair_table(moves(d, 1), i, j, JEFFREYS)
    return decompose(table, i_min(table))


def theirs(p: np.ndarray) -> list[float]:
    """dit's atoms of one table [2, 2, 4]."""
    import dit  # pyright: ignore[reportMissingImports]
    from dit.pid import PID_WB  # pyright: ignore[reportMissingImports]

    outcomes = list(product(range(2), range(2), range(4)))
    pid: Any = PID_WB(dit.Distribution(outcomes, [p[o] for o in outcomes]), [[0], [1]], [2])
    return [float(pid.get_pi(node)) for node in (((0,), (1,)), ((0,),), ((1,),), ((0, 1),))]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in {"agents": 10, "rounds": 20, "surrogates": 200, "peer": 10, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    S, T, N = args.surrogates, args.rounds, args.agents
    d = Discrete(rng.integers(0, 2, (S, T, N)), rng.integers(0, 2, (S, T)), 2, 2)
    atoms = ours(d)
    tables = S * N * (N - 1) // 2
    mine: list[float] = []
    for _ in range(args.repeats):
        began = time.process_time()
        ours(d)
        mine.append((time.process_time() - began) / tables)
    line: dict[str, Any] = {
        "benchmark": "coordination", "machine": machine(), "agents": N, "rounds": T, "surrogates": S, "tables": tables,
        "seconds_a_table": statistics.median(mine), "seconds_all": statistics.median(mine) * tables,
    }  # fmt: skip
    try:
        line["dit"] = version("dit")
    except PackageNotFoundError:
        line["dit"] = None
    if line["dit"] is not None:
        i, j = np.triu_indices(N, 1)
        p = pair_table(moves(d, 1), i, j, JEFFREYS).p[..., 0, : args.peer]
        theirs(p[..., 0])
        other: list[float] = []
        for k in range(p.shape[-1]):
            began = time.process_time()
            found = theirs(p[..., k])
            other.append(time.process_time() - began)
            own = [float(x[0, k]) for x in (atoms.redundancy, atoms.unique_a, atoms.unique_b, atoms.synergy)]
            assert np.allclose(found, own, atol=1e-9), (found, own)
        line["dit_seconds_a_table"] = statistics.median(other)
        line["ratio"] = round(statistics.median(other) / statistics.median(mine), 1)
    print(json.dumps({**line, "measured": environment()}), flush=True)


if __name__ == "__main__":
    main()
