"""The layout of images inside a network changes neither sums over positions, nor logits, nor gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.models import networks
from l2dynamics.models.layers import BatchNorm
from l2dynamics.models.layout import arrange, channel_axis, grouped, spread, total, ungrouped
from l2dynamics.training.losses import softmax_loss

LAYOUTS = ("NHWC", "CHWN")
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.standard_normal((6, 4, 5, 3)), jnp.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("group", [2, 3, 6])
def test_sums_over_the_positions_of_a_group(layout, group):
    images = arrange(IMAGES, layout)
    assert images.shape[channel_axis(layout)] == 3
    np.testing.assert_array_equal(arrange(images, layout), IMAGES)
    values = grouped(images, group, layout)
    expected = np.asarray(IMAGES, np.float64).reshape(6 // group, -1, 3).sum(1)
    found = total(values, layout)
    np.testing.assert_allclose(found if layout == "NHWC" else found.T, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ungrouped(values, group, images.shape, layout), images)

    def constant(sums):
        return ungrouped(spread(sums, group * 20, layout), group, images.shape, layout)

    # The same at every position, and in both modes of differentiation the transpose of the sum.
    np.testing.assert_allclose(
        total(grouped(constant(found), group, layout), layout), found * group * 20, rtol=1e-5
    )
    np.testing.assert_allclose(jax.jvp(constant, (found,), (found,))[1], constant(found))
    np.testing.assert_allclose(jax.vjp(constant, found)[1](images)[0], found, rtol=1e-5, atol=1e-5)
    of_sum = jax.vjp(lambda v: total(v, layout), values)[1](found)[0]
    np.testing.assert_allclose(ungrouped(of_sum, group, images.shape, layout), constant(found))


@pytest.mark.parametrize(("group", "train"), [(None, True), (2, True), (3, True), (2, False)])
def test_batch_norm_is_the_same_in_both_layouts(group, train):
    params = {"scale": jnp.asarray([0.5, 1.0, 2.0]), "offset": jnp.asarray([0.0, -1.0, 3.0])}

    def normalise(images, layout):
        norm = BatchNorm(group, layout=layout)
        return arrange(norm.apply({"params": params}, arrange(images, layout), train=train), layout)

    np.testing.assert_allclose(normalise(IMAGES, "CHWN"), normalise(IMAGES, "NHWC"), rtol=1e-4, atol=1e-5)


ARCHITECTURES = {
    "fc": {"depth": 2, "width": 5},
    "cnn": {"channels": 5, "dense": 7, "batch_norm": False, "pool_window": 2, "pool_stride": 2},
    "cnn, batch norm, overlapping windows": {
        "channels": 5,
        "dense": 7,
        "batch_norm": True,
        "pool_window": 3,
        "pool_stride": 2,
        "bn_group": 3,
    },
    "wrn": {"depth": 10, "widen": 1, "bn_group": 2},
    "resnet": {"blocks": (1, 1), "width": 4, "stem": "imagenet"},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_networks_have_the_same_parameters_logits_and_gradients_in_both_layouts(name):
    x = jnp.asarray(RNG.standard_normal((6, 13, 13, 3)), jnp.float32)
    y = jax.nn.one_hot(jnp.arange(6) % 4, 4)
    found = []
    for layout in LAYOUTS:
        module = networks.build(name.partition(",")[0], classes=4, layout=layout, **ARCHITECTURES[name])

        def run(module=module):
            params = networks.initialize(
                module, jax.random.key(1), (1, *x.shape[1:]), sigma_w=1.4, sigma_b=0.1
            )

            def loss(params):
                logits = module.apply({"params": params}, x, train=True)
                return jnp.mean(softmax_loss(logits, y)), logits

            gradients, logits = jax.grad(loss, has_aux=True)(params)
            return params, logits, gradients, jax.jvp(loss, (params,), (gradients,), has_aux=True)[1]

        # Unoptimised it compiles in a tenth of the time.
        found.append(jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})())
    (params, logits, gradients, slope), (same, *others) = found
    jax.tree.map(np.testing.assert_array_equal, params, same)
    np.testing.assert_allclose(others[0], logits, rtol=1e-3, atol=1e-4)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients))
    close = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4 * largest)
    jax.tree.map(close, others[1], gradients)
    # Forward mode agrees with reverse mode: along its own direction the slope is the squared gradient.
    squared = sum(float(jnp.vdot(leaf, leaf)) for leaf in jax.tree.leaves(gradients))
    np.testing.assert_allclose([slope, others[2]], squared, rtol=1e-3)
