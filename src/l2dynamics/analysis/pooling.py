"""One number from several setups: the random-effects mean, and Holm's correction for several tests.

The paper's claims are about networks in general, so setups differ in truth and not only by noise. The variance τ²
between them is DerSimonian and Laird's, the standard error of their mean Hartung and Knapp's with Student's quantiles
of k − 1 degrees of freedom; it is never less than that of the ordinary random-effects mean, since a few setups that
agree by chance would give an interval of no width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2dynamics.analysis.resampling import Estimate


@dataclass(frozen=True)
class Pooled:
    """The random-effects mean over setups.

    Attributes:
        mean: with its standard error; ``n_seeds`` is the least of the setups'.
        tau: standard deviation of the truth between setups; NaN for one.
        weights: of the setups, they sum to one.
    """

    mean: Estimate
    tau: float
    weights: tuple[float, ...]

    @property
    def setups(self) -> int:
        """Number of setups."""
        return len(self.weights)


def pooled(estimates: Sequence[Estimate]) -> Pooled:
    """Return the random-effects mean. That of one setup is its own estimate.

    Args:
        estimates: of the same quantity, one for every setup in the regime.

    Raises:
        ValueError: there is none, or one has no standard error over seeds (it may not enter a verdict over seeds).
    """
    _require(estimates)
    if len(estimates) == 1:
        return Pooled(estimates[0], math.nan, (1.0,))
    y = np.array([one.value for one in estimates])
    # A zero, up to rounding, has no weight to give; it is as good as the best of the others, or as any if all are.
    se = np.array([one.se for one in estimates])
    known = se > 1e-9 * se.max()
    se = np.where(known, se, se[known].min() if known.any() else 1.0)
    tau2 = _between(y, se**2)
    precision = 1 / (se**2 + tau2)
    weights = precision / precision.sum()
    mean, df = float(weights @ y), len(y) - 1
    ratio = float(precision @ (y - mean) ** 2) / df
    exact = all(one.se == 0 for one in estimates)
    variance = (ratio if exact else max(ratio, 1.0)) / float(precision.sum())
    seeds = min(one.n_seeds for one in estimates)
    found = Estimate(mean, math.sqrt(variance), float(df), n_seeds=seeds)
    return Pooled(found, math.sqrt(tau2), tuple(float(weight) for weight in weights))


def guarded(estimates: Sequence[Estimate]) -> Estimate:
    """Return what has to lie below 0 for every mean that it guards to count: the mean, and of two setups the larger.

    Two setups have a mean with one degree of freedom, by whose quantile of 13 they could not exclude noise however
    clearly each of them does. So each of them has to.

    Args:
        estimates: one for every setup in the regime.

    Raises:
        ValueError: see :func:`pooled`.
    """
    if len(estimates) != 2:
        return pooled(estimates).mean
    _require(estimates)
    return max(estimates, key=lambda one: one.high(0.95))


def _require(estimates: Sequence[Estimate]) -> None:
    if not estimates or not all(one.over_seeds and math.isfinite(one.se) for one in estimates):
        raise ValueError(
            "pool setups with at least two seeds and a standard error; leave out the others and say so"
        )


def _between(y: np.ndarray, variance: np.ndarray) -> float:
    """DerSimonian and Laird's variance between setups, ≥ 0."""
    w = 1 / variance
    mean = float(w @ y) / float(w.sum())
    q = float(w @ (y - mean) ** 2)
    return max(0.0, (q - (len(y) - 1)) / float(w.sum() - (w @ w) / w.sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given: all below α are true at once with probability 1 − α.

    Args:
        p_values: of the tests inside one claim.
    """
    p = np.asarray(p_values, dtype=float)
    if p.size == 0:
        return []
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]
