"""Means, exponents and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from l2dynamics.results import tables


@dataclass(frozen=True)
class Fit:
    """A straight line in log-log coordinates, ``log y = intercept + slope * log x`` (natural logarithms).

    Attributes:
        slope: the exponent.
        intercept: log of the prefactor.
        low: lower end of the 95 % interval of the slope; NaN with fewer than three clusters.
        high: its upper end.
        n: number of points.
        clusters: number of independent clusters that were resampled.
    """

    slope: float
    intercept: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided 95 % Student interval; ``low`` and ``high`` are NaN for a single value."""

    mean: float
    low: float
    high: float
    n: int


def over_seeds(
    rows: pd.DataFrame, column: str, by: Sequence[str] = ("group", "eta", "l2", "sigma_w", "budget")
) -> pd.DataFrame:
    """Average a column over seeds.

    Args:
        rows: one row per run, as from :func:`summarize` or :func:`accuracy_within`.
        column: what to average; NaN entries are left out.
        by: columns that identify a grid point.

    Returns:
        One row per grid point, sorted: the ``by`` columns and ``mean, low, high, n`` (95 % Student interval).
    """
    tables.require(rows, (*by, column))
    grouped = rows.dropna(subset=[column]).groupby(list(by), sort=True)[column]
    points = grouped.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n"})
    half = _half_width(points["std"].to_numpy(float), points["n"].to_numpy(int))
    points["low"], points["high"] = points["mean"] - half, points["mean"] + half
    return points[[*by, "mean", "low", "high", "n"]]


def mean_interval(values: ArrayLike) -> Interval:
    """Return the mean of independent values with its 95 % Student interval; NaN entries are left out.

    Raises:
        ValueError: there is no finite value.
    """
    finite = np.asarray(values, dtype=float).ravel()
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        raise ValueError("values holds no finite number: there is nothing to average")
    mean = float(finite.mean())
    spread = finite.std(ddof=1) if finite.size > 1 else np.nan
    half = float(_half_width(np.array([spread]), np.array([finite.size]))[0])
    return Interval(mean, mean - half, mean + half, int(finite.size))


def fit_exponent(
    x: ArrayLike,
    y: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> Fit:
    """Fit ``y ∝ x^slope`` by least squares in log-log coordinates, with a cluster bootstrap 95 % interval.

    Points of one cluster (say, the seeds of one grid point) are not independent, so whole clusters are drawn
    with replacement. Resamples without two distinct x have no slope and are left out. The bootstrap is done
    on sums and needs no loop.

    Args:
        x: positive values, shape (n,).
        y: positive values, shape (n,).
        clusters: label of each point's cluster, shape (n,); None takes the distinct values of ``x``.
        groups: label of each point's group, shape (n,): every group has a prefactor of its own and all share
            the exponent ("at fixed η": groups are the η). None: one prefactor.
        samples: number of resamples.
        seed: of the resampling, fixed so that the same data give the same interval.

    Returns:
        The fit; with groups, ``intercept`` is the mean over points. ``low`` and ``high`` are NaN with fewer
        than three clusters.

    Raises:
        ValueError: shapes differ, a value is not positive and finite, or no group has two distinct x.
    """
    u, v = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    labels = u if clusters is None else np.asarray(clusters).ravel()
    parts = np.zeros(u.size, int) if groups is None else np.asarray(groups).ravel()
    if not u.size == v.size == labels.size == parts.size:
        raise ValueError(f"x, y, clusters and groups must have one length, not {u.size}, {v.size}, …")
    if not (np.isfinite(u).all() and np.isfinite(v).all() and (u > 0).all() and (v > 0).all()):
        raise ValueError(
            "x and y must be positive and finite to fit an exponent: leave out λ=0 and failed runs"
        )
    u, v = np.log(u), np.log(v)
    # Centring keeps the sums of squares well conditioned when log x is far from zero.
    a, b = u - u.mean(), v - v.mean()
    _, cluster = np.unique(labels, return_inverse=True)
    _, group = np.unique(parts, return_inverse=True)
    cells, cell = np.unique(np.stack([cluster, group]), axis=1, return_inverse=True)
    sums = np.stack([np.bincount(cell, w) for w in (np.ones_like(a), a, b, a * a, a * b)])
    member = np.eye(int(group.max()) + 1)[cells[1]]
    slope = float(_slope(np.ones((1, cells.shape[1])), sums, member)[0])
    if np.isnan(slope):
        raise ValueError("an exponent needs at least two distinct x (in one group)")
    count = int(cluster.max()) + 1
    low = high = np.nan
    if count >= 3:
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
        slopes = _slope(drawn[:, cells[0]].astype(float), sums, member)
        low, high = (float(q) for q in np.nanquantile(slopes, [0.025, 0.975]))
    return Fit(slope, float(v.mean() - slope * u.mean()), low, high, int(u.size), count)


def _slope(weights: np.ndarray, sums: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Least-squares slopes with one intercept per group; NaN where no group has two distinct x.

    Args:
        weights: how often each cell counts, shape (samples, cells).
        sums: n, Σa, Σb, Σa², Σab of each cell, shape (5, cells).
        member: one-hot group of each cell, shape (cells, groups).
    """
    n, a, b, aa, ab = ((weights * row) @ member for row in sums)
    filled = np.maximum(n, 1.0)
    variance = (aa - a * a / filled).sum(axis=1)
    covariance = (ab - a * b / filled).sum(axis=1)
    degenerate = variance <= 1e-12 * np.maximum(aa.sum(axis=1), 1e-300)
    return np.where(degenerate, np.nan, covariance / np.where(degenerate, 1.0, variance))


def _half_width(spread: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Half width of the 95 % Student interval of a mean; NaN for n = 1."""
    quantile = np.where(n > 1, stdtrit(np.maximum(n - 1, 1), 0.975), np.nan)
    return np.asarray(quantile * spread / np.sqrt(n))
