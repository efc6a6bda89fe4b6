"""`codax models`: the trained codecs at hand, or one card."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from codax.cli.common import UsageError, add_common
from codax.errors import ModelError

if TYPE_CHECKING:
    from codax.zoo.cards import Card

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax models                    lists all, the default marked by *
  codax models quadtree-tiny      the card of one

BD-rate is in percent of bits on Kodak; less than 0 is better than that codec.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "models", description=_DESCRIPTION, help="trained codecs and their cards"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="name or path")
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Lists the codecs or shows one card; returns the exit status."""
    from codax.zoo import cards

    if args.name:
        try:
            card = cards.find_card(args.name)
        except ModelError as error:
            raise UsageError(str(error)) from error
        if args.json:
            print(json.dumps(card.fields))
        else:
            width = max(len(key) for key in card.fields) + 2
            for key, value in card.fields.items():
                print(f"{key:<{width}}{_plain(value)}")
        return 0
    found = cards.list_cards()
    if args.json:
        for card in found:
            print(json.dumps(card.fields))
    elif not found:
        print("codax: no trained codec is installed", file=sys.stderr)
    else:
        _print_table(found)
    return 0


def _print_table(found: list[Card]) -> None:
    """Prints a line a codec."""
    rows = [("name", "quality", "bpp", "kMAC/pixel", "BD-rate", "MB")]
    for card in found:
        cost = card.kmac_per_pixel
        rows.append(
            (
                ("* " if card.default else "  ") + card.name,
                "{:g}..{:g}".format(*card.qualities),
                "{:.2f}..{:.2f}".format(*card.bpp) if card.bpp else "-",
                f"{cost.get('encode', '-')} + {cost.get('decode', '-')}",
                _rates(card.bd_rate),
                f"{card.size / 1e6:.1f}" if card.size else "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _rates(rates: dict[str, float]) -> str:
    """Writes BD-rates as `jpeg -31 %, webp +4 %`."""
    return ", ".join(f"{name} {value:+.0f} %" for name, value in rates.items()) or "-"


def _plain(value: Any) -> str:
    """Writes a card's value without JSON's quotes where it is simple."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and all(not isinstance(v, dict) for v in value.values()):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(_plain(item) for item in value)
    return json.dumps(value)
