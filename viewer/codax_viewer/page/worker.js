// Decodes away from the page, so that it stays alive.

import { readContainer } from "./container.js";
import { describe } from "./errors.js";
import { infoRows } from "./info.js";
import { toPng } from "./png.js";
import { Reader } from "./reader.js";

const reader = new Reader(new URL("./", import.meta.url));
let last = Promise.resolve();

/** Opens a file and says in turn what it is, how far it is, and its picture. */
async function open({ id, data }) {
  const say = (what, transfer = []) => postMessage({ id, ...what }, transfer);
  try {
    const begun = performance.now();
    const file = readContainer(data, Infinity);
    say({ info: infoRows(file, data.length, await reader.index()) });
    const tell = (words, share) => say({ words, share });
    const picture = await reader.decode(data, tell);
    const seconds = (performance.now() - begun) / 1000;
    const { width, height, orientation } = picture;
    say({ png: await toPng(picture), width, height, orientation, seconds });
  } catch (error) {
    say({ error: describe(error) });
  }
}

// One after another: all share the networks.
onmessage = ({ data }) => {
  last = last.then(() => open(data));
};
