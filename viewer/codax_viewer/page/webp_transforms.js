// The transforms of lossless WebP (RFC 9649, section 3.5), by number: each reads what it
// needs and returns what undoes it.

const BLACK = 0xff000000;
const LOW = 0x00ff00ff;
const HIGH = 0xff00ff00;
const LEFT = 1;
const TOP = 2;

/** The sum of two pixels, channel by channel modulo 256. */
const add = (a, b) =>
  ((((a & HIGH) >>> 0) + ((b & HIGH) >>> 0)) & HIGH) | (((a & LOW) + (b & LOW)) & LOW);

/** The mean of two pixels, rounded down. */
const mean = (a, b) => (((a ^ b) & 0xfefefefe) >>> 1) + (a & b);

const clip = (value) => (value < 0 ? 0 : value > 255 ? 255 : value);

/** A pixel whose channels a function gives of those of others, each 0 to 255. */
function each(make, a, b, c) {
  let found = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const own = make((a >>> shift) & 255, (b >>> shift) & 255, (c >>> shift) & 255);
    found |= clip(own) << shift;
  }
  return found;
}

function distance(a, b) {
  let sum = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    sum += Math.abs(((a >>> shift) & 255) - ((b >>> shift) & 255));
  }
  return sum;
}

// Of the pixels to the left, above, above and right, above and left.
const PREDICTORS = [
  () => BLACK,
  (l) => l,
  (l, t) => t,
  (l, t, tr) => tr,
  (l, t, tr, tl) => tl,
  (l, t, tr) => mean(mean(l, tr), t),
  (l, t, tr, tl) => mean(l, tl),
  (l, t) => mean(l, t),
  (l, t, tr, tl) => mean(tl, t),
  (l, t, tr) => mean(t, tr),
  (l, t, tr, tl) => mean(mean(l, tl), mean(t, tr)),
  (l, t, tr, tl) => (distance(t, tl) < distance(l, tl) ? l : t),
  (l, t, tr, tl) => each((a, b, c) => a + b - c, l, t, tl),
  (l, t, tr, tl) =>
    each((a, b) => a + Math.trunc((a - b) / 2), mean(l, t), tl, 0),
  () => BLACK,
  () => BLACK,
];

/** Reads the picture that says something of each tile of another. */
function readTiles(reader, height, width, decode) {
  const bits = reader.bits(3) + 2;
  const columns = Math.ceil(width / 2 ** bits);
  const tiles = decode(reader, Math.ceil(height / 2 ** bits), columns, false);
  return (x, y) => tiles[(y >> bits) * columns + (x >> bits)];
}

function predictor(reader, height, width, decode) {
  const tileAt = readTiles(reader, height, width, decode);
  const undo = (pixels) => {
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        let mode = (tileAt(x, y) >>> 8) & 15;
        if (y === 0) mode = x ? LEFT : 0;
        else if (x === 0) mode = TOP;
        const make = PREDICTORS[mode];
        const [left, top] = [pixels[i - 1], pixels[i - width]];
        const [right, corner] = [pixels[i - width + 1], pixels[i - width - 1]];
        pixels[i] = add(pixels[i], make(left, top, right, corner));
      }
    }
    return pixels;
  };
  return { undo };
}

/** What a channel adds to another, both bytes with a sign. */
const delta = (factor, value) => (((factor << 24) >> 24) * ((value << 24) >> 24)) >> 5;

function crossColour(reader, height, width, decode) {
  const tileAt = readTiles(reader, height, width, decode);
  const undo = (pixels) => {
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const [factors, pixel] = [tileAt(x, y), pixels[i]];
        const green = pixel >>> 8;
        const red = (pixel >>> 16) + delta(factors, green);
        const blue = pixel + delta(factors >>> 8, green) + delta(factors >>> 16, red);
        pixels[i] = (pixel & HIGH) | ((red & 255) << 16) | (blue & 255);
      }
    }
    return pixels;
  };
  return { undo };
}

function subtractGreen() {
  const undo = (pixels) => {
    for (let i = 0; i < pixels.length; i++) {
      const green = (pixels[i] >>> 8) & 255;
      pixels[i] = add(pixels[i], (green << 16) | green);
    }
    return pixels;
  };
  return { undo };
}

function colourIndexing(reader, height, width, decode) {
  const count = reader.bits(8) + 1;
  const colours = decode(reader, 1, count, false);
  for (let k = 1; k < count; k++) colours[k] = add(colours[k], colours[k - 1]);
  const bits = count <= 2 ? 3 : count <= 4 ? 2 : count <= 16 ? 1 : 0;
  const packed = Math.ceil(width / 2 ** bits);
  const [inside, each] = [2 ** bits - 1, 8 >> bits];
  const undo = (pixels) => {
    const found = new Uint32Array(height * width);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const green = (pixels[y * packed + (x >> bits)] >>> 8) & 255;
        const index = (green >> (each * (x & inside))) & (2 ** each - 1);
        found[i] = index < count ? colours[index] : 0;
      }
    }
    return found;
  };
  return { undo, packed };
}

export const TRANSFORMS = [predictor, crossColour, subtractGreen, colourIndexing];
