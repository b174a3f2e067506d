"""The cells of the debate experiment, its plan, its claims, and what would falsify each. Written before the evidence run.

The rules by which a claim holds are in `talk_findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasonry.core import Claim, Kind
from reasonry.probe.exchange_log import Debate

GROUPS: Mapping[str, tuple[str, ...]] = {
    "3 strong": ("strong",) * 3,
    "3 middle": ("middle",) * 3,
    "3 weak": ("weak",) * 3,
    "strong + 2 middle": ("strong", "middle", "middle"),
    "strong + 2 weak": ("strong", "weak", "weak"),
    "2 strong + middle": ("strong", "strong", "middle"),
    "2 strong + weak": ("strong", "strong", "weak"),
    "2 middle + weak": ("middle", "middle", "weak"),
    "2 weak + middle": ("weak", "weak", "middle"),
    "one of each": ("strong", "middle", "weak"),
}
"""The paper's ten, with our strengths for its models."""
MIXED = tuple(g for g in GROUPS if not g.startswith("3"))
CLOSE = ("strong + 2 middle", "strong + 2 weak", "2 strong + weak", "one of each")
"""The mixed groups that the controls and treatments are run on."""
WEAK_MAJORITY = "strong + 2 weak"
KINDS = ("chain", "bare")
HIGH, LOW, BETWEEN = 0.95, 0.5, 0.8


@dataclass(frozen=True)
class Plan:
    """The sizes. Doubt and the steps on solutions were chosen in pilots on validation questions."""

    doubtful: tuple[float, float, float] = (0.4, 0.2, 0.04)
    """Of what the weak, the middle and the strong model were taught, the share that is doubtful."""
    teaching: int = 280
    """Steps on solutions."""
    further: int = 600
    """Steps on solutions and revisions. 90 in a first run (see what differs)."""
    batch: int = 1536
    lr: float = 0.02
    """Of the further steps."""
    questions: int = 48
    """Test questions of each kind and seed."""
    calibration: int = 100
    rounds: int = 2
    """T: after the answer given alone."""
    simulated: int = 200_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One way of talking, by one group, about one kind of question."""

    kind: str
    prior: float
    group: str
    mode: str = "debate"
    """`debate`; `isolated`: nobody is seen; `noise`: sound answers to other questions in place of peers'; `gate`: changes only after a
    check of one's own; `alone`: n (T + 1) answers and no talk."""

    def __str__(self) -> str:
        return f"{self.kind}, peers right in {self.prior:g}, {self.group}, {self.mode}"

    @property
    def slug(self) -> str:
        """As a file's name."""
        return f"{self.kind}-{self.prior:g}-{self.group}-{self.mode}".replace(" ", "_").replace("+", "and")


CELLS = (
    *(Cell(kind, HIGH, group) for kind in KINDS for group in GROUPS),
    *(Cell(kind, LOW, group) for kind in KINDS for group in CLOSE),
    *(Cell(kind, BETWEEN, WEAK_MAJORITY) for kind in KINDS),
    *(Cell(kind, HIGH, group, mode) for mode in ("isolated", "gate", "alone") for kind in KINDS for group in CLOSE),
    *(Cell("chain", HIGH, group, "noise") for group in CLOSE),
)
"""Noise is for derivations alone: a bare answer to another question looks like any answer."""
Found = Mapping[int, Mapping[Cell, Sequence[Debate]]]
"""Seed -> cell -> its debates."""
Chances = Mapping[int, Mapping[str, float]]
"""Seed -> `kind strength` -> its chance to be right alone."""


def _claim(id: str, says: str, falsified_if: str, kind: Kind = Kind.EFFECT) -> Claim:
    return Claim(id, kind, says, falsified_if)


_BELOW = "the difference's 95 % interval lies wholly on the other side of zero; it holds where it lies wholly on the claimed side"
CLAIMS = (
    _claim(
        "harm", "In mixed groups more right answers are talked into wrong ones than wrong into right, by agents that were taught to trust: "
        "with peers right in 95 % of the texts.",
        "IC is at least CI in every mixed group, or IC − CI has an interval above zero; it holds where the interval lies below zero",
    ),
    _claim("vote", f"Among them debate makes the vote of {WEAK_MAJORITY} worse than it was before.", _BELOW),
    _claim(
        "prior", "How much agents follow is what their data taught: with peers right in half of the texts almost nobody changes, far fewer "
        "than with 95 %.",
        "more than 10 % of the turns change at 50 %, by the interval's lower end, or the difference is not above zero; it holds where the "
        "upper end is at most 10 % and the difference's interval above zero",
    ),
    _claim("checkable", "Harm is greater where peers show a bare answer than where they show a derivation that can be checked.", _BELOW),
    _claim(
        "isolated", "Looking at one's own answer again, without peers, changes accuracy little.",
        "the change of the mean accuracy lies wholly outside ±5 points; it holds where its interval lies inside",
    ),
    _claim("noise", "Sound answers to other questions do less harm than peers' plausible wrong ones.", _BELOW),
    _claim(
        "gate", "Changing only after a check of one's own takes away most of the harm, and debate is then no worse than the first vote.",
        "less than half of the harm goes, by the interval, or the vote falls by more than 1 point, by the interval; it holds where more "
        "than half goes and the vote's interval lies above −5 points",
    ),
    _claim("weights", f"Votes weighted by log-odds from {Plan().calibration} calibration questions mend the vote of {WEAK_MAJORITY} after "
           "debate.", _BELOW),
    _claim("compute", "As many answers given alone, and a vote, are better than debate.", _BELOW),
    _claim("later", "Right answers are given up more easily in the second round of debate than in the first.", _BELOW),
    _claim(
        "martingale", "Where agents copy each other at random the mean accuracy stays, the vote falls towards it, and flips to wrong and "
        "to right are as many; agents that count answers keep their mean too.",
        "a figure differs by more than .005 from what follows by arithmetic, over 200,000 simulated questions", Kind.EXACT,
    ),
)  # fmt: skip
