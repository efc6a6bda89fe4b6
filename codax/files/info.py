"""What a `.codax` file says of itself, without decoding it. No JAX, no NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codax.files import container
from codax.files.container import Colour, Tag

__all__ = ["read_info"]


def read_info(
    data: bytes, name_of: Callable[[int, bytes], str | None] | None = None
) -> dict[str, Any]:
    """Describes a file.

    Args:
        data: the whole file.
        name_of: gives the name of the weights of a codec's byte and hash.

    Returns:
        Values fit for JSON: `version`, `model` (None if not known; `stored` for a
        stored picture, which needs none), `codec_id`,
        `weights_hash`, `width`, `height`, `mode`, `colour`, `bit_depth`, `quality`
        (0..100), `bpp` (of the whole file), `bytes`, `stream_bytes`, `header_bytes`
        (all that is neither stream nor section), `layers` (their sizes in bytes; empty
        for a file that cannot be cut), `trellis` (whether latents are quantised
        dependently) and `sections`, a list of `tag`, `name`,
        `mandatory`, `bytes`.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle.
    """
    # Nothing is allocated by the picture's size here, so any size may be described.
    file = container.read(data, max_pixels=1 << 70)
    sections = [
        {
            "tag": tag,
            "name": container.tag_name(tag),
            "mandatory": container.is_mandatory(tag),
            "bytes": len(payload),
        }
        for tag, payload in file.sections.items()
    ]
    layers = container.split_layers(file.stream)[0] if file.layered else []
    section_bytes = sum(len(payload) for payload in file.sections.values())
    model = name_of(file.codec_id, file.weights_hash) if name_of else None
    return {
        "version": container.VERSION,
        "model": "stored" if file.stored else model,
        "codec_id": file.codec_id,
        "weights_hash": file.weights_hash.hex(),
        "width": file.width,
        "height": file.height,
        "mode": _mode(file),
        "colour": file.colour.name.lower(),
        "bit_depth": file.bit_depth,
        "quality": file.quality / 2,
        "bpp": len(data) * 8 / (file.width * file.height),
        "bytes": len(data),
        "stream_bytes": len(file.stream),
        "header_bytes": len(data) - len(file.stream) - section_bytes,
        "layers": [len(stream) for stream in layers],
        "trellis": file.trellis,
        "sections": sections,
    }


def _mode(file: container.Container) -> str:
    """Names the mode of the decoded picture, as Pillow does."""
    if Tag.MODE in file.sections:
        return file.sections[Tag.MODE].decode("ascii", "replace")
    mode = "L" if file.colour is Colour.GREY else "RGB"
    if file.bit_depth == 16:
        mode = "I;16"
    if Tag.ALPHA in file.sections:
        return {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    return mode
