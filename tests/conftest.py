"""One store of compiled programs for a run of the suite, and none of a user's weights.

Tests share networks, and two workers and many processes of the command line run them:
without the store each compiles its own, a third of the suite's time.
"""

import os
import shutil
import tempfile
from importlib.util import find_spec

_CACHE = "JAX_COMPILATION_CACHE_DIR"
_made: list[str] = []

# A suite of its own, with an environment of its own: `tools/test --ray`.
collect_ignore = [] if find_spec("ray") else ["test_extras_ray.py"]


def pytest_configure(config):
    """Sets the store up before workers start and JAX is loaded."""
    # An entry that another process is about to write is compiled here once more.
    config.addinivalue_line(
        "filterwarnings", "ignore:Error (reading|writing) persistent:UserWarning"
    )
    # The weights of whoever runs the suite are no part of it.
    os.environ.pop("CODAX_WEIGHTS", None)
    os.environ["XDG_DATA_HOME"] = os.devnull
    if hasattr(config, "workerinput") or _CACHE in os.environ:
        return
    _made.append(tempfile.mkdtemp(prefix="codax-tests-"))
    os.environ[_CACHE] = _made[0]
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_terminal_summary(terminalreporter):
    """Leaves what was skipped, and why, for the last line of `tools/test`."""
    if not (place := os.environ.get("CODAX_SKIPPED")):
        return
    reasons = {}
    for report in terminalreporter.stats.get("skipped", []):
        *_, why = report.longrepr if isinstance(report.longrepr, tuple) else ("?",)
        file, _, name = report.nodeid.partition("[")[0].partition("::")
        files = reasons.setdefault(why.removeprefix("Skipped: "), {})
        files.setdefault(file.removeprefix("tests/"), {})[name] = None
    said = [
        f"{', '.join(_told(*own) for own in files.items())} ({why})"
        for why, files in reasons.items()
    ]
    with open(place, "w") as file:
        file.write("; ".join(said))


def _told(file, names):
    """Tests of a file by their names, or how many where they are more than a few."""
    if len(names) > 3:
        return f"{len(names)} of {file}"
    return ", ".join(f"{file}::{name}" for name in names)


def pytest_unconfigure(config):
    """Throws the store away."""
    for folder in _made:
        shutil.rmtree(folder, ignore_errors=True)
