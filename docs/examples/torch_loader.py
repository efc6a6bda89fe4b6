"""Batches of crops from `.codax` files, by PyTorch's loader with workers.

    python torch_loader.py coded/*.codax

Workers are forked, PyTorch's own way on Linux, whether this process has decoded
pictures or not.
"""

import sys
from functools import partial

import torch
from torch.utils.data import DataLoader

from codax.datasets import Pictures


def crop(side, samples):
    """The upper left corner of a picture, float32[3 side side] of 0..1."""
    corner = torch.from_numpy(samples[:side, :side])
    return corner.permute(2, 0, 1) / 255


def loader(files, side=256, batch=32, workers=2):
    """Batches float32[N 3 side side] of the pictures, in turn."""
    return DataLoader(
        Pictures(files, partial(crop, side)),
        batch_size=batch,
        num_workers=workers,
        multiprocessing_context="fork",
    )


if __name__ == "__main__":
    for pictures in loader(sys.argv[1:]):
        sys.stdout.write(f"{tuple(pictures.shape)}\n")
