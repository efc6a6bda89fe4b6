"""`codax viewer`: the folder, the server, and the page in headless Chromium."""

import io
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from viewer_browser import chromium, needs_viewer, served

from codax.cli import main
from codax.face.codec import Codec
from codax.zoo import viewer
from codax.zoo.cards import read_card
from codax.zoo.graphs import read_graphs
from codax.zoo.placed import metadata_of, place_weights
from codax.zoo.weights import read_checkpoint

GOLDEN = Path(__file__).parent / "golden"
QUADTREE = GOLDEN / "quadtree-enhanced"
PHOTO = (QUADTREE / "photo-q75.codax").read_bytes()
DRAWN = (GOLDEN / "stored" / "rgba.codax").read_bytes()


@pytest.fixture(scope="module")
def browser():
    needs_viewer()
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    """Of a viewer of one small model, with files beside the page."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.zeros((40, 90, 3), np.uint8))
    image.info["exif"] = exif
    turned = Codec.from_folder(QUADTREE).encode(image)  # which is stored
    files = {
        "files/photo.codax": PHOTO,
        "files/drawn.codax": DRAWN,
        "files/turned.codax": turned,
        "files/damaged.codax": PHOTO[:100] + b"?" + PHOTO[101:],
    }
    folder = tmp_path_factory.mktemp("viewer")
    with served(folder, [read_card(QUADTREE)], files) as found:
        yield found


@pytest.fixture
def page(browser, address, request):
    """A page of a width that says nothing to its console and asks nobody else."""
    width = getattr(request, "param", 1100)
    own = browser.new_page(viewport={"width": width, "height": 700})
    own.said, own.asked = [], []
    own.on("console", lambda message: own.said.append(message.text))
    own.on("pageerror", lambda error: own.said.append(str(error)))
    own.on("request", lambda request: own.asked.append(request.url))
    own.set_default_timeout(20_000)
    own.goto(address)
    yield own
    assert all(url.startswith((address, "blob:", "data:")) for url in own.asked)
    own.close()


def shown(page):
    """Waits for the picture; returns where it is on the stage."""
    page.wait_for_selector("#picture:visible")
    return page.locator("#picture").bounding_box()


def said(page):
    """Waits for an error; returns its line."""
    page.wait_for_selector("#error:visible")
    return page.inner_text("#error")


def rows(page):
    names, words = (page.locator(f"#rows {kind}") for kind in ("dt", "dd"))
    pairs = zip(names.all_inner_texts(), words.all_inner_texts(), strict=True)
    return dict(pairs)


# The page.


@pytest.mark.parametrize("page", [380, 1100], indirect=True)
def test_a_file_by_its_address(page, address):
    page.goto(f"{address}?file=files/photo.codax")
    box = shown(page)
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("open", "out", "fit", "in", "actual", "info", "save"):
        own = page.locator(f"#{name}").bounding_box()
        assert own["x"] >= 0
        assert own["x"] + own["width"] <= width, name
    stage = page.locator("#stage").bounding_box()
    assert stage["height"] > 250
    assert box["x"] >= stage["x"]
    assert box["x"] + box["width"] <= stage["x"] + stage["width"] + 1
    assert page.title() == "photo.codax \N{EN DASH} codax viewer"
    assert page.get_attribute("#picture", "alt").startswith("photo.codax, ")
    assert rows(page)["file"].startswith(f"{len(PHOTO)} B, ")
    assert re.fullmatch(r"\d+x\d+, decoded in \d+\.\d\d s", page.inner_text("#status"))
    assert page.said == []


def test_a_file_by_the_picker_and_its_png(page, tmp_path):
    (tmp_path / "mine.codax").write_bytes(DRAWN)
    page.on("filechooser", lambda own: own.set_files(tmp_path / "mine.codax"))
    page.locator("#hint").inner_text()  # the driver listens by then
    page.keyboard.press("o")
    shown(page)
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "mine.png"
    saved = Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))
    with Image.open(GOLDEN / "stored" / "rgba.png") as own:
        assert np.array_equal(saved, own)
    assert rows(page)["model"].startswith("stored: samples without loss")


def test_a_file_that_is_dropped(page):
    drop = """data => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(data)], "dropped.codax"));
      const options = {dataTransfer: transfer, bubbles: true, cancelable: true};
      document.getElementById("facts").dispatchEvent(new DragEvent("drop", options));
    }"""
    page.evaluate(drop, list(DRAWN))
    shown(page)
    assert page.inner_text("#name") == "dropped.codax"


def test_keyboard_and_pointer(page, address):
    page.goto(f"{address}?file=files/photo.codax")
    before = shown(page)
    for _ in range(8):
        page.keyboard.press("+")
    near = shown(page)
    assert near["width"] == pytest.approx(before["width"] * 1.25**8)
    assert "%" in page.inner_text("#fit")
    page.keyboard.press("ArrowRight")
    assert shown(page)["x"] == pytest.approx(near["x"] - 64)
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(330, 310)
    page.mouse.up()
    assert shown(page)["x"] == pytest.approx(near["x"] - 34)
    page.mouse.wheel(0, 300)
    assert shown(page)["width"] < near["width"]
    page.keyboard.press("1")
    assert page.inner_text("#fit") == "100 %"
    page.keyboard.press("0")
    assert shown(page) == before
    page.keyboard.press("i")
    page.wait_for_selector("#facts", state="hidden")
    assert page.get_attribute("#info", "aria-expanded") == "false"
    # All buttons can be reached, and the stage.
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"open", "out", "in", "save", "stage"} <= reached


def test_orientation_is_applied_on_the_page(page, address):
    page.goto(f"{address}?file=files/turned.codax")
    box = shown(page)
    assert (round(box["width"]), round(box["height"])) == (40, 90)


def test_damage_and_other_files(page, address):
    page.goto(f"{address}?file=files/damaged.codax")
    assert re.match("damaged.codax: checksum is .*; the file is damaged$", said(page))
    page.goto(f"{address}?file=index.html")
    assert said(page).startswith("index.html: not a codax file: it begins with 3c 21")
    page.goto(f"{address}?file=files/none.codax")
    assert said(page) == "none.codax: cannot be loaded: HTTP status 404"
    page.goto(f"{address}?file=http://127.0.0.2:1/x.codax")
    assert said(page).startswith("x.codax: is of http://127.0.0.2:1; only files of")
    page.goto(f"{address}?file=http%3A%2F%2F%5B")
    assert said(page) == "http://[: is no address of a file"
    # And then one that can be shown.
    page.set_input_files("#picker", files=[file_of("drawn.codax", DRAWN)])
    shown(page)
    assert page.locator("#error").is_hidden()


def file_of(name, data):
    return {"name": name, "mimeType": "image/x-codax", "buffer": data}


def test_the_newest_of_several_files_is_shown(page):
    for name, data in (("one.codax", PHOTO), ("two", PHOTO), ("three.codax", DRAWN)):
        page.set_input_files("#picker", files=[file_of(name, data)])
    shown(page)
    assert page.get_attribute("#picture", "alt").startswith("three.codax")
    assert page.said == []


def test_a_browser_without_webassembly_is_told_the_remedy(page, address):
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(f"{address}?file=files/photo.codax")
    line = said(page)
    assert "this browser has no WebAssembly" in line
    assert "take one of 2023 or newer" in line
    assert "\n" not in line


def test_a_page_of_a_folder_says_what_to_do(browser):
    page = browser.new_page()
    page.goto((viewer.find_pages() / "index.html").as_uri())
    assert "take `codax viewer --serve`" in page.inner_text(".notice")
    page.close()


# The folder and the server.


def test_weights_are_found_at_their_places(tmp_path):
    """ONNX Runtime reads a placed graph from files, and gives what sessions give."""
    packed, card = read_checkpoint(QUADTREE)
    graph = read_graphs(QUADTREE, card)["features"]
    offsets, flat = {}, b"head"
    for name in graph.weights:
        offsets[name] = len(flat)
        flat += packed[name].tobytes()
    (tmp_path / "weights").write_bytes(flat)
    (tmp_path / "graph.onnx").write_bytes(place_weights(graph.model, offsets))
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
    channels = session.get_inputs()[0].shape[-1]
    given = {
        "z": np.arange(16 * channels, dtype=np.float32).reshape(1, 4, 4, channels) % 7,
        "quality": np.array([80], np.int32),
        "extent": np.array([16, 16], np.int32),
    }
    options = onnxruntime.SessionOptions()
    values = [
        onnxruntime.OrtValue.ortvalue_from_numpy(packed[name]) for name in graph.weights
    ]
    options.add_external_initializers(list(graph.weights), values)
    own = onnxruntime.InferenceSession(graph.model, options)
    (one,), (two,) = session.run(None, given), own.run(None, given)
    assert np.array_equal(one, two)
    with pytest.raises(KeyError):
        place_weights(graph.model, {})
    facts = metadata_of(read_graphs(QUADTREE, card)["synthesis"].model)
    assert int(facts["halo"]) >= 1


@pytest.fixture
def pages(monkeypatch, tmp_path):
    """A stand-in for the page, so that these tests need no npm."""
    folder = tmp_path / "source" / "codax_viewer" / "page"
    (folder / "runtime").mkdir(parents=True)
    (folder / "index.html").write_text("<title>codax")
    (folder / "runtime" / "ort.wasm").write_bytes(b"\0asm")
    monkeypatch.setattr(viewer, "CHECKOUT", tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_folder_is_written_whole_and_replaced_by_force(pages, tmp_path, capsys):
    words = ["viewer", "-o", "site", "--models", str(QUADTREE)]
    (tmp_path / "photo.codax").write_bytes(PHOTO)
    assert main([*words, "photo.codax"]) == 0
    name = read_card(QUADTREE).name
    assert capsys.readouterr().err.startswith("site  1 models  ")
    site = tmp_path / "site"
    assert (site / "files" / "photo.codax").read_bytes() == PHOTO
    index = json.loads((site / "viewer.json").read_text())
    assert [model["name"] for model in index["models"]] == [name]
    assert {path.name for path in (site / "models" / name).iterdir()} == {
        "model.json", "order.json", "weights.safetensors", "graphs.safetensors",
    }  # fmt: skip
    assert main(words) == 1
    assert "add -f to replace it" in capsys.readouterr().err
    assert main([*words, "-f", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == [name]
    assert not (site / "files").exists()
    (site / "mine.codax").write_bytes(PHOTO)
    assert main([*words, "-f"]) == 1
    assert "holds mine.codax, which is none of the viewer's" in capsys.readouterr().err
    assert (site / "mine.codax").exists()


def test_bad_words(pages, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    (tmp_path / "a.codax").write_bytes(PHOTO)
    site = ["viewer", "-o", "site"]
    for words, status, expected in (
        (["viewer"], 2, "say where to: -o FOLDER, or --serve"),
        ([*site, "--port", "70000"], 2, "'70000' is no port; expected 0 to 65535"),
        ([*site, "--models", ","], 2, "--models ',' names none"),
        ([*site, "--models", "quadtree-tinny"], 1, "no codec is named"),
        ([*site, "--models", f"{QUADTREE},{QUADTREE}/"], 1, "two have one name"),
        ([*site, "a.codax", "./a.codax"], 2, "two inputs are called a.codax"),
        ([*site, "none.codax"], 1, "none.codax: No such file or directory"),
        (["viewer", "-o", "mine"], 1, "mine exists and is no viewer"),
    ):
        assert main(words) == status, words
        assert expected in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
    for path in (pages / "runtime").iterdir():
        path.unlink()
    assert main(site) == 1
    assert "`tools/build_viewer` brings it, with npm" in capsys.readouterr().err


def test_without_the_package(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(viewer, "CHECKOUT", tmp_path)
    assert main(["viewer", "-o", str(tmp_path / "site")]) == 1
    expected = (
        "codax: the viewer is not installed; `pip install codax-viewer` brings it"
    )
    assert capsys.readouterr().err.strip() == expected


def test_a_port_that_is_taken(pages, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["viewer", "--serve", "--port", port, "--models", str(QUADTREE)]
        assert main(words) == 1
    said = capsys.readouterr().err
    assert f"port {port} cannot be had: Address already in use" in said


def test_it_is_served_on_loopback_until_it_is_interrupted(tmp_path):
    needs_viewer()
    (tmp_path / "my photo.codax").write_bytes(PHOTO)
    command = [sys.executable, "-m", "codax", "viewer", "--serve", "my photo.codax"]
    with subprocess.Popen(
        [*command, "--models", str(QUADTREE)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        address = process.stdout.readline().strip()
        assert re.fullmatch(
            r"http://127\.0\.0\.1:\d+/\?file=files/my\+photo\.codax", address
        )
        base = address.partition("?")[0]
        with urllib.request.urlopen(base) as answer:
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert b"codax viewer" in answer.read()
        runtime = f"{base}runtime/ort-wasm-simd-threaded.wasm"
        with urllib.request.urlopen(runtime) as answer:
            assert answer.headers["Content-Type"] == "application/wasm"
        for path in ("models/", "../secret", "none"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(base + path)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "codax: note: Ctrl-C ends it"


def test_a_viewer_that_was_written_is_served_as_it_is(tmp_path, monkeypatch, capsys):
    needs_viewer()
    site = tmp_path / "site"
    assert main(["viewer", "-o", str(site), "--models", str(QUADTREE)]) == 0
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*")}
    served = []
    monkeypatch.setattr("codax.cli.viewer._serve", lambda *args: served.append(args[0]))
    assert main(["viewer", "--serve", "-o", str(site)]) == 0
    assert served == [site]
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*")} == before
    capsys.readouterr()
    assert main(["viewer", "--serve", "-o", str(site), "--models", str(QUADTREE)]) == 1
    assert "holds a viewer; add -f to replace it" in capsys.readouterr().err
