"""The house rules that a machine can check, read from the source text (AST)."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "codax"
FILES = sorted(PACKAGE.rglob("*.py"))

# Lowest first: a room may import itself and the rooms before it.
ORDER = [
    "errors",
    "transforms",
    "entropy",
    "files",
    "coding",
    "codecs",
    "zoo",
    "face",
    "evaluation",
    "train",
    "extras",
    "cli",
]

# `public` stands for codax/__init__.py and codax/pillow.py, the library's face.
THIRD_PARTY = {
    "errors": set(),
    "transforms": {"numpy", "jax", "flax"},
    "entropy": {"numpy", "jax", "flax", "constriction"},
    "files": {"numpy", "PIL"},
    "coding": {"numpy", "jax", "flax", "optax", "onnxruntime"},
    "codecs": {"numpy", "jax", "flax"},
    "zoo": {"numpy", "safetensors"},
    "face": {"numpy", "jax", "flax", "PIL"},
    "evaluation": {
        "numpy",
        "jax",
        "PIL",
        "bjontegaard",
        "imagecodecs",
        "matplotlib",
        "pandas",
        "scipy",
        "ssimulacra2",
    },
    "train": {
        "numpy",
        "jax",
        "flax",
        "optax",
        "onnx",
        "PIL",
        "safetensors",
        "grain",
        "absl",
    },
    "cli": {"numpy", "jax", "PIL"},
    "extras": {"numpy", "PIL", "numcodecs", "ray"},
    "public": {"numpy", "PIL"},
}

# flax.nnx serves as structure only; JAX's own transforms and optax do the rest.
NNX_BANNED = {"jit", "grad", "value_and_grad", "vmap", "scan", "Optimizer", "EMA"}


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return first if first in ORDER else "public"


def imports(path: Path) -> list[str]:
    """Dotted names of everything that a file imports, at any depth."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                pytest.fail(f"{path}:{node.lineno}: relative import")
            if node.module == "codax":
                names += [f"codax.{alias.name}" for alias in node.names]
            else:
                names.append(node.module)
    return names


def identity(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_imports_point_one_way(path):
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "codax" or here == "public":
            continue
        there = parts[1] if len(parts) > 1 and parts[1] in ORDER else None
        if there is None:  # `from codax import __version__`
            assert parts[1:] == ["__version__"], f"{name} imported by {here}"
        else:
            assert ORDER.index(there) <= ORDER.index(here), f"{here} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_third_party_packages_of_each_room(path):
    known = THIRD_PARTY[room(path)] | {"codax"} | set(sys.stdlib_module_names)
    used = {name.split(".")[0] for name in imports(path)}
    assert used <= known, f"{room(path)} may not import {sorted(used - known)}"


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_no_asserts_and_no_long_files(path):
    text = path.read_text()
    asserts = [n.lineno for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Assert)]
    assert not asserts, f"assert at lines {asserts}: raise one of codax.errors"
    assert text.count("\n") < 450, "split this file"


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_flax_nnx_as_structure_only(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "nnx"
        ):
            assert node.attr not in NNX_BANNED, f"line {node.lineno}: nnx.{node.attr}"


def test_rooms_export_names():
    for name in ORDER[1:]:
        assert (PACKAGE / name / "__init__.py").is_file()


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_every_file_says_first_what_it_is_for(path):
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said, "no docstring"
    assert len(said.splitlines()[0]) > 20


def test_no_file_is_in_a_circle():
    """Imports at any depth, late ones and those for types included."""
    names = {
        ".".join(("codax", *p.relative_to(PACKAGE).with_suffix("").parts)): p
        for p in FILES
    }
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    wanted = {
        name: {n for n in needed(path) if n in names and n != name}
        for name, path in names.items()
    }
    # What imports nothing that is left can go; a circle never can.
    left = dict(wanted)
    while free := [name for name, own in left.items() if not own & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circles among {sorted(left)}"


def needed(path: Path) -> set[str]:
    """Modules that a file imports, whether whole or for one of their names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


# Files of otherwise free rooms that compute with JAX: networks, and training's halves.
NEED_JAX = {
    "coding/halos.py",
    "coding/rate.py",
    "coding/refining.py",
    "coding/running.py",
    "coding/trees.py",
    "face/batches.py",
    "face/building.py",
    "face/latents.py",
    "face/tokens.py",
}
FREE = [
    *sorted(
        identity(path)
        for path in FILES
        if room(path) in ("errors", "files", "coding", "zoo", "face", "public")
        and identity(path) not in NEED_JAX
    ),
    *(f"entropy/{name}.py" for name in ("bytes_coder", "coder", "sources", "tables")),
    "entropy/grain_codes.py",
    "entropy/product_codes.py",
    "entropy/ranks.py",
    "entropy/trellis.py",
    "entropy/units.py",
]


def test_readers_load_without_jax():
    """Files, zoo, range coder, tables, sources' symbols and the two interpreters."""
    assert all((PACKAGE / name).is_file() for name in NEED_JAX)
    modules = [
        ".".join(("codax", *Path(name).with_suffix("").parts)).removesuffix(".__init__")
        for name in FREE
        if name != "__main__.py"
    ]
    script = BLOCKED + "".join(f"import {name}\n" for name in modules)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


BLOCKED = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "optax"):
            raise ImportError(name + " is not needed here")


sys.meta_path.insert(0, Blocked())
"""


def test_a_file_decodes_without_jax():
    """The latents of a golden file, by the coding order that lies with its weights."""
    script = (
        BLOCKED
        + """
from pathlib import Path
from latent_hashes import latents_hash
from codax.coding.samples import SampleCoder
from codax.files import container
from codax.zoo.weights import read_checkpoint, read_order


class NoNetworks:
    def steps(self, *args, **options):
        return None


folder = Path(sys.argv[1])
coder = SampleCoder(*read_checkpoint(folder), read_order(folder), NoNetworks())
file = container.read((folder / "photo-q75.codax").read_bytes())
found = coder.decode_latents(file.stream, file.height, file.width, file.quality)
print(latents_hash(found))
"""
    )
    folder = Path(__file__).parent / "golden" / "factorized"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    expected = json.loads((folder / "golden.json").read_text())
    assert done.stdout.strip() == expected["photo-q75"]["latents"]


@pytest.mark.parametrize(
    "module",
    [
        "codax",
        "codax.errors",
        "codax.files",
        "codax.files.container",
        "codax.files.pictures",
        "codax.cli",
    ],
)
def test_import_loads_no_jax(module):
    """`codax --help`, `info` and `models` answer in a third of a second."""
    script = (
        f"import sys, {module}\n"
        "heavy = {'jax', 'flax', 'optax', 'constriction', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
