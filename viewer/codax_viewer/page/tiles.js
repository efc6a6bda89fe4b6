// Tiles for pictures of any size: twin of codax/coding/tiles.py.

const LARGEST = 64;

/** Cuts a side of cells of 1/16 into tiles: begin, size, and what is kept of each. */
export function spans(side, halo) {
  if (side <= LARGEST) {
    return [{ begin: 0, size: Math.ceil(side / 4) * 4, low: 0, high: side }];
  }
  let best = null;
  for (let size = LARGEST; size >= Math.max(2 * halo + 4, LARGEST / 2); size -= 4) {
    const tiles = cut(side, halo, size);
    if (!best || tiles.length * size < best.length * best[0].size) best = tiles;
  }
  return best;
}

function cut(side, halo, size) {
  const tiles = [];
  for (let begin = 0; ; begin += size - 2 * halo) {
    const low = begin === 0 ? 0 : begin + halo;
    if (begin + size >= side) return [...tiles, { begin, size, low, high: side }];
    tiles.push({ begin, size, low, high: begin + size - halo });
  }
}

/** The rows and columns of each tile of a grid. */
export function tiles([rows, columns], halo) {
  const across = spans(columns, halo);
  return spans(rows, halo).flatMap((row) => across.map((column) => ({ row, column })));
}

/** The part of a plane under a tile, zero beyond the plane's end, as `Type`. */
export function windowOf(plane, { row, column }, stride, Type) {
  const { columns, channels, data } = plane;
  const [top, left] = [row.begin * stride, column.begin * stride];
  const [height, width] = [row.size * stride, column.size * stride];
  if (!top && !left && height === plane.rows && width === columns) {
    return Type === Float32Array ? data : Type.from(data);
  }
  const found = new Type(height * width * channels);
  const wide = Math.min(width, columns - left) * channels;
  for (let y = 0; y < Math.min(height, plane.rows - top); y++) {
    const at = ((top + y) * columns + left) * channels;
    found.set(data.subarray(at, at + wide), y * width * channels);
  }
  return found;
}

/** Copies the kept part of a tile's result into the whole. */
export function keep(whole, result, { row, column }, stride) {
  const { channels } = whole;
  const height = Math.min(Math.ceil(row.high * stride), whole.rows);
  const left = Math.floor(column.low * stride);
  const right = Math.min(Math.ceil(column.high * stride), whole.columns);
  const width = column.size * stride;
  for (let y = Math.floor(row.low * stride); y < height; y++) {
    const from = (y - row.begin * stride) * width + left - column.begin * stride;
    const part = result.subarray(
      from * channels,
      (from + right - left) * channels,
    );
    whole.data.set(part, (y * whole.columns + left) * channels);
  }
}
