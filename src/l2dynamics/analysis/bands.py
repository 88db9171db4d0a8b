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
from l2dynamics.analysis.resampling import Statistic, View
from l2dynamics.results import tables

LEVEL = 0.9
POINT = ["group", "eta", "l2", "sigma_w", "budget"]
"""Columns of a summary that tell a grid point; the runs of one differ in their seed."""


def quantile(df: np.ndarray) -> np.ndarray:
    """Student's quantile of the interval, of the shape of ``df``."""
    return np.asarray(stdtrit(df, np.full(df.shape, 0.5 + LEVEL / 2)))


def share(low: float, high: float) -> tuple[float, float]:
    """The ends of the interval of an accuracy, inside 0 … 1."""
    return max(low, 0.0), min(high, 1.0)


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
    """Logarithm of t* of the mean curve, in steps."""
    return lambda view: np.log(np.maximum(peaks.star(curves.steps, view.accuracy(curves)), 0.5))


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
            curves = _curves(pd.concat([rows[run] for run in runs["run"]]), images)
            found = resampling.estimate(statistic(curves), len(curves.seeds))
        except Lacking:
            continue
        middle, half = float(runs[column].mean()), found.half_width(LEVEL)
        pair = (
            (middle * math.exp(-half), middle * math.exp(half))
            if log
            else share(middle - half, middle + half)
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
    curves = _curves(rows, images)

    def accuracies(view: View) -> np.ndarray:
        return view.accuracy(curves)

    found = resampling.estimates(accuracies, len(curves.seeds))
    return pd.Series([one.half_width(LEVEL) for one in found], index=curves.steps)


def _curves(rows: pd.DataFrame, images: int) -> Curves:
    """Curves of the runs that did not diverge.

    Raises:
        Lacking: there are none, or fewer images than blocks.
    """
    broken = rows.loc[rows[list(tables.BLOCKS)].isna().any(axis=1), "run"]
    kept = rows[~rows["run"].isin(broken)]
    if kept.empty or images < blocks.BLOCKS:
        raise Lacking("no counts of test images")
    return blocks.from_table(kept, tables.block_sizes(images))
