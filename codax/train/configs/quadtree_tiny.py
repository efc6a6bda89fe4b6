"""quadtree-tiny: the flagship's small preset.

    codax train codax/train/configs/quadtree_tiny.py --minutes 60 -o runs/quadtree-tiny

Figures of what an hour gives stand in the README ("how long must I train").
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
