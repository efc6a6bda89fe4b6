"""`codax train`, `codax export` and `codax plot`; the training itself is replaced."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image
from small_codecs import synthetic

from codax.cli import main
from codax.errors import ConfigError
from codax.train import loop
from codax.train.config import read_run
from codax.train.folder import clear
from codax.train.hosts import Hosts
from codax.train.loop import Stopped
from codax.train.state import load_state


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with pictures and a configuration, and no traces outside it."""
    for i in range(3):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(synthetic(70, 80, i)).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "mine.py").write_text(
        "from codax.train.config import TrainConfig\n"
        "config = TrainConfig(codec='factorized', preset='mine', held_out=1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.delenv("CODAX_DATA", raising=False)
    monkeypatch.setattr("codax.cli.runtime.prepare_jax", lambda device="auto": None)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """What `train` was called with; it writes a trunk and may be stopped."""
    calls = []

    def train(config, run, resident, **options):
        calls.append({"config": config, "resident": resident, **options})
        if "refuse" in config.notes:
            raise ConfigError("refused")
        run.mkdir(exist_ok=True)
        if options["replace"]:
            clear(run)
        options["begin"]()
        (run / "config.json").write_text(config.to_json())
        options["say"]("trunk 1 loss 1")
        np.savez(run / "trunk.npz", **{"ema/x": np.ones(3), "step": np.int32(7)})
        if "stop" in config.notes:
            raise Stopped(signal.SIGTERM)
        np.savez(run / "weights.npz", **{"ema/x": np.ones(3)})
        return run / "weights.npz"

    monkeypatch.setattr(loop, "train", train)
    return calls


TRAIN = ["train", "mine.py", "--data", "photos", "-o", "run"]


def test_train_and_go_on(place, trained, capsys):
    words = [*TRAIN, "--minutes", "1.5", "--set", "batch=4", "--seed", "9"]
    assert main(words) == 0
    first = trained[0]
    assert (first["minutes"], first["steps"], first["resume"]) == (1.5, None, False)
    assert (first["config"].batch, first["config"].seed) == (4, 9)
    assert first["initial"] is None
    error = capsys.readouterr().err
    assert "skipped" in error
    assert "broken.jpg" in error
    assert "weights.npz written" in error
    assert main(["train", "--resume", "-o", "run", "--steps", "20"]) == 0
    second = trained[1]
    assert second["config"] == first["config"]
    assert second["resume"]
    commands = (place / "run" / "commands.txt").read_text().splitlines()
    assert commands == [
        "codax train mine.py --set batch=4 --data photos --minutes 1.5 --seed 9 -o run",
        "codax train --steps 20 --resume -o run",
    ]


def test_changes_on_resuming_are_said(place, trained, capsys):
    assert main([*TRAIN, "--steps", "3"]) == 0
    assert main([*TRAIN, "--steps", "9", "--resume", "--set", "rate=1e-3"]) == 0
    assert "differs from the run so far: rate" in capsys.readouterr().err


def test_a_run_is_replaced_only_by_force(place, trained, capsys):
    assert main([*TRAIN, "--steps", "3"]) == 0
    assert main([*TRAIN, "--steps", "3"]) == 2
    assert "add --resume, or -f" in capsys.readouterr().err
    (place / "run" / "log.jsonl").write_text("old")
    assert main([*TRAIN, "--steps", "3", "-f"]) == 0
    assert not (place / "run" / "log.jsonl").exists()


def test_a_stopped_run_says_how_to_go_on(place, trained, capsys):
    assert main([*TRAIN, "--steps", "3", "--set", "notes=stop"]) == 143
    assert "codax train --resume -o run" in capsys.readouterr().err


def test_a_refused_command_leaves_all_as_it_was(place, trained, capsys):
    """Also an older run that it would have replaced."""
    assert main([*TRAIN, "--steps", "3", "--set", "notes=refuse"]) == 1
    assert not (place / "run").exists()
    assert main([*TRAIN, "--steps", "3"]) == 0
    before = {p.name: p.read_bytes() for p in (place / "run").iterdir()}
    for more in (["-f"], ["--resume"]):
        words = [*TRAIN, "--steps", "9", *more]
        assert main([*words, "--set", "notes=refuse"]) == 1
        assert {p.name: p.read_bytes() for p in (place / "run").iterdir()} == before
    assert main([*TRAIN, "--steps", "9", "-f"]) == 0
    commands = (place / "run" / "commands.txt").read_text().splitlines()
    assert commands == ["codax train mine.py --data photos --steps 9 -o run"]


def test_a_run_knows_its_pictures(place, trained, capsys):
    assert main([*TRAIN, "--steps", "3"]) == 0
    data = json.loads((place / "run" / "data.json").read_text())
    assert data["folders"] == [str(place / "photos")]
    assert (data["training"]["pictures"], data["held_out"]["pictures"]) == (3, 1)
    assert len(data["held_out_names"]) == 1
    os.rename("photos", "moved")
    assert main(["train", "--resume", "-o", "run", "--steps", "9"]) == 1
    assert "photos: no such folder" in capsys.readouterr().err
    words = ["train", "--resume", "-o", "run", "--steps", "9", "--data", "moved"]
    assert main(words) == 0, "Pictures are known by what is in them."
    Image.fromarray(synthetic(70, 80, 9)).save(place / "moved" / "9.png")
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "not the pictures that the run was begun with: 4 to train on" in error
    assert "or say --new-data" in error
    assert main([*words, "--new-data"]) == 0
    assert main(words[:-2]) == 0
    commands = (place / "run" / "commands.txt").read_text().splitlines()
    assert [("--new-data" in c, "--data moved" in c) for c in commands] == [
        (False, False),
        (False, True),
        (True, True),
        (False, False),
    ]


def test_a_training_folder_may_hold_anything(place, trained, capsys):
    photos = place / "photos"
    os.symlink("nothing", photos / "link.png")
    (photos / "folder.jpg").mkdir()
    os.symlink(photos / "0.png", photos / "folder.jpg" / "again.png")
    Image.fromarray(np.zeros((70, 80), np.float32)).save(photos / "float.tif")
    Image.fromarray(np.zeros((70, 80), np.int32)).save(photos / "wide.tif")
    Image.fromarray(np.full((70, 80), 40000, np.uint16)).save(photos / "deep.png")
    os.rename(photos / "1.png", photos / os.fsdecode(b"\xff.png"))
    for stream in ("false", "true"):
        words = [*TRAIN, "--steps", "3", "-f", "--set", "held_out=0"]
        assert main([*words, "--set", f"stream={stream}"]) == 0
        error = capsys.readouterr().err
        for said in (
            "link.png: a link to nothing",
            "folder.jpg: a folder with the name of a file",
            "broken.jpg: not a picture",
            "float.tif: picture has 32 bits a sample",
            "wide.tif: picture has 32 bits a sample",
        ):
            assert error.count(said) == 1, said
        assert error.count("note: ") == 5
        assert len(trained[-1]["resident"]) == 5


def test_watch_0_watches_never(place, trained):
    assert main([*TRAIN, "--steps", "3", "--set", "watch=0"]) == 0
    assert trained[0]["watch"] is None
    assert main([*TRAIN, "--steps", "3", "-f"]) == 0
    assert trained[1]["watch"] is not None


def test_weights_to_start_from(place, trained):
    np.savez(place / "w.npz", **{"ema/x": np.ones(3, np.float16)})
    assert main([*TRAIN, "--steps", "3", "--init", "w.npz"]) == 0
    assert trained[0]["initial"]["ema/x"].dtype == np.float32


def test_frozen_networks_of_other_weights(place, trained, capsys):
    for name, value in (("a", 1), ("b", 2)):
        parts = {f"ema/{part}/x": np.full(3, value) for part in ("g_a", "g_s", "h_a")}
        np.savez(place / f"{name}.npz", **parts, step=np.int32(value))
    words = [*TRAIN, "--steps", "3", "--init", "a.npz", "--frozen", "b.npz"]
    assert main([*words, "--set", "freeze=g_a,g_s"]) == 0
    initial = {name: value.max() for name, value in trained[0]["initial"].items()}
    assert initial == {"ema/g_a/x": 2, "ema/g_s/x": 2, "ema/h_a/x": 1, "step": 1}
    command = (place / "run" / "commands.txt").read_text()
    assert "--init a.npz --frozen b.npz --steps 3" in command
    assert main([*words, "-f", "--set", "freeze=prior"]) == 1
    assert "prior is not in the weights to take it from" in capsys.readouterr().err


def test_a_streaming_run_gets_its_pictures(place, trained):
    assert main([*TRAIN, "--steps", "3", "--set", "stream=true"]) == 0
    assert len(trained[0]["stream"]) == 3


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["train", "-o", "run", "--steps", "3"], 2, "CONFIG is missing"),
        (["train", "mine.py", "-o", "run"], 2, "--minutes"),
        ([*TRAIN, "--steps", "3", "--minutes", "3"], 2, "not allowed with"),
        ([*TRAIN, "--steps", "0"], 2, "whole number"),
        ([*TRAIN, "--minutes", "-1"], 2, "minutes above 0"),
        ([*TRAIN, "--steps", "3", "--resume"], 2, "no state to resume"),
        ([*TRAIN, "--steps", "3", "--set", "batsh=1"], 1, "did you mean batch"),
        ([*TRAIN, "--steps", "3", "--set", "held_out=9"], 1, "expected 0 to 3"),
        ([*TRAIN, "--steps", "3", "--init", "absent"], 1, "absent"),
        ([*TRAIN, "--steps", "3", "--frozen", "w.npz"], 2, "only with --init"),
        ([*TRAIN, *"--steps 3 --init w.npz --frozen w.npz".split()], 2, "nothing"),
        (["train", "mine.py", "-o", "run", "--steps", "3"], 1, "give --data DIR"),
        (["train", "no.py", "-o", "run", "--steps", "3"], 1, "no such configuration"),
        (["export", "run"], 2, "NAME is missing"),
        (["export", "run", "factorized-x"], 1, "no run here"),
        (["export", "run", "a-b", "--trunk"], 2, "neither NAME"),
        (["plot", "run"], 1, "expected a run's log"),
    ],
)
def test_mistakes_are_one_line_errors(place, trained, capsys, words, status, message):
    np.savez(place / "w.npz", **{"ema/x": np.ones(3)})
    assert main(words) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (place / "run" / "log.png").exists()


def test_the_trunk_file_of_a_run(place, trained, capsys):
    assert main([*TRAIN, "--steps", "3"]) == 0
    capsys.readouterr()
    assert main(["export", "run", "--trunk", "-o", "out", "--json"]) == 0
    path = json.loads(capsys.readouterr().out)["output"]
    assert path == os.path.join("out", "trunk", "factorized-mine.npz")
    found = load_state(place / path)
    assert found["ema/x"].dtype == np.float16
    assert int(found["step"]) == 7


def test_an_export_that_fails_leaves_what_was_there(
    place, trained, monkeypatch, capsys
):
    assert main([*TRAIN, "--steps", "3"]) == 0
    wanted = place / "out" / "factorized-mine-v1"

    def fail(run, config, folder, *more, version, share):
        wanted.mkdir(parents=True)
        (wanted / "card.json").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codax.train.shipping.export_run", fail)
    words = ["export", "run", "factorized-mine-v1", "-o", "out"]
    assert main(words) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not wanted.exists()
    wanted.mkdir()
    (wanted / "card.json").write_text("whole")
    assert main(words) == 2
    assert main([*words, "-f"]) == 1
    assert (wanted / "card.json").read_text() == "whole"
    assert [path.name for path in (place / "out").iterdir()] == [wanted.name]


def test_names_of_another_codec_are_refused(place, trained, capsys):
    assert main([*TRAIN, "--steps", "3"]) == 0
    assert main(["export", "run", "quadtree-mine"]) == 2
    assert "expected factorized-PRESET" in capsys.readouterr().err
    assert read_run(place / "run").preset == "mine"


def test_a_log_is_drawn(place, capsys):
    (place / "run").mkdir()
    lines = [
        {
            "step": step,
            "phase": "branch" if step > 30 else "trunk",
            "loss": 1.0 / step,
            "bpp": 0.5,
            "psnr": 30.0,
            "pictures_per_second": 4.0,
            "seconds": step * 2.0,
            "megapixels": step / 4,
        }
        for step in range(1, 40)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (place / "run" / "log.jsonl").write_text(text + '{"cut')
    assert main(["plot", "run"]) == 0
    assert main(["plot", "run"]) == 0  # The plot beside the run is made anew.
    with Image.open(place / "run" / "log.png") as plot:
        assert plot.size > (800, 500)
    assert main(["plot", "run", "-o", "p.png"]) == 0
    assert main(["plot", "run", "-o", "p.png"]) == 1
    assert "exists; add -f" in capsys.readouterr().err


def test_hosts_are_met_only_by_the_flag(place, trained, capsys, monkeypatch):
    assert main([*TRAIN, "--steps", "3", "--rank", "0"]) == 2
    assert "go only with --distributed" in capsys.readouterr().err
    words = [*TRAIN, "--steps", "3", "--distributed"]
    for more, said in (
        (["--rank", "0"], "coordinator is missing"),
        (["--coordinator", "a:1", "--rank", "0"], "ranks is missing"),
        (["--coordinator", "a:1", "--rank", "2", "--ranks", "2"], "rank: got 2 of 2"),
        (["--coordinator", "a", "--rank", "1", "--ranks", "2"], "expected HOST:PORT"),
    ):
        assert main([*words, *more]) == 1
        assert said in capsys.readouterr().err
    asked = []
    monkeypatch.setattr(
        "codax.train.hosts.join", lambda *given: asked.append(given) or Hosts()
    )
    three = ["--coordinator", "a:1", "--rank", "1", "--ranks", "2"]
    assert main([*words, *three]) == 0
    assert asked == [("a:1", 1, 2)]
    assert trained[0]["hosts"] == Hosts()
    written = (place / "run" / "commands.txt").read_text()
    assert written.endswith("--steps 3 --distributed -o run\n")


def test_hosts_that_nobody_names(place, trained, capsys, monkeypatch):
    def nothing(*given, **options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr("jax.distributed.initialize", nothing)
    assert main([*TRAIN, "--steps", "3", "--distributed"]) == 1
    error = capsys.readouterr().err
    assert "JAX does not find out which hosts there are" in error
    assert not (place / "run").exists()
