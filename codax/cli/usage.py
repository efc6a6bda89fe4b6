"""Words of the command line to arguments; what is unknown names what is nearest."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence

from codax.cli.common import UsageError

__all__ = ["nearest_command", "parse"]

_ELSEWHERE = {
    "speed": "effort",
    "method": "effort",
    "preset": "effort",
    "distance": "quality",
    "size": "target-size",
    "psnr": "target-psnr",
    "bpp": "target-bpp",
    "bitrate": "target-bpp",
    "threads": "jobs",
    "num-threads": "jobs",
    "workers": "jobs",
    "overwrite": "force",
    "yes": "force",
    "y": "force",
    "out": "output",
    "out-dir": "output",
    "outdir": "output",
    "codecs": "codec",
    "strip": "metadata",
    "silent": "quiet",
    "epochs": "steps",
    "lr": "set",
    "time": "minutes",
}
"""What flags of other programs are called here."""


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parses the words of a command.

    Names may stand before and behind flags, also the last of several.

    Args:
        parser: of all commands.
        words: the command and what follows.

    Raises:
        UsageError: they make no sense.
    """
    own = _parser_of(parser, words)
    if own is not None:
        _check_flags(own, words[1:])
    args, rest = parser.parse_known_args(words)
    for word in rest:
        if word.startswith("-") and word != "-":
            raise _unknown(own or parser, word)
    if rest and hasattr(args, "inputs"):
        args.inputs += rest
    elif rest:
        raise UsageError(f"{rest[0]!r} is one name too many; {_usage(own or parser)}")
    return args


def nearest_command(word: str, commands: Sequence[str]) -> UsageError:
    """What to say of an unknown command."""
    near = difflib.get_close_matches(word, commands, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(commands)}"
    return UsageError(f"no command is named {word!r}; {remedy}")


def _parser_of(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> argparse.ArgumentParser | None:
    """The parser of the command; None where there is none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and words:
            return action.choices.get(words[0])
    return None


def _check_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuses unknown flags, before what else may be wrong is said.

    And `-lossless`, which would be read as `-l`, and `-quality`, as `-q`.
    """
    flags = _flags(parser)
    for word in words:
        if word == "--":
            return
        name = word.partition("=")[0]
        unknown = name.startswith("--") and name not in flags
        single = len(name) > 2 and name.startswith("-") and f"-{name}" in flags
        if unknown or single:
            raise _unknown(parser, name)


def _unknown(parser: argparse.ArgumentParser, word: str) -> UsageError:
    """What to say of an unknown flag: the nearest one, and the usage."""
    name = word.partition("=")[0]
    flags = _flags(parser)
    bare = name.lstrip("-").lower().replace("_", "-")
    near = [flag for flag in flags if flag == f"--{bare}"]
    near += [flag for flag in flags if bare and flag.startswith(f"--{bare}")]
    near += [flag for flag in flags if flag == f"--{_ELSEWHERE.get(bare)}"]
    near += difflib.get_close_matches(f"--{bare}", flags, n=1, cutoff=0.7)
    meant = f"; did you mean {near[0]}?" if near else ";"
    return UsageError(f"{parser.prog} has no flag {name}{meant} {_usage(parser)}")


def _usage(parser: argparse.ArgumentParser) -> str:
    """The usage on one line, and where there is more."""
    usage = " ".join(parser.format_usage().split())
    return f"{usage}; see `{parser.prog} --help`"


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """Long flags of a parser, the first name of each first."""
    return [flag for flag in parser._option_string_actions if flag.startswith("--")]
