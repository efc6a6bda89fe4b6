"""A small stand-in for a trained codec: zlib of pixels rounded by quality.

It has the methods that `codax.face.encoding` and the command line use, needs no JAX and
no weights, and `install` makes codax find it under the name `fake-tiny-v1`.
"""

import json
import zlib

import numpy as np

from codax.errors import FormatError, ModelError
from codax.face.decoding import decode_with
from codax.face.encoding import encode_image
from codax.files.container import Container, write
from codax.zoo import cards, releases

CARD = {
    "name": "fake-tiny-v1",
    "codec": "fake",
    "preset": "tiny",
    "version": 1,
    "codec_id": 250,
    "weights_hash": "66616b653031",
    "qualities": [0, 100],
    "default": True,
    "bpp": [0.1, 2.5],
    "kmac_per_pixel": {"encode": 1.5, "decode": 2.5},
    "bd_rate": {"jpeg": -12.5},
    "bytes": 12345,
    "licence": "CC0-1.0",
    "previous": {"66616b653030": "fake-tiny-v0"},
}


class FakeCodec:
    """Rounds to steps of 1 to 41 levels and hands the rest to zlib."""

    name = "fake-tiny-v1"
    codec_id = 250
    weights_hash = b"fake01"
    qualities = (0, 100)
    layers = 1
    lossless = False
    refines = False
    preview = None

    def __init__(self):
        self.calls = 0
        self.coder = self

    def wrote(self, file):
        return (self.codec_id, self.weights_hash) == (file.codec_id, file.weights_hash)

    def dependent(self, quality, **effort):
        return False

    def compress(self, rgb, quality, **effort):
        self.calls += 1
        step = 1 + (200 - quality) // 5
        return zlib.compress((rgb // step).tobytes())

    def decompress(
        self, stream, height, width, quality, *, trellis=0, oracle=0, region=None
    ):
        if trellis:
            raise FormatError("latents are quantised dependently, but fake has none")
        step = 1 + (200 - quality) // 5
        size = height * width * 3
        decoder = zlib.decompressobj()
        try:
            pixels = decoder.decompress(stream, size + 1)
        except zlib.error as error:
            raise FormatError(f"stream is damaged: {error}") from error
        if len(pixels) != size or not decoder.eof:
            raise FormatError(f"stream holds {len(pixels)} bytes; expected {size}")
        levels = np.frombuffer(pixels, np.uint8).astype(np.int32)
        levels = np.clip(levels * step + step // 2, 0, 255).astype(np.uint8)
        return levels.reshape(height, width, 3)

    def encode(self, image, quality=None, **options):
        return encode_image(self, image, quality=quality, **options)

    def decode(self, data, **options):
        return decode_with(self, data, **options)


def install(monkeypatch, folder):
    """Makes `fake-tiny-v1` the only codec that codax finds; returns the codec."""
    codec = FakeCodec()
    place = folder / "fake-tiny-v1"
    place.mkdir(parents=True)
    (place / "card.json").write_text(json.dumps(CARD))
    (place / "weights.safetensors").write_bytes(b"")

    def load(name=None, **options):
        if name is not None and cards.find_card(str(name)).name != codec.name:
            raise ModelError(f"no fake codec is named {name}")
        return codec

    monkeypatch.setattr("codax.face.loading.load", load)
    monkeypatch.setattr(cards, "checkpoint_folders", lambda: [folder])
    own = releases.Released(codec.name, CARD["codec_id"], CARD["weights_hash"], "9.8.7")
    monkeypatch.setattr(releases, "list_released", lambda: (own,))
    return codec


def work_in(monkeypatch, folder):
    """Moves to a folder, for commands with this codec alone and without JAX."""
    monkeypatch.setattr("codax.cli.runtime.prepare_jax", lambda device: None)
    monkeypatch.chdir(folder)
    return install(monkeypatch, folder / "checkpoints")


def small_file():
    """A file that says it is of this codec; its stream is none."""
    return write(
        Container(
            codec_id=250,
            weights_hash=b"fake01",
            width=3,
            height=2,
            quality=150,
            stream=b"abc",
        )
    )
