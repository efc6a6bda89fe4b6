r"""quadtree-base: the flagship's larger preset.

    codax train quadtree-base --init checkpoints/trunk/quadtree-tiny.npz --minutes 60 \
        -o runs/quadtree-base

It begins as the `quadtree-tiny` that it starts from and has more channels and blocks to
learn with. On a GPU add `--set batch=64 --set steps_per_call=20`, see `tools/gpu.py`.
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
            analysis_fine=5,
            synthesis_fine=8,
            lmbda_low=0.0004,
            lmbda_high=0.4,
        ),
        features=256,
        hidden=512,
    ),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    branch=0.25,
)
