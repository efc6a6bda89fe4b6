"""`import codax.pillow`: Pillow reads and writes `.codax`; see `codax.face.pillow`."""

from codax.face.pillow import CodaxImageFile

__all__ = ["CodaxImageFile"]
