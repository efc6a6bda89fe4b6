"""quadtree-tiny: the flagship's small preset.

    codax train codax/train/configs/quadtree_tiny.py --minutes 60 -o runs/quadtree-tiny

Kodak against JPEG: 10 minutes on two cores give -31.6 %, an hour on one core -40.0 %,
4.9 hours (`quadtree-tiny-v4`) -42.5 %.
"""

from codax.codecs.quadtree import QuadtreeConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="quadtree",
    preset="tiny",
    model=QuadtreeConfig(),
    data=("train", "train_extra"),
    held_out_of="train_extra",
)
