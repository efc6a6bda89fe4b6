"""Networks that grow: larger ones begin where smaller ones stopped."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_codecs import small_config

from codax.codecs.families import FAMILIES
from codax.coding.trees import abstract_model, flatten
from codax.errors import ModelError
from codax.train.initial import join_initial, with_frozen

QUALITY = np.array([100], np.int32)


def wider(name: str, **fields):
    """A small codec's configuration with other widths."""
    config = small_config(name)
    known = {k for k in fields if hasattr(config.transforms, k)}
    transforms = dataclasses.replace(config.transforms, **{k: fields[k] for k in known})
    rest = {k: v for k, v in fields.items() if k not in known and hasattr(config, k)}
    return dataclasses.replace(config, transforms=transforms, **rest)


def random_networks(name: str, config, seed: int):
    """The graph of networks, and weights drawn at random; constants alike for all."""
    model = nnx.merge(*abstract_model(FAMILIES[name].networks, config))
    graph, params, fixed = nnx.split(model, nnx.Param, ...)
    state = {}
    for part, shapes, own in (("ema", params, seed), ("fixed", fixed, 99)):
        draw = functools.partial(np.random.default_rng(own).normal, 0, 0.2)
        state[part] = jax.tree.map(
            lambda leaf, draw=draw: jnp.float32(draw(leaf.shape)), shapes
        )
    return graph, state


def latents(model, x):
    y = model.g_a(x, QUALITY)
    return y, model.h_a(y, QUALITY)


def code(model, y, z):
    """The picture, the features, and what every step's networks give."""
    features = model.prior.hyper(z, QUALITY)
    state = {"features": features, "y": y}
    heads = []
    for step in model.prior.steps:
        if step.coded and step.network is not None:
            reads = (state[key] for key in step.reads)
            heads += step.network(model.prior, *reads, QUALITY, None)
    return model.g_s(y, QUALITY), features, jnp.concatenate([h.ravel() for h in heads])


@pytest.mark.parametrize("name", ["quadtree", "channelwise"])
def test_wider_and_deeper_networks_give_what_the_smaller_gave(name):
    fields = {"fine": 12, "coarse": 24, "analysis_fine": 2, "synthesis_coarse": 2}
    fields |= {"hyper": 12, "middle": 12, "features": 24, "hidden": 40, "blocks": 2}
    graph, weights = random_networks(name, small_config(name), 0)
    larger, fresh = random_networks(name, wider(name, **fields), 1)
    said = []
    grown = join_initial(fresh, flatten(weights), said.append)
    assert "arrays get more channels" in said[-1]
    assert not any("afresh" in line for line in said)
    small = nnx.merge(graph, weights["ema"], weights["fixed"])
    large = nnx.merge(larger, grown["ema"], grown["fixed"])

    x = np.random.default_rng(2).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    found = [jax.jit(functools.partial(latents, m))(x) for m in (small, large)]
    for before, after in zip(*found, strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-3)
    y, z = map(jnp.round, found[0])
    found = [jax.jit(functools.partial(code, m))(y, z) for m in (small, large)]
    (picture, features, heads), (other, more, same) = found
    np.testing.assert_allclose(picture, other, rtol=1e-4, atol=1e-2)
    width = features.shape[-1]
    np.testing.assert_array_equal(features, more[..., :width])
    np.testing.assert_array_equal(heads, same)
    assert np.ptp(heads) > 2
    # The new channels do something: it is what reads them that is zero.
    assert np.abs(large.g_s.enter.kernel[...][:, 16:]).max() > 0.05
    assert np.ptp(more[..., width:]) > 2


def test_the_readers_of_new_channels_learn():
    weights = random_networks("quadtree", small_config("quadtree"), 0)[1]
    larger, fresh = random_networks("quadtree", wider("quadtree", fine=12), 1)
    grown = join_initial(fresh, flatten(weights), str)
    x = np.random.default_rng(2).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)

    def error(params):
        model = nnx.merge(larger, params, grown["fixed"])
        y = model.g_a(x, QUALITY)
        return jnp.square(model.g_s(y, QUALITY) - x).mean()

    slope = flatten(jax.jit(jax.grad(error))(grown["ema"]))
    new = slope["g_s/leave/kernel"][8:]
    assert np.abs(new).min() > 0
    assert not np.any(flatten(grown["ema"])["g_s/leave/kernel"][8:])


@pytest.mark.parametrize(
    ("field", "width", "message"),
    [("fine", 12, "g_a/down/kernel has shape"), ("latents", 24, "deviation has shape")],
)
def test_narrower_networks_and_other_latents_are_refused(field, width, message):
    weights = random_networks("quadtree", small_config("quadtree"), 0)[1]
    large = random_networks("quadtree", wider("quadtree", **{field: width}), 1)[1]
    with pytest.raises(ModelError, match=message):
        join_initial(weights, flatten(large), str)
    if field == "latents":
        with pytest.raises(ModelError, match=message):
            join_initial(large, flatten(weights), str)


def test_weights_of_another_range_bring_no_constants_of_it():
    weights = random_networks("quadtree", small_config("quadtree"), 0)[1]
    fresh = jax.tree.map(lambda leaf: leaf + 1, weights)
    joined = flatten(join_initial(fresh, flatten(weights), pytest.fail))
    own, old = flatten(fresh), flatten(weights)
    domain = "fixed/prior/domain"
    for name in ("see_factor", "mean_factor", "index_offset"):
        path = f"{domain}/{name}"
        np.testing.assert_array_equal(joined[path], own[path])
    path = f"{domain}/channel_scale"
    np.testing.assert_array_equal(joined[path], old[path])


def test_a_whole_prior_is_taken_as_it_is_frozen():
    names = ("ema/g_a/klt", "ema/prior/hyper/up1", "fixed/prior/domain/see_factor")
    old, new = ({name: np.full(1, v) for name in names} for v in (1, 2))
    found = with_frozen(old | {"step": np.int32(7)}, new, ("prior",))
    assert [found[name].item() for name in (*names, "step")] == [1, 2, 2, 7]
