"""Stored pictures: exact, small, read without weights, and refused when damaged."""

import io
import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_codec import CARD, FakeCodec, work_in
from PIL import Image, ImageDraw
from test_architecture import BLOCKED

from codax.cli import main
from codax.errors import FormatError, ModelError, UnsupportedError
from codax.evaluation.candidate import learned
from codax.face.decoding import read_for
from codax.face.encoding import encode_image
from codax.face.loading import decode_image
from codax.files import container, webp
from codax.files.container import STORED_HASH, STORED_ID, Container, Tag
from codax.files.info import read_info
from codax.files.layers import truncate
from codax.zoo import cards

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "stored"


class Lossless(FakeCodec):
    """zlib of the samples as they are."""

    lossless = True
    qualities = (100, 100)

    def compress(self, rgb, quality, **effort):
        return super().compress(np.repeat(rgb, 3, 2) if rgb.shape[2] == 1 else rgb, 200)

    def decompress(self, stream, height, width, quality, **options):
        return super().decompress(stream, height, width, 200, **options)


def text(size=(120, 90)):
    """Two colours and what lies between them, as of a terminal; no line comes twice."""
    image = Image.new("RGB", size, (20, 30, 120))
    rng = np.random.default_rng(0)
    for y in range(0, size[1], 12):
        words = "".join(rng.choice(list("abcdefghij klmnop"), 40))
        ImageDraw.Draw(image).text((3, y), words, (250, 240, 90), font_size=11)
    return image


def photo(height=128, width=192):
    """A part of a photograph."""
    with Image.open(HERE / "fixtures" / "guitar.png") as image:
        return image.convert("RGB").crop((200, 150, 200 + width, 150 + height))


def with_alpha():
    """Letters on a ground of alpha 0, whose colour a WebP would leave out."""
    image = text()
    image.putalpha(image.convert("L").point(lambda level: level * (level > 60)))
    return image


def drawn(mode):
    image = with_alpha()
    if mode == "P":
        return text().quantize(16)
    if mode == "P with alpha":
        return image.quantize(16)
    return image.convert(mode)


def exact(a, b):
    """Whether two pictures are equal in mode, samples and alpha."""
    same = "RGBA" if a.mode == "P" else a.mode
    return a.mode == b.mode and a.convert(same).tobytes() == b.convert(same).tobytes()


def own_webp(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, exact=True, **options)
    return len(buffer.getvalue())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P with alpha", "RGB", "RGBA"])
def test_drawings_are_exact_and_no_larger_than_webp(mode):
    image = drawn(mode)
    data = encode_image(Lossless(), image, lossless=True, metadata="none")
    file = container.read(data)
    assert file.stored
    assert file.quality == 200
    assert len(data) <= own_webp(image, quality=100, method=6) + 40
    assert len(data) <= own_webp(image) + 40
    back = decode_image(data)
    assert exact(image, back)
    assert read_info(data)["mode"] == image.mode


def test_lossless_takes_the_smaller(monkeypatch):
    image = photo(32, 48)
    codec = Lossless()
    assert container.read(codec.encode(image, lossless=True)).stored
    good = codec.compress
    monkeypatch.setattr(codec, "compress", lambda *args, **options: b"as if learned")
    assert not container.read(codec.encode(image, lossless=True)).stored
    monkeypatch.setattr(codec, "compress", good)
    kept = codec.encode(image, lossless=True, fallback=False)
    assert not container.read(kept).stored
    assert exact(image, codec.decode(kept))


def test_deep_and_converted_pictures_are_coded():
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30)
    codec = Lossless()
    codec.compress = lambda samples, quality, **effort: samples.tobytes()
    assert not container.read(codec.encode(deep)).stored
    assert not container.read(FakeCodec().encode(text().convert("CMYK"))).stored


@pytest.mark.parametrize("shape", [(1, 16384), (16384, 1)])
def test_sides_beyond_webp_are_coded(shape):
    assert not container.read(FakeCodec().encode(np.zeros(shape, np.uint8))).stored
    assert not webp.fits_webp(1 << 13, (1 << 13) + 1)


def test_a_drawing_is_stored_at_every_quality_and_a_photograph_is_not():
    codec = FakeCodec()
    for quality in (50, 75, 100):
        data = codec.encode(text(), quality)
        assert container.read(data).stored
        kept = codec.encode(text(), quality, fallback=False)
        assert not container.read(kept).stored
        assert len(data) < len(kept)
        assert exact(text(), codec.decode(data))
    for quality in (0, 10):  # zlib is poor above.
        assert not container.read(codec.encode(photo(), quality)).stored


def test_a_photograph_costs_one_hurried_trial(monkeypatch):
    tried = []

    def encode(image, *, method, quality):
        tried.append(method)
        return webp.encode_webp(image, method=method, quality=quality)

    monkeypatch.setattr("codax.files.stored.encode_webp", encode)
    FakeCodec().encode(photo(), 0)
    assert tried == [0]


def test_a_size_is_met_without_loss_where_that_fits():
    codec = FakeCodec()
    size = len(codec.encode(text()))
    for aim in ({"target_size": size}, {"target_bpp": 8 * size / (120 * 90) + 1e-6}):
        assert exact(text(), codec.decode(codec.encode(text(), **aim)))
    assert codec.calls == 1, "nothing was searched for"
    found = codec.encode(photo(), target_size=9000)
    assert not container.read(found).stored
    assert len(found) <= 9000
    with pytest.raises(UnsupportedError, match="out of reach"):
        codec.encode(text(), target_size=1000)


def test_a_psnr_is_met_without_loss_where_that_is_smaller_or_alone_reaches_it(
    monkeypatch,
):
    codec = FakeCodec()
    assert container.read(codec.encode(text(), target_psnr=30)).stored
    assert not container.read(codec.encode(photo(), target_psnr=18)).stored
    poor = np.zeros((128, 192, 3), np.uint8)
    monkeypatch.setattr(codec, "decompress", lambda *_, **flags: poor)
    assert exact(photo(), decode_image(codec.encode(photo(), target_psnr=60)))
    with pytest.raises(UnsupportedError, match="60 dB is out of reach"):
        codec.encode(photo(), target_psnr=60, fallback=False)


def test_metadata_is_kept():
    image = text()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info.update(exif=exif.tobytes(), xmp=b"<x/>")
    image.info["icc_profile"] = bytes(16) + b"RGB " + bytes(50)
    back = decode_image(FakeCodec().encode(image))
    assert back.getexif()[0x0112] == 6
    assert back.info["xmp"] == b"<x/>"
    assert back.info["icc_profile"] == image.info["icc_profile"]


def test_figures_of_the_bench_are_the_codecs_own():
    codec = FakeCodec()
    assert container.read(codec.encode(text(), 50)).stored
    data = learned(codec).encode(text(), 50)
    assert not container.read(data).stored
    assert data == codec.encode(text(), 50, fallback=False)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.codax")), ids=lambda p: p.stem)
def test_golden_files_decode_as_ever(path):
    """Made once, with libwebp 1.6.0; never made again."""
    with Image.open(path.with_suffix(".png")) as image:
        image.load()
    assert container.read(path.read_bytes()).stored
    assert exact(image, decode_image(path.read_bytes()))


def test_there_are_golden_files():
    assert len(list(GOLDEN.glob("*.codax"))) == 7


# The command line and Pillow.


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder with a drawing and a photograph, and the stand-in for a codec."""
    work_in(monkeypatch, tmp_path)
    text().save("text.png")
    photo().save("photo.png")
    return tmp_path


def test_the_line_and_the_object_say_it(folder, capsys):
    assert main(["encode", "text.png", "photo.png", "-q5", "-o", "out/"]) == 0
    first, second, sums = capsys.readouterr().err.splitlines()
    assert first.endswith("  stored without loss")
    assert sums.startswith("2 files done")
    assert "stored" not in second
    assert main(["encode", "text.png", "--target-psnr", "30"]) == 0
    assert capsys.readouterr().err.strip().endswith("s  stored without loss")
    assert main(["encode", "text.png", "photo.png", "-q5", "-fo", "out", "--json"]) == 0
    first, second, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["stored"], first["model"], first["quality"]) == (True, "stored", 100)
    assert (second["stored"], second["model"]) == (False, "fake-tiny-v1")
    assert main(["encode", "text.png", "--no-fallback", "-f", "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["stored"]


def test_lossless_on_the_command_line(folder, monkeypatch, capsys):
    card = json.dumps({**CARD, "lossless": True, "qualities": [100, 100]})
    (folder / "checkpoints" / "fake-tiny-v1" / "card.json").write_text(card)
    codec = Lossless()
    monkeypatch.setattr("codax.face.loading.load", lambda name: codec)
    assert main(["encode", "text.png", "--lossless", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["stored"]
    assert fields["bytes"] <= own_webp(text(), quality=100, method=6) + 40
    assert main(["encode", "text.png", "--lossless", "--no-fallback", "-f"]) == 0
    assert "stored" not in capsys.readouterr().err


def test_info_says_what_it_is(folder, capsys):
    main(["encode", "text.png"])
    capsys.readouterr()
    assert main(["info", "text.codax"]) == 0
    assert "stored: samples without loss as WebP, no weights needed" in (
        capsys.readouterr().out
    )
    assert main(["info", "text.codax", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "stored"


READERS = """
import io
from pathlib import Path
import codax.zoo.cards
codax.zoo.cards.checkpoint_folders = lambda: []
import numpy as np
from PIL import Image
import codax, codax.pillow
from codax.cli import main
from codax.face.loading import decode_image

folder = Path(sys.argv[1])
expected = np.asarray(Image.open(folder / "text.png"))
data = (folder / "text.codax").read_bytes()
assert main(["decode", str(folder / "text.codax"), "-o", str(folder / "a.png")]) == 0
assert main(["info", str(folder / "text.codax")]) == 0
for image in (
    decode_image(data),
    codax.decode(data),
    codax.open(folder / "text.codax"),
    Image.open(io.BytesIO(data)),
    Image.open(folder / "a.png"),
):
    assert np.array_equal(np.asarray(image), expected)
assert main(["models"]) == 0
"""


def test_every_face_decodes_without_weights_and_without_jax(folder):
    main(["encode", "text.png", "--quiet"])
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + READERS, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent,
    )
    assert done.returncode == 0, done.stderr


def test_without_any_checkpoint(folder, monkeypatch, capsys):
    main(["encode", "text.png", "photo.png", "-q5", "-o", "out"])
    monkeypatch.setattr(cards, "checkpoint_folders", list)
    capsys.readouterr()
    assert main(["decode", "out/text.codax", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "stored"
    assert main(["decode", "out/photo.codax"]) == 1
    assert "the file wants fake-tiny-v1 of codax 9.8.7" in capsys.readouterr().err


def test_what_needs_a_codec_says_so():
    codec = FakeCodec()
    data = codec.encode(text())
    with pytest.raises(UnsupportedError, match=r"stored picture.*`fallback=False`"):
        read_for(codec, data)
    with pytest.raises(UnsupportedError, match=r"cannot be cut; .*`fallback=False`"):
        truncate(data, layers=1)


# Damage.


FILE = container.read(FakeCodec().encode(text(), metadata="none"))


def changed(**fields):
    """A stored picture with other fields."""
    return container.write(replace(FILE, **fields))


def vp8l(width, height):
    """The head of a WebP file that claims a size."""
    bits = (width - 1) | (height - 1) << 14
    return struct.pack("<4sI8sIBI", b"RIFF", 17, b"WEBPVP8L", 5, 0x2F, bits)


def animated():
    buffer = io.BytesIO()
    frames = [text(), text().rotate(180)]
    frames[0].save(
        buffer, "WEBP", lossless=True, save_all=True, append_images=frames[1:]
    )
    return buffer.getvalue()


def lossy():
    buffer = io.BytesIO()
    text().save(buffer, "WEBP")
    return buffer.getvalue()


STREAM = FILE.stream
HOSTILE = {
    "no stream": ({"stream": b""}, "unknown stored form None"),
    "another form": ({"stream": b"\1" + STREAM[1:]}, "unknown stored form 1"),
    "no WebP": ({"stream": b"\0"}, "0 bytes are no WebP"),
    "text": ({"stream": b"\0" + bytes(99)}, "no lossless WebP"),
    "with loss": ({"stream": b"\0" + lossy()}, "no lossless WebP"),
    "an animation": ({"stream": b"\0" + animated()}, "no lossless WebP"),
    "bytes after it": ({"stream": STREAM + b"\0\0"}, "no lossless WebP"),
    "another size": ({"width": 119}, "is 120x90, expected 119x90"),
    "sides swapped": ({"width": 90, "height": 120}, "is 120x90, expected 90x120"),
    "a bomb": ({"stream": b"\0" + vp8l(16383, 16383)}, "is 16383x16383, expected"),
    "a large bomb": (
        {"width": 8192, "height": 8193, "stream": b"\0" + vp8l(8192, 8193)},
        "8192x8193 is larger than WebP pictures may be",
    ),
    "nothing behind the head": ({"stream": b"\0" + vp8l(120, 90)}, "is damaged"),
    "layers": ({"layered": True, "stream": b"\1\1a"}, "16 bits, layers or coded"),
    "a trellis": ({"trellis": True}, "or a trellis; the file is damaged"),
    "coded alpha": ({"sections": {Tag.ALPHA: b"\0"}}, "layers or coded alpha"),
    "16 bits": ({"colour": container.Colour.GREY, "bit_depth": 16}, "with 16 bits"),
    "a mode": ({"sections": {Tag.MODE: b"1"}}, "mode '1' does not fit"),
    "alpha of no mode": (
        {"sections": {Tag.MODE: b"CMYK", Tag.ALPHA: b""}},
        "mode 'CMYK' does not fit",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_line(case):
    fields, message = HOSTILE[case]
    with pytest.raises((FormatError, UnsupportedError), match=message) as caught:
        decode_image(changed(**fields), max_pixels=1 << 27)
    assert "\n" not in str(caught.value)


def test_too_many_colours_for_a_palette():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    data = encode_image(FakeCodec(), noise, target_size=10**6)
    file = replace(container.read(data), sections={Tag.MODE: b"P"})
    with pytest.raises(FormatError, match="more than 256 colours"):
        decode_image(container.write(file))


@pytest.mark.parametrize("case", ["another size", "a bomb", "a large bomb"])
def test_sizes_are_refused_before_anything_is_decoded(case, monkeypatch):
    data = changed(**HOSTILE[case][0])
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(FormatError):
        decode_image(data, max_pixels=1 << 27)


def test_the_limit_of_pixels_holds():
    with pytest.raises(UnsupportedError, match="10800 pixels; the limit is 10799"):
        decode_image(FakeCodec().encode(text()), max_pixels=10799)


def test_the_limit_of_pillow_holds(monkeypatch):
    data = FakeCodec().encode(text())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnsupportedError, match="MAX_IMAGE_PIXELS"):
        decode_image(data)


def test_a_truncated_picture_is_refused_at_every_length():
    for size in (*range(1, 60), *range(60, len(STREAM), 9)):
        short = bytearray(STREAM[:size])
        if size > 9:  # with the length mended, so that the decoder sees it
            short[5:9] = (size - 9).to_bytes(4, "little")
        with pytest.raises(FormatError):
            decode_image(changed(stream=bytes(short)))


def test_another_hash_is_another_codec():
    with pytest.raises(ModelError, match="wants codec 9 with weights 000000000001"):
        decode_image(changed(weights_hash=b"\0\0\0\0\0\1"))


def test_the_bytes_of_a_file():
    """The table in docs/file-format.md."""
    data = FakeCodec().encode(with_alpha(), metadata="none")
    assert data[5:13] == bytes([1, STORED_ID]) + STORED_HASH
    assert data[15:17] == bytes([0x17, 200])
    file = container.read(data)
    assert file.stream[:5] == b"\0RIFF"
    assert file.sections == {Tag.ALPHA: b""}
    assert isinstance(file, Container)
