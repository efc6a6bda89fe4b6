"""Decodes the golden files as an Arm processor does, under qemu's emulation.

    python tools/check_arm.py [FOLDER]

Takes Debian's `apt-get` and `dpkg-deb`, and pip; nothing is installed. The emulator,
Arm libraries, Python and wheels are brought to FOLDER (a temporary one if none is
named) once. There the files of every family in tests/golden decode by ONNX Runtime for
Arm, and the networks of all weights that ship are tried as they are when they are
loaded. It exits with 1 if any latents differ.

The range coder alone is not that of a real machine: constriction has no wheels for
Linux on Arm. The one of docs/file-format.md takes its place.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EMULATOR = ("qemu-user",)
"""Of Debian 13: under that of 12, 7.2, ONNX Runtime is a segmentation fault."""
PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8"),
    *("libbz2-1.0", "liblzma5", "libuuid1", "libcrypt1"),
    *("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal"),
)
"""Of Debian 12."""
WHEELS = ("numpy", "onnxruntime", "pillow", "safetensors")
GLIBC = (17, 27, 28, 34)
APT = """
APT::Architecture "ARCHITECTURE";
APT::Architectures { "ARCHITECTURE"; };
Dir::State "FOLDER/state";
Dir::State::status "FOLDER/state/status";
Dir::Cache "FOLDER/cache";
Dir::Etc::sourcelist "FOLDER/sources.list";
Dir::Etc::sourceparts "-";
"""
SOURCE = (
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    "http://deb.debian.org/debian {} main\n"
)


def unpack(folder: Path, release: str, architecture: str, packages: tuple) -> Path:
    """Unpacks packages of Debian into a folder; returns its root."""
    for name in ("state/lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state" / "status").touch()
    (folder / "sources.list").write_text(SOURCE.format(release))
    text = APT.replace("FOLDER", str(folder)).replace("ARCHITECTURE", architecture)
    (folder / "apt.conf").write_text(text)
    apt = {"env": os.environ | {"APT_CONFIG": str(folder / "apt.conf")}, "check": True}
    subprocess.run(["apt-get", "-qq", "update"], **apt)
    words = ["apt-get", "-qq", "download", *packages]
    subprocess.run(words, cwd=folder / "debs", **apt)
    for package in (folder / "debs").iterdir():
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
    return folder / "root"


def bring(folder: Path) -> None:
    """Brings an emulator and an Arm system with Python and the wheels to a folder."""
    words = ["dpkg", "--print-architecture"]
    own = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    unpack(folder / "emulator", "trixie", own.strip(), EMULATOR)
    unpack(folder / "system", "bookworm", "arm64", PACKAGES)
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    words += ["--only-binary=:all:", "--python-version", "3.11"]
    words += [f"--platform=manylinux_2_{number}_aarch64" for number in GLIBC]
    words += ["--platform=manylinux2014_aarch64", "--abi=cp311", "--abi=abi3"]
    subprocess.run([*words, "-d", folder / "wheels", *WHEELS], check=True)
    for wheel in (folder / "wheels").iterdir():
        zipfile.ZipFile(wheel).extractall(folder / "site")
    (folder / "whole").touch()


def stand_in() -> None:
    """Lets the coder of docs/file-format.md be imported as `constriction`."""
    import numpy as np

    page = (ROOT / "docs" / "file-format.md").read_text()
    (block,) = re.findall(r"```python\n(class RangeDecoder.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(block, names)

    class Categorical:
        def __init__(self, weights, perfect):
            ends = np.cumsum(np.asarray(weights, np.int64) + 1)
            self.cumulative = [0, *ends.tolist()]

    class Uniform(Categorical):
        def __init__(self, count):
            each = 2**24 // count
            self.cumulative = [each * k for k in range(count)] + [2**24]

    class RangeDecoder:
        def __init__(self, words):
            self._own = names["RangeDecoder"](words.tolist())

        def decode(self, model, count):
            found = [self._own.symbol(model.cumulative) for _ in range(count)]
            return np.array(found, np.int32)

    model = types.SimpleNamespace(Categorical=Categorical, Uniform=Uniform)
    queue = types.SimpleNamespace(RangeDecoder=RangeDecoder, RangeEncoder=None)
    module = types.ModuleType("constriction")
    module.stream = types.SimpleNamespace(model=model, queue=queue)
    sys.modules["constriction"] = module


def check() -> int:
    """Decodes here, on an Arm; returns the exit status."""
    stand_in()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from latent_hashes import file_hash

    from codax.face.codec import Codec
    from codax.zoo.cards import list_cards

    wrong = 0
    for facts in sorted((ROOT / "tests" / "golden").glob("*/golden.json")):
        codec = Codec.from_folder(facts.parent, runtime="onnx")
        for title, expected in json.loads(facts.read_text()).items():
            data = (facts.parent / f"{title}.codax").read_bytes()
            good = file_hash(codec.coder, data) == expected["latents"]
            wrong += not good
            said = "equal latents" if good else "OTHER LATENTS"
            print(f"{facts.parent.name} {title}: {said}")
    for card in list_cards():
        # A network that computes otherwise is refused.
        Codec.from_folder(card.folder, runtime="onnx").coder.runtime.steps(64, 64, 100)
        print(f"{card.name}: exact networks as on its card")
    print(f"{os.uname().machine}: {wrong} files with other latents")
    return int(wrong > 0)


def main() -> int:
    """Brings what is missing and runs the check; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        return check()
    missing = [w for w in ("apt-get", "dpkg-deb") if not shutil.which(w)]
    if missing:
        print(f"missing: {', '.join(missing)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        if not (folder / "whole").exists():
            bring(folder)
        system = folder / "system" / "root"
        emulator = folder / "emulator" / "root" / "usr" / "bin" / "qemu-aarch64"
        python = system / "usr" / "bin" / "python3.11"
        words = [emulator, "-L", system, python, "-S", Path(__file__).resolve()]
        paths = {"PYTHONPATH": str(folder / "site"), "PYTHONHOME": str(system / "usr")}
        return subprocess.run(
            [*words, "--here"], env=os.environ | paths, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
