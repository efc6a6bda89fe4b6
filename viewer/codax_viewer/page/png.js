// Pictures as PNG files (ISO/IEC 15948): every sample as it is, which a canvas does not
// keep beside alpha or with 16 bits.

import { crc32 } from "./crc.js";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 }; // colour type by channels
const INDEXED = 3;
const LATIN = new TextEncoder();

/**
 * Writes a picture.
 *
 * @param picture of `toPicture`, with `width`, `height`, `depth`, `icc`, `exif`, `xmp`.
 * @returns {Promise<Blob>}
 */
export async function toPng(picture) {
  const { width, height, depth, channels, palette } = picture;
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([depth, palette ? INDEXED : TYPES[channels]], 8);
  const parts = [SIGNATURE, ...chunk("IHDR", head)];
  parts.push(...chunk("tEXt", LATIN.encode("Software\0codax")));
  if (picture.icc.length) {
    const name = LATIN.encode("ICC Profile\0\0");
    parts.push(...chunk("iCCP", joined([name, await deflated([picture.icc])])));
  }
  if (palette) {
    const { entry, colours } = palette;
    const each = (k) => colours.filter((_, i) => i % entry === k);
    parts.push(...chunk("PLTE", colours.filter((_, i) => i % entry < 3)));
    if (entry === 4) parts.push(...chunk("tRNS", each(3)));
  }
  if (picture.exif.length) parts.push(...chunk("eXIf", picture.exif));
  if (picture.xmp.length) {
    const key = LATIN.encode("XML:com.adobe.xmp\0\0\0\0\0");
    parts.push(...chunk("iTXt", joined([key, picture.xmp])));
  }
  parts.push(...chunk("IDAT", await deflated(rows(picture))));
  parts.push(...chunk("IEND", new Uint8Array(0)));
  return new Blob(parts, { type: "image/png" });
}

function joined(parts) {
  const found = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    found.set(part, at);
    at += part.length;
  }
  return found;
}

function chunk(name, data) {
  const head = new Uint8Array(8);
  const view = new DataView(head.buffer);
  view.setUint32(0, data.length);
  head.set(LATIN.encode(name), 4);
  const tail = new Uint8Array(4);
  new DataView(tail.buffer).setUint32(0, crc32(data, crc32(head.subarray(4))));
  return [head, data, tail];
}

async function deflated(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The rows, each behind the number of its filter: that with the least residuals. */
function rows({ data, width, height, channels, depth, palette }) {
  const bytes = depth / 8;
  const size = width * channels * bytes;
  const source = bytes === 2 ? bigEndian(data) : data;
  const found = new Uint8Array(height * (size + 1));
  const pixel = channels * bytes;
  const none = new Uint8Array(size);
  const tried = [new Uint8Array(size), new Uint8Array(size), new Uint8Array(size)];
  for (let y = 0; y < height; y++) {
    const row = source.subarray(y * size, (y + 1) * size);
    const above = y ? source.subarray((y - 1) * size, y * size) : none;
    if (palette) {
      found.set(row, y * (size + 1) + 1);
      continue;
    }
    const sums = [0, 0, 0];
    for (let i = 0; i < size; i++) {
      const a = i < pixel ? 0 : row[i - pixel];
      const b = above[i];
      const c = i < pixel ? 0 : above[i - pixel];
      const value = row[i];
      for (let k = 0; k < 3; k++) {
        const near = k === 0 ? a : k === 1 ? b : paeth(a, b, c);
        const rest = (value - near) & 255;
        tried[k][i] = rest;
        sums[k] += rest < 128 ? rest : 256 - rest;
      }
    }
    const best = sums.indexOf(Math.min(...sums));
    found[y * (size + 1)] = [1, 2, 4][best]; // Sub, Up, Paeth
    found.set(tried[best], y * (size + 1) + 1);
  }
  return [found];
}

function paeth(a, b, c) {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

function bigEndian(values) {
  const bytes = new Uint8Array(2 * values.length);
  for (let i = 0; i < values.length; i++) {
    bytes[2 * i] = values[i] >> 8;
    bytes[2 * i + 1] = values[i];
  }
  return bytes;
}
