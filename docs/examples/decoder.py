"""A decoder of `.codax` files of ONNX Runtime, NumPy and constriction alone.

    python decoder.py CHECKPOINT IN.codax OUT.ppm

Reads colour pictures of every family with a synthesis network. Sections, stored and
grey pictures, the lossless family, enhancement layers and most checks are left out.
"""

import json
import lzma
import sys
from pathlib import Path

import constriction
import numpy as np
import onnxruntime

MODELS = constriction.stream.model
LIMIT = 32767
TYPES = dict(F32="<f4", F16="<f2", I32="<i4", I16="<i2", U32="<u4", U8="u1")
NEXT = np.array([(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)])
STORED = dict(residual="scales", digits="grid", grid="grid", index="bank", rank="bank")


def read_tensors(path):
    """The arrays of a safetensors file, packed by xz or not, and its metadata."""
    data = path.read_bytes()
    data = lzma.decompress(data) if path.suffix == ".xz" else data
    begin = 8 + int.from_bytes(data[:8], "little")
    header, arrays = json.loads(data[8:begin]), {}
    facts = header.pop("__metadata__", {})
    for name, entry in header.items():
        first, last = (begin + place for place in entry["data_offsets"])
        flat = np.frombuffer(data[first:last], TYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"])
    return arrays, facts


def read_file(data):
    """What the header says that decoding needs, and the streams."""
    place = 13

    def varint():
        nonlocal place
        value = shift = 0
        while data[place] & 128:
            value |= (data[place] & 127) << shift
            shift, place = shift + 7, place + 1
        place += 1
        return value | data[place - 1] << shift

    if data[:5] != b"\x8dCDX\1":
        raise ValueError("no codax file of version 1")
    width, height = varint(), varint()
    quality, place = data[place + 1], place + 2
    end = varint() + place
    if data[5] & 2:  # a stream for each layer, each with its length
        place, streams = place + 1, []
        while place < end:
            size = varint()
            streams.append(data[place : place + size])
            place += size
    else:
        streams = [data[place:end]]
    return data[7:13].hex(), height, width, quality, bool(data[5] & 4), streams


class Tables:
    """Integer tables: of each its symbols from `lowest` on, then an escape."""

    def __init__(self, arrays, name, first=0):
        flat = arrays[f"tables/{name}/frequencies"].astype(np.int64)
        ends = np.cumsum(arrays[f"tables/{name}/lengths"])[:-1]
        tables = np.split(flat, ends)[first:]
        if name in ("scales", "trellis"):  # halves, of 0, 1, ..., and the escape
            tables = [np.concatenate([t[1:-1][::-1], t]) for t in tables]
        self.count = np.array([t.size - 1 for t in tables])
        self.lowest = -((self.count - 1) // 2) * (name != "bank")
        weights = [(t - 1).astype(np.float64) for t in tables]
        self.models = [MODELS.Categorical(w, perfect=False) for w in weights]

    def decode(self, coder, index):
        """The symbols of tables int[n]: sorted by table, then what escaped."""
        order = np.argsort(index, kind="stable")
        found, start = np.empty(index.size, np.int32), 0
        for table, n in enumerate(np.bincount(index).tolist()):
            if n:
                found[start : start + n] = coder.decode(self.models[table], n)
                start += n
        size = self.count[index[order]]
        for place in np.flatnonzero(found == size):
            below, bits = (int(coder.decode(MODELS.Uniform(n), 1)[0]) for n in (2, 15))
            value = 1 << bits
            if bits:
                value += int(coder.decode(MODELS.Uniform(1 << bits), 1)[0])
            found[place] = -value if below else size[place] + value - 1
        symbols = np.empty_like(found)
        symbols[order] = found + self.lowest[index[order]]
        return symbols


class Networks:
    """The graphs of a checkpoint with its weights."""

    def __init__(self, folder, weights):
        self.graphs, facts = read_tensors(folder / "graphs.safetensors.xz")
        if "synthesis" not in self.graphs:
            raise ValueError("codecs without a synthesis are left out here")
        self.wanted, self.weights = json.loads(facts["weights"]), weights

    def run(self, name, arrays, quality, extent):
        """The outputs of a network by name."""
        options = onnxruntime.SessionOptions()
        make = onnxruntime.OrtValue.ortvalue_from_numpy
        values = [make(self.weights[path]) for path in self.wanted[name]]
        options.add_external_initializers(self.wanted[name], values)
        graph = self.graphs[name].tobytes()
        session = onnxruntime.InferenceSession(graph, options)
        given = {"quality": np.array([quality]), "extent": np.array(extent)}
        for value in session.get_inputs():
            kind = np.int32 if "int32" in value.type else np.float32
            given[value.name] = (given | arrays)[value.name].astype(kind)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, given), strict=True))


def decode_step(source, tables, trellis, coder, heads, shape):
    """What a step's symbols leave in the state, integers[positions channels]."""
    kind, unit = source["kind"], source.get("unit", 1)
    if kind == "static":
        index = np.broadcast_to(np.arange(shape[1]), shape)
        symbols = tables.decode(coder, index.ravel()).reshape(shape)
        return np.clip(symbols * unit, -LIMIT, LIMIT)
    if kind == "residual" and trellis:
        (own, step), state, parts = trellis, np.zeros(shape[0], int), []
        for scale in heads[1].T:
            q = state % 2
            k = own.decode(coder, 64 * q + scale)
            parts.append(step * (2 * k - q * np.sign(k)))
            state = NEXT[state, k % 2]
        return np.clip(np.stack(parts, 1) + heads[0], -LIMIT, LIMIT)
    if kind == "residual":
        symbols = 16 * tables.decode(coder, heads[1].ravel()).reshape(shape)
        return np.clip(symbols + heads[0], -LIMIT, LIMIT)
    if kind in ("digits", "grid"):
        mean, scale, largest = (*heads, 16383)[:3]
        index = (8 * scale + mean % 8).ravel()
        symbols = tables.decode(coder, index).reshape(shape) + mean // 8
        return (16 if kind == "digits" else 1) * np.clip(symbols, -largest, largest)
    if kind in ("index", "rank"):  # the heads of ranks are for encoders
        own = heads and kind == "index"
        index = (heads[0] if own else np.zeros(shape, int)).ravel()
        symbols = tables.decode(coder, index)
        return np.clip(symbols, 0, tables.count[index] - 1).reshape(shape)
    raise ValueError(f"sources of the kind {kind!r} are left out here")


def decode(folder, data):
    """The picture of a file, uint8[H W 3], and its latents by name, int32[h w C]."""
    wanted, height, width, quality, dependent, streams = read_file(data)
    if json.loads((folder / "card.json").read_text())["weights_hash"] != wanted:
        raise ValueError(f"the file wants the weights {wanted}")
    path = folder / "weights.safetensors.xz"
    weights, _ = read_tensors(path if path.exists() else path.with_suffix(""))
    networks, trellis = Networks(folder, weights), None
    if dependent:
        step, start, shift, _ = map(int, weights["tables/trellis/settings"])
        trellis = Tables(weights, "trellis"), step
        if start <= quality and start < 200:
            quality += shift * (200 - quality) // (200 - start)
    order = json.loads((folder / "order.json").read_text())
    if any(step.get("stage") for step in order["steps"]):
        raise ValueError("enhancement layers are left out here")
    extent = [-(-side // 16) for side in (height, width)]
    tables, grids, state = {}, {}, {}
    for name, source in order["sources"].items():
        channels, stride = (order["arrays"][name][k] for k in ("channels", "stride"))
        static = source["kind"] == "static"  # of 14 sets that of the quality
        first = (quality + 8) // 16 * channels if static else 0
        tables[name] = Tables(weights, STORED.get(source["kind"], name), first)
        grids[name] = [int(-(-side * stride // 16)) for side in (height, width)]
        padded = [int(-(-side // 4) * 4 * stride) for side in extent]
        state[name] = np.zeros((1, *padded, channels), np.int32)
    words = [np.frombuffer(stream, "<u4").astype(np.uint32) for stream in streams]
    coders = [constriction.stream.queue.RangeDecoder(own) for own in words]
    for step in order["steps"]:
        target, layer, heads = step["target"], step.get("layer", 0), []
        if layer >= len(coders):
            break
        if step["network"]:
            found = networks.run(step["network"], state, quality, extent)
            heads = [found[name].astype(np.int32) for name in sorted(found)]
        if not step.get("coded", True):
            state[target] = heads[0]
            continue
        rows, columns = grids[target]
        masks = step.get("mask", [[[0, order["arrays"][target]["channels"]]]] * 4)
        places = [[c for run in mask for c in range(*run)] for mask in masks]
        where = np.zeros((rows, columns), bool)
        parts = [(slice(k // 2, rows, 2), slice(k % 2, columns, 2)) for k in range(4)]
        for own, part in zip(places, parts, strict=True):
            where[part] = bool(own)
        if "within" in step:
            where &= state[step["within"]][0, :rows, :columns, 0] != 0
        values = np.zeros((rows, columns, max(map(len, places))), np.int32)
        own_heads = [head[0, :rows, :columns][where] for head in heads]
        tools = order["sources"][target], tables[target], trellis, coders[layer]
        values[where] = decode_step(*tools, own_heads, values[where].shape)
        for own, part in zip(places, parts, strict=True):
            state[target][(0, *part)][..., own] = values[part][..., : len(own)]
    picture = networks.run("synthesis", state, quality, extent)["rgb"]
    latents = {n: state[n][0, : g[0], : g[1]] for n, g in grids.items()}
    return picture[0, :height, :width], latents


if __name__ == "__main__":
    folder, source, target = map(Path, sys.argv[1:])
    picture, _ = decode(folder, source.read_bytes())
    head = f"P6 {picture.shape[1]} {picture.shape[0]} 255\n".encode()
    target.write_bytes(head + picture.tobytes())
