"""The viewer's reader in JavaScript gives what Python gives, in headless Chromium."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import constriction
import numpy as np
import pytest
from latent_hashes import file_hash, latents_hash
from PIL import Image
from viewer_browser import Viewer, chromium, needs_viewer, served

from codax.cli.info import _lines
from codax.cli.reporting import describe
from codax.entropy.bytes_coder import encode_bytes
from codax.entropy.coder import SymbolEncoder, TableSet
from codax.entropy.tables import count_table
from codax.errors import CodaxError
from codax.face.codec import Codec
from codax.face.decoding import decode_file
from codax.files import container
from codax.files.info import read_info
from codax.files.pictures import from_image
from codax.files.planes import encode_plane
from codax.files.scripts import run_file
from codax.files.stored import encode_stored
from codax.files.webp import encode_webp
from codax.zoo.cards import find_card, list_cards, name_of, read_card
from codax.zoo.releases import released

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
RELEASE = GOLDEN / "releases" / "0.1.0"
SMALL = sorted(path.parent for path in GOLDEN.glob("*/card.json"))
SHIPPED = [card.name for card in list_cards()]


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """A page with the models that ship and those of the golden files."""
    needs_viewer()
    cards = [find_card(name) for name in SHIPPED]
    cards += [replace(read_card(path), name=f"small-{path.name}") for path in SMALL]
    folder = tmp_path_factory.mktemp("viewer")
    with chromium() as browser, served(folder, cards, {}) as address:
        page = browser.new_page()
        page.goto(address)
        yield Viewer(page)


def same_pixels(found, image):
    """Whether a picture is Python's within one level."""
    assert "error" not in found, found
    own = np.asarray(image).reshape(found["data"].shape)
    return np.abs(np.subtract(found["data"], own, dtype=np.int32)).max() <= 1


@pytest.mark.parametrize("name", SHIPPED)
def test_files_of_models_that_ship(viewer, name):
    """Of `quadtree-base` one with dependent quantisation and enhancement, too."""
    expected = json.loads((RELEASE / "expected.json").read_text())
    qualities = ("q60", "q98") if name.startswith("quadtree-base") else ("q60", "q100")
    codec = Codec.from_folder(find_card(name).folder)
    for path in sorted(RELEASE.glob(f"{name}-*.codax")):
        if path.stem.rpartition("-")[2] not in qualities:
            continue
        data = path.read_bytes()
        assert latents_hash(viewer.latents(data)) == expected[path.stem]["latents"]
        assert same_pixels(viewer.decode(data), codec.decode(data))


@pytest.mark.parametrize("folder", SMALL, ids=lambda path: path.name)
def test_golden_files(viewer, folder):
    codec = Codec.from_folder(folder)
    for title, facts in json.loads((folder / "golden.json").read_text()).items():
        data = (folder / f"{title}.codax").read_bytes()
        assert latents_hash(viewer.latents(data)) == facts["latents"]
        assert same_pixels(viewer.decode(data), codec.decode(data))


def test_pictures_beyond_a_tile(viewer):
    codec = Codec.from_folder(GOLDEN / "quadtree")
    y, x = np.mgrid[:40, :1301]
    pixels = np.stack([x * y // 50 % 256, x % 256, 6 * y], -1).astype(np.uint8)
    data = codec.encode(Image.fromarray(pixels), quality=60, fallback=False)
    assert latents_hash(viewer.latents(data)) == file_hash(codec.coder, data)
    assert same_pixels(viewer.decode(data), codec.decode(data))


# The range coder and what is coded without networks.


def test_range_decoder(viewer):
    rng = np.random.default_rng(7)
    counts = [
        rng.integers(0, 2**k, n) + (n == 1) for k in (1, 9, 20) for n in (1, 3, 700)
    ]
    frequencies = [count_table(c if c.any() else c + 1) for c in counts]
    tables = TableSet(frequencies, [-(f.size // 3) for f in frequencies])
    index = rng.integers(0, len(frequencies), 6000)
    place = (rng.random(6000) * tables.count[index]).astype(np.int32)
    symbols = place + tables.lowest[index]
    escaped = rng.random(6000) < 0.02
    symbols[escaped] += rng.integers(-32000, 32000, int(escaped.sum())).astype(np.int32)
    encoder = SymbolEncoder()
    encoder.put(symbols, index, tables)
    encoder.put(symbols[:9], index[:9], tables)
    found = viewer.call(
        ["range"],
        """
        const tables = new js.TableSet(rest.frequencies.map((own, k) => (
          {frequencies: own, lowest: rest.lowest[k]})));
        const decoder = new js.SymbolDecoder(data[0]);
        const index = Int32Array.from(rest.index);
        const found = [...decoder.get(index, tables)];
        return [...found, ...decoder.get(index.slice(0, 9), tables)];
        """,
        encoder.finish(),
        frequencies=[f.tolist() for f in frequencies],
        lowest=tables.lowest.tolist(),
        index=index.tolist(),
    )
    assert found == [*symbols.tolist(), *symbols[:9].tolist()]


def test_streams_that_are_impossible_are_those_of_constriction(viewer):
    rng = np.random.default_rng(3)
    table = count_table(np.array([5, 1, 900, 3]))
    model = constriction.stream.model.Categorical(
        (table - 1).astype(np.float64), perfect=False
    )
    streams = [b"\xff" * 12, b"", bytes(8)]
    streams += [rng.integers(0, 256, 24, np.uint8).tobytes() for _ in range(200)]
    streams += [b"\xff" * 4 + own for own in streams[3:60]]
    expected = []
    for stream in streams:
        words = np.frombuffer(stream, "<u4").astype(np.uint32)
        coder, own = constriction.stream.queue.RangeDecoder(words), []
        try:
            for _ in range(30):
                own.append(int(coder.decode(model, 1)[0]))
        except (AssertionError, ValueError):
            own.append(-1)
        expected.append(own)
    found = viewer.call(
        ["range", "errors"],
        """
        const ends = Uint32Array.from(rest.ends);
        return data.map((stream) => {
          const [coder, own] = [new js.RangeDecoder(stream), []];
          try {
            for (let k = 0; k < 30; k++) own.push(coder.symbol(ends, 0, rest.count));
          } catch (error) {
            if (!(error instanceof js.FormatError)) throw error;
            own.push(-1);
          }
          return own;
        });""",
        *streams,
        ends=[0, *np.cumsum(table).tolist()],
        count=table.size,
    )
    assert found == expected
    assert any(-1 in own for own in expected)


def drawings():
    """Pictures that take each of WebP's transforms, R G B A."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:61, :83]
    waves = [128 + 90 * np.sin(x / (5 + c) + y / 9) for c in range(4)]
    smooth = np.clip(np.stack(waves, -1) + rng.normal(0, 2, (61, 83, 4)), 0, 255)
    few = rng.integers(0, 256, (3, 4), np.uint8)[rng.integers(0, 3, (61, 83))]
    many = rng.integers(0, 256, (200, 4), np.uint8)[(x * y) % 200]
    letters = np.kron(rng.integers(0, 2, (16, 21)), np.ones((4, 4)))[:61, :83]
    text = np.repeat(255 * letters[..., None], 4, 2)
    wide = np.concatenate([smooth, few, many, text] * 3, 1)
    noise = rng.integers(0, 256, (7, 5, 4))
    every = (smooth, few, many, text, wide, noise, smooth[:1], smooth[:, :1])
    return [Image.fromarray(own.astype(np.uint8)) for own in every]


def test_webp_is_decoded_as_by_its_own_library(viewer):
    for image in drawings():
        for form in (image, image.convert("RGB"), image.quantize(16).convert("RGB")):
            for method, quality in ((0, 0), (4, 100)):
                data = encode_webp(form, method=method, quality=quality)
                text = viewer.call(
                    ["webp"],
                    "return js.toText(js.decodeWebp(data[0], ...rest.sides).pixels);",
                    data,
                    sides=[form.height, form.width],
                )
                assert base64.b64decode(text) == form.convert("RGBA").tobytes()


def test_alpha_planes(viewer):
    y, x = np.mgrid[:40, :50]
    planes = [x * 5, 255 * (x > y), x * y, 0 * x, (x * 7919 + y * 104729) % 256]
    coded = [(encode_plane(own.astype(np.uint8)), own) for own in planes]
    coded += [
        (bytes([predictor]) + encode_bytes(np.arange(2000, dtype=np.uint8)), None)
        for predictor in range(4)
    ]
    for data, plane in coded:
        text = viewer.call(
            ["planes"], "return js.toText(js.decodePlane(data[0], 40, 50));", data
        )
        if plane is None:
            own = np.arange(2000, dtype=np.uint8).reshape(40, 50)
            for axis in ((), (1,), (0,), (0, 1))[data[0]]:
                own = np.cumsum(own, axis=axis, dtype=np.uint8)
            plane = own
        assert base64.b64decode(text) == plane.astype(np.uint8).tobytes()


# Pictures and what stands beside them.


@pytest.mark.parametrize(
    "path", sorted((GOLDEN / "stored").glob("*.codax")), ids=lambda path: path.stem
)
def test_stored_pictures_come_back_to_the_last_bit(viewer, path):
    with Image.open(io.BytesIO(viewer.png(path.read_bytes()))) as found:
        found.load()
    with Image.open(path.with_suffix(".png")) as own:
        assert np.array_equal(found.convert("RGBA"), own.convert("RGBA"))
        assert ("P" in (found.mode, own.mode)) == (found.mode == own.mode == "P")


def test_sixteen_bits_without_loss(viewer):
    codec = Codec.from_folder(GOLDEN / "wavelet-lossless")
    y, x = np.mgrid[:37, :53]
    grey = ((x * 1234 + y * y * 31) % 65536).astype(np.uint16)
    data = codec.encode(Image.fromarray(grey), fallback=False)
    assert container.read(data).bit_depth == 16
    with Image.open(io.BytesIO(viewer.png(data))) as found:
        assert np.array_equal(np.asarray(found), grey)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes_and_metadata_of_coded_pictures(viewer, mode):
    codec = Codec.from_folder(GOLDEN / "hyperprior")
    source = drawings()[0]
    image = source.quantize(20) if mode == "P" else source.convert(mode)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "what it shows"
    icc = bytes(16) + (b"GRAY" if mode in ("1", "L", "LA") else b"RGB ") + bytes(108)
    beside = {"exif": exif, "xmp": b"<x/>", "icc_profile": icc}
    image.info.update(beside if mode != "CMYK" else {})
    data = codec.encode(image, quality=80, fallback=False)
    with Image.open(io.BytesIO(viewer.png(data))) as found:
        found.load()
    own = codec.decode(data)
    shown = "RGBA" if mode in ("P", "LA", "RGBA") else "RGB"
    # The RGB samples of modes that a PNG does not hold, and one level of luma.
    reach = {"CMYK": 2, "1": 255}.get(mode, 1)
    pair = [np.asarray(own_.convert(shown), np.int32) for own_ in (found, own)]
    assert np.abs(pair[0] - pair[1]).max() <= reach
    if mode != "CMYK":
        assert found.info["icc_profile"] == icc
        assert found.getexif()[0x0112] == 6
        assert found.getexif()[0x010E] == "what it shows"
        assert found.info["xmp"] == b"<x/>"


def test_info_says_what_codax_info_says(viewer):
    files = [*RELEASE.glob("*.codax"), *GOLDEN.glob("*/*.codax")]
    for path in files:
        data = path.read_bytes()
        fields = read_info(data, name_of)
        own = released(fields["codec_id"], fields["weights_hash"])
        fields["release"] = own and own.release
        found = viewer.call(
            ["info", "container"],
            """
            const {models, released} = await js.reader.index();
            const here = models.filter((own) => !own.name.startsWith("small-"));
            const file = js.readContainer(data[0]);
            return js.infoRows(file, data[0].length, {models: here, released});""",
            data,
        )
        assert [f"  {name:<16}{value}" for name, value in found] == _lines(fields)


# Damage.


def outcome(data, codecs):
    """What Python says of a file: its picture, or the words of an error."""
    try:
        return decode_file(
            container.read(data),
            lambda file: next(c.coder for c in codecs if c.coder.wrote(file)),
        )
    except StopIteration:
        return "the file wants"
    except CodaxError as error:
        # Behind this there may be any bytes, quoted in Python's manner.
        return "picture mode " if "picture mode" in str(error) else describe(error)


def test_damaged_files_get_the_words_of_python(viewer):
    """Mutants, every second one with a checksum that is right."""
    tool = run_file(TESTS.parent / "tools" / "fuzz.py", "tool")
    names = ("quadtree-trellis", "rvq", "wavelet-lossless")
    codecs = [Codec.from_folder(GOLDEN / name) for name in names]
    image = drawings()[1].resize((30, 20))
    originals = [
        codecs[0].encode(own, quality=70, fallback=False)
        for own in (image, image.quantize(9), image.convert("LA"))
    ]
    originals += [
        codecs[1].encode(image.convert("RGB"), quality=50, fallback=False),
        codecs[2].encode(image.convert("L"), fallback=False),
        codecs[2].encode(image, target_size=10**6),
    ]
    said = set()
    # One original after another, since to load a model takes time.
    for number in range(420):
        rng = np.random.default_rng((11, number))
        data = originals[number * len(originals) // 420]
        data = tool.mutate(data, rng, repair=number % 4 != 1)
        own, found = outcome(data, codecs), viewer.decode(data)
        if isinstance(own, str):
            assert found.get("error", "decoded").startswith(own), number
            said.add(own)
        else:
            assert "error" not in found, (number, found)
    assert len(said) > 40


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty; expected a codax file"),
        (
            b"\x89PNG\r\n",
            "not a codax file: it begins with 89 50 4e 47, expected 8d 43",
        ),
        (b"\x8dCDX\x02", "file format version 2; this codax reads version 1; a newer"),
    ],
)
def test_other_files(viewer, data, words):
    assert viewer.decode(data)["error"].startswith(words)


def test_files_of_models_that_are_not_here(viewer):
    file = container.read(next(RELEASE.glob("quadtree-tiny*")).read_bytes())
    unknown = container.write(replace(file, weights_hash=b"nobody"))
    said = viewer.decode(unknown)["error"]
    assert "wants codec 4 with weights 6e6f626f6479, of no release known here" in said
    name = find_card("quadtree-tiny").name
    found = viewer.call(
        [],
        """
        const own = new js.reader.constructor(js.reader.base);
        const {models, released} = await js.reader.index();
        own.read = Promise.resolve({models: [], released});
        return own.decode(data[0]);""",
        container.write(file),
    )["error"]
    assert found.startswith(f"the file wants {name} of codax 0.1.0 (weights ")
    assert f"`codax viewer -o FOLDER --models {name}`" in found


def test_a_browser_that_computes_otherwise_is_refused(viewer):
    data = (GOLDEN / "hyperprior" / "photo-q75.codax").read_bytes()
    found = viewer.call(
        ["sessions", "container"],
        """
        const own = await js.reader.find(js.readContainer(data[0]));
        const model = {...own.model, tests: {...own.model.tests, y: "00000000"}};
        const other = new js.Sessions(model, own.file, rest.none ?? new Uint8Array([
          2, 0, 0, 0, 0, 0, 0, 0, 123, 125]));
        other.graphs = own.graphs;
        await other.session("y");
        return {};""",
        data,
    )
    assert found["error"].startswith(
        "step y: this browser computes whole numbers wrong"
    )


def test_stored_damage(viewer):
    image = drawings()[2].convert("RGB")
    data = encode_stored(from_image(image), {}, limit=1e9)
    file = container.read(data)
    rng = np.random.default_rng(2)
    worse = 0
    for _ in range(60):
        stream = bytearray(file.stream)
        stream[rng.integers(26, 90)] ^= 1 << rng.integers(8)
        mutant = container.write(replace(file, stream=bytes(stream)))
        own, found = outcome(mutant, []), viewer.decode(mutant)
        if isinstance(own, str):
            assert found.get("error") == own
            worse += 1
        elif "error" not in found:
            assert np.array_equal(found["data"], own)
    assert worse > 10
