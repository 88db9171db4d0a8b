"""Lemma 1 measured: Σ_μ θ_μ ∂_μ ∂_ν1 … ∂_νm f = (k − m) ∂_ν1 … ∂_νm f for a k-homogeneous network.

Biases break it: with a bias the function is a sum of terms of different degree, and only at zero bias, where
training starts, does m = 0 still hold. Batch norm keeps it up to its ε.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

Params = Any
Derivatives = Callable[[Params], tuple[jax.Array, ...]]
"""θ ↦ (f, ∂_ν1 f, ∂_ν1 ∂_ν2 f, …)."""

UNOPTIMISED = {"xla_backend_optimization_level": 0}
"""For what runs once: optimising takes a minute and buys nothing, and so does compiling operation by operation."""


@dataclass(frozen=True)
class Homogeneity:
    """Lemma 1 at one order of differentiation.

    Attributes:
        order: m, the number of derivatives.
        degree: measured k: m plus the factor that the left-hand side has against ∂_ν1 … ∂_νm f.
        residual: |left − right| / max(|left|, |∂_ν1 … ∂_νm f|) for the k asked about.
    """

    order: int
    degree: float
    residual: float


def euler(
    function: Callable[[Params], jax.Array], params: Params, k: float, seed: int, highest: int = 2
) -> list[Homogeneity]:
    """Check Lemma 1 along random directions ν, by nested forward differentiation.

    Args:
        function: θ ↦ f, an array of any shape (the inputs are closed over).
        params: θ, a pytree of floating-point arrays of one type.
        k: the claimed degree of homogeneity.
        seed: of the directions, N(0, 1) per parameter.
        highest: largest m.

    Returns:
        One entry per m from 0 on. Where all m-th derivatives vanish there is nothing to compare: degree and residual
        are ``k`` and 0 if both sides are zero.
    """
    derivatives: Derivatives = lambda theta: (function(theta),)  # noqa: E731
    # NumPy's normal numbers: JAX would compile for seconds to draw them once.
    random = np.random.default_rng(seed)
    for _ in range(highest):
        direction = jax.tree.map(lambda w: random.standard_normal(w.shape).astype(w.dtype), params)
        derivatives = _with_next(derivatives, direction)

    @partial(jax.jit, compiler_options=UNOPTIMISED)
    def both_sides(theta: Params) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        return jax.jvp(derivatives, (theta,), (theta,))

    results = []
    for order, (value, radial) in enumerate(zip(*both_sides(params), strict=True)):
        left, right = np.asarray(radial, np.float64).ravel(), np.asarray(value, np.float64).ravel()
        scale = max(float(np.linalg.norm(left)), float(np.linalg.norm(right)))
        if scale == 0:
            results.append(Homogeneity(order, k, 0.0))
            continue
        degree = order + float(left @ right) / float(right @ right)
        results.append(Homogeneity(order, degree, float(np.linalg.norm(left - (k - order) * right)) / scale))
    return results


def _with_next(derivatives: Derivatives, direction: Params) -> Derivatives:
    """θ ↦ the given derivatives and that of the last one along one more direction."""

    def extended(theta: Params) -> tuple[jax.Array, ...]:
        values, slopes = jax.jvp(derivatives, (theta,), (direction,))
        return (*values, slopes[-1])

    return extended


def split(params: Mapping[str, Any], drop: str = "bias") -> tuple[dict[str, Any], dict[str, Any]]:
    """Split nested Flax parameters into those not called ``drop`` and those that are."""
    kept: dict[str, Any] = {}
    dropped: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            kept[name], dropped[name] = split(value, drop)
        else:
            (dropped if name == drop else kept)[name] = value
    return kept, dropped


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Undo :func:`split`."""
    merged = dict(first)
    for name, value in second.items():
        merged[name] = merge(first.get(name, {}), value) if isinstance(value, Mapping) else value
    return merged
