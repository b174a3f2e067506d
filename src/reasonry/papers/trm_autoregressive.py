"""The baseline that writes: a causal decoder of the same size that reads the puzzle and then says the grid cell by cell, each one final.

Trained on the same drawn puzzles with the same FLOPs, asked greedily. Differs from a chat model in that the grid is all it knows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonry.lm.decoder import Decoder, DecoderConfig
from reasonry.nn.attention import causal
from reasonry.worlds.grids import Draw, Puzzles
from reasonry.worlds.optim import Average
from reasonry.worlds.trm_train import Recipe


def network(vocab: int, cells: int, width: int, heads: int) -> Decoder:
    """A decoder of two blocks; with `intermediate_size` three times the width it has the size of a TRM-MLP of that width, nearly."""
    config = DecoderConfig(vocab, width, 2, heads, heads, width // heads, 3 * width, max_position=2 * cells)
    decoder = Decoder(config)
    decoder.reset_parameters(torch.Generator().manual_seed(int(torch.randint(2**31, ()))))
    return decoder


def training_flops(decoder: Decoder, cells: int) -> float:
    """Of one row, forward and backward: 6 FLOPs a weight and token, and attention over all pairs of tokens, as SDPA computes them."""
    c, tokens = decoder.config, 2 * cells - 1
    weights = c.num_layers * (4 * c.hidden_size**2 + 3 * c.hidden_size * c.intermediate_size)
    pairs = c.num_layers * 2 * tokens * tokens * c.hidden_size
    return 6.0 * (weights * tokens + pairs + cells * c.hidden_size * c.vocab_size)


def answer_logits(decoder: Decoder, cells: Tensor, said: Tensor) -> Tensor:
    """Logits of the next cells: puzzle [B, L] and the first S cells said [B, S] -> [B, S + 1, V]."""
    ids = torch.cat((cells, said), 1)
    positions = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    last = decoder.forward(ids, positions, causal()).last
    return decoder.logits(last[:, cells.shape[1] - 1 :])


def teach(decoder: Decoder, draw: Draw, recipe: Recipe) -> Decoder:
    """Trains on next cells and leaves the averaged weights."""
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
    average, rng = Average(decoder, recipe.mu), torch.Generator().manual_seed(recipe.seed)
    for step in range(recipe.steps):
        puzzles = draw(recipe.batch, rng)
        logits = answer_logits(decoder, puzzles.cells, puzzles.solutions[:, :-1])
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * min(1.0, (step + 1) / max(recipe.warmup, 1))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.flatten(0, 1), puzzles.solutions.flatten()).backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(decoder.parameters(), recipe.clip_norm)
        optimizer.step()
        average.follow(decoder)
    decoder.load_state_dict(decoder.state_dict() | average.weights)
    return decoder


@torch.no_grad()
def write(decoder: Decoder, puzzles: Puzzles) -> Tensor:
    """Greedy grids [N, L], a cell at a time."""
    said = puzzles.cells[:, :0]
    for _ in range(puzzles.cells.shape[1]):
        said = torch.cat((said, answer_logits(decoder, puzzles.cells, said)[:, -1:].argmax(-1)), 1)
    return said
