r"""adaptive-tiny: the widths of quadtree-tiny with transforms chosen for each cell.

    codax train adaptive-tiny --steps 3000 --set bfloat16=true --set accumulate=8 \
        -o runs/adaptive

is how it was compared with quadtree-tiny; no weights of it ship.
"""

from codax.codecs.adaptive import AdaptiveConfig
from codax.train.config import TrainConfig
from codax.transforms.autoencoder import TransformWidths

config = TrainConfig(
    codec="adaptive",
    preset="tiny",
    model=AdaptiveConfig(
        transforms=TransformWidths(
            analysis_fine=0,
            analysis_coarse=0,
            synthesis_fine=8,
            lmbda_low=0.0004,
            lmbda_high=0.4,
        )
    ),
    data=("train", "train_extra"),
    held_out_of="train_extra",
)
