"""The flag --metrics, of `evaluate` and `compare`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from codax.cli.common import UsageError
from codax.errors import ConfigError

if TYPE_CHECKING:
    from codax.evaluation.metric_table import Metric

__all__ = ["add_metrics", "chosen_metrics"]

# The table itself is read when a command runs: it loads NumPy, which help does without.
_DEFAULT = "psnr,ms_ssim,ssim"


def add_metrics(parser: argparse._ActionsContainer, more: str = "") -> None:
    """Adds the flag.

    Args:
        parser: of a command, or a group of it.
        more: what the help says besides.
    """
    parser.add_argument(
        "--metrics",
        default=_DEFAULT,
        metavar="M,M",
        help="of psnr, ms_ssim, ssim, ssimulacra2, of installed packages, or "
        f"FILE.py:NAME for your own{more} (default {_DEFAULT})",
    )


def chosen_metrics(args: argparse.Namespace) -> tuple[Metric, ...]:
    """The metrics that were named.

    Raises:
        UsageError: one that is not found, or two of one name.
    """
    from codax.evaluation.outside_metrics import find_metrics

    names = dict.fromkeys(name.strip() for name in args.metrics.split(","))
    try:
        return find_metrics(name for name in names if name)
    except ConfigError as error:
        raise UsageError(f"--metrics: {error}") from error
