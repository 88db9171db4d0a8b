"""The best λ of a grid within a training budget, for figures: claims choose on other test images than they score on."""

from dataclasses import dataclass

import pandas as pd

from l2dynamics.analysis.per_run import accuracy_within
from l2dynamics.analysis.power import accuracy_se
from l2dynamics.analysis.thresholds import NEAR_BEST


@dataclass(frozen=True)
class Tuned:
    """The best coefficient on a grid, for one budget.

    Attributes:
        l2: λ with the highest accuracy, mean over seeds.
        accuracy: that accuracy.
        n: its number of seeds.
        low: smallest λ whose accuracy is within ``NEAR_BEST`` standard errors of the best.
        high: largest such λ.
        near: all of them, ascending.
        edge: whether ``l2`` is the first or last positive λ of the grid: the true optimum may lie outside.
    """

    l2: float
    accuracy: float
    n: int
    low: float
    high: float
    near: tuple[float, ...]
    edge: bool


def tuned(table: pd.DataFrame, budget: float, images: int) -> Tuned:
    """Find the best λ > 0 within a training budget, on the grid of the table.

    Accuracies are averaged over seeds first. λ=0 is not a candidate: the paper compares λ on a logarithmic
    scale and treats λ=0 apart.

    Args:
        table: long results table of one η and one σw (filter it first), usually the rows of group ``grid``.
        budget: epochs.
        images: test images; they give the standard error of an accuracy.

    Raises:
        ValueError: several η or σw, or no run with λ > 0 has an evaluation within the budget.
    """
    runs = accuracy_within(table, budget)
    for column in ("eta", "sigma_w"):
        if runs[column].nunique() > 1:
            raise ValueError(
                f"tuned() needs runs of one {column}, the table has {sorted(runs[column].unique())}"
            )
    points = runs[runs["l2"] > 0].dropna(subset=["accuracy"]).groupby("l2")["accuracy"].agg(["mean", "count"])
    if points.empty:
        raise ValueError(f"no run with l2 > 0 has an evaluation within {budget:g} epochs")
    place = int(points["mean"].to_numpy().argmax())
    accuracy, l2s = float(points["mean"].iloc[place]), points.index.to_numpy(dtype=float)
    error = accuracy_se(accuracy, images)
    # Accuracies are multiples of 1 / images: without the slack rounding would decide.
    near = l2s[points["mean"].to_numpy() >= accuracy - NEAR_BEST * error - 1e-9]
    return Tuned(
        l2=float(l2s[place]),
        accuracy=accuracy,
        n=int(points["count"].iloc[place]),
        low=float(near.min()),
        high=float(near.max()),
        near=tuple(float(value) for value in near),
        edge=place in (0, len(l2s) - 1),
    )
