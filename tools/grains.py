"""What the grains of `granular` are worth, and what coding its tokens would save.

    python tools/grains.py PICTURES DATA [--codec NAME] [--qualities Q,Q]

For each quality: the bytes asked for and those of the files, PSNR and SSIMULACRA2 of
grains by rank, and of one grain for all cells at the same bytes or just below (medium
ones, which take as many as quality 50 about). Then the same tokens with tables: those
that DATA counts, of the map by the grains left and above, of a token's first number by
that of the token to the left, of the others by themselves. Those are ideal lengths, of
tables that any reader could hold.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import codax
from codax.codecs.granular import FOLDS, NAMES
from codax.entropy.grain_codes import MOST
from codax.entropy.ranks import WHOLE
from codax.evaluation.metrics import psnr
from codax.evaluation.ssimulacra2 import ssimulacra2
from codax.face.codec import Codec
from codax.face.foreseen import file_bytes
from codax.train.pictures import find_pictures
from codax.zoo.cards import find_card
from codax.zoo.weights import read_checkpoint

COUNTED, SIDE = 80, 512
"""Pictures of DATA that are counted, and the side of the part of each."""


def opened(folder: Path) -> list[np.ndarray]:
    """The pictures of a folder, uint8[H W 3]."""
    return [np.asarray(Image.open(p).convert("RGB")) for p in find_pictures([folder])]


def of_one_grain(name: str) -> Codec:
    """The codec with medium grains everywhere, at every quality."""
    packed, card = read_checkpoint(find_card(name).folder)
    packed = packed | {"prior/shares": np.tile(np.float32([WHOLE, 0]), (201, 1))}
    return Codec(packed, card)


def digits(codec: Codec, tokens: np.ndarray, grain: int, place: int) -> np.ndarray:
    """The level of each number of tokens, integers[... numbers]."""
    every = getattr(codec.model.g_a, f"factors_{NAMES[grain]}")[...]
    factors = np.asarray(every[place]).astype(int)
    factors = factors[factors > 0]
    ends = np.append(factors[1:], MOST + 1)
    return tokens[..., None] % ends // factors


def symbols(codec: Codec, tokens: np.ndarray):
    """Of a picture's tokens [h w 17], what is coded: (name, context, value) arrays."""
    grains = np.pad(tokens[..., 0], ((1, 0), (1, 0)))
    context = 3 * grains[1:, :-1] + grains[:-1, 1:]
    yield "map", context.ravel(), tokens[..., 0].ravel()
    for grain, fold in enumerate(FOLDS):
        h, w, _ = tokens.shape
        own = tokens[..., 1 : 1 + fold**2].reshape(h, w, fold, fold)
        own = own.transpose(0, 2, 1, 3).reshape(h * fold, w * fold)
        there = np.repeat(np.repeat(tokens[..., 0] == grain, fold, 0), fold, 1)
        # The brightest number first: that of the block to the left foretells it.
        for place in range(min(fold**2, 4)):
            part = np.s_[place // 2 :: 2, place % 2 :: 2] if fold > 1 else np.s_[:, :]
            found, here = digits(codec, own[part], grain, place), there[part]
            left = np.where(here, found[..., 0] + 1, 0)
            left = np.pad(left, ((0, 0), (1, 0)))[:, :-1]
            for number in range(found.shape[-1]):
                known = left if number == 0 else 0 * left
                name = f"{grain} {place} {number}"
                yield name, known[here], found[..., number][here]


def counted(codec: Codec, every: list[np.ndarray]) -> dict[str, np.ndarray]:
    """How often each value was seen in each context, with a little for the others."""
    tables: dict[str, np.ndarray] = {}
    for tokens in every:
        for name, context, value in symbols(codec, tokens):
            table = tables.setdefault(name, np.full((64, 64), 0.02))
            np.add.at(table, (context, value), 1.0)
    return tables


def coded_bytes(codec: Codec, tables, tokens: np.ndarray) -> float:
    """Bytes of a picture's tokens by tables."""
    bits = 0.0
    for name, context, value in symbols(codec, tokens):
        table = tables[name]
        bits -= np.log2(table[context, value] / table[context].sum(-1)).sum()
    return bits / 8


def row(codec: Codec, pictures: list[np.ndarray], quality: float) -> tuple:
    """Mean bytes, PSNR and SSIMULACRA2, and the tokens of each picture."""
    sizes, db, score, tokens = [], [], [], []
    for rgb in pictures:
        data = codec.encode(rgb, quality, metadata="none", fallback=False)
        expected = file_bytes(codec, *rgb.shape[:2], quality)
        if len(data) != expected:
            raise SystemExit(f"{len(data)} bytes, foreseen {expected}")
        back = np.asarray(codec.decode(data))
        sizes.append(len(data))
        db.append(psnr(rgb, back))
        score.append(ssimulacra2(rgb, back))
        tokens.append(codec.file_tokens(data)[0])
    return np.mean(sizes), np.mean(db), np.mean(score), tokens


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="folder to measure on")
    parser.add_argument("data", type=Path, help="folder that tables are counted on")
    parser.add_argument("--codec", default="granular-tiny")
    parser.add_argument("--qualities", default="25,50,75")
    args = parser.parse_args()
    codec = codax.load(args.codec, runtime="jax")
    pictures = opened(args.pictures)
    shown = [float(q) for q in args.qualities.split(",")]
    height, width = pictures[0].shape[:2]
    one = of_one_grain(args.codec)
    known = file_bytes(one, height, width, 50)
    every = [half / 2 for half in range(201)]
    near = max(q for q in every if file_bytes(codec, height, width, q) <= known)
    data = [p[:SIDE, :SIDE] for p in opened(args.data) if min(p.shape[:2]) >= SIDE]
    for quality in sorted({*shown, near}):
        size, db, score, tokens = row(codec, pictures, quality)
        tokenise = jax.jit(lambda x, at=quality: codec.tokens(x, at))
        seen = [np.asarray(tokenise(p[None]))[0] for p in data[:COUNTED]]
        tables = counted(codec, seen)
        coded = np.mean([coded_bytes(codec, tables, t) for t in tokens])
        print(
            f"quality {quality:5}  {size:9.1f} bytes, all as foreseen  {db:.2f} dB  "
            f"{score:6.2f}  with tables {coded:9.1f} bytes, {100 * coded / size:.1f} %"
        )
    size, db, score, _ = row(one, pictures, 50)
    print(f"one grain      {size:9.1f} bytes  {db:.2f} dB  {score:6.2f}")


if __name__ == "__main__":
    main()
