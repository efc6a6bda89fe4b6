"""Runs codecs over pictures: a row of measurements for each file that was made.

Every rate is the size of a file, every distortion that of the picture decoded from the
file. Rows are appended to a JSON-lines file one by one, so an interrupted sweep goes on
where it stopped; a row is measured again if the picture or the settings changed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codax.errors import CodaxError, ImageError
from codax.evaluation.candidate import FileCodec
from codax.evaluation.metrics import MS_SSIM_REASON, ms_ssim, psnr, ssim
from codax.files.pictures import open_image

__all__ = [
    "ALL_METRICS",
    "Sweep",
    "find_pictures",
    "measure",
    "open_picture",
    "read_rows",
    "sweep",
    "write_csv",
]

ALL_METRICS = ("psnr", "ms_ssim", "ssim")
_SUFFIXES = {
    ".png", ".webp", ".ppm", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".avif"
}  # fmt: skip
_COLUMNS = (
    "picture", "codec", "quality", "width", "height", "bytes", "bpp", "psnr", "ms_ssim",
    "ssim", "encode_s", "decode_s",
)  # fmt: skip

Row = dict[str, Any]


@dataclass(kw_only=True)
class Sweep:
    """What a sweep gave.

    Attributes:
        rows: measurements, of this run and taken over from an earlier one.
        unreadable: reason by picture that could not be read and was left out.
        failures: rows that a codec failed on: picture, codec, quality, error.
        measured: how many rows are of this run.
    """

    rows: list[Row] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    failures: list[Row] = field(default_factory=list)
    measured: int = 0


def find_pictures(folder: Path) -> list[Path]:
    """The picture files of a folder and of the folders in it, sorted.

    Raises:
        ImageError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: not a folder; expected a folder of pictures")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not found:
        raise ImageError(
            f"{folder}: no pictures; expected files of {', '.join(sorted(_SUFFIXES))}"
        )
    return found


def open_picture(path: Path) -> Image.Image:
    """A picture as 8-bit RGB.

    Raises:
        ImageError: a file that is not a picture Pillow can read.
        UnsupportedError: more than 8 bits a sample.
    """
    return open_image(path).convert("RGB")


def sweep(
    folder: Path,
    codecs: Sequence[FileCodec],
    rows_path: Path,
    *,
    qualities: Mapping[str, Sequence[float]] | None = None,
    metrics: Sequence[str] = ALL_METRICS,
    facts: Mapping[str, str] | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Sweep:
    """Measures every codec at every quality on every picture of a folder.

    A codec that fails on a picture leaves the rest; failures are not stored, so the
    next run tries them again.

    Args:
        folder: of pictures.
        codecs: what to run, in this order.
        rows_path: JSON lines; read first, then appended to.
        qualities: by codec name, in place of the codec's own.
        metrics: of "psnr", "ms_ssim", "ssim".
        facts: stored in each new row, such as the commit and the machine; other facts
            do not make a row another one.
        progress: called before each row with rows done, rows in all, and a text.

    Returns:
        Rows, unreadable pictures and failures.

    Raises:
        ImageError: no pictures, or none that can be read.
    """
    result = Sweep()
    pictures = _readable(folder, result)
    plan = [
        (codec, path, sha256, quality)
        for codec in codecs
        for path, sha256 in pictures
        for quality in (qualities or {}).get(codec.name, codec.qualities)
    ]
    stored = {_key(row): row for row in read_rows(rows_path)}
    warm: set[tuple[str, tuple[int, int]]] = set()
    rows_path.parent.mkdir(parents=True, exist_ok=True)
    with _appending(rows_path) as out:
        for done, (codec, path, sha256, quality) in enumerate(plan):
            name = path.relative_to(folder).as_posix()
            row: Row = {
                "picture": name,
                "codec": codec.name,
                "quality": quality,
                "sha256": sha256,
                "settings": dict(codec.settings),
            }
            known = stored.get(_key(row))
            if known and all(metric in known for metric in metrics):
                result.rows.append(known)
                continue
            progress(done, len(plan), f"{codec.name} {quality:g} {name}")
            try:
                row |= _measured(codec, open_picture(path), quality, metrics, warm)
                row |= facts or {}
            except Exception as error:
                # Whatever a codec raises, the others shall still be measured.
                text = str(error) or type(error).__name__
                result.failures.append({**row, "error": text})
                continue
            out.write(json.dumps(row) + "\n")
            out.flush()
            result.rows.append(row)
            result.measured += 1
    progress(len(plan), len(plan), "done")
    return result


def read_rows(path: Path) -> list[Row]:
    """Rows of a JSON-lines file; an unfinished last line is left out.

    Returns:
        The rows; none if there is no such file. The later of two equal keys counts.
    """
    if not path.exists():
        return []
    rows: dict[str, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[_key(row)] = row
    return list(rows.values())


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """The rows as a table, without their settings."""
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(
            out, _COLUMNS, extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


def measure(
    reference: NDArray[np.uint8],
    decoded: NDArray[np.uint8],
    metrics: Sequence[str] = ALL_METRICS,
) -> Row:
    """Metrics of two pictures as fields of a row.

    Args:
        reference: uint8[H W 3].
        decoded: uint8[H W 3].
        metrics: of "psnr", "ms_ssim", "ssim".

    Returns:
        A field for each metric; null, and a field "..._reason", where it has no value.

    Raises:
        ImageError: unequal shapes.
    """
    row: Row = {}
    for metric in metrics:
        row |= _metric(metric, reference, decoded)
    return row


def _key(row: Row) -> str:
    """What makes a row another measurement."""
    fields = ("picture", "sha256", "codec", "quality", "settings")
    return json.dumps([row.get(name) for name in fields], sort_keys=True)


def _appending(path: Path) -> Any:
    """The file opened for appending, at the start of a line."""
    unfinished = path.exists() and not path.read_bytes().endswith(b"\n")
    out = path.open("a", encoding="utf-8")
    if unfinished and path.stat().st_size:
        out.write("\n")
    return out


def _readable(folder: Path, result: Sweep) -> list[tuple[Path, str]]:
    """Paths and hashes of the pictures that can be read; the others are noted."""
    pictures = []
    for path in find_pictures(folder):
        try:
            open_picture(path)
        except CodaxError as error:
            result.unreadable[path.relative_to(folder).as_posix()] = str(error)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            pictures.append((path, digest))
    if not pictures:
        raise ImageError(
            f"{folder}: none of {len(result.unreadable)} pictures can be read"
        )
    return pictures


def _measured(
    codec: FileCodec,
    picture: Image.Image,
    quality: float,
    metrics: Sequence[str],
    warm: set[tuple[str, tuple[int, int]]],
) -> Row:
    """Encodes, decodes and compares one picture."""
    if codec.warm_up and (codec.name, picture.size) not in warm:
        codec.decode(codec.encode(picture, quality))
        warm.add((codec.name, picture.size))
    start = time.perf_counter()
    data = codec.encode(picture, quality)
    middle = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    if decoded.size != picture.size:
        raise ImageError(
            f"decoded to {decoded.size[0]}x{decoded.size[1]} pixels, expected "
            f"{picture.size[0]}x{picture.size[1]}"
        )
    row: Row = {
        "width": picture.width,
        "height": picture.height,
        "bytes": len(data),
        "bpp": len(data) * 8 / (picture.width * picture.height),
        "encode_s": round(middle - start, 4),
        "decode_s": round(end - middle, 4),
    }
    return row | measure(
        np.asarray(picture), np.asarray(decoded.convert("RGB")), metrics
    )


def _metric(
    metric: str, reference: NDArray[np.uint8], decoded: NDArray[np.uint8]
) -> Row:
    """One metric as a field of a row; null with a reason where it has no value."""
    if metric == "psnr":
        value = psnr(reference, decoded)
        if math.isinf(value):
            return {"psnr": None, "psnr_reason": "equal pictures"}
        return {"psnr": round(value, 4)}
    if metric == "ms_ssim":
        similarity = ms_ssim(reference, decoded)
        if similarity is None:
            return {"ms_ssim": None, "ms_ssim_reason": MS_SSIM_REASON}
        return {"ms_ssim": round(similarity, 7)}
    if min(reference.shape[:2]) < 11:
        return {"ssim": None, "ssim_reason": "SSIM needs sides of 11 pixels"}
    return {"ssim": round(ssim(reference, decoded), 7)}
