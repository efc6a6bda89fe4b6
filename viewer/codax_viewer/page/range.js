// The range coder's decoder: words of 32 bits, a state of 64, probabilities of 24.
// Twin of codax/entropy/coder.py; docs/file-format.md describes it in Python.

import { FormatError } from "./errors.js";

const TOTAL = 2 ** 24;
const WORD = 2 ** 32;
const EXCESS_BITS = 15;
const DAMAGED = "range-coder stream is damaged: a symbol cannot be decoded";

/**
 * Reads symbols from the words of a stream.
 *
 * `point - lower` and `range` have 64 bits, each in two halves of 32 as doubles:
 * BigInt takes ten times as long. A scale (range / 2^24) has 40 bits, which a double
 * holds; products with 24 bits are split.
 */
export class RangeDecoder {
  constructor(stream) {
    if (stream.length % 4) {
      throw new FormatError(
        `range-coder stream of ${stream.length} bytes, expected a multiple of 4`,
      );
    }
    this.view = new DataView(stream.buffer, stream.byteOffset, stream.length);
    this.at = 0;
    this.high = this.word();
    this.low = this.word();
    this.rangeHigh = WORD - 1;
    this.rangeLow = WORD - 1;
  }

  /** The next word; 0 behind the end. */
  word() {
    const at = this.at;
    this.at = at + 4;
    return at < this.view.byteLength ? this.view.getUint32(at, true) : 0;
  }

  /** Whether all words were read, and what is left of the state may be their end. */
  get exhausted() {
    const rest = this.high * WORD + this.low; // exact where it is near the limit
    return this.at >= this.view.byteLength && rest < 2 * WORD - 1;
  }

  /**
   * Decodes a symbol.
   *
   * @param {Uint32Array} ends cumulated frequencies, from 0 to 2^24.
   * @param {number} first of its entries that are the table's.
   * @param {number} count of its symbols.
   */
  symbol(ends, first, count) {
    const scale = this.rangeHigh * 256 + Math.floor(this.rangeLow / TOTAL);
    // A double may be off by one here; what is compared below is exact.
    const guess = Math.floor((this.high * WORD + this.low) / scale);
    let low = 0;
    let high = count;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (ends[first + middle] <= guess) low = middle;
      else high = middle;
    }
    while (!this.advance(scale, ends[first + low], ends[first + low + 1])) {
      low += this.beyond;
      if (low >= count) throw new FormatError(DAMAGED);
    }
    return low;
  }

  /** One of n equally likely numbers; the last also has what is left. */
  uniform(n) {
    const scale = this.rangeHigh * 256 + Math.floor(this.rangeLow / TOTAL);
    const share = Math.floor(TOTAL / n);
    const guess = Math.floor((this.high * WORD + this.low) / scale / share);
    let k = Math.min(guess, n - 1);
    while (!this.advance(scale, share * k, k < n - 1 ? share * (k + 1) : TOTAL)) {
      k += this.beyond;
      if (k >= n) throw new FormatError(DAMAGED);
    }
    return k;
  }

  /**
   * Takes the symbol from `begin` to `end`; false where it is another, which lies in
   * the direction of `beyond`.
   */
  advance(scale, begin, end) {
    const upper = Math.floor(scale / 2 ** 20);
    const lower = scale - upper * 2 ** 20;
    // scale * begin, in halves of 32 bits: upper * begin has 44 bits, 2^20 of each.
    let product = upper * begin;
    let carry = Math.floor(product / 4096);
    let rest = (product - carry * 4096) * 2 ** 20 + lower * begin;
    let over = Math.floor(rest / WORD);
    let low = this.low - (rest - over * WORD);
    let high = this.high - carry - over;
    if (low < 0) {
      low += WORD;
      high -= 1;
    }
    if (high < 0) {
      this.beyond = -1;
      return false;
    }
    product = upper * (end - begin);
    carry = Math.floor(product / 4096);
    rest = (product - carry * 4096) * 2 ** 20 + lower * (end - begin);
    over = Math.floor(rest / WORD);
    const rangeHigh = carry + over;
    const rangeLow = rest - over * WORD;
    if (high > rangeHigh || (high === rangeHigh && low >= rangeLow)) {
      this.beyond = 1;
      return false;
    }
    if (rangeHigh) {
      this.high = high;
      this.low = low;
      this.rangeHigh = rangeHigh;
      this.rangeLow = rangeLow;
    } else {
      this.high = low;
      this.low = this.word();
      this.rangeHigh = rangeLow;
      this.rangeLow = 0;
    }
    return true;
  }
}

/** Integer tables of a step: of each its symbols from `lowest` on, then an escape. */
export class TableSet {
  /** @param {{frequencies: ArrayLike<number>, lowest: number}[]} tables */
  constructor(tables) {
    const size = tables.reduce((sum, t) => sum + t.frequencies.length + 1, 0);
    this.ends = new Uint32Array(size);
    this.first = new Int32Array(tables.length);
    this.count = new Int32Array(tables.length);
    this.lowest = new Int32Array(tables.length);
    let at = 0;
    tables.forEach(({ frequencies, lowest }, k) => {
      this.first[k] = at;
      this.count[k] = frequencies.length - 1;
      this.lowest[k] = lowest;
      for (const frequency of frequencies) {
        this.ends[at + 1] = this.ends[at] + frequency;
        at += 1;
      }
      at += 1;
    });
  }

  /** Tables of symbols around 0, an odd number of each; the escape last. */
  static centred(tables) {
    return new TableSet(
      tables.map((t) => ({ frequencies: t, lowest: -Math.floor((t.length - 2) / 2) })),
    );
  }

  /** Tables of which halves are stored: of 0, 1, ..., and the escape's. */
  static symmetric(halves) {
    return TableSet.centred(
      halves.map((half) => [...half.slice(1, -1).reverse(), ...half]),
    );
  }

  /** Tables whose symbols begin at 0. */
  static counted(tables) {
    return new TableSet(tables.map((t) => ({ frequencies: t, lowest: 0 })));
  }
}

/** Reads steps of symbols from a stream. */
export class SymbolDecoder {
  constructor(stream) {
    this.coder = new RangeDecoder(stream);
  }

  /**
   * Decodes one step: sorted by table, then what escaped.
   *
   * @param {Int32Array} index the table of each symbol.
   * @param {TableSet} tables
   * @returns {Int32Array}
   */
  get(index, tables) {
    const { coder } = this;
    const { ends, first, count, lowest } = tables;
    const starts = new Uint32Array(count.length + 1);
    for (let i = 0; i < index.length; i++) starts[index[i] + 1] += 1;
    for (let k = 0; k < count.length; k++) starts[k + 1] += starts[k];
    const order = new Uint32Array(index.length);
    for (let i = 0; i < index.length; i++) order[starts[index[i]]++] = i;
    const symbols = new Int32Array(index.length);
    const escaped = [];
    for (let k = 0; k < order.length; k++) {
      const i = order[k];
      const table = index[i];
      const place = coder.symbol(ends, first[table], count[table] + 1);
      if (place === count[table]) escaped.push(i);
      symbols[i] = place + lowest[table];
    }
    for (const i of escaped) {
      symbols[i] = this.excess(count[index[i]]) + lowest[index[i]];
    }
    return symbols;
  }

  /** The place of a symbol beyond a table of `size`. */
  excess(size) {
    const below = this.coder.uniform(2);
    const bits = this.coder.uniform(EXCESS_BITS);
    let value = 2 ** bits;
    if (bits) value += this.coder.uniform(2 ** bits);
    return below ? -value : size + value - 1;
  }
}
