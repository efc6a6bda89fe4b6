"""Threads and processes: what `docs/processes.md` says of them."""

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from fake_codec import small_file, work_in
from small_codecs import packed_codec, small_codec, synthetic

from codax.cli.runtime import cache_folder
from codax.errors import ModelError, UnsupportedError
from codax.face.codec import Codec
from codax.face.loading import load
from codax.zoo.weights import write_checkpoint

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The folder of a small codec."""
    folder = tmp_path_factory.mktemp("weights") / "factorized-small-v1"
    packed, card = packed_codec("factorized")
    write_checkpoint(folder, packed, card)
    return folder


PROCESSES = """
import hashlib, multiprocessing, sys, threading, warnings
import codax
from small_codecs import synthetic

warnings.simplefilter("ignore")  # JAX's own warning of forks.

def coded(seed):
    data = codax.encode(synthetic(40, 60, seed), model=sys.argv[1], fallback=False)
    codax.decode(data, weights=sys.argv[1])
    return hashlib.sha256(data).hexdigest()[:8]

def guarded(seed):
    try:
        return coded(seed)
    except codax.errors.UnsupportedError as error:
        return str(error)

if __name__ == "__main__":
    way = sys.argv[2]
    if way == "threads":
        found = {}
        def work():
            found[threading.get_ident()] = [coded(1), coded(2)]
        crew = [threading.Thread(target=work) for _ in range(4)]
        [member.start() for member in crew]
        [member.join() for member in crew]
        print(*{tuple(hashes) for hashes in found.values()}.pop())
        assert len(found) == 4 and len(set(map(tuple, found.values()))) == 1
    else:
        method, _, used = way.partition("-")
        if used:
            coded(1)
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(*pool.map_async(guarded, [1, 2]).get(timeout=100))
"""


def run(way, weights, tmp_path):
    (tmp_path / "program.py").write_text(PROCESSES)
    done = subprocess.run(
        [sys.executable, "program.py", str(weights), way],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_threads_and_processes_write_equal_bytes(weights, tmp_path):
    import codax

    expected = " ".join(
        hashlib.sha256(
            codax.encode(synthetic(40, 60, seed), model=weights, fallback=False)
        ).hexdigest()[:8]
        for seed in (1, 2)
    )
    for way in ("threads", "spawn-used", "fork"):
        assert run(way, weights, tmp_path) == expected, way


def test_a_fork_after_the_first_picture_is_refused(weights, tmp_path):
    """Where JAX would hang."""
    said = run("fork-used", weights, tmp_path)
    assert said.count("was forked from one in which codax had used JAX") == 2
    assert "start workers by `spawn` or `forkserver`" in said


SLOW = """
import os, sys, time
from fake_codec import FakeCodec, install

class Patch:
    def setattr(self, place, name, value=None):
        if value is None:
            import importlib
            place, name, value = *place.rsplit(".", 1), name
            place = importlib.import_module(place)
        setattr(place, name, value)

from pathlib import Path
from codax.cli import main, runtime
codec = install(Patch(), Path(f"checkpoints-{os.getpid()}"))
runtime.prepare_jax = lambda device: None
quick = codec.compress

def slow(rgb, quality, **effort):
    if rgb.shape[0] == 7:
        os._exit(9)  # As the system ends a process for lack of memory.
    if rgb.shape[0] > 10:
        Path("begun").touch()
        time.sleep(60)  # As a network that is compiled: no Python runs in this thread.
    return quick(rgb, quality, **effort)

codec.compress = slow
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def slow(words, folder, heights, **options):
    """A command on pictures 1.png, 2.png ... of some heights, by the program above."""
    from PIL import Image

    (folder / "program.py").write_text(SLOW)
    for number, height in enumerate(heights, 1):
        Image.fromarray(synthetic(height, 30)).save(folder / f"{number}.png")
    return subprocess.Popen(
        [sys.executable, "program.py", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_several_jobs_at_a_time_have_processes_of_their_own(tmp_path):
    """One that dies costs the file that it had."""
    names = [f"{number}.png" for number in (1, 2, 3, 4, 5)]
    words = ["encode", *names, "none.png", "-o", "out", "-j", "2", "--no-fallback"]
    child = slow([*words, "--json"], tmp_path, (5, 7, 5, 6, 5))
    out, err = child.communicate()
    assert child.returncode == 1
    said = [json.loads(line) for line in out.splitlines()]
    failed = {line["input"]: line["error"] for line in said if "error" in line}
    assert failed.keys() == {"2.png", "none.png"}
    assert "the process that had it died (exit status 9)" in failed["2.png"]
    assert said[-1]["summary"]["done"] == 4
    coded = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert coded == ["1.codax", "3.codax", "4.codax", "5.codax"]
    assert err.count("codax: ") == 2
    child = slow([*words[:2], "3.png", "-o", "again", "-j", "2"], tmp_path, ())
    assert child.communicate()[1].count(" -> again/") == 2


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_ends_at_once_and_leaves_nothing(number, status, jobs, tmp_path):
    names = [f"{number}.png" for number in (1, 2, 3, 4)]
    words = ["encode", *names, "-o", "new/out", "-j", jobs, "--no-fallback"]
    child = slow(words, tmp_path, (5, 20, 20, 5), start_new_session=True)
    while not (tmp_path / "begun").exists():
        assert child.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)
    sent = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(child.pid, number)  # as a terminal does
    else:
        child.send_signal(number)
    _, said = child.communicate()
    assert time.monotonic() - sent < 5
    assert child.returncode == status, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("1 of 4 files done, ")
    assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == ["1.codax"]


PRESSED = """
import sys
from codax.__main__ import main

class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            raise KeyboardInterrupt

wanted = sys.argv.pop()
sys.meta_path.insert(0, Pressed())
sys.exit(main())
"""


@pytest.mark.parametrize("name", ["codax.cli", "codax.cli.models"])
def test_ctrl_c_while_the_program_loads_is_quiet(name):
    done = subprocess.run(
        [sys.executable, "-c", PRESSED, "models", name], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "", "")


def test_nohup_stays_ignored(tmp_path):
    script = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from codax.cli.stopping import terminated\n"
        "with terminated(): print(signal.getsignal(signal.SIGHUP).name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.stdout.strip() == "SIG_IGN"


def codax(words, folder, **options):
    return subprocess.run(
        [sys.executable, "-m", "codax", *words],
        cwd=folder,
        text=True,
        stderr=subprocess.PIPE,
        **options,
    )


def test_a_full_disk_is_one_line(tmp_path):
    """/dev/full; and a limit of file sizes, which fails in the middle of a file."""
    with open("/dev/full", "w") as full:
        done = codax(["models", "--json"], tmp_path, stdout=full)
        assert done.returncode == 1
        assert done.stderr == "codax: No space left on device\n"
        (tmp_path / "x.codax").write_bytes(b"nothing")
        done = codax(["info", "--json", "x.codax"], tmp_path, stdout=full)
        assert done.returncode == 1
        assert done.stderr.endswith("codax: stdout: No space left on device\n")
        quiet = subprocess.run(
            [sys.executable, "-m", "codax", "info", "absent.codax"], stderr=full
        )
        assert quiet.returncode == 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("models >&-", 1, "codax: Bad file descriptor\n"),
        ("info x.codax >&-", 1, "Bad file descriptor\n"),
        ("decode - -o x.png <&-", 1, "codax: stdin: Bad file descriptor\n"),
        ("decode absent.codax <&- >&-", 1, "absent.codax: No such file or directory\n"),
        ("models 2>&-", 0, ""),
        ("decode absent.codax 2>&-", 1, ""),
    ],
)
def test_streams_may_be_closed(words, status, said, tmp_path):
    (tmp_path / "x.codax").write_bytes(small_file())
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m codax {words}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    assert done.stderr.endswith(said)
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("kind", ["a file", "full", "absent"])
def test_the_cache_is_no_condition(kind, weights, tmp_path, monkeypatch):
    """A home that cannot be written to; a full one; none."""
    from PIL import Image

    Image.fromarray(synthetic(40, 60)).save(tmp_path / "a.png")
    environment = os.environ | {"HOME": str(tmp_path / "home")}
    environment.pop("XDG_CACHE_HOME", None)
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    limit = ""
    if kind == "a file":
        (tmp_path / "home").write_text("")
    elif kind == "full":
        (tmp_path / "home").mkdir()
        limit = "ulimit -f 8; "  # Blocks of 1024 bytes, less than a program takes.
    else:
        monkeypatch.setattr("pathlib.Path.home", _no_home)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert cache_folder() is None
        return
    words = f"-m codax encode a.png -m '{weights}' --no-fallback"
    done = subprocess.run(
        ["bash", "-c", f"{limit}exec '{sys.executable}' {words}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    note, result = done.stderr.splitlines()
    assert "is of no release" in note
    assert result.startswith("a.png -> a.codax")


def _no_home():
    raise RuntimeError("Could not determine home directory.")


def test_leftovers_of_a_dead_process_block_nothing(tmp_path, monkeypatch, capsys):
    """Even where a new process has its number, as in containers."""
    from PIL import Image

    from codax.cli import main

    work_in(monkeypatch, tmp_path)
    Image.fromarray(synthetic(20, 30)).save("a.png")
    for name in (f".a.codax.{os.getpid()}.tmp", ".codax-.tmp", "a.codax.part"):
        (tmp_path / name).write_bytes(b"left")
    assert main(["encode", "a.png"]) == 0
    assert main(["encode", "a.png", "-f"]) == 0


def test_a_codec_pickles_as_its_hash_and_loads_at_first_use(tmp_path):
    codec = load("factorized-tiny")
    packed = pickle.dumps(codec)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert "coder" not in vars(again)
    rgb = synthetic(40, 60)
    data = codec.encode(rgb, 60)
    assert not hasattr(again, "__array__")
    assert "coder" not in vars(again)
    assert again.encode(rgb, 60) == data
    assert repr(again) == repr(codec)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = again.nothing
    with get_context("spawn").Pool(2) as pool:
        assert pool.map(codec.encode, [rgb, rgb]) == [codec.encode(rgb)] * 2
    # A folder that is not among the known ones goes along by its path.
    golden = TESTS / "golden" / "factorized"
    folder = shutil.copytree(golden, tmp_path / "mine")
    mine = pickle.dumps(Codec.from_folder(folder))
    assert pickle.loads(mine).encode(rgb, 60)
    assert pickle.loads(mine) is pickle.loads(mine)
    other = shutil.copytree(golden, tmp_path / "other")
    mine = pickle.dumps(Codec.from_folder(other))
    shutil.rmtree(other)
    with pytest.raises(ModelError, match="the file wants codec 1 with weights"):
        pickle.loads(mine).encode(rgb, 60)
    trained = small_codec("factorized")
    with pytest.raises(UnsupportedError, match="cannot be pickled; export it"):
        pickle.dumps(trained)
