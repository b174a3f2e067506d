"""Solvers by name: `delethink?C=64&m=32` becomes a `Delethink`. What the command line, the server and config files use.

Invariant: an option nobody reads is an error, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl

from reasonry.core import LM, Sampling, Solver, Task, UserError
from reasonry.lm.scorer import load_scorer
from reasonry.solve.agglm_spec import aggregate
from reasonry.solve.best_of_n import MEAN_LOGPROB, BestOfN, Score, lm_judge, reward_score
from reasonry.solve.debate_spec import debate
from reasonry.solve.deepsearch import DeepSearch
from reasonry.solve.delethink import Carry, Delethink, head_and_tail, head_beside_tail, multi_head, summary, tail
from reasonry.solve.explore import Explore, Stored, drop_none, loops, nothing_stored
from reasonry.solve.interrupted import CLOSES, PHRASE, Interrupted
from reasonry.solve.opened import Opened
from reasonry.solve.parathinker_spec import parathinker
from reasonry.solve.self_consistency import SelfConsistency
from reasonry.solve.single import Single
from reasonry.solve.tool_loop import ToolLoop, known
from reasonry.solve.tree import UCT, Constrained, Decayed, Frontier
from reasonry.solve.tree.select import linear, no_bonus, square_root
from reasonry.solve.tumix_spec import fifteen
from reasonry.solve.vgb_spec import guided, vgb
from reasonry.tasks.toolbox import OWN, toolbox
from reasonry.tasks.tools import introduced

T = TypeVar("T")


class Options:
    """The options of one solver, read one by one and then closed. Lives while the solver is built."""

    def __init__(self, solver: str, given: Mapping[str, str], opened: Opened | None = None) -> None:
        self._solver, self._given, self._known = solver, dict(given), list[str]()
        self.opened = opened or Opened()
        """Where models and files that an option names are loaded."""

    def read(self, name: str, default: T, convert: Callable[[str], T], kind: str = "a number") -> T:
        """The option's value, or its default. Raises UserError where the text cannot be converted."""
        self._known.append(name)
        if name not in self._given:
            return default
        try:
            return convert(self._given[name])
        except ValueError:
            raise UserError(f"{self._solver}: {name} is {self._given[name]!r} but must be {kind}; mend it or leave it out") from None

    def choice(self, name: str, default: str, values: Mapping[str, T]) -> T:
        """One of a few named values. Raises UserError for another name."""
        self._known.append(name)
        given = self._given.get(name, default)
        if given not in values:
            raise UserError(f"{self._solver}: {name} is {given!r} but must be one of {', '.join(values)}")
        return values[given]

    def sampling(self, max_tokens: int | None = 1024) -> Sampling:
        """The sampling options every solver takes; `max_tokens` too, unless the solver sets it itself (`None`)."""
        return Sampling(
            max_tokens=1024 if max_tokens is None else self.read("max_tokens", max_tokens, _positive, "a whole number above 0"),
            temperature=self.read("temperature", 1.0, float),
            top_p=self.read("top_p", 1.0, float),
            top_k=self.read("top_k", None, int),
            min_p=self.read("min_p", 0.0, float),
        )

    def close(self) -> None:
        """Raises UserError for an option that nothing read."""
        if unknown := next((k for k in self._given if k not in self._known), None):
            raise UserError(f"{self._solver}: {unknown} is not an option; use {', '.join(self._known)}")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(i) for i in text.split(","))


def _single(lm: LM, task: Task, o: Options, name: str) -> Solver:
    return Single(lm, o.sampling(), name)


def _self_consistency(lm: LM, task: Task, o: Options, name: str) -> Solver:
    return SelfConsistency(lm, task, o.read("k", 8, int), o.sampling(), name)


def _best_of_n(lm: LM, task: Task, o: Options, name: str) -> Solver:
    score: Score = o.choice("score", "logprob", {"logprob": MEAN_LOGPROB, "judge": lm_judge(lm)})
    if reward_model := o.read("rm", "", str):
        score = reward_score(o.opened.once(("scorer", reward_model), lambda: load_scorer(reward_model)))
    return BestOfN(lm, task, o.read("n", 8, int), score, o.sampling(), name)


def _delethink(lm: LM, task: Task, o: Options, name: str) -> Solver:
    C, m, I = o.read("C", 8192, int), o.read("m", 4096, int), o.read("I", 5, int)
    head = o.read("keep_head", min(100, m // 8), int)
    kept = o.read("keep_tail", m - head, int)
    if kept not in (m - head, m):
        raise UserError(
            f"Delethink: keep_tail is {kept} but must be m - keep_head ({m - head}), or m ({m}) to keep the head beside it; change it"
        )
    carries: dict[str, Carry] = {
        "head_and_tail": head_and_tail(head) if kept == m - head else head_beside_tail(head),
        "tail": tail,
        "multi_head": multi_head(head),
        "summary": summary(),
    }
    stop_ids = o.read("stop_token_ids", (), _numbers, "token ids with commas between")
    carry = o.choice("carry", "head_and_tail", carries)
    return Delethink(lm, C, m, I, carry, o.sampling(None).with_(stop_token_ids=stop_ids), name)


def _interrupted(lm: LM, task: Task, o: Options, name: str) -> Solver:
    lo, hi, answer = o.read("lo", 10_240, int), o.read("hi", 12_288, int), o.read("answer", 2_048, int)
    phrase, close = o.read("phrase", PHRASE, str), o.choice("close", "think", CLOSES)
    return Interrupted(lm, lo, hi, answer, phrase, close, o.sampling(None), name)


def _deepsearch(lm: LM, task: Task, o: Options, name: str) -> DeepSearch:
    depth, least = o.read("depth", 64, _positive, "a whole number above 0"), o.read("gamma", 0.1, float)
    quality, entropy, deep = o.read("l1", 0.4, float), o.read("l2", 0.0, float), o.read("l3", 0.01, float)
    bonus = o.choice("bonus", "sqrt", {"sqrt": square_root, "linear": linear, "none": no_bonus})
    return DeepSearch(
        lm, task, n=o.read("n", 8, int), chunk=o.read("chunk", 256, int),
        delimiter=o.choice("until", "tokens", {"tokens": "", "line": "\n", "paragraph": "\n\n"}), depth=depth, ends=o.read("ends", 8, int),
        max_tokens=o.read("max_tokens", 16_384, _positive, "a whole number above 0"), score=UCT(o.read("uct", 2.0, float)),
        frontier=Frontier(depth, quality, entropy, deep, bonus),
        back=o.choice("back", "constrained", {"constrained": Constrained(least), "plain": Decayed(least)}),
        backup=o.choice("backup", "one", {"one": "one", "all": "all"}),
        negative=o.choice("negative", "confident", {"confident": "confident", "random": "random", "unsure": "unsure"}),
        sampling=o.sampling(None), name=name,
    )  # fmt: skip


def _agglm(lm: LM, task: Task, o: Options, name: str) -> Solver:
    return aggregate(lm, task, o, name, partial(build_solver, opened=o.opened))


def _debate(lm: LM, task: Task, o: Options, name: str) -> Solver:
    return debate(lm, task, o, name, partial(build_solver, opened=o.opened))


def _tool_loop(lm: LM, task: Task, o: Options, name: str) -> Solver:
    turns = o.read("turns", 6, _positive, "a whole number above 0")
    names, docs = o.read("tools", OWN, str), o.read("docs", "", str)
    tell = known if names == OWN else introduced
    return ToolLoop(lm, toolbox(names, task, docs), turns, o.sampling(512), name, tell=tell)


Builder = Callable[[LM, Task, Options, str], Solver]
"""(model, task, options, the name in reports) -> solver."""

SOLVERS: dict[str, Builder] = {
    "single": _single,
    "self-consistency": _self_consistency,
    "best-of-n": _best_of_n,
    "delethink": _delethink,
    "agglm": _agglm,
    "deepsearch": _deepsearch,
    "interrupted": _interrupted,
    "tool-loop": _tool_loop,
    "vgb": vgb,
    "guided": guided,
    "debate": _debate,
    "tumix": fifteen,
    "parathinker": parathinker,
}
"""Every solver there is, by name."""


def build_solver(spec: str, lm: LM, task: Task, opened: Opened | None = None) -> Solver:
    """The solver of a spec such as `single` or `delethink?C=64&m=32`; its `name` is the spec. Raises UserError for a bad one.

    What the spec names by a place is loaded in `opened`, by who will close it; left out, once more for every solver.
    """
    name = spec.partition("?")[0]
    if name not in SOLVERS:
        raise UserError(f"solver: {name!r} is not a solver; use one of {', '.join(SOLVERS)}")
    options = read_options(spec, opened)
    solver = SOLVERS[name](lm, task, options, spec)
    options.close()
    return solver


def build_explorer(spec: str, lm: LM, task: Task, stored: Stored = nothing_stored) -> Explore:
    """What makes groups of attempts in training, of a spec such as `deepsearch?chunk=16&share=0.5`. Raises UserError for a bad one."""
    name = spec.partition("?")[0]
    if name != "deepsearch":
        raise UserError(f"explore: {name!r} explores nothing; use deepsearch, or leave explore out")
    options = read_options(spec)
    search = _deepsearch(lm, task, options, spec)
    explorer = Explore(
        search,
        stored,
        options.read("share", 0.5, float),
        options.choice("ways", "all", {"all": "all", "backed": "backed"}),
        options.choice("drop", "none", {"none": drop_none, "loops": loops}),
    )
    options.close()
    return explorer


def read_options(spec: str, opened: Opened | None = None) -> Options:
    """The options of a spec; `of`, the last one, is a whole spec and holds all that follows. Raises UserError for one given twice."""
    name, _, query = spec.partition("?")
    query, inner, of = query.partition("&of=") if not query.startswith("of=") else ("", "&of=", query[3:])
    pairs = [*parse_qsl(query, keep_blank_values=True), *([("of", of)] if inner else [])]  # the last option: a whole spec, with its own
    given = dict(pairs)
    if len(given) < len(pairs):
        raise UserError(f"{name}: an option is given twice in {spec!r}; give each once")
    return Options(name, given, opened)
