// Running a model's networks with ONNX Runtime Web: twin of codax/coding/sessions.py
// and evaluating.py.

import { missingHere } from "./browser.js";
import { crc32 } from "./crc.js";
import { ModelError, UnsupportedError } from "./errors.js";
import { CELL, extent, padded, Plane } from "./grids.js";
import { readTensors } from "./safetensors.js";
import { keep, tiles, windowOf } from "./tiles.js";

const PROBE = { side: 8, extent: [7, 6], quality: 100 };
const RUNTIME = "./runtime/ort.wasm.bundle.min.mjs";
const BINARY = "./runtime/ort-wasm-simd-threaded.wasm";
const MOST_THREADS = 4;

let loaded = null;

/** ONNX Runtime, loaded when a network is first needed. */
async function runtime() {
  const missing = missingHere();
  if (missing) throw new UnsupportedError(missing);
  loaded ??= import(RUNTIME).then((ort) => {
    const { wasm } = ort.env;
    wasm.wasmPaths = { wasm: new URL(BINARY, import.meta.url).href };
    // Threads share memory, which a page may only where it is isolated. They wait
    // busily, so that more than half of the processors is a loss.
    const processors = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
    wasm.numThreads = Math.min(Math.ceil(processors / 2), MOST_THREADS);
    ort.env.logLevel = "error";
    return ort;
  });
  return loaded;
}

/** The networks of a model, made when first needed. */
export class Sessions {
  /**
   * @param {object} model of `model.json`, with `order` of `order.json`.
   * @param {Uint8Array} weights the file of the weights, which graphs point into.
   * @param {Uint8Array} graphs the file of the graphs.
   */
  constructor(model, weights, graphs) {
    this.model = model;
    this.order = model.order;
    this.file = weights;
    this.weights = readTensors(weights);
    this.graphs = readTensors(graphs);
    this.made = new Map();
  }

  /** Lets go of what the sessions hold. */
  release() {
    for (const made of this.made.values()) {
      made.then((own) => own.release()).catch(() => {}); // those that never came to be
    }
    this.made.clear();
  }

  async session(name) {
    if (!this.made.has(name)) this.made.set(name, this.load(name));
    return this.made.get(name);
  }

  async load(name) {
    const ort = await runtime();
    const graph = this.graphs.get(name);
    if (!graph) throw new ModelError(`graphs: there is none of '${name}'`);
    const session = await ort.InferenceSession.create(graph.values, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      externalData: [{ path: "weights", data: this.file }],
    });
    const step = this.order.steps.find((own) => own.network === name);
    if (step) await this.probe(step, session);
    return session;
  }

  /** Checks an exact network on its fixed input, as docs/graphs.md says. */
  async probe(step, session) {
    const { arrays, sources } = this.order;
    const inputs = step.reads.map((name) => {
      const side = PROBE.side * arrays[name].stride;
      const plane = new Plane(side, side, arrays[name].channels);
      const sizes = sources[name]?.sizes;
      const least = sizes && Math.min(...sizes.map(([symbols]) => symbols));
      for (let k = 0; k < plane.data.length; k++) {
        const value = (Math.imul(k, 2654435761) + 12345) >>> 22;
        plane.data[k] = least ? value % least : value - 512;
      }
      return plane;
    });
    const outputs = await this.call(
      session,
      inputs.map((plane) => [plane, plane.data]),
      PROBE.extent,
      PROBE.quality,
    );
    let sum = 0;
    for (const { data } of outputs) {
      const whole = Int32Array.from(data);
      sum = crc32(new Uint8Array(whole.buffer), sum);
    }
    if (sum.toString(16).padStart(8, "0") !== this.model.tests[step.name]) {
      throw new UnsupportedError(
        `step ${step.name}: this browser computes whole numbers wrong, so that files ` +
          "would not decode; take another browser, or `codax decode`",
      );
    }
  }

  /**
   * Runs a network on `[plane, window]` pairs.
   *
   * @returns {Promise<{data: ArrayLike<number>, dims: number[]}[]>}
   */
  async call(session, windows, sides, quality, shape = ([plane]) => plane) {
    const ort = await runtime();
    const given = {};
    windows.forEach((own, k) => {
      const { rows, columns } = shape(own);
      const type = own[1] instanceof Int32Array ? "int32" : "float32";
      const dims = [1, rows, columns, own[0].channels];
      given[session.inputNames[k]] = new ort.Tensor(type, own[1], dims);
    });
    given.quality = new ort.Tensor("int32", Int32Array.of(quality), [1]);
    given.extent = new ort.Tensor("int32", Int32Array.from(sides), [2]);
    const found = await session.run(given);
    return session.outputNames.map((name) => found[name]);
  }

  /**
   * Evaluates a network over a picture of any size, tile by tile.
   *
   * @param {string} name of the network.
   * @param {string[]} reads the arrays that it takes.
   * @param {(channels: number) => Plane} output makes what a result goes to.
   * @param {number} stride of the outputs, cells to a cell of 1/16.
   * @returns {Promise<Plane[]>}
   */
  async run(name, state, reads, { output, stride, halo, size, quality, tell, Type }) {
    const session = await this.session(name);
    const grid = extent(...size);
    const every = tiles(grid, halo);
    let found = null;
    for (const [number, tile] of every.entries()) {
      const { row, column } = tile;
      const windows = reads.map((own) => {
        const factor = this.order.arrays[own].stride;
        return [state[own], windowOf(state[own], tile, factor, Type), factor];
      });
      const sides = [row, column].map((span, k) =>
        Math.min(span.size, grid[k] - span.begin),
      );
      const results = await this.call(session, windows, sides, quality, (own) => ({
        rows: row.size * own[2],
        columns: column.size * own[2],
      }));
      found ??= results.map((result) => output(result.dims.at(-1)));
      results.forEach((result, k) => keep(found[k], result.data, tile, stride));
      tell((number + 1) / every.length);
    }
    return found;
  }

  /** The outputs of a step's network, on the target's padded grid. */
  step(step, state, size, quality, tell) {
    const { stride } = this.order.arrays[step.target];
    const [rows, columns] = padded(...size, stride);
    const output = (channels) => new Plane(rows, columns, channels);
    const halo = step.halo ?? 0;
    const rest = { output, stride, halo, size, quality, tell, Type: Float32Array };
    return this.run(step.network, state, step.reads, rest);
  }

  /** The picture of latents, uint8 [height width 3]. */
  async synthesise(state, size, quality, tell) {
    const session = await this.session("synthesis");
    const reads = session.inputNames.filter((name) => name in this.order.arrays);
    const pixels = (channels) =>
      new Plane(...size, channels, new Uint8Array(size[0] * size[1] * channels));
    const [picture] = await this.run("synthesis", state, reads, {
      output: pixels,
      stride: CELL,
      halo: this.model.synthesis_halo,
      size,
      quality,
      tell,
      Type: Int32Array,
    });
    return picture.data;
  }
}
