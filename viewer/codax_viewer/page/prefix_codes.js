// Bits and prefix codes of lossless WebP (RFC 9649, section 3.7).

const LONGEST = 15;
const QUICK = 8; // bits of codes that a table decodes in one step
const LENGTH_ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
// Codes of 16 and more repeat a length: bits of the count, and its least.
const REPEATS = { 16: [2, 3], 17: [3, 3], 18: [7, 11] };

/** Bytes that are no such picture. */
export class DamagedBits extends Error {}

/** Reads bits, the lowest of a byte first. */
export class BitReader {
  constructor(data) {
    this.data = data;
    this.at = 0; // in bits
  }

  bits(count) {
    let value = 0;
    for (let done = 0; done < count; ) {
      const take = Math.min(8 - (this.at & 7), count - done);
      const byte = this.data[this.at >>> 3] ?? this.end();
      value |= ((byte >> (this.at & 7)) & ((1 << take) - 1)) << done;
      this.at += take;
      done += take;
    }
    return value;
  }

  /** The next eight bits without taking them, zeros behind the end. */
  peek() {
    const at = this.at >>> 3;
    const two = (this.data[at] ?? 0) | ((this.data[at + 1] ?? 0) << 8);
    return (two >> (this.at & 7)) & 255;
  }

  end() {
    throw new DamagedBits();
  }
}

/** A canonical prefix code. */
class PrefixCode {
  /** @param {Uint8Array} lengths of the code of each symbol; 0 for none. */
  constructor(lengths) {
    this.counts = new Int32Array(LONGEST + 1);
    for (const length of lengths) this.counts[length] += 1;
    this.counts[0] = 0;
    const starts = new Int32Array(LONGEST + 2);
    let open = 1;
    for (let length = 1; length <= LONGEST; length++) {
      starts[length + 1] = starts[length] + this.counts[length];
      open = 2 * open - this.counts[length];
      if (open < 0) throw new DamagedBits();
    }
    const total = starts[LONGEST + 1];
    this.symbols = new Int32Array(total);
    lengths.forEach((length, symbol) => {
      if (length) this.symbols[starts[length]++] = symbol;
    });
    // The code of a single symbol takes no bits; any other must be complete.
    this.single = total === 1 ? this.symbols[0] : -1;
    if (total !== 1 && open) throw new DamagedBits();
    this.quick = new Int32Array(1 << QUICK).fill(-1);
    if (total > 1) this.fill();
  }

  /** Fills the table of short codes: symbol and length, by the bits as they come. */
  fill() {
    let [code, at] = [0, 0];
    for (let length = 1; length <= QUICK; length++) {
      for (let k = 0; k < this.counts[length]; k++, code++, at++) {
        let bits = 0;
        for (let i = 0; i < length; i++) bits |= ((code >> i) & 1) << (length - 1 - i);
        for (let rest = bits; rest < 1 << QUICK; rest += 1 << length) {
          this.quick[rest] = (this.symbols[at] << 4) | length;
        }
      }
      code <<= 1;
    }
  }

  /** Reads a symbol. */
  read(reader) {
    if (this.single >= 0) return this.single;
    const found = this.quick[reader.peek()];
    if (found >= 0) {
      reader.at += found & 15;
      if (reader.at > 8 * reader.data.length) reader.end();
      return found >> 4;
    }
    let [code, first, at] = [0, 0, 0];
    for (let length = 1; length <= LONGEST; length++) {
      code |= reader.bits(1);
      const count = this.counts[length];
      if (code - first < count) return this.symbols[at + code - first];
      at += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new DamagedBits();
  }
}

/** Reads the code of an alphabet of `size` symbols. */
export function readPrefixCode(reader, size) {
  const lengths = new Uint8Array(size);
  if (reader.bits(1)) {
    const two = reader.bits(1);
    const symbols = [reader.bits(reader.bits(1) ? 8 : 1)];
    if (two) symbols.push(reader.bits(8));
    // Of a damaged file they may be beyond the alphabet: such are none.
    for (const symbol of symbols) lengths[symbol] = 1;
    return new PrefixCode(lengths);
  }
  const own = new Uint8Array(LENGTH_ORDER.length);
  const count = 4 + reader.bits(4);
  for (let i = 0; i < count; i++) own[LENGTH_ORDER[i]] = reader.bits(3);
  let left = size;
  const code = new PrefixCode(own);
  if (reader.bits(1)) {
    left = 2 + reader.bits(2 + 2 * reader.bits(3));
    if (left > size) throw new DamagedBits();
  }
  let before = 8;
  for (let at = 0; at < size && left > 0; left--) {
    const length = code.read(reader);
    if (length < 16) {
      lengths[at++] = length;
      if (length) before = length;
      continue;
    }
    const [bits, least] = REPEATS[length];
    const repeat = least + reader.bits(bits);
    if (at + repeat > size) throw new DamagedBits();
    lengths.fill(length === 16 ? before : 0, at, at + repeat);
    at += repeat;
  }
  return new PrefixCode(lengths);
}
