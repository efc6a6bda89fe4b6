// Samples to a picture in its mode: twin of codax/files/pictures.py and of the parts of
// codax/face/decoding.py about what stands beside the samples.

import { GREY, TAG, hex } from "./container.js";
import { FormatError } from "./errors.js";

const COLOURS = 256; // of a palette
const CONVERTED = ["P", "YCbCr", "HSV", "CMYK", "LAB"];
const NONE = new Uint8Array(0);

const ascii = (bytes) =>
  String.fromCharCode(...Array.from(bytes, (byte) => (byte < 128 ? byte : 0xfffd)));

/** Names the mode of the decoded picture, as Pillow does; checks nothing. */
export function modeOf({ sections, colour, depth }) {
  if (sections.has(TAG.mode)) return ascii(sections.get(TAG.mode));
  if (depth === 16) return "I;16";
  return (colour === GREY ? "L" : "RGB") + (sections.has(TAG.alpha) ? "A" : "");
}

/** All that a file says of its picture beside samples and alpha; decodes nothing. */
export function readBeside(file) {
  const { sections } = file;
  const grey = file.colour === GREY;
  const has = (tag) => sections.has(tag);
  if (file.depth === 16 && (has(TAG.alpha) || has(TAG.mode) || has(TAG.palette))) {
    throw new FormatError("alpha or mode beside 16 bits a sample; unknown here");
  }
  let mode = grey ? "L" : "RGB";
  if (file.depth === 16) mode = "I;16";
  if (has(TAG.alpha)) mode = grey ? "LA" : "RGBA";
  if (has(TAG.mode)) {
    mode = modeOf(file);
    const allowed = grey ? ["1"] : CONVERTED;
    if (!allowed.includes(mode) || (has(TAG.alpha) && mode !== "P")) {
      throw new FormatError(`picture mode '${mode}' does not fit the coded samples`);
    }
  }
  const turned = sections.get(TAG.orientation) ?? Uint8Array.of(1);
  if (turned.length !== 1 || turned[0] < 1 || turned[0] > 8) {
    throw new FormatError(
      `orientation is ${hex(turned.subarray(0, 4))}; expected 01 to 08`,
    );
  }
  const exif = sections.get(TAG.exif) ?? NONE;
  return {
    mode,
    grey,
    palette: mode === "P" && !file.stored ? paletteOf(sections) : null,
    icc: sections.get(TAG.icc) ?? NONE,
    exif,
    xmp: sections.get(TAG.xmp) ?? NONE,
    orientation: exif.length ? exifOrientation(exif) : turned[0],
  };
}

/** The palette of coded samples: R G B, or R G B A beside alpha. */
function paletteOf(sections) {
  const entry = sections.has(TAG.alpha) ? 4 : 3;
  const colours = sections.get(TAG.palette) ?? NONE;
  const { length } = colours;
  if (length % entry || length < entry || length > COLOURS * entry) {
    throw new FormatError(
      `palette has ${length} bytes; expected 1 to 256 times ${entry}`,
    );
  }
  return { entry, colours };
}

/** The orientation in the first directory of EXIF; 1 where there is none. */
function exifOrientation(exif) {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    const at = view.getUint32(4, little);
    for (let k = 0; k < view.getUint16(at, little); k++) {
      const entry = at + 2 + 12 * k;
      if (view.getUint16(entry, little) !== 0x0112) continue;
      const value = view.getUint16(entry + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}

/** The colours of R G B A pixels in rising order, as a palette. */
export function usedPalette(pixels, entry) {
  const seen = new Set();
  for (let i = 0; i < pixels.length; i += 4) {
    const [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]];
    const alpha = entry === 4 ? pixels[i + 3] : 0;
    seen.add(((r * 256 + g) * 256 + b) * 256 + alpha);
    if (seen.size > COLOURS) {
      throw new FormatError(
        `a stored picture of mode P has more than ${COLOURS} colours; the file is damaged`,
      );
    }
  }
  const rising = [...seen].sort((a, b) => a - b);
  const colours = Uint8Array.from(
    rising.flatMap((c) =>
      [c / 2 ** 24, c / 2 ** 16, c / 2 ** 8, c].slice(0, entry).map((v) => v & 255),
    ),
  );
  return { entry, colours };
}

/** The luma of R G B, as Pillow computes it. */
const luma = (r, g, b) => (19595 * r + 38470 * g + 7471 * b + 32768) >> 16;

/**
 * Puts a picture together in its mode.
 *
 * @param beside of `readBeside`, with the palette of a stored picture.
 * @param samples [pixels colours], uint8 or of grey uint16.
 * @param {Uint8Array|null} alpha
 * @returns {{data, channels, palette}} as a PNG holds it: `data` [pixels channels];
 *   with a palette numbers of its colours. Modes beyond stay R G B.
 */
export function toPicture(beside, { samples, colours }, alpha) {
  const { mode, palette, grey } = beside;
  const count = samples.length / colours;
  if (mode === "P") {
    return { data: nearest(samples, alpha, palette), channels: 1, palette };
  }
  let data = samples;
  let channels = colours;
  if (grey && colours === 3) {
    channels = 1;
    data = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      data[i] = luma(samples[3 * i], samples[3 * i + 1], samples[3 * i + 2]);
    }
  }
  if (mode === "1") data = data.map((level) => (level >= 128 ? 255 : 0));
  if (!alpha) return { data, channels, palette: null };
  const both = new Uint8Array(count * (channels + 1));
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < channels; c++) {
      both[i * (channels + 1) + c] = data[i * channels + c];
    }
    both[i * (channels + 1) + channels] = alpha[i];
  }
  return { data: both, channels: channels + 1, palette: null };
}

/** Numbers of the nearest palette colours, of a pixel's own alpha if there are any. */
function nearest(samples, alpha, { entry, colours }) {
  const count = samples.length / 3;
  const found = new Uint8Array(count);
  const known = new Map();
  for (let i = 0; i < count; i++) {
    const [r, g, b] = samples.subarray(3 * i, 3 * i + 3);
    const own = alpha && entry === 4 ? alpha[i] : -1;
    const key = (((own + 1) * 256 + r) * 256 + g) * 256 + b;
    let index = known.get(key);
    if (index === undefined) {
      let least = Infinity;
      for (let k = 0; k * entry < colours.length; k++) {
        const at = k * entry;
        const other = own >= 0 && colours[at + 3] !== own ? 2 ** 20 : 0;
        const squared =
          (colours[at] - r) ** 2 + (colours[at + 1] - g) ** 2 + (colours[at + 2] - b) ** 2;
        if (squared + other < least) [least, index] = [squared + other, k];
      }
      known.set(key, index);
    }
    found[i] = index;
  }
  return found;
}
