"""Letters without a font: skeletons of strokes, drawn with many kinds of pens.

A face is a pen (weight, contrast, round or cut ends, serifs) and a way of moving it
(width, slant, height of small letters, corners cut or curved), so that a seed makes
faces without end, the same on every machine. Small sizes can be hinted to whole
pixels, jagged, grey, or coloured by the stripes of a screen's subpixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

__all__ = ["Face", "Writer", "any_face", "numbers", "words"]

BASE, SMALL, TALL, LOWEST, HIGHEST = 4, 11, 14, 0, 17
"""Heights in a skeleton's units: base line, small letters, capitals, ends."""

# A stroke is a row of points, each column and height as one digit of base 36; `~`
# makes it a curve from its first to its last point, `o` a closed curve.
SKELETONS = """
A 045ea4 2888|B 040e ~0e5e8e895909 ~095999945404|C ~9b9e5e0e04549497
D 040e ~0e4e9e944404|E 8e0e0484 0979|F 8e0e04 0979|G ~9b9e5e0e04549499 5999
H 040e 949e 0999|I 040e|J ~6e69640407|K 040e 9e08 3a94|L 0e0484|M 040e57aea4
N 040e949e|O o04a4ae0e|P 040e ~0e5e9e985808|Q o04a4ae0e 67a3
R 040e ~0e5e9e985808 5894|S ~8c8e4e0e09499994440406|T 0eae 545e|U ~0e080494989e
V 0e54ae|W 0e346d94ce|X 049e 0e94|Y 0e59ae 5954|Z 0e9e0494
a ~0a0b3b7b7774 ~78380804347476|b 0e04 o04848b0b|c ~7a7b4b0b04447475
d 8e84 o04848b0b|e 0888 ~888b4b0b04448485|f ~6e4e2e2a24 0b5b
g o04848b0b ~8b8481410102|h 040e ~080b4b7b7774|i 040b 0d0e|j ~3b343101 3d3e
k 040e 7b07 2974|l 040e|m 040b ~080b4b6b6764 ~686b9bcbc7c4|n 040b ~080b4b7b7774
o o04848b0b|p 010b o04848b0b|q 818b o04848b0b|r 040b ~080b3b5b
s ~6a6b3b0b083878743404 0405|t ~2e262454 0b5b|u ~0b07043474 747b|v 0b448b
w 0b346a94cb|x 047b 0b74|y 0b44 8b21|z 0b7b0474
0 o04848e0e|1 0c3e34|2 ~0b0e4e8e8a04 0484|3 ~0d0e4e7e7939 ~398984440406|4 646e0787
5 7e1e0a ~0a4a8a84440406|6 o04848a0a ~7e1e07|7 0e8e34|8 o09797e1e o04848909
9 o08888e0e ~8b8414|. 0405|, 1502|: 0405 090a|; 1502 191a|! 070e 0405
? ~0c0e4e7e7a3a37 3435|( ~2f0b0722|) ~0f2b2702|[ 3f0f0232|] 0f3f3202
{ ~4f2f2909 ~09292242|} ~0f2f2949 ~49292202|< 7c0874|> 0c7804|/ 026f|\\ 0f62
- 0858|_ 0383|+ 0888 444c|= 0686 0a8a|* 393f 0b6d 0d6b|# 242e 646e 0787 0b8b
% 049e o0a3a3e0e o64949868|& ~942c2e6e6b0704448499|' 0c0e|" 0c0e 3c3e
^ 0b3e6b|~ ~082a688a|$ ~8c8e4e0e09499994440406 424g
"""
SCRIPT = 0x4E00
"""From here on characters are dense signs of random strokes."""
SIGNS = 60


@cache
def _table() -> dict[str, list[tuple[str, np.ndarray]]]:
    found = {}
    for entry in SKELETONS.replace("\n", "|").split("|"):
        if entry:
            char, _, strokes = entry.partition(" ")
            found[char] = [_stroke(text) for text in strokes.split()]
    return found


def _stroke(text: str) -> tuple[str, np.ndarray]:
    kind = text[0] if text[0] in "~o" else "-"
    digits = [int(digit, 36) for digit in text.removeprefix(kind)]
    return kind, np.array(digits, np.float64).reshape(-1, 2)


def _sign(number: int) -> list[tuple[str, np.ndarray]]:
    """A dense sign of three to seven strokes."""
    random = np.random.default_rng([number, 7])
    strokes = []
    for _ in range(int(random.integers(3, 8))):
        x, y = int(random.integers(0, 9)), int(random.integers(3, 13))
        w, h = int(random.integers(3, 12 - x)), int(random.integers(2, 16 - y))
        kind, points = (
            ("-", [(x, y), (x + w, y)]),
            ("-", [(x, y + h), (x, y)]),
            ("-", [(x, y), (x, y + h), (x + w, y + h), (x + w, y)]),
            ("~", [(x + w, y + h), (x + w, y), (x, y)]),
        )[int(random.integers(4))]
        strokes.append((kind, np.array(points, np.float64)))
    return strokes


@dataclass(frozen=True)
class Skeleton:
    """The strokes of a character, in units.

    Attributes:
        points: float64[n 2], (x, height) of all strokes, one behind the other.
        strokes: of each stroke its first point, its end, and whether it is straight.
        reach: the largest x.
    """

    points: np.ndarray
    strokes: list[tuple[int, int, bool]]
    reach: float


@cache
def skeleton(char: str, rounds: int) -> Skeleton:
    """The strokes of a character of the table, or from `SCRIPT` on.

    Args:
        char: one character.
        rounds: of smoothing its curves.
    """
    parts = _sign(ord(char)) if ord(char) >= SCRIPT else _table()[char]
    points: list[np.ndarray] = []
    strokes = []
    begin = 0
    for kind, at in parts:
        points.append(at if kind == "-" else _smooth(at, kind == "o", rounds))
        end = begin + len(points[-1])
        strokes.append((begin, end, kind == "-"))
        begin = end
    reach = max(float(at[:, 0].max()) for _, at in parts)
    return Skeleton(np.concatenate(points), strokes, reach)


def _smooth(at: np.ndarray, closed: bool, rounds: int) -> np.ndarray:
    """Cuts corners (Chaikin 1974): a polygon tends to a quadratic B-spline."""
    for _ in range(rounds):
        following = np.roll(at, -1, 0) if closed else at[1:]
        start = at if closed else at[:-1]
        cut = np.stack(
            [0.75 * start + 0.25 * following, 0.25 * start + 0.75 * following], 1
        ).reshape(-1, 2)
        at = cut if closed else np.concatenate([at[:1], cut[1:-1], at[-1:]])
    return np.concatenate([at, at[:1]]) if closed else at


@dataclass(frozen=True, kw_only=True)
class Face:
    """A way to draw letters.

    Attributes:
        size: height of a capital in pixels.
        weight: thickness of a stem in units, of which a capital has ten.
        contrast: 0..1, how much thinner level strokes are than stems.
        width: horizontal factor.
        slant: shift to the right for each unit of height.
        small: factor of the height of small letters.
        serif: short bars at the ends of stems.
        fixed: all characters equally wide.
        round: round ends.
        curve: rounds of cutting corners; 0 leaves them sharp.
        spread: units between letters.
        hinted: stems on whole pixels.
        edge: `grey`, `jagged` or `stripes` (of subpixels).
    """

    size: float
    weight: float = 1.2
    contrast: float = 0.0
    width: float = 1.0
    slant: float = 0.0
    small: float = 1.0
    serif: bool = False
    fixed: bool = False
    round: bool = False
    curve: int = 3
    spread: float = 2.6
    hinted: bool = False
    edge: str = "grey"

    @property
    def unit(self) -> float:
        """Pixels of one unit."""
        return self.size / (TALL - BASE)

    @property
    def height(self) -> int:
        """Rows of a line's mask, in pixels."""
        return int((HIGHEST - LOWEST) * self.unit + self.weight * self.unit) + 3


def any_face(random: np.random.Generator, size: float, **fixed) -> Face:
    """A face of a size (height of a capital in pixels); keywords fix fields."""
    serif = random.random() < 0.35
    plain: dict = {
        "weight": random.choice([0.8, 1.0, 1.2, 1.2, 1.4, 1.6, 2.0, 2.6]),
        "contrast": random.uniform(0.3, 0.75) if serif else 0.0,
        "width": random.uniform(0.62, 1.05),
        "slant": 0.2 if random.random() < 0.12 else 0.0,
        "small": random.uniform(0.88, 1.08),
        "serif": serif,
        "fixed": random.random() < 0.15,
        "round": not serif and random.random() < 0.3,
        "curve": 0 if random.random() < 0.08 else 3,
        "spread": random.uniform(2.2, 3.4),
        "hinted": random.random() < 0.5,
        "edge": str(random.choice(["grey"] * 7 + ["stripes"] * 2 + ["jagged"])),
    }
    if size < 8:
        # A hand's thinnest line on a screen is one pixel.
        plain["weight"] = max(plain["weight"], 8 / size)
        plain["contrast"] *= 0.5
    return Face(size=size, **plain | fixed)


class Writer:
    """Writes lines in one face; glyphs are drawn once and kept."""

    def __init__(self, face: Face):
        """Keeps the face; nothing is drawn yet."""
        self.face = face
        self._fine = 6 if face.unit < 1.2 or face.edge == "stripes" else 4
        self._rounds = min(face.curve, 2) if face.size < 14 else face.curve
        self._advances: dict[str, float] = {" ": self._advance(" ")}
        self._large: dict[str, Image.Image] = {}
        self._glyphs: dict[tuple[str, int], np.ndarray] = {}
        # Thickness of stems and of level strokes, in pixels.
        across = face.weight * face.unit
        level = across * (1 - face.contrast)
        if face.hinted or face.edge == "jagged":
            across, level = max(round(across), 1), max(round(level), 1)
        self._pen = across, level

    def advance(self, char: str) -> float:
        """Pixels from a character's origin to the next one's."""
        if char not in self._advances:
            self._advances[char] = self._advance(char)
        return self._advances[char]

    def _advance(self, char: str) -> float:
        face = self.face
        if face.fixed:
            units = 10 * face.width
        elif char == " ":
            units = 5.0
        else:
            reach = skeleton(char, self._rounds).reach
            units = reach * face.width + face.spread + 0.5 * face.weight
        pixels = units * face.unit
        return max(round(pixels), 1) if face.hinted else pixels

    def measure(self, text: str) -> float:
        """Width of a line in pixels."""
        return sum(map(self.advance, text))

    def mask(self, text: str) -> np.ndarray:
        """A line, uint8[height w] or, on stripes, uint8[height w 3]; 255 covers."""
        width = int(self.measure(text) + 2 * self.face.size) + 2
        shape = (self.face.height, width)
        out = np.zeros((*shape, 3) if self.face.edge == "stripes" else shape, np.uint8)
        x = 0.0
        for char in text:
            if char != " ":
                # Quarters of a pixel, as browsers place letters.
                left, quarters = divmod(round(4 * x), 4)
                glyph = self._glyph(char, 0 if self.face.hinted else quarters)
                place = out[:, left : left + glyph.shape[1]]
                np.maximum(place, glyph[:, : place.shape[1]], out=place)
            x += self.advance(char)
        return out

    def _glyph(self, char: str, quarters: int) -> np.ndarray:
        """A glyph's mask, moved to the right by quarters of a pixel."""
        key = char, quarters
        if key not in self._glyphs:
            if char not in self._large:
                self._large[char] = self._draw(char)
            image = self._large[char]
            shift = round(quarters * self._fine / 4)
            if shift:
                image = ImageChops.offset(image, shift, 0)
            if self.face.edge == "stripes":
                mask = _stripes(np.asarray(image), self._fine)
            else:
                mask = np.asarray(image.reduce(self._fine))
            if self.face.edge == "jagged":
                mask = np.where(mask > 127, 255, 0).astype(np.uint8)
            self._glyphs[key] = mask
        return self._glyphs[key]

    def _draw(self, char: str) -> Image.Image:
        """A glyph, several samples a pixel; its origin is a unit right of the edge."""
        face, fine = self.face, self._fine
        bones = skeleton(char, self._rounds)
        width = int((bones.reach * face.width + 17 * face.slant + 4) * face.unit) + 3
        image = Image.new("L", (width * fine, face.height * fine))
        draw = ImageDraw.Draw(image)
        letter = char.isalpha() and ord(char) < SCRIPT
        points = self._place(bones, letter and char.islower())
        for begin, end, straight in bones.strokes:
            at = points[begin:end]
            self._sweep(draw, at, straight)
            if face.serif and straight and letter:
                self._serifs(draw, at)
        return image

    def _place(self, bones: Skeleton, low: bool) -> np.ndarray:
        """A skeleton's points in samples of the mask, float64[n 2]."""
        face = self.face
        x, y = bones.points.T
        if low and face.small != 1:
            inside = (y > BASE) & (y <= SMALL)
            y = np.where(inside, BASE + (y - BASE) * face.small, y)
        if face.fixed:
            # Wide letters are squeezed, narrow ones stand in the middle.
            reach = max(bones.reach, 1)
            x = x * min(1, 7.5 / reach) + max(7.5 - reach, 0) / 2
        out = np.empty_like(bones.points)
        out[:, 0] = (x + 1) * (face.width * face.unit)
        out[:, 1] = (HIGHEST - y) * face.unit
        if face.hinted:
            half = np.array(self._pen) / 2
            out = np.round(out - half) + half
        if face.slant:
            out[:, 0] += face.slant * (y - BASE) * face.unit
        out[:, 1] += 1
        return out * self._fine

    def _sweep(self, draw: ImageDraw.ImageDraw, at: np.ndarray, straight: bool) -> None:
        """Moves the pen along points: a line, as wide again to both sides for stems."""
        fine, (across, level) = self._fine, self._pen
        thin = max(round(level * fine), 1)
        joint = "curve" if (straight and len(at) > 2) or thin > 10 else None
        draw.line(at.ravel().tolist(), fill=255, width=thin, joint=joint)
        if self.face.round:
            half = thin / 2
            for x, y in (at[0], at[-1]):
                draw.ellipse((x - half, y - half, x + half, y + half), fill=255)
        side = (across - level) * fine / 2
        if side > 0.5:
            away = np.array([side, 0])
            right, left = at + away, at - away
            quads = np.concatenate([left[:-1], right[:-1], right[1:], left[1:]], 1)
            for corners in quads.tolist():
                draw.polygon(corners, fill=255)

    def _serifs(self, draw: ImageDraw.ImageDraw, at: np.ndarray) -> None:
        """Bars across the ends of strokes that stand."""
        fine, unit, (across, level) = self._fine, self.face.unit, self._pen
        reach = (across / 2 + 0.9 * unit) * fine
        thin = max(round(min(level, 0.8 * unit) * fine), 1)
        for (x, y), (bx, by) in ((at[0], at[1]), (at[-1], at[-2])):
            if abs(by - y) > 1.2 * abs(bx - x) and abs(by - y) > 3 * unit * fine:
                draw.line([(x - reach, y), (x + reach, y)], fill=255, width=thin)


def _stripes(image: np.ndarray, fine: int) -> np.ndarray:
    """Grey for each third of a pixel, filtered, as uint8[h w 3]."""
    height, width = image.shape[0] // fine, image.shape[1] // fine
    third = fine // 3
    rows = image.reshape(height, fine, width * fine).sum(1, dtype=np.uint16)
    thirds = rows.reshape(height, width * 3, third).sum(2, dtype=np.uint16)
    thirds = np.pad(thirds, ((0, 0), (1, 1)))
    spread = thirds[:, :-2] + thirds[:, 1:-1] + thirds[:, 2:]
    return (spread // (3 * fine * third)).astype(np.uint8).reshape(height, width, 3)


ONSETS = "b c d f g h j k l m n p r s t v w z st tr pl gr fl sh qu ch".split()
VOWELS = "a e i o u a e i o ai ea ou io".split()
ENDS = ["", "", "", "n", "r", "s", "l", "t", "m", "nd", "ck", "x"]


def words(random: np.random.Generator, count: int, script: bool = False) -> list[str]:
    """Words of no language, some with capitals, numbers and marks.

    Args:
        random: what to draw from.
        count: how many.
        script: of dense signs instead of letters.

    Returns:
        Text without spaces.
    """
    picks = random.integers(0, 1 << 30, (count, 4)).tolist()
    if script:
        return [
            "".join(chr(SCRIPT + p % SIGNS) for p in four[: four[0] % 3 + 1])
            for four in picks
        ]
    found = []
    for syllables, capital, mark, value in picks:
        text = ""
        for _ in range(1 + syllables % 3):
            text += ONSETS[value % len(ONSETS)] + VOWELS[value // 31 % len(VOWELS)]
            value //= 7
        text += ENDS[value % len(ENDS)]
        kind = capital % 20
        text = text.upper() if kind == 0 else text.capitalize() if kind < 4 else text
        if kind == 19:
            text = str(mark % 10 ** (1 + syllables % 4))
        found.append(text + (mark % 12 == 0) * "." + (mark % 12 == 1) * ",")
    return found


def numbers(random: np.random.Generator, count: int) -> list[str]:
    """Numbers as in tables: whole, with points, with signs of money or share."""
    forms = ["{:d}", "{:d}", "{:.2f}", "{:.1f}%", "-{:d}", "${:d}", "{:,d}"]
    form = forms[int(random.integers(len(forms)))]
    values = random.integers(0, 10 ** random.integers(2, 6), count)
    return [form.format(int(v) if "d" in form else int(v) / 100) for v in values]
