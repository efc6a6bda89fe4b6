// Lossless WebP pictures (RFC 9649) inside `.codax` files: twin of codax/files/webp.py.
//
// Not by the browser's own decoder: what comes out of a canvas was multiplied by alpha.

import { FormatError } from "./errors.js";
import { BitReader, DamagedBits, readPrefixCode } from "./prefix_codes.js";
import { TRANSFORMS } from "./webp_transforms.js";

const SIDE = 16383;
const PIXELS = 2 ** 26;
const HEAD = 25;
const MARK = 20; // bytes before the chunk's first
const ROOTS = 256; // values of a channel
const LENGTHS = 24;
const DISTANCES = 40;
const MOST_CACHE_BITS = 11;
const HASH = 0x1e35a7bd;
// Distance codes up to 120 are pixels near by: rows up, and 8 less the columns left.
const NEAR = `
  18 07 17 19 28 06 27 29 16 1a 26 2a 38 05 37 39 15 1b 36 3a 25 2b 48 04 47 49 14 1c 35
  3b 46 4a 24 2c 58 45 4b 34 3c 03 57 59 13 1d 56 5a 23 2d 44 4c 55 5b 33 3d 68 02 67 69
  12 1e 66 6a 22 2e 54 5c 43 4d 65 6b 32 3e 78 01 77 79 53 5d 11 1f 64 6c 42 4e 76 7a 21
  2f 75 7b 31 3f 63 6d 52 5e 00 74 7c 41 4f 10 20 62 6e 30 73 7d 51 5f 40 72 7e 61 6f 50
  71 7f 60 70`
  .trim()
  .split(/\s+/)
  .map((digits) => parseInt(digits, 16))
  .map((both) => [both >> 4, 8 - (both & 15)]);

const text = (data, from, to) => String.fromCharCode(...data.subarray(from, to));

/**
 * Decodes a file of the simple layout, of an expected size.
 *
 * @returns {{pixels: Uint8Array, alpha: boolean}} [height width 4], R G B A; whether the
 *   file says that alpha is used.
 */
export function decodeWebp(data, height, width) {
  if (Math.max(height, width) > SIDE || height * width > PIXELS) {
    throw new FormatError(
      `${width}x${height} is larger than WebP pictures may be; the file is damaged`,
    );
  }
  if (data.length < HEAD) {
    throw new FormatError(
      `${data.length} bytes are no WebP picture; the file is damaged`,
    );
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const kinds = text(data, 0, 4) + text(data, 8, 16);
  const whole = view.getUint32(4, true) + 8 === data.length;
  if (kinds !== "RIFFWEBPVP8L" || data[MARK] !== 0x2f || !whole) {
    throw new FormatError("no lossless WebP picture; the file is damaged");
  }
  const bits = view.getUint32(MARK + 1, true);
  const sides = [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
  if (sides[0] !== width || sides[1] !== height) {
    throw new FormatError(
      `the WebP picture is ${sides.join("x")}, expected ${width}x${height}; the file ` +
        "is damaged",
    );
  }
  const alpha = Boolean((bits >>> 28) & 1);
  const length = view.getUint32(MARK - 4, true);
  const end = MARK + length + (length & 1); // with the byte that evens chunks out
  try {
    if (bits >>> 29 || end > data.length) throw new DamagedBits();
    const found = decodePicture(data.subarray(MARK + 5, end), height, width);
    return { pixels: toBytes(found, alpha), alpha };
  } catch (error) {
    if (!(error instanceof DamagedBits)) throw error;
    throw new FormatError("the WebP picture is damaged");
  }
}

/** Pixels A R G B as bytes R G B A. */
function toBytes(pixels, alpha) {
  const bytes = new Uint8Array(4 * pixels.length);
  for (let i = 0; i < pixels.length; i++) {
    const pixel = pixels[i];
    bytes[4 * i] = pixel >>> 16;
    bytes[4 * i + 1] = pixel >>> 8;
    bytes[4 * i + 2] = pixel;
    bytes[4 * i + 3] = alpha ? pixel >>> 24 : 255;
  }
  return bytes;
}

/** The pixels, A R G B in a number each. */
function decodePicture(data, height, width) {
  const reader = new BitReader(data);
  const undo = [];
  const seen = new Set();
  let columns = width;
  while (reader.bits(1)) {
    const kind = reader.bits(2);
    if (seen.has(kind)) throw new DamagedBits();
    seen.add(kind);
    const transform = TRANSFORMS[kind](reader, height, columns, decodePixels);
    undo.unshift(transform);
    columns = transform.packed ?? columns;
  }
  let pixels = decodePixels(reader, height, columns, true);
  for (const transform of undo) pixels = transform.undo(pixels);
  return pixels;
}

/** Reads the codes of a group: green with lengths and cache, red, blue, alpha, distance. */
function readGroup(reader, cacheSize) {
  const sizes = [ROOTS + LENGTHS + cacheSize, ROOTS, ROOTS, ROOTS, DISTANCES];
  return sizes.map((size) => readPrefixCode(reader, size));
}

/** A length or a distance of its prefix. */
function readExtra(reader, prefix) {
  if (prefix < 4) return prefix + 1;
  const bits = (prefix - 2) >> 1;
  return (2 + (prefix & 1)) * 2 ** bits + reader.bits(bits) + 1;
}

/** Reads pixels: those of the picture (`main`), or of what a transform needs. */
function decodePixels(reader, height, width, main) {
  const cacheBits = reader.bits(1) ? reader.bits(4) : 0;
  if (cacheBits > MOST_CACHE_BITS) throw new DamagedBits();
  const cache = new Uint32Array(cacheBits ? 2 ** cacheBits : 0);
  const shift = 32 - cacheBits;
  let [groupOf, tiles, tileBits] = [null, 0, 0];
  if (main && reader.bits(1)) {
    tileBits = reader.bits(3) + 2;
    tiles = Math.ceil(width / 2 ** tileBits);
    const rows = Math.ceil(height / 2 ** tileBits);
    const own = decodePixels(reader, rows, tiles, false);
    groupOf = own.map((pixel) => (pixel >>> 8) & 0xffff);
  }
  const last = groupOf ? groupOf.reduce((a, b) => Math.max(a, b), 0) : 0;
  const groups = [];
  for (let k = 0; k <= last; k++) groups.push(readGroup(reader, cache.length));

  const pixels = new Uint32Array(height * width);
  let cached = 0;
  const remember = (to) => {
    for (; cacheBits && cached < to; cached++) {
      const pixel = pixels[cached];
      cache[Math.imul(HASH, pixel) >>> shift] = pixel;
    }
  };
  for (let at = 0; at < pixels.length; ) {
    const [x, y] = [at % width, Math.floor(at / width)];
    const tile = groupOf ? groupOf[(y >> tileBits) * tiles + (x >> tileBits)] : 0;
    const [green, red, blue, alpha, distance] = groups[tile];
    const symbol = green.read(reader);
    if (symbol < ROOTS) {
      const r = red.read(reader);
      const b = blue.read(reader);
      pixels[at++] = (alpha.read(reader) << 24) | (r << 16) | (symbol << 8) | b;
    } else if (symbol < ROOTS + LENGTHS) {
      const length = readExtra(reader, symbol - ROOTS);
      let back = readExtra(reader, distance.read(reader)) - NEAR.length;
      if (back <= 0) {
        const [rows, columns] = NEAR[back + NEAR.length - 1];
        back = Math.max(rows * width + columns, 1);
      }
      if (back > at || at + length > pixels.length) throw new DamagedBits();
      for (let k = 0; k < length; k++, at++) pixels[at] = pixels[at - back];
    } else {
      remember(at);
      pixels[at++] = cache[symbol - ROOTS - LENGTHS];
    }
  }
  return pixels;
}
