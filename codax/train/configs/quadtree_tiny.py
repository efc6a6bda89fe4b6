"""quadtree-tiny: the flagship's small preset.

    codax train codax/train/configs/quadtree_tiny.py --minutes 60 -o runs/quadtree-tiny

Kodak against JPEG, with three and four blocks at 1/8 instead of five and eight: 10
minutes on two cores give -31.6 %, an hour on one core -40.0 %, 4.9 hours
(`quadtree-tiny-v4`) -42.5 %.
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
