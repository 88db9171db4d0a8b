"""The architectures of the paper: sizes, initial weights, batch norm and pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.models import networks
from l2dynamics.models.layers import BatchNorm, max_pool


def shapes(shape, classes=10, **architecture):
    """Shapes of the parameters; nothing is allocated."""
    module = networks.build(classes=classes, **architecture)
    return jax.eval_shape(lambda key: networks.initialize(module, key, shape, sigma_w=1.0), jax.random.key(0))


def count(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


PAPER_CNN = {"kind": "cnn", "channels": 300, "dense": 500, "pool_window": 6, "pool_stride": 1}


# Sums over layers of (inputs + 1) × outputs, or 9 · in · out for convolutions without bias, written out by hand.
@pytest.mark.parametrize(
    ("name", "shape", "classes", "architecture", "expected"),
    [
        (
            "FC",
            (1, 28, 28, 1),
            10,
            {"kind": "fc", "depth": 3, "width": 2048},
            785 * 2048 + 2 * 2049 * 2048 + 2049 * 10,
        ),
        (
            "FC-small",
            (1, 32, 32, 3),
            10,
            {"kind": "fc", "depth": 3, "width": 64},
            3073 * 64 + 2 * 65 * 64 + 65 * 10,
        ),
        (
            "CNN",
            (1, 32, 32, 3),
            10,
            PAPER_CNN | {"batch_norm": False},
            28 * 300 + 3 * 2701 * 300 + 97_201 * 500 + 501 * 10,
        ),
        (
            "CNN with BN",
            (1, 32, 32, 3),
            10,
            PAPER_CNN | {"batch_norm": True},
            28 * 300 + 3 * 2701 * 300 + 97_201 * 500 + 501 * 10 + 3 * 600,
        ),
        ("WRN-28-10", (1, 32, 32, 3), 10, {"kind": "wrn", "depth": 28, "widen": 10}, 36_479_194),
        ("WRN-16-4", (1, 32, 32, 3), 10, {"kind": "wrn", "depth": 16, "widen": 4}, 2_748_890),
        (
            "ResNet-50",
            (1, 224, 224, 3),
            1000,
            {"kind": "resnet", "blocks": (3, 4, 6, 3), "width": 64, "stem": "imagenet"},
            25_557_032,
        ),
    ],
)
def test_number_of_parameters(name, shape, classes, architecture, expected):
    found = shapes(shape, classes, **architecture)
    assert count(found) == expected, name
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))


def test_the_first_dense_layer_of_the_paper_s_cnn_has_97200_inputs():
    found = shapes((1, 32, 32, 3), **PAPER_CNN, batch_norm=False)
    assert found["Dense_0"]["kernel"].shape == (18 * 18 * 300, 500) == (97_200, 500)
    assert [found[f"Conv_{i}"]["kernel"].shape for i in range(4)] == [(3, 3, 3, 300)] + [(3, 3, 300, 300)] * 3


def test_with_stride_six_the_paper_s_pooling_does_not_fit():
    # 32 → 30 → 5 → 3
    with pytest.raises(
        ValueError, match=r"^model.pool_window: 6 does not fit 3 × 3 features; use larger images"
    ):
        shapes((1, 32, 32, 3), **PAPER_CNN | {"pool_stride": 6, "batch_norm": False})


def test_a_wide_resnet_has_a_projection_per_group_and_no_bias_in_its_convolutions():
    found = shapes((1, 32, 32, 3), kind="wrn", depth=28, widen=10)
    kernels = [value["kernel"].shape for name, value in found.items() if name.startswith("Conv_")]
    assert len(kernels) == 1 + 24 + 3
    assert sorted(shape[2:] for shape in kernels if shape[0] == 1) == [(16, 160), (160, 320), (320, 640)]
    assert all("bias" not in value for name, value in found.items() if name.startswith("Conv_"))
    assert sum(name.startswith("BatchNorm_") for name in found) == 25


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ({"kind": "fc", "depth": 2, "width": 300}, (1, 20, 20, 1)),
        (
            {
                "kind": "cnn",
                "channels": 60,
                "dense": 80,
                "batch_norm": True,
                "pool_window": 2,
                "pool_stride": 2,
            },
            (1, 16, 16, 3),
        ),
        ({"kind": "wrn", "depth": 10, "widen": 2}, (1, 8, 8, 3)),
    ],
    ids=["fc", "cnn", "wrn"],
)
def test_initial_weights_are_normal_with_variance_sigma_w_squared_over_inputs(architecture, shape):
    module = networks.build(classes=10, **architecture)
    params = networks.initialize(module, jax.random.key(1), shape, sigma_w=1.7, sigma_b=0.3)
    biases = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, values = path[-1].key, np.asarray(leaf, np.float64).ravel()
        if name == "kernel":
            scaled = values * np.sqrt(np.prod(leaf.shape[:-1])) / 1.7
            error = np.sqrt(2 / values.size)
            assert abs(scaled.mean()) < 4 / np.sqrt(values.size)
            assert abs(scaled.var() - 1) < 4 * error, path
            if values.size > 5000:
                # A truncated normal distribution has no values beyond two deviations and a smaller kurtosis.
                assert abs((scaled**4).mean() - 3) < 4 * np.sqrt(96 / values.size)
        elif name == "bias":
            biases.append(values)
        else:
            np.testing.assert_array_equal(values, 1.0 if name == "scale" else 0.0)
    biases = np.concatenate(biases) / 0.3
    assert abs(biases.var() - 1) < 4 * np.sqrt(2 / biases.size)


def test_sigma_b_zero_means_no_bias():
    module = networks.build("fc", classes=10, depth=1, width=8)
    params = networks.initialize(module, jax.random.key(1), (1, 4, 4, 1), sigma_w=1.0)
    assert not np.any(params["Dense_0"]["bias"])


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"^model.kind: 'vgg' is unknown, choose fc, cnn, wrn or resnet$"):
        networks.build("vgg", classes=10)


# ------------------------------------------------------------------------------------------ batch norm


def numpy_batch_norm(x, scale, offset):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) * scale + offset


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    return (2 + 3 * rng.normal(size=(12, 4, 5, 3))).astype(np.float32)


SCALE, OFFSET = np.array([0.5, 1.0, 2.0]), np.array([0.0, -1.0, 3.0])


def normalise(x, group, train):
    params = {"scale": jnp.asarray(SCALE, jnp.float32), "offset": jnp.asarray(OFFSET, jnp.float32)}
    return BatchNorm(group).apply({"params": params}, jnp.asarray(x), train=train)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_uses_the_statistics_of_the_batch_at_hand(batch, train):
    expected = numpy_batch_norm(batch.astype(np.float64), SCALE, OFFSET)
    np.testing.assert_allclose(normalise(batch, None, train), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("group", [3, 4, 6])
def test_groups_are_normalised_one_by_one_in_training_only(batch, group):
    parts = [
        numpy_batch_norm(batch[i : i + group].astype(np.float64), SCALE, OFFSET) for i in range(0, 12, group)
    ]
    np.testing.assert_allclose(normalise(batch, group, True), np.concatenate(parts), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(normalise(batch, group, False), normalise(batch, None, True))


def test_batch_norm_has_no_state_and_stays_finite_on_a_constant_batch():
    constant = np.full((4, 2, 2, 3), 7.0, np.float32)
    variables = BatchNorm().init(jax.random.key(0), jnp.asarray(constant), train=True)
    assert set(variables) == {"params"}
    np.testing.assert_allclose(
        normalise(constant, None, True), np.broadcast_to(OFFSET, constant.shape), atol=1e-2
    )


def test_half_precision_keeps_statistics_in_float32(batch):
    found = normalise(jnp.asarray(batch, jnp.bfloat16), None, True)
    assert found.dtype == jnp.bfloat16
    expected = numpy_batch_norm(batch.astype(np.float64), SCALE, OFFSET)
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, atol=0.1)


# ------------------------------------------------------------------------------------------ pooling


@pytest.mark.parametrize(
    ("window", "stride"), [(2, 2), (3, 3), (6, 6), (6, 1), (3, 2)], ids=lambda value: str(value)
)
def test_max_pool_is_the_maximum_of_every_whole_window(window, stride):
    x = np.random.default_rng(0).normal(size=(2, 13, 12, 3)).astype(np.float32)
    starts = [range(0, side - window + 1, stride) for side in x.shape[1:3]]
    expected = np.stack(
        [
            np.stack([x[:, i : i + window, j : j + window].max((1, 2)) for j in starts[1]], axis=1)
            for i in starts[0]
        ],
        axis=1,
    )
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), window, stride), expected)


def test_the_gradient_of_pooling_goes_to_the_maximum():
    x = jnp.asarray(np.random.default_rng(0).permutation(36).reshape(1, 6, 6, 1), jnp.float32)
    for window, stride in ((2, 2), (3, 3)):
        found = jax.grad(lambda x, w=window, s=stride: jnp.sum(max_pool(x, w, s)))(x)
        blocks = np.asarray(x).reshape(6 // window, window, 6 // window, window)
        expected = (blocks == blocks.max((1, 3), keepdims=True)).astype(float).reshape(x.shape)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["fc", "cnn", "wrn", "resnet"])
def test_half_precision_leaves_the_parameters_in_float32(kind):
    architecture = {
        "fc": {"depth": 1, "width": 4},
        "cnn": {"channels": 2, "dense": 3, "batch_norm": True, "pool_window": 2, "pool_stride": 2},
        "wrn": {"depth": 10, "widen": 1},
        "resnet": {"blocks": (1,), "width": 2, "stem": "cifar"},
    }[kind]
    module = networks.build(kind, classes=3, dtype=jnp.bfloat16, **architecture)

    def run(key):
        params = networks.initialize(module, key, (1, 16, 16, 3), sigma_w=1.0)
        return params, module.apply({"params": params}, jnp.zeros((4, 16, 16, 3)))

    params, logits = jax.eval_shape(run, jax.random.key(0))
    assert logits.shape == (4, 3)
    assert logits.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("architecture", "common", "count_of_layers"),
    [
        (
            {
                "kind": "cnn",
                "channels": 4,
                "dense": 5,
                "batch_norm": True,
                "pool_window": 2,
                "pool_stride": 2,
            },
            False,
            3,
        ),
        ({"kind": "wrn", "depth": 10, "widen": 1}, True, 9),
        ({"kind": "resnet", "blocks": [1, 1], "width": 4, "stem": "cifar"}, False, 9),
        (
            {
                "kind": "cnn",
                "channels": 4,
                "dense": 5,
                "batch_norm": False,
                "pool_window": 2,
                "pool_stride": 2,
            },
            False,
            0,
        ),
        ({"kind": "fc", "depth": 2, "width": 5}, False, 0),
    ],
)
def test_batch_norm_removes_the_scale_of_the_weights_that_are_said_to_be_invariant_and_of_no_others(
    architecture, common, count_of_layers
):
    rng = np.random.default_rng(0)
    module = networks.build(classes=3, **architecture)
    x = jnp.asarray(rng.normal(size=(6, 12, 12, 3)), jnp.float32)
    params = networks.initialize(module, jax.random.key(1), x.shape, sigma_w=3.0, sigma_b=0.1)
    marked = networks.scale_invariant(module, params)
    paths = [path for path, on in jax.tree_util.tree_leaves_with_path(marked) if on]
    assert len(paths) == count_of_layers

    def logits(where, factor_of):
        scaled = jax.tree.map(lambda p, on: p * factor_of(p) if on else p, params, where)
        return np.asarray(module.apply({"params": scaled}, x, train=True))

    def factors(p):
        # One for each output channel; where sums of convolutions are normalised, one for all.
        return 7.0 if common else jnp.asarray(rng.uniform(1, 9, p.shape[-1]), jnp.float32)

    plain = np.asarray(module.apply({"params": params}, x, train=True))
    if paths:
        np.testing.assert_allclose(logits(marked, factors), plain, rtol=2e-3, atol=2e-3)
    for path, on in jax.tree_util.tree_leaves_with_path(marked):
        name = path[-1].key
        if not on and name == "kernel":
            alone = jax.tree_util.tree_map_with_path(lambda own, _, path=path: own == path, marked)
            assert np.abs(logits(alone, lambda p: 7.0) - plain).max() > 0.1
