"""Contexts of tokens: which of a layer's stored tables codes each token.

Tokens of a residual quantiser lie on the grid of cells, float32[N h w S] with integers:
first those of the coarse layers, one a cell (depth 0); then those of finer layers, four
a cell (depth 1) in the order (0,0), (0,1), (1,0), (1,1) of its quarters, then sixteen
(depth 2), those of each quarter in the same order, and so on. A table is found from
stored integer maps of codes, sums over neighbours and thresholds, all exact:

* the first layer from the brightness of codes around, the rest of the cells in three
  groups: nothing known, diagonal neighbours, direct neighbours; where cells are as
  large as those of the coarsest grid, at which tiles may begin, nothing is known;
* the second layer, if it is coarse, from the kind of the code before it at this place
  (8) and the contrast of the first layer (8);
* any other layer from the kind of the code before it (8) and the activity around (8):
  bits of the codes of the layers before here, of the layer before at the neighbours,
  and of a finer layer, in the second half of a checkerboard, of this layer at the
  neighbours.

What lies outside the picture counts as nothing. The maps, thresholds and tables are
fitted to tokens of training pictures by `fit`.

Source: contexts of significance are EBCOT's (Taubman 2000), the checkerboard is He et
al. 2021; here for vector indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.entropy.clusters import SHRINKAGE, prices
from codax.entropy.tables import integer_table
from codax.errors import ModelError
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.layers import Fixed, grid_mask

__all__ = [
    "DIAGONAL",
    "DIRECT",
    "FINE_PARTS",
    "KINDS",
    "TABLES",
    "IndexContexts",
    "groups_of",
]

TABLES = 64
"""Tables of a layer."""
KINDS, BINS = 8, 8
DIAGONAL, DIRECT = 31, 32
"""Tables of the first layer with diagonal and with direct neighbours; one has none."""
FINE_PARTS = ((0, 3), (1, 2))
"""Quarters that the two steps of a finer layer code."""
EARLIER = 4
"""Layers of the same depth, beside the one before, whose activity counts."""


_stored = partial(Fixed, stored="float32")
"""Makes integers that lie with the weights as float32."""


def groups_of(span: int) -> bool:
    """Whether cells of `span` by `span` can be told apart by parity in every tile.

    Tiles begin at multiples of 4 cells of 16x16 pixels.
    """
    return span < 4


class IndexContexts(nnx.Module):
    """Stored maps of codes, thresholds and tables.

    Attributes:
        codes: number of codes of each layer.
        depths: how often a cell is quartered for each layer, rising from 0.
        span: side of a cell in cells of 16x16 pixels.
        grouped: whether the first layer is coded in three groups of cells.
    """

    def __init__(self, codes: Sequence[int], depths: Sequence[int], span: int = 1):
        """Makes maps and tables that know nothing; see `fit`."""
        self.codes, self.depths, self.span = tuple(codes), tuple(depths), span
        self.grouped = groups_of(span)
        for layer, count in enumerate(codes):
            setattr(self, f"activity{layer}", _stored(jnp.zeros((count,))))
            setattr(self, f"kind{layer}", _stored(jnp.zeros((count,))))
        for name, bins in self._bins().items():
            setattr(self, f"edges_{name}", _stored(jnp.ones((bins - 1,))))
        even = [integer_table(np.full(n, 1.0 / n)) for n in codes]
        tables = [table for table in even for _ in range(TABLES)]
        # Stored once, as the tables of the range coder.
        self.frequencies = Fixed(
            jnp.asarray(np.concatenate(tables), jnp.float32),
            stored="tables/bank/frequencies",
        )

    def _bins(self) -> dict[str, int]:
        """By the name of a sum, into how many bins it falls."""
        bins = {"0_diagonal": DIAGONAL, "0_direct": DIRECT} if self.grouped else {}
        for layer in range(1, len(self.codes)):
            parts = ("_0", "_1") if self.depths[layer] else ("",)
            bins |= {f"{layer}{part}": BINS for part in parts}
        return bins

    @property
    def starts(self) -> np.ndarray:
        """Where each table begins among the frequencies, int32[layers * 64]."""
        sizes = np.repeat(np.asarray(self.codes) + 1, TABLES)
        return (np.cumsum(sizes) - sizes).astype(np.int32)

    def slots(self, layer: int) -> slice:
        """A layer's tokens among the S of a cell."""
        begin = sum(4**depth for depth in self.depths[:layer])
        return slice(begin, begin + 4 ** self.depths[layer])

    def places(self, layer: int, part: int) -> list[int]:
        """Of a finer layer's tokens of a cell, those that a step codes."""
        return [k for k in range(4 ** self.depths[layer]) if k % 4 in FINE_PARTS[part]]

    def _extent(self, extent: jax.Array | None, depth: int = 0) -> jax.Array | None:
        """The picture's own part of a grid of cells or of their parts, see `grid_mask`.

        Args:
            extent: that of the grid of 16x16 pixels.
            depth: how often a cell is quartered.
        """
        if extent is None:
            return None
        if self.span > 1:
            extent = (extent + (self.span - 1)) // self.span
        return extent if depth == 0 else 2**depth * extent

    def _look(self, kind: str, layer: int, y: jax.Array) -> jax.Array:
        """Looks the tokens of a layer up in a map, on the layer's own grid."""
        table = getattr(self, f"{kind}{layer}")[...]
        own = y[..., self.slots(layer)].astype(jnp.int32)
        return _spread(jnp.take(table, own, 0), self.depths[layer])

    def _bin(self, name: str, total: jax.Array) -> jax.Array:
        """The bin of a sum, by its stored thresholds."""
        edges = getattr(self, f"edges_{name}")[...]
        beyond = (total[..., None] >= edges).astype(jnp.float32)
        ones = jnp.ones((edges.shape[0],))
        return jnp.dot(beyond, ones, precision="highest")

    # The sums that choose tables; each is an integer.

    def brightness(self, y: jax.Array, direct: bool, extent: jax.Array | None):
        """Twelve times the mean brightness around, and how many neighbours that is of.

        Args:
            y: tokens, float32[N h w S].
            direct: direct neighbours of the positions whose row and column differ in
                parity; else diagonal ones of those where both are odd.
            extent: of the grid of 16x16 pixels, see `grid_mask`.

        Returns:
            Two float32[N h w 1].
        """
        value = self._look("activity", 0, y)
        row = jnp.arange(y.shape[1])[:, None, None]
        column = jnp.arange(y.shape[2])[None, :, None]
        odd = (row + column) % 2 if direct else jnp.maximum(row % 2, column % 2)
        known = jnp.broadcast_to(jnp.asarray(1.0 - odd, jnp.float32), value.shape)
        known = grid_mask(known, self._extent(extent))
        count = _around(known, direct)
        twelfth = jnp.take(jnp.asarray([0.0, 12, 6, 4, 3]), count.astype(jnp.int32), 0)
        return _around(value * known, direct) * twelfth, count

    def contrast(self, y: jax.Array, extent: jax.Array | None) -> jax.Array:
        """Differences of brightness to the direct neighbours, summed: [N h w 1]."""
        value = self._look("activity", 0, y)
        inside = grid_mask(jnp.ones_like(value), self._extent(extent))
        total = jnp.zeros_like(value)
        for there, is_there in zip(
            _shifts(value, True), _shifts(inside, True), strict=True
        ):
            total = total + jnp.abs(value - there) * is_there
        return total

    def activity(self, y: jax.Array, layer: int, part: int, extent: jax.Array | None):
        """The activity around the tokens of a layer, on its grid, float32[N H W 1]."""
        depth = self.depths[layer]
        finer = self._extent(extent, depth)
        before = grid_mask(self._before("activity", layer, y), finer)
        total = 2.0 * _around(before, True) + 4.0 * before
        others = [k for k in range(layer - 1) if self.depths[k] == depth]
        for other in others[-EARLIER:]:
            total = total + 4.0 * self._look("activity", other, y)
        if part:
            own = grid_mask(self._look("activity", layer, y), finer)
            row, column = (jnp.arange(side) for side in own.shape[1:3])
            even = 1.0 - (row[:, None] + column[None, :]) % 2
            own = own * jnp.asarray(even[..., None], jnp.float32)
            total = total + 4.0 * _around(own, True)
        return total

    def _before(self, kind: str, layer: int, y: jax.Array) -> jax.Array:
        """A map of the layer before, on a layer's own grid."""
        found = self._look(kind, layer - 1, y)
        for _ in range(self.depths[layer] - self.depths[layer - 1]):
            found = depth_to_space(jnp.concatenate([found] * 4, -1), 2)
        return found

    # The tables, as layer * 64 + table.

    def first(self, y: jax.Array, direct: bool, extent: jax.Array | None) -> jax.Array:
        """Tables of the first layer's tokens, float32[N h w 1]."""
        total, count = self.brightness(y, direct, extent)
        name, base = ("0_direct", 1 + DIAGONAL) if direct else ("0_diagonal", 1)
        return jnp.where(count > 0, base + self._bin(name, total), 0.0)

    def further(self, y: jax.Array, layer: int, extent: jax.Array | None) -> jax.Array:
        """Tables of the tokens of a further coarse layer, float32[N h w 1]."""
        kind = self._look("kind", layer - 1, y)
        found = self._bin(str(layer), self._further_sum(y, layer, extent))
        return layer * TABLES + BINS * kind + found

    def _further_sum(self, y: jax.Array, layer: int, extent: jax.Array | None):
        if layer == 1:
            return self.contrast(y, extent)
        return self.activity(y, layer, 0, extent)

    def fine(self, y: jax.Array, layer: int, part: int, extent: jax.Array | None):
        """Tables of the tokens of half a finer layer, float32[N h w 4**depth / 2]."""
        kind = self._before("kind", layer, y)
        found = self._bin(f"{layer}_{part}", self.activity(y, layer, part, extent))
        whole = layer * TABLES + BINS * kind + found
        for _ in range(self.depths[layer]):
            whole = space_to_depth(whole, 2)
        own = [whole[..., k : k + 1] for k in self.places(layer, part)]
        return jnp.concatenate(own, -1)

    def check(self) -> None:
        """Checks that maps and thresholds are integers that keep every sum exact.

        Raises:
            ModelError: one is not, or beyond its range.
        """
        limits = {"activity": 255, "kind": KINDS - 1}
        for name, value in nnx.to_pure_dict(nnx.state(self)).items():
            values = np.asarray(value, np.float64)
            limit = limits.get(name.rstrip("0123456789"), 2**24)
            if not np.all((values == np.round(values)) & (values >= 0)):
                raise ModelError(f"bank: {name} holds other than whole numbers from 0")
            if values.max() > limit:
                raise ModelError(
                    f"bank: {name} reaches {values.max():g}, expected at most {limit}"
                )

    # Fitting, on whole pictures or crops.

    def fit(self, tokens: np.ndarray, brightness: np.ndarray) -> None:
        """Fits maps, thresholds and tables to tokens.

        Args:
            tokens: int32[N h w S].
            brightness: float32[K], of the first layer's codes; only its order counts.
        """
        self._fit_maps(tokens, brightness)
        y = jnp.asarray(tokens, jnp.float32)
        for name, total in jax.jit(self._sums)(y).items():
            edges = getattr(self, f"edges_{name}")
            edges[...] = jnp.asarray(_thresholds(np.asarray(total), edges.shape[0]))
        tables = []
        for layer, found in enumerate(jax.jit(self._tables)(y)):
            own = tokens[..., self.slots(layer)]
            index = np.asarray(found).astype(np.int64) - layer * TABLES
            tables += _count_tables(own.ravel(), index.ravel(), self.codes[layer])
        self.frequencies[...] = jnp.asarray(np.concatenate(tables), jnp.float32)

    def _fit_maps(self, tokens: np.ndarray, brightness: np.ndarray) -> None:
        """Sets the maps of codes."""
        activity = []
        for layer, count in enumerate(self.codes):
            own = tokens[..., self.slots(layer)]
            bits = np.round(prices(own, count))
            activity.append(bits - bits.min())
        for layer, count in enumerate(self.codes):
            own = tokens[..., self.slots(layer)]
            counts = np.bincount(own.ravel(), minlength=count)
            shown = activity[layer] if layer else _ranks(brightness, counts, 256)
            getattr(self, f"activity{layer}")[...] = jnp.asarray(shown, jnp.float32)
            if layer + 1 == len(self.codes):
                continue
            then = activity[layer + 1][tokens[..., self.slots(layer + 1)]]
            then = then.reshape(*own.shape, -1).mean(-1)
            sums = np.bincount(own.ravel(), then.ravel(), minlength=count)
            mean = (sums + then.mean()) / (counts + 1)
            kinds = _ranks(mean, counts, KINDS)
            getattr(self, f"kind{layer}")[...] = jnp.asarray(kinds, jnp.float32)

    def _sums(self, y: jax.Array) -> dict[str, jax.Array]:
        """Every sum that has thresholds, where it is used."""
        found = {}
        if self.grouped:
            found["0_diagonal"] = self.brightness(y, False, None)[0][:, 1::2, 1::2]
            found["0_direct"] = self.brightness(y, True, None)[0][:, ::2, 1::2]
        for layer in range(1, len(self.codes)):
            if not self.depths[layer]:
                found[str(layer)] = self._further_sum(y, layer, None)
                continue
            found[f"{layer}_0"] = self.activity(y, layer, 0, None)[:, ::2, ::2]
            found[f"{layer}_1"] = self.activity(y, layer, 1, None)[:, ::2, 1::2]
        return found

    def _tables(self, y: jax.Array) -> list[jax.Array]:
        """By layer, the table of each token, float32[N h w slots]."""
        found = [self._first_tables(y)]
        for layer in range(1, len(self.codes)):
            if not self.depths[layer]:
                found.append(self.further(y, layer, None))
                continue
            halves = [self.fine(y, layer, part, None) for part in (0, 1)]
            places = self.places(layer, 0) + self.places(layer, 1)
            found.append(jnp.concatenate(halves, -1)[..., np.argsort(places)])
        return found

    def _first_tables(self, y: jax.Array) -> jax.Array:
        n, h, w, _ = y.shape
        if not self.grouped:
            return jnp.zeros((n, h, w, 1))
        row = np.arange(h)[:, None, None]
        column = np.arange(w)[None, :, None]
        shape = (n, h, w, 1)
        odd = np.broadcast_to(row % 2 + column % 2 == 1, shape)
        both = np.broadcast_to(row % 2 + column % 2 == 2, shape)
        first = jnp.where(both, self.first(y, False, None), 0.0)
        return jnp.where(odd, self.first(y, True, None), first)


def _spread(x: jax.Array, depth: int) -> jax.Array:
    """Parts of cells, [N h w 4**depth], on the grid of parts."""
    for _ in range(depth):
        x = depth_to_space(x, 2)
    return x


def _shifts(x: jax.Array, direct: bool) -> list[jax.Array]:
    """The four direct or diagonal neighbours of each position; zero beyond."""
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = (
        ((0, 1), (1, 0), (1, 2), (2, 1)) if direct else ((0, 0), (0, 2), (2, 0), (2, 2))
    )
    return [padded[:, i : i + h, j : j + w] for i, j in places]


def _around(x: jax.Array, direct: bool) -> jax.Array:
    """The sum over four neighbours."""
    first, second, third, fourth = _shifts(x, direct)
    return first + second + third + fourth


def _ranks(score: np.ndarray, counts: np.ndarray, levels: int) -> np.ndarray:
    """Parts things into groups of about equal mass by rising score.

    Args:
        score: of each thing.
        counts: its mass; one that is heavier than a group's share has its own.
        levels: number of groups.

    Returns:
        The group of each, 0..levels-1.
    """
    found = np.zeros(len(score))
    level, filled, left = 0, 0.0, float(counts.sum())
    for thing in np.argsort(score, kind="stable"):
        share = left / (levels - level)
        if filled and filled + counts[thing] / 2 > share and level < levels - 1:
            level, filled, left = level + 1, 0.0, left - filled
        found[thing] = level
        filled += counts[thing]
    return found


def _thresholds(total: np.ndarray, count: int) -> np.ndarray:
    """Rising integers that part sums into bins of about equal mass, float32[count]."""
    values, counts = np.unique(total, return_counts=True)
    bins = _ranks(values, counts, count + 1)
    # Bins that nothing falls into begin beyond the largest sum.
    edges = values[-1] + 1 + np.arange(count)
    for place in range(count):
        above = values[bins > place]
        if above.size:
            edges[place] = above[0]
    return edges.astype(np.float32)


def _count_tables(tokens: np.ndarray, index: np.ndarray, codes: int):
    """The 64 tables of a layer from its tokens and the table that each has."""
    joint = np.bincount(index * codes + tokens, minlength=TABLES * codes)
    joint = joint.reshape(TABLES, codes).astype(np.float64)
    common = joint.sum(0) + 0.25
    mixed = joint + SHRINKAGE * common / common.sum()
    return [integer_table(row / row.sum()) for row in mixed]
