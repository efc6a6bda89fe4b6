// Sizes of a picture's arrays, and the symbols of a step: twin of codax/coding/order.py
// and masks.py.

export const CELL = 16;

/** Rows and columns of a picture's own cells on a grid, `stride` to a cell of 1/16. */
export const extent = (height, width, stride = 1) => [
  Math.ceil((height * stride) / CELL),
  Math.ceil((width * stride) / CELL),
];

/** Rows and columns of an array whose grid at 1/64 has no part of a cell. */
export const padded = (height, width, stride) =>
  extent(height, width).map((side) => Math.ceil(side / 4) * 4 * stride);

/** An array of the state: exact integers [rows columns channels] as float32. */
export class Plane {
  constructor(rows, columns, channels, data) {
    Object.assign(this, { rows, columns, channels });
    this.data = data ?? new Float32Array(rows * columns * channels);
  }

  /** The part on the picture's own grid, int32. */
  own(rows, columns) {
    const row = columns * this.channels;
    const found = new Int32Array(rows * row);
    for (let y = 0; y < rows; y++) {
      const at = y * this.columns * this.channels;
      found.set(this.data.subarray(at, at + row), y * row);
    }
    return found;
  }
}

/** The channels of each place of a 2x2 cell that a step codes. */
export function placesOf(step, channels) {
  const all = Array.from({ length: channels }, (_, k) => k);
  if (!step.mask) return [all, all, all, all];
  return step.mask.map((runs) => runs.flatMap(([from, to]) => all.slice(from, to)));
}

/**
 * Where a step codes.
 *
 * @returns {{at: Int32Array, place: Uint8Array}} positions of the target's padded grid
 *   in the order (row, column), and the place of each in its 2x2 cell.
 */
export function positions(places, target, rows, columns, within) {
  const at = [];
  const place = [];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const own = (y & 1) * 2 + (x & 1);
      const position = y * target.columns + x;
      if (!places[own].length) continue;
      if (within && !within.data[position * within.channels]) continue;
      at.push(position);
      place.push(own);
    }
  }
  return { at: Int32Array.from(at), place: Uint8Array.from(place) };
}
