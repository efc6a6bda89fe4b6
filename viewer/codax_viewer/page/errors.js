// What goes wrong, in one line each, in the words of codax/errors.py and of its rooms.

/** Base of what the viewer says to people; all else is a fault of the viewer. */
export class CodaxError extends Error {}

/** Bytes that are not a valid file: damaged, truncated or of another kind. */
export class FormatError extends CodaxError {}

/** A valid file that this version, or this browser, does not handle. */
export class UnsupportedError extends CodaxError {}

/** Weights that are missing or do not fit. */
export class ModelError extends CodaxError {}

const NAMES = { 9: "\\t", 10: "\\n", 13: "\\r" };

/** A text without control characters, which are escaped as Python does. */
const oneLine = (text) =>
  text.replace(/[\x00-\x1f\x7f-\x9f]/g, (own) => {
    const code = own.charCodeAt(0);
    return NAMES[code] ?? `\\x${code.toString(16).padStart(2, "0")}`;
  });

/** Puts an error into one line for people. */
export function describe(error) {
  if (error instanceof CodaxError) return oneLine(error.message);
  if (error instanceof RangeError && /alloc|length|memory/i.test(error.message)) {
    return "out of memory; the picture is too large for this browser";
  }
  const words = String(error?.message ?? error).replace(/\s+/g, " ");
  return `unexpected ${error?.name ?? "error"}: ${words}`;
}
