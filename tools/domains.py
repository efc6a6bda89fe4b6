"""Makes the pictures of three domains that fine-tuning is measured on.

    pip download --no-deps -d WHEELS deepforest==2.1.0
    python tools/domains.py WHEELS/deepforest-2.1.0-py3-none-any.whl -o OUT

Folders of PNG appear in OUT, of pictures to train on and of others held out:

    screens        16 windows, charts, tables and pages of `codax.train.drawn`
    screens-held   12 others of the same kinds, from another seed
    forest         16 parts of 512x512 of one photograph of a forest from the air
    forest-held    6 parts of 384x512 of another photograph, 2 of 384x384 of another
                   forest and camera
    people         16 photographs of people in black and white
    people-held    8 others

No weights were trained on screens or forests. The people are 24 of
`$CODAX_DATA/train_lossless`, all of which `quadtree-tiny-v7` was trained on in colour.
The forests lie without loss in the wheel of `deepforest` (MIT), by their names from the
sites Yellowstone and Soaproot Saddle of NEON.
"""

import argparse
import io
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from codax.train.drawn import KINDS

SCREENS = ("window", "chart", "table", "page")
SIDE = 512
SEEDS = {"screens": (77, 4), "screens-held": (78, 3)}
"""Seed, and how many of each kind."""
LARGE = "2019_YELL_2_528000_4978000_image_crop2.png"
OTHER = "2019_YELL_2_541000_4977000_image_crop.png"
FAR = ("SOAP_031.png", "SOAP_061.png")
PEOPLE = (
    "0057e1e7 1a930344 201341cf 248a8957 27639d64 31312dd8 36d74b86 3b66d529 "
    "4758a428 56fc9688 5c8f9379 695c9618 7232cd5f 7bd2a17c 829f43b2 99a0dc2a "
    "a49ba4e9 ac28150f bcd32126 c9d89ccb e19535a8 e92c04dc f8838312 b5f707a7"
).split()
"""Every third is held out."""


def drawn(seed: int, count: int) -> dict[str, np.ndarray]:
    """Pictures by name, `count` of each kind."""
    return {
        f"{kind}{k}": KINDS[kind][0](np.random.default_rng([seed, place, k]), SIDE)
        for place, kind in enumerate(SCREENS)
        for k in range(count)
    }


def parts(picture: np.ndarray, rows: int, columns: int) -> dict[str, np.ndarray]:
    """Equal parts of so many pixels that fit into a picture, by place."""
    height, width = picture.shape[:2]
    return {
        f"{top}-{left}": picture[top : top + rows, left : left + columns]
        for top in range(0, height - rows + 1, rows)
        for left in range(0, width - columns + 1, columns)
    }


def people(held: bool) -> dict[str, np.ndarray]:
    """Pictures by name, without their colours."""
    folder = Path(os.environ["CODAX_DATA"]) / "train_lossless"
    names = [name for k, name in enumerate(PEOPLE) if (k % 3 == 2) == held]
    found = {name: Image.open(folder / f"cidt-{name}.webp") for name in names}
    return {k: np.asarray(v.convert("L").convert("RGB")) for k, v in found.items()}


def main() -> None:
    """Writes the four folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="of deepforest 2.1.0")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    given = parser.parse_args()
    folders = {name: drawn(*numbers) for name, numbers in SEEDS.items()}
    with zipfile.ZipFile(given.wheel) as wheel:
        photographs = {
            name: np.asarray(
                Image.open(io.BytesIO(wheel.read(f"deepforest/data/{name}")))
            )[..., :3]
            for name in (LARGE, OTHER, *FAR)
        }
    folders["forest"] = parts(photographs[LARGE], SIDE, SIDE)
    held = parts(photographs[OTHER], SIDE, 384)
    far = {name[:-4]: photographs[name][:384, :384] for name in FAR}
    folders["forest-held"] = held | far
    folders |= {"people": people(held=False), "people-held": people(held=True)}
    for folder, pictures in folders.items():
        place = given.output / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            Image.fromarray(picture).save(place / f"{name}.png")
        print(f"{place}: {len(pictures)} pictures")


if __name__ == "__main__":
    main()
