// From the bytes of a `.codax` file to a picture: twin of codax/face/decoding.py. Finds
// the model that wrote it among those of the viewer.

import { GREY, TAG, readContainer } from "./container.js";
import { decodeSamples } from "./decode.js";
import { FormatError, ModelError, UnsupportedError } from "./errors.js";
import { decodePlane } from "./planes.js";
import { readBeside, toPicture, usedPalette } from "./pictures.js";
import { Sessions } from "./sessions.js";
import { decodeWebp } from "./webp.js";

const STORED_WEBP = 0;

/** Fetches a file of the viewer's own, and tells how much of it is there. */
async function fetched(url, tell = () => {}) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) {
    throw new ModelError(
      `${url.pathname.split("/").at(-1)} of the viewer cannot be loaded; write the ` +
        "folder anew with `codax viewer -o FOLDER -f`",
    );
  }
  const total = Number(response.headers.get("Content-Length")) || 0;
  const parts = [];
  let size = 0;
  const reader = response.body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    parts.push(next.value);
    size += next.value.length;
    if (total) tell(Math.min(size / total, 1));
  }
  const data = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}

const toJson = (data) => JSON.parse(new TextDecoder().decode(data));

/** Reads files with the models of a viewer's folder. */
export class Reader {
  /** @param {URL} base the folder's address. */
  constructor(base) {
    this.base = base;
    this.current = null; // the networks that were needed last
  }

  /** What `viewer.json` says. */
  index() {
    this.read ??= fetched(new URL("viewer.json", this.base)).then(toJson);
    this.read.catch(() => (this.read = null)); // to be tried again
    return this.read;
  }

  /** The networks of the model that wrote a file. */
  async find(file, tell) {
    const index = await this.index();
    const wrote = (own) =>
      own.codec_id === file.codecId && own.weights_hash === file.hash;
    const entry = index.models.find(wrote);
    if (!entry) throw missing(file, index.released.find(wrote), index.models);
    if (this.current?.model.name !== entry.name) {
      this.current?.release();
      this.current = null;
      const at = (name) => new URL(`models/${entry.name}/${name}`, this.base);
      const [model, order, graphs, weights] = await Promise.all([
        fetched(at("model.json")),
        fetched(at("order.json")),
        fetched(at("graphs.safetensors")),
        fetched(at("weights.safetensors"), tell),
      ]);
      const both = { ...toJson(model), order: toJson(order) };
      this.current = new Sessions(both, weights, graphs);
    }
    const { model, order } = this.current;
    const layered = order.steps.some((step) => step.layer);
    if (file.layered !== layered) {
      const has = (yes) => (yes ? "has layers" : "has no layers");
      throw new FormatError(
        `the file ${has(file.layered)}, but ${model.name} ${has(layered)}; the file ` +
          "is damaged",
      );
    }
    return this.current;
  }

  /**
   * Decodes the bytes of a file.
   *
   * @param {Uint8Array} data
   * @param {(words: string, share: number) => void} tell what is being done.
   * @returns a picture for `toPng`.
   */
  async decode(data, tell = () => {}) {
    const file = readContainer(data);
    const { width, height, sections } = file;
    if (file.stored) {
      const { samples, alpha, pixels } = decodeStored(file);
      const beside = readBeside(file);
      if (beside.mode === "P") {
        beside.palette = usedPalette(pixels, sections.has(TAG.alpha) ? 4 : 3);
      }
      return whole(file, beside, { samples, colours: 3 }, alpha);
    }
    const sessions = await this.find(file, (share) => tell("loading the model", share));
    const { model } = sessions;
    if (file.depth !== 8 && !model.lossless) {
      throw new UnsupportedError(
        `${file.depth} bits a sample, but ${model.name} decodes 8; the file is damaged`,
      );
    }
    const beside = readBeside(file);
    const plane = sections.get(TAG.alpha);
    const alpha = plane ? decodePlane(plane, height, width) : null;
    const found = await decodeSamples(sessions, file, (share) =>
      tell("decoding", share),
    );
    if (model.lossless) checkSamples(file, found);
    return whole(file, beside, found, alpha);
  }
}

function whole(file, beside, found, alpha) {
  const { width, height, depth } = file;
  return { ...beside, width, height, depth, ...toPicture(beside, found, alpha) };
}

/** Says what would decode a file that no model here does. */
function missing(file, released, models) {
  const here = models.map((own) => own.name).join(", ") || "none";
  if (released) {
    const { name, release } = released;
    return new ModelError(
      `the file wants ${name} of codax ${release} (weights ${file.hash}), which is not ` +
        `here; \`codax viewer -o FOLDER --models ${name}\` writes a viewer that has it`,
    );
  }
  return new ModelError(
    `the file wants codec ${file.codecId} with weights ${file.hash}, of no release ` +
      `known here; this viewer has ${here}; a newer codax may have it, or the file is ` +
      "damaged",
  );
}

/** The samples of a stored picture, with its alpha if the file has any. */
function decodeStored(file) {
  const { sections, stream } = file;
  const coded = file.layered || file.trellis || sections.get(TAG.alpha)?.length;
  if (file.depth !== 8 || coded) {
    throw new FormatError(
      "a stored picture with 16 bits, layers or coded alpha, or a trellis; the file is " +
        "damaged",
    );
  }
  if (stream[0] !== STORED_WEBP) {
    throw new UnsupportedError(
      `unknown stored form ${stream[0] ?? "None"}; a newer codax is needed, or the file ` +
        "is damaged",
    );
  }
  const { pixels } = decodeWebp(stream.subarray(1), file.height, file.width);
  const count = pixels.length / 4;
  const samples = new Uint8Array(3 * count);
  const alpha = sections.has(TAG.alpha) ? new Uint8Array(count) : null;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) samples[3 * i + c] = pixels[4 * i + c];
    if (alpha) alpha[i] = pixels[4 * i + 3];
  }
  return { samples, alpha, pixels };
}

/** Checks that a lossless stream holds what the header says. */
function checkSamples(file, { colours, depth }) {
  const expected = file.colour === GREY ? 1 : 3;
  if (colours !== expected || depth !== file.depth) {
    throw new FormatError(
      `the stream holds ${colours} colours of ${depth} bits, the header says ` +
        `${expected} of ${file.depth}; the file is damaged`,
    );
  }
}
