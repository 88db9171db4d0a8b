"""Layers shared by the architectures: LeCun-normal kernels and batch norm as in Stax."""

from functools import reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l2dynamics.models.convolution import convolve
from l2dynamics.models.positions import spread, total

# W ~ N(0, 1 / N_in); the gain σw is a traced factor, see models.initialize.
lecun_normal = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class BatchNorm(nn.Module):
    """Batch norm without running averages (Stax): training and evaluation normalise with the batch at hand.

    Attributes:
        group: examples that share statistics in training, the per-device batch of a data-parallel run; None: all.
        epsilon: added to the variance, 1e-5 as in Stax.

    With ``group`` the statistics do not depend on how many devices hold the batch.
    """

    group: int | None = None
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalise ``x`` of shape ``[batch, …, channels]`` over all but its last axis."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        offset = self.param("offset", nn.initializers.zeros, (channels,))
        group = x.shape[0] if self.group is None or not train else min(self.group, x.shape[0])
        grouped = x.astype(jnp.float32).reshape(x.shape[0] // group, -1, channels)
        count = grouped.shape[1]
        mean = total(grouped) / count
        variance = total(jnp.square(grouped)) / count - jnp.square(mean)
        multiplier = scale * jax.lax.rsqrt(jnp.maximum(variance, 0.0) + self.epsilon)
        # Two vectors at every position, so that reverse mode has two sums over positions in place of three.
        normalised = grouped * spread(multiplier, count) + spread(offset - mean * multiplier, count)
        return normalised.reshape(x.shape).astype(x.dtype)


class Bias(nn.Module):
    """A number per channel, added at every position: its gradient is a sum over positions."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Add it to ``x`` of shape ``[batch, …, channels]``."""
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return x + spread(bias[None], x[..., 0].size).reshape(x.shape).astype(x.dtype)


def conv(
    channels: int,
    size: int,
    *,
    strides: int = 1,
    padding: str = "SAME",
    dtype: Any = None,
) -> nn.Conv:
    """A square NHWC convolution with LeCun-normal kernel and without bias."""
    return nn.Conv(
        channels,
        (size, size),
        strides=(strides, strides),
        padding=padding,
        use_bias=False,
        kernel_init=lecun_normal,
        dtype=dtype,
        conv_general_dilated=convolve,
    )


def dense(units: int, dtype: Any = None) -> nn.Dense:
    """A dense layer with bias and LeCun-normal kernel."""
    return nn.Dense(units, kernel_init=lecun_normal, dtype=dtype)


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """VALID max pooling of ``[batch, height, width, channels]``.

    Non-overlapping windows are maxima over slices: their gradient is no select-and-scatter, which GPUs refuse to run
    deterministically and which takes 10 times as long on CPU (``max`` over two axes: 4 times).

    Raises:
        ValueError: the window is larger than the image.
    """
    if min(x.shape[1:3]) < window:
        raise ValueError(
            f"model.pool_window: {window} does not fit {x.shape[1]} × {x.shape[2]} features; "
            "use larger images (data.image_size), a smaller window or a smaller pool_stride"
        )
    if window != stride:
        return nn.max_pool(x, (window, window), (stride, stride), padding="VALID")
    batch, height, width, channels = x.shape
    rows, columns = height // window, width // window
    x = x[:, : rows * window, : columns * window].reshape(batch, rows, window, columns, window, channels)
    return reduce(jnp.maximum, [x[:, :, i, :, j] for i in range(window) for j in range(window)])
