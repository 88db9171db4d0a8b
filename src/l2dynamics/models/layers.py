"""Layers shared by the architectures: LeCun-normal kernels and batch norm as in Stax."""

from functools import reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l2dynamics.models.convolution import convolve
from l2dynamics.models.layout import Layout, channel_axis, grouped, spread, total, ungrouped

# W ~ N(0, 1 / N_in); the gain σw is a traced factor, see networks.initialize.
lecun_normal = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class BatchNorm(nn.Module):
    """Batch norm without running averages (Stax): training and evaluation normalise with the batch at hand.

    Attributes:
        group: examples that share statistics in training, the per-device batch of a data-parallel run; None: all.
        epsilon: added to the variance, 1e-5 as in Stax.
        layout: of the images.

    With ``group`` the statistics do not depend on how many devices hold the batch.
    """

    group: int | None = None
    epsilon: float = 1e-5
    layout: Layout = "NHWC"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalise ``x`` over all but its channels; in ``NHWC`` it may have any number of axes."""
        channels, batch = x.shape[channel_axis(self.layout)], x.shape[0 if self.layout == "NHWC" else -1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        offset = self.param("offset", nn.initializers.zeros, (channels,))
        if self.layout == "CHWN":
            scale, offset = scale[:, None], offset[:, None]
        group = batch if self.group is None or not train else min(self.group, batch)
        values = grouped(x.astype(jnp.float32), group, self.layout)
        count = x.size // channels // (batch // group)
        mean = total(values, self.layout) / count
        variance = total(jnp.square(values), self.layout) / count - jnp.square(mean)
        multiplier = scale * jax.lax.rsqrt(jnp.maximum(variance, 0.0) + self.epsilon)
        # Two vectors at every position, so that reverse mode has two sums over positions in place of three.
        summand = offset - mean * multiplier
        values = values * spread(multiplier, count, self.layout) + spread(summand, count, self.layout)
        return ungrouped(values, group, x.shape, self.layout).astype(x.dtype)


class Bias(nn.Module):
    """A number per channel, added at every position of images in ``layout``."""

    layout: Layout = "NHWC"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Add it to ``x``."""
        channels = x.shape[channel_axis(self.layout)]
        bias = self.param("bias", nn.initializers.zeros, (channels,)).astype(x.dtype)
        if self.layout == "NHWC":
            return x + bias
        return x + spread(bias, x[0].size, self.layout).reshape(x.shape)


class Conv(nn.Module):
    """A square convolution of images in ``layout``, with LeCun-normal kernel and without bias."""

    channels: int
    size: int
    strides: int = 1
    padding: str = "SAME"
    dtype: Any = None
    layout: Layout = "NHWC"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve ``x``."""
        inputs = x.shape[channel_axis(self.layout)]
        kernel = self.param("kernel", lecun_normal, (self.size, self.size, inputs, self.channels))
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return convolve(x, kernel, self.strides, self.padding, self.layout)


class Dense(nn.Module):
    """A dense layer of ``[batch, in]``, in ``CHWN`` of ``[in, batch]``, with LeCun-normal kernel and bias."""

    units: int
    dtype: Any = None
    layout: Layout = "NHWC"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map ``in`` numbers of every example to ``units``."""
        kernel = self.param("kernel", lecun_normal, (x.shape[channel_axis(self.layout)], self.units))
        bias = self.param("bias", nn.initializers.zeros, (self.units,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        if self.layout == "NHWC":
            return x @ kernel + bias
        return jnp.einsum("io,ib->ob", kernel, x) + spread(bias, x.shape[-1], self.layout)


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """VALID max pooling of images in either layout.

    Non-overlapping windows are maxima over slices: their gradient is no select-and-scatter, which GPUs refuse to run
    deterministically and which are slow on CPU, as is ``max`` over two axes.

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
