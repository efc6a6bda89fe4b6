"""wavelet-lossless-tiny: the codec behind `codax encode --lossless`.

    codax train wavelet-lossless-tiny --minutes 95 -o runs/wavelet-lossless-tiny

Decoded pictures equal the originals, so the distortion is 0 and the loss is the rate.
Every sample of a crop is a target, so few crops make a step. On one core this gave
3.143 bits a sample on Kodak (`tools/lossless.py`); 22 minutes had given 3.158, so more
time alone will not reach JPEG XL.
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
