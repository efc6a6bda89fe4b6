"""`codax train`: from a folder of pictures to weights."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codax.cli.common import (
    UsageError,
    add_codec_flag,
    add_common,
    load_codec_file,
    positive_count,
)
from codax.cli.reporting import Reporter, describe, say
from codax.errors import CodaxError

if TYPE_CHECKING:
    import numpy as np

    from codax.train.config import TrainConfig
    from codax.train.hosts import Hosts

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax train quadtree-tiny --data ~/photos --minutes 60 -o runs/mine
  codax train --resume -o runs/mine --minutes 60
  codax train --finetune quadtree-tiny --data ~/screens -o runs/screens

CONFIG is a Python file, or the name of a configuration that ships. Ctrl-C and
SIGTERM save the state first. `codax export` makes weights of the run.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "train", description=_DESCRIPTION, help="train a codec on your pictures"
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="file or name")
    parser.add_argument(
        "-o", "--output", required=True, metavar="RUN", help="folder of the run"
    )
    parser.add_argument(
        "--finetune",
        metavar="WEIGHTS",
        help="fit trained weights (name, folder or run) to 12 or more pictures of a "
        "kind, in place of CONFIG; 10 minutes if nothing else is said",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=_minutes, metavar="N", help="time box, trunk and branch"
    )
    length.add_argument(
        "--steps", type=positive_count, metavar="N", help="steps in all, repeatable"
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of pictures instead of the configuration's; may be repeated; "
        "a run that is resumed has its own",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the configuration; may be repeated",
    )
    parser.add_argument(
        "--init",
        metavar="WEIGHTS",
        help="start from a checkpoint (name or folder) or a run's or trunk's npz",
    )
    parser.add_argument(
        "--frozen",
        metavar="WEIGHTS",
        help="with --init: take what the configuration freezes from these instead",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run, as it was saved"
    )
    parser.add_argument(
        "--new-data",
        action="store_true",
        help="with --resume: go on with other pictures than before",
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace a run that is there"
    )
    rare = parser.add_argument_group("advanced")
    rare.add_argument("--seed", type=int, metavar="N", help="of everything random")
    rare.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu", "tpu"),
        default="auto",
        help="default auto",
    )
    add_codec_flag(rare)
    several = parser.add_argument_group("several hosts, each with the same words")
    several.add_argument(
        "--distributed",
        action="store_true",
        help="train one run over all of them, as Slurm, Open MPI or a TPU pod names "
        "them, or as these three say",
    )
    several.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="the host of rank 0, and a free port of it",
    )
    several.add_argument(
        "--rank", type=int, metavar="I", help="of this host, 0 to N - 1"
    )
    several.add_argument("--ranks", type=int, metavar="N", help="how many hosts")
    add_common(parser)


def _minutes(text: str) -> float:
    """Parses a time above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Trains; returns the exit status."""
    report = Reporter(args)
    _check(args)
    if not args.distributed:
        _check_run(args, Path(args.output))
    hosts = _meet(args, report)
    with _not_waited_for(hosts):
        return _train(args, report, hosts)


def _train(args: argparse.Namespace, report: Reporter, hosts: Hosts) -> int:
    """Trains on these hosts; returns the exit status."""
    folder = Path(args.output)
    from codax.cli.runtime import cache_folder
    from codax.train.loop import Stopped
    from codax.train.session import train_folders

    with hosts.together():
        if args.distributed and hosts.writes:
            _check_run(args, folder)
        load_codec_file(args)
        config, initial = _start(args, folder, report if hosts.writes else None)
    kept = cache_folder()

    def progress(line: str) -> None:
        report.result(line, {"progress": line})

    try:
        result = train_folders(
            config,
            folder,
            args.data,
            minutes=args.minutes,
            steps=args.steps,
            initial=initial or None,
            tunes=bool(args.finetune),
            resume=args.resume,
            replace=args.force,
            new_data=args.new_data,
            cache=kept / "pictures" if kept else None,
            command=_command(args),
            say=progress,
            note=report.note,
            waiting=report.waiting,
            hosts=hosts,
        )
    except Stopped as stopped:
        report.note(
            f"stopped, state saved; go on with `codax train --resume -o {folder} ...`"
        )
        return 128 + stopped.signal
    if not hosts.writes:
        return 0
    report.result(f"{result.weights} written", {"weights": str(result.weights)})
    if result.outcome:
        report.result(str(result.outcome), {"saved": result.outcome.saved})
    return 0


@contextlib.contextmanager
def _not_waited_for(hosts: Hosts) -> Iterator[None]:
    """Ends the process at once where not all hosts end.

    JAX would wait at its end for hosts that are gone, or that wait for this one, and
    after a minute abort. What all refuse, or stop at, ends as ever.
    """
    from codax.train.hosts import HostLost

    try:
        yield
    except Exception as error:
        agreed = isinstance(error, CodaxError) and not isinstance(error, HostLost)
        if hosts.count == 1 or agreed:
            raise
        say(f"codax: {describe(error)}")
        sys.stdout.flush()
        os._exit(1)


def _meet(args: argparse.Namespace, report: Reporter) -> Hosts:
    """Loads JAX, and meets the other hosts where there are any."""
    from codax.cli.runtime import prepare_jax

    if not args.distributed:
        prepare_jax(args.device)
        from codax.train.hosts import Hosts

        return Hosts()
    # Devices can be asked for only when all have met.
    prepare_jax("cpu" if args.device == "cpu" else "auto")
    from codax.train.hosts import join

    if None not in (args.coordinator, args.rank, args.ranks):
        report.note(f"host {args.rank} of {args.ranks} meets at {args.coordinator}")
    hosts = join(args.coordinator, args.rank, args.ranks)
    with hosts.together():
        prepare_jax(args.device)
    return hosts


def _check(args: argparse.Namespace) -> None:
    """Refuses words that do not go together."""
    three = (args.coordinator, args.rank, args.ranks)
    if not args.distributed and three != (None, None, None):
        raise UsageError("--coordinator, --rank and --ranks go only with --distributed")
    if args.new_data and not args.resume:
        raise UsageError("--new-data goes only with --resume")
    if args.frozen and not args.init:
        raise UsageError("--frozen goes only with --init")
    if args.finetune:
        if args.config or args.init or args.resume:
            raise UsageError("--finetune goes with none of CONFIG, --init and --resume")
        if not args.data:
            raise UsageError("--finetune: no pictures; give --data DIR")
    elif args.minutes is None and args.steps is None:
        raise UsageError("give --minutes or --steps")
    if args.resume:
        if args.init or args.force:
            raise UsageError("--resume goes with neither --init nor --force")
    elif not args.config and not args.finetune:
        raise UsageError("CONFIG is missing: a file, or a name that ships")


def _check_run(args: argparse.Namespace, folder: Path) -> None:
    """Refuses to resume what is not there, or to replace what is."""
    from codax.train.folder import newest_state

    begun = newest_state(folder)
    if args.resume and not begun:
        raise UsageError(f"{folder}: no state to resume; start without --resume")
    if begun and not args.resume and not args.force:
        raise UsageError(f"{folder} holds a run; add --resume, or -f to replace it")


def _start(
    args: argparse.Namespace, folder: Path, report: Reporter | None
) -> tuple[TrainConfig, dict[str, np.ndarray]]:
    """The configuration, and arrays to start from, where there are any."""
    from codax.train.config import find_config, load_config, read_run
    from codax.train.finetune import MINUTES, read_start, recipe
    from codax.train.initial import load_initial, with_frozen
    from codax.train.pictures import find_pictures

    if args.finetune:
        config, initial = read_start(args.finetune)
        if args.minutes is None and args.steps is None:
            args.minutes = MINUTES
        config = recipe(config, len(find_pictures(args.data)))
        return _changed(args, config, folder, report), initial
    config = load_config(find_config(args.config)) if args.config else read_run(folder)
    config = _changed(args, config, folder, report)
    initial = load_initial(_weights(args.init)) if args.init else {}
    if args.frozen:
        if not config.freeze:
            raise UsageError("--frozen: the configuration freezes nothing")
        other = load_initial(_weights(args.frozen))
        initial = with_frozen(initial, other, config.freeze)
    return config, initial


def _changed(
    args: argparse.Namespace,
    config: TrainConfig,
    folder: Path,
    report: Reporter | None,
) -> TrainConfig:
    """The configuration with what the command line changes; the first host says so."""
    import dataclasses

    from codax.train.config import read_run, with_overrides

    config = with_overrides(config, args.set)
    if args.seed is not None:
        config = dataclasses.replace(config, seed=args.seed)
    if args.resume and report:
        before = dataclasses.asdict(read_run(folder))
        now = dataclasses.asdict(config)
        changed = [name for name in now if now[name] != before[name]]
        if changed:
            report.note(f"differs from the run so far: {', '.join(changed)}")
    return config


def _weights(name: str) -> Path:
    """The path of weights by path, or by the name of a checkpoint."""
    from codax.zoo.cards import find_card

    path = Path(name)
    return path if path.exists() else find_card(name).folder


def _command(args: argparse.Namespace) -> str:
    """The command again, for the model card."""
    words = ["codax", "train"] + ([args.config] if args.config else [])
    for flag, values in (("--set", args.set), ("--data", args.data)):
        words += [word for value in values for word in (flag, value)]
    for name in ("codec", "finetune", "init", "frozen", "minutes", "steps", "seed"):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name}", f"{value:g}" if name == "minutes" else str(value)]
    for flag in ("resume", "new_data", "distributed"):
        if getattr(args, flag):
            words.append(f"--{flag.replace('_', '-')}")
    return shlex.join([*words, "-o", args.output])
