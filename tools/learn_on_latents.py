"""Learns textures from latents and from reduced pixels: what latents are worth.

    python tools/learn_on_latents.py DATA [--codec NAME] [--classes N] [--seeds N]
                                     [--seconds S] [--finer N]

Classes are pictures of DATA, those with most detail. Of parts of 64x64 pixels only the
detail is kept that is finer than 8 pixels, waves shorter than that: what reducing by
half of it, 4, and enlarging again leaves out. The left half of a picture is learned,
the right half is asked for. One small network sees them as latents, or as pixels that
bicubic filters reduced to as many numbers: 48 channels at 1/8 are three colours at 1/2.
Both are folded to one shape, so that the networks are the same; each gets as many
seconds of the processor.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from PIL import Image

import codax
from codax.train.pictures import find_pictures
from codax.transforms.arrays import space_to_depth
from codax.transforms.layers import Dense, Depthwise, hard_wsilu

SIDE, LOOKED = 64, 120
TRAIN, TEST, BATCH = 160, 60, 64
WIDTH, RATE = 64, 2e-3


class Classifier(nnx.Module):
    """Three layers at 1/8 and a mean over places: float32[N h w C] to [N classes]."""

    def __init__(self, inputs: int, classes: int, *, rngs: nnx.Rngs):
        """Makes the layers."""
        self.enter = Dense(inputs, WIDTH, rngs=rngs, gain=1.4)
        self.spatial = Depthwise(WIDTH, rngs=rngs)
        self.middle = Dense(WIDTH, 2 * WIDTH, rngs=rngs, gain=1.4)
        self.leave = Dense(2 * WIDTH, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits."""
        x = hard_wsilu(self.spatial(hard_wsilu(self.enter(x))))
        return self.leave(hard_wsilu(self.middle(x)).mean((1, 2)))


def details(folder: Path, classes: int, finer: int) -> list[np.ndarray]:
    """The details of the pictures with most of them, uint8[H W 3] about 128."""
    found = []
    for path in find_pictures([folder])[:LOOKED]:
        picture = Image.open(path).convert("RGB")
        if min(picture.size) < 4 * SIDE:
            continue
        small = picture.reduce(finer // 2)
        low = np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC), float)
        detail = np.clip(np.asarray(picture) - low + 128.0, 0, 255).astype(np.uint8)
        found.append((float(detail.std()), str(path), detail))
    if len(found) < classes:
        raise SystemExit(f"{folder}: {len(found)} pictures, expected {classes} or more")
    return [detail for _, _, detail in sorted(found)[::-1][:classes]]


def parts(pictures: list[np.ndarray], left: bool, count: int, seed: int):
    """Parts uint8[n 64 64 3] of one half of each picture, and their classes."""
    random = np.random.default_rng(seed)
    found, own = [], []
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        low, high = (0, width // 2) if left else (width // 2, width)
        for _ in range(count):
            i = random.integers(0, height - SIDE + 1)
            j = random.integers(low, high - SIDE + 1)
            found.append(picture[i : i + SIDE, j : j + SIDE])
            own.append(number)
    return np.stack(found), np.array(own)


def reduced(images: np.ndarray, channels: int) -> np.ndarray:
    """Pixels reduced to as many numbers as latents of so many channels, at 1/8."""
    fold = round((channels / 3) ** 0.5)
    if 3 * fold * fold != channels:
        raise SystemExit(f"{channels} channels are no colours of squares of pixels")
    size = (SIDE * fold // 8,) * 2
    small = [Image.fromarray(p).resize(size, Image.Resampling.BICUBIC) for p in images]
    return space_to_depth(np.stack([np.asarray(p) for p in small]), fold)


def accuracy(train, test, classes: int, seed: int, seconds: float) -> tuple[float, int]:
    """The share of the test that is right after so many seconds, and the steps."""
    mean, std = train[0].mean((0, 1, 2)), train[0].std((0, 1, 2)) + 1e-3
    x, y = jnp.asarray((train[0] - mean) / std, jnp.float32), jnp.asarray(train[1])
    inputs = x.shape[-1]
    graph, state = nnx.split(Classifier(inputs, classes, rngs=nnx.Rngs(seed)))
    optimizer = optax.adam(RATE)

    def loss(state, rows):
        logits = nnx.merge(graph, state)(x[rows])
        picked = optax.softmax_cross_entropy_with_integer_labels(logits, y[rows])
        return picked.mean()

    @jax.jit
    def step(state, opt, key):
        rows = jax.random.randint(key, (BATCH,), 0, len(y))
        updates, opt = optimizer.update(jax.grad(loss)(state, rows), opt)
        return optax.apply_updates(state, updates), opt

    opt = optimizer.init(state)
    step(state, opt, jax.random.key(0))  # compiled, and forgotten
    begin, steps = time.process_time(), 0
    while time.process_time() - begin < seconds:
        key = jax.random.fold_in(jax.random.key(seed), steps)
        state, opt = step(state, opt, key)
        jax.block_until_ready(opt)
        steps += 1
    asked = jnp.asarray((test[0] - mean) / std, jnp.float32)
    found = jax.jit(nnx.merge(graph, state))(asked).argmax(-1)
    return float((np.asarray(found) == test[1]).mean()), steps


def main() -> None:
    """Prints accuracies by seed, their means, and pictures a second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of pictures")
    parser.add_argument("--codec", default="walloc-48")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--finer", type=int, default=8, help="pixels of a wave")
    args = parser.parse_args()
    codec = codax.load(args.codec)
    pictures = details(args.data, args.classes, args.finer)
    means = {"latents": [], "pixels": []}
    for seed in range(args.seeds):
        sets = {name: [] for name in means}
        for left, count in ((True, TRAIN), (False, TEST)):
            images, own = parts(pictures, left, count, 2 * seed + left)
            found = np.asarray(codec.latents(images))
            sets["latents"].append((found, own))
            sets["pixels"].append((reduced(images, found.shape[-1]), own))
        for name, (train, test) in sets.items():
            share, steps = accuracy(train, test, args.classes, seed, args.seconds)
            means[name].append(share)
            print(f"seed {seed}  {name:8}{100 * share:6.1f} %  {steps} steps")
    for name, shares in means.items():
        print(f"mean    {name:8}{100 * np.mean(shares):6.1f} %")
    gain = np.mean(means["latents"]) - np.mean(means["pixels"])
    print(f"latents: {100 * gain:+.1f} points; chance is {100 / args.classes:.1f} %")
    begin = time.process_time()
    for _ in range(3):
        codec.latents(images).block_until_ready()
    rate = 3 * len(images) / (time.process_time() - begin)
    print(f"{rate:.0f} pictures of {SIDE}x{SIDE} to latents a second of the processor")


if __name__ == "__main__":
    main()
