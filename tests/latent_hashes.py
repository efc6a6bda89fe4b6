"""Hashes of decoded latents, as golden files are compared by. No JAX."""

import hashlib

import numpy as np


def latents_hash(latents: dict[str, np.ndarray]) -> str:
    """A hash over all decoded latents."""
    digest = hashlib.sha256()
    for name in sorted(latents):
        digest.update(name.encode() + str(latents[name].shape).encode())
        digest.update(latents[name].astype("<i4").tobytes())
    return digest.hexdigest()[:16]
