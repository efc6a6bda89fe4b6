r"""channelwise-tiny: the prior of `channelwise` behind the flagship's transforms.

    codax train channelwise-tiny --minutes 25 -o runs/channelwise-tiny \
        --init checkpoints/trunk/quadtree-tiny.npz

Shows what this prior is worth beside the others: see RESULTS.md.
"""

from codax.codecs.channelwise import ChannelwiseConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="channelwise",
    preset="tiny",
    model=ChannelwiseConfig(),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    freeze=("g_a", "g_s"),
    ema=0.99,
    branch=0.35,
)
