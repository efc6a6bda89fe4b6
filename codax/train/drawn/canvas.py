"""A picture to draw on: shapes by Pillow, smooth or jagged, and blending in integers.

Every shape is drawn in white on a small mask, several times larger where its edges are
to be smooth, reduced, and blended into the picture. So lines, polygons, letters and
shadows share one way of getting onto the ground, and all of it is exact.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["Canvas", "Colour", "Point", "any_ground", "hsv", "ink_on", "mixed", "vivid"]

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
FINE = 4
"""Samples across a pixel along each axis where edges are smooth."""


class Canvas:
    """A square picture in the making.

    Attributes:
        pixels: uint8[side side 3].
        side: rows and columns.
        fine: samples across a pixel of a shape's edge; 1 leaves edges jagged.
    """

    def __init__(self, side: int, ground: Colour, smooth: bool = True):
        """Fills the picture with its ground."""
        self.pixels = np.empty((side, side, 3), np.uint8)
        self.pixels[0] = ground
        self.pixels[1:] = self.pixels[0]
        self.side = side
        self.fine = FINE if smooth else 1

    def rectangle(
        self, x: float, y: float, width: float, height: float, colour: Colour
    ) -> None:
        """Fills whole pixels; what lies outside of the picture is left out."""
        left, top, right, bottom = (
            min(max(round(v), 0), self.side) for v in (x, y, x + width, y + height)
        )
        self.pixels[top:bottom, left:right] = colour

    def frame(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: Colour,
        thick: int = 1,
    ) -> None:
        """Draws the four sides of a rectangle inwards, in whole pixels."""
        self.rectangle(x, y, width, thick, colour)
        self.rectangle(x, y + height - thick, width, thick, colour)
        self.rectangle(x, y, thick, height, colour)
        self.rectangle(x + width - thick, y, thick, height, colour)

    def blend(self, mask: np.ndarray, x: int, y: int, ink: Colour | np.ndarray) -> None:
        """Lays ink over the picture where a mask says so.

        Args:
            mask: uint8[h w], or uint8[h w 3] for letters on stripes of subpixels; 255
                covers.
            x: column of the mask's left edge, any integer.
            y: row of its upper edge.
            ink: a colour, or uint8[side side 3] to be seen through the mask.
        """
        height, width = mask.shape[:2]
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + height, self.side), min(x + width, self.side)
        if top >= bottom or left >= right:
            return
        cover = mask[top - y : bottom - y, left - x : right - x].astype(np.uint16)
        if cover.ndim == 2:
            cover = cover[..., None]
        place = (slice(top, bottom), slice(left, right))
        colour = np.asarray(ink, np.uint16)
        if colour.ndim == 3:
            colour = colour[place]
        old = self.pixels[place].astype(np.uint16)
        # 255 * 255 + 127 fits 16 bits.
        self.pixels[place] = (old * (255 - cover) + colour * cover + 127) // 255

    def shape(
        self,
        points: Sequence[Point],
        paint: Callable[[ImageDraw.ImageDraw, list[Point], int], None],
        ink: Colour | np.ndarray,
        margin: float = 1,
    ) -> None:
        """Draws something into the box of its points.

        Args:
            points: (x, y), in pixels, which may lie outside of the picture.
            paint: draws on a mask, given the points and the scale there.
            ink: as for `blend`.
            margin: pixels that it reaches beyond its points.
        """
        box = []
        for axis in (0, 1):
            low = int(min(p[axis] for p in points) - margin) - 1
            high = int(max(p[axis] for p in points) + margin) + 2
            box.append((max(low, 0), min(high, self.side)))
        (left, right), (top, bottom) = box
        if left >= right or top >= bottom:
            return
        fine = self.fine
        mask = Image.new("L", ((right - left) * fine, (bottom - top) * fine))
        moved = [((x - left) * fine, (y - top) * fine) for x, y in points]
        paint(ImageDraw.Draw(mask), moved, fine)
        if fine > 1:
            mask = mask.reduce(fine)
        self.blend(np.asarray(mask), left, top, ink)

    def polygon(self, points: Sequence[Point], ink: Colour | np.ndarray) -> None:
        """Fills a polygon."""
        self.shape(points, lambda draw, at, _: draw.polygon(at, fill=255), ink)

    def line(
        self, points: Sequence[Point], ink: Colour | np.ndarray, thick: float = 1
    ) -> None:
        """Draws a line through points; thinner than a pixel is pale where smooth."""

        def paint(draw: ImageDraw.ImageDraw, at: list[Point], fine: int) -> None:
            width = max(round(thick * fine), 1)
            draw.line(at, fill=255, width=width, joint="curve" if width > 2 else None)

        self.shape(points, paint, ink, margin=thick)

    def ellipse(
        self,
        x: float,
        y: float,
        across: float,
        down: float,
        ink: Colour | np.ndarray,
        thick: float = 0,
    ) -> None:
        """Draws an ellipse in the box at (x, y), or with `thick` its outline."""

        def paint(draw: ImageDraw.ImageDraw, at: list[Point], fine: int) -> None:
            if thick:
                draw.ellipse([*at], outline=255, width=max(round(thick * fine), 1))
            else:
                draw.ellipse([*at], fill=255)

        self.shape([(x, y), (x + across, y + down)], paint, ink)

    def rounded(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        radius: float,
        ink: Colour | np.ndarray,
        thick: float = 0,
    ) -> None:
        """Draws a rectangle with round corners, or with `thick` its outline inwards."""

        def paint(draw: ImageDraw.ImageDraw, at: list[Point], fine: int) -> None:
            (left, top), (right, bottom) = at
            box = (left, top, max(right - 1, left), max(bottom - 1, top))
            corner = min(radius, width / 2, height / 2) * fine
            if thick:
                line = max(round(thick * fine), 1)
                draw.rounded_rectangle(box, corner, outline=255, width=line)
            else:
                draw.rounded_rectangle(box, corner, fill=255)

        self.shape([(x, y), (x + width, y + height)], paint, ink)

    def sector(
        self,
        x: float,
        y: float,
        radius: float,
        turn: tuple[float, float],
        ink: Colour | np.ndarray,
        thick: float = 0,
    ) -> None:
        """Draws a slice of a pie about (x, y), or with `thick` an arc, in degrees."""

        def paint(draw: ImageDraw.ImageDraw, at: list[Point], fine: int) -> None:
            if thick:
                draw.arc([*at], *turn, fill=255, width=max(round(thick * fine), 1))
            else:
                draw.pieslice([*at], *turn, fill=255)

        corners = [(x - radius, y - radius), (x + radius, y + radius)]
        self.shape(corners, paint, ink)

    def shadow(
        self, x: int, y: int, width: int, height: int, blur: int, strength: int
    ) -> None:
        """Darkens softly around a rectangle; `strength` 0..255."""
        size = (width + 4 * blur, height + 4 * blur)
        mask = Image.new("L", size)
        inside = (2 * blur, 2 * blur, size[0] - 2 * blur, size[1] - 2 * blur)
        mask.paste(strength, inside)
        mask = mask.filter(ImageFilter.BoxBlur(blur / 2))
        mask = mask.filter(ImageFilter.BoxBlur(blur / 2))
        self.blend(np.asarray(mask), x - 2 * blur, y - 2 * blur, BLACK)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour of hue, saturation and value, each 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def vivid(random: np.random.Generator) -> Colour:
    """A colour of high saturation; one in four a corner of the cube of colours."""
    if random.random() < 0.25:
        corner = int(random.integers(1, 7))
        return 255 * (corner & 1), 255 * (corner >> 1 & 1), 255 * (corner >> 2)
    return hsv(
        random.random(), random.uniform(0.55, 1), random.choice([0.5, 0.75, 0.9, 1.0])
    )


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between two; `share` 0 gives the first, 1 the second."""
    return tuple(  # type: ignore[return-value]
        round(a + share * (b - a)) for a, b in zip(one, other, strict=True)
    )


def any_ground(random: np.random.Generator) -> Colour:
    """A ground: often pure white or black, or near to them."""
    kind = random.random()
    if kind < 0.42:
        return WHITE
    if kind < 0.52:
        return BLACK
    if kind < 0.65:
        light = int(random.integers(238, 256))
        tint = random.integers(-3, 1, 3) if random.random() < 0.5 else np.zeros(3, int)
        return tuple(int(light + t) for t in tint)  # type: ignore[return-value]
    if kind < 0.77:
        dark = int(random.integers(8, 50))
        return dark, dark + int(random.integers(0, 5)), dark + int(random.integers(12))
    if kind < 0.9:
        return hsv(random.random(), random.uniform(0.05, 0.3), random.uniform(0.85, 1))
    return vivid(random)


def ink_on(random: np.random.Generator, ground: Colour, colourful: float = 0.3):
    """A colour that stands out from a ground.

    Args:
        random: what to draw from.
        ground: the colour below.
        colourful: share of inks, 0..1, that are not black, white or grey.

    Returns:
        The colour.
    """
    light = np.dot(ground, (0.3, 0.59, 0.11)) > 127
    if random.random() < colourful:
        for _ in range(8):
            ink = vivid(random)
            if sum(abs(a - b) for a, b in zip(ink, ground, strict=True)) > 200:
                return ink
    away = int(random.choice([0, 0, 0, 20, 45, 80]))
    grey = away if light else 255 - away
    return grey, grey, grey
