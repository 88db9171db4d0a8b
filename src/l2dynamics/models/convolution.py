"""Two-dimensional convolution in the arrangement that the backend at hand is fast at; the numbers are the same.

On accelerators it is ``lax.conv_general_dilated``. XLA's CPU convolution is slow in two cases that the small nets of
this project consist of, measured on one core with 128 images of 16 channels and more:

- an output smaller than the window (the last stage of a Wide ResNet on 8 × 8 images): 7 GFLOP/s, against 60 for the
  same sum as one matrix product. A step of WRN-10-1: 28 ms → 20 ms.
- the kernel gradient of a VALID convolution: 65 ms on 32 × 32 images, against 12 ms where the output is cut out of
  a SAME one. A step of the CNN on 32 × 32 images: 186 ms → 128 ms.
  Below ``CUT`` pixels the larger output costs as much as it saves.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

CUT = 12


def convolve(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: str, **options: Any
) -> jax.Array:
    """Convolve images ``[batch, height, width, channels]`` with a square kernel ``[size, size, in, out]``.

    Takes the arguments of ``lax.conv_general_dilated``, so that ``flax.linen.Conv`` can call it.
    """
    size = kernel.shape[0]
    if jax.default_backend() == "cpu" and size > 1:
        rows = [-(-(n - (size - 1) * (padding == "VALID")) // strides[0]) for n in x.shape[1:3]]
        if max(rows) < size:
            return _as_product(x, kernel, strides[0], padding)
        if padding == "VALID" and strides[0] == 1 and size % 2 and min(rows) >= CUT:
            cut = slice(size // 2, -(size // 2))
            return lax.conv_general_dilated(x, kernel, strides, "SAME", **options)[:, cut, cut]
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)


def _as_product(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    """One product of the matrix of all windows with the matrix of the kernel."""
    size, _, channels, features = kernel.shape
    pads = lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
    windows = [
        x[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    matrix = jnp.concatenate(windows, -1).reshape(-1, size * size * channels)
    return (matrix @ kernel.reshape(-1, features)).reshape(x.shape[0], height, width, features)
