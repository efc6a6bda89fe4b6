"""wavelet-tiny: octaves of wavelet packets, coded from coarse to fine.

    codax train wavelet-tiny --minutes 39 -o runs/wavelet-tiny

So long on one core gave -36.3 % of JPEG's bits on Kodak.

The same codec behind plain blocks, for comparison:

    codax train wavelet-tiny --set model.transforms.front=space-to-depth \
        --set preset=blocks --minutes 39 -o runs/wavelet-blocks
"""

from codax.codecs.wavelet import WaveletConfig
from codax.train.config import TrainConfig
from codax.transforms.autoencoder import TransformWidths

config = TrainConfig(
    codec="wavelet",
    preset="tiny",
    model=WaveletConfig(
        transforms=TransformWidths(front="wavelet", fine=64, coarse=128),
        hyper=64,
        middle=64,
        features=96,
        hidden=192,
    ),
    data=("train", "train_extra"),
    held_out_of="train_extra",
)
