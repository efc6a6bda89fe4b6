"""A viewer in a headless Chromium, as tests ask it. Skips where anything is missing."""

import base64
import contextlib
import shutil
import threading

import numpy as np
import pytest

from codax.cli.serving import Server
from codax.errors import UnsupportedError
from codax.zoo.viewer import find_pages, write_viewer

# Calls a function of the page's modules; arrays of bytes go as base64 both ways.
SCRIPT = """async ({modules, bytes, rest}) => {
  const toText = (array) => {
    const own = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = "";
    for (let i = 0; i < own.length; i += 8192)
      text += String.fromCharCode(...own.subarray(i, i + 8192));
    return btoa(text);
  };
  const all = {};
  for (const name of modules) Object.assign(all, await import(`./${name}.js`));
  const {describe} = await import("./errors.js");
  const {Reader} = await import("./reader.js");
  globalThis.reader ??= new Reader(new URL("./", location));
  const data = bytes.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
  try {
    return await CALL({...all, reader, toText}, data, rest);
  } catch (error) {
    return {error: describe(error)};
  }
}"""


def needs_viewer():
    """Skips where the page's ONNX Runtime is missing."""
    try:
        find_pages()
    except UnsupportedError:
        pytest.skip("no onnxruntime-web; `tools/build_viewer --runtime` takes npm")


@contextlib.contextmanager
def chromium():
    """A headless browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        yield launched
        launched.close()


@contextlib.contextmanager
def served(folder, cards, files):
    """The address of a viewer that is written into a folder."""
    write_viewer(folder, cards, files)
    server = Server(folder)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop()
        thread.join()


class Viewer:
    """The modules of a page, called from Python."""

    def __init__(self, page):
        self.page = page

    def call(self, modules, body, *data, **rest):
        """What `async (its exports, data, rest) => {body}` returns."""
        code = SCRIPT.replace("CALL", f"(async (js, data, rest) => {{{body}}})")
        texts = [base64.b64encode(part).decode() for part in data]
        given = {"modules": modules, "bytes": texts, "rest": rest}
        return self.page.evaluate(code, given)

    def decode(self, data):
        """A file's picture: mode and samples [H W channels], or `error`."""
        found = self.call(
            [],
            """
            const {mode, width, height, depth, data: own} =
              await js.reader.decode(data[0]);
            return {mode, width, height, depth, data: js.toText(own)};""",
            data,
        )
        if "error" in found:
            return found
        kind = "<u2" if found["depth"] == 16 else np.uint8
        flat = np.frombuffer(base64.b64decode(found["data"]), kind)
        found["data"] = flat.reshape(found["height"], found["width"], -1)
        return found

    def latents(self, data):
        """A file's latents by name, int32[h w C]."""
        found = self.call(
            ["container", "decode", "grids"],
            """
            const file = js.readContainer(data[0]);
            const size = [file.height, file.width];
            const networks = await js.reader.find(file);
            const {state, prefix} = await js.decodeLatents(networks, file);
            const {arrays, sources} = networks.order;
            return Object.keys(sources).filter((name) => name in state).map((name) => {
              const {channels, stride} = arrays[name];
              const [rows, columns] = js.extent(...size, stride);
              const own = prefix
                ? prefix.band(state, name, size, stride / 16).data
                : state[name].own(rows, columns);
              return [name, [rows, columns, channels], js.toText(own)];
            });""",
            data,
        )
        return {
            name: np.frombuffer(base64.b64decode(flat), "<i4").reshape(shape)
            for name, shape, flat in found
        }

    def png(self, data):
        """The bytes of the PNG that is saved of a file."""
        text = self.call(
            ["png"],
            """
            const blob = await js.toPng(await js.reader.decode(data[0]));
            return js.toText(new Uint8Array(await blob.arrayBuffer()));""",
            data,
        )
        return base64.b64decode(text)
