"""Twelve drawn pictures that no run trains on, for choices between runs.

Other faces, kinds and seeds than the generator of training and the sets that results
are reported on: letters are Pillow's old bitmap face, at whole factors or smoothed, and
the subjects are ones that the generator does not know.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from codax.train.drawn.canvas import Canvas, Colour, hsv

__all__ = ["held_out_drawn"]

SIDE = 512


def held_out_drawn() -> list[np.ndarray]:
    """The pictures, always the same.

    Returns:
        Twelve of uint8[512 512 3].
    """
    draw = (
        _calendar,
        _log,
        _score,
        _board,
        _streets,
        _circuit,
        _receipt,
        _contours,
        _comic,
        _hexagons,
        _heat,
        _blocks,
    )
    return [make(np.random.default_rng([12, k, 99])) for k, make in enumerate(draw)]


@cache
def _bitmap() -> ImageFont.ImageFont:
    return ImageFont.load_default_imagefont()


def _mask(text: str, scale: int, smooth: float) -> Image.Image:
    """Text in the bitmap face: `scale` times larger, or smoothed to `smooth` times."""
    font = _bitmap()
    left, top, right, bottom = font.getbbox(text)
    small = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(small).text((1, 1), text, font=font, fill=255)
    if not smooth:
        size = (small.width * scale, small.height * scale)
        return small.resize(size, Image.Resampling.NEAREST)
    # Squares become curves: blurred while eight times as large, then cut at a half.
    large = small.resize((small.width * 8, small.height * 8), Image.Resampling.NEAREST)
    large = large.filter(ImageFilter.GaussianBlur(3)).point(lambda v: 255 * (v > 122))
    size = (round(small.width * smooth), round(small.height * smooth))
    return large.resize(size, Image.Resampling.BOX)


def _write(
    canvas: Canvas,
    text: str,
    at: tuple[float, float],
    ink: Colour,
    scale: int = 1,
    smooth: float = 0,
) -> None:
    mask = np.asarray(_mask(text, scale, smooth))
    canvas.blend(mask, round(at[0]), round(at[1]), ink)


def _letters(random: np.random.Generator, count: int) -> str:
    """Letters and signs of chance, in groups."""
    signs = "AEIOUNRSTLDMKPBGVHFCaeiounrstldmkpbgvhfc0123456789"
    groups = []
    while count > 0:
        length = int(random.integers(2, 9))
        groups.append("".join(signs[i] for i in random.integers(0, len(signs), length)))
        count -= length + 1
    return " ".join(groups)


def _calendar(random: np.random.Generator) -> np.ndarray:
    """A month: days in a grid, some with marks of colour."""
    canvas = Canvas(SIDE, (255, 255, 255))
    canvas.rectangle(0, 0, SIDE, 62, (178, 34, 52))
    _write(canvas, _letters(random, 9), (20, 14), (255, 255, 255), smooth=2.6)
    for day in range(42):
        x, y = 4 + day % 7 * 72, 72 + day // 7 * 73
        shade = (250, 247, 240) if day % 7 > 4 else (255, 255, 255)
        canvas.rectangle(x, y, 72, 73, shade)
        canvas.frame(x, y, 73, 74, (120, 120, 128))
        ink = (178, 34, 52) if day % 7 > 4 else (20, 20, 20)
        _write(canvas, str(day % 31 + 1), (x + 4, y + 3), ink, smooth=1.7)
        for k in range(int(random.integers(0, 4))):
            tone = hsv(random.random(), 0.45, 1.0)
            canvas.rounded(x + 3, y + 28 + k * 14, 66, 12, 3, tone)
            _write(canvas, _letters(random, 8), (x + 6, y + 28 + k * 14), (0, 0, 0))
    return canvas.pixels


def _log(random: np.random.Generator) -> np.ndarray:
    """A console of green and amber signs on black, at one and two pixels a dot."""
    canvas = Canvas(SIDE, (0, 0, 0))
    y = 2
    while y < SIDE:
        scale = 2 if random.random() < 0.15 else 1
        ink = ((51, 255, 51), (255, 176, 0), (200, 200, 200))[int(random.integers(3))]
        text = _letters(random, int(random.integers(12, 84)))
        _write(canvas, f"[{y:05d}] {text}", (3, y), ink, scale)
        y += 12 * scale
    return canvas.pixels


def _score(random: np.random.Generator) -> np.ndarray:
    """Music: staves, notes, beams and slurs in black on cream."""
    canvas = Canvas(SIDE, (255, 253, 245))
    black = (0, 0, 0)
    for staff in range(7):
        top = 20 + staff * 70
        for line in range(5):
            canvas.rectangle(10, top + 8 * line, SIDE - 20, 1, black)
        for bar in range(5):
            canvas.rectangle(10 + bar * 123, top, 1 + (bar in (0, 4)), 33, black)
        ends = []
        for note in range(22):
            x = 22 + note * 22 + random.uniform(-3, 3)
            y = top + 4 * int(random.integers(-1, 9))
            canvas.ellipse(x, y - 3.5, 10, 7.5, black, 0 if note % 3 else 1.5)
            canvas.line([(x + 9.5, y), (x + 9.5, y - 26)], black, 1.2)
            ends.append((x + 9.5, y - 26))
            if note % 4 == 3:
                canvas.line([ends[-2], ends[-1]], black, 4)
        begin = (40 + 30 * staff, top + 34)
        arc = [(begin[0] + 9 * k, begin[1] + 8 * np.sin(k * 0.314)) for k in range(11)]
        canvas.line(arc, black, 1.6)
    return canvas.pixels


def _board(random: np.random.Generator) -> np.ndarray:
    """A board of squares with men in two colours, and letters at its edge."""
    canvas = Canvas(SIDE, (48, 26, 12))
    for k in range(64):
        x, y = 24 + k % 8 * 58, 24 + k // 8 * 58
        light = (k + k // 8) % 2 == 0
        canvas.rectangle(x, y, 58, 58, (240, 217, 181) if light else (181, 136, 99))
        if random.random() < 0.55:
            man = (255, 255, 255) if random.random() < 0.5 else (0, 0, 0)
            edge = (0, 0, 0) if man[0] else (255, 255, 255)
            canvas.polygon([(x + 12, y + 50), (x + 29, y + 14), (x + 46, y + 50)], man)
            canvas.ellipse(x + 19, y + 6, 20, 20, man)
            canvas.ellipse(x + 19, y + 6, 20, 20, edge, 1.5)
            canvas.rectangle(x + 10, y + 48, 38, 4, edge)
        if k < 8:
            _write(canvas, "abcdefgh"[k], (x + 24, 4), (240, 217, 181), smooth=1.4)
            at = (6, 46 + k * 58)
            _write(canvas, str(8 - k), at, (240, 217, 181), smooth=1.4)
    return canvas.pixels


def _streets(random: np.random.Generator) -> np.ndarray:
    """A plan of a town: a river, parks, roads with edges, names along them."""
    canvas = Canvas(SIDE, (242, 239, 233))
    for _ in range(5):
        x, y = random.uniform(0, SIDE, 2)
        turns = np.sort(random.uniform(0, 6.28, 7))
        reach = random.uniform(30, 80, 7)
        around = x + reach * np.cos(turns), y + reach * np.sin(turns)
        canvas.polygon(list(zip(*around, strict=True)), (200, 230, 180))
    bend = [(k * 30, 300 + 70 * np.sin(k / 3)) for k in range(-1, 20)]
    canvas.line(bend, (170, 211, 223), 34)
    roads = []
    for k in range(26):
        a, b = random.uniform(-50, SIDE + 50, (2, 2)).tolist()
        corner = (a[0], b[1])
        wide = float((9, 5, 3)[k % 3])
        inks = ((249, 178, 156), (252, 214, 164), (255, 255, 255))
        roads.append(([tuple(a), corner, tuple(b)], wide, inks[k % 3]))
    for points, wide, _ in roads:
        canvas.line(points, (150, 140, 130), wide + 2)
    for points, wide, ink in roads:
        canvas.line(points, ink, wide)
        x, y = points[0][0], (points[0][1] + points[1][1]) / 2
        name = np.rot90(np.asarray(_mask(_letters(random, 12), 1, 1.1)))
        canvas.blend(name, round(x) - 7, round(y), (60, 60, 70))
    return canvas.pixels


def _circuit(random: np.random.Generator) -> np.ndarray:
    """A printed circuit: tracks at 45 degrees, pads with holes, chips, white marks."""
    canvas = Canvas(SIDE, (10, 82, 46))
    for _ in range(70):
        x, y = (8 * int(v) for v in random.integers(0, 64, 2))
        points = [(x, y)]
        for _ in range(4):
            run = 8 * int(random.integers(1, 9))
            dx, dy = ((1, 0), (0, 1), (1, 1), (1, -1))[int(random.integers(4))]
            x, y = x + dx * run, y + dy * run
            points.append((x, y))
        canvas.line(points, (34, 139, 84), 3)
        for px, py in (points[0], points[-1]):
            canvas.ellipse(px - 5, py - 5, 10, 10, (212, 175, 55))
            canvas.ellipse(px - 2, py - 2, 4, 4, (5, 30, 18))
    for _ in range(6):
        x, y = (16 * int(v) for v in random.integers(1, 26, 2))
        for k in range(7):
            canvas.rectangle(x + 4 + k * 11, y - 6, 5, 62, (192, 192, 196))
        canvas.rectangle(x, y, 82, 50, (24, 24, 26))
        _write(canvas, _letters(random, 7).upper(), (x + 6, y + 18), (235, 235, 235))
    return canvas.pixels


def _receipt(random: np.random.Generator) -> np.ndarray:
    """A slip of paper on a dark table: smooth letters, dashes, a bar code."""
    canvas = Canvas(SIDE, (58, 52, 49))
    canvas.shadow(70, 0, 372, SIDE, 12, 160)
    canvas.rectangle(70, 0, 372, SIDE, (252, 252, 250))
    ink = (38, 38, 44)
    _write(canvas, _letters(random, 10).upper(), (130, 10), ink, smooth=2.2)
    for k in range(17):
        y = 56 + 20 * k
        _write(canvas, _letters(random, 18), (84, y), ink, smooth=1.25)
        price = f"{int(random.integers(99, 9999)) / 100:7.2f}"
        _write(canvas, price, (370, y), ink, smooth=1.25)
    _write(canvas, "-" * 46, (84, 396), ink, smooth=1.25)
    x = 100
    while x < 410:
        thick = int(random.integers(1, 5))
        canvas.rectangle(x, 425, thick, 60, (0, 0, 0))
        x += thick + int(random.integers(1, 5))
    return canvas.pixels


def _field(random: np.random.Generator) -> np.ndarray:
    """A smooth function of the place, float64[512 512], about -2..2."""
    at = np.arange(SIDE) / SIDE
    out = np.zeros((SIDE, SIDE))
    for _ in range(9):
        fx, fy, phase = random.uniform(-9, 9, 3)
        out += np.sin(fx * at[None] + fy * at[:, None] + phase) / 3
    return out


def _contours(random: np.random.Generator) -> np.ndarray:
    """Lines of equal height, jagged, each fifth thick, on tints by height."""
    height = _field(random)
    band = np.floor(height * 8).astype(int)
    tints = np.array([hsv(0.28 - 0.012 * k, 0.25, 0.97) for k in range(24)], np.uint8)
    canvas = Canvas(SIDE, (0, 0, 0))
    canvas.pixels[:] = tints[np.clip(band + 12, 0, 23)]
    edge = np.zeros((SIDE, SIDE), bool)
    edge[1:] |= band[1:] != band[:-1]
    edge[:, 1:] |= band[:, 1:] != band[:, :-1]
    canvas.pixels[edge] = (140, 90, 40)
    thick = edge & (band % 5 == 0)
    thick[:, 1:] |= thick[:, :-1]
    canvas.pixels[thick] = (110, 60, 20)
    for _ in range(14):
        x, y = random.uniform(0, SIDE - 40, 2)
        _write(canvas, str(int(random.integers(100, 2000))), (x, y), (60, 30, 10))
    return canvas.pixels


def _comic(random: np.random.Generator) -> np.ndarray:
    """Frames with dots of ink in a turned grid, thick outlines, balloons with words."""
    canvas = Canvas(SIDE, (255, 255, 255))
    turns = {0: (255, 221, 0), 1: (0, 174, 239), 2: (236, 0, 140)}
    for k in range(4):
        x, y = 8 + k % 2 * 252, 8 + k // 2 * 252
        wide = 244
        canvas.rectangle(x, y, wide, wide, turns[k % 3])
        for i in range(-24, 50):
            for j in range(0, 36):
                px, py = x + 7 * i + 3.5 * j, y + 7 * j
                if x < px < x + wide - 6 and y < py < y + wide - 6:
                    size = 1.5 + 4.5 * j / 36
                    canvas.ellipse(px, py, size, size, turns[(k + 1) % 3])
        middle = (x + random.uniform(70, 170), y + 180)
        canvas.ellipse(middle[0] - 45, middle[1] - 50, 90, 100, (255, 224, 196))
        canvas.ellipse(middle[0] - 45, middle[1] - 50, 90, 100, (0, 0, 0), 3)
        canvas.ellipse(x + 20, y + 16, 190, 76, (255, 255, 255))
        canvas.ellipse(x + 20, y + 16, 190, 76, (0, 0, 0), 2.5)
        words = _letters(random, 12).upper()
        _write(canvas, words, (x + 42, y + 40), (0, 0, 0), smooth=1.6)
        canvas.frame(x, y, wide, wide, (0, 0, 0), 4)
    return canvas.pixels


def _hexagons(random: np.random.Generator) -> np.ndarray:
    """A honeycomb of flat colours, from white through greys to strong ones."""
    canvas = Canvas(SIDE, (255, 255, 255))
    size = 22.0
    for row in range(17):
        for column in range(15):
            x = column * size * 1.732 + (row % 2) * size * 0.866
            y = row * size * 1.5
            tone = row * 15 + column
            if row < 6:
                ink = (255 - tone // 6,) * 3
            else:
                ink = hsv(column / 15, min((row - 5) / 8, 1), 1 - 0.05 * (row - 6))
            turns = np.arange(6) * np.pi / 3 + np.pi / 6
            corners = x + (size - 1) * np.cos(turns), y + (size - 1) * np.sin(turns)
            canvas.polygon(list(zip(*corners, strict=True)), ink)
            if random.random() < 0.15:
                _write(canvas, str(tone), (x - 9, y - 6), (0, 0, 0))
    return canvas.pixels


def _heat(random: np.random.Generator) -> np.ndarray:
    """A map of heat in cells of five pixels, with a scale and its numbers."""
    canvas = Canvas(SIDE, (255, 255, 255))
    value = np.clip(_field(random)[::6, ::6][:80, :80] / 3 + 0.5, 0, 1)
    stops = np.array([(13, 8, 135), (156, 23, 158), (237, 121, 83), (240, 249, 33)])
    place = value * 3
    low = np.minimum(place.astype(int), 2)
    share = (place - low)[..., None]
    cells = np.round(stops[low] * (1 - share) + stops[low + 1] * share).astype(np.uint8)
    canvas.pixels[40:440, 40:440] = cells.repeat(5, 0).repeat(5, 1)
    canvas.frame(39, 39, 402, 402, (0, 0, 0))
    for k in range(400):
        at = 3 * k / 399
        i = min(int(at), 2)
        tone = np.round(stops[i] + (at - i) * (stops[i + 1] - stops[i])).astype(int)
        canvas.rectangle(456, 439 - k, 18, 1, tuple(tone.tolist()))
    for k in range(9):
        label = f"{random.uniform(0, 9):.1f}"
        _write(canvas, label, (480, 434 - k * 49), (0, 0, 0))
        _write(canvas, label, (36 + k * 49, 446), (0, 0, 0))
        canvas.rectangle(40 + k * 49, 440, 1, 5, (0, 0, 0))
    _write(canvas, _letters(random, 20), (100, 8), (0, 0, 0), smooth=1.9)
    return canvas.pixels


def _blocks(random: np.random.Generator) -> np.ndarray:
    """A landscape of cubes seen from a corner, three shades a cube, on a sky."""
    canvas = Canvas(SIDE, (92, 148, 252))
    height = _field(random)
    for row in range(26):
        for column in range(26):
            level = int((height[row * 19, column * 19] + 1) * 3.5)
            x = 256 + (column - row) * 16
            y = 90 + (column + row) * 8 - level * 12
            hue, strength = ((0.33, 0.8), (0.09, 0.6), (0.6, 0.1))[
                min(abs(level) // 3, 2)
            ]
            top, left, right = (hsv(hue, strength, v) for v in (0.85, 0.55, 0.38))
            canvas.polygon([(x, y), (x + 16, y + 8), (x, y + 16), (x - 16, y + 8)], top)
            down = 12 * (level + 4)
            side = [(x - 16, y + 8), (x, y + 16), (x, y + 16 + down)]
            canvas.polygon([*side, (x - 16, y + 8 + down)], left)
            side = [(x + 16, y + 8), (x, y + 16), (x, y + 16 + down)]
            canvas.polygon([*side, (x + 16, y + 8 + down)], right)
    _write(canvas, _letters(random, 14).upper(), (12, 10), (255, 255, 255), 2)
    return canvas.pixels
