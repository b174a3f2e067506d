"""Settings as the values the loop takes: objective, reward, curriculum, recipe."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from reasonry.core import UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.scorer import load_scorer
from reasonry.train.advantage import Outcome, PlanningBoost, given
from reasonry.train.aggregate import Constant
from reasonry.train.assemble import complete, learns_from_equals
from reasonry.train.catalogue import find
from reasonry.train.curriculum import (
    Curriculum,
    Stage,
    absolute,
    every_group,
    informative,
    mix,
    no_positive_resampling,
    only,
    relative,
    scaling_inter,
)
from reasonry.train.entry import Entry
from reasonry.train.exchange_reward import agreement
from reasonry.train.hero import SCORE, Hero, broken, scored_by
from reasonry.train.kl import InLoss, k3
from reasonry.train.objective import Objective
from reasonry.train.pass_at_k import PassAtK
from reasonry.train.ratio import Clip, reference
from reasonry.train.recipe import OfRoles, Recipe, WarmCosine, constant, every_segment
from reasonry.train.reward import Reward, Signal, Weighted, overlong, trl_reward, verdict
from reasonry.train.settings import Settings, Supervised
from reasonry.train.sft import adamw, muon, norms
from reasonry.train.tool_reward import FORMS


def objective_of(s: Settings) -> Objective:
    """The named objective with the settings' own clip, KL, entropy, advantage and length. Raises UserError for one it has no place for."""
    o = find(s.objective).objective
    if s.clip is not None:
        if not isinstance(getattr(o.surrogate, "clip", None), Clip) or not is_dataclass(o.surrogate):
            raise UserError(f"clip: {s.objective} has the surrogate {type(o.surrogate).__name__}, which clips nothing; leave clip out")
        o = replace(o, surrogate=replace(o.surrogate, clip=Clip(*s.clip)))  # pyright: ignore[reportCallIssue]
    if s.kl is not None:
        o = replace(o, kl=None if s.kl == 0 else InLoss(s.kl, k3) if o.kl is None else replace(o.kl, beta=s.kl))
    if s.entropy is not None:
        o = replace(o, entropy=s.entropy)
    if s.pass_at is not None:
        if not isinstance(o.advantage, Outcome) or o.advantage.baseline is given:
            raise UserError(f"pass_at: {s.objective} compares no answers of a group; leave pass_at out, or use grpo or dr-grpo")
        o = replace(o, advantage=PassAtK(s.pass_at))
    o = boosted(o, s)
    if s.length is not None:
        if not isinstance(o.aggregate, Constant):
            raise UserError(f"length: {s.objective} divides by no constant; leave length out, or use dr-grpo or h1")
        o = replace(o, aggregate=Constant(s.length))
    if not s.reference and (o.kl is not None or (o.ratio is not None and o.ratio.over is reference)):
        raise UserError(f"reference: is false, but {s.objective} compares with the first weights; leave reference out, or set kl = 0")
    return o


def boosted(o: Objective, s: Settings) -> Objective:
    """With the settings' α. Raises UserError for a boost without planning tokens, or an α without a boost."""
    if not any(isinstance(step, PlanningBoost) for step in o.reshape):
        if s.alpha is not None:
            raise UserError(f"alpha: is {s.alpha:g}, but {s.objective} boosts no planning tokens; leave alpha out, or use hicra")
        return o
    if s.planning is None:
        raise UserError(f"planning: is left out, but {s.objective} boosts planning tokens; name a grams file, or 'extract'")
    if s.alpha is None:
        return o
    return replace(o, reshape=tuple(PlanningBoost(s.alpha) if isinstance(step, PlanningBoost) else step for step in o.reshape))


def reward_of(s: Settings) -> Reward:
    """The verdict, then what the settings add; weighted as they say, else each once."""
    signals: list[tuple[str, Signal]] = [("score", verdict) if s.tool_reward is None else ("tool_aware", FORMS[s.tool_reward])]
    if s.overlong is not None:
        signals.append(("overlong", overlong(*s.overlong)))
    if s.agreement is not None:
        signals.append(("agreement", agreement(s.agreement)))
    for place in s.functions:
        function = imported(place)
        signals.append((function.__name__, trl_reward(function)))
    if s.reward_model is not None:
        signals.append((SCORE, scored_by(load_scorer(s.reward_model))))
    names = [name for name, _ in signals]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"functions: two signals are called {twice!r}; give each function a name of its own")
    found = tuple(signal for _, signal in signals)
    if s.hero is not None or s.objective == "hero":
        return Reward((*found, broken), hero_of(s, names))
    return Reward(found, Weighted(s.weights if s.weights is not None else dict.fromkeys(names, 1.0)))


def hero_of(s: Settings, names: Sequence[str]) -> Hero:
    """HERO with the settings' options; signals beside verdict and score are added as `weights` says, else each once."""
    options = s.hero or {}
    known = [f.name for f in fields(Hero) if f.name != "also"]
    if unknown := next((name for name in options if name not in known), None):
        raise UserError(f"hero: {unknown!r} is not an option; use {', '.join(known)}")
    hero = Hero(**cast(dict[str, Any], options))
    if missing := next((name for name in (hero.gate, hero.signal) if name not in names), None):
        raise UserError(f"hero: there is no signal {missing!r}; set reward_model, or name one of {', '.join(names)} as gate or signal")
    rest = [name for name in names if name not in (hero.gate, hero.signal)]
    return replace(hero, also=s.weights if s.weights is not None else dict.fromkeys(rest, 1.0))


def imported(place: str) -> Callable[..., Any]:
    """The function of `module:function` or `file.py:function`; modules are also looked for in the working directory."""
    module, _, name = place.rpartition(":")
    if not module or not name:
        raise UserError(f"functions: {place!r} names no function; write module:function or file.py:function")
    try:
        function = getattr(_module(module), name, None)
    except (ImportError, OSError, SyntaxError) as error:
        raise UserError(
            f"functions: {module!r} cannot be imported ({error}); check the name, or give the file as path.py:{name}"
        ) from error
    if not callable(function):
        raise UserError(f"functions: {module!r} has no function {name!r}; check the name")
    return function


def _module(name: str) -> Any:
    if name.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(name).stem, name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def curriculum_of(s: Settings) -> Curriculum:
    """Stages of levels, with the settings' gate and filters."""
    if s.curriculum == "ramp":
        curriculum = Curriculum(tuple(_stages(s)), s.gate, s.steps_per_stage)
    elif s.curriculum == "mix":
        curriculum = mix(dict.fromkeys(s.levels, 1.0), s.longest)
    elif s.curriculum == "scaling-inter":
        if s.steps_per_stage is None:
            raise UserError("steps_per_stage: is left out; scaling-inter needs it")
        curriculum = scaling_inter(s.turns, s.steps_per_stage, s.longest, s.levels[0])
    else:
        curriculum = only(s.levels[0], s.longest)
    return replace(
        curriculum,
        measure=relative if s.measure == "relative" else absolute,
        window=s.window,
        prompt_filters=() if s.drop_above is None else (partial(no_positive_resampling, ceiling=s.drop_above),),
        group_filter=every_group if s.keep == "every" or (s.keep is None and learns_from_equals(find(s.objective))) else informative,
    )


def _stages(s: Settings) -> list[Stage]:
    limits = (s.max_tokens,) * len(s.levels) if isinstance(s.max_tokens, int) else s.max_tokens
    stages = []
    for i, (level, limit) in enumerate(zip(s.levels, limits, strict=True)):
        below = dict.fromkeys(s.levels[:i], s.rehearse / max(i, 1))
        stages.append(Stage({**below, level: 1.0 - sum(below.values())}, limit))
    return stages


def schedule_of(s: Settings | Supervised, steps: int) -> Callable[[int], float]:
    """Step -> factor on the learning rate; a warm-up for either."""
    if s.schedule == "cosine":
        return WarmCosine(s.warmup, steps)
    return WarmCosine(s.warmup, steps, floor=1.0) if s.warmup else constant


def optimizer_of(s: Settings | Supervised) -> Callable[[Decoder, float, float], list[torch.optim.Optimizer]]:
    """Over the weights, or over adapters."""
    if s.lora is None:
        return {"adamw": adamw, "muon": muon, "norms": norms}[s.optimizer]
    from reasonry.train.lora import PRODUCTS, LoRA

    return LoRA(s.lora, 2.0 * s.lora if s.lora_alpha is None else s.lora_alpha, s.lora_targets or PRODUCTS, s.seed)


def weights_of(decoder: Decoder, s: Settings | Supervised) -> Decoder:
    """The decoder with adapters, where it has some, merged into its weights."""
    if s.lora is None:
        return decoder
    from reasonry.train.lora import merged

    return merged(decoder)


def recipe_of(s: Settings) -> Recipe:
    """Everything the loop is told; a reward that the settings leave alone is the objective's own (DAPO's overlong penalty)."""
    recipe = Recipe(
        objective=objective_of(s), optimizer=optimizer_of(s), lr=s.lr, steps=s.steps, schedule=schedule_of(s, s.steps),
        weight_decay=s.weight_decay, clip_norm=s.clip_norm, prompts=s.prompts, group=s.group, resample=s.resample, updates=s.updates,
        minibatches=s.minibatches, lag=0 if s.ahead or s.workers else s.lag, temperature=s.temperature, reward=reward_of(s),
        part_tokens=s.part_tokens, save_every=s.save_every, seed=s.seed,
        trained=every_segment if s.roles is None else OfRoles(s.roles),
    )  # fmt: skip
    return complete(entry_of(s), recipe, s.longest)


def entry_of(s: Settings) -> Entry:
    """The catalogue's row, with the settings' own objective."""
    return replace(find(s.objective), objective=objective_of(s))
