"""Python files of the user's own, run because the user named them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from codax.errors import CodaxError, ConfigError

__all__ = ["run_file"]


def run_file(path: Path, name: str) -> ModuleType:
    """Runs a Python file as a module of its own; returns the module.

    Args:
        path: the file; modules beside it can be imported while it runs.
        name: of the module, with the file's own name behind it.

    Raises:
        ConfigError: the file is missing or fails; in one line.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a Python file")
    full = f"{name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(full, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file")
    _check_beside(path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses that the file defines look their module up by its name.
    sys.modules[full] = module
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        spec.loader.exec_module(module)
    except CodaxError as error:
        raise type(error)(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{path}: failed with {text}") from error
    finally:
        if beside in sys.path:
            sys.path.remove(beside)
    return module


def _check_beside(path: Path) -> None:
    """Refuses a file that would get another file's module of the same name.

    Raises:
        ConfigError: it imports what lies beside it, but a module of that name is loaded
            from elsewhere; or it is no Python.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            f"{path}: failed with {type(error).__name__}: {error}"
        ) from error
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    folder = path.resolve().parent
    for name in sorted(names):
        own = folder / f"{name}.py"
        known = getattr(sys.modules.get(name), "__file__", None)
        if own.is_file() and known and Path(known).resolve() != own:
            raise ConfigError(
                f"{path}: imports {own.name} beside it, but {name} is loaded from "
                f"{known} already; rename one of them"
            )
