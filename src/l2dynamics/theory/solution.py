"""Infinitely wide k-homogeneous networks trained with L2 regularization, by gradient flow (section 4, SM B).

Conventions of the paper's section 4: the empirical loss is a **sum** over the training set (not a mean), the
sample loss of Theorem 2 is ½ (f − y)², and ``t`` is gradient-flow time, ``t = step · η`` for gradient descent
with learning rate η. An eigenmode of the initial kernel has eigenvalue ``gamma``; ``l2`` is λ; ``k`` is the
degree of homogeneity (2 for two layers of ReLU, 1 for a linear model).

Everything here is float64 numpy and scipy. The solution of eq. (3) is evaluated in the form

    f(t) = H(t) f(0) + γ y Q(t),   H(t) = exp[−γ φ(t) − kλt],   φ(t) = (1 − e^{−βt}) / β,   β = 2(k−1)λ,
    Q(t) = ∫_0^t dr exp[−βt + (k−2)λr − γ e^{−β(t−r)} φ(r)]          (r = t − s is the time before t),

which has no cancelling exponents and goes through k = 1 and λ = 0 without a special case. Q is integrated by
Gauss-Legendre panels that shrink geometrically towards both ends, where the integrand has its scales.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import exprel

Array = NDArray[np.float64]

_TAIL = 60.0  # e^{-60} of the integrand is below float64 resolution
_DEAD = 1e4  # e^{-10^4} is 0 in float64, whatever it is multiplied with
_CHUNK = 4096  # evaluations of Q at once: 16 MB per temporary


def mode_evolution(
    t: ArrayLike, *, gamma: ArrayLike, l2: ArrayLike, k: ArrayLike, y: ArrayLike = 1.0, f0: ArrayLike = 0.0
) -> Any:
    """Evolve one eigenmode of the network function under MSE loss, eq. (3).

    Arguments broadcast against each other.

    Args:
        t: gradient-flow time (step · η), ≥ 0.
        gamma: eigenvalue of the kernel at t = 0, ≥ 0, in units of 1 / t.
        l2: L2 coefficient λ ≥ 0, in units of 1 / t.
        k: degree of homogeneity ≥ 1.
        y: the labels' component along the mode.
        f0: the function's component along the mode at t = 0.

    Returns:
        f(t), float64, of the broadcast shape; a scalar for scalar arguments.

    Raises:
        ValueError: an argument is not finite or out of its range; the message names it.
    """
    t, gamma, l2, k, y, f0 = np.broadcast_arrays(
        _checked("t", t, 0.0),
        _checked("gamma", gamma, 0.0),
        _checked("l2", l2, 0.0),
        _checked("k", k, 1.0),
        _checked("y", y),
        _checked("f0", f0),
    )
    with np.errstate(over="ignore"):  # exp(−∞) = 0 is the right answer
        homogeneous = np.exp(-gamma * _phi(2 * (k - 1) * l2, t) - k * l2 * t)
    return (homogeneous * f0 + gamma * y * _response(t, gamma, l2, k))[()]


def kernel_decay(t: ArrayLike, *, l2: ArrayLike, k: ArrayLike) -> Any:
    """Return Θ_t / Θ_0 = exp[−2(k−1)λt], eq. (2).

    Raises:
        ValueError: an argument is not finite or out of its range; the message names it.
    """
    return np.exp(-2 * (_checked("k", k, 1.0) - 1) * _checked("l2", l2, 0.0) * _checked("t", t, 0.0))[()]


def loss_minimum_time(
    *, gamma: ArrayLike, l2: float, k: float, y: ArrayLike = 1.0, f0: ArrayLike = 0.0
) -> float:
    """Return the time at which the empirical loss ½ Σ_a (f_a(t) − y_a)² has its minimum.

    Args:
        gamma: eigenvalues of the kernel on the training set, shape ``[modes]`` or a scalar.
        l2: L2 coefficient λ ≥ 0.
        k: degree of homogeneity ≥ 1.
        y: components of the labels along the modes, broadcast against ``gamma``.
        f0: components of the initial function, broadcast against ``gamma``.

    Returns:
        Gradient-flow time of the global minimum; infinite if the loss falls for ever, as it does for k = 1
        from f0 = 0 or for λ = 0.

    Raises:
        ValueError: an argument is not finite or out of its range; the message names it.
    """
    gamma, y, f0 = np.broadcast_arrays(
        np.atleast_1d(_checked("gamma", gamma, 0.0)), _checked("y", y), _checked("f0", f0)
    )
    l2, k = float(_checked("l2", l2, 0.0)), float(_checked("k", k, 1.0))
    if l2 == 0:
        return math.inf

    def modes(t: float | Array) -> Array:
        return np.asarray(mode_evolution(np.asarray(t)[..., None], gamma=gamma, l2=l2, k=k, y=y, f0=f0))

    def slope(t: float) -> float:
        f = modes(t)
        speed = gamma * kernel_decay(t, l2=l2, k=k) * (y - f) - k * l2 * f
        return float(((f - y) * speed).sum())

    times = np.concatenate([[0.0], np.geomspace(1e-3 / (gamma.max() + k * l2), _TAIL / l2, 120)])
    losses = 0.5 * ((modes(times) - y) ** 2).sum(axis=-1)
    best = int(losses.argmin())
    # A loss that only flattens out has its smallest sample wherever rounding puts it: not a minimum.
    if best == times.size - 1 or losses[best] >= losses[-1] * (1 - 1e-9):
        return math.inf
    if best == 0:
        return 0.0
    left, right = float(times[best - 1]), float(times[best + 1])
    return (
        float(brentq(slope, left, right, rtol=1e-12))
        if slope(left) < 0 < slope(right)
        else float(times[best])
    )


@dataclass(frozen=True)
class Evolution:
    """The network function along gradient flow.

    Attributes:
        times: gradient-flow times, shape ``[times]``.
        train: f_t on the training set, ``[times, samples]`` or ``[times, samples, outputs]``, as ``y`` is.
        test: f_t on the test set, or None if no test kernel was given.
    """

    times: Array
    train: Array
    test: Array | None = None


def evolve(
    kernel: ArrayLike,
    f0: ArrayLike,
    y: ArrayLike,
    l2: float,
    k: float,
    times: ArrayLike,
    *,
    loss: Callable[..., Any] | None = None,
    kernel_test: ArrayLike | None = None,
    f0_test: ArrayLike | None = None,
) -> Evolution:
    """Solve eq. (1) for the network function on the training set and on any other inputs.

    For MSE (``loss=None``) in closed form by eigenmodes (eq. 3, S13–S15); the test set follows without another
    integral, from Σ_a Θ_0(x, X) e_a D_a(t) with the modes' accumulated residuals D_a. For any other loss by
    an ODE solver (:mod:`l2dynamics.theory.ode`, needs diffrax). For k = 1 and t → ∞ the result is kernel
    ridge regression, Θ(x, X) (Θ + λI)^{-1} y.

    Args:
        kernel: Θ_0 on the training set, ``[samples, samples]``, symmetric and positive semidefinite.
        f0: initial function on the training set, of the shape of ``y`` or broadcast to it.
        y: labels, ``[samples]`` or ``[samples, outputs]``; with several outputs each evolves under the same kernel.
        l2: L2 coefficient λ ≥ 0.
        k: degree of homogeneity ≥ 1.
        times: gradient-flow times ≥ 0, ``[times]``, increasing.
        loss: None for Σ ½ (f − y)², or a jax function ``loss(f, y)`` that returns the empirical loss
            (a scalar, the sum over samples) for ``f`` and ``y`` of the shape of ``y``.
        kernel_test: Θ_0 between test and training inputs, ``[test, samples]``.
        f0_test: initial function on the test inputs, broadcast to ``[test]`` or ``[test, outputs]``; None for 0.

    Raises:
        ValueError: an argument is not finite, out of its range or of the wrong shape; the message names it.
        RuntimeError: the ODE solver gave up (only with ``loss``).
    """
    labels = _checked("y", y)
    start = _broadcast("f0", f0, labels.shape)
    l2, k = float(_checked("l2", l2, 0.0)), float(_checked("k", k, 1.0))
    grid = np.atleast_1d(_checked("times", times, 0.0))
    if grid.ndim != 1 or (np.diff(grid) <= 0).any():
        raise ValueError("times must be one-dimensional and increasing")
    theta = _checked("kernel", kernel)
    if theta.shape != (len(labels), len(labels)):
        raise ValueError(
            f"kernel has shape {theta.shape}, expected {(len(labels), len(labels))}: there are {len(labels)} labels"
        )
    if not np.allclose(theta, theta.T, rtol=1e-4, atol=1e-6 * np.abs(theta).max()):
        raise ValueError("kernel is not symmetric")
    theta_test = None if kernel_test is None else _checked("kernel_test", kernel_test)
    start_test = None
    if theta_test is not None:
        if theta_test.ndim != 2 or theta_test.shape[1] != len(labels):
            raise ValueError(f"kernel_test has shape {theta_test.shape}, expected (test, {len(labels)})")
        shape = (len(theta_test), *labels.shape[1:])
        start_test = _broadcast("f0_test", 0.0 if f0_test is None else f0_test, shape)
    if loss is not None:
        from l2dynamics.theory.ode import solve

        return Evolution(grid, *solve(theta, start, labels, l2, k, grid, loss, theta_test, start_test))

    values, vectors = np.linalg.eigh((theta + theta.T) / 2)
    values = values.clip(0.0)  # rounding makes null modes slightly negative
    y_modes, f0_modes = np.tensordot(vectors, labels, (0, 0)), np.tensordot(vectors, start, (0, 0))
    t, gamma = grid[:, None], values[None, :]
    decay = np.exp(-k * l2 * grid)
    phi = _phi(2 * (k - 1) * l2, t)
    # With u_a = f_a e^{kλt}: du_a/dt = −γ_a × residual, so that (f_a − e^{−kλt} f_a(0)) / γ_a is what every x sees.
    accumulated = _spread(_response(*np.broadcast_arrays(t, gamma, l2, k)), labels) * y_modes
    accumulated -= _spread(decay[:, None] * phi * exprel(-gamma * phi), labels) * f0_modes
    free = _spread(decay[:, None], labels)

    def project(rows: Array) -> Array:
        return np.moveaxis(np.tensordot(rows, accumulated, (1, 1)), 0, 1)

    train = free * start + project(vectors * values)
    if theta_test is None or start_test is None:
        return Evolution(grid, train)
    return Evolution(grid, train, free * start_test + project(theta_test @ vectors))


def _spread(values: Array, y: Array) -> Array:
    """Append the axis of the outputs if the labels have one."""
    return values[..., None] if y.ndim == 2 else values


def _phi(beta: Array | float, t: Array) -> Array:
    """Return ∫_0^t e^{−βs} ds = (1 − e^{−βt}) / β, which is t at β = 0."""
    with np.errstate(over="ignore", divide="ignore"):
        return np.where(np.multiply(beta, t) > _DEAD, np.divide(1.0, beta), t * exprel(-beta * t))


def _response(t: Array, gamma: Array, l2: Array, k: Array) -> Array:
    """Return Q(t) of the module's docstring; all arguments of one shape."""
    flat = [np.asarray(a, dtype=np.float64).ravel() for a in (t, gamma, l2, k)]
    result = np.empty(flat[0].size)
    for start in range(0, result.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = _integrate(*(a[part] for a in flat))
    return result.reshape(np.shape(t))


def _integrate(t: Array, gamma: Array, l2: Array, k: Array) -> Array:
    nodes, weights = _graded_rule()
    beta = 2 * (k - 1) * l2
    with np.errstate(all="ignore"):
        # The kernel term reaches its tail where γ e^{−βt} (e^{βr} − 1) / β = _TAIL; log1p(βv)/β is v at β = 0.
        v = _TAIL * np.exp(beta * t) / gamma
        log_v = np.log(_TAIL / gamma) + beta * t
        reach = np.where(beta * v > 1e-8, np.logaddexp(0.0, np.log(beta) + log_v) / beta, v)
        reach = np.where(k < 2, np.fmin(reach, _TAIL / ((2 - k) * l2)), reach)
        end = np.fmin(reach, t)
        dead = beta * t > _DEAD
        t, gamma, l2, k, beta, r = (a[:, None] for a in (t, gamma, l2, k, beta, end))
        r = r * nodes
        exponent = -beta * t + (k - 2) * l2 * r - gamma * np.exp(-beta * (t - r)) * _phi(beta, r)
        return np.where(dead, 0.0, end * (np.exp(exponent) @ weights))


@lru_cache
def _graded_rule(points: int = 12, levels: int = 10) -> tuple[Array, Array]:
    """Return nodes and weights on [0, 1]: panels halve ``levels`` times towards 0 and towards 1.

    With these numbers Q is within 6e-14 of what 40 points and 24 levels give, for γ/λ from 1e-12 to 1e12 and k to 20.
    """
    left = np.concatenate([[0.0], 0.5 ** np.arange(levels, 0, -1)])
    edges = np.concatenate([left, 1 - left[-2::-1]])
    x, w = np.polynomial.legendre.leggauss(points)
    width = np.diff(edges)[:, None]
    return (edges[:-1, None] + width * (x + 1) / 2).ravel(), (width * w / 2).ravel()


def _checked(name: str, value: ArrayLike, least: float = -math.inf) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    if (array < least).any():
        raise ValueError(f"{name} must be at least {least:g}, got {float(array.min()):g}")
    return array


def _broadcast(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    try:
        return np.broadcast_to(_checked(name, value), shape)
    except ValueError as error:
        if "finite" in str(error):
            raise
        raise ValueError(f"{name} has shape {np.shape(value)}, expected {shape}") from error
