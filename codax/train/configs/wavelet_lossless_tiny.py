"""wavelet-lossless-tiny: the codec behind `codax encode --lossless`.

    codax train wavelet-lossless-tiny --minutes 22 -o runs/wavelet-lossless-tiny

Decoded pictures equal the originals, so the distortion is 0 and the loss is the rate.
Every sample of a crop is a target, so few crops make a step. On two shared cores this
gave 3.158 bits a sample on Kodak (`tools/lossless.py`), and the rate still fell.
"""

from codax.codecs.lossless import LosslessConfig
from codax.train.config import TrainConfig

config = TrainConfig(
    codec="wavelet-lossless",
    preset="tiny",
    model=LosslessConfig(),
    data=("train", "train_extra"),
    held_out_of="train_extra",
    quality=200,
    batch=4,
    branch_batch=4,
    branch_crop=128,
    rescale=0.25,
)
