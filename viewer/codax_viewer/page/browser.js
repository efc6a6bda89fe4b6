// What a browser must have to decode.

// The smallest module with an instruction of SIMD, which ONNX Runtime needs.
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65,
  0, 253, 15, 253, 98, 11,
);

/** Says what the browser lacks to run networks, and the remedy; "" where it has all. */
export function missingHere() {
  const remedy =
    "take a browser of 2022 or newer, or allow WebAssembly in its settings; " +
    "`codax decode` needs no browser";
  if (typeof WebAssembly !== "object") {
    return `this browser has no WebAssembly, which decoding needs; ${remedy}`;
  }
  if (!WebAssembly.validate(SIMD)) {
    return `this browser's WebAssembly has no SIMD, which decoding needs; ${remedy}`;
  }
  return "";
}
