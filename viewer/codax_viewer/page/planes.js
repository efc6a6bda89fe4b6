// Alpha without loss: twin of codax/files/planes.py and codax/entropy/bytes_coder.py.

import { FormatError } from "./errors.js";
import { RangeDecoder } from "./range.js";
import { decodeWebp } from "./webp.js";

const TOTAL = 2 ** 24;
const WEBP = 4;
const ENTRY = 3;

/** Decodes a plane of `height` rows, uint8. */
export function decodePlane(data, height, width) {
  if (!data.length || data[0] > WEBP) {
    throw new FormatError("plane has no known predictor; the file is damaged");
  }
  const [predictor] = data;
  const rest = data.subarray(1);
  if (predictor === WEBP) {
    const { pixels } = decodeWebp(rest, height, width);
    return Uint8Array.from({ length: height * width }, (_, i) => pixels[4 * i + 1]);
  }
  const plane = decodeBytes(rest, height * width);
  if (predictor & 1) {
    for (let i = 0; i < plane.length; i++) if (i % width) plane[i] += plane[i - 1];
  }
  if (predictor & 2) {
    for (let i = width; i < plane.length; i++) plane[i] += plane[i - width];
  }
  return plane;
}

/** Decodes bytes that were coded with a table of their own. */
export function decodeBytes(data, count) {
  if (!data.length) {
    throw new FormatError(`coded bytes are empty; expected ${count} values`);
  }
  const entries = data[0] + 1;
  const end = 1 + entries * ENTRY;
  if (data.length < end || (data.length - end) % 4) {
    throw new FormatError(
      `coded bytes have ${data.length} bytes; expected a table of ${end} and words of ` +
        "4; the file is damaged",
    );
  }
  const values = new Uint8Array(entries);
  const frequencies = new Float64Array(entries);
  for (let i = 0; i < entries; i++) {
    const at = 1 + ENTRY * i;
    values[i] = data[at];
    frequencies[i] = data[at + 1] + 256 * data[at + 2] + 1;
    if (i && values[i] <= values[i - 1]) {
      throw new FormatError("table of coded bytes is out of order; the file is damaged");
    }
  }
  const out = new Uint8Array(count);
  if (entries === 1) {
    if (data.length > end) {
      throw new FormatError("coded bytes are longer than their one value needs");
    }
    return out.fill(values[0]);
  }
  const ends = cumulated(frequencies);
  const coder = new RangeDecoder(data.subarray(end));
  try {
    for (let i = 0; i < count; i++) out[i] = values[coder.symbol(ends, 0, entries)];
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError("coded bytes do not decode; the file is damaged");
  }
  if (!coder.exhausted) {
    throw new FormatError(`coded bytes go on after ${count} values`);
  }
  return out;
}

/** Frequencies spread over 2^24, cumulated. */
function cumulated(frequencies) {
  const n = frequencies.length;
  const sum = frequencies.reduce((a, b) => a + b, 0);
  // Products have 16 + 24 bits, which a double holds.
  const weights = frequencies.map((f) => Math.floor((f * (TOTAL - n)) / sum));
  const largest = frequencies.indexOf(Math.max(...frequencies));
  weights[largest] += TOTAL - n - weights.reduce((a, b) => a + b, 0);
  const ends = new Uint32Array(n + 1);
  weights.forEach((weight, i) => (ends[i + 1] = ends[i] + weight + 1));
  return ends;
}
