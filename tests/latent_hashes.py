"""Hashes of decoded latents, as golden files are compared by. No JAX."""

import hashlib

import numpy as np

from codax.files import container


def latents_hash(latents: dict[str, np.ndarray]) -> str:
    """A hash over all decoded latents."""
    digest = hashlib.sha256()
    for name in sorted(latents):
        digest.update(name.encode() + str(latents[name].shape).encode())
        digest.update(latents[name].astype("<i4").tobytes())
    return digest.hexdigest()[:16]


def file_hash(coder, data: bytes) -> str:
    """The hash of a file's latents, as a coder decodes them here."""
    file = container.read(data)
    latents = coder.decode_latents(
        file.stream, file.height, file.width, file.quality, trellis=file.trellis
    )
    return latents_hash(latents)
