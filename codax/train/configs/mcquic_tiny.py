r"""mcquic-tiny: multi-codebooks over three levels behind the transforms of the house.

    codax train mcquic-tiny --init quadtree-tiny --minutes 12 -o runs/mcquic
    codax export runs/mcquic mcquic-tiny --share quadtree-tiny-v7

The codes start from clusters of what each book sees; analysis stays as it is, so that
they need not follow it. These 12 minutes of a third of a core gave -33.5 % of JPEG's
bits on Kodak, from 28.0 to 30.0 dB, where the range ends.
"""

from codax.codecs.mcquic import McquicConfig
from codax.train.config import TrainConfig
from codax.train.configs.quadtree_tiny import config as quadtree

config = TrainConfig(
    codec="mcquic",
    preset="tiny",
    model=McquicConfig(transforms=quadtree.model.transforms),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a",),
    ema=0.99,
    branch=0.35,
)
