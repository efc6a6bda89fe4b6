"""A coding order that would go wrong is refused by the step's name."""

from dataclasses import replace

import pytest
from small_codecs import small_codec

from codax.codecs.families import FAMILIES
from codax.coding.checks import check_order
from codax.coding.halos import check_halos, reach
from codax.coding.masks import Mask, channels
from codax.errors import ModelError


@pytest.mark.parametrize("name", FAMILIES)
def test_the_orders_of_all_families_pass(name):
    check_order(small_codec(name).coder.order)


def broken(change):
    """The order of a small quadtree codec with its steps changed."""
    order = small_codec("quadtree").coder.order
    return replace(order, steps=tuple(change(list(order.steps))))


def with_step(place, **fields):
    def change(steps):
        steps[place] = replace(steps[place], **fields)
        return steps

    return change


class Lying(Mask):
    """A mask whose `put` writes elsewhere."""

    def put(self, known, values):
        return super().put(known, values[..., ::-1])


QUARTERS = small_codec("quadtree").coder.order.steps[3].mask.places
CASES = {
    "two of one name": (with_step(3, name="y0"), "step y0: two steps have this name"),
    "a forgotten step": (lambda s: s[:-1], "'y' at .* is coded 0 times"),
    "a step twice": (
        lambda s: [*s, replace(s[-1], name="again")],
        "is coded 2 times",
    ),
    "reads what comes later": (
        lambda s: [s[2], *s[:2], *s[3:]],
        "step y0: reads 'features', which no step before it writes",
    ),
    "reads what nobody writes": (
        with_step(2, reads=("other",)),
        "step y0: array 'other' has no channels",
    ),
    "derives what is coded": (
        with_step(1, target="y"),
        "step features: derives 'y', which is coded",
    ),
    "codes without a source": (
        with_step(1, coded=True),
        "step features: target 'features' has no source",
    ),
    "a halo of 3": (with_step(2, halo=3), "step y0: halo is 3"),
    "layers that fall": (with_step(2, layer=1), "step y1: is of layer 0, after"),
    "beyond the channels": (
        with_step(2, mask=channels(range(14, 18))),
        "step y0: codes channel 17 of 'y', which has 16",
    ),
    "put elsewhere": (
        with_step(3, mask=Lying(QUARTERS)),
        "step y1: put does not undo take",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_other_orders_are_refused(case):
    change, message = CASES[case]
    with pytest.raises(ModelError, match=message):
        check_order(broken(change))


@pytest.mark.parametrize("name", FAMILIES)
def test_halos_cover_the_networks(name):
    check_halos(small_codec(name).model.prior)


def test_a_network_that_looks_further_is_refused():
    prior = small_codec("quadtree").model.prior
    steps = list(prior.steps)
    far = reach(prior, steps[1])
    assert 0 < far <= steps[1].halo
    steps[1] = replace(steps[1], halo=0)

    class Short(type(prior)):
        pass

    Short.steps = tuple(steps)
    before = type(prior)
    prior.__class__ = Short
    try:
        with pytest.raises(ModelError, match=f"step features: its network looks {far}"):
            check_halos(prior)
    finally:
        prior.__class__ = before
