"""`codax weights`: the weights whose files can be decoded here."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from codax.cli.common import add_common
from codax.cli.reporting import Reporter, table

if TYPE_CHECKING:
    from codax.zoo.cards import Card

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax weights             lists them, with the release that brought each
  codax weights --json      the same as lines of JSON, with folders

A file names the weights that it needs by hash (`codax info`). Those of
releases decode for ever; `pip install codax-weights` brings the ones that newer
ones replaced. Weights of no release are drafts or your own: keep them with the
files. Folders of weights are looked for beside the package, in what
$CODAX_WEIGHTS lists, and in the user's data folder.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "weights", description=_DESCRIPTION, help="whose files can be decoded here"
    )
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Lists the weights at hand and those of releases; returns the exit status."""
    from codax.zoo import cards, releases

    report = Reporter(args)
    found = cards.list_cards(decoding=True)
    here = {(card.codec_id, card.weights_hash) for card in found}
    absent = [
        own
        for own in releases.list_released()
        if (own.codec_id, own.weights_hash) not in here
    ]
    rows = [_fields(card) for card in found]
    rows += [
        {
            "name": own.name,
            "codec_id": own.codec_id,
            "weights_hash": own.weights_hash,
            "release": own.release,
            "use": None,
            "bytes": None,
            "folder": None,
        }
        for own in absent
    ]
    if args.json:
        for row in rows:
            report.data(json.dumps(row))
    else:
        report.data("\n".join(table(_lines(rows))))
    for words in cards.unreadable_cards():
        report.note(f"passed over: {words}")
    if absent:
        report.note(f"`{cards.WHEEL}` brings those that are not here")
    return 0


def _lines(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """What a person reads of the rows."""
    lines: list[tuple[str, ...]] = [("name", "weights", "release", "for", "MB")]
    lines += [
        (
            row["name"],
            row["weights_hash"],
            row["release"] or "draft",
            row["use"] or "not here",
            f"{row['bytes'] / 1e6:.1f}" if row["bytes"] else "-",
        )
        for row in rows
    ]
    return lines


def _fields(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "codec_id": card.codec_id,
        "weights_hash": card.weights_hash,
        "release": card.release,
        "use": "decoding" if card.decodes_only else "both ways",
        "bytes": card.size,
        "folder": str(card.folder),
    }
