// The enhancement layer: twin of codax/coding/enhancement.py.

import { CELL, extent } from "./grids.js";
import { floats } from "./safetensors.js";

const BLOCK = 3 * CELL * CELL;

/**
 * Adds what is coded of the error to a picture; does nothing without the layer.
 *
 * @param {Uint8Array} samples [height width 3], changed.
 */
export function enhance(samples, { weights }, state, [height, width], told) {
  if (!weights.has("g_e/klt")) return;
  const { e, flag } = state;
  // A row of the matrix for each pixel of a block, a column for each coefficient.
  let matrix = null;
  const step = floats(weights.get("g_e/step"))[told] / 16;
  const [rows, columns] = extent(height, width);
  const block = new Float32Array(BLOCK);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (!flag.data[y * flag.columns + x]) continue;
      matrix ??= transposed(floats(weights.get("g_e/klt")));
      block.fill(0);
      const base = (y * e.columns + x) * BLOCK;
      for (let k = 0; k < BLOCK; k++) {
        const value = e.data[base + k] * step;
        if (!value) continue;
        const own = matrix.subarray(k * BLOCK, (k + 1) * BLOCK);
        for (let i = 0; i < BLOCK; i++) block[i] += value * own[i];
      }
      add(samples, block, y * CELL, x * CELL, height, width);
    }
  }
}

/** Adds a block to the picture, rounded and clipped. */
function add(samples, block, top, left, height, width) {
  for (let i = 0; i < Math.min(CELL, height - top); i++) {
    const row = ((top + i) * width + left) * 3;
    const count = Math.min(CELL, width - left) * 3;
    for (let k = 0; k < count; k++) {
      const value = samples[row + k] + block[i * CELL * 3 + k];
      samples[row + k] = Math.min(Math.max(Math.round(value), 0), 255);
    }
  }
}

function transposed(matrix) {
  const found = new Float32Array(matrix.length);
  for (let i = 0; i < BLOCK; i++) {
    for (let k = 0; k < BLOCK; k++) found[k * BLOCK + i] = matrix[i * BLOCK + k];
  }
  return found;
}
