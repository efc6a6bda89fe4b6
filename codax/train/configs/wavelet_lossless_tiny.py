"""wavelet-lossless-tiny: the codec behind `codax encode --lossless`.

    codax train wavelet-lossless-tiny --minutes 60 -o runs/wavelet-lossless-tiny

Decoded pictures equal the originals, so the distortion is 0 and the loss is the rate.
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
    rescale=0.25,
)
