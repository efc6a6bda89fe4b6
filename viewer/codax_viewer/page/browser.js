// What a browser must have to decode.

// The smallest module with an instruction of SIMD, which ONNX Runtime needs.
const SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65,
  0, 253, 15, 253, 98, 11,
);

/** Says what the browser lacks to decode, and the remedy; "" where it has all. */
export function missingHere() {
  let lacks = "";
  if (typeof WebAssembly !== "object") lacks = "WebAssembly";
  else if (!WebAssembly.validate(SIMD)) lacks = "SIMD in its WebAssembly";
  else if (typeof CompressionStream !== "function") lacks = "CompressionStream";
  if (!lacks) return "";
  return (
    `this browser has no ${lacks}, which decoding needs; take one of 2023 or newer, or ` +
    "allow WebAssembly in its settings; `codax decode` needs no browser"
  );
}
