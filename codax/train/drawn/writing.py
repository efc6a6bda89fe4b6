"""Pictures of writing: pages, programs, slides, captions, a word on an empty ground."""

from __future__ import annotations

import numpy as np
from PIL import Image

from codax.train.drawn.canvas import Canvas, Colour, any_ground, hsv, ink_on, mixed
from codax.train.drawn.letters import Face, Writer, any_face, numbers, words

__all__ = [
    "Lines",
    "body_size",
    "caption",
    "cloud",
    "code",
    "page",
    "slide",
    "sparse",
    "table",
    "write",
]


def body_size(random: np.random.Generator) -> float:
    """Height of a capital of running text, in pixels; half of them whole."""
    size = float(random.choice([5, 6, 7, 7, 8, 8, 9, 10, 11, 13]))
    return size + (random.uniform(-0.5, 0.5) if random.random() < 0.5 else 0)


def write(
    canvas: Canvas, writer: Writer, text: str, x: float, y: float, ink: Colour
) -> float:
    """Writes a line with its upper left corner at (x, y); returns its width."""
    if y < canvas.side and y + writer.face.height > 0:
        canvas.blend(writer.mask(text), round(x), round(y), ink)
    return writer.measure(text)


def turned(mask: np.ndarray, degrees: float) -> np.ndarray:
    """A line's mask, turned to the left, in a box that holds all of it."""
    image = Image.fromarray(mask)
    return np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC, expand=True))


class Lines:
    """Running text, given line by line of a width."""

    def __init__(self, random: np.random.Generator, script: bool = False):
        """Keeps what words are drawn from."""
        self._random, self._script = random, script
        self._waiting: list[str] = []

    def next(self, writer: Writer, width: float) -> str:
        """As many words as fit, at least one."""
        gap = "" if self._script else " "
        line, left = "", width
        while True:
            if not self._waiting:
                self._waiting = words(self._random, 40, self._script)
            left -= writer.measure(self._waiting[-1] + gap)
            if left < 0 and line:
                return line.rstrip()
            line += self._waiting.pop() + gap


def page(random: np.random.Generator, side: int) -> np.ndarray:
    """Columns of text with headings, as books, papers and web pages have."""
    ground = any_ground(random)
    canvas = Canvas(side, ground)
    ink = ink_on(random, ground, 0.15)
    script = random.random() < 0.15
    writer = Writer(any_face(random, body_size(random)))
    head = Writer(any_face(random, writer.face.size * random.uniform(1.3, 3)))
    lines = Lines(random, script)
    leading = writer.face.height * random.uniform(0.85, 1.2)
    margin = int(random.integers(-20, 24))
    columns = int(random.integers(1, 1 + max(side // 170, 1)))
    gap = int(random.integers(10, 26))
    width = (side - 2 * margin - (columns - 1) * gap) / columns
    accent = ink_on(random, ground, 0.8)
    for column in range(columns):
        x = margin + column * (width + gap)
        y = random.uniform(-leading, 20)
        while y < side:
            kind = random.random()
            if kind < 0.06:
                write(canvas, head, lines.next(head, width), x, y, accent)
                y += head.face.height
            elif kind < 0.09:
                canvas.rectangle(x, y + 2, width, 1, mixed(ground, ink, 0.4))
                y += 8
            elif kind < 0.12:
                tall = int(random.integers(30, 110))
                _picture(random, canvas, int(x), int(y), int(width), tall)
                y += tall + 6
            else:
                indent = 2 * writer.face.size if kind > 0.88 else 0
                part = 0.5 if kind > 0.94 else 1
                text = lines.next(writer, (width - indent) * part)
                write(canvas, writer, text, x + indent, y, ink)
                y += leading * (1.4 if part < 1 else 1)
    return canvas.pixels


def _picture(
    random: np.random.Generator, canvas: Canvas, x: int, y: int, width: int, tall: int
) -> None:
    """Something like a photograph, in a box."""
    seen = canvas.pixels[max(y, 0) : y + tall, max(x, 0) : x + width]
    seen[:] = cloud(random, canvas.side)[: seen.shape[0], : seen.shape[1]]


def cloud(random: np.random.Generator, side: int) -> np.ndarray:
    """Smooth chance with fine grain: a ground like a photograph, uint8[side side 3]."""
    out = np.zeros((side, side), np.float32)
    cells = 2
    while cells <= min(side, 128):
        grid = random.random((cells, cells), np.float32) / np.float32(cells**0.8)
        large = Image.fromarray(grid).resize((side, side), Image.Resampling.BILINEAR)
        out += np.asarray(large)
        cells *= 2
    out = (out - out.min()) / (np.ptp(out) + 1e-6) * 1.2 - 0.1
    dark, light = (np.array(ink_on(random, g, 0.9)) for g in ((255,) * 3, (0,) * 3))
    shades = dark * 0.5 + np.linspace(0, 1, 1024)[:, None] * (light - dark * 0.5)
    shades = np.round(shades).astype(np.uint8)
    return shades[(out * 1023).clip(0, 1023).astype(np.int32)]


def code(random: np.random.Generator, side: int) -> np.ndarray:
    """Lines of a program in an editor or a terminal, coloured by kind of word."""
    dark = random.random() < 0.55
    level = int(random.integers(0, 45)) if dark else int(random.integers(244, 256))
    ground = (level, level, min(level + int(dark) * 6, 255))
    canvas = Canvas(side, ground)
    hue, value = random.random(), 0.9 if dark else 0.65
    inks = [hsv(hue + k * 0.21, random.uniform(0.4, 1), value) for k in range(4)]
    inks += [ink_on(random, ground, 0)] * 4
    writer = Writer(any_face(random, body_size(random), fixed=True, slant=0.0))
    size = writer.face.size
    leading = round(writer.face.height * random.uniform(0.85, 1.15))
    gutter = int(4.5 * size) if random.random() < 0.6 else 4
    marks = "= ( ) { } [ ] : ; + - * / < > & . ' % #".split()
    indent, y = 0, int(random.integers(-leading, 6))
    number = int(random.integers(1, 900))
    while y < side:
        if random.random() < 0.05:
            canvas.rectangle(0, y, side, leading, mixed(ground, inks[4], 0.12))
        if gutter > 4:
            faint = mixed(ground, inks[4], 0.45)
            write(canvas, writer, f"{number:4d}", 2, y, faint)
        x = gutter + 2 + indent * 2 * writer.advance(" ")
        if random.random() > 0.12:
            for word in words(random, int(random.integers(1, 8))):
                ink = inks[int(random.integers(len(inks)))]
                tail = str(random.choice(marks)) + " " * int(random.integers(2))
                if x < side:
                    x += write(canvas, writer, word.lower(), x, y, ink)
                    x += write(canvas, writer, tail, x, y, inks[4])
        indent = min(max(indent + int(random.integers(-1, 2)), 0), 5)
        number += 1
        y += leading
    if random.random() < 0.3:
        canvas.rectangle(side - 12, 0, 12, side, mixed(ground, inks[4], 0.08))
        bar = int(random.integers(8, side // 2))
        canvas.rectangle(side - 10, bar, 8, side // 4, mixed(ground, inks[4], 0.3))
    return canvas.pixels


def slide(random: np.random.Generator, side: int) -> np.ndarray:
    """Large letters and points on a coloured ground: a slide, a poster, a sign."""
    ground = any_ground(random)
    canvas = Canvas(side, ground)
    accent = ink_on(random, ground, 1.0)
    lines = Lines(random, random.random() < 0.1)
    edge = int(random.integers(4, 24))
    if random.random() < 0.5:
        tall = side // int(random.integers(5, 10))
        canvas.rectangle(0, 0, side, tall, accent)
    y = float(edge)
    big = min(random.uniform(18, 64), side / 3)
    title = Writer(any_face(random, big, hinted=False))
    point = Writer(any_face(random, random.uniform(8, big * 0.6)))
    for block in range(side):
        writer = point if block % 3 else title
        face = writer.face
        for _ in range(int(random.integers(1, 4))):
            if y >= side:
                return canvas.pixels
            ink = ink_on(random, tuple(canvas.pixels[int(y), -1].tolist()), 0.6)
            text = lines.next(writer, side - 3 * edge)
            x = edge + 2 * point.face.size if writer is point else edge
            if writer is point:
                at, dot = y + face.height * 0.4, face.size * 0.5
                canvas.ellipse(edge + face.size * 0.5, at, dot, dot, accent)
            elif random.random() < 0.2:
                away = max(int(face.size / 14), 1)
                write(canvas, writer, text, x + away, y + away, accent)
            write(canvas, writer, text, x, y, ink)
            y += face.height * random.uniform(0.9, 1.1)
        y += face.size * 0.5
    return canvas.pixels


def sparse(random: np.random.Generator, side: int) -> np.ndarray:
    """A plain ground, mostly pure white or black, and little on it."""
    tone = random.random()
    ground = (
        (255,) * 3 if tone < 0.6 else (0,) * 3 if tone < 0.8 else any_ground(random)
    )
    canvas = Canvas(side, ground)
    for _ in range(int(random.integers(1, 5 + side // 32))):
        x, y = random.uniform(0, side, 2)
        ink = ink_on(random, ground, 0.5)
        kind = int(random.integers(5))
        if kind < 2:
            size = float(np.exp(random.uniform(np.log(5), np.log(side / 5))))
            writer = Writer(any_face(random, size))
            text = " ".join(words(random, int(random.integers(1, 4))))
            mask = writer.mask(text)
            if random.random() < 0.35:
                mask = turned(mask, random.choice([-90, 90, random.uniform(-60, 60)]))
            canvas.blend(mask, round(x - side / 4), round(y - mask.shape[0] / 2), ink)
        elif kind == 2:
            radius = random.uniform(3, side / 6)
            canvas.ellipse(x, y, radius, radius, ink, random.choice([0, 1, 3]))
        elif kind == 3:
            canvas.line([(x, y), tuple(random.uniform(0, side, 2))], ink, 1.5)
        else:
            soft = cloud(random, side)
            radius = random.uniform(8, side / 5)
            canvas.ellipse(x, y, radius, radius * random.uniform(0.5, 1.5), soft)
    return canvas.pixels


def caption(random: np.random.Generator, side: int) -> np.ndarray:
    """Letters over a ground like a photograph: a subtitle, a banner, a mark."""
    canvas = Canvas(side, (0, 0, 0))
    canvas.pixels[:] = cloud(random, side)
    light = random.random() < 0.7
    ink, behind = ((255,) * 3, (0,) * 3) if light else ((0,) * 3, (255,) * 3)
    for _ in range(int(random.integers(1, 4))):
        writer = Writer(any_face(random, random.uniform(7, side / 8), slant=0.0))
        text = Lines(random).next(writer, side * 0.8)
        width = round(writer.measure(text) + writer.face.size)
        x, y = int(random.integers(side // 4)), int(random.integers(side))
        mask = writer.mask(text)
        kind = random.random()
        if kind < 0.3:
            canvas.rectangle(x - 6, y - 3, width + 6, writer.face.height + 4, behind)
        elif kind < 0.7:
            for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (1, 1)):
                canvas.blend(mask, x + dx, y + dy, behind)
        canvas.blend(mask, x, y, ink)
    return canvas.pixels


def table(random: np.random.Generator, side: int) -> np.ndarray:
    """A sheet of numbers with a head, lines between the cells or stripes."""
    ground = any_ground(random)
    canvas = Canvas(side, ground)
    ink, accent = ink_on(random, ground, 0.1), ink_on(random, ground, 0.9)
    face = any_face(random, body_size(random), slant=0.0)
    writer, bold = Writer(face), Writer(_bolder(face))
    row = face.height + int(random.integers(2, 12))
    lined, striped = random.random() < 0.6, random.random() < 0.4
    faint = mixed(ground, ink, random.uniform(0.1, 0.35))
    on_head = ink_on(random, accent, 0)
    top = int(random.integers(-row, row))
    rows = (side - top) // row + 1
    for k in range(0, rows, 2):
        if striped:
            canvas.rectangle(0, top + k * row, side, row, mixed(ground, accent, 0.1))
    head = random.random() < 0.6
    if head:
        canvas.rectangle(0, top, side, row, accent)
    x = float(random.integers(-30, 4))
    while x < side:
        width = int(face.size * random.uniform(5, 12))
        names = random.random() < 0.3
        cells = words(random, rows) if names else numbers(random, rows)
        for k, text in enumerate(cells):
            y = top + k * row + (row - face.height) // 2
            in_head = head and k == 0
            pen = bold if in_head else writer
            while len(text) > 1 and pen.measure(text) > width - 6:
                text = text[:-1]
            left = x + 4 if names else x + width - pen.measure(text) - 4
            write(canvas, pen, text, left, y, on_head if in_head else ink)
        x += width
        if lined:
            canvas.rectangle(x, top, 1, side, faint)
    if lined:
        for k in range(rows + 1):
            canvas.rectangle(0, top + k * row, side, 1, faint)
    return canvas.pixels


def _bolder(face: Face) -> Face:
    fields = {**face.__dict__, "weight": face.weight * 1.5}
    return Face(**fields)
