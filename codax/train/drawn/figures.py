"""Pictures without words: shapes, lines, gradients, patterns, sprites, colours."""

from __future__ import annotations

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
from codax.train.drawn.letters import Writer, any_face, words
from codax.train.drawn.writing import write

__all__ = [
    "gradients",
    "lines",
    "noise",
    "patterns",
    "pixels",
    "saturated",
    "shapes",
]


SHADES = 4096
"""Steps of a gradient before its colours are rounded."""


def ramp(random: np.random.Generator, side: int) -> np.ndarray:
    """A gradient along a line, around or away from a point, uint8[side side 3].

    A third are faint, from nearly white to white or nearly black to black, where each
    step is a plateau; some are dithered.
    """
    rows = np.arange(side, dtype=np.float32)[:, None]
    columns = rows.T
    kind = int(random.integers(4))
    if kind == 0:
        turn = random.choice([0, np.pi / 2, random.uniform(0, 2 * np.pi)])
        at = columns * np.float32(np.cos(turn)) + rows * np.float32(np.sin(turn))
    else:
        x, y = (random.uniform(-0.2, 1.2, 2) * side).astype(np.float32)
        tall = np.float32(random.uniform(0.5, 2))
        at = np.sqrt((columns - x) ** 2 + ((rows - y) * tall) ** 2)
        if kind == 3:
            at = np.arctan2(rows - y, columns - x)
    at = (at - at.min()) / (np.ptp(at) + 1e-6)
    stops = int(random.choice([2, 2, 2, 3, 5]))
    faint = random.random()
    if faint < 0.22:
        low = int(random.integers(232, 250))
        colours = np.array([(low,) * 3, (255,) * 3])[random.permutation(2)]
        stops = 2
    elif faint < 0.32:
        colours = np.array([(0,) * 3, (int(random.integers(8, 60)),) * 3])
        stops = 2
    else:
        colours = np.array([any_ground(random) for _ in range(stops)])
        colours[0] = vivid(random)
    if random.random() < 0.15:
        at = at * random.uniform(2, 8) % 1
    shades = np.stack(
        [
            np.interp(np.arange(SHADES), np.linspace(0, SHADES - 1, stops), channel)
            for channel in colours.T
        ],
        -1,
    )
    places = (at * (SHADES - 1)).astype(np.int32)
    if random.random() < 0.75:
        return np.round(shades).astype(np.uint8)[places]
    # Dithered, so that no plateau shows.
    grain = random.random((side, side, 1), np.float32)
    return (shades.astype(np.float32)[places] + grain).clip(0, 255).astype(np.uint8)


def gradients(random: np.random.Generator, side: int) -> np.ndarray:
    """One gradient, or several through shapes on a plain ground."""
    canvas = Canvas(side, any_ground(random))
    if random.random() < 0.5:
        canvas.pixels[:] = ramp(random, side)
    for _ in range(int(random.integers(1, 5))):
        through = ramp(random, side)
        x, y = random.uniform(-0.1, 0.8, 2) * side
        width, tall = random.uniform(0.15, 0.7, 2) * side
        if random.random() < 0.5:
            canvas.ellipse(x, y, width, tall, through)
        else:
            canvas.rounded(x, y, width, tall, random.uniform(0, 30), through)
    return canvas.pixels


def _star(
    random: np.random.Generator, x: float, y: float, radius: float
) -> list[Point]:
    """A polygon about a point: regular, star-shaped or of chance."""
    count = int(random.integers(3, 10))
    turns = np.arange(count) * 2 * np.pi / count + random.uniform(0, 6)
    reach = np.full(count, radius)
    kind = random.random()
    if kind < 0.3:
        reach[::2] *= random.uniform(0.3, 0.7)
    elif kind < 0.6:
        reach *= random.uniform(0.4, 1, count)
    return list(
        zip(
            (x + reach * np.cos(turns)).tolist(),
            (y + reach * np.sin(turns)).tolist(),
            strict=True,
        )
    )


def shapes(random: np.random.Generator, side: int) -> np.ndarray:
    """Polygons, ellipses and rectangles in flat colours: drawings and logos."""
    canvas = Canvas(side, any_ground(random), smooth=random.random() < 0.8)
    inks = [vivid(random) for _ in range(int(random.integers(2, 6)))]
    inks += [(255,) * 3, (0,) * 3]
    count = int(random.integers(3 + side // 32, 8 + side // 8))
    largest = random.choice([0.15, 0.3, 0.6]) * side
    for _ in range(count):
        ink = inks[int(random.integers(len(inks)))]
        x, y = random.uniform(-0.1, 1, 2) * side
        width, tall = random.uniform(4, max(largest, 6), 2)
        kind = int(random.integers(7))
        thick = float(random.choice([0, 0, 2, 4, 9]))
        if kind == 0:
            canvas.ellipse(x, y, width, tall, ink, thick)
        elif kind == 1:
            canvas.rectangle(x, y, width, tall, ink)
        elif kind == 2:
            canvas.rounded(x, y, width, tall, random.uniform(2, 20), ink, thick)
        elif kind == 3:
            begin = random.uniform(0, 360)
            turn = (begin, begin + random.uniform(40, 300))
            canvas.sector(x, y, width / 2 + 2, turn, ink, thick)
        elif kind == 4 and thick:
            points = _star(random, x, y, width)
            canvas.line([*points, points[0]], ink, thick)
        else:
            canvas.polygon(_star(random, x, y, width), ink)
    return canvas.pixels


def _curve(random: np.random.Generator, side: int, count: int) -> list[Point]:
    """A smooth curve: a cubic through four points of chance."""
    a, b, c, d = random.uniform(-0.2, 1.2, (4, 2)) * side
    t = np.linspace(0, 1, count)[:, None]
    u = 1 - t
    at = u**3 * a + 3 * u * u * t * b + 3 * u * t * t * c + t**3 * d
    return [(x, y) for x, y in at.tolist()]


def lines(random: np.random.Generator, side: int) -> np.ndarray:
    """Thin lines: curves, fans, hatching, arcs, meshes, dashes."""
    ground = any_ground(random)
    canvas = Canvas(side, ground, smooth=random.random() < 0.75)
    for _ in range(int(random.integers(2, 6))):
        ink = ink_on(random, ground, 0.4)
        thick = float(random.choice([0.5, 0.75, 1, 1, 1.5, 2, 3, 5]))
        kind = int(random.integers(6))
        if kind == 0:
            for _ in range(int(random.integers(1, 10))):
                canvas.line(_curve(random, side, 30), ink, thick)
        elif kind == 1:
            apex = tuple((random.uniform(-0.2, 1.2, 2) * side).tolist())
            far = random.uniform(0, side)
            for k in range(int(random.integers(4, 24))):
                canvas.line([apex, (far, k * side / 12)], ink, thick)
        elif kind == 2:
            _hatching(random, canvas, ink, thick)
        elif kind == 3:
            x, y = random.uniform(0, 1, 2) * side
            for k in range(int(random.integers(1, 12))):
                begin = random.uniform(0, 360)
                turn = (begin, begin + random.uniform(60, 330))
                canvas.sector(x, y, 8 + k * (thick + 4), turn, ink, thick)
        elif kind == 4:
            points = random.uniform(0, side, (12, 2)).tolist()
            canvas.line([tuple(p) for p in points], ink, thick)
        else:
            points = _curve(random, side, 60)
            for k in range(0, 59, 2):
                canvas.line(points[k : k + 2], ink, max(thick, 1))
    return canvas.pixels


def _hatching(
    random: np.random.Generator, canvas: Canvas, ink: Colour, thick: float
) -> None:
    """Parallel lines across a part of the picture."""
    side = canvas.side
    x, y = random.uniform(0, 0.7, 2) * side
    length, lean = side * random.uniform(0.2, 0.5), random.uniform(-1, 1)
    step = random.uniform(thick + 1, thick + 7)
    for k in range(int(min(length / step, 50))):
        at = x + k * step
        canvas.line([(at, y), (at + lean * length, y + length)], ink, thick)


def pattern(random: np.random.Generator, side: int) -> np.ndarray:
    """Stripes, checks, dots, ordered dither, codes: bool[side side], 1 to 4 pixels."""
    rows, columns = np.mgrid[:side, :side]
    cell = int(random.integers(1, 5))
    kind = int(random.integers(8))
    if kind == 0:
        return (rows // cell + columns // cell) % 2 == 1
    if kind in (1, 2):
        period = cell + int(random.integers(1, 5))
        return (columns if kind == 1 else rows) % period < cell
    if kind == 3:
        period = cell + int(random.integers(1, 5))
        slope = int(random.choice([-2, -1, 1, 2]))
        return (columns + slope * rows) % period < cell
    if kind == 4:
        period = cell + int(random.integers(1, 5))
        return (columns % period < cell) & (rows % period < cell)
    if kind == 5:
        tile = random.random((int(random.integers(2, 7)),) * 2) < 0.5
        tile = np.kron(tile, np.ones((cell, cell), bool))
        return tile[rows % len(tile), columns % len(tile)]
    if kind == 6:
        # Squares of chance, as in codes that telephones read.
        big = cell * int(random.integers(1, 4))
        cells = random.random((side // big + 1,) * 2) < 0.5
        return cells[rows // big, columns // big]
    order = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    level = columns / side if random.random() < 0.5 else rows / side
    return level * 16 > order[rows // cell % 4, columns // cell % 4] + 0.5


def patterns(random: np.random.Generator, side: int) -> np.ndarray:
    """Patterns of a few pixels, in bands or in shapes on a plain ground."""
    canvas = Canvas(side, any_ground(random))
    in_shapes = random.random() < 0.4
    count = int(random.integers(2, 5)) if in_shapes else int(random.integers(1, 4))
    for k in range(count):
        one = any_ground(random)
        other = ink_on(random, one, 0.4)
        if random.random() < 0.3:
            other = mixed(one, other, random.uniform(0.1, 0.6))
        drawn = np.array([one, other], np.uint8)[pattern(random, side).astype(int)]
        if in_shapes:
            x, y = random.uniform(0.1, 0.9, 2) * side
            canvas.polygon(_star(random, x, y, side * 0.4), drawn)
        else:
            band = slice(k * side // count, (k + 1) * side // count)
            canvas.pixels[band] = drawn[band]
    return canvas.pixels


def pixels(random: np.random.Generator, side: int) -> np.ndarray:
    """Sprites and tiles of few colours, each pixel a square of 2 to 12 pixels."""
    scale = int(random.choice([2, 2, 3, 3, 4, 4, 5, 6, 8, 12]))
    count = side // scale + 1
    shades = [any_ground(random)]
    for _ in range(4):
        hue, saturation = random.random(), random.uniform(0.3, 1)
        shades += [hsv(hue, saturation, value) for value in (0.35, 0.65, 0.95)]
    palette = np.array([*shades, (0, 0, 0), (255, 255, 255)], np.uint8)
    art = np.zeros((count, count), int)
    tile = int(random.choice([8, 16]))
    if random.random() < 0.5:
        kinds = random.integers(0, len(palette), (3, tile, tile))
        kinds[random.random(kinds.shape) < 0.75] = int(random.integers(len(palette)))
        map_ = random.integers(0, 3, (count // tile + 1,) * 2)
        full = kinds[map_].swapaxes(1, 2).reshape((count // tile + 1) * tile, -1)
        art = full[:count, :count].copy()
    for _ in range(1 + count * count // 700):
        sprite = _sprite(random, tile, len(palette))
        top, left = random.integers(-tile // 2, count, 2)
        rows, columns = np.argwhere(sprite).T
        keep = (rows + top >= 0) & (rows + top < count)
        keep &= (columns + left >= 0) & (columns + left < count)
        rows, columns = rows[keep], columns[keep]
        art[rows + top, columns + left] = sprite[rows, columns]
    drawn = palette[art].repeat(scale, 0).repeat(scale, 1)[:side, :side]
    canvas = Canvas(side, (0, 0, 0))
    canvas.pixels[:] = drawn
    if random.random() < 0.25:
        writer = Writer(any_face(random, 7, hinted=True, edge="jagged", curve=0))
        write(canvas, writer, " ".join(words(random, 3)), 6, 4, (255, 255, 255))
    return canvas.pixels


def _sprite(random: np.random.Generator, size: int, colours: int) -> np.ndarray:
    """A figure that is its own mirror image, with an outline; 0 is seen through."""
    half = random.random((size - 2, size // 2 - 1)) < 0.45
    grown = half.copy()
    grown[1:] |= half[:-1]
    body = np.concatenate([grown[:, ::-1], grown], 1)
    body = np.pad(body, 1)
    edge = body.copy()
    edge[1:] |= body[:-1]
    edge[:-1] |= body[1:]
    edge[:, 1:] |= body[:, :-1]
    edge[:, :-1] |= body[:, 1:]
    base = 1 + 3 * int(random.integers(4))
    shade = base + random.integers(0, 3, (size, size // 2))
    shade = np.concatenate([shade[:, ::-1], shade], 1)
    return np.where(body, shade, np.where(edge, colours - 2, 0))


def saturated(random: np.random.Generator, side: int) -> np.ndarray:
    """Strong colours side by side, with letters of one upon the other."""
    canvas = Canvas(side, vivid(random), smooth=random.random() < 0.7)
    inks = [vivid(random) for _ in range(int(random.integers(2, 5)))]
    step = int(random.integers(16, 120))
    if random.random() < 0.5:
        for left in range(0, side, step):
            for top in range(0, side, step):
                ink = inks[int(random.integers(len(inks)))]
                canvas.rectangle(left, top, step, step, ink)
    else:
        lean = side * float(random.choice([0, 0.3, 1]))
        for k in range(2 * side // step + 1):
            at = k * step - lean
            corners = [(at, 0), (at + step, 0), (at + step + lean, side)]
            canvas.polygon([*corners, (at + lean, side)], inks[k % len(inks)])
    writer = Writer(any_face(random, random.uniform(6, max(side / 14, 8)), edge="grey"))
    for _ in range(int(random.integers(3, 6 + side // 64))):
        x, y = random.uniform(-0.1, 0.9, 2) * side
        ink = vivid(random)
        kind = int(random.integers(4))
        if kind == 0:
            canvas.polygon(_star(random, x, y, side * random.uniform(0.05, 0.25)), ink)
        elif kind == 1:
            width, tall = random.uniform(8, side / 3, 2)
            canvas.ellipse(x, y, width, tall, ink)
        else:
            write(canvas, writer, " ".join(words(random, 5)), x - side / 4, y, ink)
    return canvas.pixels


def noise(random: np.random.Generator, side: int) -> np.ndarray:
    """Grain of one to three pixels over shapes and gradients, weak to strong."""
    under = (shapes, gradients)[int(random.integers(2))](random, side)
    grain = int(random.choice([1, 1, 1, 2, 3]))
    channels = int(random.choice([1, 3]))
    count = side // grain + 1
    spread = float(np.exp(random.uniform(np.log(1), np.log(60))))
    drawn = random.standard_normal((count, count, channels), np.float32) * spread
    drawn = drawn.repeat(grain, 0).repeat(grain, 1)[:side, :side]
    if random.random() < 0.4:
        drawn *= (
            random.random((side // 64 + 1,) * 2)
            .repeat(64, 0)
            .repeat(64, 1)[:side, :side, None]
            .round()
        )
    return np.round(under + drawn).clip(0, 255).astype(np.uint8)
