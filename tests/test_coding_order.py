"""Coding orders as data: what lies beside weights is what families say."""

from pathlib import Path

import numpy as np
import pytest
from small_codecs import small_codec

from codax.codecs.families import FAMILIES
from codax.coding.order import Order
from codax.entropy.sources import describe_source, read_source
from codax.errors import ModelError
from codax.face.building import pack_model
from codax.face.codec import Codec
from codax.zoo.cards import list_cards
from codax.zoo.weights import read_checkpoint, read_order

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = [card.folder for card in list_cards()] + sorted(
    path.parent for path in GOLDEN.glob("*/golden.json")
)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_order_beside_weights_is_the_familys(folder):
    """And the weights keep the hash that files name them by."""
    packed, card = read_checkpoint(folder)  # Raises when the hash is another.
    stored = read_order(folder)
    assert stored == Codec(packed, card).coder.order
    tables = {name: source.load(packed) for name, source in stored.sources.items()}
    assert all(tables.values())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_weights_survive_packing(folder):
    """Variables say how they are stored, sources make their tables: as ever."""
    packed, card = read_checkpoint(folder)
    found = pack_model(Codec(packed, card).model)
    # Tables that no source of `factorized` uses are in its older weights.
    unused = {path for path in packed if path.startswith("tables/scales")}
    # What `tools/trellis.py` counts is no source's; it counts those of residuals, too.
    counted = {path for path in packed if path.startswith("tables/trellis")}
    assert found.keys() >= packed.keys() - unused - counted
    for path, value in found.items():
        if counted and path in unused:
            continue
        assert value.dtype == packed[path].dtype, path
        assert np.array_equal(value, packed[path]), path


@pytest.mark.parametrize("name", FAMILIES)
def test_an_order_survives_as_text(name):
    order = small_codec(name).coder.order
    found = Order.from_json(order.to_json())
    assert found == order
    for step in found.steps:
        assert step.network in (None, step.name)
        whole = np.zeros((1, 4, 4, order.channels[step.target]))
        if step.coded:
            assert step.take(whole).shape[:3] == (1, 4, 4)


def test_a_step_of_data_has_no_function():
    steps = small_codec("quadtree").coder.order.steps
    with pytest.raises(ModelError, match="step y0 has no network at hand"):
        _ = next(step for step in steps if step.name == "y0").function


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"arrays": {}, "sources": {"y": {"kind": "odd"}}, "steps": []}'],
)
def test_other_text_is_refused(text):
    with pytest.raises(ModelError, match="order"):
        Order.from_json(text)


def test_a_folder_without_an_order_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no readable order\.json"):
        read_order(tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_sources_are_data(name):
    """The half that deals in symbols does not need what training learns."""
    for source in small_codec(name).model.prior.sources.values():
        found = read_source(describe_source(source))
        assert describe_source(found) == describe_source(source)
        assert not hasattr(found, "train")
        assert found.refines == hasattr(source, "anneal")
