"""A recipe as a small TOML file: what is trained, on what, how. `reasonry train` reads nothing else; every key can be set by a flag too.

Invariant: a key that is unknown, of the wrong type or impossible is refused with its name, its value and the mend, before anything heavy
is loaded; and what `write` prints is read back as the same settings.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from reasonry.core import UserError

LATER = ("minibatches", "tags", "unfinished")
"""Keys that came after runs which may still be resumed, and whose defaults are not `None`."""
SHIPPED = Path(__file__).parent / "shipped"
"""Recipes of papers, by name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Learning from rewarded attempts."""

    model: str
    """`pocket`, `pocket-1m` or a checkpoint folder."""
    task: str
    """A task spec; `{level}` in it is replaced by each of `levels`: `arithmetic?steps={level}`, `chain?h={level}&of=word`."""
    solver: str = "single"
    """The method that makes the attempts; whatever it asks the model is trained."""
    explore: str | None = None
    """What makes a problem's group in training, where the solver's own attempts do not: `deepsearch?chunk=16`. Validated and evaluated is
    the solver."""

    roles: tuple[str, ...] | None = None
    """Calls that are trained, by role: ["aggregate"] leaves agglm's candidates alone. Left out: all of the model's own."""

    objective: str = "dr-grpo"
    """A name from the catalogue."""
    clip: tuple[float, float] | None = None
    """Absolute bounds on the ratio, [0.8, 1.28]; left out: the objective's own. So for the next three."""
    kl: float | None = None
    """Coefficient β of the KL to the start; 0 drops the term. An objective without one gets k3 in the loss."""
    entropy: float | None = None
    """Coefficient of the entropy bonus."""
    pass_at: int | None = None
    """k: learn for the chance that k answers of a group hold a right one (reward 1 or more), in place of the objective's own advantage; for
    generators of candidates (arXiv 2508.10751; ParaGator's generator). Well below `group`: with k = group nothing is learned."""
    length: int | None = None
    """The constant that Dr.GRPO and h1 divide a token sum by: the longest answer that may be sampled."""

    planning: str | None = None
    """Planning tokens: a grams file (`reasonry probe grams`) or list of phrases; `extract`, from the model's own right answers; `entropy`,
    `entropy-long`; `random:FILE`, the placebo. hicra boosts them; beside another objective grams are only watched."""
    alpha: float | None = None
    """HICRA's boost; left out: 0.2."""

    curriculum: Literal["only", "mix", "ramp", "scaling-inter"] = "only"
    """`only` one level; `mix` all levels at once; `ramp` one stage a level (h1); `scaling-inter` one stage for each of `turns`."""
    levels: tuple[int, ...] = (1,)
    max_tokens: int | tuple[int, ...] = 256
    """Tokens an attempt may sample: one number, or one for each level of a ramp."""
    turns: tuple[int, ...] = ()
    """Calls an attempt may make in each stage of `scaling-inter`."""
    steps_per_stage: int | None = None
    gate: float | None = None
    """A stage ends when `measure` reaches it."""
    measure: Literal["relative", "absolute"] = "relative"
    """Pass rate against that of the stage before, or by itself."""
    window: int = 64
    """Problems that a pass rate for the gate rests on."""
    rehearse: float = 0.0
    """Share of a ramp's draws that go to the levels below."""
    keep: Literal["informative", "every"] | None = None
    """Groups the update sees: those with two different rewards, or all. Left out: what the objective can learn from."""
    drop_above: float | None = None
    """Problems whose pass rate has reached it are not asked again (ScaleRL: 0.9)."""

    hard: tuple[int, float, int] | None = None
    """[attempts, below, rounds]: in each round, train on the problems that pass in less than a share `below` of so many attempts."""
    problems: int | None = None
    """Training problems at each level; left out: all that a file holds, 1000 of a generated task."""
    validation: int = 0
    """Validation problems at each level, asked at every checkpoint; the best weights are kept. 0: none."""
    evaluate: int = 0
    """Test problems at each level, asked before and after. 0: none."""
    evaluate_attempts: int = 1

    steps: int = 100
    prompts: int = 8
    """Problems in a batch."""
    group: int = 8
    """Attempts at each."""
    resample: int = 0
    """Further draws of problems at most, until the batch is full of groups with right and wrong answers (DAPO)."""
    updates: int = 1
    """How often a batch is learned from."""
    minibatches: int = 1
    """Parts that a batch's problems are shuffled into each time, with an optimiser step on each; 1: the batch as a whole."""
    lag: Literal[0, 1] = 0
    """1: the next batch is sampled, by the weights from before, while this one is learned from."""
    ahead: int = 0
    """k: sampling never waits for learning, and no token learned from is more than k updates old (PipelineRL-k). Takes `lag`'s place."""
    workers: int = 0
    """Processes that sample, on Ray; 0: this one."""
    engine: Literal["local", "vllm"] = "local"
    """What workers sample with."""
    engine_memory: float = 0.9
    """Share of its device's memory that a worker's vLLM takes for weights and keys; less where a trainer shares the device."""
    lr: float = 1e-5
    optimizer: Literal["adamw", "muon", "norms"] = "adamw"
    """`norms`: AdamW over the norms' gains alone, a few thousand numbers; learning rates near 1e-2."""
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    temperature: float = 1.0
    """Of sampling; the trainer scores at the same."""
    reference: bool = True
    """Keep a copy of the first weights: needed by a KL term, and for the KL in the report."""
    part_tokens: int = 16384
    """Most tokens in one backward pass; bounds memory."""
    save_every: int = 10
    seed: int = 0

    functions: tuple[str, ...] = ()
    """Reward functions as TRL calls them, `module:function` or `file.py:function`, beside the task's verdict."""
    overlong: tuple[int, int] | None = None
    """[longest, buffer]: DAPO's penalty for the last `buffer` tokens before `longest`."""
    reward_model: str | None = None
    """A reward model's folder or endpoint, `http://host:port/v1#model`: its score is the signal `reward_model`."""
    hero: dict[str, float | str] | None = None
    """HERO, which joins verdict and reward model on any objective; options alpha, beta, w_min, w_max, k, … of `train.hero.Hero`."""
    weights: dict[str, float] | None = None
    """Of the signals: `score` (the verdict), `overlong`, the functions' names. Left out: each counts once."""
    agreement: float | None = None
    """What an agent of an exchange pays, as the signal `agreement`, for going over to a peer's answer without a word of its own; a change
    to the right answer earns 1 (`train.exchange_reward`)."""
    tool_reward: Literal["code", "paper"] | None = None
    """In place of `score`, GRPO-TCR's `tool_aware`: 1 for right, from -1 for wrong, less badly with calls; as in its code or its paper."""
    profile: str | None = None
    """A file by `reasonry probe difficulty`: trained on are its problems that this model passes sometimes."""
    difficulty: dict[str, float] | None = None
    """Shares of `easy`, `medium`, `hard` ones among them, by resampling; left out: as they are."""

    lora: int | None = None
    """Rank of adapters that are trained in place of the weights, and merged into them at the end."""
    lora_alpha: float | None = None
    """Left out: twice the rank."""
    lora_targets: tuple[str, ...] | None = None
    """Matrices with an adapter; left out: all of attention and feed-forward."""

    def __post_init__(self) -> None:
        staged = self.curriculum in ("mix", "ramp")
        hero = self.hero is not None or self.objective == "hero"
        checks = [
            (not self.levels, "levels", self.levels, "name at least one"),
            (len(set(self.levels)) < len(self.levels), "levels", self.levels, "name each once"),
            (len(self.levels) > 1 and not staged, "levels", self.levels, f'{self.curriculum} takes one; set curriculum = "mix" or "ramp"'),
            (len(self.levels) > 1 and "{level}" not in self.task, "task", self.task, "write {level} in it where the level goes"),
            (self._uneven(), "max_tokens", self.max_tokens, "give one number, or for a ramp one for each of levels"),
            ((self.curriculum == "scaling-inter") != bool(self.turns), "turns", self.turns, "it goes with scaling-inter, and only with it"),
            (not 0 <= self.rehearse < 1, "rehearse", self.rehearse, "use a share from 0 to below 1"),
            (self.rehearse > 0 and self.curriculum != "ramp", "rehearse", self.rehearse, 'it goes with curriculum = "ramp"'),
            (self.keep == "informative" and self.group == 1, "group", self.group, 'one attempt tells nothing apart; set keep = "every"'),
            (self.objective == "deepsearch" and self.explore is None, "explore", None, "deepsearch needs it; name how to search"),
            (self.pass_at not in (None, *range(1, self.group)), "pass_at", self.pass_at, f"use 1 or more, less than group, {self.group}"),
            (self.pass_at is not None and hero, "pass_at", self.pass_at, "HERO's bands are not right and wrong; leave hero out with it"),
            (self.minibatches > self.prompts, "minibatches", self.minibatches, f"use 1 to {self.prompts}, the problems of a batch"),
            (self.ahead < 0, "ahead", self.ahead, "use 0 or more"),
            (self.workers < 0, "workers", self.workers, "use 0 or more"),
            (self.engine == "vllm" and not self.workers, "engine", self.engine, "it samples in processes of its own; set workers = 1"),
            (not 0 < self.engine_memory <= 1, "engine_memory", self.engine_memory, "use a share above 0, at most 1"),
            (self.explore is not None and self.ahead + self.workers > 0, "explore", self.explore, "leave ahead and workers out with it"),
            (self.explore is not None and self.lag > 0, "lag", self.lag, "what is stored must not depend on timing; use 0 with explore"),
            (self.difficulty is not None and self.profile is None, "difficulty", self.difficulty, "it goes with a profile; name one"),
            *_common(self),
            (self.lora is not None and self.lora < 1, "lora", self.lora, "use a rank of at least 1, or leave it out"),
        ]
        checks += [
            (v < 0, n, v, "use 0 or more")
            for n in ("validation", "evaluate", "resample", "entropy", "kl")
            if (v := getattr(self, n)) is not None
        ]
        counts = (
            "steps",
            "prompts",
            "group",
            "updates",
            "minibatches",
            "save_every",
            "part_tokens",
            "evaluate_attempts",
            "problems",
            "length",
            "window",
        )
        checks += [(v < 1, n, v, "use at least 1") for n in counts if (v := getattr(self, n)) is not None]
        _refuse(checks)

    def _uneven(self) -> bool:
        return not isinstance(self.max_tokens, int) and (self.curriculum != "ramp" or len(self.max_tokens) != len(self.levels))

    @property
    def longest(self) -> int:
        """Tokens an attempt may sample in the last stage."""
        return self.max_tokens if isinstance(self.max_tokens, int) else max(self.max_tokens)


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Learning from written answers."""

    model: str
    data: str
    """A .jsonl file (rows with `messages` that end with the assistant, or with a prompt and an answer column), or a task that
    demonstrates its problems, such as `arithmetic?steps=4`. Rows with `paths` and a `summary` teach parallel thinking."""
    tags: int = 8
    """Numbers that parallel paths are given, drawn anew for every row and epoch; more where a row has more paths."""
    unfinished: float = 0.3
    """Share of the rows with parallel paths that are cut where one of the paths ends, as a policy that ends thinking early does."""
    examples: int = 2000
    """Demonstrations to draw, where `data` is a task."""
    prompt: str | None = None
    """Name of the prompt's column; left out: the usual ones are looked for. So for `answer`."""
    answer: str | None = None
    epochs: int = 1
    steps: int | None = None
    """Left out: as many as the epochs take."""
    batch_tokens: int = 4096
    """Tokens of a step, packed: whole examples, none of which sees another."""
    validation: int = 0
    """Examples held out; their loss is taken at every checkpoint, and the best weights are kept. 0: none."""
    task: str | None = None
    """What to evaluate on; left out: `data`, where it is a task. So with the next four."""
    solver: str = "single"
    max_tokens: int = 256
    evaluate: int = 0
    """Test problems, asked before and after. 0: none."""
    evaluate_attempts: int = 1
    lr: float = 1e-5
    optimizer: Literal["adamw", "muon", "norms"] = "adamw"
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    save_every: int = 50
    seed: int = 0
    lora: int | None = None
    lora_alpha: float | None = None
    lora_targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        checks = [*_common(self)]
        checks += [(v < 0, n, v, "use 0 or more") for n in ("validation", "evaluate") if (v := getattr(self, n)) is not None]
        unnamed = self.evaluate > 0 and self.task is None and self.data.endswith(".jsonl")
        checks.append((unnamed, "evaluate", self.evaluate, "a file of answers is no task; name one with task"))
        checks.append((not 0 <= self.unfinished <= 1, "unfinished", self.unfinished, "use a share from 0 to 1"))
        checks += [
            (v < 1, n, v, "use at least 1")
            for n in ("epochs", "steps", "batch_tokens", "save_every", "lora", "examples", "max_tokens", "evaluate_attempts", "tags")
            if (v := getattr(self, n)) is not None
        ]
        _refuse(checks)

    @property
    def longest(self) -> int:
        """Tokens an attempt of the evaluation may sample."""
        return self.max_tokens


Check = tuple[bool, str, Any, str]
"""(wrong, key, its value, the mend)."""


def _common(s: Settings | Supervised) -> list[Check]:
    above = [(not getattr(s, n) > 0, n, getattr(s, n), "use a number above 0") for n in ("lr", "clip_norm", "temperature") if hasattr(s, n)]
    return [
        *above,
        (s.weight_decay < 0, "weight_decay", s.weight_decay, "use 0 or more"),
        (s.warmup < 0, "warmup", s.warmup, "use 0 or more"),
        (s.lora is not None and s.optimizer != "adamw", "optimizer", s.optimizer, "adapters are trained with adamw; leave it out"),
        (s.lora is None and (s.lora_alpha or s.lora_targets) is not None, "lora", s.lora, "give the rank too, or leave lora_* out"),
    ]


def _refuse(checks: list[Check]) -> None:
    for wrong, name, value, mend in checks:
        if wrong:
            raise UserError(f"{name}: is {_shown(value)}; {mend}")


S = TypeVar("S", bound="Settings | Supervised")


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def open_toml(recipe: str) -> dict[str, Any]:
    """What a recipe, a shipped one's name or a file, sets. Raises UserError where there is none, or no TOML in it."""
    path = shipped().get(recipe) or Path(recipe)
    if not path.is_file():
        raise UserError(f"--recipe: {recipe!r} is no file and none of {', '.join(shipped())}; name one of them, or a .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not TOML ({error}); write key = value lines, texts in quotation marks") from None


def from_flag(text: str) -> tuple[str, Any]:
    """`lr=1e-5` as a key and its value: TOML where it is TOML, else a number, else the text as it stands."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set: {text!r} is not key=value; write for example --set lr=1e-5")
    try:
        return key.strip(), tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return key.strip(), float(value)
    except ValueError:
        return key.strip(), value


def read(kind: type[S], values: Mapping[str, Any], where: str = "recipe") -> S:
    """Settings from what a file and flags say. Raises UserError for a key that is unknown, missing, or of the wrong type."""
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            near = get_close_matches(key, hints, cutoff=0.5) or sorted(hints)
            raise UserError(f"{where}: {key!r} is not a key; did you mean {', '.join(near)}?")
    if missing := next((f.name for f in fields(kind) if f.default is MISSING and f.name not in values), None):
        raise UserError(f"{where}: {missing} is missing; set it with --{missing} or in the recipe's file")
    read_values = {}
    for key, value in values.items():
        try:
            read_values[key] = msgspec.convert(value, hints[key])
        except msgspec.ValidationError:
            raise UserError(f"{where}: {key} is {_shown(value)} but must be {_wanted(hints[key])}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}: {key} is {value} but must be finite")
    return kind(**read_values)


def write(settings: Settings | Supervised, all_keys: bool = True) -> str:
    """The settings as TOML; keys that are left out stand as a comment. `all_keys` false: only what differs from the defaults."""
    lines: list[str] = []
    for f in fields(settings):
        value = getattr(settings, f.name)
        if value is None and all_keys:
            lines.append(f"# {f.name} =")
        elif value is not None and (all_keys or f.default is MISSING or value != f.default):
            lines.append(f"{f.name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def plain(settings: Settings | Supervised) -> dict[str, Any]:
    """Key -> JSON value: the configuration that a resumed run must share. A run that was begun before a key existed does without it."""
    told = [f for f in fields(settings) if f.name not in LATER or getattr(settings, f.name) != f.default]
    return {f.name: getattr(settings, f.name) for f in told}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _shown(value: Any) -> str:
    text = "left out" if value is None else _toml(tuple(value) if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _wanted(hint: Any) -> str:
    """A type in words."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_wanted(i) for i in inner if i is not NoneType)
    if kind is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if kind is tuple:
        each = _WORDS[inner[0]].removeprefix("a ") + "s"
        return f"a list of {each}" if inner[-1] is ... else f"a list of {len(inner)} {each}"
    if kind is dict:
        return "a table of numbers, {name = 1.0}"
    return _WORDS[hint]
