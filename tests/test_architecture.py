"""The house rules that a machine can check, read from the source text (AST)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "codax"
FILES = sorted(PACKAGE.rglob("*.py"))

# Lowest first: a room may import itself and the rooms before it.
ORDER = ["errors", "transforms", "entropy", "codecs", "evaluation", "train", "cli"]

# `public` stands for codax/__init__.py and codax/pillow.py, the library's face.
THIRD_PARTY = {
    "errors": set(),
    "transforms": {"numpy", "jax", "flax"},
    "entropy": {"numpy", "jax", "flax", "constriction"},
    "codecs": {"numpy", "jax", "flax", "optax", "PIL", "safetensors"},
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
    "train": {"numpy", "jax", "flax", "optax", "PIL", "safetensors"},
    "cli": {"numpy", "jax", "PIL"},
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


@pytest.mark.parametrize(
    "module",
    [
        "codax",
        "codax.errors",
        "codax.codecs",
        "codax.codecs.container",
        "codax.codecs.pictures",
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
