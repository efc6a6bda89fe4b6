"""Any Pillow picture in, and its mode, size and metadata out."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from fake_codec import FakeCodec
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from codax.entropy.bytes_coder import decode_bytes, encode_bytes
from codax.errors import FormatError, ImageError, UnsupportedError
from codax.face.encoding import encode_image
from codax.files import container, opening, pictures, planes
from codax.files.opening import open_image
from codax.files.pictures import from_image, to_image


def sample(mode="RGB", height=12, width=17):
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([11 * x, 19 * y, 3 * x * y % 256], -1).astype(np.uint8)
    image = Image.fromarray(rgb)
    if mode in ("RGBA", "LA", "RGBa", "La", "PA"):
        alpha = Image.fromarray(((x + y) * 8).astype(np.uint8))
        image.putalpha(alpha)
        if mode in ("LA", "La"):
            image = image.convert("LA")
    return image if image.mode == mode else image.convert(mode)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_exact_samples_give_the_same_picture(mode):
    image = sample(mode)
    back = to_image(from_image(image))
    assert (back.mode, back.size) == (mode, image.size)
    assert back.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB"])
def test_colour_modes_come_back_nearly(mode):
    image = sample(mode)
    back = to_image(from_image(image))
    assert (back.mode, back.size) == (mode, image.size)
    error = np.asarray(back.convert("RGB")).astype(float) - image.convert("RGB")
    assert np.sqrt(np.mean(error**2)) < 3


@pytest.mark.parametrize(
    ("mode", "simple"), [("RGBX", "RGB"), ("RGBa", "RGBA"), ("La", "LA")]
)
def test_odd_modes_come_back_simplified(mode, simple):
    assert to_image(from_image(sample(mode))).mode == simple


@pytest.mark.parametrize("noise", [0, 6])
def test_transparent_palette_comes_back(noise):
    image = sample("RGBA").quantize(16)
    picture = from_image(image)
    changed = picture.rgb.astype(int) + np.resize([noise, -noise], picture.rgb.shape)
    rgb = np.clip(changed, 0, 255).astype(np.uint8)
    back = to_image(pictures.Picture(**{**vars(picture), "rgb": rgb}))
    assert back.mode == "P"
    back, image = back.convert("RGBA"), image.convert("RGBA")
    assert back.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    if not noise:
        assert back.tobytes() == image.tobytes()


def test_one_transparent_colour_becomes_alpha():
    image = open_image(saved(sample("RGB"), "PNG", transparency=(0, 0, 0)))
    picture = from_image(image)
    assert picture.mode == "RGBA"
    assert picture.alpha[0, 0] == 0
    assert picture.alpha[5, 5] == 255


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_thin_pictures(size):
    image = sample("RGBA", *size)
    assert to_image(from_image(image)).tobytes() == image.tobytes()


def png16(colour):
    """Writes a 2x1 PNG of 16 bits a sample: colour type 0 grey, 2 RGB, 6 RGBA."""
    samples = {0: 1, 2: 3, 6: 4}[colour]

    def chunk(kind, body):
        total = struct.pack(">I", len(body)) + kind + body
        return total + struct.pack(">I", zlib.crc32(kind + body))

    row = bytes([0]) + struct.pack(f">{2 * samples}H", *range(1, 2 * samples + 1))
    header = struct.pack(">IIBBBBB", 2, 1, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [
        png16(2),
        png16(6),
        b"P6 1 1 65535\n" + bytes(6),
        b"P5 1 1 1023\n" + bytes(2),
    ],
    ids=["rgb png", "rgba png", "rgb ppm", "grey pgm"],
)
def test_more_than_eight_bits_is_refused_not_cut(data):
    with pytest.raises(
        UnsupportedError, match=r"bits a sample; codax codes 8, or 16 of grey; convert"
    ):
        open_image(data)


def test_sixteen_bits_of_grey_are_kept():
    picture = from_image(open_image(png16(0)))
    assert picture.mode == "I;16"
    assert picture.rgb.tolist() == [[[1, 1, 1], [2, 2, 2]]]
    back = to_image(picture)
    assert back.mode == "I;16"
    assert np.asarray(back).tolist() == [[1, 2]]


@pytest.mark.parametrize("level", [0, 1])
def test_a_transparent_level_of_two_is_alpha(level):
    image = open_image(saved(sample("1"), "PNG", transparency=level))
    picture = from_image(image)
    white = np.asarray(image)
    assert (picture.mode, picture.grey) == ("LA", True)
    assert np.array_equal(picture.alpha == 0, white == bool(level))
    assert np.array_equal(picture.rgb[..., 0] == 255, white)


def test_a_transparent_level_of_sixteen_bits_is_refused():
    image = Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3))
    image.info["transparency"] = 3
    with pytest.raises(UnsupportedError, match="a transparent level, which is alpha"):
        from_image(image)


@pytest.mark.parametrize("name", ["icc_profile", "exif", "xmp"])
def test_metadata_beyond_what_readers_take_is_refused(name):
    image = sample("RGB")
    image.info[name] = bytes(16) + b"RGB " + bytes(container.MAX_METADATA)
    with pytest.raises(UnsupportedError, match=r"3355\d+ bytes; .*`metadata=none`"):
        encode_image(FakeCodec(), image)
    data = encode_image(FakeCodec(), image, metadata="none")
    assert container.read(data).sections == {}


@pytest.mark.parametrize("mode", ["I", "F"])
def test_deep_modes_are_refused(mode):
    with pytest.raises(UnsupportedError, match="bits a sample"):
        from_image(Image.new(mode, (2, 2)))


def test_avif_depth_is_seen():
    head = b"....ftypavif" + bytes(20) + b"av1C\x81\x04"
    for flags, bits in ((0x0C, 8), (0x4C, 10), (0x6C, 12)):
        image = Image.new("RGB", (1, 1))
        image.format, image.fp = "AVIF", io.BytesIO(head + bytes([flags, 0]))
        assert opening._stored_bits(image) == bits


def test_profiles_are_kept_only_where_they_describe_the_samples():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kept in (("RGB", True), ("P", True), ("L", False), ("CMYK", False)):
        image = sample(mode)
        image.info["icc_profile"] = srgb
        assert from_image(image).icc == (srgb if kept else b"")


def png_chunk(kind, body):
    """A chunk as bytes, to go before the samples of a PNG."""
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


SRGB = png_chunk(b"sRGB", b"\0")
GAMA = png_chunk(b"gAMA", struct.pack(">I", 100_000))
P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
CHRM = png_chunk(b"cHRM", struct.pack(">8I", *P3))


@pytest.mark.parametrize(
    ("chunks", "lost"),
    [
        (b"", ()),
        (SRGB, ()),
        (png_chunk(b"gAMA", struct.pack(">I", 45455)), ()),
        (GAMA, ("a gamma of 1",)),
        (GAMA + SRGB, ()),
        (CHRM, ("a set of primaries (cHRM)",)),
        (png_chunk(b"cICP", bytes([1, 13, 0, 1])) + CHRM, ()),
        (png_chunk(b"cICP", bytes([9, 16, 0, 1])), ("the colour space of cICP 9, 16",)),
    ],
    ids=["none", "sRGB", "usual gamma", "gamma", "both", "primaries", "cICP", "PQ"],
)
def test_colours_that_are_not_kept_are_named(chunks, lost):
    data = saved(sample(), "PNG")
    end = data.index(b"IDAT") - 4
    assert from_image(open_image(data[:end] + chunks + data[end:])).lost == lost


def test_a_profile_that_is_not_kept_is_named():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, lost in (("RGB", ()), ("L", ("a colour profile of RGB samples",))):
        image = sample(mode)
        image.info["icc_profile"] = srgb
        assert from_image(image).lost == lost
    image = sample("CMYK")
    image.info["icc_profile"] = srgb  # which is no profile of its
    (lost,) = from_image(image).lost
    assert lost == "the CMYK samples as they are (coded as RGB or grey)"


def with_text(data, **texts):
    """A PNG with text chunks."""
    about = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        about.add_text(name.replace("_", " "), text)
    return saved(Image.open(io.BytesIO(data)), "PNG", pnginfo=about)


def test_exif_in_a_text_chunk_is_kept():
    """As ImageMagick wrote it: its length and hexadecimals."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    raw = exif.tobytes()
    text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n"
    for name in ("Raw_profile_type_exif", "Raw_profile_type_APP1"):
        data = with_text(saved(sample(), "PNG"), **{name: text})
        picture = from_image(open_image(data))
        assert picture.exif == raw.removeprefix(b"Exif\0\0")
        assert picture.orientation == 6
        assert picture.lost_words == ()
        data = with_text(saved(sample(), "PNG"), **{name: "\nexif\n 3\nxyz"})
        picture = from_image(open_image(data))
        assert picture.exif == b""
        assert picture.lost_words == (f"text ({name.replace('_', ' ')})",)


def test_words_beside_the_pixels_are_named():
    png = with_text(saved(sample(), "PNG"), Title="a", Author="b")
    jpeg = saved(sample(), "JPEG", comment=b"words", dpi=(300, 300))
    exif = Image.Exif()
    exif[0x011A] = 300.0
    own = saved(sample(), "JPEG", exif=exif)
    tiff = saved(sample(), "TIFF", description="words", dpi=(72, 36))
    for data, words in (
        (png, ("text (Title, Author)",)),
        (jpeg, ("a comment", "a resolution of 300 dpi")),
        (own, ()),
        (
            tiff,
            ("TIFF tags (ImageDescription)", "a resolution of 72 x 36 dpi"),
        ),
        (saved(sample(), "WEBP"), ()),
        (saved(sample(), "JPEG"), ()),
    ):
        assert from_image(open_image(data)).lost_words == words
        assert from_image(open_image(data)).lost == ()


def test_damaged_lab_profile_is_one_line():
    image = sample("LAB")
    image.info["icc_profile"] = bytes(16) + b"Lab " + bytes(200)
    with pytest.raises(ImageError, match="colour profile is damaged"):
        from_image(image)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_xmp_and_orientation_are_kept_and_not_applied(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    image = open_image(saved(sample(), form, exif=exif))
    image.info["xmp"] = b"<x:xmpmeta/>"
    picture = from_image(image)
    assert picture.orientation == 6
    assert picture.rgb.shape == (12, 17, 3)
    back = to_image(picture)
    assert back.getexif()[0x0112] == 6
    assert back.getexif()[0x010F] == "maker"
    assert back.info["xmp"] == b"<x:xmpmeta/>"
    alone = to_image(pictures.Picture(rgb=picture.rgb, orientation=6))
    assert dict(alone.getexif()) == {0x0112: 6}


def test_damaged_exif_costs_no_picture():
    image = sample()
    image.info["exif"] = b"Exif\0\0nonsense"
    assert from_image(image).orientation == 1


def test_animations_show_their_current_frame():
    frames = [sample("L"), Image.new("L", (17, 12), 9)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = from_image(open_image(data))
    assert picture.lost == ("1 more frame",)
    assert picture.rgb.shape == (12, 17, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a picture"),
        (b"plain text", "not a picture"),
        (saved(sample(), "PNG")[:120], "damaged|cannot be read"),
        (saved(sample("RGB", 99, 99), "JPEG")[:700], "truncated"),
    ],
)
def test_bad_pictures_are_one_line(data, message):
    with pytest.raises(ImageError, match=message) as caught:
        open_image(data)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        open_image(tmp_path / "missing.png")


@pytest.mark.parametrize("side", [13000, 40000])
def test_bombs_are_refused_before_they_are_loaded(side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = b"P6 %d %d 255\n" % (side, side)
        with pytest.raises(ImageError, match="pixels"):
            open_image(data)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2, 3)), np.zeros((2, 2, 5), np.uint8), np.zeros(4, np.uint8)],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ImageError, match="expected uint8"):
        from_image(array)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 9))
def test_planes_are_lossless(height, width, level, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width))
    for plane in (noise, np.full_like(noise, level), noise * (noise > level)):
        plane = plane.astype(np.uint8)
        data = planes.encode_plane(plane)
        assert np.array_equal(planes.decode_plane(data, height, width), plane)


def test_smooth_planes_are_small():
    y, x = np.mgrid[:256, :256]
    disc = (np.hypot(y - 128, x - 128) < 90).astype(np.uint8) * 255
    assert len(planes.encode_plane(np.full((256, 256), 255, np.uint8))) == 5
    assert len(planes.encode_plane(disc)) < 700


def test_planes_that_repeat_are_coded_as_webp():
    letters = Image.new("L", (256, 128))
    for row in range(4):
        ImageDraw.Draw(letters).text((4, 30 * row), "codax codax", 255, font_size=30)
    plane = np.asarray(letters)
    data = planes.encode_plane(plane)
    assert data[0] == 4
    assert len(data) < 1500
    assert np.array_equal(planes.decode_plane(data, *plane.shape), plane)
    with pytest.raises(FormatError, match="picture is 256x128, expected 128x256"):
        planes.decode_plane(data, 256, 128)
    for cut in (1, 9, 30, len(data) // 2, len(data) - 1):
        with pytest.raises(FormatError, match="WebP picture"):
            planes.decode_plane(data[:cut], *plane.shape)


def test_planes_beyond_webp_are_predicted():
    plane = np.tile(np.arange(16, dtype=np.uint8), (2, 1100))[:, : 16383 + 1]
    data = planes.encode_plane(plane)
    assert data[0] < 4
    assert np.array_equal(planes.decode_plane(data, *plane.shape), plane)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 5000))
def test_hostile_bytes_give_format_errors_only(data, count):
    try:
        assert decode_bytes(data, count).shape == (count,)
    except FormatError:
        pass


def test_long_rows_are_coded_in_blocks():
    values = np.random.default_rng(0).geometric(0.4, (1 << 20) + 77).astype(np.uint8)
    data = encode_bytes(values)
    counts = np.bincount(values)
    shares = counts[counts > 0] / values.size
    entropy = -(shares * np.log2(shares)).sum() * values.size / 8
    assert entropy < len(data) < 1.001 * entropy + 100
    assert np.array_equal(decode_bytes(data, values.size), values)
    with pytest.raises(FormatError):
        decode_bytes(data, values.size // 2)


def test_lab_profile_is_applied_and_dropped():
    image = sample("LAB")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image.info["icc_profile"] = profile
    picture = from_image(image)
    assert picture.icc == b""
    error = picture.rgb.astype(float) - np.asarray(sample("RGB"))
    assert np.sqrt(np.mean(error**2)) < 3
