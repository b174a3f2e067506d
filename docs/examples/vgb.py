"""A walk that goes back under a wrong verifier: exact laws, the walk's own draws, and the case where it only costs."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from math import inf, log
from random import Random

import numpy as np

from reasonry.solve.tree import Node
from reasonry.solve.vgb import Walked, enumerated, first_leaf
from reasonry.solve.vgb_law import Known, leaf_mass, stepwise, tv
from reasonry.solve.vgb_law import first_leaf as first_leaf_law

# --8<-- [start:laws]
H = 6
pi = tuple(np.full((3**h, 3), 1 / 3) for h in range(H))  # letters a, b, c, all alike
right = np.array([float(i % 3 != 2) for i in range(3)])
values = [np.ones(1)]
for _ in range(H):
    values.append((values[-1][:, None] * right).ravel())  # 1 while there is no c
tree = Known(pi, tuple(v * (2 / 3) ** (H - h) for h, v in enumerate(values)))
wrong = tree.with_values([v * np.where(np.arange(len(v)) % 3 == 0, 2.0, 1.0) if h else v for h, v in enumerate(tree.value[:-1])])

for name, t in (("true values", tree), ("doubled after an a", wrong)):
    law, steps = first_leaf_law(t)
    print(
        f"{name}: stepwise is {tv(stepwise(t), t.target()):.3f} from the target, the walk's first leaf {tv(law, t.target()):.3f} "
        f"after {steps / 2:.0f} steps, at answers {leaf_mass(t):.3f} of its time"
    )
# --8<-- [end:laws]


# --8<-- [start:walk]
class Words:
    """What a walk needs: the root, all children with their chances, values by their logarithms."""

    root = Node("")

    async def children(self, node: Node) -> Sequence[Node]:
        """Three letters, made once."""
        if not node.children and not node.terminal:
            for letter in "abc":
                node.child(node.payload + letter, prior=1 / 3, terminal=node.depth + 1 == H)
        return node.children

    async def value(self, nodes: Sequence[Node]) -> Sequence[float]:
        """Remembered in the node's memo, as every ground does it."""
        for n in nodes:
            over = 2.0 if n.payload.endswith("a") and n.depth < H else 1.0
            n.memo["log_value"] = -inf if "c" in n.payload else log(over * (2 / 3) ** (H - n.depth))
        return [n.memo["log_value"] for n in nodes]

    async def draw(self, node: Node) -> Node:
        """Only for alphabets that cannot be listed."""
        raise NotImplementedError


async def main() -> None:
    """A few hundred walks."""
    ground, rng, ends = Words(), Random(0), Counter[str]()
    for _ in range(300):
        walked = Walked()
        await first_leaf(ground, enumerated(ground), rng, 10_000, walked)
        assert walked.leaf is not None
        ends[walked.leaf.payload[-1]] += 1
    print("last letters of 300 walks:", dict(sorted(ends.items())))


asyncio.run(main())
# --8<-- [end:walk]
