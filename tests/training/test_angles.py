"""Angular updates: the angle of known turns, and the balance √(2ηλ) of a simulated scale-invariant weight."""

import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.training.angles import turned


@pytest.mark.parametrize("angles", [(0.3, 0.3), (1e-4, 1e-4), (0.0, 0.2), (np.pi, np.pi)])
def test_turns_of_known_size(angles):
    # Two output channels in the plane of the first two weights, longer after the step.
    before = np.zeros((1, 1, 3, 2))
    before[0, 0, 0] = 2.0
    after = np.zeros_like(before)
    after[0, 0, 0], after[0, 0, 1] = 5 * np.cos(angles), 5 * np.sin(angles)
    trees = ({"Conv_0": {"kernel": jnp.asarray(kernel, jnp.float32)}} for kernel in (before, after))
    found = turned(*trees, {"Conv_0": {"kernel": True}})
    assert set(found) == {"angle_Conv_0"}
    assert float(found["angle_Conv_0"]) == pytest.approx(np.sqrt(np.mean(np.square(angles))), rel=1e-3)


def test_what_is_not_asked_for_is_not_measured():
    kernel = {"Conv_0": {"kernel": jnp.ones((1, 1, 2, 2))}}
    assert turned(kernel, kernel, {"Conv_0": {"kernel": False}}) == {}


@pytest.mark.parametrize(("eta", "l2"), [(0.1, 0.02), (0.4, 0.005)])
def test_a_scale_invariant_weight_with_noisy_gradients_settles_where_claim_x3_expects_it(eta, l2):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(400, 8))
    squares = []
    for step in range(6000):
        length = np.linalg.norm(weights, axis=0)
        noise = rng.normal(size=weights.shape)
        # The gradient is orthogonal to the weights, and the shorter they are the larger.
        tangent = noise - weights * (noise * weights).sum(0) / length**2
        after = weights - eta * (tangent / length + l2 * weights)
        if step > 4000:
            cosine = (weights * after).sum(0) / length / np.linalg.norm(after, axis=0)
            squares.append(np.mean(np.arccos(np.minimum(cosine, 1)) ** 2))
        weights = after
    assert np.sqrt(np.mean(squares)) == pytest.approx(np.sqrt(2 * eta * l2), rel=0.02)
