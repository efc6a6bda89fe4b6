// Integer sub-bands without loss, back to samples: twin of codax/coding/reversible.py
// and of the 5/3 wavelet in codax/transforms/wavelet.py.

import { FormatError } from "./errors.js";
import { extent, padded, Plane } from "./grids.js";

const MOST_SHIFT = 15;
const DEPTHS = { 1: [8, 16], 3: [8] };

const roundUp = (size) => Math.ceil(size / 4) * 4;

/** What stands in a stream before the range coder's words. */
export class Prefix {
  static read(stream, [height, width], order) {
    const levels =
      Object.keys(order.sources).filter((name) => name.startsWith("luma")).length - 1;
    if (stream.length < 4) {
      throw new FormatError(`stream of ${stream.length} bytes, expected at least 4`);
    }
    const [colours, depth] = stream;
    if (!DEPTHS[colours]?.includes(depth)) {
      throw new FormatError(
        `stream holds ${colours} colours of ${depth} bits, expected 1 or 3 of 8, or 1 ` +
          "of 16; the file is damaged",
      );
    }
    const found = new Prefix();
    Object.assign(found, { colours, depth, levels, shifts: {}, low: {} });
    const names = depth > 8 ? ["luma_low"] : [];
    for (let level = levels; depth > 8 && level > 0; level--) names.push(`luma${level}`);
    let at = roundUp(2 + names.length);
    names.forEach((name, k) => (found.shifts[name] = stream[2 + k]));
    if (stream.length < at || Object.values(found.shifts).some((k) => k > MOST_SHIFT)) {
      throw new FormatError("stream holds no shifts of 0 to 15; the file is damaged");
    }
    const counts = names.map((name) => {
      const { channels, stride } = order.arrays[name];
      const [rows, columns] = extent(height, width, stride);
      return rows * columns * channels;
    });
    const total = names.reduce((sum, name, i) => sum + found.shifts[name] * counts[i], 0);
    const end = at + roundUp(Math.ceil(total / 8));
    if (stream.length < end) {
      throw new FormatError(
        `low bits truncated: ${stream.length - at} of ${end - at} bytes; the file is ` +
          "damaged",
      );
    }
    let bit = at * 8;
    names.forEach((name, i) => {
      found.low[name] = new Int32Array(counts[i]).map(() => {
        let value = 0;
        for (let k = 0; k < found.shifts[name]; k++, bit++) {
          value = (value << 1) | ((stream[bit >> 3] >> (7 - (bit & 7))) & 1);
        }
        return value;
      });
    });
    found.rest = stream.subarray(end);
    return found;
  }

  /** Whether the picture has an array: a grey one has no chroma. */
  has(name) {
    return this.colours === 3 || name.startsWith("luma");
  }

  /** How many low bits of an array's values are not in the state; joins feed levels. */
  shift(name) {
    return this.shifts[name] ?? this.shifts[name.replace("luma_at", "luma")] ?? 0;
  }

  /** The picture: samples [height width colours] of the latents of a state. */
  samples(state, size) {
    const groups = this.colours === 3 ? ["luma", "chroma"] : ["luma"];
    const [luma, chroma] = groups.map((group) => {
      let low = this.band(state, `${group}_low`, size, 2 ** -this.levels);
      for (let level = this.levels; level > 0; level--) {
        const details = this.band(state, `${group}${level}`, size, 2 ** -level);
        const sides = size.map((side) => Math.ceil(side / 2 ** (level - 1)));
        low = joinLevel(low, details, sides);
      }
      return low.data;
    });
    const middle = 2 ** (this.depth - 1);
    const Type = this.depth === 8 ? Uint8Array : Uint16Array;
    const samples = new Type(luma.length * this.colours);
    const largest = 2 ** this.depth - 1;
    const put = (at, value) => {
      if (value < 0 || value > largest) {
        throw new FormatError("samples out of range; the file is damaged");
      }
      samples[at] = value;
    };
    for (let i = 0; i < luma.length; i++) {
      const y = (luma[i] + middle) | 0;
      if (!chroma) {
        put(i, y);
        continue;
      }
      const [co, cg] = [chroma[2 * i], chroma[2 * i + 1]];
      const rest = (y - (cg >> 1)) | 0;
      const blue = (rest - (co >> 1)) | 0;
      put(3 * i, (blue + co) | 0);
      put(3 * i + 1, (cg + rest) | 0);
      put(3 * i + 2, blue);
    }
    return { samples, colours: this.colours, depth: this.depth };
  }

  /** Whole coefficients of an array on the picture's own grid. */
  band(state, name, size, scale) {
    const [rows, columns] = size.map((side) => Math.ceil(side * scale));
    const data = state[name].own(rows, columns);
    const low = this.low[name];
    if (low) data.forEach((v, i) => (data[i] = (v << this.shifts[name]) | low[i]));
    return new Plane(rows, columns, state[name].channels, data);
  }
}

/** A step of whole arrays: the low band that a level completes, its edge repeated. */
export function joinWhole(order, step, state, size, prefix) {
  const own = step.reads.map((name) => {
    const [rows, columns] = extent(...size, order.arrays[name].stride);
    const data = state[name].own(rows, columns);
    return new Plane(rows, columns, state[name].channels, data);
  });
  const { stride } = order.arrays[step.target];
  const sides = extent(...size, stride);
  const value = own.length > 1 ? joinLevel(own[0], own[1], sides) : own[0];
  const more = prefix.shift(step.reads[0]) - prefix.shift(step.target);
  const { channels, columns, data } = value;
  const found = new Plane(...padded(...size, stride), channels);
  for (let y = 0; y < found.rows; y++) {
    for (let x = 0; x < found.columns; x++) {
      const from = Math.min(y, sides[0] - 1) * columns + Math.min(x, sides[1] - 1);
      for (let c = 0; c < channels; c++) {
        const own = data[from * channels + c];
        const at = (y * found.columns + x) * channels + c;
        found.data[at] = more > 0 ? own << more : own >> -more;
      }
    }
  }
  return found;
}

/** The low band of the next finer level, of `sides`: rows first, then columns. */
function joinLevel(low, details, [rows, columns]) {
  const c = low.channels;
  const found = new Plane(rows, columns, c, new Int32Array(rows * columns * c));
  const [halfRows, halfColumns] = [rows, columns].map((side) => Math.ceil(side / 2));
  const line = new Int32Array(Math.max(rows, columns));
  // The bands of each half, across: low and lh on the left, hl and hh on the right.
  const upper = (x) =>
    x < halfColumns
      ? (y, k) => low.data[(y * halfColumns + x) * c + k]
      : (y, k) => details.data[(y * halfColumns + x - halfColumns) * 3 * c + c + k];
  const lower = (x) =>
    x < halfColumns
      ? (y, k) => details.data[(y * halfColumns + x) * 3 * c + k]
      : (y, k) => details.data[(y * halfColumns + x - halfColumns) * 3 * c + 2 * c + k];
  for (let x = 0; x < columns; x++) {
    const [above, below] = [upper(x), lower(x)];
    for (let k = 0; k < c; k++) {
      for (let y = 0; y < halfRows; y++) line[2 * y] = above(y, k);
      for (let y = 0; y < rows >> 1; y++) line[2 * y + 1] = below(y, k);
      lift(line, rows);
      for (let y = 0; y < rows; y++) found.data[(y * columns + x) * c + k] = line[y];
    }
  }
  for (let y = 0; y < rows; y++) {
    for (let k = 0; k < c; k++) {
      const at = (x) => (y * columns + x) * c + k;
      for (let x = 0; x < halfColumns; x++) line[2 * x] = found.data[at(x)];
      for (let x = 0; x < columns >> 1; x++) {
        line[2 * x + 1] = found.data[at(halfColumns + x)];
      }
      lift(line, columns);
      for (let x = 0; x < columns; x++) found.data[at(x)] = line[x];
    }
  }
  return found;
}

/** Undoes the 5/3 wavelet of a line whose even samples are low and odd ones high. */
function lift(line, side) {
  if (side === 1) return;
  const last = side - 1;
  for (let i = 0; i <= last; i += 2) {
    const before = line[i ? i - 1 : 1];
    const after = line[i < last ? i + 1 : i - 1];
    line[i] -= (before + after + 2) >> 2;
  }
  for (let i = 1; i <= last; i += 2) {
    line[i] += (line[i - 1] + line[i < last ? i + 1 : i - 1]) >> 1;
  }
}
