// The page: files in, a picture and what its file says out.

import { missingHere } from "./browser.js";
import { View } from "./view.js";

const MAX_FILE = 2 ** 30;
const STEP = 1.25; // of a zoom by key or button
const MOVE = 64; // pixels by an arrow key

const $ = (id) => document.getElementById(id);
const view = new View($("stage"), $("picture"), (zoom, fits) => {
  $("fit").textContent = fits ? "fit" : `${Math.round(100 * zoom)} %`;
});

let worker = null;
let busy = 0; // number of the file that is being decoded; 0 for none
let count = 0; // of files so far
let saved = null; // address and name of the PNG

/** A one-line problem with a file, or with all of them. */
function fail(words, name = "") {
  wait(false);
  view.hide();
  $("hint").hidden = true;
  $("error").hidden = false;
  $("error").textContent = name ? `${name}: ${words}` : words;
  $("status").textContent = "";
}

/** Shows or hides what is being done. */
function wait(words, share) {
  $("waiting").hidden = !words;
  if (!words) return;
  $("doing").textContent = words;
  if (share === undefined) $("progress").removeAttribute("value");
  else $("progress").value = share;
}

/** Forgets the file that is shown. */
function clear() {
  if (saved) URL.revokeObjectURL(saved.url);
  saved = null;
  view.hide();
  $("picture").removeAttribute("src");
  $("hint").hidden = $("error").hidden = true;
  $("rows").replaceChildren();
  for (const id of ["out", "fit", "in", "actual", "save"]) $(id).disabled = true;
}

/** Rows of a name and a text. */
function showInfo(rows) {
  const cells = rows.flatMap(([name, words]) => {
    const [term, detail] = ["dt", "dd"].map((kind) => document.createElement(kind));
    [term.textContent, detail.textContent] = [name, words];
    return [term, detail];
  });
  $("rows").replaceChildren(...cells);
}

function startWorker() {
  worker?.terminate();
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onerror = (event) => fail(event.message || "the decoder cannot be loaded");
}

/** Opens the bytes of a file. */
function openBytes(name, data) {
  if (busy || !worker) startWorker(); // what is under way is of no use any more
  busy = ++count;
  const id = busy;
  clear();
  $("name").textContent = name;
  document.title = `${name} – codax viewer`;
  $("status").textContent = "decoding";
  wait("reading");
  worker.onmessage = ({ data: said }) => {
    if (said.id === id) answer(name, said);
  };
  worker.postMessage({ id, data }, [data.buffer]);
}

/** Takes what the worker says of a file. */
async function answer(name, said) {
  if (said.info) return showInfo(said.info);
  if (said.words) return wait(said.words, said.share);
  busy = 0;
  if (said.error) return fail(said.error, name);
  const { png, width, height, orientation, seconds } = said;
  const url = URL.createObjectURL(png);
  saved = { url, name: name.replace(/\.codax$/i, "") + ".png" };
  const picture = $("picture");
  picture.src = url;
  picture.alt = `${name}, ${width} by ${height} pixels`;
  try {
    await picture.decode();
  } catch {
    return fail("this browser cannot show so large a picture", name);
  }
  if (saved?.url !== url) return undefined; // another file was opened meanwhile
  wait(false);
  view.show(width, height, orientation);
  for (const id of ["out", "fit", "in", "actual", "save"]) $(id).disabled = false;
  $("status").textContent = `${width}x${height}, decoded in ${seconds.toFixed(2)} s`;
  return undefined;
}

/** Opens a file that was picked or dropped. */
async function openFile(file) {
  if (!file) return;
  if (file.size > MAX_FILE) {
    fail(`larger than ${MAX_FILE} bytes; that is the limit`, file.name);
    return;
  }
  try {
    openBytes(file.name, new Uint8Array(await file.arrayBuffer()));
  } catch {
    fail("cannot be read", file.name); // such as a folder
  }
}

/** The address that `?file=` gives and a file's name in it; null for none. */
function readAddress(text) {
  try {
    const url = new URL(text, location.href);
    return [url, decodeURIComponent(url.pathname.split("/").at(-1)) || text];
  } catch {
    return null;
  }
}

/** Opens the file that `?file=` names. */
async function openAddress(text) {
  const found = readAddress(text);
  if (!found) {
    fail("is no address of a file", text);
    return;
  }
  const [url, name] = found;
  if (url.origin !== location.origin) {
    fail(`is of ${url.origin}; only files of ${location.origin} are opened`, name);
    return;
  }
  wait("loading");
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) {
    const reason = response ? `HTTP status ${response.status}` : "no answer";
    fail(`cannot be loaded: ${reason}`, name);
    return;
  }
  openBytes(name, new Uint8Array(await response.arrayBuffer()));
}

function save() {
  if (!saved) return;
  const link = document.createElement("a");
  link.href = saved.url;
  link.download = saved.name;
  link.click();
  $("status").textContent = `saved as ${saved.name}`;
}

function toggleInfo() {
  const open = $("facts").toggleAttribute("hidden") === false;
  $("info").setAttribute("aria-expanded", String(open));
}

const ACTIONS = {
  open: () => $("picker").click(),
  openToo: () => $("picker").click(),
  in: () => view.zoomBy(STEP),
  out: () => view.zoomBy(1 / STEP),
  fit: () => view.fit(),
  actual: () => view.actual(),
  info: toggleInfo,
  save,
};
const KEYS = {
  o: ACTIONS.open,
  s: save,
  i: toggleInfo,
  "+": ACTIONS.in,
  "=": ACTIONS.in,
  "-": ACTIONS.out,
  "−": ACTIONS.out,
  0: ACTIONS.fit,
  1: ACTIONS.actual,
  ArrowLeft: () => view.pan(MOVE, 0),
  ArrowRight: () => view.pan(-MOVE, 0),
  ArrowUp: () => view.pan(0, MOVE),
  ArrowDown: () => view.pan(0, -MOVE),
};

for (const [id, act] of Object.entries(ACTIONS)) $(id).addEventListener("click", act);
$("picker").addEventListener("change", () => {
  openFile($("picker").files[0]);
  $("picker").value = ""; // so that the same file can be opened again
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
// Anywhere on the page, so that a file beside the stage does not leave it.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("stage").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("stage").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  openFile(event.dataTransfer.files[0]);
});

async function begin() {
  const missing = missingHere();
  if (missing) {
    fail(missing);
    return;
  }
  const address = new URLSearchParams(location.search).get("file");
  if (address) openAddress(address);
  const response = await fetch(new URL("viewer.json", import.meta.url));
  if (!response.ok) return; // opening a file says so
  const { version, models } = await response.json();
  const names = [...models.map((model) => model.name), "stored pictures"];
  $("models").textContent = `This viewer of codax ${version} reads ${names.join(", ")}.`;
}

begin();
