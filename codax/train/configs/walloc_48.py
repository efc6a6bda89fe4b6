r"""walloc-48: 48 latent channels at 1/8 for learning on, and a network that decodes.

codax train walloc-48 --minutes 12 -o runs/walloc-48
codax export runs/walloc-48 walloc-48

TO SAY
"""

from codax.codecs.walloc import WallocConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="walloc",
    preset="48",
    model=WallocConfig(latents=48, step=12.0),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    batch=8,
    branch_batch=4,
    ema=0.99,
    branch=0.35,
)
