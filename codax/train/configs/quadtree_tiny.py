"""quadtree-tiny: the flagship's small preset.

    codax train codax/train/configs/quadtree_tiny.py --minutes 60 -o runs/quadtree-tiny

Kodak against JPEG: -44.0 % after 11.2 hours on one or two cores (`quadtree-tiny-v7`).
With three and four blocks at 1/8 instead of five and eight it gave -31.6 % after 10
minutes on two cores, -40.0 % after an hour on one, -42.5 % after 4.9 hours.
"""

from codax.codecs.quadtree import QuadtreeConfig
from codax.train.config import TrainConfig
from codax.transforms.autoencoder import TransformWidths

config = TrainConfig(
    codec="quadtree",
    preset="tiny",
    model=QuadtreeConfig(
        transforms=TransformWidths(
            analysis_fine=5,
            synthesis_fine=8,
            lmbda_low=0.0004,
            lmbda_high=0.4,
        )
    ),
    data=("train", "train_extra"),
    held_out_of="train_extra",
)
