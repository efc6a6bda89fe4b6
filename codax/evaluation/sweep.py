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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codax.errors import CodaxError, ConfigError, ImageError
from codax.evaluation.candidate import FileCodec
from codax.evaluation.kept import is_kept, keep, kept_path
from codax.evaluation.metric_table import DEFAULT_METRICS, Metric, metrics_in
from codax.evaluation.outside_metrics import find_metrics
from codax.files.folders import PICTURES, search
from codax.files.opening import open_image

__all__ = [
    "Sweep",
    "appending",
    "find_pictures",
    "measure",
    "merge_rows",
    "open_picture",
    "read_rows",
    "sweep",
    "write_csv",
]

# Of the table of rows; the metrics stand between the two.
_BEFORE = ("picture", "codec", "quality", "width", "height", "bytes", "bpp")
_AFTER = ("encode_s", "decode_s")

Row = dict[str, Any]


@dataclass(kw_only=True)
class Sweep:
    """What a sweep gave.

    Attributes:
        rows: measurements, of this run and taken over from an earlier one.
        unreadable: reason by picture that could not be read and was left out.
        failures: rows that a codec failed on: picture, codec, quality, error.
        measured: how many rows are of this run.
        metrics: that were asked for.
    """

    rows: list[Row] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    failures: list[Row] = field(default_factory=list)
    measured: int = 0
    metrics: tuple[Metric, ...] = ()


def find_pictures(folder: Path, passed_over: list[str] | None = None) -> list[Path]:
    """The picture files of a folder and of the folders in it, sorted.

    Args:
        folder: where.
        passed_over: takes a line for each thing that has a picture's name only.

    Raises:
        ImageError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: not a folder; expected a folder of pictures")
    found = search(folder)
    if passed_over is not None:
        passed_over += found.passed_over
    if not found.files:
        raise ImageError(
            f"{folder}: no pictures; expected files of {', '.join(sorted(PICTURES))}"
        )
    return found.files


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
    metrics: Iterable[str | Metric] = DEFAULT_METRICS,
    keep_decoded: Path | None = None,
    facts: Mapping[str, str] | None = None,
    shard: tuple[int, int] = (1, 1),
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Sweep:
    """Measures every codec at every quality on every picture of a folder.

    A codec that fails on a picture leaves the rest; failures are not stored, so the
    next run tries them again. A metric that fails ends the sweep, which then goes on
    where it stopped.

    Args:
        folder: of pictures.
        codecs: what to run, in this order.
        rows_path: JSON lines; read first, then appended to.
        qualities: by codec name, in place of the codec's own.
        metrics: names of the table, `FILE.py:NAME`, or metrics of one's own.
        keep_decoded: folder for the decoded pictures as PNG; a row without its picture
            is measured again.
        facts: stored in each new row, such as the commit and the machine; other facts
            do not make a row another one.
        shard: I of N: every Nth picture from the Ith on, for N machines.
        progress: called before each row with rows done, rows in all, and a text.

    Returns:
        Rows, unreadable pictures and failures.

    Raises:
        ConfigError: a metric that is not found, or fails.
        ImageError: no pictures, or none that can be read.
    """
    chosen = find_metrics(metrics)
    result = Sweep(metrics=chosen)
    pictures = _readable(folder, result, shard)
    plan = [
        (codec, path, sha256, quality)
        for codec in codecs
        for path, sha256 in pictures
        for quality in (qualities or {}).get(codec.name, codec.qualities)
    ]
    stored = {_key(row): row for row in read_rows(rows_path)}
    warm: set[tuple[str, tuple[int, int]]] = set()
    rows_path.parent.mkdir(parents=True, exist_ok=True)
    with appending(rows_path) as out:
        for done, (codec, path, sha256, quality) in enumerate(plan):
            name = path.relative_to(folder).as_posix()
            row: Row = {
                "picture": name,
                "codec": codec.name,
                "quality": quality,
                "sha256": sha256,
                "settings": dict(codec.settings),
            }
            key = _key(row)
            kept = keep_decoded and kept_path(keep_decoded, name, codec.name, quality)
            known = stored.get(key)
            if known and _holds(known, chosen) and (not kept or is_kept(kept, key)):
                result.rows.append(known)
                continue
            progress(done, len(plan), f"{codec.name} {quality:g} {name}")
            picture = open_picture(path)
            try:
                fields, decoded = _coded(codec, picture, quality, warm)
            except Exception as error:
                # Whatever a codec raises, the others shall still be measured.
                text = str(error) or type(error).__name__
                result.failures.append({**row, "error": text})
                continue
            place = f"{name}, {codec.name} at {quality:g}"
            row |= fields | _judged(picture, decoded, chosen, place) | dict(facts or {})
            if kept:
                keep(kept, decoded, key)
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


def merge_rows(paths: Sequence[Path], output: Path) -> list[Row]:
    """Joins the rows of parts of a sweep, and writes them.

    Args:
        paths: of JSON lines.
        output: where to write them all.

    Returns:
        The rows, each measurement once.

    Raises:
        ConfigError: no rows in a file, or rows that are no parts of one sweep: a codec
            with other settings, or one picture's name for two pictures.
    """
    rows: dict[str, Row] = {}
    settings: dict[str, tuple[Any, Path]] = {}
    pictures: dict[str, tuple[str, Path]] = {}
    for path in paths:
        own = read_rows(path)
        if not own:
            raise ConfigError(f"{path}: no rows there; expected those of an evaluation")
        for row in own:
            codec, picture = str(row["codec"]), str(row["picture"])
            first = settings.setdefault(codec, (row["settings"], path))
            if first[0] != row["settings"]:
                raise ConfigError(
                    f"{path}: {codec} has other settings than in {first[1]}: "
                    f"{row['settings']} and {first[0]}"
                )
            known = pictures.setdefault(picture, (row["sha256"], path))
            if known[0] != row["sha256"]:
                raise ConfigError(
                    f"{path}: {picture} is another picture than in {known[1]}"
                )
            rows.setdefault(_key(row), row)
    order = {codec: number for number, codec in enumerate(settings)}
    found = sorted(
        rows.values(),
        key=lambda row: (order[row["codec"]], row["picture"], row["quality"]),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in found)
    output.write_text(text, encoding="utf-8")
    return found


def write_csv(
    rows: Sequence[Row], path: Path, metrics: Iterable[str | Metric] | None = None
) -> None:
    """The rows as a table, without their settings.

    Args:
        rows: of a sweep.
        path: to write.
        metrics: with a column each, such as those of `Sweep`; None: those of the table
            that the rows hold. The default metrics always have theirs.

    Raises:
        ConfigError: a metric that is not found.
    """
    found = metrics_in(rows) if metrics is None else find_metrics(metrics)
    names = dict.fromkeys([*DEFAULT_METRICS, *(metric.name for metric in found)])
    columns = [*_BEFORE, *names, *_AFTER]
    # A picture may have a name that is no text.
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out:
        writer = csv.DictWriter(
            out, columns, extrasaction="ignore", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


def measure(
    reference: NDArray[np.uint8],
    decoded: NDArray[np.uint8],
    metrics: Iterable[str | Metric] = DEFAULT_METRICS,
) -> Row:
    """Metrics of two pictures as fields of a row.

    Args:
        reference: uint8[H W 3].
        decoded: uint8[H W 3].
        metrics: as for `sweep`.

    Returns:
        A field for each metric; null, and a field "..._reason", where it has no value.

    Raises:
        ConfigError: a metric that is not found, fails, or gives no finite number.
        ImageError: unequal shapes.
    """
    row: Row = {}
    for metric in find_metrics(metrics):
        row |= _value(metric, reference, decoded)
        if metric.version:
            row[f"{metric.name}_version"] = metric.version
    return row


def _key(row: Row) -> str:
    """What makes a row another measurement."""
    fields = ("picture", "sha256", "codec", "quality", "settings")
    return json.dumps([row.get(name) for name in fields], sort_keys=True)


def appending(path: Path) -> IO[str]:
    """A file of rows opened for appending, at the start of a line."""
    unfinished = path.exists() and not path.read_bytes().endswith(b"\n")
    out = path.open("a", encoding="utf-8")
    if unfinished and path.stat().st_size:
        out.write("\n")
    return out


def _readable(
    folder: Path, result: Sweep, shard: tuple[int, int]
) -> list[tuple[Path, str]]:
    """Paths and hashes of the pictures that can be read; the others are noted."""
    pictures = []
    part, count = shard
    paths = find_pictures(folder)
    if part > len(paths):
        raise ImageError(f"{folder}: {len(paths)} pictures, part {part} has none")
    for path in paths[part - 1 :: count]:
        try:
            open_picture(path)
        except CodaxError as error:
            result.unreadable[path.relative_to(folder).as_posix()] = str(error)
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            pictures.append((path, digest))
    # Of a part others have the rest.
    if not pictures and count == 1:
        raise ImageError(
            f"{folder}: none of {len(result.unreadable)} pictures can be read"
        )
    return pictures


def _holds(row: Row, metrics: Iterable[Metric]) -> bool:
    """Whether a row has all metrics, each of the version that is asked for."""
    return all(
        metric.name in row and row.get(f"{metric.name}_version", "") == metric.version
        for metric in metrics
    )


def _coded(
    codec: FileCodec,
    picture: Image.Image,
    quality: float,
    warm: set[tuple[str, tuple[int, int]]],
) -> tuple[Row, Image.Image]:
    """Encodes and decodes one picture: what the row says of it, and the RGB picture."""
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
    return row, decoded.convert("RGB")


def _judged(
    picture: Image.Image, decoded: Image.Image, metrics: Sequence[Metric], place: str
) -> Row:
    """The metrics of one decoded picture; what fails is told with its place."""
    try:
        return measure(np.asarray(picture), np.asarray(decoded), metrics)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def _value(
    metric: Metric, reference: NDArray[np.uint8], decoded: NDArray[np.uint8]
) -> Row:
    """One metric as a field of a row; null with a reason where it has no value."""
    name, reason = metric.name, f"{metric.name}_reason"
    if min(reference.shape[:2]) < metric.smallest_side:
        return {name: None, reason: metric.too_small}
    value = metric(reference, decoded)
    if math.isinf(value):
        if not np.array_equal(reference, decoded):
            raise ConfigError(
                f"metric {name} is infinite for unequal pictures; expected a finite "
                "number"
            )
        return {name: None, reason: "equal pictures"}
    digits = metric.stored_digits
    return {name: value if digits is None else round(value, digits)}
