"""Neural tangent kernels Θ(x, x') = ∇_θ f(x) · ∇_θ f(x') (section 4): empirical ones and the analytic two-layer one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Params = Any
Function = Callable[[Params, jax.Array], jax.Array]

_MEMORY = 256 << 20


def empirical_ntk(
    function: Function,
    params: Params,
    x1: jax.Array | NDArray[Any],
    x2: jax.Array | NDArray[Any] | None = None,
    *,
    memory: int = _MEMORY,
    coupled: bool = False,
) -> NDArray[Any]:
    """Return the kernel of a network at ``params``, without ever holding its Jacobian.

    A row of Θ is the gradient at one input pushed forward along all others (one vector-Jacobian and one
    Jacobian-vector product), so that the memory is that of a few parameter vectors.

    Args:
        function: ``function(params, x)`` gives ``[batch]`` or ``[batch, outputs]``; for a Flax module
            ``lambda p, x: module.apply({"params": p}, x)``.
        params: pytree of floating-point arrays of one type.
        x1: inputs ``[n1, …]``.
        x2: inputs ``[n2, …]``; None takes ``x1``.
        memory: bytes the gradients of a block of rows may take; one row is always computed.
        coupled: outputs depend on the whole batch (batch norm): then ``x1`` and ``x2`` are one batch each.

    Returns:
        ``[n1, n2]``, or ``[n1, outputs, n2, outputs]`` if the function has an axis of outputs.

    Raises:
        ValueError: the function returns neither ``[batch]`` nor ``[batch, outputs]``.
    """
    x1 = jnp.asarray(x1)
    x2 = x1 if x2 is None else jnp.asarray(x2)
    shape = jax.eval_shape(function, params, x1).shape
    if len(shape) not in (1, 2) or shape[0] != len(x1):
        raise ValueError(
            f"function returns shape {shape} for {len(x1)} inputs, expected [batch] or [batch, outputs]"
        )
    outputs = shape[1] if len(shape) == 2 else 1
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    block = int(min(len(x1) * outputs, max(1, memory // size)))
    # One row per (input, output); the last block is filled up with row 0, so that one program serves all.
    rows = np.arange(len(x1) * outputs)
    padded = np.pad(rows, (0, -len(rows) % block)).reshape(-1, block)
    parts = [
        np.asarray(_rows(function, outputs, coupled, params, x1, x2, jnp.asarray(part))) for part in padded
    ]
    kernel = np.concatenate(parts)[: len(rows)]
    return kernel if len(shape) == 1 else kernel.reshape(len(x1), outputs, len(x2), outputs)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _rows(
    function: Function,
    outputs: int,
    coupled: bool,
    params: Params,
    x1: jax.Array,
    x2: jax.Array,
    rows: jax.Array,
) -> jax.Array:
    def gradient(row: jax.Array) -> Params:
        sample, output = row // outputs, row % outputs
        x = x1 if coupled else jax.lax.dynamic_slice_in_dim(x1, sample, 1)
        place = sample if coupled else 0

        def value(p: Params) -> jax.Array:
            return function(p, x).reshape(x.shape[0], outputs)[place, output]

        return jax.grad(value)(params)

    _, forward = jax.linearize(lambda p: function(p, x2), params)
    return jax.vmap(forward)(jax.vmap(gradient)(rows))


def relu_ntk(x1: NDArray[Any], x2: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Return the kernel of the infinitely wide two-layer ReLU network f = a · relu(W x / √d) / √n, W, a ~ N(0, 1).

    Θ = |x||x'| / (2πd) · [sin θ + (π − θ) cos θ] + x·x' / (2πd) · (π − θ), with θ the angle between the inputs
    (the arc-cosine kernels of Cho & Saul 2009: training a gives the first term, training W the second).

    Args:
        x1: inputs ``[n1, d]``.
        x2: inputs ``[n2, d]``; None takes ``x1``.

    Returns:
        ``[n1, n2]``, float64.
    """
    x1 = np.asarray(x1, np.float64)
    x2 = x1 if x2 is None else np.asarray(x2, np.float64)
    lengths = np.linalg.norm(x1, axis=1)[:, None] * np.linalg.norm(x2, axis=1)
    inner = x1 @ x2.T
    cosine = np.clip(np.divide(inner, lengths, out=np.zeros_like(inner), where=lengths > 0), -1.0, 1.0)
    angle = np.arccos(cosine)
    values = lengths * (np.sin(angle) + (np.pi - angle) * cosine) + inner * (np.pi - angle)
    return np.asarray(values / (2 * np.pi * x1.shape[1]))
