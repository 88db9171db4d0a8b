"""The best λ within a training budget."""

from dataclasses import dataclass

import pandas as pd

from l2dynamics.analysis.per_run import accuracy_within
from l2dynamics.analysis.statistics import Interval, over_seeds
from l2dynamics.analysis.thresholds import NEAR_BEST


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
