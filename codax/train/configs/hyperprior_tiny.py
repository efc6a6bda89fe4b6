r"""hyperprior-tiny: the prior of `hyperprior` behind the flagship's transforms.

    codax train hyperprior-tiny --minutes 25 -o runs/hyperprior-tiny \
        --init checkpoints/trunk/quadtree-tiny.npz

Shows what this prior is worth beside the others: see RESULTS.md.
"""

from codax.codecs.hyperprior import HyperpriorConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="hyperprior",
    preset="tiny",
    model=HyperpriorConfig(),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a", "g_s"),
    ema=0.99,
    branch=0.35,
)
