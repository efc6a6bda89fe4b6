"""A cluster of two on this machine: nothing is lost, nothing twice.

Of `tools/test --ray`, which has Ray, PyArrow and Hugging Face's `datasets`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
import ray.data
from PIL import Image
from small_codecs import synthetic
from test_extras_datasets import png

import codax.ray
from codax.errors import ConfigError, ImageError
from codax.evaluation.named import named_codecs
from codax.evaluation.sweep import read_rows, sweep
from codax.face.loading import load
from codax.files.scripts import run_file

ROOT = Path(__file__).parents[1]
COUNT, BROKEN, FATAL = 24, 7, 13
MODEL = "factorized-tiny"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two cores, whatever this machine has."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 << 20,
        log_to_driver=False,
        configure_logging=False,
    )
    # Workers do not see this folder; of a program they would see all.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def codec():
    return load(MODEL)


def photo(number):
    return synthetic(24 + 8 * (number % 3), 40, number)


class Mortal(codax.ray.Encode):
    """Its process is killed once, before it hands over the picture that is fatal."""

    def __init__(self, codec, killed, **options):
        super().__init__(codec, **options)
        self._killed = Path(killed)

    def __call__(self, rows):
        done = super().__call__(rows)
        if FATAL in rows["id"] and not self._killed.exists():
            self._killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return {**done, "pid": [os.getpid()] * len(rows["id"])}


def test_an_actor_that_is_killed_loses_nothing(codec, tmp_path):
    items = [{"id": n, "bytes": png(photo(n))} for n in range(COUNT)]
    items[BROKEN]["bytes"] = items[BROKEN]["bytes"][:50]
    rows = (
        ray.data.from_items(items, override_num_blocks=COUNT // 2)
        .map_batches(
            Mortal,
            fn_constructor_args=[codec, str(tmp_path / "killed")],
            fn_constructor_kwargs={"quality": 60},
            batch_size=2,
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=1,
        )
        .take_all()
    )
    killed = int((tmp_path / "killed").read_text())
    assert sorted(row["id"] for row in rows) == list(range(COUNT))
    assert len({row["pid"] for row in rows} - {killed}) == 2
    for row in rows:
        if row["id"] == BROKEN:
            assert row["codax"] == b""
            assert row["codax_error"]
        else:
            assert row["codax"] == codec.encode(photo(row["id"]), 60)
            assert row["codax_error"] == ""


def test_columns_are_decoded(codec):
    files = codec.encode_many([photo(n) for n in range(5)], 60)
    files[2] = files[2][:-4]
    rows = (
        ray.data.from_items([{"id": n, "codax": f} for n, f in enumerate(files)])
        .map_batches(
            codax.ray.Decode,
            fn_constructor_args=[codec],
            batch_size=3,
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=1,
        )
        .take_all()
    )
    for row in rows:
        if row["id"] == 2:
            assert "truncated" in row["image_error"]
        else:
            assert row["image_error"] == ""
            wanted = np.asarray(codec.decode(files[row["id"]]))
            assert np.array_equal(row["image"], wanted)
    assert len(rows) == 5


def test_the_example(codec, tmp_path):
    (tmp_path / "photos").mkdir()
    for n in range(4):
        (tmp_path / f"photos/{n}.png").write_bytes(png(photo(n)))
    (tmp_path / "photos/bad.png").write_bytes(b"no picture")
    example = run_file(ROOT / "docs/examples/ray_encode.py", "ray_example")
    ray.cloudpickle.register_pickle_by_value(example)  # As if it were the program.
    lines = example.main(tmp_path / "photos", tmp_path / "coded", 60, MODEL)
    failed = [line for line in lines if line["error"]]
    assert [Path(line["input"]).name for line in failed] == ["bad.png"]
    assert len(lines) == 5
    assert json.dumps(lines)
    coded = {path.name: path.read_bytes() for path in (tmp_path / "coded").iterdir()}
    assert coded == {f"{n}.codax": codec.encode(photo(n), 60) for n in range(4)}


def measured(rows):
    """Rows without what differs by machine and run."""
    own = ("encode_s", "decode_s", "commit", "machine")
    return sorted(
        json.dumps({k: v for k, v in row.items() if k not in own}) for row in rows
    )


def test_evaluation_gives_the_rows_of_one_machine(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(3):
        Image.fromarray(photo(n)).save(folder / f"{n}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    names = ["jpeg", MODEL]
    found = codax.ray.evaluate(
        folder, names, tmp_path / "out", qualities=(30, 70), metrics=["psnr"]
    )
    alone = sweep(
        folder,
        named_codecs(names),
        tmp_path / "alone.jsonl",
        qualities={load(MODEL).name: (30, 70)},
        metrics=["psnr"],
    )
    assert measured(found.rows) == measured(alone.rows)
    assert measured(read_rows(tmp_path / "out/rows.jsonl")) == measured(alone.rows)
    assert found.unreadable.keys() == alone.unreadable.keys() == {"bad.png"}
    assert found.measured == len(alone.rows)
    # What is there is not measured again.
    rows = (tmp_path / "out/rows.jsonl").read_text().splitlines(keepends=True)
    # The last line is one that was being written.
    (tmp_path / "out/rows.jsonl").write_text("".join(rows[:-3]) + rows[-1][:40])
    again = codax.ray.evaluate(
        folder, names, tmp_path / "out", qualities=(30, 70), metrics=["psnr"]
    )
    assert again.measured == 3
    assert measured(again.rows) == measured(alone.rows)
    # Rows of other settings are told, not mixed.
    other = "".join(rows).replace('"codax": "', '"codax": "0.')
    (tmp_path / "out/rows.jsonl").write_text(other)
    with pytest.raises(ConfigError, match=f"{load(MODEL).name} has other settings"):
        codax.ray.evaluate(folder, [MODEL], tmp_path / "out", qualities=(30, 70))
    with pytest.raises(ConfigError, match=r"did you mean|other codecs"):
        codax.ray.evaluate(folder, ["nothing"], tmp_path / "out")
    with pytest.raises(ImageError, match="not a folder"):
        codax.ray.evaluate(tmp_path / "absent", names, tmp_path / "out")


def test_hugging_face_s_data_sets_decode_in_forked_workers(codec):
    """Pictures of one column, as they are asked for, and in workers."""
    datasets = pytest.importorskip("datasets", reason="datasets is missing")
    from codax.datasets import Decode

    files = codec.encode_many([photo(n) for n in range(4)], 60)
    wanted = [np.asarray(codec.decode(data)) for data in files]
    plain = datasets.Dataset.from_dict({"codax": files, "id": list(range(4))})
    seen = plain.with_transform(Decode(codec))
    assert np.array_equal(seen[1]["image"], wanted[1])
    mapped = plain.map(
        Decode(codec), batched=True, batch_size=2, num_proc=2, remove_columns=["codax"]
    )
    for row, own in zip(mapped, wanted, strict=True):
        assert np.array_equal(np.array(row["image"], np.uint8), own)
        assert row["image_error"] == ""
    # Their own type of pictures reads files by Pillow.
    import codax.pillow  # noqa: F401

    images = [{"bytes": data, "path": None} for data in files]
    own = datasets.Dataset.from_dict({"image": images})
    own = own.cast_column("image", datasets.Image())
    assert np.array_equal(own[3]["image"], wanted[3])
