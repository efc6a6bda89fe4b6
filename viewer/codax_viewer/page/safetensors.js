// Safetensors files: a header of JSON, then the arrays.

import { ModelError } from "./errors.js";

const TYPES = {
  F32: Float32Array,
  F16: Uint16Array, // its bits, see `floats`
  I32: Int32Array,
  I16: Int16Array,
  U32: Uint32Array,
  U8: Uint8Array,
};

/**
 * Takes a file apart; nothing is copied where alignment allows.
 *
 * @param {Uint8Array} data
 * @returns {Map<string, {type: string, shape: number[], values: ArrayLike<number>}>}
 */
export function readTensors(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const begin = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(data.subarray(8, begin)));
  const found = new Map();
  for (const [name, { dtype, shape, data_offsets: ends }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const Type = TYPES[dtype];
    if (!Type) throw new ModelError(`weights: ${name} is of the unknown type ${dtype}`);
    let at = data.byteOffset + begin + ends[0];
    let { buffer } = data;
    if (at % Type.BYTES_PER_ELEMENT) {
      buffer = buffer.slice(at, at + ends[1] - ends[0]);
      at = 0;
    }
    const length = (ends[1] - ends[0]) / Type.BYTES_PER_ELEMENT;
    found.set(name, { type: dtype, shape, values: new Type(buffer, at, length) });
  }
  return found;
}

/** The values of an array as float32, those of float16 too. */
export function floats({ type, values }) {
  return type === "F16" ? Float32Array.from(values, half) : Float32Array.from(values);
}

/** The number of the bits of a float16. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
