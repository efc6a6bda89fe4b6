"""Watching a run: the held-out pictures through real files, every few minutes.

What it writes stands beside the run:

    run/watch.jsonl   a line for each evaluation
    run/watch.png     rate-distortion curves of the newest ones, beside JPEG's
    run/sheet.png     originals and reconstructions
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codax.codecs.families import family
from codax.coding.trees import flatten
from codax.errors import CodaxError, UnsupportedError
from codax.evaluation.bdrate import bd_rate
from codax.evaluation.classical import classical
from codax.evaluation.curves import Curve
from codax.evaluation.metrics import psnr
from codax.face.codec import Codec
from codax.train.config import TrainConfig
from codax.train.export import codec_of
from codax.train.folders import centre_crops
from codax.train.pictures import Picture

__all__ = ["Watcher"]

SHARES = (0.1, 0.4, 0.7, 0.95)
"""The qualities: places between the codec's lowest and its highest."""
EQUAL_DB = 99.0
"""Stands for the PSNR of equal pictures, which is infinite."""
PICTURES = 6
SIDE = 512
SHEET_PICTURES = 3
SHEET_SIDE = 256


class Watcher:
    """Evaluates a run's averaged weights; a `watch` of `codax.train.loop.train`."""

    def __init__(
        self,
        run: Path,
        config: TrainConfig,
        held_out: Sequence[Picture],
        say: Callable[[str], None],
    ):
        """Reads the pictures' middles, at most 512x512 of six.

        Args:
            run: the run's folder.
            config: its configuration.
            held_out: pictures that it does not train on.
            say: takes a line for each evaluation.
        """
        self.run, self.config, self.say = run, config, say
        low, high = family(config.codec).qualities
        places = {round(low + share * (high - low), 1) for share in SHARES}
        self.qualities = sorted(places)
        self.crops = centre_crops(held_out, PICTURES, SIDE, self._skip)
        self.jpeg: Any = self._jpeg() if self.crops else None

    def _skip(self, message: str) -> None:
        self.say(f"held out, but skipped: {message}")

    def __call__(self, trainer: Any, state: dict[str, Any], phase: str) -> None:
        """Evaluates a state; a failure is said and does not end the run."""
        if not self.crops:
            return
        arrays = flatten({"ema": state["ema"], "fixed": state["fixed"]})
        try:
            codec = codec_of(arrays, self.config, buckets=(SIDE // 16,))
            line, sheet = self._evaluate(codec)
        except CodaxError as error:
            self.say(f"watch: {error}")
            return
        line = {"step": int(state["step"]), "phase": phase, **line}
        with (self.run / "watch.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        sheet.save(self.run / "sheet.png")
        against = line["bd_rate_jpeg"]
        self.say(
            f"watch {line['step']}: "
            + "  ".join(
                f"q{q:g} {b:.3f} bpp {p:.2f} dB"
                for q, b, p in zip(
                    self.qualities, line["bpp"], line["psnr"], strict=True
                )
            )
            + ("" if against is None else f"  {against:+.1f} % of JPEG's bits")
            + f"  {line['dead_channels']} of {line['channels']} channels unused"
        )
        if len(self.qualities) > 1:
            self._plot()

    def _jpeg(self) -> Curve:
        codec = classical("jpeg")
        bpp, db = [], []
        for quality in codec.qualities:
            sizes, values = [], []
            for crop in self.crops:
                data = codec.encode(Image.fromarray(crop), quality)
                sizes.append(8 * len(data) / (crop.shape[0] * crop.shape[1]))
                values.append(psnr(crop, np.asarray(codec.decode(data))))
            bpp.append(float(np.mean(sizes)))
            db.append(float(np.mean(values)))
        return Curve(name="JPEG", metric="psnr", bpp=tuple(bpp), db=tuple(db))

    def _evaluate(self, codec: Codec) -> tuple[dict[str, Any], Image.Image]:
        """Figures of all pictures and qualities, and the sheet."""
        bpp = np.zeros((len(self.qualities), len(self.crops)))
        db = np.zeros_like(bpp)
        shown: list[list[np.ndarray]] = [[c] for c in self.crops[:SHEET_PICTURES]]
        for i, quality in enumerate(self.qualities):
            for j, crop in enumerate(self.crops):
                data = codec.encode(crop, quality=quality, fallback=False)
                back = np.asarray(codec.decode(data))
                bpp[i, j] = 8 * len(data) / (crop.shape[0] * crop.shape[1])
                db[i, j] = min(psnr(crop, back), EQUAL_DB)
                if j < SHEET_PICTURES:
                    shown[j].append(back)
        used = self._used_channels(codec)
        mean_bpp, mean_db = bpp.mean(1).tolist(), db.mean(1).tolist()
        line = {
            "qualities": self.qualities,
            "bpp": mean_bpp,
            "psnr": mean_db,
            "bd_rate_jpeg": self._against_jpeg(mean_bpp, mean_db),
            "dead_channels": {name: int((~u).sum()) for name, u in used.items()},
            "channels": {name: u.size for name, u in used.items()},
        }
        line["dead_channels"] = sum(line["dead_channels"].values())
        line["channels"] = sum(line["channels"].values())
        return line, _sheet(shown)

    def _against_jpeg(self, bpp: list[float], db: list[float]) -> float | None:
        """BD-rate in percent over the common part; None without one."""
        try:
            own = Curve(name="run", metric="psnr", bpp=tuple(bpp), db=tuple(db))
            return bd_rate(self.jpeg, own).percent
        except CodaxError:
            # Early curves may fall, and the package is an optional one.
            return None

    def _used_channels(self, codec: Codec) -> dict[str, np.ndarray]:
        """By latents, which channels carry anything at the highest quality."""
        quality = round(2 * self.qualities[-1])
        used: dict[str, np.ndarray] = {}
        for crop in self.crops[:SHEET_PICTURES]:
            height, width = crop.shape[:2]
            stream = codec.coder.compress(crop, quality)
            found = codec.coder.decode_latents(stream, height, width, quality)
            for name, value in found.items():
                step = codec.model.prior.sources[name].unit
                now = np.abs(value).max((0, 1)) >= step
                used[name] = used.get(name, False) | now
        return used

    def _plot(self) -> None:
        try:
            from codax.evaluation.training_plot import watch_plot

            (self.run / "watch.png").write_bytes(watch_plot(self.run, self.jpeg))
        except UnsupportedError as error:
            self.say(f"watch: {error}")


def _sheet(rows: list[list[np.ndarray]]) -> Image.Image:
    """Middles of pictures, a row each: the original, then rising quality."""
    side, gap = SHEET_SIDE, 4
    columns = max(len(row) for row in rows)
    size = (columns * (side + gap) - gap, len(rows) * (side + gap) - gap)
    sheet = Image.new("RGB", size, "white")
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = ((length - side) // 2 for length in picture.shape[:2])
            part = picture[max(top, 0) :, max(left, 0) :][:side, :side]
            place = (j * (side + gap), i * (side + gap))
            sheet.paste(Image.fromarray(np.ascontiguousarray(part)), place)
    return sheet
