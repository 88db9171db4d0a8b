"""Numbers from results tables: t*, accuracies within a budget, tuned λ, exponents and their intervals.

Every function takes the long results table (one row per evaluation of a run, see
:mod:`l2dynamics.history`) or what :func:`summarize` makes of it (one row per run). Times are epochs unless
the name ends in ``_step``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from l2dynamics.history import RUN_COLUMNS
from l2dynamics.prediction import t_star

TOLERANCE = 0.005
"""t* is the first evaluation within this absolute accuracy of the run's maximum (Section 2: "within .5%")."""

CHANCE_FACTOR = 2.0
"""A run has learned if its maximum test accuracy is at least this many times chance (0.2 for ten classes)."""

PEAKED_WITHIN = 0.8
"""A run has peaked if t* lies in this first part of it; if not, it only bounds t* from below."""

NEAR_BEST = 0.001
"""λ within this absolute accuracy of the best count as tuned too (error bars of Figure 4b: "within .1%")."""


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


@dataclass(frozen=True)
class Tuned:
    """The best coefficient on a grid, for one budget.

    Attributes:
        l2: λ with the highest seed-averaged accuracy.
        accuracy: that accuracy, with its interval over seeds.
        low: smallest λ whose accuracy is within ``NEAR_BEST`` of the best.
        high: largest such λ.
        near: all of them, ascending.
        edge: whether ``l2`` is the first or last positive λ of the grid: the true optimum may lie outside.
    """

    l2: float
    accuracy: Interval
    low: float
    high: float
    near: tuple[float, ...]
    edge: bool


def summarize(
    table: pd.DataFrame,
    *,
    tolerance: float = TOLERANCE,
    chance: float = 0.1,
    peaked_within: float = PEAKED_WITHIN,
) -> pd.DataFrame:
    """Reduce every run to one row.

    Args:
        table: long results table.
        tolerance: absolute accuracy in the definition of t* (spec: first evaluation ≥ max − tolerance).
        chance: accuracy of a constant guess, 1 / number of classes.
        peaked_within: fraction of the budget in which t* must lie for the run to count as peaked.

    Returns:
        One row per run in order of first appearance, with the columns

        - ``run, group, eta, l2, seed, sigma_w, budget``: as in the table (``l2`` is the first row's);
        - ``steps``: last step;
        - ``t_star_step, t_star``: t* in steps and in epochs;
        - ``t_before``: the evaluation before t*, in epochs: the accuracy was reached between the two;
        - ``max_test_accuracy, final_test_accuracy``: of the run, and at its end (NaN if diverged);
        - ``train1_epoch, test_accuracy_at_train1``: first evaluation with training accuracy 1, NaN if never;
        - ``argmin_train_loss_epoch, min_train_loss``: minimum of the training loss without the L2 term;
        - ``diverged``: some training loss or test accuracy is not finite;
        - ``learned``: ``max_test_accuracy ≥ 2 × chance``;
        - ``peaked``: ``t_star ≤ peaked_within × last epoch``: the accuracy gained less than ``tolerance`` in
          the rest of the run. Runs that have not peaked only bound t* from below.

    Raises:
        ValueError: the table lacks a column or has no rows.
    """
    _require(table, (*RUN_COLUMNS, "step", "epoch", "train_loss", "train_accuracy", "test_accuracy"))
    ordered = table.sort_values(["run", "step"], kind="stable").reset_index(drop=True)
    runs = ordered.groupby("run", sort=False)
    first, last = runs.head(1).set_index("run"), runs.tail(1).set_index("run")
    summary = first[list(RUN_COLUMNS[1:])].copy()
    summary["steps"] = last["step"]

    finite = ordered[np.isfinite(ordered["test_accuracy"])]
    stars = pd.Series(
        {
            run: t_star(rows["step"].to_numpy(), rows["test_accuracy"].to_numpy(), tolerance=tolerance)
            for run, rows in finite.groupby("run", sort=False)
        },
        dtype=float,
    )
    summary["t_star_step"] = stars.reindex(summary.index)
    at_star = finite[finite["step"] == finite["run"].map(stars)].set_index("run")
    summary["t_star"] = at_star["epoch"].reindex(summary.index)
    before = finite[finite["step"] < finite["run"].map(stars)].groupby("run")["epoch"].max()
    summary["t_before"] = before.reindex(summary.index)
    summary["max_test_accuracy"] = finite.groupby("run")["test_accuracy"].max().reindex(summary.index)
    summary["final_test_accuracy"] = last["test_accuracy"]

    at_one = ordered[ordered["train_accuracy"] >= 1.0 - 1e-9].groupby("run").head(1).set_index("run")
    summary["train1_epoch"] = at_one["epoch"].reindex(summary.index)
    summary["test_accuracy_at_train1"] = at_one["test_accuracy"].reindex(summary.index)

    losses = ordered[np.isfinite(ordered["train_loss"])]
    at_least = losses.loc[losses.groupby("run")["train_loss"].idxmin()].set_index("run")
    summary["argmin_train_loss_epoch"] = at_least["epoch"].reindex(summary.index)
    summary["min_train_loss"] = at_least["train_loss"].reindex(summary.index)

    broken = ~(np.isfinite(ordered["train_loss"]) & np.isfinite(ordered["test_accuracy"]))
    summary["diverged"] = broken.groupby(ordered["run"]).any().reindex(summary.index)
    summary["learned"] = summary["max_test_accuracy"] >= CHANCE_FACTOR * chance
    summary["peaked"] = summary["t_star"] <= peaked_within * last["epoch"]
    appearance = table["run"].drop_duplicates()
    return summary.loc[appearance].rename_axis("run").reset_index()


def accuracy_within(table: pd.DataFrame, epochs: float) -> pd.DataFrame:
    """Return the maximum test accuracy of every run within a training budget.

    This is the paper's "maximum performance achieved during training" for a fixed budget. A run that ended
    earlier contributes the maximum it reached; ``covers`` says whether it lasted the whole budget.

    Args:
        table: long results table.
        epochs: the budget; evaluations at ``epoch ≤ epochs`` count.

    Returns:
        One row per run: ``run, group, eta, l2, seed, sigma_w, budget, accuracy, covers``.

    Raises:
        ValueError: the table lacks a column or has no rows.
    """
    _require(table, (*RUN_COLUMNS, "epoch", "test_accuracy"))
    margin = epochs * (1 + 1e-9)
    runs = table.drop_duplicates("run")[list(RUN_COLUMNS)].set_index("run")
    accuracy = table[table["epoch"] <= margin].groupby("run")["test_accuracy"].max()
    runs["accuracy"] = accuracy.reindex(runs.index)
    runs["covers"] = table.groupby("run")["epoch"].max().reindex(runs.index) * (1 + 1e-9) >= epochs
    return runs.reset_index()


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
    _require(rows, (*by, column))
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


def tuned(table: pd.DataFrame, budget: float) -> Tuned:
    """Find the best λ > 0 within a training budget, on the grid of the table.

    Accuracies are averaged over seeds first. λ=0 is not a candidate: the paper compares λ on a logarithmic
    scale and treats λ=0 apart.

    Args:
        table: long results table of one η and one σw (filter it first), usually the rows of group ``grid``.
        budget: epochs.

    Raises:
        ValueError: several η or σw, or no run with λ > 0 has an evaluation within the budget.
    """
    runs = accuracy_within(table, budget)
    for column in ("eta", "sigma_w"):
        if runs[column].nunique() > 1:
            raise ValueError(
                f"tuned() needs runs of one {column}, the table has {sorted(runs[column].unique())}"
            )
    points = over_seeds(runs[runs["l2"] > 0], "accuracy", by=("l2",))
    if points.empty:
        raise ValueError(f"no run with l2 > 0 has an evaluation within {budget:g} epochs")
    best = points.iloc[int(points["mean"].to_numpy().argmax())]
    # Accuracies are multiples of 1 / test size: without the slack "0.001 below" would depend on rounding.
    near = points[points["mean"] >= float(best["mean"]) - NEAR_BEST - 1e-9]["l2"]
    accuracy = Interval(float(best["mean"]), float(best["low"]), float(best["high"]), int(best["n"]))
    return Tuned(
        l2=float(best["l2"]),
        accuracy=accuracy,
        low=float(near.min()),
        high=float(near.max()),
        near=tuple(float(value) for value in near),
        edge=bool(best["l2"] in (points["l2"].min(), points["l2"].max())),
    )


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


def _require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"the results table lacks the column {missing[0]!r}: re-run the sweep that wrote it")
    if table.empty:
        raise ValueError("the results table has no rows: re-run the sweep that wrote it")
