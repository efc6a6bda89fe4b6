"""Small codecs with random weights, one of each family, and pictures to code.

They compile in seconds and start from a low-frequency cosine transform, so that what
they decode resembles the picture. Nothing here needs trained weights or data sets.
"""

import dataclasses
import functools
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from codax.codecs import granular, walloc
from codax.codecs.families import FAMILIES
from codax.entropy import exact, networks, quantisers
from codax.face.building import pack_model
from codax.face.codec import Codec
from codax.train.counting import first_tables
from codax.train.graphs.networks import graphs_of
from codax.transforms import layers
from codax.transforms.autoencoder import TransformWidths
from codax.transforms.cell_types import Fitted
from codax.transforms.fronts import octaves
from codax.transforms.klt import block_order
from codax.zoo.weights import weights_hash

FIXTURES = Path(__file__).parent / "fixtures"
LATENTS = 16
WIDTHS = {
    "transforms": TransformWidths(
        latents=LATENTS,
        fine=8,
        coarse=16,
        analysis_fine=1,
        analysis_coarse=1,
        synthesis_coarse=1,
        synthesis_fine=1,
    ),
    "side": 4,
    "hyper": 8,
    "middle": 8,
    "features": 16,
    "hidden": 24,
    "blocks": 1,
    "slices": (3, 5, 8),
    "residual": 8,
    "sizes": (255, 63),
    "ends": (4,),
    "coarse": 2,
    "fine": 2,
    "coarse_codes": 16,
    "fine_codes": 16,
    "coarse_dimension": 4,
    "fine_dimension": 4,
    "books": 2,
    "stages": (1, 1, 1),
    "level_codes": (16, 16, 16),
    "level_dimensions": (4, 4, 4),
    "length": 6,
    "tile_codes": 16,
    "tile_dimension": 4,
    "tile_components": 4,
    "octaves": (4, 4, 4, 4),
    "levels": 2,
    "split": 1,
    "channels": 8,
    "typed": 8,
    "map_features": 8,
    "width": 16,
}
"""Widths by the names of a configuration's fields; a family uses those that it has."""
ENHANCED = "-enhanced"
"""At the end of a name: with an enhancement layer."""
CODECS = (*FAMILIES, "quadtree" + ENHANCED)


def family_of(name: str):
    """The family of a small codec."""
    return FAMILIES[name.removesuffix(ENHANCED)]


def small_config(name: str):
    """The configuration of a small codec of a family."""
    kind = family_of(name).config
    known = {field.name for field in dataclasses.fields(kind)}
    config = kind(**{key: value for key, value in WIDTHS.items() if key in known})
    if name.endswith(ENHANCED):
        config = dataclasses.replace(config, enhancement=16)
    if name == "wavelet":
        front = dataclasses.replace(config.transforms, front="wavelet")
        config = dataclasses.replace(config, transforms=front)
    return config


def cosine_matrix(components: int, side: int = 16) -> np.ndarray:
    """Orthonormal columns, float32[3 side^2 M]: low-frequency cosines of blocks."""
    place = np.arange(side) + 0.5
    rows = np.cos(np.pi / side * np.outer(np.arange(side), place)) / np.sqrt(side / 2)
    rows[0] /= np.sqrt(2)
    colours = np.linalg.qr(np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]).T)[0].T
    # Chroma counts as four steps of frequency, as in a picture.
    wanted = sorted(
        (u + v + 4 * (c > 0), c, u, v)
        for c in range(3)
        for u in range(side)
        for v in range(side)
    )
    columns = [
        np.einsum("i,j,c->ijc", rows[u], rows[v], colours[c]).ravel()
        for _, c, u, v in wanted[:components]
    ]
    return np.stack(columns, 1).astype(np.float32)


def hadamard_matrix() -> np.ndarray:
    """Orthonormal columns of two values, but for colours, float32[768 768]."""
    two = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    found = np.linalg.qr(np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]).T)[0]
    for _ in range(8):
        found = np.kron(two, found)
    return found.astype(np.float32)


def small_networks(name: str, seed: int = 0):
    """The networks of a small codec, with random weights that do something."""
    config = small_config(name)
    random = np.random.default_rng(seed)

    def normal(key, shape, scale=1.0):
        return jnp.asarray(random.standard_normal(shape) * scale, jnp.float32)

    # One stream of numbers for all that is random here.
    with ExitStack() as patches:
        for module in (layers, exact, networks, quantisers):
            patches.enter_context(mock.patch.object(module, "normal", normal))
        model = family_of(name).networks(config, rngs=nnx.Rngs(seed))
    if family_of(name).lossless:
        model.start(
            lambda count, side: np.stack([photo()[:side, 230 : 230 + side]] * count)
        )
    elif name in ("walloc", "granular"):
        _start_from_photo(name, model, random)
    else:
        _start_lossy(name, model, config, random)
    # Heads start near zero; louder ones make means and tables differ. Those of a codec
    # without rounding would be so far off that most symbols were escapes.
    loud = 1.0 if family_of(name).lossless else 4.0
    for path, layer in nnx.iter_modules(model.prior):
        if path and str(path[-1]).startswith(("mean", "scale")):
            layer.kernel[...] = layer.kernel[...] * loud
            noise = random.normal(0, 0.05, layer.bias.shape)
            layer.bias[...] = layer.bias[...] + jnp.asarray(noise, jnp.float32)
    return model, config


def _start_lossy(name, model, config, random):
    """Sets the cosine transform, and noise into the networks beside it."""
    latents = config.transforms.latents
    std = (300.0 / (1.0 + np.arange(latents))).astype(np.float32)
    colour = np.full(3, 128.0, np.float32)
    if config.transforms.front == "wavelet":
        # The first bands of each octave, luma and colour differences.
        matrix = np.zeros((768, latents), np.float32)
        colours = np.linalg.qr(np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]).T)[0]
        for k, octave in enumerate(octaves()):
            begin = k * latents // 4
            matrix[octave[:3], begin : begin + 3] = colours
            matrix[octave[3], begin + 3] = 1.0
        model.set_transform_coder(colour, matrix, matrix.T, std)
    elif name == "adaptive":
        model.set_types(small_types())
    else:
        matrix = cosine_matrix(latents)
        model.set_transform_coder(colour, matrix, matrix.T[:, block_order()], std)
    # The networks beside the linear path end in zeros; here they shall count.
    own = (model.g_s,) if name == "adaptive" else (model.g_a, model.g_s)
    for layer in (network.leave for network in own):
        noise = random.normal(0, 0.02, layer.kernel.shape)
        layer.kernel[...] = jnp.asarray(noise, jnp.float32)
    if model.adapts:
        # As many vectors of a codec whose vectors are large.
        side = 64 * getattr(model, "token_span", 1)
        places = random.integers(0, 576 - side, (12, 2))
        crops = [photo()[i : i + side, j : j + side] for i, j in places]
        model.adapt(np.stack(crops).astype(np.float32), "start")
    if name.endswith(ENHANCED):  # packs better than what was fitted
        model.g_e.klt[...] = jnp.asarray(hadamard_matrix())
        model.prior.enhancement.set_scale(np.full(768, 3.0))


def _start_from_photo(name, model, random):
    """Fits the linear maps to parts of the photo, and sets noise beside them."""
    places = random.integers(0, 448, (24, 2))
    parts = [photo()[i : i + 128, j : j + 128] for i, j in places]
    module = {"walloc": walloc, "granular": granular}[name]
    with mock.patch.object(module, "SAMPLES", len(parts)):
        model.start(lambda count, side: np.stack(parts))
    noise = random.normal(0, 0.02, model.g_s.leave.kernel.shape)
    model.g_s.leave.kernel[...] = jnp.asarray(noise, jnp.float32)


def small_types() -> Fitted:
    """Cosines of blocks and of quarters; of each a second type, turned by a quarter."""
    large = cosine_matrix(768)
    small = cosine_matrix(192, 8)
    turned = small.reshape(8, 8, 3, 192).transpose(1, 0, 2, 3).reshape(192, 192)
    flipped = large.reshape(16, 16, 3, 768).transpose(1, 0, 2, 3).reshape(768, 768)
    order = block_order()
    std = (20.0 + 300.0 / (1.0 + np.arange(768))).astype(np.float32)
    return Fitted(
        colour=np.full(3, 128.0, np.float32),
        large=np.stack([large[order], flipped[order]]),
        small=np.stack([small, turned]),
        mixed=np.tile((np.arange(192) < 3).astype(np.float32), (2, 1)),
        std=np.tile(std, (4, 1)),
        whole=std,
        share=np.array([0.4, 0.3, 0.2, 0.1], np.float32),
    )


def packed_codec(name: str, seed: int = 0):
    """Stored weights and card of a small codec."""
    model, config = small_networks(name, seed)
    packed = pack_model(model)
    kind = family_of(name)
    card = {
        "name": f"{name}-small-v1",
        "codec": kind.name,
        "preset": "small",
        "version": 1,
        "codec_id": kind.codec_id,
        "weights_hash": weights_hash(packed).hex(),
        "config": dataclasses.asdict(config),
        "qualities": list(kind.qualities),
        "lossless": kind.lossless,
    }
    return packed, card


def with_trellis(packed, card, start: int):
    """The same with first tables of dependent quantisation, from a quality on."""
    tables = first_tables(start=start)
    packed = packed | tables
    return packed, card | {"weights_hash": weights_hash(packed).hex()}


@functools.cache
def small_codec(name: str, **options) -> Codec:
    """A small codec, made once a process for each set of options."""
    return traced(*packed_codec(name), **options)


def traced(packed, card, **options) -> Codec:
    """A codec whose networks are traced to graphs when the oracle first needs them."""
    codec = Codec(
        packed, card, graphs=lambda: graphs_of(codec.model, packed), **options
    )
    return codec


@functools.cache
def photo() -> np.ndarray:
    """The picture that ships with the repository, uint8[576 576 3]."""
    return np.asarray(Image.open(FIXTURES / "guitar.png").convert("RGB"))


def synthetic(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture of gradients, waves, edges and noise, uint8[H W 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(3):
        angle, period = random.uniform(0, np.pi), random.uniform(6, 60)
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / period)
        edge = np.sign(np.sin(x / random.uniform(20, 90)) * np.cos(y / 37.0))
        ramp = random.uniform(-1, 1) * x / width + random.uniform(-1, 1) * y / height
        noise = random.normal(0, 0.2, (height, width)) * (x > width / 2)
        planes.append(128 + 40 * wave + 30 * edge + 50 * ramp + 25 * noise)
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
