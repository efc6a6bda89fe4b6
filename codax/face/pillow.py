"""Pillow reads and writes `.codax` once this module is imported.

Example:
    >>> import codax.pillow
    >>> from PIL import Image
    >>> image = Image.open("photo.codax")  # doctest: +SKIP
    >>> image.save("again.codax", quality=60)  # doctest: +SKIP

Opening reads all but the pixels, which are decoded when they are first needed: size,
mode, profile, EXIF, XMP and palette are there at once. What cannot be opened raises
Pillow's `UnidentifiedImageError`, what cannot be decoded `OSError`, as programs expect;
the error of codax is its cause.

`save` takes the keywords of `codax.face.encoding.encode_image`, `model`, a name or a
path, and as Pillow's own formats do `exif`, `icc_profile` and `xmp`, which go before
what the picture carries; empty ones take it away.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile, ImagePalette

from codax.errors import CodaxError, UnsupportedError
from codax.face.decoding import previews, read_beside
from codax.face.loading import decode_image, find_codec, shared
from codax.files import container, pictures
from codax.zoo import cards

__all__ = ["CodaxImageFile"]

_FORMAT = "CODAX"
_AIMS = ("quality", "target_bpp", "target_size", "target_psnr", "lossless")
_OPTIONS = (*_AIMS, "effort", "metadata", "fallback")
_METADATA = ("exif", "icc_profile", "xmp")


class CodaxImageFile(ImageFile.ImageFile):
    """A picture in a `.codax` file, decoded when its pixels are asked for."""

    format = _FORMAT
    format_description = "codax learned image file"
    # Of the class too, since a copy by pickle is made without `_open`.
    _data: bytes | None = None
    _reduction = 1

    def _open(self) -> None:
        """Reads all but the pixels."""
        # A longer file is no valid one; no more of it is taken into memory.
        data = self.fp.read(container.MAX_FILE + 1)  # type: ignore[union-attr]
        try:
            # Sizes are Pillow's to judge here, and those of `load` there.
            file = container.read(data, max_pixels=1 << 70)
            picture = read_beside(file)
        except CodaxError as error:
            raise Image.UnidentifiedImageError(str(error)) from error
        self._data = data
        self._size, self._mode = (file.width, file.height), picture.mode
        self.info.update(pictures.info_of(picture))
        if picture.palette is not None:
            colours = np.ascontiguousarray(picture.palette[:, :3])
            self.palette = ImagePalette.raw("RGB", colours.tobytes())
        elif picture.mode == "P":
            # A stored picture's palette is the colours of its samples.
            self.info.update(self._decode(data).info)

    def _decode(self, data: bytes) -> Image.Image:
        """Takes the pixels of a file, and returns the picture they come from."""
        try:
            image = decode_image(data, reduction=self._reduction)
        except CodaxError as error:
            raise OSError(str(error)) from error
        self._data = None
        self.im, self.palette, self.readonly = image.im, image.palette, 0
        return image

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> Any:
        """Lets a smaller picture be decoded, which is quicker; as for JPEG.

        Args:
            mode: not looked at.
            size: columns and rows that are needed at least.

        Returns:
            The mode, and left, top, right and bottom of the picture in what will be
            decoded; None where that is the picture as it is, such as one with alpha.
        """
        if self._data is None or self._reduction != 1 or not size:
            return None
        width, height = self.size
        try:
            file = container.read(self._data, max_pixels=1 << 70)
            known = previews(file, lambda file: find_codec(file).coder)
        except CodaxError:  # Which `load` will say.
            return None
        for reduction in known:
            if width // reduction >= size[0] and height // reduction >= size[1]:
                self._reduction = reduction
                self._size = -(-width // reduction), -(-height // reduction)
                return self.mode, (0, 0, width / reduction, height / reduction)
        return None

    def load(self) -> Any:
        """Decodes the pixels the first time, and closes a file of Pillow's own.

        Raises:
            OSError: they cannot be decoded.
        """
        if self._data is not None:
            self._decode(self._data)
        file = getattr(self, "fp", None)  # Copies by pickle have no such field.
        if file and self._exclusive_fp:
            file.close()
        self.fp = None
        return super().load()

    def close(self) -> None:
        """Closes the file; the pixels are gone."""
        self._data = None
        super().close()


def _accept(head: bytes) -> bool:
    """Says whether a file begins as ours do."""
    return head.startswith(container.SIGNATURE)


def _save(image: Image.Image, file: IO[bytes], place: str | bytes) -> None:
    """Writes a picture with the keywords that were given to `Image.save`."""
    given = image.encoderinfo  # type: ignore[attr-defined]
    lossless = bool(given.get("lossless"))
    card = cards.choose_card(given.get("model") or None, lossless=lossless)
    options = {key: given[key] for key in _OPTIONS if key in given}
    instead = {key: given[key] for key in _METADATA if key in given}
    picture = pictures.from_image(image, instead)
    file.write(shared(card).encode(picture, **options))


def _save_all(image: Image.Image, file: IO[bytes], place: str | bytes) -> None:
    """Writes a picture, if there is but one."""
    given = image.encoderinfo  # type: ignore[attr-defined]
    frames = getattr(image, "n_frames", 1) + len(list(given.get("append_images") or ()))
    if frames > 1:
        raise UnsupportedError(
            f"a codax file holds one picture, got {frames} frames; save each to a file "
            "of its own, or leave save_all and append_images out"
        )
    _save(image, file, place)


Image.register_open(_FORMAT, CodaxImageFile, _accept)
Image.register_save(_FORMAT, _save)
Image.register_save_all(_FORMAT, _save_all)
Image.register_extension(_FORMAT, ".codax")
Image.register_mime(_FORMAT, "image/x-codax")
