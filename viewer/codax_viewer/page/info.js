// What a file says of itself: twin of codax/files/info.py and codax/cli/info.py.

import { splitLayers, tagName } from "./container.js";
import { modeOf } from "./pictures.js";

/** A number as Python's `%.{digits}g` writes it. */
export function general(value, digits = 6) {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const short = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power < -4 || power >= digits) {
    const sign = power < 0 ? "-" : "+";
    return `${short(mantissa)}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return short(value.toFixed(Math.max(digits - 1 - power, 0)));
}

/**
 * Describes a file.
 *
 * @param file of `readContainer`.
 * @param {number} bytes of the whole file.
 * @param index of `viewer.json`.
 * @returns {[string, string][]} the rows of `codax info`.
 */
export function infoRows(file, bytes, index) {
  const own = ({ codec_id: id, weights_hash: hash }) =>
    id === file.codecId && hash === file.hash;
  const released = index.released.find(own);
  const name = (index.models.find(own) ?? released)?.name ?? "unknown";
  const release = released ? `codax ${released.release}` : "of no release known here";
  let model = `${name} (codec ${file.codecId}, weights ${file.hash}, ${release})`;
  if (file.stored) model = "stored: samples without loss as WebP, no weights needed";
  const sections = [...file.sections].map(([tag, { length }]) => [tagName(tag), length]);
  const header =
    bytes - file.stream.length - sections.reduce((sum, [, length]) => sum + length, 0);
  const bpp = (bytes * 8) / (file.width * file.height);
  const rows = [
    ["picture", `${file.width}x${file.height} ${modeOf(file)}, ${file.depth} bits`],
    ["model", model],
    ["quality", general(file.quality / 2)],
    ["file", `${bytes} B, ${general(bpp, 4)} bpp`],
    ["stream", `${file.stream.length} B`],
    ["header", `${header} B`],
  ];
  if (file.layered) {
    const sizes = splitLayers(file.stream).streams.map((stream) => stream.length);
    rows.push(["layers", `${sizes.length}: ${sizes.join(" + ")} B`]);
  }
  if (file.trellis) rows.push(["latents", "quantised dependently"]);
  rows.push(...sections.map(([section, length]) => [section, `${length} B`]));
  return rows;
}
