"""One number per run from results tables: t*, the maximum accuracy, that within a budget.

Every function takes the long results table (one row per evaluation of a run, see
:mod:`l2dynamics.results.tables`) or what :func:`summarize` makes of it (one row per run). Times are epochs unless
the name ends in ``_step``.
"""

import numpy as np
import pandas as pd

from l2dynamics import peaks
from l2dynamics.analysis.thresholds import LEARNED, PEAKED_WITHIN
from l2dynamics.results import tables
from l2dynamics.results.tables import RUN_COLUMNS


def summarize(table: pd.DataFrame, *, chance: float = 0.1) -> pd.DataFrame:
    """Reduce every run to one row.

    Args:
        table: long results table.
        chance: accuracy of a constant guess, 1 / number of classes.

    Returns:
        One row per run in order of first appearance, with the columns

        - ``run, group, eta, l2, seed, sigma_w, budget``: as in the table (``l2`` is the first row's);
        - ``steps``: last step;
        - ``t_star_step, t_star``: t* in steps and in epochs;
        - ``max_test_accuracy, final_test_accuracy``: of the run, and at its end (NaN if diverged);
        - ``train1_epoch, test_accuracy_at_train1``: first evaluation with training accuracy 1, NaN if never;
        - ``argmin_train_loss_epoch, min_train_loss``: minimum of the training loss without the L2 term;
        - ``diverged``: some training loss or test accuracy is not finite;
        - ``learned``: ``max_test_accuracy ≥ 2 × chance``;
        - ``collapsed``: it learned, and its ``final_test_accuracy`` is below that again;
        - ``peaked``: t* lies in the first part of the run, ``PEAKED_WITHIN``: the accuracy gained less than 0.005 in
          the rest of the run. Runs that have not peaked only bound t* from below.

    Raises:
        ValueError: the table lacks a column or has no rows.
    """
    tables.require(table, (*RUN_COLUMNS, "step", "epoch", "train_loss", "train_accuracy", "test_accuracy"))
    ordered = table.sort_values(["run", "step"], kind="stable").reset_index(drop=True)
    runs = ordered.groupby("run", sort=False)
    first, last = runs.head(1).set_index("run"), runs.tail(1).set_index("run")
    summary = first[list(RUN_COLUMNS[1:])].copy()
    summary["steps"] = last["step"]

    finite = ordered[np.isfinite(ordered["test_accuracy"])]
    stars = pd.Series(
        {
            run: float(peaks.star(rows["step"].to_numpy(), rows["test_accuracy"].to_numpy()))
            for run, rows in finite.groupby("run", sort=False)
        },
        dtype=float,
    )
    summary["t_star_step"] = stars.reindex(summary.index)
    at_star = finite[finite["step"] == finite["run"].map(stars)].set_index("run")
    summary["t_star"] = at_star["epoch"].reindex(summary.index)
    summary["max_test_accuracy"] = finite.groupby("run")["test_accuracy"].max().reindex(summary.index)
    summary["final_test_accuracy"] = last["test_accuracy"]

    at_one = ordered[ordered["train_accuracy"] >= 1.0 - 1e-9].groupby("run").head(1).set_index("run")
    summary["train1_epoch"] = at_one["epoch"].reindex(summary.index)
    summary["test_accuracy_at_train1"] = at_one["test_accuracy"].reindex(summary.index)

    losses = ordered[np.isfinite(ordered["train_loss"])]
    at_least = losses.loc[losses.groupby("run")["train_loss"].idxmin()].set_index("run")
    summary["argmin_train_loss_epoch"] = at_least["epoch"].reindex(summary.index)
    summary["min_train_loss"] = at_least["train_loss"].reindex(summary.index)

    summary["diverged"] = _diverged(ordered).reindex(summary.index)
    summary["learned"] = summary["max_test_accuracy"] >= LEARNED * chance
    summary["collapsed"] = summary["learned"] & (summary["final_test_accuracy"] < LEARNED * chance)
    summary["peaked"] = summary["t_star"] <= PEAKED_WITHIN * last["epoch"]
    appearance = table["run"].drop_duplicates()
    return summary.loc[appearance].rename_axis("run").reset_index()


def accuracy_within(table: pd.DataFrame, epochs: float) -> pd.DataFrame:
    """Return the maximum test accuracy of every run within a training budget.

    This is the paper's "maximum performance achieved during training" for a fixed budget. A run that ended
    earlier contributes the maximum it reached; one that diverged, then or later, has none, as in the claims.

    Args:
        table: long results table.
        epochs: the budget; evaluations at ``epoch ≤ epochs`` count.

    Returns:
        One row per run: ``run, group, eta, l2, seed, sigma_w, budget, accuracy``.

    Raises:
        ValueError: the table lacks a column or has no rows.
    """
    tables.require(table, (*RUN_COLUMNS, "epoch", "train_loss", "test_accuracy"))
    margin = epochs * (1 + 1e-9)
    runs = table.drop_duplicates("run")[list(RUN_COLUMNS)].set_index("run")
    accuracy = table[table["epoch"] <= margin].groupby("run")["test_accuracy"].max()
    runs["accuracy"] = accuracy.reindex(runs.index).mask(_diverged(table).reindex(runs.index))
    return runs.reset_index()


def _diverged(table: pd.DataFrame) -> pd.Series:
    """By run whether some training loss or test accuracy is not finite."""
    broken = ~(np.isfinite(table["train_loss"]) & np.isfinite(table["test_accuracy"]))
    return broken.groupby(table["run"]).any()
