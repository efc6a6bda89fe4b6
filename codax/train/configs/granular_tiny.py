r"""granular-tiny: tokens of three sizes, and files whose bytes are known beforehand.

    codax train granular-tiny --minutes 15 -o runs/granular
    codax export runs/granular granular-tiny

TO SAY
"""

from codax.codecs.granular import GranularConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="granular",
    preset="tiny",
    model=GranularConfig(),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    batch=8,
    branch_batch=4,
    ema=0.99,
    branch=0.35,
)
