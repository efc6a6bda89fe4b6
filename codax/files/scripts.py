"""Python files of the user's own, run because the user named them."""

from __future__ import annotations

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
    module = importlib.util.module_from_spec(spec)
    # Dataclasses that the file defines look their module up by its name.
    sys.modules[full] = module
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        spec.loader.exec_module(module)
    except CodaxError:
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{path}: failed with {text}") from error
    finally:
        sys.path.remove(beside)
    return module
