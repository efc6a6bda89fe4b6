"""fsq-tiny: digits of bounded alphabets behind the transforms of the house.

    codax train fsq-tiny --init quadtree-tiny --minutes 40 -o runs/fsq
    codax export runs/fsq fsq-tiny

For the figures see RESULTS.md.
"""

from codax.codecs.fsq import FsqConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="fsq",
    preset="tiny",
    model=FsqConfig(),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    ema=0.99,
    branch=0.35,
)
