"""How long a network needs to reach training accuracy 1, and the exponents of that time.

Training accuracy is measured on the training images, which are not drawn: the resampling draws seeds, and the values
that an exponent is fitted over.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2dynamics.analysis import resampling
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.regime import FITS
from l2dynamics.analysis.resampling import Estimate, View
from l2dynamics.analysis.slopes import levels, slope

ONE = 1 - 1e-9
"""Training accuracy 1 up to rounding."""


@dataclass(frozen=True)
class Times:
    """Steps to training accuracy 1 of grid points that all their seeds reach.

    Attributes:
        eta: of each point, shape ``[points]``.
        l2: λ of each, 0 included, shape ``[points]``.
        log_steps: natural logarithm of the time, shape ``[seeds, points]``.
        gaps: mean distance in log time to the evaluation before, shape ``[points]``.
        seeds: labels of the first axis.
    """

    eta: np.ndarray
    l2: np.ndarray
    log_steps: np.ndarray
    gaps: np.ndarray
    seeds: tuple[int, ...]

    def where(self, kept: np.ndarray) -> "Times":
        """Some of the points."""
        return Times(self.eta[kept], self.l2[kept], self.log_steps[:, kept], self.gaps[kept], self.seeds)


def first_steps(table: pd.DataFrame, level: float = ONE) -> pd.DataFrame:
    """The first evaluation after the start at which each run has a training accuracy, of the runs that ever have.

    Args:
        table: evaluations of runs with one seed each for a grid point.
        level: training accuracy.

    Returns:
        One row per run: ``eta, l2, seed, step`` and ``before``, the evaluation before (0 if it is the first).
    """
    ordered = table.sort_values(["run", "step"], kind="stable")
    before = ordered.groupby("run")["step"].shift(fill_value=0)
    reached = (ordered["train_accuracy"] >= level) & (ordered["step"] > 0)
    first = ordered.assign(before=before)[reached].drop_duplicates("run")
    return first[["eta", "l2", "seed", "step", "before"]]


def steps_to_fit(table: pd.DataFrame) -> float:
    """Steps that λ = 0 needs to the training accuracy at which it counts as fitted, mean over seeds.

    Args:
        table: see :func:`first_steps`, at one η.

    Returns:
        NaN if there is no λ = 0, or a seed of it does not get there.
    """
    zero = table[table["l2"] == 0]
    reached = first_steps(zero, FITS) if len(zero) else zero
    if reached.empty or len(reached) < zero["run"].nunique():
        return math.nan
    return float(reached["step"].mean())


def times(table: pd.DataFrame) -> Times:
    """Steps to training accuracy 1 of the points with at least two seeds, cut to the seeds that all of these share.

    Args:
        table: see :func:`first_steps`.

    Raises:
        Lacking: no point has two seeds that get there.
    """
    runs = table.groupby(["eta", "l2"])["seed"].nunique()
    first = first_steps(table)
    found: dict[tuple[float, float], pd.DataFrame] = {}
    for eta, l2 in first[["eta", "l2"]].drop_duplicates().sort_values(["eta", "l2"]).to_numpy(dtype=float):
        of = first[(first["eta"] == eta) & (first["l2"] == l2)].set_index("seed")
        if len(of) == int(runs.loc[eta, l2]) > 1:
            found[float(eta), float(l2)] = of
    if not found:
        raise Lacking("no η and λ reaches training accuracy 1 with two seeds")
    seeds = sorted(set.intersection(*(set(of.index) for of in found.values())))
    if len(seeds) < 2:
        raise Lacking("the runs that reach training accuracy 1 share fewer than two seeds")
    steps, before = (
        np.stack([of.loc[seeds, name].to_numpy(dtype=float) for of in found.values()], axis=-1)
        for name in ("step", "before")
    )
    gaps = np.log(steps / np.where(before > 0, before, steps / 2)).mean(axis=0)
    etas, l2s = (np.array([key[k] for key in found]) for k in (0, 1))
    return Times(etas, l2s, np.log(steps), gaps, tuple(int(seed) for seed in seeds))


def exponent(found: Times, x: np.ndarray, groups: Sequence[float] | np.ndarray) -> Estimate:
    """Fit time ∝ x^slope with one prefactor for every group.

    Args:
        found: times.
        x: > 0, of each point.
        groups: label of each point.

    Returns:
        The slope; its standard error is at least what the distance of the evaluations leaves open.

    Raises:
        Lacking: there are fewer than three different x.
    """
    u, labels = np.log(x), np.unique(groups, return_inverse=True)[1]
    values, unit = np.unique(x, return_inverse=True)

    def statistic(view: View) -> np.ndarray:
        return slope(u, view.seeds @ found.log_steps, view.units[:, unit], labels)

    centred = u - (np.bincount(labels, u) / np.bincount(labels))[labels]
    square = float((centred**2).sum())
    if square == 0:
        raise Lacking("an exponent needs two different values in one group")
    floor = float(np.sqrt((centred**2 * found.gaps**2).sum() / 12)) / square
    parameters = 1 + levels(unit, labels)
    fitted = resampling.estimate(statistic, len(found.seeds), units=len(values), parameters=parameters)
    return fitted.no_finer_than(floor)
