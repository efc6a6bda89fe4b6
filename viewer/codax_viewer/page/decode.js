// Streams to samples: twin of codax/coding/interpreters.py and samples.py. The steps are
// those of order.json; nothing here knows a family.

import { splitLayers } from "./container.js";
import { enhance } from "./enhancement.js";
import { FormatError } from "./errors.js";
import { extent, padded, placesOf, Plane, positions } from "./grids.js";
import { SymbolDecoder } from "./range.js";
import { joinWhole, Prefix } from "./reversible.js";
import { sourceOf, Trellis } from "./sources.js";

const BEST = 200;

/**
 * Decodes the latents of a file.
 *
 * @param {Sessions} sessions of the model that wrote it.
 * @param {object} file of `readContainer`.
 * @param {(share: number) => void} tell what is done, 0 to 1.
 * @returns what `decodeSamples` takes: `state` of planes by name, `told`, and of a
 *   lossless codec `prefix`.
 */
export async function decodeLatents(sessions, file, tell = () => {}) {
  const { order, weights, model } = sessions;
  const size = [file.height, file.width];
  const trellis = file.trellis ? new Trellis(weights, model.name) : null;
  const told = trellis ? trellis.told(file.quality) : file.quality;
  let { stream } = file;
  let prefix = null;
  if (model.lossless) {
    prefix = Prefix.read(stream, size, order);
    stream = prefix.rest;
  }
  const coders = streamsOf(order, file, stream).map((own) => new SymbolDecoder(own));

  const [state, tables] = [{}, {}];
  for (const [name, source] of Object.entries(order.sources)) {
    if (prefix && !prefix.has(name)) continue;
    const { channels, stride } = order.arrays[name];
    state[name] = new Plane(...padded(...size, stride), channels);
    tables[name] = sourceOf(source).tables(weights, source, told);
  }
  const count = order.steps.filter((step) => step.network).length;
  let done = 0;
  for (const step of order.steps) {
    if ((step.layer ?? 0) >= coders.length) break;
    if (!applies(step, state)) continue;
    const [rows, columns] = extent(...size, order.arrays[step.target].stride);
    const target = state[step.target];
    const coded = step.coded ?? true;
    const places = coded && placesOf(step, target.channels);
    const where = coded && positions(places, target, rows, columns, state[step.within]);
    if (coded && !where.at.length) continue;
    let outputs = [];
    if (step.whole) {
      outputs = [joinWhole(order, step, state, size, prefix)];
    } else if (step.network) {
      const share = (part) => tell((done + part) / count);
      outputs = await sessions.step(step, state, size, told, share);
    }
    if (step.network) done += 1;
    if (!coded) {
      [state[step.target]] = outputs;
      continue;
    }
    const source = order.sources[step.target];
    const tools = { source, tables: tables[step.target], trellis };
    decodeStep(coders[step.layer ?? 0], tools, outputs, places, where, target);
  }
  return { state, told, prefix };
}

/** Whether a picture has what a step is about: a grey one has no chroma. */
function applies(step, state) {
  const coded = step.coded ?? true;
  const needed = coded ? [...step.reads, step.target] : step.reads;
  return needed.every((name) => name in state);
}

/** The streams of a file, one for each of its layers. */
function streamsOf(order, file, stream) {
  const layers = 1 + Math.max(...order.steps.map((step) => step.layer ?? 0));
  if (layers === 1) return [stream];
  const { streams } = splitLayers(stream);
  const expected = Math.max(1, Math.ceil((file.quality * layers) / BEST));
  if (streams.length !== expected) {
    throw new FormatError(
      `${streams.length} layers at quality ${file.quality / 2}, expected ${expected} ` +
        `of the codec's ${layers}`,
    );
  }
  return streams;
}

/** Decodes the symbols of a step into its target. */
function decodeStep(coder, { source, tables, trellis }, outputs, places, where, target) {
  const width = Math.max(...places.map((own) => own.length));
  const { at, place } = where;
  const heads = outputs.map((head) => gather(head, at, width));
  let kept;
  if (trellis && source.kind === "residual") {
    kept = trellis.decode(coder, heads, width);
  } else {
    const own = sourceOf(source);
    kept = new Int32Array(at.length * width);
    for (let k = 0; k < kept.length; k++) kept[k] = own.index(heads, k, width);
    const symbols = coder.get(kept, tables);
    for (let k = 0; k < kept.length; k++) {
      kept[k] = own.kept(symbols[k], heads, k, source, tables);
    }
  }
  for (let i = 0; i < at.length; i++) {
    const channels = places[place[i]];
    const base = at[i] * target.channels;
    for (let k = 0; k < width; k++) target.data[base + channels[k]] = kept[i * width + k];
  }
}

/** What a head gives at positions, int32. */
function gather(head, at, width) {
  const found = new Int32Array(at.length * width);
  for (let i = 0; i < at.length; i++) {
    for (let k = 0; k < width; k++) {
      found[i * width + k] = head.data[at[i] * head.channels + k];
    }
  }
  return found;
}

/**
 * The samples of a file.
 *
 * @returns {Promise<{samples: Uint8Array|Uint16Array, colours: number}>}
 *   [height width colours].
 */
export async function decodeSamples(sessions, file, tell = () => {}) {
  const size = [file.height, file.width];
  const part = sessions.model.lossless ? 1 : 0.5;
  const found = await decodeLatents(sessions, file, (share) => tell(part * share));
  const { state, told, prefix } = found;
  if (prefix) return prefix.samples(state, size);
  const samples = await sessions.synthesise(state, size, told, (share) =>
    tell(part + (1 - part) * share),
  );
  enhance(samples, sessions, state, size, told);
  return { samples, colours: 3 };
}
