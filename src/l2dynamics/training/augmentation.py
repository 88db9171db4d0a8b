"""Data augmentation of the Wide ResNet experiments: flip, crop with 4-pixel padding, mixup (SM A).

All of it runs on the device and is a function of a key, hence of (seed, step).
"""

import jax
import jax.numpy as jnp

PADDING = 4
"""Zero padding of the random crop, in pixels of a 32-pixel image; smaller images get the same share."""


def flip_and_crop(key: jax.Array, images: jax.Array) -> jax.Array:
    """Flip each image with probability ½ and shift it by up to ``PADDING / 32`` of its size, zeros outside.

    Args:
        key: PRNG key of this step.
        images: shape ``[batch, height, width, channels]``.

    Returns:
        Same shape and type.
    """
    batch, height, width, _ = images.shape
    pad = max(1, PADDING * height // 32)
    flip_key, row_key, column_key = jax.random.split(key, 3)
    flip = jax.random.bernoulli(flip_key, shape=(batch, 1, 1, 1))
    images = jnp.where(flip, images[:, :, ::-1], images)
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = jax.random.randint(row_key, (batch, 1), 0, 2 * pad + 1) + jnp.arange(height)
    columns = jax.random.randint(column_key, (batch, 1), 0, 2 * pad + 1) + jnp.arange(width)
    example = jnp.arange(batch)[:, None, None]
    return padded[example, rows[:, :, None], columns[:, None, :]]


def mixup(key: jax.Array, images: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mix every example with another one of the batch, one weight per batch, drawn from Beta(1, 1).

    Args:
        key: PRNG key of this step.
        images: shape ``[batch, height, width, channels]``, float.
        targets: one-hot labels, shape ``[batch, classes]``.

    Returns:
        Mixed images and targets, same shapes. The paper gives no Beta parameter; 1 is the one that the mixup
        paper uses for CIFAR-10.
    """
    weight_key, partner_key = jax.random.split(key)
    weight = jax.random.uniform(weight_key, dtype=images.dtype)
    partner = jax.random.permutation(partner_key, images.shape[0])
    mixed_images = weight * images + (1 - weight) * images[partner]
    weight = weight.astype(targets.dtype)
    return mixed_images, weight * targets + (1 - weight) * targets[partner]
