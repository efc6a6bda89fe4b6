"""Cards of the trained codecs at hand: names, hashes, costs. No JAX, no NumPy.

A trained codec is a folder `NAME-vN` with `card.json` and `weights.safetensors.xz`.
Those that ship lie in `checkpoints/` beside the package in a checkout, inside the
package in an installed wheel. Of weights that newer ones replaced, what decoding needs
lies in `released/` of a checkout, and in the package `codax-weights`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from codax.errors import ModelError
from codax.files.folders import user_base
from codax.zoo.releases import released

__all__ = [
    "Card",
    "checkpoint_folders",
    "choose_card",
    "default_card",
    "find_by_hash",
    "find_card",
    "list_cards",
    "name_of",
    "read_card",
    "unreadable_cards",
    "user_folder",
]


GROUP = "codax.weights"
VARIABLE = "CODAX_WEIGHTS"
"""Of the environment: folders that hold trained codecs, like $PATH."""
RELEASED = Path("released", "codax_weights")
"""Of a checkout: what decoding needs of weights that newer ones replaced."""
WHEEL = "pip install codax-weights"
"""Brings the weights of all releases."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What `card.json` says of one trained codec.

    Attributes:
        name: `codec-preset-vN`.
        codec: name of the codec, such as `quadtree`.
        preset: its size, such as `tiny`.
        version: the N of the name.
        codec_id: the codec's byte in files.
        weights_hash: the 6 bytes in files, as 12 hexadecimal digits.
        folder: where card and weights lie.
        default: whether it is used when no codec is named.
        lossless: whether its pictures come back to the last bit.
        qualities: lowest and highest quality, within 0..100.
        bpp: bits per pixel on Kodak at those two qualities.
        kmac_per_pixel: thousands of multiply-adds a pixel, `encode` and `decode`.
        bd_rate: percent of bits on Kodak against each anchor.
        size: bytes of the weights.
        previous: hash of each replaced version to its name, to name what a file wants.
        decodes_only: whether only what decoding needs was kept.
        fields: the whole JSON object, for display.
    """

    name: str
    codec: str
    preset: str
    version: int
    codec_id: int
    weights_hash: str
    folder: Path
    default: bool = False
    lossless: bool = False
    qualities: tuple[float, float] = (0.0, 100.0)
    bpp: tuple[float, float] | None = None
    kmac_per_pixel: dict[str, float] = field(default_factory=dict)
    bd_rate: dict[str, float] = field(default_factory=dict)
    size: int | None = None
    previous: dict[str, str] = field(default_factory=dict)
    decodes_only: bool = False
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def release(self) -> str | None:
        """The version of codax that brought these weights; None of a draft."""
        found = released(self.codec_id, self.weights_hash)
        return None if found is None else found.release


def checkpoint_folders() -> list[Path]:
    """Returns the folders that may hold trained codecs, best first.

    Those that ship, those that $CODAX_WEIGHTS names, the user's, and those of installed
    packages: an entry point of the group `codax.weights` is a folder's path, or a
    function that returns one.

    Raises:
        ModelError: an entry point fails, or is neither.
    """
    named, user = [Path(name) for name in _named_folders()], user_folder()
    return _own_folders() + named + ([user] if user else []) + _outside_folders()


def _own_folders() -> list[Path]:
    package = Path(__file__).resolve().parent.parent
    root = package.parent
    return [package / "checkpoints", root / "checkpoints", root / RELEASED]


def _named_folders() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


def user_folder() -> Path | None:
    """Returns the user's folder of trained codecs; None for a user without a home."""
    data = user_base("XDG_DATA_HOME", ".local", "share")
    return data and data / "codax" / "weights"


@cache
def _outside_folders() -> list[Path]:
    return [_folder_of(entry) for entry in entry_points(group=GROUP)]


def _folder_of(entry: EntryPoint) -> Path:
    try:
        found = entry.load()
        return Path(found() if callable(found) else found)
    except Exception as error:
        raise ModelError(
            f"entry point {entry.name} of {GROUP} gives no folder: {error!r}; the "
            f"package that has it is broken"
        ) from error


def read_card(folder: Path) -> Card:
    """Reads the card in a folder.

    Args:
        folder: holds `card.json`.

    Raises:
        ModelError: no card there, no JSON, or a needed field is absent or ill-typed.
    """
    path = folder / "card.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; expected a model card") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error})") from error
    try:
        qualities, bpp = fields.get("qualities") or (0, 100), fields.get("bpp")
        size = fields.get("bytes")
        card = Card(
            name=str(fields["name"]),
            codec=str(fields["codec"]),
            preset=str(fields["preset"]),
            version=int(fields["version"]),
            codec_id=int(fields["codec_id"]),
            weights_hash=str(fields["weights_hash"]).lower(),
            folder=folder,
            default=bool(fields.get("default", False)),
            lossless=bool(fields.get("lossless", False)),
            qualities=(float(qualities[0]), float(qualities[1])),
            bpp=(float(bpp[0]), float(bpp[1])) if bpp else None,
            kmac_per_pixel=dict(fields.get("kmac_per_pixel") or {}),
            bd_rate=dict(fields.get("bd_rate") or {}),
            size=int(size) if size else None,
            previous=dict(fields.get("previous") or {}),
            decodes_only=bool(fields.get("decodes_only", False)),
            fields=fields,
        )
    except KeyError as error:
        raise ModelError(f"{path}: field {error} is absent") from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: a field has the wrong type ({error})") from error
    if not re.fullmatch("[0-9a-f]{12}", card.weights_hash):
        raise ModelError(
            f"{path}: weights_hash is {card.weights_hash!r}; expected 12 hex digits"
        )
    return card


def list_cards(*, decoding: bool = False) -> list[Card]:
    """Returns the cards of all codecs at hand: the default first, then by name.

    Args:
        decoding: with those of which only what decoding needs was kept.
    """
    cards: dict[str, Card] = {}
    for parent in checkpoint_folders():
        chosen = any(card.default for card in cards.values())
        for path in _card_files(parent):
            try:
                card = read_card(path.parent)
            except ModelError:
                if _ships(parent):
                    raise
                continue  # `unreadable_cards` names it
            if decoding or not card.decodes_only:
                # A folder of the user's has copies of what was the default once.
                card = replace(card, default=card.default and not chosen)
                cards.setdefault(card.name, card)
    return sorted(cards.values(), key=lambda card: (not card.default, card.name))


def unreadable_cards() -> list[str]:
    """What is wrong in the folders of a user's own, a line each.

    It is passed over: half a copy there must not stop what does not need it.
    """
    found = []
    for parent in map(Path, _named_folders()):
        if not any(_card_files(parent)):
            found.append(f"{parent}: no trained codecs there (${VARIABLE})")
    for parent in checkpoint_folders():
        for path in _card_files(parent):
            try:
                read_card(path.parent)
            except ModelError as error:
                found.append(str(error))
    return found


def _card_files(folder: Path) -> list[Path]:
    """The cards in a folder of trained codecs, or of a single one."""
    own = folder / "card.json"
    return [own] if own.is_file() else sorted(folder.glob("*/card.json"))


def _ships(folder: Path) -> bool:
    """Whether a folder is one of this package or checkout."""
    return folder in _own_folders()


def default_card(*, lossless: bool = False) -> Card:
    """Returns the card of the codec that is used when none is named.

    Args:
        lossless: the newest codec without loss instead.

    Raises:
        ModelError: no such codec ships with this installation.
    """
    found, kind, otherwise = list_cards(), "trained", ""
    if lossless:
        found = [card for card in found if card.lossless]
        found.sort(key=lambda card: card.version, reverse=True)
        kind, otherwise = "lossless", ", or give a quality up to 100"
    if not found:
        raise ModelError(
            f"no {kind} codec is installed; name one with `model=PATH`{otherwise}"
        )
    return found[0]


def choose_card(name: str | Path | None, *, lossless: bool = False) -> Card:
    """The card of the codec that is named, or of the default.

    Args:
        name: as of `find_card`; None for `default_card`.
        lossless: see `default_card`.

    Raises:
        ModelError: no such codec.
    """
    return default_card(lossless=lossless) if name is None else find_card(str(name))


def find_card(name: str) -> Card:
    """Finds a codec by name, or by the path of its folder or weights.

    Args:
        name: `quadtree-tiny-v1`, `quadtree-tiny` for its newest version, or a path.

    Raises:
        ModelError: no such codec; the nearest name is suggested.
    """
    every = list_cards(decoding=True)
    cards = [card for card in every if not card.decodes_only]
    family = [card for card in cards if name == f"{card.codec}-{card.preset}"]
    family = family or [c for c in every if name == f"{c.codec}-{c.preset}"]
    named = [card for card in every if card.name == name]
    if named or family:
        return max(named or family, key=lambda card: card.version)
    path = Path(name)
    if path.is_dir():
        return read_card(path)
    if path.is_file():
        return read_card(path.parent)
    names = [card.name for card in cards]
    # Of a codec's sizes the default, which comes first.
    near = [card.name for card in cards if card.codec == name]
    near = near or difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    remedy = (
        f"did you mean {near[0]}?"
        if near
        else f"known are {', '.join(names) or 'none'}; `codax models` lists them"
    )
    raise ModelError(f"no codec is named {name!r}, and it is no path; {remedy}")


def name_of(codec_id: int, weights_hash: bytes) -> str | None:
    """The name of the codec that wrote a file, whether it is at hand or was released.

    None if it is unknown.
    """
    try:
        return find_by_hash(codec_id, weights_hash).name
    except ModelError:
        own = released(codec_id, weights_hash.hex())
        return None if own is None else own.name


def find_by_hash(codec_id: int, weights_hash: bytes) -> Card:
    """Finds the codec that wrote a file.

    Args:
        codec_id: the file's codec byte.
        weights_hash: the file's 6 bytes.

    Raises:
        ModelError: not at hand; says what brings it.
    """
    wanted = weights_hash.hex()
    cards = [c for c in list_cards(decoding=True) if c.codec_id == codec_id]
    for card in cards:
        if card.weights_hash == wanted:
            return card
    own = released(codec_id, wanted)
    if own is not None:
        raise ModelError(
            f"the file wants {own.name} of codax {own.release} (weights {wanted}), "
            f"which is not here; `{WHEEL}` brings it"
        )
    remedy = f"put its folder into {user_folder()} or pass it with `weights=PATH`"
    for card in cards:
        if wanted in card.previous:
            raise ModelError(
                f"the file wants {card.previous[wanted]} (weights {wanted}), a draft "
                f"of no release; {card.name} is here; {remedy}"
            )
    raise ModelError(
        f"the file wants codec {codec_id} with weights {wanted}, of no release known "
        f"here; a newer codax may have it, else {remedy}, or the file is damaged"
    )
