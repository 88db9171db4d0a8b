"""Which runs a panel and the claim about it look at: one choice for both.

A claim judges what its figure shows: the same η, the same budget, the same groups of runs. Figures draw every run of
a group, and mark those that only bound t* or never learned. A *summary* is a table with one row per run, see
:func:`runs`; times are epochs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2dynamics import peaks
from l2dynamics.analysis import bands, fitting, per_run, tuning
from l2dynamics.analysis.thresholds import FIT_WITHIN
from l2dynamics.experiments import registry
from l2dynamics.results import tables
from l2dynamics.results.tables import Results

LONG = 4.0
"""The budget of a panel and of claim 4 is at least this many times what λ = 0 needs to fit."""


def rows(results: Results, group: str = "grid") -> pd.DataFrame:
    """Return the rows of one group of runs.

    Raises:
        ValueError: the results hold no such runs.
    """
    found = results.table[results.table["group"] == group]
    if found.empty:
        stage = tables.stage(results.name)
        raise ValueError(f"{results.file} has no runs of group {group!r}: run `dvc repro {stage}`")
    return found


def runs(results: Results, group: str = "grid") -> pd.DataFrame:
    """Return the summary of one group, see :func:`summarize`.

    Raises:
        ValueError: the results hold no such runs.
    """
    return summarize(results, rows(results, group))


def summarize(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Reduce some rows of results to one row per run, see :func:`l2dynamics.analysis.per_run.summarize`.

    Here a run that diverged has not learned, and runs that have not learned have no t*. The column ``t_star_mean`` is
    t* of the mean curve of the runs that learned at a grid point (claims average all that did not diverge); ``bound``
    says whether it lies so late that it enters no fit. It, the maximum and the final accuracy have intervals beside
    them, ``…_low`` and ``…_high``, see :func:`l2dynamics.analysis.bands.attach`.
    """
    summary = per_run.summarize(table, chance=1 / results.passport["classes"])
    learned = summary["learned"] & ~summary["diverged"]
    summary = summary.assign(learned=learned, t_star=summary["t_star"].where(learned))
    # Of AutoL2 the first λ tells the grid point, not that of the row.
    members = summary.loc[learned].groupby(bands.POINT)["run"]
    stars = {}
    for _, names in members:
        curve = table[table["run"].isin(names)].groupby("epoch")["test_accuracy"].mean()
        stars.update(dict.fromkeys(names, float(peaks.star(curve.index, curve))))
    summary = summary.assign(t_star_mean=summary["run"].map(stars).astype(float))
    ends = summary["run"].map(table.groupby("run")["epoch"].max())
    summary = summary.assign(bound=summary["t_star_mean"] > FIT_WITHIN * ends)
    count = images(results)
    summary = bands.attach(summary, table, count, "t_star_mean", bands.log_star, log=True)
    summary = bands.attach(summary, table, count, "max_test_accuracy", bands.maximum)
    return bands.attach(summary, table, count, "final_test_accuracy", bands.final)


def within(results: Results, table: pd.DataFrame, epochs: float) -> pd.DataFrame:
    """Maximum accuracy of some runs within a budget, see :func:`l2dynamics.analysis.per_run.accuracy_within`.

    Beside it the interval of its grid point, ``accuracy_low`` and ``accuracy_high``.
    """
    cut = table[table["epoch"] <= epochs * (1 + 1e-9)]
    found = per_run.accuracy_within(table, epochs)
    return bands.attach(found, cut, images(results), "accuracy", bands.maximum)


def nearest(values: Iterable[float], target: float) -> float:
    """Return the value nearest to ``target`` on a logarithmic scale: the stand-in for the paper's value."""
    return min(sorted({float(v) for v in values}), key=lambda v: abs(np.log(v / target)))


def headline_eta(name: str, table: pd.DataFrame) -> float:
    """Return the η of the panels that show a single one: the nearest to the paper's that is well covered.

    Well covered is an η with at least half as many runs with λ > 0 as any other. A sweep that the paper has not takes
    the middle one of these.

    Args:
        name: of the results.
        table: rows or summary of its runs.
    """
    counted = table[table["l2"] > 0].groupby("eta")["run"].nunique()
    covered = counted.index[counted >= counted.max() / 2] if len(counted) else table["eta"].unique()
    experiment = registry.find(name)
    if experiment is None or experiment.eta is None:
        return float(sorted(covered)[len(covered) // 2])
    return nearest(covered, experiment.eta)


def at_headline_eta(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows (or runs) at :func:`headline_eta`."""
    return table[table["eta"] == headline_eta(name, table)]


def fixed_budget(results: Results, table: pd.DataFrame) -> float:
    """Return the budget T of the panel that shows one, in epochs.

    It is the first evaluation that is late enough for two things: λ = 0 has had :data:`LONG` times the steps that it
    needs to fit its images, and the middle λ > 0 has reached its t*, so that by t* ∝ 1/λ the best λ of this budget is
    in the middle of the grid. If λ = 0 does not fit, or there is no such evaluation, T is the length of the runs with
    the middle λ. Where all runs have one length, that is T: with a learning-rate schedule only their end counts. Where
    λ is predicted for given budgets, as in Figure S3, it is the middle one of these.

    Args:
        results: of the sweep.
        table: rows of one group at one η.
    """
    given = sorted(results.table.loc[results.table["group"] == "predicted", "budget"].unique())
    if given:
        return float(given[len(given) // 2])
    lengths = table[table["l2"] > 0].groupby("l2")["budget"].max().sort_values(kind="stable")
    middle = lengths.index[len(lengths) // 2]
    if lengths.iloc[0] == lengths.iloc[-1]:
        return float(lengths[middle])
    curve = table[table["l2"] == middle].groupby("epoch")["test_accuracy"].mean()
    late = (table["step"] >= LONG * fitting.steps_to_fit(table)) & (
        table["epoch"] >= float(peaks.star(curve.index, curve))
    )
    found = float(table.loc[late & (table["l2"] == 0), "epoch"].min())
    return found if found <= lengths.iloc[-1] else float(lengths[middle])


def common_budget(summary: pd.DataFrame) -> float:
    """Return the length, in epochs, of runs that all have the same (Figures 1a and S8a)."""
    return float(summary["budget"].median())


def inverse_budget(summary: pd.DataFrame) -> float:
    """Return a in T = a/λ, in epochs, of runs whose length is inverse to λ (Figures 1a and S12)."""
    return float((summary["budget"] * summary["l2"]).median())


def highest(points: pd.Series) -> float:
    """Return the λ (the index) with the highest value, the smallest of several."""
    return float(points.index.to_numpy()[int(np.nanargmax(points.to_numpy()))])


def best_l2(summary: pd.DataFrame) -> float:
    """Return the λ > 0 with the highest maximum accuracy, mean over seeds; diverged runs do not count (Figure S7).

    Where all diverged, they do.
    """
    positive = summary[summary["l2"] > 0]
    kept = positive[~positive["diverged"]]
    return highest((kept if len(kept) else positive).groupby("l2")["max_test_accuracy"].mean())


@dataclass(frozen=True)
class Contest:
    """Predicted λ against the best of the grid within one budget, at the same η (Figures 1b, 4b, S3, S4).

    Attributes:
        epochs: the budget T.
        predicted: accuracies within T of the runs at the predicted λ, one row per seed, see :func:`within`.
        grid: the same of the grid, λ = 0 included.
        tuned: the best λ of the grid.
    """

    epochs: float
    predicted: pd.DataFrame
    grid: pd.DataFrame
    tuned: tuning.Tuned

    @property
    def l2(self) -> float:
        """The predicted λ."""
        return float(np.exp(np.log(self.predicted["l2"]).mean()))

    @property
    def at_tuned(self) -> pd.DataFrame:
        """The rows of the grid at the best λ."""
        return self.grid[self.grid["l2"] == self.tuned.l2]


def contests(results: Results, group: str = "predicted") -> list[Contest]:
    """Return one contest for every budget of the predicted runs, the shortest first.

    Args:
        results: with the groups ``grid`` and ``group``.
        group: ``predicted`` (λ = c/T) or ``predicted_double`` (λ = 2c/T).

    Raises:
        ValueError: the results hold no such runs, or the grid none at their η.
    """
    predicted, grid = rows(results, group), rows(results)
    eta = float(predicted["eta"].iloc[0])
    against = grid[grid["eta"] == eta]
    if not (against["l2"] > 0).any():
        raise ValueError(
            f"{results.file} has predicted runs but no grid at η = {eta:g}: give the grid that η and run "
            f"`dvc repro {tables.stage(results.name)}`"
        )
    return [
        Contest(
            float(budget),
            within(results, predicted[predicted["budget"] == budget], float(budget)),
            within(results, against, float(budget)),
            tuning.tuned(against, float(budget), images(results)),
        )
        for budget in sorted(predicted["budget"].unique())
    ]


def constant(results: Results) -> tuple[pd.DataFrame, tuning.Tuned]:
    """Return the rows with constant λ that AutoL2 is compared with, and the best of these λ (Figures 1c, S9–S11, X2).

    With a learning-rate schedule the best is that of the highest accuracy at the end, as in claims 11 and x2. λ = 0,
    which these count among the constant λ, has a curve of its own.

    Raises:
        ValueError: the results hold no such runs.
    """
    table = judged = rows(results, "constant")
    if results.passport["setup"].get("schedule"):
        judged = table[table["step"] == table.groupby("run")["step"].transform("max")]
    return table, tuning.tuned(judged, float(table["budget"].max()), images(results))


def starts(results: Results, measures: str) -> dict[float, pd.DataFrame]:
    """Return the rows of AutoL2 by λ₀, the coefficient at the start, ascending; the last is the paper's.

    Args:
        results: of AutoL2.
        measures: where it measures loss and error, ``minibatch`` or ``subset``, or ``own``, in its own units and on the
            minibatch; without such runs nothing is returned.
    """
    table = results.table[results.table["group"] == f"auto_{measures}"]
    start = table.groupby("run")["l2"].transform("first")
    # AutoL2's λ is a float32 on the device: 0.1 comes back as 0.10000000149.
    return {float(f"{l2:.6g}"): table[start == l2] for l2 in sorted(start.unique())}


def adaptive(results: Results, measures: str) -> pd.DataFrame:
    """Return the rows of AutoL2 from the largest λ₀, which is the paper's; empty without such runs."""
    found = starts(results, measures)
    return found[max(found)] if found else results.table.iloc[:0]


def images(results: Results) -> int:
    """Number of test images."""
    return int(results.passport["data"]["test"])
