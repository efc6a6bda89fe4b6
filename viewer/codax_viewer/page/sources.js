// Sources: how the symbols of a step choose tables, and what is kept of them. Twin of
// codax/entropy/sources.py and trellis.py.

import { FormatError, ModelError } from "./errors.js";
import { TableSet } from "./range.js";

const LATENT_LIMIT = 32767;
const STEP_LIMIT = 2047;
const GRID_LIMIT = 16383;
const FRACTIONS = 8;
const ANCHORS = 14;
const ANCHOR_SPACING = 16;
const SCALES = 64;
const BEST = 200;

const clip = (value, low, high) => Math.min(Math.max(value, low), high);

/** The tables that weights store under a name, frequencies of each. */
export function storedTables(weights, name) {
  const flat = weights.get(`tables/${name}/frequencies`)?.values;
  const lengths = weights.get(`tables/${name}/lengths`)?.values;
  if (!flat || !lengths) {
    throw new ModelError(`weights: the tables of ${name} are missing`);
  }
  let at = 0;
  return Array.from(lengths, (length) => {
    at += length;
    return flat.subarray(at - length, at);
  });
}

/**
 * By `kind`: `tables` loads a TableSet (of a quality), `index` gives the table of each
 * symbol, `kept` what stays of a symbol. `heads` are int32, a value for each symbol;
 * `k` is a symbol's number, `width` the symbols of a position.
 */
export const SOURCES = {
  static: {
    tables(weights, source, quality) {
      const parts = storedTables(weights, source.tables);
      const size = parts.length / ANCHORS;
      const anchor = Math.floor((quality + ANCHOR_SPACING / 2) / ANCHOR_SPACING);
      return TableSet.centred(parts.slice(anchor * size, (anchor + 1) * size));
    },
    index: (heads, k, width) => k % width,
    kept: (symbol, heads, k, source) =>
      clip(symbol * source.unit, -LATENT_LIMIT, LATENT_LIMIT),
  },
  residual: {
    tables: (weights) => TableSet.symmetric(storedTables(weights, "scales")),
    index: (heads, k) => heads[1][k],
    kept: (symbol, heads, k) =>
      clip(16 * symbol + heads[0][k], -LATENT_LIMIT, LATENT_LIMIT),
  },
  scale: {
    tables: (weights) => TableSet.symmetric(storedTables(weights, "scales")),
    index: (heads, k) => heads[0][k],
    kept: (symbol) => clip(symbol, -STEP_LIMIT, STEP_LIMIT),
  },
  binary: {
    tables: (weights) => TableSet.counted(storedTables(weights, "binary")),
    index: (heads, k) => heads[0][k],
    kept: (symbol) => clip(symbol, 0, 1),
  },
  grid: {
    tables: (weights) => TableSet.centred(storedTables(weights, "grid")),
    index: gridIndex,
    kept: gridKept,
  },
  digits: {
    tables: (weights) => TableSet.centred(storedTables(weights, "grid")),
    index: gridIndex,
    kept: (symbol, heads, k) =>
      16 * clip(gridKept(symbol, heads, k), -heads[2][k], heads[2][k]),
  },
  index: {
    tables: (weights) => TableSet.counted(storedTables(weights, "bank")),
    index: (heads, k) => (heads.length ? heads[0][k] : 0),
    kept: (symbol, heads, k, source, tables) =>
      clip(symbol, 0, tables.count[heads.length ? heads[0][k] : 0] - 1),
  },
  rank: {
    tables: (weights) => TableSet.counted(storedTables(weights, "bank")),
    index: () => 0,
    kept: (symbol) => clip(symbol, 0, 2),
  },
};

function gridIndex(heads, k) {
  return heads[1][k] * FRACTIONS + (heads[0][k] & (FRACTIONS - 1));
}

function gridKept(symbol, heads, k) {
  return clip(symbol + (heads[0][k] >> 3), -GRID_LIMIT, GRID_LIMIT);
}

/** How a kind of source is decoded. */
export function sourceOf(source) {
  const found = SOURCES[source.kind];
  if (!found) throw new ModelError(`order: source ${source.kind} is unknown here`);
  return found;
}

const NEXT = Uint8Array.of(0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5);

/** Dependent quantisation: its tables, and how a file's quality is told to networks. */
export class Trellis {
  constructor(weights, name) {
    const settings = weights.get("tables/trellis/settings")?.values;
    if (!settings) {
      throw new FormatError(
        `latents are quantised dependently, but ${name} has no tables for that; the ` +
          "file is damaged",
      );
    }
    [this.step, this.start, this.shift] = settings;
    this.tables = TableSet.symmetric(storedTables(weights, "trellis"));
  }

  /** The quality that networks are told. */
  told(quality) {
    const rest = BEST - this.start;
    if (quality < this.start || !rest) return quality;
    return quality + Math.floor((this.shift * (BEST - quality)) / rest);
  }

  /** What is kept of a step's symbols, int32 in the order (position, channel). */
  decode(coder, heads, width) {
    const [means, scales] = heads;
    const count = scales.length / width;
    const states = new Uint8Array(count);
    const index = new Int32Array(count);
    const kept = new Int32Array(scales.length);
    for (let channel = 0; channel < width; channel++) {
      for (let i = 0; i < count; i++) {
        index[i] = scales[i * width + channel] + SCALES * (states[i] & 1);
      }
      const symbols = coder.get(index, this.tables);
      for (let i = 0; i < count; i++) {
        const [k, state] = [symbols[i], states[i]];
        const at = i * width + channel;
        const point = 2 * k - (state & 1) * Math.sign(k);
        kept[at] = clip(point * this.step + means[at], -LATENT_LIMIT, LATENT_LIMIT);
        states[i] = NEXT[2 * state + (k & 1)];
      }
    }
    return kept;
  }
}
