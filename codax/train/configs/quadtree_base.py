r"""quadtree-base: the flagship's larger preset, for an accelerator.

    codax train quadtree-base --minutes 25 --set batch=64 --set steps_per_call=20 \
        -o runs/quadtree-base

Not trained yet: its hours are an accelerator's. `tools/gpu.py` has the whole plan.
"""

from codax.codecs.quadtree import QuadtreeConfig
from codax.train.config import TrainConfig
from codax.transforms.autoencoder import TransformWidths

config = TrainConfig(
    codec="quadtree",
    preset="base",
    model=QuadtreeConfig(
        transforms=TransformWidths(
            fine=160,
            coarse=256,
            analysis_fine=4,
            analysis_coarse=2,
            synthesis_coarse=2,
            synthesis_fine=6,
        ),
        side=96,
        hyper=192,
        middle=128,
        features=256,
        hidden=512,
        blocks=3,
    ),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    branch=0.25,
)
