"""A next-token model of pictures, on the tokens of `prefix` files.

    codax encode -r photos -o coded -m prefix-tiny
    python next_token.py coded --minutes 2 -o samples.png

A tile of 64x64 pixels is a row of tokens from coarse to fine, so that a picture is
text: tiles in the order of reading, each a word. The model is a small causal
transformer over the tokens of one tile, which also sees the first tokens of the tiles
to the left and above. Samples are drawn tile by tile. After two minutes on half a core
and 120 pictures (6.7 bits a token, 9 at fixed length) each tile is a soft patch with
the colours and gradients of a photograph. They show no things, and hardly go on from
tile to tile: the seams are plain to see.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from PIL import Image

import codax
from codax.datasets import Tokens

WIDTH, HEADS, BLOCKS = 128, 4, 2
SEEN = 8
"""Tokens of the neighbours that the model sees."""
BATCH, RATE = 64, 2e-3


class Block(nnx.Module):
    """Attention to what stands before, and a layer on each position."""

    def __init__(self, *, rngs: nnx.Rngs):
        """Makes the layers."""
        self.norm0, self.norm1 = (nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2))
        self.enter = nnx.Linear(WIDTH, 3 * WIDTH, rngs=rngs)
        self.leave = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.widen = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.narrow = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float32[N T WIDTH] to the same shape."""
        n, t, _ = x.shape
        parts = self.enter(self.norm0(x)).reshape(n, t, 3, HEADS, -1)
        q, k, v = (parts[:, :, i] for i in range(3))
        found = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + self.leave(found.reshape(n, t, WIDTH))
        return x + self.narrow(jax.nn.gelu(self.widen(self.norm1(x))))


class Model(nnx.Module):
    """Chances of each token of a tile, of those before it and of two neighbours."""

    def __init__(self, vocabulary: Sequence[int], *, rngs: nnx.Rngs):
        """Makes the networks for tokens of these alphabets."""
        length, codes = len(vocabulary), max(vocabulary)
        # A code has another meaning at each rank, and beside the tile.
        self.own = nnx.Param(0.02 * rngs.params.normal((length, codes, WIDTH)))
        seen = min(SEEN, length)
        self.near = nnx.Param(0.02 * rngs.params.normal((2, seen, codes, WIDTH)))
        self.rank = nnx.Param(0.02 * rngs.params.normal((length, WIDTH)))
        self.blocks = nnx.List([Block(rngs=rngs) for _ in range(BLOCKS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, codes, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros((length, codes)))

    def __call__(self, tokens: jax.Array, near: jax.Array) -> jax.Array:
        """Logits of every token.

        Args:
            tokens: int32[N L]; token l sees those before it.
            near: int32[N 2 S], first ones of the tiles to the left and above; -1
                where there are none.

        Returns:
            float32[N L codes].
        """
        before = self.own[...][jnp.arange(tokens.shape[1]), tokens][:, :-1]
        x = self.rank[...] + jnp.pad(before, ((0, 0), (1, 0), (0, 0)))
        side, place = jnp.arange(2)[:, None], jnp.arange(near.shape[-1])
        beside = self.near[...][side, place, jnp.maximum(near, 0)]
        x = x + jnp.where(near[..., None] < 0, 0.0, beside).sum((1, 2))[:, None]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)) + self.bias[...]


def tiles_of(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tiles of a picture int32[h w L]: [n L], and what each sees, [n 2 S]."""
    padded = np.pad(tokens, ((1, 0), (1, 0), (0, 0)), constant_values=-1)[..., :SEEN]
    near = np.stack([padded[1:, :-1], padded[:-1, 1:]], 2)
    return tokens.reshape(-1, tokens.shape[-1]), near.reshape(-1, 2, near.shape[-1])


def train(
    files: Tokens, minutes: float, steps: int | None = None, seed: int = 0
) -> tuple[Model, float]:
    """Trains a model on the tiles of files.

    Args:
        files: of one codec.
        minutes: of training, with compilation.
        steps: at most.
        seed: of the start and of the order of tiles.

    Returns:
        The model, and the mean bits a token of its last fifty steps.
    """
    parts = [tiles_of(files[number]) for number in range(len(files))]
    rows, near = (np.concatenate(part) for part in zip(*parts, strict=True))
    model = Model(files.vocabulary, rngs=nnx.Rngs(seed))
    graph, state = nnx.split(model)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE))

    def loss(state, rows, near):
        logits = nnx.merge(graph, state)(rows, near)
        cost = optax.softmax_cross_entropy_with_integer_labels(logits, rows)
        return cost.mean() / np.log(2)

    @jax.jit
    def step(state, memory, rows, near):
        bits, gradient = jax.value_and_grad(loss)(state, rows, near)
        updates, memory = optimizer.update(gradient, memory, state)
        return optax.apply_updates(state, updates), memory, bits

    memory, random, found = optimizer.init(state), np.random.default_rng(seed), []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end and len(found) != steps:
        own = random.integers(0, len(rows), BATCH)
        state, memory, bits = step(state, memory, rows[own], near[own])
        found.append(float(bits))
    return nnx.merge(graph, state), float(np.mean(found[-50:]))


def draw(model: Model, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Draws the tokens of a picture, int32[h w L], tile by tile.

    Args:
        model: from `train`.
        size: rows and columns of tiles.
        seed: of the draws.
    """
    graph, state = nnx.split(model)
    length = model.rank.shape[0]

    @jax.jit
    def next_token(state, row, near, rank, key):
        logits = nnx.merge(graph, state)(row[None], near[None])[0, rank]
        return row.at[rank].set(jax.random.categorical(key, logits))

    found = np.zeros((*size, length), np.int32)
    key = jax.random.key(seed)
    for tile in np.ndindex(*size):
        near = tiles_of(found)[1][tile[0] * size[1] + tile[1]]
        row = jnp.zeros(length, jnp.int32)
        for rank in range(length):
            key, own = jax.random.split(key)
            row = next_token(state, row, near, rank, own)
        found[tile] = row
    return found


def main() -> None:
    """Trains, and writes two pictures side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of `.codax` files")
    parser.add_argument("--model", default="prefix-tiny", help="that wrote them")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("-o", "--output", type=Path, default=Path("samples.png"))
    given = parser.parse_args()
    codec = codax.load(given.model)
    files = Tokens(sorted(given.folder.glob("*.codax")), codec)
    model, bits = train(files, given.minutes)
    fixed = np.log2(max(files.vocabulary))
    sys.stdout.write(f"{bits:.2f} bits a token, {fixed:.0f} at fixed length\n")
    drawn = np.stack([draw(model, (4, 4), seed) for seed in range(2)])
    Image.fromarray(np.hstack(np.asarray(codec.from_tokens(drawn)))).save(given.output)


if __name__ == "__main__":
    main()
