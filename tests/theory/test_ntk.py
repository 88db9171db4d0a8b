import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.models import networks
from l2dynamics.theory import ntk, wide


def jacobian_kernel(function, params, x1, x2):
    def flat(x):
        jacobian = jax.jacrev(lambda p: function(p, x))(params)
        rows = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(jacobian)]
        outputs = function(params, x).shape
        return np.concatenate([r.reshape(*outputs, -1) for r in rows], axis=-1)

    return np.tensordot(flat(x1), flat(x2), (-1, -1))


@pytest.mark.parametrize("memory", [1, 1 << 28])
def test_empirical_kernel_is_the_product_of_jacobians(memory):
    params = wide.init([0], inputs=5, width=16, depth=2)
    x1, x2 = jax.random.normal(jax.random.key(1), (7, 5)), jax.random.normal(jax.random.key(2), (3, 5))
    got = ntk.empirical_ntk(wide.apply, params, x1, x2, memory=memory)
    np.testing.assert_allclose(got, jacobian_kernel(wide.apply, params, x1, x2), rtol=1e-4, atol=1e-5)
    own = ntk.empirical_ntk(wide.apply, params, x1, memory=memory)
    np.testing.assert_allclose(own, own.T, rtol=1e-4, atol=1e-5)
    assert np.linalg.eigvalsh(own)[0] > -1e-4


def test_flax_model_with_several_outputs():
    module = networks.build("fc", classes=3, depth=1, width=6)
    x = jax.random.normal(jax.random.key(1), (4, 2, 2, 1))
    params = networks.initialize(module, jax.random.key(0), x.shape, sigma_w=1.4)

    def function(p, x):
        return module.apply({"params": p}, x)

    got = ntk.empirical_ntk(function, params, x, memory=1000)
    assert got.shape == (4, 3, 4, 3)
    np.testing.assert_allclose(got, jacobian_kernel(function, params, x, x), rtol=1e-4, atol=1e-5)


def test_batch_norm_couples_the_samples():
    def function(params, x):
        h = x @ params["w"]
        return ((h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)) @ params["a"]

    keys = jax.random.split(jax.random.key(0), 3)
    params = {"w": jax.random.normal(keys[0], (3, 4)), "a": jax.random.normal(keys[1], (4,))}
    x = jax.random.normal(keys[2], (5, 3))
    got = ntk.empirical_ntk(function, params, x, coupled=True)
    np.testing.assert_allclose(got, jacobian_kernel(function, params, x, x), rtol=1e-3, atol=1e-4)


def test_a_function_without_batch_is_refused():
    with pytest.raises(ValueError, match="expected \\[batch\\]"):
        ntk.empirical_ntk(lambda p, x: p.sum(), jnp.ones(2), jnp.ones((3, 2)))


def test_kernel_converges_to_the_analytic_one_as_one_over_root_width():
    x = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    exact = ntk.relu_ntk(x)
    widths, errors = [64, 256, 1024, 4096], []
    for width in widths:
        found = []
        for seed in range(4):
            params = wide.init([seed], inputs=6, width=width)
            kernel = ntk.empirical_ntk(wide.apply, params, x / np.float32(6**0.5))
            found.append(np.linalg.norm(kernel - exact) / np.linalg.norm(exact))
        errors.append(np.mean(found))
    assert errors[-1] < 0.05
    assert np.polyfit(np.log(widths), np.log(errors), 1)[0] == pytest.approx(-0.5, abs=0.12)


def test_analytic_kernel_in_special_cases():
    x = np.array([[3.0, 4.0], [-4.0, 3.0], [-3.0, -4.0], [0.0, 0.0]])
    kernel = ntk.relu_ntk(x)
    assert kernel[0, 0] == pytest.approx(25 / 2)  # |x|²/d: half from each layer
    assert kernel[0, 1] == pytest.approx(25 / (4 * np.pi))  # orthogonal: only the first term, 1/(2πd)
    assert kernel[0, 2] == pytest.approx(0, abs=1e-12)  # opposite: no unit is active for both
    np.testing.assert_array_equal(kernel[3], 0)
    np.testing.assert_allclose(ntk.relu_ntk(x[:1], x), kernel[:1])


def descend(params, x, y, **options):
    *_, (_, last) = wide.descend(params, jnp.asarray(x), jnp.asarray(y), **options)
    return last


def test_descent_is_plain_gradient_descent_on_the_sum():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    w, a = (np.asarray(p, np.float64) for p in wide.init([0], inputs=3, width=8))
    got = descend(wide.init([0], inputs=3, width=8), x, y, eta=0.05, l2=0.1, steps=[0, 7, 20])
    for _ in range(20):
        h = x @ w.T
        residual = np.maximum(h, 0) @ a / 8**0.5 - y
        gradient_a = np.maximum(h, 0).T @ residual / 8**0.5
        gradient_w = ((residual[:, None] * a * (h > 0)).T @ x) / 8**0.5
        w, a = w - 0.05 * (gradient_w + 0.1 * w), a - 0.05 * (gradient_a + 0.1 * a)
    np.testing.assert_allclose(got[0], w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
def test_training_in_the_span_of_the_inputs_changes_nothing(depth):
    rng = np.random.default_rng(4)
    x, x_test, y = rng.normal(size=(5, 12)), rng.normal(size=(3, 12)), rng.normal(size=5).astype(np.float32)
    options = {"eta": 0.1, "l2": 0.2, "steps": [30]}
    start = wide.init([0], inputs=12, width=32, depth=depth)
    inputs = wide.project(x, x_test)
    reduced, offset = wide.enter(start, inputs)
    scaled, scaled_test = (jnp.asarray(v / 12**0.5, jnp.float32) for v in (x, x_test))
    np.testing.assert_allclose(
        wide.apply(reduced, inputs.test, offset), wide.apply(start, scaled_test), atol=1e-5
    )
    reduced = descend(reduced, inputs.train, y, **options)
    full = descend(start, scaled, y, **options)
    np.testing.assert_allclose(wide.apply(reduced, inputs.train), wide.apply(full, scaled), atol=1e-5)
    outside = offset * jnp.float32((1 - 0.1 * 0.2) ** 30)
    np.testing.assert_allclose(
        wide.apply(reduced, inputs.test, outside), wide.apply(full, scaled_test), atol=1e-5
    )


def test_descent_goes_on_where_it_stopped_bit_for_bit():
    x, y = jax.random.normal(jax.random.key(1), (4, 3)), jnp.ones(4)
    options = {"eta": 0.1, "l2": 0.1}
    whole = descend(wide.init([0], inputs=3, width=8), x, y, steps=[3, 9], **options)
    half = descend(wide.init([0], inputs=3, width=8), x, y, steps=[5], **options)
    rest = descend(half, x, y, steps=[3, 9], start=5, chunk=2, **options)
    for one, other in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("depth", [1, 3])
def test_kernel_layer_by_layer_is_that_of_the_gradients(depth):
    rng = np.random.default_rng(7)
    x, x_test = rng.normal(size=(5, 12)), rng.normal(size=(3, 12))
    start = wide.init([0], inputs=12, width=32, depth=depth)
    inputs = wide.project(x, x_test)
    reduced, offset = wide.enter(start, inputs)
    scaled, scaled_test = (jnp.asarray(v / 12**0.5, jnp.float32) for v in (x, x_test))
    np.testing.assert_allclose(
        wide.kernel(reduced, inputs.train), ntk.empirical_ntk(wide.apply, start, scaled), rtol=1e-4, atol=1e-6
    )
    # The test inputs have a part outside the span of the training inputs, which decides what units are active.
    assert float(jnp.abs(inputs.rest).max()) > 0.1
    np.testing.assert_allclose(
        wide.kernel(reduced, inputs.test, inputs.train, offset),
        ntk.empirical_ntk(wide.apply, start, scaled_test, scaled),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip
