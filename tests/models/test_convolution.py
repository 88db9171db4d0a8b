"""The arrangement of a convolution changes neither its value nor its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.models.convolution import convolve
from l2dynamics.models.layout import arrange


def reference(x, kernel, stride, padding):
    """The sum itself, in float64, window by window."""
    size = kernel.shape[0]
    pads = jax.lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), padding)
    x = np.pad(np.asarray(x, np.float64), ((0, 0), *pads, (0, 0)))
    height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
    y = np.zeros((len(x), height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[:, i, j] = np.einsum("bijc,ijcf->bf", window, np.asarray(kernel, np.float64))
    return y


SHAPES = (
    (2, 3, 1),
    (4, 3, 2),
    (3, 3, 2),
    (5, 3, 1),
    (6, 3, 1),
    (9, 3, 2),
    (8, 1, 2),
    (8, 1, 1),
    (9, 7, 2),
    (9, 5, 1),
    (7, 2, 1),
)
CASES = [
    (*shape, padding, channels, layout)
    for shape in SHAPES
    for padding in ("SAME", "VALID")
    for channels in (1, 4)  # few, so that a window is gathered, and more, so that its rows are
    for layout in ("NHWC", "CHWN")
    if shape[0] >= shape[1] or padding == "SAME"
]


@pytest.mark.parametrize(("side", "size", "stride", "padding", "channels", "layout"), CASES)
def test_a_convolution_is_its_definition(side, size, stride, padding, channels, layout):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((3, side, side, channels)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((size, size, channels, 5)), jnp.float32)

    def ours(x, kernel):
        return arrange(convolve(arrange(x, layout), kernel, stride, padding, layout), layout)

    expected = reference(x, kernel, stride, padding)
    found, pull_back = jax.vjp(ours, x, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # A convolution is bilinear: ⟨y, conv(x, k)⟩ = ⟨∂x, x⟩ = ⟨∂k, k⟩ for every y.
    y = jnp.asarray(rng.standard_normal(expected.shape), jnp.float32)
    by_x, by_kernel = pull_back(y)
    for gradient, argument in ((by_x, x), (by_kernel, kernel)):
        other = jnp.asarray(rng.standard_normal(argument.shape), jnp.float32)
        along = (
            reference(other, kernel, stride, padding)
            if argument is x
            else reference(x, other, stride, padding)
        )
        np.testing.assert_allclose(jnp.vdot(gradient, other), np.vdot(y, along), rtol=1e-3, atol=1e-3)
