// The `.codax` file: reading its bytes. Twin of codax/files/container.py, whose words
// the messages are; docs/file-format.md holds the byte tables.

import { crc32 } from "./crc.js";
import { FormatError, UnsupportedError } from "./errors.js";

export const MAX_PIXELS = 2 ** 27;
export const TAG = {
  icc: 0x01,
  exif: 0x02,
  xmp: 0x03,
  orientation: 0x04,
  mode: 0x05,
  palette: 0x06,
  "latent checksum": 0x07,
  alpha: 0x81,
};
export const GREY = 0;
export const RGB = 1;

const SIGNATURE = [0x8d, 0x43, 0x44, 0x58];
const VERSION = 1;
const MAX_QUALITY = 200;
const STORED_ID = 9;
const STORED_HASH = "000000000000";
const MAX_SECTIONS = 32;
const MAX_METADATA = 2 ** 25;
const SECTIONS = 1;
const LAYERED = 2;
const TRELLIS = 4;

/** Bytes as hexadecimal digits. */
export const hex = (bytes, between = "") =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(between);

const digits = (value, count) => value.toString(16).padStart(count, "0");

/** Names a tag for people: `icc`, `alpha`, or `unknown 0x2a`. */
export function tagName(tag) {
  const known = Object.entries(TAG).find(([, own]) => own === tag);
  return known ? known[0] : `unknown 0x${digits(tag, 2)}`;
}

/** Says whether a reader that does not know a tag must refuse the file. */
export const isMandatory = (tag) => (tag & 0x80) !== 0;

/** Walks over bytes and says what is missing when they end. */
class Cursor {
  constructor(data, at) {
    this.data = data;
    this.at = at;
  }

  get left() {
    return this.data.length - this.at;
  }

  take(count, what) {
    if (count > this.left) {
      throw new FormatError(
        `${what} truncated: ${this.left} of ${count} bytes; the file is damaged`,
      );
    }
    this.at += count;
    return this.data.subarray(this.at - count, this.at);
  }

  byte(what) {
    return this.take(1, what)[0];
  }

  varint(what) {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte(what);
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) {
        if (byte === 0 && shift) break;
        return value;
      }
    }
    throw new FormatError(`${what} is no valid varint; the file is damaged`);
  }
}

/**
 * Reads a file: structure, checksum, then the meaning of its fields.
 *
 * @param {Uint8Array} data the whole file.
 * @param {number} maxPixels largest width times height that is accepted.
 * @returns the fields of `Container` of codax/files/container.py; `hash` as digits,
 *   `sections` a Map of bytes by tag.
 */
export function readContainer(data, maxPixels = MAX_PIXELS) {
  if (!SIGNATURE.every((byte, i) => data[i] === byte)) {
    if (!data.length) throw new FormatError("the file is empty; expected a codax file");
    throw new FormatError(
      `not a codax file: it begins with ${hex(data.subarray(0, 4), " ")}, ` +
        `expected ${hex(SIGNATURE, " ")}`,
    );
  }
  const cursor = new Cursor(data, 4);
  const version = cursor.byte("version");
  if (version !== VERSION) {
    throw new UnsupportedError(
      `file format version ${version}; this codax reads version ${VERSION}; ` +
        "a newer codax may read it, or the file is damaged",
    );
  }
  const flags = cursor.byte("flags");
  const codecId = cursor.byte("codec id");
  const hash = hex(cursor.take(6, "weights hash"));
  const width = cursor.varint("width");
  const height = cursor.varint("height");
  const samples = cursor.byte("sample format");
  const quality = cursor.byte("quality");
  const stream = cursor.take(cursor.varint("stream length"), "stream");
  const sections = flags & SECTIONS ? readSections(cursor) : new Map();
  const checksum = cursor.take(4, "checksum");
  if (cursor.left) {
    throw new FormatError(
      `${cursor.left} bytes after the end of the file; the file is damaged`,
    );
  }
  checkChecksum(data, checksum);
  if (flags & ~(SECTIONS | LAYERED | TRELLIS)) {
    throw new UnsupportedError(
      `unknown flags 0x${digits(flags, 2)}; a newer codax is needed`,
    );
  }
  if (samples >> 4 > RGB) {
    throw new UnsupportedError(
      `unknown colour model ${samples >> 4}; a newer codax is needed`,
    );
  }
  const layered = Boolean(flags & LAYERED);
  if (layered) splitLayers(stream);
  const file = {
    codecId,
    hash,
    width,
    height,
    quality,
    stream,
    layered,
    trellis: Boolean(flags & TRELLIS),
    colour: samples >> 4,
    depth: (samples & 15) + 1,
    sections,
    stored: codecId === STORED_ID && hash === STORED_HASH,
  };
  checkFields(file, maxPixels);
  return file;
}

/** Takes the joined streams of a file that can be cut apart. */
export function splitLayers(stream) {
  const cursor = new Cursor(stream, 0);
  const count = cursor.byte("number of layers");
  const streams = [];
  while (cursor.left) {
    const length = cursor.varint("layer length");
    streams.push(cursor.take(length, `layer ${streams.length + 1}`));
  }
  if (streams.length < 1 || streams.length > count) {
    throw new FormatError(
      `${streams.length} layers, expected 1 to ${count}; the file is damaged`,
    );
  }
  return { streams, count };
}

function readSections(cursor) {
  const count = cursor.byte("number of sections");
  if (count < 1 || count > MAX_SECTIONS) {
    throw new FormatError(
      `${count} sections; expected 1 to ${MAX_SECTIONS}; the file is damaged`,
    );
  }
  const sections = new Map();
  for (let k = 0; k < count; k++) {
    const tag = cursor.byte("section tag");
    const what = `section ${tagName(tag)}`;
    if (sections.has(tag)) {
      throw new FormatError(`${what} appears twice; the file is damaged`);
    }
    const length = cursor.varint(`${what} length`);
    if (tag !== TAG.alpha && length > MAX_METADATA) {
      throw new UnsupportedError(
        `${what} takes ${length} bytes; files hold ${MAX_METADATA} at most; to write a ` +
          "file, leave it out with --metadata none",
      );
    }
    sections.set(tag, cursor.take(length, what));
  }
  return sections;
}

function checkChecksum(data, stored) {
  const actual = crc32(data.subarray(0, data.length - 4));
  const expected = new DataView(stored.buffer, stored.byteOffset).getUint32(0, true);
  if (actual !== expected) {
    throw new FormatError(
      `checksum is ${digits(actual, 8)}, the file states ${digits(expected, 8)}; ` +
        "the file is damaged",
    );
  }
}

function checkFields(file, maxPixels) {
  const { width, height, quality, depth } = file;
  if (Math.min(width, height) < 1) {
    throw new FormatError(`size ${width}x${height}; both sides must be at least 1`);
  }
  if (width * height > maxPixels) {
    throw new UnsupportedError(
      `size ${width}x${height} is ${BigInt(width) * BigInt(height)} pixels; the limit ` +
        `is ${maxPixels}; raise it with --max-pixels N if you trust the file`,
    );
  }
  if (quality > MAX_QUALITY) {
    throw new FormatError(
      `quality ${quality} half steps; expected 0 to ${MAX_QUALITY}`,
    );
  }
  if (depth !== 8 && !(depth === 16 && file.colour === GREY)) {
    throw new UnsupportedError(
      `${depth} bits a sample; this codax handles 8, and 16 of grey`,
    );
  }
  for (const tag of file.sections.keys()) {
    if (isMandatory(tag) && tag !== TAG.alpha) {
      throw new UnsupportedError(
        `section ${tagName(tag)} must be understood to decode this file; ` +
          "a newer codax is needed",
      );
    }
  }
}
