"""Training on several processes: weights, gradients and optimiser in shards (FSDP2), attempts shared out, one loop.

    # train_it.py, started with `accelerate launch --num_processes 2 train_it.py` or `torchrun --nproc_per_node 2 train_it.py`
    with team() as t:                       # alone, where neither started it: `t.train` is then `loop.train`
        lm = load_lm("pocket", device=t.device)
        asyncio.run(t.train(lm, solver_of(lm), task, curriculum, problems, recipe, run))

Every process runs the *same* loop on the same problems and decides everything alike; so the curriculum, filters, objectives and what
learns beside the policy need to know of nothing. What differs: an attempt is made by the process its seed falls to, and the others are
handed the record; of a batch, each process computes the gradient of some prompts; only the first writes the run.

Invariants. Advantages and weights are decided on the whole batch, so the processes' gradients add up to that of one process (FSDP2 takes
their mean: the loss is multiplied by their number). After each update every process's engine holds the full new weights. A run's directory
is that of one process: checkpoints hold whole tensors, and a run begun on two may go on with four. Judges and rewards must be functions of
the attempt: each process asks its own.

accelerate finds out the process's place, device and backend; shards are torch's own `fully_shard`, which is what accelerate calls for
version 2 too, but on GPUs only.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d

from reasonry.core import Budget, Missing, Problem, Run, Solver, Task, Trajectory, UserError
from reasonry.lm.decoder import Decoder
from reasonry.lm.local import LocalLM
from reasonry.train.curriculum import Curriculum
from reasonry.train.health import silent
from reasonry.train.loop import train
from reasonry.train.objective import loss, merge, score
from reasonry.train.recipe import Recipe
from reasonry.train.rollout import Explorer
from reasonry.train.rows import Layout, Row, chosen, chosen_and_entropy, lay_out, read
from reasonry.train.tokens import Tokens
from reasonry.train.update import Batch, at_first, check_norm, compare, cut, laid_out, remember, score_with, shuffled, within

P = ParamSpec("P")
T = TypeVar("T")
NOTHING = Row((0, 0), (0, 1), (1,))
"""What a process without a part computes, at weight zero: shards are gathered by all together or not at all."""

PATIENCE = timedelta(days=7)
"""How long a process waits for another's attempt; whoever started the processes ends them all when one dies."""


@dataclass(frozen=True)
class Team:
    """The processes of a run, seen from one of them. Made by `team`."""

    rank: int
    """This one, from 0."""
    size: int
    device: torch.device

    async def train(
        self,
        lm: LocalLM,
        solver: Solver | Explorer,
        task: Task,
        curriculum: Curriculum,
        problems: Mapping[int, Sequence[Problem]],
        recipe: Recipe,
        run: Run,
        **more: Any,
    ) -> None:
        """`loop.train` with this team's processes; each calls it with the same arguments, and a decoder on its own `device`. `progress` is
        told by the first process only."""
        if self.size == 1:
            return await train(lm, solver, task, curriculum, problems, recipe, run, **more)
        if isinstance(solver, Explorer):
            raise UserError(f"train: {solver.name} searches in one process; start the command without accelerate or torchrun")
        if self.rank:
            more["progress"] = silent
        if more.get("validate") is not None:
            more["validate"] = self.first_says(more["validate"])
        shards = Shards(self, lm.decoder)
        own = replace(recipe, optimizer=shards.optimizer(recipe))
        with self.own_run(run) as mine, Shared(self, solver) as shared:
            await train(lm, shared, task, curriculum, problems, own, mine, learn=shards.learn, **more)
        return None

    def first_says(self, find_out: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """A validation or rating that every process makes and the first one's result counts for: roundings must not make two decide
        differently."""

        async def agreed(*args: P.args, **kwargs: P.kwargs) -> T:
            found = [await find_out(*args, **kwargs)]
            if self.size > 1:
                await asyncio.to_thread(dist.broadcast_object_list, found, src=0)
            return found[0]

        return agreed

    async def first_does(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, done by the first process before the others, who find in the run what it has stored."""
        if self.rank:
            await asyncio.to_thread(dist.barrier)
        found = await work()
        if self.size > 1 and not self.rank:
            await asyncio.to_thread(dist.barrier)
        return found

    @contextmanager
    def own_run(self, run: Run) -> Iterator[Run]:
        """The run itself for the first process; for the others a copy as it is now, which is gone afterwards."""
        with tempfile.TemporaryDirectory() as scratch:
            if self.rank:
                for file in run.path.iterdir():
                    if file.is_file():
                        shutil.copy(file, scratch)
            dist.barrier()
            yield replace(run, path=Path(scratch)) if self.rank else run
            dist.barrier()

    def first_opens(self, open_it: Callable[[], Run]) -> Run:
        """What `core.open_run` gives, called by the first process before the others."""
        if self.size == 1:
            return open_it()
        if self.rank:
            dist.barrier()
        run = open_it()
        if not self.rank:
            dist.barrier()
        return run


@contextmanager
def team(cpu: bool = False) -> Iterator[Team]:
    """The processes that `accelerate launch` or `torchrun` started, or this one alone; `cpu` keeps them off GPUs.

    Raises Missing without accelerate, where there are several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team(0, 1, torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu"))
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise Missing("accelerate", "distributed", "training on several processes") from error
    state = PartialState(cpu=cpu or not torch.cuda.is_available())
    device = torch.device(state.device or "cpu")
    try:
        yield Team(state.process_index, state.num_processes, torch.device("cpu") if device.type == "cpu" else device)
    finally:
        state.destroy_process_group()


class Shared:
    """A solver whose attempts are made by one process each and known to all. Lives for one run."""

    def __init__(self, team: Team, solver: Solver) -> None:
        self._team, self._solver, self.name = team, solver, solver.name
        store: Any = distributed_c10d.PrefixStore("reasonry/attempts", distributed_c10d._get_default_store())
        self._store, self._listening = store, store.clone()  # a client that waits for a value lets no other call through
        self._listening.set_timeout(PATIENCE)
        self._waiting = ThreadPoolExecutor(1, thread_name_prefix="attempts")
        self._asked: Counter[str] = Counter()
        """How often the same attempt was asked for: after an update it is another one."""

    async def __call__(self, problem: Problem, budget: Budget, seed: int) -> Trajectory:
        """The attempt, made here or received. One that failed elsewhere raises here too."""
        what = f"{problem.id}/{seed}"
        key = f"{what}/{self._asked[what]}"
        self._asked[what] += 1
        if seed % self._team.size != self._team.rank:
            found = await asyncio.get_running_loop().run_in_executor(self._waiting, self._receive, key)
            return msgspec.convert(found, Trajectory) if isinstance(found, dict) else _raise(found)
        try:
            t = await self._solver(problem, budget, seed)
        except Exception as error:
            self._store.set(key, msgspec.json.encode(f"{type(error).__name__}: {error}"))
            raise
        self._store.set(key, msgspec.json.encode(t))
        return t

    def _receive(self, key: str) -> Any:
        """What was published under a key; the last to read it takes it away."""
        found = msgspec.json.decode(self._listening.get(key))
        if self._listening.add(f"{key}/read", 1) == self._team.size - 1:
            self._listening.delete_key(key)
            self._listening.delete_key(f"{key}/read")
        return found

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *error: object) -> None:
        self._waiting.shutdown(wait=False, cancel_futures=True)


class AttemptError(RuntimeError):
    """Another process's attempt failed; the sentence is its own."""


def _raise(sentence: str) -> Trajectory:
    raise AttemptError(sentence)


@dataclass(frozen=True, eq=False)
class Own:
    """What one process computes of a batch. Made by `Shards`."""

    mine: Tensor
    """Its trajectories, [M] bool."""
    masks: list[Tensor]
    """Of those, the parts that fit into memory."""
    layouts: list[Layout]
    idle: int
    """Rounds in which others have a part and this process has none."""


class Shards:
    """A decoder cut over the processes, its optimisers, and the whole one that the engine samples from. Lives for one run."""

    def __init__(self, team: Team, whole: Decoder) -> None:
        self._team, self._whole = team, whole
        self._decoder = whole
        self._optimizers: list[torch.optim.Optimizer] = []

    def optimizer(self, recipe: Recipe) -> Callable[[Decoder, float, float], list[Any]]:
        """A `Recipe.optimizer` that cuts the decoder up and hands out one thing with the state of all."""

        def build(decoder: Decoder, lr: float, weight_decay: float) -> list[Any]:
            recipe.optimizer(decoder, lr, weight_decay)  # may add weights (`lora.LoRA`), which then are cut up with the rest
            self._decoder = shard(deepcopy(decoder), self._team)
            self._optimizers = recipe.optimizer(self._decoder, lr, weight_decay)
            return [self]

        return build

    def state_dict(self) -> dict[str, Any]:
        """The optimisers' state, whole tensors by parameter name, on the first process; empty on the others. Called by all."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(self._decoder, self._optimizers, options=options)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back the whole decoder's weights, which were loaded before, and the optimisers' state. Called by all."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

        with torch.no_grad():
            for mine, (_, p) in zip(self._decoder.parameters(), self._whole.named_parameters(), strict=True):
                mine.copy_(_cut_like(mine, p))
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_optimizer_state_dict(self._decoder, self._optimizers, optim_state_dict=state, options=options)

    @torch.no_grad()
    def publish(self) -> None:
        """Copies the shards of every trained weight into the whole decoder, one tensor at a time."""
        for mine, p in zip(self._decoder.parameters(), self._whole.parameters(), strict=True):
            if p.requires_grad:
                p.copy_(_whole(mine))

    def learn(
        self, decoder: Decoder, optimizers: Sequence[Any], recipe: Recipe, batch: Batch, lr: float, reference: Decoder | None
    ) -> dict[str, float]:
        """`update.learn` by all processes: the same batch everywhere, each prompt computed by one. Returns the same health everywhere."""
        objective, tokens = recipe.objective, batch.tokens
        if not tokens.segment.numel():
            return {}
        own = self._own(batch, recipe)
        if reference is not None and tokens.logp_ref is None:
            tokens = replace(tokens, logp_ref=self._by_all(reference, own, recipe, tokens))
        scored = score(objective, tokens)
        if recipe.minibatches > 1:
            scored = remember(scored, self._by_all(decoder, own, recipe, tokens))
        health: dict[str, float] = {}
        for update in range(recipe.updates):
            healths: list[dict[str, float]] = []
            for mini in shuffled(batch, recipe, update):
                step = scored
                if recipe.minibatches > 1:
                    step, own = within(objective, scored, mini), self._own(batch.keep(mini), recipe)
                mine, old = step.keep(own.mine), [torch.zeros(0)]
                self._decoder.zero_grad(set_to_none=True)
                for mask, layout in zip(own.masks, own.layouts, strict=True):
                    values = read(self._decoder, layout, recipe.temperature, chosen_and_entropy if objective.entropy else chosen)
                    logp, *entropy = (x.cpu() for x in values)
                    old.append(logp.detach())
                    value, told = loss(objective, at_first(mine.keep(mask), old[-1]), logp, *entropy)
                    (value * self._team.size).backward()
                    healths.append(told)
                for _ in range(own.idle):
                    (read(self._decoder, lay_out([NOTHING], self._team.device), recipe.temperature)[0].sum() * 0.0).backward()
                if scored.tokens.logp_old is None:
                    scored = remember(scored, self._everyone_s(torch.cat(old), own.mine, tokens))
                grad_norm = float(_whole(torch.nn.utils.clip_grad_norm_(self._decoder.parameters(), recipe.clip_norm)))
                check_norm(grad_norm, lr)
                for optimizer in self._optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = lr
                    optimizer.step()
                health["grad_norm"] = grad_norm
            gathered: list[Any] = [None] * self._team.size
            dist.all_gather_object(gathered, healths)
            health = {**health, **merge([h for some in gathered for h in some])}
        self._decoder.zero_grad(set_to_none=True)
        self.publish()
        return {**compare(scored.tokens.need("logp_old", "the first update"), tokens), **health}

    def _own(self, batch: Batch, recipe: Recipe) -> Own:
        """This process's share of a batch, the same split everywhere."""
        shares = share(batch, self._team.size)
        rounds = max(len(cut(batch.keep(one), recipe.part_tokens)) for one in shares)
        mine = shares[self._team.rank]
        masks, layouts = laid_out(batch.keep(mine), recipe.part_tokens, self._team.device)
        return Own(mine, masks, layouts, rounds - len(layouts))

    def _by_all(self, decoder: Decoder, own: Own, recipe: Recipe, tokens: Tokens) -> Tensor:
        """Log-probabilities [N] under a network that every process has whole, each computing its share."""
        found = score_with(decoder, own.layouts, recipe.temperature) if own.layouts else torch.zeros(0)
        return self._everyone_s(found, own.mine, tokens)

    def _everyone_s(self, values: Tensor, mine: Tensor, tokens: Tokens) -> Tensor:
        """[N] of all processes' values, each for the tokens of its own trajectories `mine` [M]."""
        out = torch.zeros(tokens.segment.numel())
        out[mine[tokens.by_trajectory.of]] = values
        out = out.to(self._team.device)
        dist.all_reduce(out)
        return out.cpu()


def shard(decoder: Decoder, team: Team) -> Decoder:
    """Cuts a decoder's weights up over the processes, in place: each block gathered when it runs, everything else together."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(team.device.type, (team.size,))
    for block in decoder.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(decoder, mesh=mesh)
    return decoder


def share(batch: Batch, n: int) -> list[Tensor]:
    """Masks [M] bool, one for each of `n` processes: whole prompts, the longest first, each to whoever has least; the same everywhere."""
    tokens = batch.tokens
    sizes = [0] * tokens.by_prompt.n
    for row, p in zip(batch.rows, tokens.prompt[tokens.trajectory].tolist(), strict=True):
        sizes[p] += len(row.ids)
    loads, owner = [0] * n, [0] * len(sizes)
    for p in sorted(range(len(sizes)), key=lambda p: (-sizes[p], p)):
        owner[p] = loads.index(min(loads))
        loads[owner[p]] += sizes[p]
    owners = torch.tensor(owner, dtype=torch.int64)[tokens.prompt]
    return [owners == r for r in range(n)]


def _whole(x: Tensor) -> Tensor:
    """A tensor with its shards gathered; called by all processes."""
    from torch.distributed.tensor import DTensor

    return x.full_tensor() if isinstance(x, DTensor) else x


def _cut_like(shards: Tensor | nn.Parameter, whole: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor, distribute_tensor

    return distribute_tensor(whole.detach(), shards.device_mesh, shards.placements) if isinstance(shards, DTensor) else whole.detach()
