"""Decodes files in a process of its own, under whatever setting that process has.

    python settings_worker.py WEIGHTS FILES OUT [--no-jit] [--one-core] [--float]

WEIGHTS is a checkpoint folder, FILES a JSON list of [stream, height, width, quality].
OUT gets a JSON list of hashes of the decoded latents. Used by test_codecs_settings.py.
"""

import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from latent_hashes import latents_hash

from codax.errors import CodaxError
from codax.face.codec import Codec


def float_twin(codec: Codec) -> Codec:
    """The same prior as ordinary codecs have it: float networks, rounded at the end."""

    def twin(step):
        def network(prior, *args):
            outputs = step.function(prior, *args, exact=False)
            return tuple(map(jnp.round, outputs)) if step.coded else outputs

        return step.network and network

    steps = codec.model.prior.steps
    codec.coder.runtime._networks = {step.name: twin(step) for step in steps}
    return codec


def decode_all(codec: Codec, files: list) -> list[str]:
    """The hash of each file's latents, or the error that its decoder met."""
    hashes = []
    for name, height, width, quality in files:
        try:
            stream = Path(name).read_bytes()
            hashes.append(
                latents_hash(codec.coder.decode_latents(stream, height, width, quality))
            )
        except CodaxError as error:
            hashes.append(str(error))
    return hashes


def main() -> None:
    weights, files, out, *flags = sys.argv[1:]
    if "--one-core" in flags and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    codec = Codec.from_folder(Path(weights), runtime="jax")
    if "--float" in flags:
        codec = float_twin(codec)
    with jax.disable_jit("--no-jit" in flags):
        hashes = decode_all(codec, json.loads(Path(files).read_text()))
    Path(out).write_text(json.dumps(hashes))


if __name__ == "__main__":
    main()
