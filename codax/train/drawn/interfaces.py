"""Pictures of programs and of what they plot: windows, charts, diagrams, icons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codax.train.drawn.canvas import (
    Canvas,
    Colour,
    Point,
    any_ground,
    hsv,
    ink_on,
    mixed,
    vivid,
)
from codax.train.drawn.letters import Writer, any_face, numbers, words
from codax.train.drawn.writing import Lines, body_size, cloud, write

__all__ = ["chart", "diagram", "icon", "window"]


def icon(
    random: np.random.Generator, canvas: Canvas, x: float, y: float, size: float
) -> None:
    """A small sign: a tile, a ring, an arrow, a heart of lines, a few pixels."""
    kind = int(random.integers(6))
    ink, other = vivid(random), ink_on(random, (255,) * 3, 0.5)
    half = size / 2
    if kind == 0:
        canvas.rounded(x, y, size, size, size / 4, ink)
        canvas.ellipse(x + size / 4, y + size / 4, half, half, (255,) * 3)
    elif kind == 1:
        canvas.ellipse(x, y, size, size, ink, max(size / 8, 1))
        canvas.line([(x + half, y + half), (x + size, y + size)], other, size / 8)
    elif kind == 2:
        points = [(x, y + half), (x + half, y), (x + size, y + half)]
        canvas.line(points, other, max(size / 8, 1))
    elif kind == 3:
        canvas.polygon([(x, y + size), (x + half, y), (x + size, y + size)], ink)
    elif kind == 4:
        for k in range(3):
            canvas.rectangle(x, y + k * size / 3, size, max(size / 8, 1), other)
    else:
        cells = random.integers(0, 2, (5, 3))
        cell = max(int(size / 5), 1)
        for i, j in np.argwhere(np.concatenate([cells, cells[:, 1::-1]], 1)):
            canvas.rectangle(int(x) + j * cell, int(y) + i * cell, cell, cell, ink)


class _Theme:
    """Colours and letters of a program's windows."""

    def __init__(self, random: np.random.Generator):
        self.random = random
        self.dark = random.random() < 0.35
        level = random.integers(18, 50) if self.dark else random.integers(236, 256)
        self.ground: Colour = (int(level),) * 3
        self.ink = ink_on(random, self.ground, 0)
        self.accent = hsv(random.random(), random.uniform(0.6, 1), 0.8)
        self.line = mixed(self.ground, self.ink, random.uniform(0.1, 0.3))
        self.panel = mixed(self.ground, self.ink, random.uniform(0.02, 0.09))
        self.field: Colour = (0, 0, 0) if self.dark else (255, 255, 255)
        self.corner = float(random.choice([0, 2, 4, 8]))
        face = any_face(random, min(body_size(random), 9), serif=False, slant=0.0)
        self.writer = Writer(face)
        self.row = face.height + int(random.integers(2, 10))

    def text(
        self, canvas: Canvas, x: float, y: float, width: float, ink: Colour
    ) -> None:
        """A few words, cut to a width."""
        text = " ".join(words(self.random, int(self.random.integers(1, 4))))
        while text and self.writer.measure(text) > width:
            text = text[:-1]
        write(canvas, self.writer, text, x, y, ink)


def window(random: np.random.Generator, side: int) -> np.ndarray:
    """One or two windows of a program over a desktop, or one that fills the picture."""
    if random.random() < 0.5:
        canvas = Canvas(side, any_ground(random))
        _window(random, canvas, (-1, -1, side + 2, side + 2))
        return canvas.pixels
    canvas = Canvas(side, any_ground(random))
    if random.random() < 0.3:
        canvas.pixels[:] = cloud(random, side)
    for _ in range(int(random.integers(1, 3))):
        x, y = (int(v) for v in random.integers(-side // 8, side // 3, 2))
        width, tall = (int(v) for v in random.integers(side // 2, side, 2))
        if random.random() < 0.6:
            canvas.shadow(x, y + 3, width, tall, int(random.integers(4, 14)), 110)
        _window(random, canvas, (x, y, width, tall))
    return canvas.pixels


def _window(
    random: np.random.Generator, canvas: Canvas, box: tuple[int, int, int, int]
) -> None:
    theme = _Theme(random)
    x, y, width, tall = box
    canvas.rectangle(x, y, width, tall, theme.ground)
    bar = theme.row + 4
    title = theme.accent if random.random() < 0.4 else theme.panel
    canvas.rectangle(x, y, width, bar, title)
    theme.text(canvas, x + 8, y + 3, width * 0.6, ink_on(random, title, 0))
    for k in range(3):
        at = x + width - (k + 1) * (bar + 2)
        canvas.ellipse(at, y + bar * 0.25, bar * 0.5, bar * 0.5, vivid(random))
    top = y + bar
    if random.random() < 0.7:
        _row_of_words(theme, canvas, x, top, width)
        top += theme.row
    if random.random() < 0.6:
        size = int(random.choice([12, 16, 20, 24]))
        for k in range(max(width // (size + 8), 1)):
            icon(random, canvas, x + 6 + k * (size + 8), top + 4, size)
        top += size + 8
        canvas.rectangle(x, top - 1, width, 1, theme.line)
    left = x
    if random.random() < 0.6:
        column = min(int(random.integers(60, 160)), width // 3)
        canvas.rectangle(x, top, column, y + tall - top, theme.panel)
        canvas.rectangle(x + column, top, 1, y + tall - top, theme.line)
        _tree(theme, canvas, x, top + 2, column, y + tall)
        left += column + 1
    _form(theme, canvas, (left, top, x + width, y + tall))
    canvas.frame(x, y, width, tall, theme.line)


def _row_of_words(theme: _Theme, canvas: Canvas, x: int, y: int, width: int) -> None:
    """A menu, or tabs with lines between them."""
    at = x + 8
    tabs = theme.random.random() < 0.4
    for word in words(theme.random, 12):
        wide = theme.writer.measure(word)
        if at + wide > x + width - 8:
            break
        if tabs:
            canvas.frame(at - 5, y + 1, wide + 10, theme.row, theme.line)
        write(canvas, theme.writer, word, at, y + 2, theme.ink)
        at += int(wide) + 14
    canvas.rectangle(x, y + theme.row, width, 1, theme.line)


def _tree(
    theme: _Theme, canvas: Canvas, x: int, y: int, width: int, bottom: int
) -> None:
    """A list of names with signs before them, one chosen."""
    random = theme.random
    chosen = int(random.integers(12))
    size = int(theme.writer.face.size) + 2
    for k in range(max((bottom - y) // theme.row, 0)):
        indent = 6 + 8 * int(random.integers(3))
        at = y + k * theme.row
        ink = theme.ink
        if k == chosen:
            canvas.rectangle(x, at, width, theme.row, theme.accent)
            ink = ink_on(random, theme.accent, 0)
        icon(random, canvas, x + indent, at + (theme.row - size) // 2, size)
        theme.text(
            canvas, x + indent + size + 4, at + 1, width - indent - size - 6, ink
        )


def _form(theme: _Theme, canvas: Canvas, box: tuple[int, int, int, int]) -> None:
    """Buttons, fields, boxes to tick, bars, sliders, running text, small pictures."""
    left, top, right, bottom = box
    parts: list[Callable] = [_button, _field, _tick, _bar, _paragraph, _thumbnail]
    y = top + 8
    while y < bottom - theme.row:
        x, tallest = left + 10, theme.row
        while x < right - 60:
            width = min(int(theme.random.integers(60, 190)), right - x - 8)
            part = parts[int(theme.random.integers(len(parts)))]
            tall = min(part(theme, canvas, x, y, width), bottom - y)
            tallest = max(tallest, tall)
            x += width + 12
        y += tallest + int(theme.random.integers(6, 16))


def _button(theme: _Theme, canvas: Canvas, x: int, y: int, width: int) -> int:
    tall = theme.row + 6
    fill = theme.random.random() < 0.6
    ink = ink_on(theme.random, theme.accent, 0) if fill else theme.accent
    thick = 0 if fill else 1
    canvas.rounded(x, y, width, tall, theme.corner, theme.accent, thick)
    theme.text(canvas, x + 10, y + 4, width - 16, ink)
    return tall


def _field(theme: _Theme, canvas: Canvas, x: int, y: int, width: int) -> int:
    tall = theme.row + 6
    canvas.rectangle(x, y, width, tall, theme.field)
    canvas.frame(x, y, width, tall, theme.line)
    theme.text(canvas, x + 5, y + 4, width - 24, theme.ink)
    corner = (x + width - 14, y + tall / 2 - 2)
    points = [corner, (corner[0] + 4, corner[1] + 4), (corner[0] + 8, corner[1])]
    canvas.line(points, theme.ink, 1.2)
    return tall


def _tick(theme: _Theme, canvas: Canvas, x: int, y: int, width: int) -> int:
    size = int(theme.writer.face.size) + 4
    on = theme.random.random() < 0.5
    if theme.random.random() < 0.5:
        canvas.ellipse(x, y, size, size, theme.accent, 1.5)
        if on:
            canvas.ellipse(x + 3, y + 3, size - 6, size - 6, theme.accent)
    else:
        canvas.rounded(x, y, size, size, 2, theme.accent if on else theme.line)
        points = [(x + 2, y + size / 2), (x + size / 2, y + size - 3)]
        canvas.line([*points, (x + size - 2, y + 2)], theme.field, 1.5)
    theme.text(canvas, x + size + 5, y, width - size - 5, theme.ink)
    return theme.row


def _bar(theme: _Theme, canvas: Canvas, x: int, y: int, width: int) -> int:
    share = theme.random.random()
    thick = int(theme.random.choice([3, 6, 10]))
    canvas.rounded(x, y + 4, width, thick, thick / 2, theme.line)
    canvas.rounded(x, y + 4, max(width * share, thick), thick, thick / 2, theme.accent)
    if theme.random.random() < 0.5:
        canvas.ellipse(x + width * share - 6, y + 4 + thick / 2 - 6, 12, 12, theme.ink)
    return thick + 12


def _paragraph(theme: _Theme, canvas: Canvas, x: int, y: int, width: int) -> int:
    lines = Lines(theme.random)
    count = int(theme.random.integers(1, 6))
    for k in range(count):
        text = lines.next(theme.writer, width)
        while theme.writer.measure(text) > width:
            text = text[:-1]
        write(canvas, theme.writer, text, x, y + k * theme.row, theme.ink)
    return count * theme.row


def _thumbnail(theme: _Theme, canvas: Canvas, x: int, y: int, width: int) -> int:
    size = min(int(theme.random.integers(24, 80)), width)
    seen = canvas.pixels[max(y, 0) : y + size, max(x, 0) : x + size]
    if theme.random.random() < 0.5:
        seen[:] = cloud(theme.random, 96)[: seen.shape[0], : seen.shape[1]]
    else:
        seen[:] = vivid(theme.random)
        icon(theme.random, canvas, x + size / 4, y + size / 4, size / 2)
    return size


def chart(random: np.random.Generator, side: int) -> np.ndarray:
    """Bars, curves, points or a pie with axes, a grid, numbers and a legend."""
    ground = any_ground(random)
    canvas = Canvas(side, ground, smooth=random.random() < 0.85)
    ink = ink_on(random, ground, 0)
    faint = mixed(ground, ink, random.uniform(0.08, 0.25))
    writer = Writer(any_face(random, min(body_size(random), 9), slant=0.0))
    hue, step = random.random(), random.uniform(0.1, 0.4)
    vividness = random.uniform(0.5, 1)
    inks = [hsv(hue + k * step, vividness, random.uniform(0.6, 1)) for k in range(5)]
    panels = 2 if side > 300 and random.random() < 0.5 else 1
    each = side / panels
    for i in range(panels * panels):
        x, y = (i % panels) * each, (i // panels) * each
        edge = int(random.integers(20, 46))
        box = (int(x) + edge, int(y) + edge // 2, int(each) - edge - 8, 0)
        box = (*box[:3], int(each) - edge // 2 - 24)
        if random.random() < 0.2:
            _pie(random, canvas, box, inks)
        else:
            _axes(random, canvas, box, ink, faint, writer)
            plot = (_bars, _curves, _points)[int(random.integers(3))]
            plot(random, canvas, box, inks)
        if random.random() < 0.5:
            for k, name in enumerate(words(random, 3)):
                at = box[1] + 6 + k * writer.face.height
                canvas.rectangle(box[0] + box[2] - 70, at + 4, 8, 8, inks[k])
                write(canvas, writer, name[:8], box[0] + box[2] - 56, at, ink)
    return canvas.pixels


Box = tuple[int, int, int, int]


def _axes(
    random: np.random.Generator,
    canvas: Canvas,
    box: Box,
    ink: Colour,
    faint: Colour,
    writer: Writer,
) -> None:
    x, y, width, tall = box
    ticks = int(random.integers(3, 8))
    texts = numbers(random, ticks + 1)
    for k in range(ticks + 1):
        at = y + tall - k * tall // ticks
        canvas.rectangle(x, at, width, 1, faint)
        label = texts[k]
        write(canvas, writer, label, x - writer.measure(label) - 4, at - 8, ink)
        across = x + k * width // ticks
        if random.random() < 0.7:
            canvas.rectangle(across, y, 1, tall, faint)
        canvas.rectangle(across, y + tall, 1, 4, ink)
        write(canvas, writer, label, across - 6, y + tall + 4, ink)
    canvas.rectangle(x, y, 1, tall, ink)
    canvas.rectangle(x, y + tall, width, 1, ink)


def _bars(random: np.random.Generator, canvas: Canvas, box: Box, inks: list) -> None:
    x, y, width, tall = box
    count = int(random.integers(3, 18))
    series = int(random.integers(1, 4))
    slot = width / count
    for k in range(count):
        for s in range(series):
            high = random.random() * tall * 0.95
            left = x + k * slot + slot * (0.1 + 0.8 * s / series)
            wide = max(0.8 * slot / series, 1)
            canvas.rectangle(left, y + tall - high, wide, high, inks[s])


def _curves(random: np.random.Generator, canvas: Canvas, box: Box, inks: list) -> None:
    x, y, width, tall = box
    count = int(random.integers(6, 60))
    at = np.linspace(x, x + width, count)
    for k in range(int(random.integers(1, 5))):
        walk = np.cumsum(random.normal(0, 1, count))
        walk = (walk - walk.min()) / (np.ptp(walk) + 1e-9)
        points: list[Point] = list(
            zip(at.tolist(), (y + tall * (0.95 - 0.9 * walk)).tolist(), strict=True)
        )
        if k == 0 and random.random() < 0.3:
            ends = [(x + width, y + tall), (x, y + tall)]
            canvas.polygon([*points, *ends], mixed(inks[k], (255,) * 3, 0.6))
        canvas.line(points, inks[k], float(random.choice([1, 1.5, 2, 3])))
        if count < 20:
            for px, py in points:
                canvas.ellipse(px - 3, py - 3, 6, 6, inks[k])


def _points(random: np.random.Generator, canvas: Canvas, box: Box, inks: list) -> None:
    x, y, width, tall = box
    size = float(random.choice([2, 3, 5, 7]))
    for k in range(3):
        centre, spread = random.uniform(0.3, 0.7, 2), random.uniform(0.05, 0.2, 2)
        for px, py in random.normal(centre, spread, (int(random.integers(10, 60)), 2)):
            if 0 < px < 1 and 0 < py < 1:
                thick = 1 if k == 2 else 0
                place = (x + px * width, y + py * tall)
                canvas.ellipse(*place, size, size, inks[k], thick)


def _pie(random: np.random.Generator, canvas: Canvas, box: Box, inks: list) -> None:
    x, y, width, tall = box
    radius = min(width, tall) / 2
    cuts = np.sort(np.append(random.uniform(0, 360, 4), 0)).tolist()
    hole = random.choice([0, 0.5])
    for k, (begin, end) in enumerate(zip(cuts, [*cuts[1:], 360], strict=True)):
        thick = radius * (1 - hole) if hole else 0
        centre = (x + width / 2, y + tall / 2)
        canvas.sector(*centre, radius, (begin, end), inks[k], thick)


def diagram(random: np.random.Generator, side: int) -> np.ndarray:
    """Boxes with words, joined by arrows, perhaps on squared paper."""
    ground = any_ground(random)
    canvas = Canvas(side, ground, smooth=random.random() < 0.85)
    ink = ink_on(random, ground, 0.2)
    if random.random() < 0.4:
        step = int(random.integers(6, 30))
        for at in range(int(random.integers(step)), side, step):
            faint = mixed(ground, ink, 0.12)
            canvas.rectangle(at, 0, 1, side, faint)
            canvas.rectangle(0, at, side, 1, faint)
    writer = Writer(any_face(random, min(body_size(random), 9)))
    count = max(side // int(random.integers(70, 130)), 1)
    cell = side / count
    thick = float(random.choice([1, 1, 1.5, 2, 3]))
    centres = [
        (cell * (i + 0.5 + random.uniform(-0.1, 0.1)), cell * (j + 0.5))
        for i in range(count)
        for j in range(count)
    ]
    for begin in centres:
        end = centres[int(random.integers(len(centres)))]
        bent = (
            [begin, (begin[0], end[1]), end] if random.random() < 0.5 else [begin, end]
        )
        canvas.line(bent, ink, thick)
        middle = ((bent[-2][0] + end[0]) / 2, (bent[-2][1] + end[1]) / 2)
        _head(canvas, bent[-2], middle, ink, 5 + 2 * thick)
    for x, y in centres:
        if random.random() < 0.8:
            _node(random, canvas, writer, (x, y), (ink, ground, thick))
    return canvas.pixels


def _head(canvas: Canvas, begin: Point, tip: Point, ink: Colour, size: float) -> None:
    """The head of an arrow."""
    dx, dy = tip[0] - begin[0], tip[1] - begin[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1e-6)
    dx, dy = dx / length * size, dy / length * size
    back = (tip[0] - 2 * dx, tip[1] - 2 * dy)
    sides = [(back[0] - dy, back[1] + dx), (back[0] + dy, back[1] - dx)]
    canvas.polygon([tip, *sides], ink)


def _node(
    random: np.random.Generator,
    canvas: Canvas,
    writer: Writer,
    centre: Point,
    look: tuple[Colour, Colour, float],
) -> None:
    ink, ground, thick = look
    x, y = centre
    name = words(random, 1)[0]
    width = writer.measure(name) + 14
    tall = writer.face.height + int(random.integers(2, 16))
    fill = vivid(random) if random.random() < 0.4 else mixed(ground, ink, 0.06)
    box = (x - width / 2, y - tall / 2, width, tall)
    kind = int(random.integers(3))
    if kind == 0:
        canvas.rounded(*box, 6, fill)
        canvas.rounded(*box, 6, ink, thick)
    elif kind == 1:
        canvas.ellipse(*box, fill)
        canvas.ellipse(*box, ink, thick)
    else:
        around = [(x - width * 0.7, y), (x, y - tall * 0.8), (x + width * 0.7, y)]
        around.append((x, y + tall * 0.8))
        canvas.polygon(around, fill)
        canvas.line([*around, around[0]], ink, thick)
    on = ink_on(random, fill, 0)
    write(canvas, writer, name, x - width / 2 + 7, y - writer.face.height / 2, on)
