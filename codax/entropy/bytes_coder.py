"""Range coding of plain bytes with one stored table, for side data such as alpha.

Layout: number of different values less one (uint8); per value, in rising order, the
value (uint8) and its frequency less one (uint16); then the words of the range coder
(uint32). All little-endian.

The frequencies become integer weights w_i with sum 2^24 - n over n symbols.
constriction turns such weights, given as floats with `perfect=False`, into exactly
(w_i + 1) / 2^24, so that the table is the same integers on every machine.
"""

from __future__ import annotations

import constriction
import numpy as np

from codax.errors import FormatError

__all__ = ["decode_bytes", "encode_bytes"]

_TOTAL = 1 << 24
_ENTRY = np.dtype([("value", "u1"), ("frequency", "<u2")])
# Symbols pass through the coder in blocks, as int32, so that a large plane does not
# need four times its size at once.
_BLOCK = 1 << 20


def encode_bytes(values: np.ndarray) -> bytes:
    """Codes bytes with a table of their own frequencies.

    Args:
        values: uint8[n].

    Returns:
        The table and the range coder's words; empty for n = 0.

    Raises:
        FormatError: `values` is not a row of uint8.
    """
    if values.dtype != np.uint8 or values.ndim != 1:
        raise FormatError(
            f"bytes to code are {values.dtype}{list(values.shape)}; expected uint8[n]"
        )
    if values.size == 0:
        return b""
    counts = np.bincount(values, minlength=256)
    present = np.flatnonzero(counts)
    # Integer arithmetic, so that the same pixels give the same file everywhere.
    largest = int(counts.max())
    scale = max(largest, 1 << 16)
    frequencies = np.maximum(counts[present].astype(np.int64) * (1 << 16) // scale, 1)
    table = np.zeros(present.size, _ENTRY)
    table["value"] = present
    table["frequency"] = frequencies - 1
    rank = np.zeros(256, np.int32)
    rank[present] = np.arange(present.size)
    encoder = constriction.stream.queue.RangeEncoder()
    if present.size > 1:
        model = _model(frequencies)
        for start in range(0, values.size, _BLOCK):
            encoder.encode(rank[values[start : start + _BLOCK]], model)
    words = encoder.get_compressed().astype("<u4")
    return bytes([present.size - 1]) + table.tobytes() + words.tobytes()


def decode_bytes(data: bytes, count: int) -> np.ndarray:
    """Decodes what `encode_bytes` wrote.

    Args:
        data: the coded bytes; may be hostile.
        count: how many values to decode; the caller has checked it against its limits.

    Returns:
        uint8[count].

    Raises:
        FormatError: the bytes are not those of `count` values.
    """
    if count == 0 and not data:
        return np.zeros(0, np.uint8)
    if not data:
        raise FormatError(f"coded bytes are empty; expected {count} values")
    present = data[0] + 1
    end = 1 + present * _ENTRY.itemsize
    if len(data) < end or (len(data) - end) % 4:
        raise FormatError(
            f"coded bytes have {len(data)} bytes; expected a table of {end} and "
            "words of 4; the file is damaged"
        )
    table = np.frombuffer(data, _ENTRY, present, offset=1)
    if np.any(table["value"][1:] <= table["value"][:-1]):
        raise FormatError("table of coded bytes is out of order; the file is damaged")
    words = np.frombuffer(data, "<u4", offset=end).astype(np.uint32)
    if present == 1:
        if words.size:
            raise FormatError("coded bytes are longer than their one value needs")
        return np.full(count, table["value"][0], np.uint8)
    decoder = constriction.stream.queue.RangeDecoder(words)
    model = _model(table["frequency"].astype(np.int64) + 1)
    out = np.empty(count, np.uint8)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        try:
            ranks = decoder.decode(model, stop - start)
        # constriction reports an impossible state with an AssertionError.
        except (AssertionError, ValueError) as error:
            raise FormatError(
                "coded bytes do not decode; the file is damaged"
            ) from error
        out[start:stop] = table["value"][ranks]
    if not decoder.maybe_exhausted():
        raise FormatError(f"coded bytes go on after {count} values")
    return out


def _model(frequencies: np.ndarray) -> constriction.stream.model.Categorical:
    """Spreads frequencies, int64[n], over weights with the sum 2^24 - n."""
    n = frequencies.size
    weights = frequencies * (_TOTAL - n) // frequencies.sum()
    weights[np.argmax(frequencies)] += _TOTAL - n - weights.sum()
    return constriction.stream.model.Categorical(
        weights.astype(np.float64), perfect=False
    )
