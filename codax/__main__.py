"""The program `codax`, which `python -m codax` is, too."""

import sys

__all__ = ["main"]


def main() -> int:
    """Runs the command line; Ctrl-C is quiet while that is still loaded, too.

    Returns:
        The exit status, see `codax.cli.main`.
    """
    try:
        from codax.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
