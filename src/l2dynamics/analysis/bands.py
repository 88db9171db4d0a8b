"""What figures draw with bars and bands: means over seeds, and their 90 % intervals by the one resampling.

What is counted on the test images has an interval over seeds and images, see :mod:`l2dynamics.analysis.resampling`. Of
other numbers, such as losses, only the scatter over seeds is known.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from l2dynamics import peaks
from l2dynamics.analysis import blocks, resampling
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.resampling import Statistic

LEVEL = 0.9
POINT = ["group", "eta", "l2", "sigma_w", "budget"]
"""Columns of a summary that tell a grid point; the runs of one differ in their seed."""


def quantile(df: np.ndarray) -> np.ndarray:
    """Student's quantile of the interval, of the shape of ``df``."""
    return np.asarray(stdtrit(df, np.full(df.shape, 0.5 + LEVEL / 2)))


def half_width(values: np.ndarray) -> float:
    """Half of the interval of a mean over seeds, from their scatter; NaN of a single one."""
    if len(values) < 2:
        return math.nan
    return float(quantile(np.array(len(values) - 1.0))) * float(values.std(ddof=1)) / math.sqrt(len(values))


def maximum(curves: Curves) -> Statistic:
    """Maximum accuracy of each run, mean over seeds."""
    return lambda view: (view.seeds * view.by_seed(curves).max(axis=-1)).sum(axis=-1)


def final(curves: Curves) -> Statistic:
    """Accuracy at the end, mean over seeds."""
    return lambda view: view.accuracy(curves)[:, -1]


def log_star(curves: Curves) -> Statistic:
    """Logarithm of t* of the mean curve, in steps; in a draw that is best untrained that of half a step."""
    return lambda view: np.log(np.maximum(peaks.star(curves.steps, view.accuracy(curves)), 0.5))


def interval(
    curves: Curves, statistic: Callable[[Curves], Statistic], *, log: bool = False
) -> tuple[float, ...]:
    """A number of one grid point and the ends of its interval; all three the number where there is no interval.

    Args:
        curves: the runs.
        statistic: that number, or its logarithm.
        log: whether it is the logarithm.
    """
    found = resampling.estimate(statistic(curves), len(curves.seeds))
    half = found.half_width(LEVEL)
    half = half if math.isfinite(half) else 0.0
    ends = (found.value, found.value - half, found.value + half)
    return tuple(map(math.exp, ends)) if log else ends


def attach(
    summary: pd.DataFrame,
    table: pd.DataFrame,
    images: int,
    column: str,
    statistic: Callable[[Curves], Statistic],
    *,
    log: bool = False,
) -> pd.DataFrame:
    """Add the ends of the interval of each grid point, ``{column}_low`` and ``{column}_high``.

    They lie around what figures draw, the mean of the column over the runs that have a value. Where there are no
    counts (every run diverged, few images) they are NaN.

    Args:
        summary: one row per run, with ``run``, ``column`` and the columns :data:`POINT`.
        table: evaluations of these runs, those that the statistic is to see.
        images: test images.
        column: what is drawn.
        statistic: of the curves of a grid point: that number, or its logarithm.
        log: whether it is the logarithm.
    """
    ends = pd.DataFrame(math.nan, index=summary.index, columns=["low", "high"])
    valid = summary[np.isfinite(summary[column].to_numpy(float))]
    rows = dict(iter(table.groupby("run", sort=False)))
    for _, runs in valid.groupby(POINT, sort=False):
        try:
            some = pd.concat([rows[run] for run in runs["run"]])
            curves = blocks.from_survivors(some, blocks.sizes(images))
            found = resampling.estimate(statistic(curves), len(curves.seeds))
        except Lacking:
            continue
        middle, half = float(runs[column].mean()), found.half_width(LEVEL)
        pair = (
            (middle * math.exp(-half), middle * math.exp(half))
            if log
            else (max(middle - half, 0.0), min(middle + half, 1.0))  # an accuracy
        )
        ends.loc[runs.index, ["low", "high"]] = pair
    return summary.assign(**{f"{column}_low": ends["low"], f"{column}_high": ends["high"]})


def accuracy_curve(rows: pd.DataFrame, images: int) -> pd.Series:
    """Half of the interval of the mean test accuracy at each evaluation, by step.

    Args:
        rows: evaluations of runs that differ in their seed.
        images: test images.

    Raises:
        Lacking: there are no counts.
    """
    curves = blocks.from_survivors(rows, blocks.sizes(images))
    found = resampling.estimates(lambda view: view.accuracy(curves), len(curves.seeds))
    return pd.Series([one.half_width(LEVEL) for one in found], index=curves.steps)
