"""SOAP against a dense reference that knows no stacking and no clever products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codax.coding.trees import flatten
from codax.train.soap import SoapState, one_by_one, refresh_bases, scale_by_soap

SHAPES = {
    "a": (18, 18),
    "b": (18, 18),
    "pair": (2, 17, 17),
    "tall": (500, 17),
    "vector": (20,),
    "kernel": (3, 3, 5),
}
B1 = B2 = 0.95


class Dense:
    """One matrix (or vector): Adam on Q^T vec(g), Q the Kronecker product of bases."""

    def __init__(self, shape, rotated):
        self.rotated = rotated
        self.left, self.right = np.zeros((shape[0],) * 2), np.zeros((shape[-1],) * 2)
        self.ql, self.qr = np.eye(shape[0]), np.eye(shape[-1])
        self.mean, self.square = np.zeros(shape), np.zeros(shape)

    def rotate(self, g):
        left, right = self.rotated
        ql = self.ql if left else np.eye(len(self.ql))
        qr = self.qr if right else np.eye(len(self.qr))
        return np.einsum("ia,ij,jb->ab", ql, g, qr) if left or right else g

    def back(self, g):
        left, right = self.rotated
        ql = self.ql if left else np.eye(len(self.ql))
        qr = self.qr if right else np.eye(len(self.qr))
        return np.einsum("ia,ab,jb->ij", ql, g, qr) if left or right else g

    def update(self, g, step):
        """The update of a step, 0 for the first, which only gathers factors."""
        keep = B2 if step else 0.0
        if any(self.rotated):
            self.left = keep * self.left + (1 - keep) * g @ g.T
            self.right = keep * self.right + (1 - keep) * g.T @ g
        if step == 0:
            return np.zeros_like(g)
        self.mean = B1 * self.mean + (1 - B1) * g
        self.square = B2 * self.square + (1 - B2) * self.rotate(g) ** 2
        mean = self.rotate(self.mean) / (1 - B1**step)
        return self.back(mean / (np.sqrt(self.square / (1 - B2**step)) + 1e-8))

    def refresh(self, step):
        for side, axis in (("left", 0), ("right", 1)):
            if not self.rotated[axis]:
                continue
            factor, name = getattr(self, side), f"q{side[0]}"
            if step == 0:
                setattr(self, name, np.linalg.eigh(factor)[1][:, ::-1])
                continue
            basis = getattr(self, name)
            order = np.argsort(-np.diag(basis.T @ factor @ basis))
            setattr(self, name, np.linalg.qr((factor @ basis)[:, order])[0])
            self.square = np.take(self.square, order, axis)


def references():
    rotated = {"tall": (False, True), "vector": (False, False)}
    found = {}
    for name, shape in SHAPES.items():
        if name == "pair":
            found[name] = [Dense(shape[1:], (True, True)) for _ in range(2)]
        elif name == "kernel":
            found[name] = [Dense(shape, (False, False))]
        else:
            found[name] = [Dense(shape, rotated.get(name, (True, True)))]
    return found


@pytest.mark.parametrize("batched", [False, True])
def test_updates_equal_the_dense_reference(batched):
    random = np.random.default_rng(0)
    params = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
    optimizer = scale_by_soap(batched=batched)
    state, dense = optimizer.init(params), references()
    update = jax.jit(optimizer.update)
    for step in range(14):
        grads = {
            name: random.normal(size=shape).astype(np.float32)
            for name, shape in SHAPES.items()
        }
        updates, state = update(grads, state)
        for name, parts in dense.items():
            pieces = grads[name] if name == "pair" else grads[name][None]
            expected = [p.update(g, step) for p, g in zip(parts, pieces, strict=True)]
            expected = np.array(expected).reshape(SHAPES[name])
            np.testing.assert_allclose(updates[name], expected, rtol=5e-3, atol=5e-3)
        if step == 0 or (step + 1) % 5 == 0:
            state = refresh_bases(state)
            for parts in dense.values():
                for part in parts:
                    part.refresh(step)


def test_the_first_step_only_gathers_factors():
    params = {"a": jnp.zeros((20, 20)), "b": jnp.zeros(3)}
    optimizer = scale_by_soap()
    grads = jax.tree.map(jnp.ones_like, params)
    updates, state = optimizer.update(grads, optimizer.init(params))
    assert all(not np.any(u) for u in jax.tree.leaves(updates))
    np.testing.assert_array_equal(state.left["20x20.0000"][0], np.full((20, 20), 20.0))


@pytest.mark.parametrize("shape", [(401, 20), (20, 401), (401, 402)])
def test_long_sides_are_not_rotated(shape):
    state = scale_by_soap(max_side=400).init({"a": jnp.zeros(shape)})
    name = f"{shape[0]}x{shape[1]}.0000"
    assert (state.left[name].size == 0) == (shape[0] > 400)
    assert (state.right[name].size == 0) == (shape[1] > 400)


def test_bases_stay_orthonormal_and_other_states_are_left_alone():
    random = np.random.default_rng(1)
    params = {"a": jnp.zeros((24, 20))}
    optimizer = scale_by_soap()
    state = optimizer.init(params)
    for _ in range(3):
        grads = {"a": jnp.asarray(random.normal(size=(24, 20)), jnp.float32)}
        _, state = optimizer.update(grads, state)
        state = refresh_bases(state)
    basis = np.asarray(state.left_basis["24x20.0000"][0])
    np.testing.assert_allclose(basis.T @ basis, np.eye(24), atol=1e-5)
    chained = ("clip", {"n": jnp.ones(2)}, state)
    found = refresh_bases(chained)
    assert found[0] == "clip"
    assert isinstance(found[2], SoapState)


def test_the_first_bases_are_eigenvectors_after_several_steps_too():
    random = np.random.default_rng(2)
    optimizer = scale_by_soap()
    state = optimizer.init({"a": jnp.zeros((18, 17))})
    for _ in range(3):  # Of one compiled call, say.
        grads = {"a": jnp.asarray(random.normal(size=(18, 17)), jnp.float32)}
        _, state = optimizer.update(grads, state)
    found = refresh_bases(state)
    for factors, bases in (
        (state.left, found.left_basis),
        (state.right, found.right_basis),
    ):
        factor, basis = np.asarray(factors["18x17.0000"]), bases["18x17.0000"]
        turned = np.swapaxes(basis, 1, 2) @ factor @ basis
        values = np.diagonal(turned[0])
        np.testing.assert_allclose(turned[0], np.diag(values), atol=1e-4)
        assert np.all(np.diff(values) <= 0)
    # Squares are spread over the new columns; none is lost.
    before, after = (np.asarray(x.square["a"]) for x in (state, found))
    assert after.min() > 0
    assert after.sum() == pytest.approx(before.sum(), rel=1e-5)
    assert not np.allclose(before, after)


def test_a_state_with_batches_is_taken_apart():
    random = np.random.default_rng(3)
    params = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
    grads = {
        name: jnp.asarray(random.normal(size=shape), jnp.float32)
        for name, shape in SHAPES.items()
    }
    batches, single = (scale_by_soap(batched=b) for b in (True, False))
    _, old = batches.update(grads, batches.init(params))
    _, new = single.update(grads, single.init(params))
    wanted = flatten(new)
    found = one_by_one(flatten(old), wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5)
