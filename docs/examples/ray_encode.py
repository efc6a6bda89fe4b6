"""A folder of pictures to a folder of `.codax` files, on all machines of a cluster.

    python ray_encode.py photos coded 60

Both folders must be seen by all machines. Prints a JSON line for each picture, with the
error of each that failed.
"""

import json
import sys
from pathlib import Path

import ray.data

import codax
import codax.ray


def write(rows, folder):
    """Writes the files of a batch of rows; leaves a line for each."""
    names = [Path(path).stem + ".codax" for path in rows["path"]]
    for name, data in zip(names, rows["codax"], strict=True):
        if data:
            (Path(folder) / name).write_bytes(data)
    return {
        "input": list(rows["path"]),
        "bytes": [len(data) for data in rows["codax"]],
        "error": list(rows["codax_error"]),
    }


def main(pictures, folder, quality, model=None, actors=2):
    """Encodes; returns the lines."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    rows = ray.data.read_binary_files(pictures, include_paths=True)
    coded = rows.map_batches(
        codax.ray.Encode,
        fn_constructor_args=[codax.load(model)],
        fn_constructor_kwargs={"quality": quality},
        batch_size=8,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=0.5,
    )
    said = coded.map_batches(write, fn_kwargs={"folder": str(Path(folder).resolve())})
    return said.take_all()


if __name__ == "__main__":
    for line in main(sys.argv[1], sys.argv[2], float(sys.argv[3])):
        sys.stdout.write(json.dumps(line) + "\n")
