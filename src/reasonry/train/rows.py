"""Recorded model calls as one flat batch for the trainer's own network, and the log-probabilities it gives them.

Invariants. Nothing is padded in the network's matrix products, and a token that several rows have in common *with all it sees* (the
prompt of a group, the query of every chunk, an answer given twice, a path that is trained by itself and read by a summary) is computed
once. Attention is computed row by row, so no row sees another. At most one chunk of logits is alive, forward or backward. Values and
gradients are those of scoring the rows one at a time, each under its own mask.

A row of parallel paths (`Row.groups`) is several *strands*: the prompt with each path, which see no more than themselves, and the whole row
once more for the summary, where only the summary's tokens ask. So no strand needs another mask than the causal one.

Letters: R rows or strands, U distinct tokens (nodes of the trie of all rows), N trained tokens, W distinct ones among them, L tokens of a
row, T tokens that ask, D width, V vocabulary, Hq and Hkv query and key–value heads, K head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reasonry.core import Ids, Segment, UserError
from reasonry.lm.decoder import Decoder
from reasonry.nn.attention import Site, attention
from reasonry.nn.masks import PROMPT, SUMMARY, TAGS

LOGITS = 1 << 24
"""Logits made at once; bounds the memory of a large vocabulary."""
WASTE = 1.25
"""Most that padding may blow up a bucket of rows inside attention, where alone rows are padded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model call to be scored on its own context. Made from a segment, gone after the update."""

    ids: Ids
    """Context, then sampled ids."""
    positions: Ids
    """Position of each of `ids`."""
    trained: tuple[int, ...]
    """Places in `ids` of the tokens that carry loss, rising."""
    groups: Ids | None = None
    """Of each of `ids`, for `nn.masks.two_stage`: prompt, then paths, then summary. `None`: a plain causal prefix."""


def row_of(segment: Segment) -> Row:
    """The row of a segment, its mask respected. Raises UserError for one without ids, or with groups that are no parallel paths."""
    if segment.context is None or segment.ids is None:
        raise UserError(
            f"train: a segment with role {segment.role!r} has no token ids, so it can be read but not trained; use a local model"
        )
    if not segment.context:
        raise UserError(f"train: a segment with role {segment.role!r} has an empty context; a first token has no probability")
    ids = segment.context + segment.ids
    start = len(segment.context)
    mask = segment.mask if segment.mask is not None else (True,) * len(segment.ids)
    trained = tuple(start + i for i, on in enumerate(mask) if on)
    if segment.groups is not None:
        predecessors(segment.groups, trained, f"train: a segment with role {segment.role!r}")
    return Row(ids, segment.positions or tuple(range(len(ids))), trained, segment.groups)


def predecessors(groups: Sequence[int], trained: Sequence[int], what: str) -> list[int]:
    """For each token the place of the one that it continues, and that predicts it: the last before it in its path, for a path's first the
    prompt's last, for others the one before. −1 where there is none: a first token, and the first of a summary of paths.

    Raises UserError, beginning with `what`, for groups that are not prompt, paths, summary in that order, or where a trained one has none.
    """
    last: dict[int, int] = {}
    before: list[int] = []
    for place, group in enumerate(groups):
        ordered = group >= PROMPT and SUMMARY not in last and (group > PROMPT or len(last) <= (PROMPT in last))
        if not (ordered or group == SUMMARY):
            raise UserError(
                f"{what} has attention group {group} at token {place}; groups are prompt (0), paths (1, 2, …), summary (-2), in order"
            )
        before.append(last.get(group, -1 if group == SUMMARY and set(last) - {PROMPT} else last.get(PROMPT, -1)))
        last[group] = place
    if (alone := next((i for i in trained if before[i] < 0), None)) is not None:
        raise UserError(f"{what} trains token {alone}, which no token predicts (a first one, or a summary's first); mask it out")
    return before


@dataclass(frozen=True, eq=False)
class Bucket:
    """Strands of like length that attend together."""

    at: Tensor
    """[R', L']: which of the U tokens stand where; short strands repeat their last token behind their end."""
    asking: Tensor | None
    """[R', T']: places in L' of the tokens whose results are wanted, short strands repeating their last; `None`: all of them."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [U, Hq, K], k and v [U, Hkv, K] -> [R' · T', Hq, K]."""
        if self.asking is None:
            return attention(q[self.at], k[self.at], v[self.at], causal=True).flatten(0, 1)
        mask = torch.arange(self.at.shape[1], device=q.device) <= self.asking[:, :, None]
        return attention(q[self.at.gather(1, self.asking)], k[self.at], v[self.at], mask[:, None]).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Layout:
    """Rows laid out flat. An `Attend` for the decoder as well: it gathers each strand's tokens, attends causally, and puts them back."""

    ids: Tensor
    """[U] int64."""
    positions: Tensor
    """[U] int64."""
    thoughts: Tensor
    """[U] int64."""
    tags: int
    """The largest of `thoughts`."""
    buckets: tuple[Bucket, ...]
    back: Tensor
    """[U]: where each token's result stands among all buckets' results."""
    before: Tensor
    """[W]: the tokens of U whose hidden states predict a trained token."""
    wanted: Tensor
    """[W]: the ids they predict; each pair once."""
    spread: Tensor
    """[N]: where among the W pairs each trained token's is; in the order of the rows."""

    def __call__(self, site: Site, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [1, U, Hq, K], k and v [1, U, Hkv, K] -> [1, U, Hq, K]."""
        out = [bucket.attend(q[0], k[0], v[0]) for bucket in self.buckets]
        return torch.cat(out)[self.back][None]

    def hidden(self, decoder: Decoder) -> Tensor:
        """What the decoder makes of all tokens, [U, D]. Raises UserError for a path whose thought embedding the decoder lacks."""
        if self.tags >= decoder.config.num_thoughts > 0:
            known = decoder.config.num_thoughts - 1
            raise UserError(f"train: a path has tag {self.tags} but the model has thoughts 0 to {known}; give it more (lm.thoughts)")
        return decoder(self.ids[None], self.positions[None], self, thoughts=self.thoughts[None]).last[0]


@dataclass
class Trie:
    """The tokens of rows, those they share once."""

    nodes: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    """(the node it continues, token, position, thought) -> number of the node."""
    meets: dict[tuple[int, ...], int] = field(default_factory=dict)
    """What a summary sees, by the ends of all strands -> a number below −1, for its first token to continue."""

    def add(self, row: Row) -> tuple[list[int], list[Strand]]:
        """Adds what a row needs: the node that predicts each of its trained tokens, and its strands."""
        end = row.trained[-1]
        if row.groups is None:
            node, nodes = -1, []
            for token, position in zip(row.ids[:end], row.positions, strict=False):
                node = self.nodes.setdefault((node, token, position, 0), len(self.nodes))
                nodes.append(node)
            return [nodes[i - 1] for i in row.trained], [Strand(nodes, 0)]
        before = predecessors(row.groups, row.trained, "train: a row")
        nodes, strands = [], {PROMPT: Strand([], 0)}
        for token, position, group, last in zip(row.ids[:end], row.positions, row.groups, before, strict=False):
            if group not in strands:
                seen = nodes if group == SUMMARY else strands[PROMPT].nodes
                strands[group] = Strand(seen.copy(), len(seen) if group == SUMMARY else 0)
            if last < 0 and group == SUMMARY:
                ends = tuple(sorted(s.nodes[-1] for g, s in strands.items() if g != SUMMARY and s.nodes))
                last_node = self.meets.setdefault(ends, -2 - len(self.meets))
            else:
                last_node = nodes[last] if last >= 0 else -1
            node = self.nodes.setdefault((last_node, token, position, max(group, 0) % TAGS), len(self.nodes))
            nodes.append(node)
            strands[group].nodes.append(node)
        return [nodes[before[i]] for i in row.trained], [s for s in strands.values() if s.nodes]


@dataclass(frozen=True, eq=False, slots=True)
class Strand:
    """Tokens that attend causally to one another, those before `first` only to be seen."""

    nodes: list[int]
    first: int


def lay_out(rows: Sequence[Row], device: torch.device) -> Layout:
    """Merges what rows have in common and sorts what is left into buckets. Tokens after a row's last trained one are left out."""
    trie = Trie()
    strands: list[Strand] = []
    pairs: dict[tuple[int, int], int] = {}
    spread: list[int] = []
    for row in rows:
        if row.trained:
            before, more = trie.add(row)
            strands += more
            spread += [pairs.setdefault((node, row.ids[i]), len(pairs)) for node, i in zip(before, row.trained, strict=True)]

    owned = [False] * len(trie.nodes)
    leaves: list[Strand] = []
    for strand in sorted(strands, key=lambda s: len(s.nodes), reverse=True):
        if not owned[strand.nodes[-1]]:  # a strand that is the beginning of another needs no place of its own
            leaves.append(strand)
            for node in strand.nodes[strand.first :]:
                owned[node] = True

    back = [0] * len(trie.nodes)
    buckets: list[Bucket] = []
    offset = 0
    for bucket in (*_buckets([s for s in leaves if not s.first]), *_buckets([s for s in leaves if s.first])):
        width, asking = len(bucket[0].nodes), None
        asked = max(len(s.nodes) - s.first for s in bucket)
        for r, strand in enumerate(bucket):
            for column, node in enumerate(strand.nodes[strand.first :]):
                back[node] = offset + r * asked + column
        if bucket[0].first:
            places = [[min(s.first + t, len(s.nodes) - 1) for t in range(asked)] for s in bucket]
            asking = torch.tensor(places, device=device)
        at = [s.nodes + s.nodes[-1:] * (width - len(s.nodes)) for s in bucket]
        buckets.append(Bucket(torch.tensor(at, device=device), asking))
        offset += len(bucket) * asked
    keys = torch.tensor(list(trie.nodes), dtype=torch.int64, device=device).reshape(-1, 4)
    predicted = torch.tensor(list(pairs), dtype=torch.int64, device=device).reshape(-1, 2)
    return Layout(
        ids=keys[:, 1],
        positions=keys[:, 2],
        thoughts=keys[:, 3],
        tags=max((key[3] for key in trie.nodes), default=0),
        buckets=tuple(buckets),
        back=torch.tensor(back, dtype=torch.int64, device=device),
        before=predicted[:, 0],
        wanted=predicted[:, 1],
        spread=torch.tensor(spread, dtype=torch.int64, device=device),
    )


def _buckets(strands: list[Strand]) -> list[list[Strand]]:
    """Strands, longest first, cut where padding would outgrow `WASTE`."""
    cuts: list[list[Strand]] = []
    real = 0
    for strand in strands:
        if cuts and len(cuts[-1][0].nodes) * (len(cuts[-1]) + 1) <= WASTE * (real + len(strand.nodes)):
            cuts[-1].append(strand)
            real += len(strand.nodes)
        else:
            cuts.append([strand])
            real = len(strand.nodes)
    return cuts


Read = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""(logits [n, V] in fp32, chosen ids [n]) -> what is wanted of them, each [n]."""


def chosen(logits: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """(log π of the chosen ids,)."""
    return (-F.cross_entropy(logits, ids, reduction="none"),)


def chosen_and_entropy(logits: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    """(log π of the chosen ids, entropy of π in nats)."""
    logp = logits.log_softmax(-1)
    return logp.gather(1, ids[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


def read(decoder: Decoder, layout: Layout, temperature: float, what: Read = chosen) -> tuple[Tensor, ...]:
    """What `what` says of every trained token under the decoder's distribution at `temperature`; each [N] in fp32, differentiable.

    Chunks of logits are made again in the backward pass instead of being kept; a batch that is a single chunk keeps it.
    """
    hidden = layout.hidden(decoder)[layout.before]

    def some(states: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        return what(decoder.logits(states).float() / temperature, ids)

    size = max(LOGITS // decoder.config.vocab_size, 1)
    if len(hidden) <= size:
        return tuple(x[layout.spread] for x in some(hidden, layout.wanted))
    parts = zip(hidden.split(size), layout.wanted.split(size), strict=True)
    chunks = [checkpoint(some, states, ids, use_reentrant=False, preserve_rng_state=False) for states, ids in parts]
    return tuple(torch.cat(column)[layout.spread] for column in zip(*chunks, strict=True))
