"""Order of the axes of a batch inside a network.

``NHWC``, batch, height, width, channels, is how images come and what accelerators are fast at; ``CHWN``, with channels
and batch in each other's place, is what CPUs are fast at, of vectors too: with the batch last, the gradient by a kernel
of 2ⁿ units reads along rows in place of columns.
The parameters are the same, and so are the logits.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from l2dynamics.models.fusion_barrier import apart

Layout = Literal["NHWC", "CHWN"]


@apart
def _swap(x: jax.Array) -> jax.Array:
    return x.swapaxes(0, -1)


def arrange(x: jax.Array, layout: Layout) -> jax.Array:
    """Images or vectors from ``NHWC`` to ``layout``, and back."""
    return x if layout == "NHWC" else _swap(x)


def flatten(x: jax.Array, layout: Layout) -> jax.Array:
    """Images as vectors, in the order height, width, channels: ``[batch, …]`` or ``[…, batch]``."""
    if layout == "NHWC":
        return x.reshape(x.shape[0], -1)
    return jnp.moveaxis(x, 0, -2).reshape(-1, x.shape[-1])


def channel_axis(layout: Layout) -> int:
    """The axis of the channels."""
    return -1 if layout == "NHWC" else 0


def grouped(x: jax.Array, group: int, layout: Layout) -> jax.Array:
    """Groups of ``group`` examples: ``[groups, positions, channels]``, or ``[channels, groups, positions]``."""
    if layout == "NHWC":
        return x.reshape(x.shape[0] // group, -1, x.shape[-1])
    channels, *_, batch = x.shape
    parted = x.reshape(channels, -1, batch // group, group).swapaxes(1, 2)
    return parted.reshape(channels, batch // group, -1)


def ungrouped(values: jax.Array, group: int, shape: tuple[int, ...], layout: Layout) -> jax.Array:
    """The inverse of :func:`grouped`, with the shape it began with."""
    if layout == "CHWN":
        values = values.reshape(*values.shape[:2], -1, group).swapaxes(1, 2)
    return values.reshape(shape)


def total(values: jax.Array, layout: Layout) -> jax.Array:
    """Sum over positions: ``[groups, channels]``, or ``[channels, groups]``.

    On CPU a product with ones, which is faster than XLA's reduction.
    """
    if layout == "NHWC":
        return jnp.sum(values, 1)
    return values @ jnp.ones(values.shape[-1], values.dtype)


def spread(x: jax.Array, count: int, layout: Layout) -> jax.Array:
    """The same at ``count`` positions, as a product with ones on CPU: its transpose, in reverse mode, is a sum."""
    if layout == "NHWC":
        return jnp.broadcast_to(x[:, None], (len(x), count, x.shape[-1]))
    return jnp.einsum("...,p->...p", x, jnp.ones(count, x.dtype))
