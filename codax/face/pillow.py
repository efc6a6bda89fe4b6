"""Pillow reads and writes `.codax` once this module is imported.

Example:
    >>> import codax.pillow
    >>> from PIL import Image
    >>> image = Image.open("photo.codax")  # doctest: +SKIP
    >>> image.save("again.codax", quality=60)  # doctest: +SKIP

`save` takes the keywords of `codax.face.encoding.encode_image` and `model`, a name or a
path. Opening reads the header only; pixels are decoded when they are first needed.
"""

from __future__ import annotations

from typing import IO

from PIL import Image, ImageFile

from codax.face.encoding import encode_image
from codax.face.loading import decode_image, shared
from codax.files import container
from codax.files.info import read_info
from codax.zoo import cards

__all__ = ["CodaxImageFile"]

_FORMAT = "CODAX"
_AIMS = ("quality", "target_bpp", "target_size", "target_psnr", "lossless")
_OPTIONS = (*_AIMS, "refine", "metadata", "fallback")


class CodaxImageFile(ImageFile.ImageFile):
    """A picture in a `.codax` file, decoded when its pixels are asked for."""

    format = _FORMAT
    format_description = "codax learned image file"

    def _open(self) -> None:
        """Reads the header."""
        self._data: bytes | None = self.fp.read()  # type: ignore[union-attr]
        fields = read_info(self._data)
        self._size = (fields["width"], fields["height"])
        self._mode = fields["mode"]

    def load(self):
        """Decodes the pixels the first time."""
        if self._data is not None:
            image = decode_image(self._data)
            self._data = None
            self.im = image.im
            self._mode = image.mode
            self.palette = image.palette
            self.info.update(image.info)
            if self.fp and self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return super().load()


def _accept(head: bytes) -> bool:
    """Says whether a file begins as ours do."""
    return head.startswith(container.SIGNATURE)


def _save(image: Image.Image, file: IO[bytes], place: str | bytes) -> None:
    """Writes a picture with the keywords that were given to `Image.save`."""
    given = image.encoderinfo  # type: ignore[attr-defined]
    lossless = bool(given.get("lossless"))
    card = cards.choose_card(given.get("model") or None, lossless=lossless)
    options = {key: given[key] for key in _OPTIONS if key in given}
    file.write(encode_image(shared(card).coder, image, **options))


Image.register_open(_FORMAT, CodaxImageFile, _accept)
Image.register_save(_FORMAT, _save)
Image.register_extension(_FORMAT, ".codax")
Image.register_mime(_FORMAT, "image/x-codax")
