"""The losses against the formulas of SM A, evaluated in float64 by numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l2dynamics.training.losses import LOSSES, correct, mse_loss, softmax_loss


def targets_of(kind, batch, classes, rng):
    one_hot = np.eye(classes)[rng.integers(0, classes, batch)]
    return one_hot if kind == "one-hot" else 0.3 * one_hot + 0.7 * one_hot[::-1]


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("kind", ["one-hot", "mixed"])
def test_losses_are_those_of_the_paper(classes, kind):
    rng = np.random.default_rng(classes)
    f, y = 3 * rng.normal(size=(7, classes)), targets_of(kind, 7, classes, rng)
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    softmax = -(y * np.log(p)).sum() / (2 * classes * 7)
    mse = ((f - y) ** 2).sum() / (2 * classes * 7)
    for loss, expected in ((softmax_loss, softmax), (mse_loss, mse)):
        found = loss(jnp.asarray(f, jnp.float32), jnp.asarray(y, jnp.float32))
        assert found.shape == (7,)
        assert float(jnp.mean(found)) == pytest.approx(expected, rel=1e-5)


def test_ten_classes_are_the_usual_cross_entropy_divided_by_twenty():
    logits = jnp.zeros((4, 10))
    assert float(jnp.mean(softmax_loss(logits, jnp.eye(10)[:4]))) == pytest.approx(np.log(10) / 20)


@pytest.mark.parametrize("name", ["softmax", "mse"])
def test_gradients(name):
    rng = np.random.default_rng(1)
    f, y = rng.normal(size=(5, 10)), targets_of("mixed", 5, 10, rng)
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    expected = {"softmax": (p - y) / (2 * 10 * 5), "mse": (f - y) / (10 * 5)}[name]
    targets = jnp.asarray(y, jnp.float32)
    found = jax.grad(lambda f: jnp.mean(LOSSES[name](f, targets)))(jnp.asarray(f, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (3, 4), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_softmax_loss_stays_finite_for_huge_logits(logits):
    value, grad = jax.value_and_grad(lambda f: jnp.sum(softmax_loss(f, jnp.eye(4)[:3])))(jnp.asarray(logits))
    assert np.isfinite(value)
    assert value >= 0
    assert np.isfinite(grad).all()


@pytest.mark.parametrize(
    ("logits", "target", "hit"),
    [
        ([0.1, 0.9, 0.0], [0, 1, 0], 1.0),
        ([0.1, 0.9, 0.0], [1, 0, 0], 0.0),
        ([0.1, 0.9, 0.0], [0.4, 0.6, 0], 1.0),
        ([0.1, np.nan, 0.0], [0, 1, 0], 0.0),
        ([np.nan, np.nan, np.nan], [1, 0, 0], 0.0),
        ([0.1, np.inf, 0.0], [0, 1, 0], 0.0),
    ],
)
def test_hits(logits, target, hit):
    found = correct(jnp.asarray([logits], jnp.float32), jnp.asarray([target], jnp.float32))
    assert found.dtype == jnp.float32
    assert found.tolist() == [hit]
