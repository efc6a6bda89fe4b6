"""`codax models`: the trained codecs at hand, or one card."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from codax.cli.common import UsageError, add_common
from codax.cli.reporting import Reporter, table
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
            print("\n".join(_card_lines(card)))
        return 0
    found = cards.list_cards()
    report = Reporter(args)
    for words in cards.unreadable_cards():
        report.note(f"passed over: {words}")
    if args.json:
        for card in found:
            print(json.dumps(card.fields))
    elif not found:
        print("codax: no trained codec is installed", file=sys.stderr)
    else:
        _print_table(found)
    return 0


def _card_lines(card: Card) -> list[str]:
    """What a person asks of a card; --json has all of it."""
    fields, cost = card.fields, card.kmac_per_pixel
    low, high = card.qualities
    kind = ", lossless" if card.lossless else ""
    rates = f", {card.bpp[0]:.2f} to {card.bpp[1]:.2f} bpp on Kodak" if card.bpp else ""
    size = f"{card.size / 1e6:.1f} MB" if card.size else ""
    if "parameters" in fields:
        size += f", {fields['parameters'] / 1e6:.1f} million parameters"
    hours = ", ".join(f"{h:g} h on {where}" for where, h in _of(fields, "hours"))
    seen = fields.get("megapixels")
    rows = [
        ("codec", f"{card.codec}, id {card.codec_id}, weights {card.weights_hash}"),
        ("release", _release_of(card)),
        ("quality", f"{low:g} to {high:g}{kind}{rates}"),
        ("bits", _rates(card.bd_rate) if card.bd_rate else ""),
        ("cost", ", ".join(f"{n} {v:g} kMAC/pixel" for n, v in cost.items())),
        ("size", size),
        ("trained", hours + (f", {seen:.0f} megapixels" if seen else "")),
        ("data", ", ".join(fields.get("data", []))),
        ("licence", fields.get("licence", "")),
        ("command", next(iter(fields.get("command", [])[-1:]), "")),
        ("folder", str(card.folder)),
    ]
    default = "  (the default)" if card.default else ""
    return [card.name + default] + [f"  {n:<9}{text}" for n, text in rows if text]


def _release_of(card: Card) -> str:
    """Which release promises that files of the card's weights can be decoded."""
    if card.release is None:
        return "none: a draft, or your own; keep the folder with the files"
    kept = ", of which what decoding needs is kept" if card.decodes_only else ""
    return f"codax {card.release}{kept}"


def _of(fields: dict[str, Any], name: str) -> list[tuple[str, float]]:
    """The entries of an object of numbers that a card may lack."""
    return list((fields.get(name) or {}).items())


def _print_table(found: list[Card]) -> None:
    """Prints a line a codec."""
    rows = [("name", "release", "quality", "bpp", "kMAC/pixel", "BD-rate", "MB")]
    for card in found:
        cost = card.kmac_per_pixel
        rows.append(
            (
                ("* " if card.default else "  ") + card.name,
                card.release or "draft",
                "{:g}..{:g}".format(*card.qualities),
                "{:.2f}..{:.2f}".format(*card.bpp) if card.bpp else "-",
                f"{cost.get('encode', '-')} + {cost.get('decode', '-')}",
                _rates(card.bd_rate),
                f"{card.size / 1e6:.1f}" if card.size else "-",
            )
        )
    print("\n".join(table(rows)))


def _rates(rates: dict[str, float]) -> str:
    """Writes BD-rates as `jpeg -31 %, webp +4 %`."""
    return ", ".join(f"{name} {value:+.0f} %" for name, value in rates.items()) or "-"
