r"""rvq-tiny: residual vector quantisation behind the transforms of the house.

    codax train rvq-tiny --init quadtree-tiny --minutes 11 -o runs/rvq
    codax export runs/rvq rvq-tiny --share quadtree-tiny-v7

and, when that analysis has been trained on, from its own weights again:

    codax train rvq-tiny --init rvq-tiny --frozen quadtree-tiny \
        --set branch=1.0 --minutes 5.5 -o runs/rvq2

The codes start from clusters of what each layer leaves; analysis stays as it is, so
that they need not follow it. The two together gave -35.1 % of JPEG's bits on Kodak,
from 28.0 to 28.9 dB, where the range ends.
"""

from codax.codecs.rvq import RvqConfig
from codax.train.config import TrainConfig
from codax.train.configs.quadtree_tiny import config as quadtree

config = TrainConfig(
    codec="rvq",
    preset="tiny",
    model=RvqConfig(transforms=quadtree.model.transforms),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a",),
    ema=0.99,
    branch=0.35,
)
