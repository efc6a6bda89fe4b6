"""What all commands share: the parser and its common flags."""

from __future__ import annotations

import argparse
import functools
import re
from typing import Any, NoReturn

from codax.errors import CodaxError, needs_extra
from codax.files.container import MAX_PIXELS

__all__ = [
    "Parser",
    "UsageError",
    "add_codec_flag",
    "add_common",
    "add_limit_flag",
    "add_runtime_flags",
    "add_shard_flag",
    "add_weights_flag",
    "add_work_flags",
    "load_codec_file",
    "positive_count",
    "size_in_bytes",
]

# Help fits 80 columns everywhere, so that it can be tested and read beside code.
_formatter = functools.partial(
    argparse.RawDescriptionHelpFormatter, width=78, max_help_position=26
)
_SIZE = re.compile(
    r"((?:\d+(?:\.\d*)?|\.\d+)(?:e\d+)?)\s*([kmg]?)(i?)b?", re.IGNORECASE
)
_NUMBER = re.compile(r"-\.?\d")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


class UsageError(CodaxError):
    """Words on the command line that make no sense together: exit status 2."""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, full flag names and a fixed width."""

    def __init__(self, **options: Any):
        super().__init__(
            **{"allow_abbrev": False, "formatter_class": _formatter, **options}
        )
        # A value may begin as a negative number, such as that of --region.
        self._negative_number_matcher = _NUMBER

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage and leaving."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of every command: --json, -v, --quiet."""
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout")
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say more; -vv adds tracebacks",
    )
    parser.add_argument("--quiet", action="store_true", help="say only what failed")


def add_work_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds the flags of commands for many files, such as -r, -f, -j and --shard.

    Returns:
        The group of rare flags, for those of the command itself.
    """
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="take what is in folders"
    )
    parser.add_argument(
        "--files-from",
        metavar="FILE",
        help="take names from a file, one a line; - for stdin",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "-f", "--force", action="store_true", help="replace existing output"
    )
    existing.add_argument(
        "--skip-existing", action="store_true", help="leave files whose output exists"
    )
    rare = parser.add_argument_group("advanced")
    rare.add_argument(
        "-j",
        "--jobs",
        type=positive_count,
        default=1,
        metavar="N",
        help="files at a time, a process for each (default 1); for small pictures",
    )
    add_shard_flag(rare, "files")
    add_runtime_flags(rare)
    return rare


def add_shard_flag(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, what: str
) -> None:
    """Adds --shard I/N: one of N machines that share the work."""
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(1, 1),
        metavar="I/N",
        help=f"part I of N of the {what}, for N machines that share the work",
    )


def _shard(text: str) -> tuple[int, int]:
    """Parses a part of several, for argparse."""
    words = text.split("/")
    if len(words) == 2 and all(word.isdecimal() for word in words):
        part, count = map(int, words)
        if 1 <= part <= count:
            return part, count
    raise argparse.ArgumentTypeError(f"{text!r} is no part; expected I/N, I of 1 to N")


def add_runtime_flags(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
) -> None:
    """Adds the flags that say where and with what to compute."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where to compute (default auto)",
    )
    parser.add_argument(
        "--runtime",
        choices=("auto", "onnx", "jax"),
        help="what computes: ONNX Runtime, or JAX, which a GPU needs; auto is the "
        "former where weights have graphs (default $CODAX_RUNTIME, else auto)",
    )


def add_weights_flag(parser: argparse.ArgumentParser) -> None:
    """Adds --weights: those that made the files, where they do not ship."""
    parser.add_argument(
        "--weights", metavar="PATH", help="your own weights, if one made the file"
    )


def add_limit_flag(parser: argparse._ArgumentGroup) -> None:
    """Adds --max-pixels."""
    parser.add_argument(
        "--max-pixels",
        type=positive_count,
        default=MAX_PIXELS,
        metavar="N",
        help=f"refuse larger pictures (default {MAX_PIXELS})",
    )


def add_codec_flag(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --codec: a file that registers a codec from outside the package."""
    parser.add_argument(
        "--codec",
        metavar="FILE.py",
        help="Python file that registers a codec of your own",
    )


def load_codec_file(args: argparse.Namespace) -> None:
    """Loads the file that --codec names; it comes before anything that needs it.

    Raises:
        ConfigError: the file is missing, fails, or registers no codec.
    """
    if args.codec:
        with needs_extra("--codec"):
            from codax.codecs.families import load_file

            load_file(args.codec)


def positive_count(text: str) -> int:
    """Parses a whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def size_in_bytes(text: str) -> int:
    """Parses `20000`, `20k` or `20kB` (thousand), `20KiB`, `1.5M`, for argparse."""
    match = _SIZE.fullmatch(text.strip())
    size = 0
    if match and not (match[3] and not match[2]):
        base = 1024 if match[3] else 1000
        size = int(min(float(match[1]) * base ** _POWERS[match[2].lower()], 1 << 62))
    if size < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; try 20000, 20k, 20KiB or 1.5M"
        )
    return size
