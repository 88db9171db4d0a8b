"""Flip, crop and mixup: what they may do to an image, how often, and that they are functions of the key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.training.augmentation import flip_and_crop, mixup


def distinct(batch, side):
    """Images in which every pixel has its own positive value."""
    count = batch * side * side * 2
    return jnp.arange(1, count + 1, dtype=jnp.float32).reshape(batch, side, side, 2)


def candidates(image, pad):
    """Every flip and shift of one image, with (flipped, row, column)."""
    side = image.shape[0]
    found = {}
    for flipped in (False, True):
        padded = np.pad(image[:, ::-1] if flipped else image, ((pad, pad), (pad, pad), (0, 0)))
        for row in range(2 * pad + 1):
            for column in range(2 * pad + 1):
                found[flipped, row, column] = padded[row : row + side, column : column + side]
    return found


@pytest.mark.parametrize(("side", "pad"), [(32, 4), (16, 2), (8, 1), (4, 1)])
def test_every_image_is_flipped_or_not_and_shifted_by_at_most_the_padding(side, pad):
    images = distinct(6, side)
    found = np.asarray(flip_and_crop(jax.random.key(0), images))
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    for image, result in zip(np.asarray(images), found, strict=True):
        assert any(np.array_equal(result, other) for other in candidates(image, pad).values())


def test_flips_and_shifts_are_uniform_and_independent():
    side, pad, batch = 8, 1, 1800
    one = np.asarray(distinct(1, side))[0]
    images = jnp.asarray(np.broadcast_to(one, (batch, *one.shape)))
    found = np.asarray(flip_and_crop(jax.random.key(7), images))
    names = {result.tobytes(): name for name, result in candidates(one, pad).items()}
    counts = dict.fromkeys(names.values(), 0)
    for result in found:
        counts[names[result.tobytes()]] += 1
    assert len(counts) == 18
    # 17 degrees of freedom: χ² above 60 has probability 1e-6.
    expected = batch / 18
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 60


def test_mixup_is_one_convex_combination_for_images_and_targets():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(16, 4, 4, 3)), jnp.float32)
    targets = jnp.eye(16)  # every example its own class: the targets tell weight and partner
    weights = []
    for seed in range(200):
        x, y = mixup(jax.random.key(seed), images, targets)
        y = np.asarray(y, np.float64)
        np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
        partner = np.where(
            np.isclose(np.diag(y), 1, atol=1e-6), np.arange(16), (y - np.diag(np.diag(y))).argmax(1)
        )
        assert sorted(partner) == list(range(16)), "partners are a permutation"
        apart = partner != np.arange(16)
        weight = np.diag(y)[apart]
        np.testing.assert_allclose(weight, weight[0], rtol=1e-5)
        mixed = weight[0] * np.asarray(images) + (1 - weight[0]) * np.asarray(images)[partner]
        np.testing.assert_allclose(x, mixed, atol=1e-5)
        weights.append(weight[0])
    # Beta(1, 1) is uniform: Kolmogorov's distance of 200 draws is below 0.16 with probability 0.9999.
    weights = np.sort(weights)
    assert np.abs(weights - (np.arange(200) + 0.5) / 200).max() < 0.16


def test_augmentation_is_a_function_of_the_key():
    images, targets = distinct(8, 8), jnp.eye(8)
    for function in (lambda key: flip_and_crop(key, images), lambda key: mixup(key, images, targets)):
        one, again, other = (jax.tree.leaves(function(jax.random.key(seed))) for seed in (1, 1, 2))
        for a, b, c in zip(one, again, other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert not np.array_equal(a, c)
