r"""hyperprior-tiny: the prior of `hyperprior` behind the flagship's transforms.

    codax train hyperprior-tiny --init quadtree-tiny --minutes 7 -o runs/tiny
    codax export runs/tiny hyperprior-tiny --share quadtree-tiny-v7

and, when those transforms have been trained on, from its own weights again:

    codax train hyperprior-tiny --init hyperprior-tiny --frozen quadtree-tiny \
        --set branch=1.0 --minutes 3.5 -o runs/tiny2

The transforms stay those of `quadtree-tiny`, so that what the priors are worth can be
compared, and each ships once. The two together gave -37.2 % of JPEG's bits on Kodak.
"""

from codax.codecs.hyperprior import HyperpriorConfig
from codax.train.config import TrainConfig
from codax.train.configs.quadtree_tiny import config as quadtree

config = TrainConfig(
    codec="hyperprior",
    preset="tiny",
    model=HyperpriorConfig(transforms=quadtree.model.transforms),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a", "g_s"),
    ema=0.99,
    branch=0.35,
)
