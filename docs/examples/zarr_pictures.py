"""An array of pictures on disk, a `.codax` file for each: Zarr with codax inside.

    python zarr_pictures.py photos.zarr a.png b.png ...

The pictures must be of one size. `codax decode photos.zarr/0.0.0.0` reads a chunk, too.
"""

import sys
from pathlib import Path

import numpy as np
import zarr
from PIL import Image

import codax.numcodecs


def write(
    place: Path, pictures: np.ndarray, quality: float, model: str | None = None
) -> None:
    """Writes pictures uint8[N H W 3] as a Zarr array of one chunk each."""
    array = zarr.create_array(
        place,
        shape=pictures.shape,
        chunks=(1, *pictures.shape[1:]),
        dtype=pictures.dtype,
        # The format whose chunks are coded by the codecs of numcodecs.
        zarr_format=2,
        compressors=codax.numcodecs.Codax(quality=quality, model=model),
    )
    array[:] = pictures


if __name__ == "__main__":
    own = [np.asarray(Image.open(name).convert("RGB")) for name in sys.argv[2:]]
    write(Path(sys.argv[1]), np.stack(own), quality=60)
