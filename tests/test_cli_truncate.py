"""`codax truncate`: where the shorter file goes, and what is refused."""

import json

import pytest

from codax.cli import main
from codax.files import container
from codax.files.container import Container, join_layers, split_layers

STREAMS = (b"first", b"second", b"the third one")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = {"codec_id": 250, "weights_hash": b"fake01", "width": 30, "height": 20}
    stream = join_layers(STREAMS, 4)
    whole = Container(**fields, quality=150, stream=stream, layered=True)
    (tmp_path / "whole.codax").write_bytes(container.write(whole))
    plain = Container(**fields, quality=150, stream=b"abcd")
    (tmp_path / "plain.codax").write_bytes(container.write(plain))
    return tmp_path / "whole.codax"


def test_layers_and_sizes(file, tmp_path, capsys):
    assert main(["truncate", "whole.codax", "--layers", "2", "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    cut = (tmp_path / "whole-cut.codax").read_bytes()
    assert (line["layers"], line["bytes"]) == (2, len(cut))
    found = container.read(cut)
    assert split_layers(found.stream) == (list(STREAMS[:2]), 4)
    assert found.quality == 100
    size = str(len(cut))
    assert (
        main(["truncate", "whole.codax", "--target-size", size, "-o", "b.codax"]) == 0
    )
    assert (tmp_path / "b.codax").read_bytes() == cut
    assert "2 of 3 layers" in capsys.readouterr().err
    assert main(["info", "b.codax"]) == 0
    assert "2: 5 + 6 B" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["whole.codax", "--layers", "0"], 2, "'0' is not a whole number from 1 up"),
        (["whole.codax", "--layers", "4"], 1, "layers is 4; the file has 3: 1 to 3"),
        (["whole.codax", "--target-size", "9"], 1, "one layer takes"),
        (["plain.codax", "--layers", "1"], 1, "cannot be cut"),
        (["whole.codax"], 2, "one of the arguments --layers/--tokens --target-size"),
        (["whole.codax", "--layers", "1", "-o", "whole.codax"], 2, "the same file"),
        (["missing.codax", "--layers", "1"], 1, "No such file"),
    ],
)
def test_refusals_are_one_line(file, tmp_path, capsys, words, status, message):
    assert main(["truncate", *words]) == status
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "whole-cut.codax").exists()


def test_damaged_layers_are_refused(file, tmp_path, capsys):
    fields = {"codec_id": 250, "weights_hash": b"fake01", "width": 30, "height": 20}
    for stream in (b"", b"\x04", b"\x01\x01a\x01b", b"\x04\x09abc", b"\x04\xff\xff"):
        data = Container(**fields, quality=150, stream=stream, layered=True)
        (tmp_path / "damaged.codax").write_bytes(container.write(data))
        assert main(["truncate", "damaged.codax", "--layers", "1"]) == 1
        assert "damaged" in capsys.readouterr().err
