r"""fsq-tiny: digits of bounded alphabets behind the transforms of the house.

    codax train fsq-tiny --init quadtree-tiny --minutes 9 -o runs/fsq
    codax export runs/fsq fsq-tiny --share quadtree-tiny-v7

and, when those transforms have been trained on, from its own weights again:

    codax train fsq-tiny --init fsq-tiny --frozen quadtree-tiny \
        --set branch=1.0 --minutes 4 -o runs/fsq2

The transforms stay those of `quadtree-tiny` and ship once. The two together gave
-45.9 % of JPEG's bits on Kodak, up to 34.0 dB.
"""

from codax.codecs.fsq import FsqConfig
from codax.train.config import TrainConfig
from codax.train.configs.quadtree_tiny import config as quadtree

config = TrainConfig(
    codec="fsq",
    preset="tiny",
    model=FsqConfig(transforms=quadtree.model.transforms),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a", "g_s"),
    ema=0.99,
    branch=0.35,
)
