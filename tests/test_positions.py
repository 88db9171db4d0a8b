"""Sums over positions are sums, and so are the gradients of broadcasts, on CPU as elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.models.positions import spread, total

RNG = np.random.default_rng(0)
X, V = (jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in ((2, 21, 3), (2, 3)))
SUMS = np.asarray(X, np.float64).sum(1)


def by_definition(v):
    return np.repeat(np.asarray(v)[:, None], X.shape[1], 1)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_value_and_derivatives_in_both_modes(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    count = X.shape[1]
    np.testing.assert_allclose(total(X), SUMS, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(spread(V, count), by_definition(V))
    np.testing.assert_allclose(jax.jvp(total, (X,), (2 * X,))[1], 2 * SUMS, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jvp(lambda v: spread(v, count), (V,), (2 * V,))[1], by_definition(2 * V))
    np.testing.assert_array_equal(jax.vjp(total, X)[1](V)[0], by_definition(V))
    gradient = jax.vjp(lambda v: spread(v, count), V)[1](X)[0]
    np.testing.assert_allclose(gradient, SUMS, rtol=1e-5, atol=1e-5)


def test_a_sum_of_squares_has_the_curvature_of_its_definition_and_can_be_batched():
    def function(v):
        return jnp.sum(total(jnp.square(spread(v, 5)))) / 5

    np.testing.assert_allclose(jax.hessian(function)(V[:1])[0, :, 0], 2 * np.eye(3), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(total)(jnp.stack([X, 2 * X]))[1], 2 * total(X), rtol=1e-5, atol=1e-5)
