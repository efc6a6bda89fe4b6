"""Times the browser viewer in headless Chromium, and weighs its folder.

python tools/benchmark_viewer.py PICTURE [--models A,B] [--repeats 3]

A row a model: bytes of the file at quality 75 (or the nearest that the model has); what
the page says of the first decode in a fresh browser, which loads runtime and model, and
the least of further ones; seconds of `Codec.decode` here (the second call); megabytes
of the model. Takes chromium, playwright and `tools/build_viewer --runtime`.
"""

import argparse
import shutil
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from codax.cli.serving import Server
from codax.face.loading import load
from codax.zoo.cards import Card, find_card, list_cards
from codax.zoo.viewer import write_viewer

QUALITY = 75


def page_seconds(browser: Browser, address: str, repeats: int) -> list[float]:
    """What the page says of one decode after another of a file, in seconds."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    found = []
    for again in range(repeats + 1):
        if again:
            page.evaluate("document.getElementById('status').textContent = ''")
            data = page.context.request.get(address.replace("?file=", "")).body()
            own = {"name": "again.codax", "mimeType": "", "buffer": data}
            page.set_input_files("#picker", files=[own])
        page.locator("#status:has-text('decoded in')").wait_for()
        said = page.inner_text("#status")
        found.append(float(said.rpartition("in ")[2].removesuffix(" s")))
    context.close()
    return found


def seconds_here(card: Card, picture: Image.Image) -> tuple[bytes, float]:
    """A file of the picture, and seconds of a second decode of it by Python."""
    codec = load(str(card.folder))
    quality = min(max(QUALITY, card.qualities[0]), card.qualities[1])
    data = codec.encode(picture, quality=quality, fallback=False)
    codec.decode(data)
    start = time.perf_counter()
    codec.decode(data)
    return data, time.perf_counter() - start


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path)
    parser.add_argument("--models", help="names (default: all that ship)")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    cards = list_cards()
    if args.models:
        cards = [find_card(name) for name in args.models.split(",")]
    picture = Image.open(args.picture).convert("RGB")
    own = {card.name: seconds_here(card, picture) for card in cards}
    files = {f"files/{name}.codax": data for name, (data, _) in own.items()}
    program = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        folder = Path(made)
        size = write_viewer(folder, cards, files) - sum(map(len, files.values()))
        models = [
            sum(
                path.stat().st_size
                for path in (folder / "models" / card.name).iterdir()
            )
            for card in cards
        ]
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        server = Server(folder)
        threading.Thread(target=server.run, daemon=True).start()
        print(f"{picture.width}x{picture.height}, Chromium {browser.version}")
        print("model                     bytes  first s  again s  Python s     MB")
        for card, weight in zip(cards, models, strict=True):
            data, here = own[card.name]
            address = f"{server.address}?file=files/{card.name}.codax"
            first, *again = page_seconds(browser, address, args.repeats)
            print(
                f"{card.name:<24}{len(data):>7}{first:>9.2f}{min(again):>9.2f}"
                f"{here:>10.2f}{weight / 1e6:>7.1f}"
            )
        print(
            f"the folder: {size / 1e6:.1f} MB, of which page and runtime are "
            f"{(size - sum(models)) / 1e6:.1f}"
        )
        browser.close()


if __name__ == "__main__":
    main()
