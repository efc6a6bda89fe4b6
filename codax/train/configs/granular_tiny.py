r"""granular-tiny: tokens of three sizes, and files whose bytes are known beforehand.

    codax train granular-tiny --minutes 14 -o runs/granular
    codax export runs/granular granular-tiny

Transforms and codes are fitted at the start, the synthesis alone is trained: 2000 steps
in 14 minutes of a part of a core.
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
