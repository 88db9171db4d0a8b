"""Bias-free ReLU networks in NTK parametrisation, trained by full-batch gradient descent (section 4, Fig. 5c).

``f(x) = a · relu(W_L … relu(W_1 relu(W_0 x / √d) / √n) …) / √n`` with all entries N(0, 1): ``depth`` hidden layers
make it (depth + 1)-homogeneous. The loss is the sum Σ ½ (f − y)² over the training set.

Training inputs span at most as many dimensions as there are samples. Gradients of W_0 stay in that span, and
outside it W_0 only decays by (1 − ηλ) a step: :func:`project` trains the part inside and carries the rest along in
closed form. With 200 MNIST images that is a quarter of the work, and the same function up to rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from l2dynamics.theory.solution import Array

Params = tuple[jax.Array, ...]


def init(seed: Sequence[int], *, inputs: int, width: int, depth: int = 1) -> Params:
    """Draw the weights: W_0 ``[width, inputs]``, W_1 … ``[width, width]``, a ``[width]``, all N(0, 1), float32."""
    # NumPy's normal numbers: JAX would compile for a second to draw a shape once.
    random = np.random.default_rng(seed)
    shapes = [(width, inputs), *[(width, width)] * (depth - 1), (width,)]
    return tuple(jnp.asarray(random.standard_normal(shape, np.float32)) for shape in shapes)


@jax.jit
def apply(params: Params, x: jax.Array, offset: jax.Array | None = None) -> jax.Array:
    """Return f, ``[batch]``.

    Args:
        params: as made by :func:`init`.
        x: inputs already divided by √d, ``[batch, inputs]``.
        offset: added to the pre-activations of the first layer, ``[batch, width]``: see :func:`project`.
    """
    h = x @ params[0].T
    if offset is not None:
        h = h + offset
    for weights in params[1:]:
        h = jax.nn.relu(h) @ weights.T / weights.shape[-1] ** 0.5
    return h


def loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the empirical loss Σ ½ (f − y)²."""
    return 0.5 * jnp.sum(jnp.square(apply(params, x) - y))


def kernel(
    params: Params, x1: jax.Array, x2: jax.Array | None = None, offset: jax.Array | None = None
) -> Array:
    """Return Θ at ``params`` in float64, ``[n1, n2]``.

    Layer by layer: the gradient of f(x) by the weights of a layer is δ(x) h(x)ᵀ, with the layer's input h and δ = ∂f by
    its output, so that Θ(x, x') = Σ_layers (h · h') (δ · δ'). That takes no gradient of the size of the weights.

    Args:
        params: as made by :func:`init`.
        x1: inputs already divided by √d, ``[n1, inputs]``.
        x2: the same, ``[n2, inputs]``; None takes ``x1``, and Θ is then symmetric beyond rounding.
        offset: of ``x1``, as for :func:`apply`. The weights it stands for see no ``x2`` and add nothing else to Θ.
    """
    first = _layers(params, x1, offset)
    second = first if x2 is None else _layers(params, x2, None)
    found = np.zeros((len(x1), len(x1 if x2 is None else x2)))
    for (h1, delta1), (h2, delta2) in zip(first, second, strict=True):
        found += np.asarray((h1 @ h2.T) * (delta1 @ delta2.T), np.float64)
    return (found + found.T) / 2 if x2 is None else found


@jax.jit
def _layers(
    params: Params, x: jax.Array, offset: jax.Array | None
) -> tuple[tuple[jax.Array, jax.Array], ...]:
    """Input h ``[batch, in]`` and δ ``[batch, out]`` of every layer, the first one first."""
    inputs, active = [x], []
    h = x @ params[0].T
    if offset is not None:
        h = h + offset
    for weights in params[1:]:
        active.append((h > 0).astype(h.dtype))
        inputs.append(jax.nn.relu(h) / weights.shape[-1] ** 0.5)
        h = inputs[-1] @ weights.T
    deltas = [jnp.ones((len(x), 1), x.dtype)]
    for weights, on in zip(params[:0:-1], active[::-1], strict=True):
        deltas.append(deltas[-1] @ jnp.atleast_2d(weights) * on / weights.shape[-1] ** 0.5)
    return tuple(zip(inputs, deltas[::-1], strict=True))


@dataclass(frozen=True)
class Inputs:
    """Training and test inputs in an orthonormal basis of the span of the training inputs.

    Attributes:
        basis: ``[rank, d]``, orthonormal rows.
        train: training inputs / √d in this basis, ``[samples, rank]``.
        test: the part of the test inputs / √d inside the span, ``[test, rank]``.
        rest: the part outside, ``[test, d]``.
    """

    basis: jax.Array
    train: jax.Array
    test: jax.Array
    rest: jax.Array


def project(train: NDArray[Any], test: NDArray[Any]) -> Inputs:
    """Split inputs ``[…, d]`` into the span of the training inputs and the rest; see the module's docstring."""
    scale = 1 / np.sqrt(train.shape[1])
    train, test = np.asarray(train, np.float64) * scale, np.asarray(test, np.float64) * scale
    _, singular, basis = np.linalg.svd(train, full_matrices=False)
    basis = basis[singular > 1e-10 * singular[0]]
    inside = test @ basis.T
    parts = (basis, train @ basis.T, inside, test - inside @ basis)
    return Inputs(*(jnp.asarray(part, jnp.float32) for part in parts))


def enter(params: Params, inputs: Inputs) -> tuple[Params, jax.Array]:
    """Return the parameters in the basis of ``inputs``, and the test set's first-layer offset, ``[test, width]``."""
    # Copies: training uses up the weights it is given, the caller keeps its own.
    others = tuple(jnp.copy(weights) for weights in params[1:])
    return (params[0] @ inputs.basis.T, *others), inputs.rest @ params[0].T


@partial(jax.jit, donate_argnums=0)
def _descend(
    params: Params, x: jax.Array, y: jax.Array, eta: jax.Array, l2: jax.Array, steps: jax.Array
) -> Params:
    def update(_: jax.Array, p: Params) -> Params:
        gradients = jax.grad(loss)(p, x, y)
        return tuple(w - eta * (g + l2 * w) for w, g in zip(p, gradients, strict=True))

    return jax.lax.fori_loop(0, steps, update, params)


def descend(
    params: Params,
    x: jax.Array,
    y: jax.Array,
    *,
    eta: float,
    l2: float,
    steps: Sequence[int],
    start: int = 0,
    on_chunk: Callable[[int, Params], None] | None = None,
    chunk: int = 500,
) -> Iterator[tuple[int, Params]]:
    """Train by gradient descent on Σ ½ (f − y)² + ½ λ ‖θ‖² and yield (step, params) at each of ``steps``.

    Args:
        params: the weights at step ``start``; they are used up (donated) from the first step on.
        x: training inputs / √d, ``[samples, inputs]``.
        y: labels ``[samples]``.
        eta: learning rate η; gradient-flow time is step · η.
        l2: coefficient λ.
        steps: increasing steps to stop at; those before ``start`` are skipped.
        start: the step ``params`` belong to.
        on_chunk: called with (step, params) at least every ``chunk`` steps, for progress and checkpoints.
        chunk: most steps between two calls.
    """
    step = start
    for target in steps:
        if target < start:
            continue
        while step < target:
            count = min(chunk, target - step)
            params = _descend(params, x, y, jnp.float32(eta), jnp.float32(l2), jnp.int32(count))
            step += count
            if on_chunk is not None:
                on_chunk(step, params)
        yield step, params
