"""Samples to integer sub-bands and back, without loss: NumPy for files, JAX to train.

RGB becomes luma and two colour differences (YCoCg-R), each then the sub-bands of the
integer 5/3 wavelet over several levels. Level 1 is the finest. By name, with C = 1 for
luma and C = 2 for chroma:

    luma_low, chroma_low     the last low band, [N h w C]
    luma1, chroma1, ...      a level's three details lh, hl, hh, [N h w 3*C]

A side of n samples has ceil(n / 2^level) rows or columns at a level; a high band of an
odd side lacks the last of them, which is 0 here.

Source: Malvar and Sullivan 2003 (YCoCg-R); LeGall and Tabatabai 1988 (5/3), as in
JPEG 2000, ISO/IEC 15444-1, annex F.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codax.coding.order import Order, State, Step, extent
from codax.errors import FormatError
from codax.transforms.arrays import array_module
from codax.transforms.wavelet import Array, Wavelet, dwt2, idwt2

__all__ = [
    "GROUPS",
    "JOIN",
    "WHOLE",
    "Prefix",
    "every_shift",
    "from_bands",
    "join_level",
    "level_count",
    "names_of",
    "run_whole",
    "to_bands",
]

GROUPS = {"luma": 1, "chroma": 2}
"""Groups of colours, in coding order, and the colours of each."""
WAVELET: Wavelet = "cdf53"
DEEP_SIZE, LOW_SIZE = 24.0, 64.0
"""With more than 8 bits, coefficients are shifted down to about such a size, root of
the mean square, which is that of a detailed picture of 8 bits."""
LARGEST = 8191
"""Of a coefficient that goes to the range coder."""
MOST_SHIFT = 15
DEPTHS = {1: (8, 16), 3: (8,)}
"""Bits a sample, by the number of colours."""


def to_bands(samples: Array, levels: int, middle: int) -> dict[str, Array]:
    """Splits samples.

    Args:
        samples: integers [N H W 3] RGB or [N H W 1] grey.
        levels: of the wavelet.
        middle: what counts as 0, half of the range.

    Returns:
        int32 arrays by name, see above; no chroma for grey.
    """
    xp = array_module(samples)
    x = samples.astype(np.int32)
    planes = {"luma": x}
    if x.shape[-1] == 3:
        red, green, blue = x[..., 0:1], x[..., 1:2], x[..., 2:3]
        co = red - blue
        rest = blue + (co >> 1)
        cg = green - rest
        luma = rest + (cg >> 1)
        planes = {"luma": luma, "chroma": xp.concatenate([co, cg], -1)}
    planes["luma"] = planes["luma"] - middle
    bands = {}
    for group, low in planes.items():
        for level in range(1, levels + 1):
            low, *details = dwt2(low, WAVELET)
            bands[f"{group}{level}"] = xp.concatenate(
                [_pad(xp, d, low.shape[1:3]) for d in details], -1
            )
        bands[f"{group}_low"] = low
    return bands


def _pad(xp: Any, band: Array, sides: tuple[int, int]) -> Array:
    """Adds the row or column of zeros that a high band of an odd side lacks."""
    widths = [
        (0, side - have) for side, have in zip(sides, band.shape[1:3], strict=True)
    ]
    return xp.pad(band, ((0, 0), *widths, (0, 0)))


def join_level(low: Array, details: Array, extent: tuple[int, int]) -> Array:
    """The low band of the next finer level, int32[N rows columns C].

    Args:
        low: int32[N h w C].
        details: int32[N h w 3*C].
        extent: its rows and columns.
    """
    rows, columns = extent
    c = low.shape[-1]
    lh, hl, hh = (details[..., k * c : (k + 1) * c] for k in range(3))
    high = (lh[:, : rows // 2], hl[:, :, : columns // 2])
    corner = hh[:, : rows // 2, : columns // 2]
    return idwt2((low, *high, corner), WAVELET)


def _join(low: Array, *details: Array, extent: tuple[int, int]) -> Array:
    low = low.astype(np.int32)
    if not details:
        return low
    return join_level(low, details[0].astype(np.int32), extent)


JOIN = "join"
WHOLE = {JOIN: _join}
"""What a step of whole arrays does, by the name in its coding order: the low band that
a level completes, of the low band above (and its details)."""


def run_whole(
    order: Order,
    step: Step,
    state: State,
    height: int,
    width: int,
    shifts: Mapping[str, int],
) -> np.ndarray:
    """Evaluates a step of whole arrays; beyond the picture its edge is repeated.

    Args:
        order: the codec's.
        step: one with `whole`.
        state: what is known, float32[1 h w C] on padded grids.
        height: rows of the picture.
        width: columns of the picture.
        shifts: by array, how many low bits of its values are not in the state.

    Returns:
        float32[1 h w C], integers, on the target's padded grid.
    """
    own = []
    for name in step.reads:
        rows, columns = extent(height, width, order.strides[name])
        own.append(state[name][:, :rows, :columns].astype(np.int32))
    sides = extent(height, width, order.strides[step.target])
    value = WHOLE[step.whole](*own, extent=sides)
    more = shifts.get(step.reads[0], 0) - shifts.get(step.target, 0)
    value = value << more if more > 0 else value >> -more
    padded = order.padded(height, width, step.target)
    beyond = [(0, side - had) for side, had in zip(padded, sides, strict=True)]
    return np.pad(value, ((0, 0), *beyond, (0, 0)), mode="edge").astype(np.float32)


def from_bands(
    bands: Mapping[str, Array], height: int, width: int, middle: int
) -> Array:
    """Joins what `to_bands` split: int32[N height width 3], or 1 channel for grey."""
    xp = array_module(bands["luma_low"])
    planes = []
    for group in GROUPS:
        if f"{group}_low" not in bands:
            continue
        low = bands[f"{group}_low"].astype(np.int32)
        levels = sum(name.startswith(group) for name in bands) - 1
        for level in range(levels, 0, -1):
            sides = (-(-height // 2 ** (level - 1)), -(-width // 2 ** (level - 1)))
            low = join_level(low, bands[f"{group}{level}"].astype(np.int32), sides)
        planes.append(low)
    luma = planes[0] + middle
    if len(planes) == 1:
        return luma
    co, cg = planes[1][..., 0:1], planes[1][..., 1:2]
    rest = luma - (cg >> 1)
    green = cg + rest
    blue = rest - (co >> 1)
    return xp.concatenate([blue + co, green, blue], -1)


def names_of(names: Iterable[str], colours: int) -> list[str]:
    """The arrays that a picture of 1 or 3 colours has, of all that are coded."""
    return [n for n in names if colours == 3 or n.startswith("luma")]


def every_shift(cut: Mapping[str, int]) -> dict[str, int]:
    """The shifts of all arrays, of those that are coded: joins feed levels."""
    joined = {n.replace("luma", "luma_at"): k for n, k in cut.items()}
    return {**joined, **cut}


def level_count(names: Iterable[str]) -> int:
    """Levels of the wavelet, of the arrays that are coded."""
    return sum(n.startswith("luma") for n in names) - 1


def _names(levels: int) -> list[str]:
    """The arrays of luma, coarsest first."""
    return ["luma_low", *(f"luma{level}" for level in range(levels, 0, -1))]


@dataclass(frozen=True)
class Prefix:
    """What stands in a stream before the range coder's words.

    Bytes: colours, bits a sample; for more than 8 bits a shift for each array, coarsest
    first; zeros to a multiple of 4. Then the low bits that the shifts cut off, array by
    array in order of rows, columns and channels, highest bit first, and zeros likewise.

    Attributes:
        colours: 1 or 3.
        depth: bits a sample, 8 or 16.
        shifts: by array, how many low bits go past the range coder; absent for none.
        low: by array, those bits, int32.
    """

    colours: int
    depth: int
    shifts: Mapping[str, int]
    low: Mapping[str, np.ndarray]

    @property
    def middle(self) -> int:
        """The sample that counts as 0."""
        return 1 << (self.depth - 1)

    @classmethod
    def cut(
        cls, samples: np.ndarray, levels: int
    ) -> tuple[Prefix, dict[str, np.ndarray]]:
        """Cuts a picture into the prefix and what the range coder codes.

        Args:
            samples: uint8[H W 3], uint8[H W 1] or uint16[H W 1].
            levels: of the wavelet.

        Returns:
            The prefix, and integers by array, of at most 8191.
        """
        depth = 8 * samples.dtype.itemsize
        bands = to_bands(samples[None], levels, 1 << (depth - 1))
        shifts, low = {}, {}
        for name in _names(levels) if depth > 8 else ():
            values = bands[name]
            size = LOW_SIZE if name.endswith("low") else DEEP_SIZE
            mean = np.sqrt(np.mean(values.astype(np.float64) ** 2))
            peak = np.abs(values.astype(np.int64)).max()
            wanted = max(mean / size, peak / LARGEST, 1.0)
            shifts[name] = int(np.ceil(np.log2(wanted)))
            low[name] = values[0] & ((1 << shifts[name]) - 1)
            bands[name] = values >> shifts[name]
        return cls(samples.shape[-1], depth, shifts, low), bands

    def samples(
        self, latents: Mapping[str, np.ndarray], height: int, width: int
    ) -> np.ndarray:
        """The picture that was cut, uint8 or uint16 [H W colours].

        Args:
            latents: whole coefficients by array, int32[h w C].
            height: rows of the picture.
            width: columns of the picture.

        Raises:
            FormatError: the coefficients are those of no picture.
        """
        bands = {name: value[None] for name, value in latents.items()}
        values = from_bands(bands, height, width, self.middle)[0]
        if values.min() < 0 or values.max() >= 1 << self.depth:
            raise FormatError("samples out of range; the file is damaged")
        return values.astype(np.uint8 if self.depth == 8 else np.uint16)

    def whole(self, high: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Coefficients, int32, of their high parts."""
        return {
            name: (value.astype(np.int32) << self.shifts[name]) | self.low[name]
            if name in self.shifts
            else value.astype(np.int32)
            for name, value in high.items()
        }

    def write(self) -> bytes:
        """The bytes."""
        head = bytes([self.colours, self.depth, *self.shifts.values()])
        parts = [head.ljust(_round_up(len(head)), b"\0")]
        bits = [
            (self.low[name].reshape(-1, 1) >> np.arange(k - 1, -1, -1)) & 1
            for name, k in self.shifts.items()
        ]
        if bits:
            flat = np.concatenate([b.astype(np.uint8).ravel() for b in bits])
            packed = np.packbits(flat).tobytes()
            parts.append(packed.ljust(_round_up(len(packed)), b"\0"))
        return b"".join(parts)

    @classmethod
    def read(
        cls, stream: bytes, height: int, width: int, levels: int
    ) -> tuple[Prefix, bytes]:
        """Reads a prefix; returns it and the rest of the stream.

        Raises:
            FormatError: the stream is damaged.
        """
        if len(stream) < 4:
            raise FormatError(f"stream of {len(stream)} bytes, expected at least 4")
        colours, depth = stream[0], stream[1]
        if depth not in DEPTHS.get(colours, ()):
            raise FormatError(
                f"stream holds {colours} colours of {depth} bits, expected 1 or 3 of "
                "8, or 1 of 16; the file is damaged"
            )
        names = _names(levels) if depth > 8 else []
        at = _round_up(2 + len(names))
        shifts = dict(zip(names, stream[2:at], strict=False))
        if len(stream) < at or any(k > MOST_SHIFT for k in shifts.values()):
            raise FormatError("stream holds no shifts of 0 to 15; the file is damaged")
        low, counts = {}, {}
        for name in names:
            level = levels if name.endswith("low") else int(name[4:])
            sides = [-(-side // 2**level) for side in (height, width)]
            counts[name] = (*sides, 1 if name.endswith("low") else 3)
        total = sum(shifts[n] * int(np.prod(counts[n])) for n in names)
        end = at + _round_up(-(-total // 8))
        if len(stream) < end:
            raise FormatError(
                f"low bits truncated: {len(stream) - at} of {end - at} bytes; the file "
                "is damaged"
            )
        bits = np.unpackbits(np.frombuffer(stream[at:end], np.uint8))
        start = 0
        for name in names:
            k, count = shifts[name], int(np.prod(counts[name]))
            part = bits[start : start + k * count].reshape(count, k).astype(np.int32)
            weights = 1 << np.arange(k - 1, -1, -1, dtype=np.int32)
            low[name] = (part @ weights).astype(np.int32).reshape(counts[name])
            start += k * count
        return cls(colours, depth, shifts, low), stream[end:]


def _round_up(size: int) -> int:
    return -(-size // 4) * 4
