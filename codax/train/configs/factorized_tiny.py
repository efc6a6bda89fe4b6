r"""factorized-tiny: the prior of `factorized` behind the flagship's transforms.

    codax train factorized-tiny --minutes 25 -o runs/factorized-tiny \
        --init checkpoints/trunk/quadtree-tiny.npz

Shows what this prior is worth beside the others: see RESULTS.md.
"""

from codax.codecs.factorized import FactorizedConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="factorized",
    preset="tiny",
    model=FactorizedConfig(),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a", "g_s"),
    ema=0.99,
    branch=0.35,
)
