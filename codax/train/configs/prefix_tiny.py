r"""prefix-tiny: rows of tokens of tiles behind the transforms of the house.

    codax train prefix-tiny --init quadtree-tiny --minutes 15 -o runs/prefix
    codax export runs/prefix prefix-tiny --share quadtree-tiny-v7

The codes start from clusters of what each token sees; analysis stays as it is, so that
they need not follow it. These 15 minutes of half a core gave 22.0 dB at 0.018 bpp and
24.2 dB at 0.066 on Kodak, where the range ends.
"""

from codax.codecs.prefix import PrefixConfig
from codax.train.config import TrainConfig
from codax.train.configs.quadtree_tiny import config as quadtree

config = TrainConfig(
    codec="prefix",
    preset="tiny",
    model=PrefixConfig(transforms=quadtree.model.transforms),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a",),
    ema=0.99,
    branch=0.35,
)
