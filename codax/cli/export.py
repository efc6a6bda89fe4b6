"""`codax export`: from a run to the folder that ships, or to a trunk file."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from codax.cli.common import (
    UsageError,
    add_codec_flag,
    add_common,
    load_codec_file,
)
from codax.cli.reporting import Reporter

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax export runs/mine quadtree-mine-v1    writes checkpoints/quadtree-mine-v1
  codax export runs/mine --trunk             writes checkpoints/trunk/...npz

NAME is codec-preset-vN, or codec-preset for the next N; the preset may be new.
Exactness bounds are checked, and the estimate of training against real files of
the held-out pictures. A trunk file is what `codax train --init` goes on from.
"""
_PRESET = re.compile(r"(?P<preset>[a-z0-9]+)(-v(?P<version>\d+))?")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "export", description=_DESCRIPTION, help="make weights that ship of a run"
    )
    parser.add_argument("run", metavar="RUN", help="folder of the run")
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of the weights")
    parser.add_argument(
        "-o",
        "--output",
        default="checkpoints",
        metavar="DIR",
        help="folder of checkpoints (default checkpoints)",
    )
    parser.add_argument(
        "--trunk", action="store_true", help="write the trunk file, for more training"
    )
    parser.add_argument(
        "--default", action="store_true", help="the codec used when none is named"
    )
    parser.add_argument(
        "--share",
        metavar="NAME",
        help="weights beside it whose equal networks are not stored again",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of pictures, if others than the run's; may be repeated",
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace existing output"
    )
    add_codec_flag(parser)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Exports; returns the exit status."""
    report = Reporter(args)
    load_codec_file(args)
    if args.trunk:
        if args.name or args.default:
            raise UsageError("--trunk goes with neither NAME nor --default")
        return _trunk(args, report)
    if not args.name:
        raise UsageError("NAME is missing; codec-preset, or give --trunk")
    from codax.cli.runtime import prepare_jax

    prepare_jax()
    import dataclasses

    from codax.files.writing import making
    from codax.train.config import read_run
    from codax.train.folders import centre_crops, run_pictures
    from codax.train.record import read_data
    from codax.train.shipping import export_run, next_version, set_default

    folder, target = Path(args.run), Path(args.output)
    config = read_run(folder)
    prefix = config.codec + "-"
    match = _PRESET.fullmatch(args.name.removeprefix(prefix))
    if not match or not args.name.startswith(prefix):
        raise UsageError(
            f"NAME: got {args.name!r}, expected {config.codec}-PRESET or "
            f"{config.codec}-PRESET-vN"
        )
    config = dataclasses.replace(config, preset=match["preset"])
    stem = f"{config.codec}-{config.preset}"
    version = int(match["version"] or next_version(target, stem))
    place = target / f"{stem}-v{version}"
    if place.exists() and not args.force:
        raise UsageError(f"{place} exists; add -f to replace it")
    folders = args.data or read_data(folder).get("folders", ())
    _, held_out = run_pictures(config, folders)
    pictures = centre_crops(held_out, 4, 512)
    waiting = report.waiting("checking the estimate against files")
    # Half of a checkpoint would be taken for one.
    with waiting, making(place):
        codec = export_run(
            folder, config, target, pictures, version=version, share=args.share
        )
    if args.default:
        set_default(target, codec.name)
    error = codec.card["estimate_error"]
    differences = ", ".join(f"{100 * d:+.2f} % at {q}" for q, d in error.items())
    report.result(
        f"{target / codec.name} written; files against the estimate of training: "
        f"{differences}",
        {"output": str(target / codec.name), "estimate_error": error},
    )
    return 0


def _trunk(args: argparse.Namespace, report: Reporter) -> int:
    """Writes the trunk file."""
    from codax.train.config import read_run
    from codax.train.state import load_state, save_trunk

    folder = Path(args.run)
    config = read_run(folder)
    path = Path(args.output) / "trunk" / f"{config.codec}-{config.preset}.npz"
    save_trunk(path, load_state(folder / "trunk.npz"))
    size = path.stat().st_size
    report.result(
        f"{path} written, {size / 1e6:.1f} MB", {"output": str(path), "bytes": size}
    )
    return 0
