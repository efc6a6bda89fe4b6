r"""factorized-tiny: the prior of `factorized` behind the flagship's transforms.

    codax train factorized-tiny --init quadtree-tiny --minutes 5 -o runs/tiny
    codax export runs/tiny factorized-tiny --share quadtree-tiny-v7

and, when those transforms have been trained on, from its own weights again:

    codax train factorized-tiny --init factorized-tiny --frozen quadtree-tiny \
        --set branch=1.0 --minutes 2 -o runs/tiny2

The transforms stay those of `quadtree-tiny`, so that what the priors are worth can be
compared, and each ships once. The two together gave -19.8 % of JPEG's bits on Kodak.
"""

from codax.codecs.factorized import FactorizedConfig
from codax.train.config import TrainConfig
from codax.train.configs.quadtree_tiny import config as quadtree

config = TrainConfig(
    codec="factorized",
    preset="tiny",
    model=FactorizedConfig(transforms=quadtree.model.transforms),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a", "g_s"),
    ema=0.99,
    branch=0.35,
)
