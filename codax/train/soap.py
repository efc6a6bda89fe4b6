"""SOAP: Adam in the eigenbasis of Shampoo's factors, as an optax transformation.

For a matrix G the factors L = E[G G^T] and R = E[G^T G] are tracked; their
eigenvectors Q_L, Q_R give a rotated gradient Q_L^T G Q_R, in which Adam runs. A side
longer than `max_side` is not rotated; vectors and other arrays that are no matrices get
plain Adam. Three-axis arrays of shape [k, a, b] with small k are k matrices. On an
accelerator matrices of one shape are worked on as a batch. On a CPU each array is by
itself: the same products of each take half of the time, and no parts need be cut out of
a batch. XLA's CPU compiles equal fusions once, but a cut at another place is another.

The bases are refreshed every few steps by `refresh_bases`, one power iteration and a QR
decomposition, which the training loop calls between steps. It is no part of the
compiled step: batched LAPACK calls inside one deadlock XLA's CPU thread pool (seen with
jaxlib 0.10.2 on two cores), and without it the step compiles in half the time.

Source: Vyas et al. 2024 (SOAP); for learned codecs Zhang and Zhu 2026, arXiv
2601.20769. The first step only gathers the factors, as there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

__all__ = ["SoapState", "one_by_one", "refresh_bases", "scale_by_soap"]


class SoapState(NamedTuple):
    """State: step count, moments by leaf, factors and bases by group of matrices."""

    count: jax.Array  # type: ignore[assignment]
    mean: optax.Updates
    square: optax.Updates
    left: dict[str, jax.Array]
    right: dict[str, jax.Array]
    left_basis: dict[str, jax.Array]
    right_basis: dict[str, jax.Array]


def _is_matrix(x: jax.Array) -> bool:
    if x.ndim == 2:
        return min(x.shape) > 16
    return x.ndim == 3 and x.shape[0] <= 4 and min(x.shape[1:]) > 16


def _groups(leaves: list[jax.Array], batched: bool) -> dict[str, list[int]]:
    """Indices of the matrix leaves, by shape `axb`, or one by one as `axb.index`."""
    groups: dict[str, list[int]] = {}
    for i, leaf in enumerate(leaves):
        if _is_matrix(leaf):
            a, b = leaf.shape[-2:]
            name = f"{a}x{b}" if batched else f"{a}x{b}.{i:04d}"
            groups.setdefault(name, []).append(i)
    return groups


def _stack(xp: Any, leaves: list, members: list[int]) -> Any:
    return xp.concatenate([_as_batch(leaves[i]) for i in members])


def _as_batch(x: Any) -> Any:
    return x.reshape(-1, *x.shape[-2:])


def _unstack(stacked, leaves: list, members: list[int], out: list) -> None:
    start = 0
    for i in members:
        count = _as_batch(leaves[i]).shape[0]
        out[i] = stacked[start : start + count].reshape(leaves[i].shape)
        start += count


def _rotate(g, left, right):
    """Q_L^T G Q_R; a basis of size zero stands for the identity."""
    if left.size:
        g = jnp.einsum("kar,kab->krb", left, g, precision="highest")
    if right.size:
        g = jnp.einsum("kab,kbc->kac", g, right, precision="highest")
    return g


def _rotate_back(g, left, right):
    if left.size:
        g = jnp.einsum("kab,kbc->kac", left, g, precision="highest")
    if right.size:
        g = jnp.einsum("kab,kcb->kac", g, right, precision="highest")
    return g


def _refresh(xp: Any, factor, basis):
    """One power iteration and QR, columns sorted by the eigenvalues' estimates.

    Returns the new basis and the order in which the old columns went in.
    """
    moved = factor @ basis
    order = xp.argsort(-xp.sum(basis * moved, 1), 1)
    moved = xp.take_along_axis(moved, order[:, None, :], 2)
    return xp.linalg.qr(moved)[0], order


def refresh_bases(opt_state: Any) -> Any:
    """Refreshes the bases of every `SoapState` in an optimiser state.

    The first time, from the identity, the bases become the factors' eigenvectors. On a
    CPU the work is NumPy's.

    Args:
        opt_state: a tree that may hold `SoapState`s.

    Returns:
        The same tree with new bases, on the default device, and squares that fit them.
    """
    is_soap = lambda x: isinstance(x, SoapState)  # noqa: E731
    xp = np if jax.default_backend() == "cpu" else jnp
    return jax.tree.map(
        lambda x: _refresh_state(xp, x) if is_soap(x) else x, opt_state, is_leaf=is_soap
    )


def _refresh_state(xp: Any, state: SoapState) -> SoapState:
    if int(state.count) == 0:
        return state  # Every step so far was skipped: there are no factors.
    square, treedef = jax.tree.flatten(state.square)
    before = [xp.asarray(leaf) for leaf in square]
    bases = {"left": dict(state.left_basis), "right": dict(state.right_basis)}

    def refresh(name: str, members: list[int]) -> None:
        v = _stack(xp, before, members)
        for side, axis in (("left", 1), ("right", 2)):
            factor = xp.asarray(getattr(state, side)[name])
            old = xp.asarray(bases[side][name])
            if not factor.size:
                continue
            if (old == xp.eye(old.shape[-1])).all():
                basis = xp.linalg.eigh(factor)[1][..., ::-1]
                # After several steps there are squares already: they are carried over
                # as if a gradient's entries were independent.
                weights = basis**2
                v = xp.swapaxes(weights, 1, 2) @ v if axis == 1 else v @ weights
            else:
                basis, order = _refresh(xp, factor, old)
                index = order[:, :, None] if axis == 1 else order[:, None, :]
                v = xp.take_along_axis(v, index, axis)
            bases[side][name] = jnp.asarray(basis, jnp.float32)
        _unstack(v, before, members, square)
        for i in members:
            square[i] = jnp.asarray(square[i], jnp.float32)

    groups = _groups(before, not any("." in name for name in state.left))
    # NumPy lets go of the interpreter in LAPACK: groups share out the cores.
    with ThreadPoolExecutor(os.cpu_count() if xp is np else 1) as pool:
        list(pool.map(refresh, groups, groups.values()))
    return state._replace(
        square=jax.tree.unflatten(treedef, square),
        left_basis=bases["left"],
        right_basis=bases["right"],
    )


def one_by_one(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Arrays of a run's state with matrices by themselves that were stored in batches.

    Args:
        arrays: by path, as stored; runs of earlier versions have batches.
        wanted: those of a state like the one to be filled.
    """
    found, taken = dict(arrays), dict.fromkeys(arrays, 0)
    for name in sorted(wanted.keys() - arrays.keys()):
        batch = name.rpartition(".")[0]
        if batch in arrays:
            begin = taken[batch]
            taken[batch] += len(wanted[name])
            found[name] = arrays[batch][begin : taken[batch]]
    return found


def scale_by_soap(
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    max_side: int = 400,
    batched: bool | None = None,
) -> optax.GradientTransformation:
    """Rescales updates by SOAP; multiply by minus the learning rate afterwards.

    Args:
        b1: decay of the mean.
        b2: decay of the squares and of Shampoo's factors.
        eps: added to the root of the squares.
        max_side: sides above it are not rotated.
        batched: matrices of one shape in a batch; None for all but CPUs.

    Returns:
        The transformation. Its first update is zero. Call `refresh_bases` on its state
        after that and every ten steps or so.
    """

    def zeros(*shape):
        # By NumPy: JAX would compile a program for every shape.
        return jnp.asarray(np.zeros(shape, np.float32))

    if batched is None:
        batched = jax.default_backend() != "cpu"

    def init(params):
        leaves = jax.tree.leaves(params)
        left, right, left_basis, right_basis = {}, {}, {}, {}
        for name, members in _groups(leaves, batched).items():
            k = sum(_as_batch(leaves[i]).shape[0] for i in members)
            sides = leaves[members[0]].shape[-2:]
            a, b = (s if s <= max_side else 0 for s in sides)
            left[name], right[name] = zeros(k, a, a), zeros(k, b, b)
            left_basis[name] = jnp.asarray(np.tile(np.eye(a, dtype="f"), (k, 1, 1)))
            right_basis[name] = jnp.asarray(np.tile(np.eye(b, dtype="f"), (k, 1, 1)))
        return SoapState(
            jnp.zeros((), jnp.int32),
            jax.tree.map(lambda p: zeros(*p.shape), params),
            jax.tree.map(lambda p: zeros(*p.shape), params),
            left,
            right,
            left_basis,
            right_basis,
        )

    def update(updates, state, params=None):
        del params
        grads, treedef = jax.tree.flatten(updates)
        first = state.count == 0
        count = state.count + 1
        mean = [
            b1 * m + (1 - b1) * g
            for m, g in zip(jax.tree.leaves(state.mean), grads, strict=True)
        ]
        square = list(jax.tree.leaves(state.square))
        # The first step gathers the factors only: moments start at the second, and
        # without a mean its update is zero.
        mean = [jnp.where(first, 0.0, m) for m in mean]
        steps = jnp.maximum(count - 1, 1).astype(jnp.float32)
        fix1, fix2 = 1 - b1**steps, 1 - b2**steps

        def adam(m, v):
            return (m / fix1) / (jnp.sqrt(v / fix2) + eps)

        out: list = [None] * len(grads)
        left, right = dict(state.left), dict(state.right)
        groups = _groups(grads, batched)
        in_group = {i for members in groups.values() for i in members}
        for i, g in enumerate(grads):
            if i not in in_group:
                v = b2 * square[i] + (1 - b2) * g * g
                square[i] = jnp.where(first, 0.0, v)
                out[i] = adam(mean[i], square[i])
        for name, members in groups.items():
            ql, qr = state.left_basis[name], state.right_basis[name]
            g, m, v = (_stack(jnp, x, members) for x in (grads, mean, square))
            g_rot, m_rot = _rotate(g, ql, qr), _rotate(m, ql, qr)
            v = jnp.where(first, 0.0, b2 * v + (1 - b2) * g_rot * g_rot)
            step = _rotate_back(adam(m_rot, v), ql, qr)
            _unstack(step, grads, members, out)
            keep = jnp.where(first, 0.0, b2)
            if ql.size:
                outer = jnp.einsum("kab,kcb->kac", g, g, precision="highest")
                left[name] = keep * left[name] + (1 - keep) * outer
            if qr.size:
                outer = jnp.einsum("kab,kac->kbc", g, g, precision="highest")
                right[name] = keep * right[name] + (1 - keep) * outer
            _unstack(v, grads, members, square)
        new = SoapState(
            count,
            jax.tree.unflatten(treedef, mean),
            jax.tree.unflatten(treedef, square),
            left,
            right,
            state.left_basis,
            state.right_basis,
        )
        return jax.tree.unflatten(treedef, out), new

    return optax.GradientTransformation(init, update)
