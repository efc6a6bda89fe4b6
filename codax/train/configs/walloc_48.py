r"""walloc-48: 48 latent channels at 1/8 to learn on, and a network that decodes.

    codax train walloc-48 --set model.step=20 --minutes 12 -o runs/walloc
    codax train walloc-48 --init runs/walloc/weights.npz --set branch=0.6 \
        --minutes 5.5 -o runs/walloc-48
    codax export runs/walloc-48 walloc-48

Finer steps than the first run's, because latents in steps of 20 lost of the detail that
a classifier looks for; what depends on the step is fitted anew by the second.
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
