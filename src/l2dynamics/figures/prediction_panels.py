"""Panels on the predicted coefficient λ = c/T: its accuracy, its value, and the landscape it aims at."""

import numpy as np
import pandas as pd

from l2dynamics.analysis import selection, thresholds
from l2dynamics.analysis.selection import Contest
from l2dynamics.figures import panels
from l2dynamics.figures.canvas import POINT_COLUMNS, Canvas, each, extremes, interval, number, points
from l2dynamics.figures.style import (
    FIXED,
    GUIDE,
    PAPER,
    PREDICTED,
    SCALED,
    TUNED,
    ZERO_LINE,
    budget_colors,
    l2_color,
)
from l2dynamics.results.tables import Results

SPAN = 0.15
"""Height of the panels of final accuracies: what fails lies below."""
PAPER_C = 0.0066
"""The paper's c in epochs (WRN 28-10, η = 0.2, momentum 0.9, batch 1024)."""


def accuracy_per_budget(canvas: Canvas, panel: str, found: list[Contest], title: str) -> None:
    """Draw test accuracy against training epochs for tuned and predicted λ."""
    canvas.setup(panel, title, panels.EPOCHS, panels.TEST_ACCURACY, log="x")
    tuned = pd.concat([_point(b.epochs, b.at_tuned) for b in found], ignore_index=True)
    predicted = pd.concat([_point(b.epochs, b.predicted) for b in found], ignore_index=True)
    canvas.curve(panel, "tuned", tuned, color=TUNED)
    canvas.curve(panel, "predicted", predicted, color=PREDICTED, marker="s", linestyle="--")
    canvas.legend(
        panel,
        [
            ("tuned λ", {"color": TUNED, "marker": "o"}),
            ("predicted λ", {"color": PREDICTED, "marker": "s", "linestyle": "--"}),
        ],
        loc="best",
    )


def l2_per_budget(canvas: Canvas, panel: str, found: list[Contest], title: str) -> None:
    """Draw tuned λ, with bars over all λ within half a standard error of the best, and predicted λ against epochs.

    Open squares are budgets whose best λ lies at an end of the grid.
    """
    canvas.setup(panel, title, panels.EPOCHS, panels.L2, log="xy")
    rows = [
        (b.epochs, b.tuned.l2, b.tuned.low, b.tuned.high, b.tuned.n, "edge" if b.tuned.edge else "")
        for b in found
    ]
    canvas.curve(
        panel, "tuned", pd.DataFrame(rows, columns=list(POINT_COLUMNS)), color=TUNED, linestyle="none"
    )
    line = pd.DataFrame({"x": [b.epochs for b in found], "y": [b.l2 for b in found]})
    canvas.record(panel, "predicted", line)
    canvas.axes[panel].plot(line["x"], line["y"], color=PREDICTED, linestyle="--")
    canvas.legend(
        panel,
        [
            ("tuned λ", {"color": TUNED, "marker": "o", "linestyle": "none"}),
            ("predicted λ", {"color": PREDICTED, "linestyle": "--"}),
        ],
        loc="best",
    )


def accuracy_landscape(canvas: Canvas, panel: str, found: list[Contest], title: str) -> None:
    """Draw maximum test accuracy against λ, one curve per budget.

    Dashed lines of the same colour are the predicted λ, ticks at the left edge λ = 0.
    """
    axes = canvas.setup(panel, title, panels.L2, panels.MAX_ACCURACY, log="x")
    colors = budget_colors(b.epochs for b in found)
    entries = []
    shown = extremes(b.epochs for b in found)
    for budget in found:
        color = colors[budget.epochs]
        within = budget.grid
        canvas.curve(
            panel, f"T={budget.epochs:g}", points(within[within["l2"] > 0], "l2", "accuracy"), color=color
        )
        canvas.mark(panel, f"predicted T={budget.epochs:g}", budget.l2, color=color, linestyle="--")
        zero = float(within.loc[within["l2"] == 0, "accuracy"].mean())
        if np.isfinite(zero):
            canvas.record(panel, f"lambda=0 T={budget.epochs:g}", pd.DataFrame({"y": [zero]}))
            axes.plot([0.0, 0.05], [zero, zero], color=color, transform=axes.get_yaxis_transform())
        if budget.epochs in shown:
            entries.append((f"T = {number(budget.epochs)}", {"color": color, "marker": "o"}))
    entries.append(("predicted λ", {"color": GUIDE, "linestyle": "--"}))
    canvas.legend_above(panel, entries)


def of_setup(results: Results, setup: str) -> Results:
    """Return the part of ``measure_c`` that belongs to one setup (``fc``, ``cnn`` or ``wrn``).

    Raises:
        ValueError: the results hold no such runs.
    """
    table = results.table[results.table["setup"] == setup]
    if table.empty:
        raise ValueError(f"{results.file} has no runs of setup {setup!r}: run `dvc repro measure_c`")
    last = table.groupby("run").tail(1)
    whole = results.passport
    passport = dict(
        whole,
        setup=whole["setup"][setup],
        data=whole.get("datasets", {}).get(setup, whole["data"]),
        c=whole["c"][setup],
        seeds=sorted(table["seed"].unique()),
        runs=len(last),
        diverged=int(last["train_loss"].isna().sum()),
    )
    return Results(results.name, table, passport)


def measured_c(canvas: Canvas, panel: str, results: Results, title: str) -> None:
    """Draw test accuracy against t·λ of the short runs that measure c, with our c and the paper's.

    ``results`` come from :func:`of_setup`.
    """
    axes = canvas.setup(panel, title, "t · λ (epochs)", panels.TEST_ACCURACY)
    smallest = results.table["l2"].min()
    entries: list[tuple[str, dict[str, object]]] = []
    for l2, rows in each(results.table, "l2"):
        curve = panels.mean_curve(rows, "test_accuracy", selection.images(results))
        curve["x"] *= l2
        # Neighbouring λ have neighbouring colours.
        line = "-" if l2 == smallest else "-."
        entries.append((f"λ = {number(l2)}", {"color": l2_color(l2), "linestyle": line}))
        canvas.band(panel, f"lambda={l2:g}", curve, color=l2_color(l2), linestyle=line)
    c = results.passport["c"]
    axes.axvspan(c["low"], c["high"], color=PREDICTED, alpha=0.15, linewidth=0)
    ours, paper = {"color": PREDICTED, "linestyle": "--"}, {"color": PAPER, "linestyle": ":"}
    canvas.mark(panel, "c", c["c"], **ours)
    canvas.mark(panel, "c of the paper", PAPER_C, **paper)
    # The range of c is cut off at the end of the runs, where it says that c is not measured.
    axes.set_xlim(0.0, 1.02 * float((results.table["epoch"] * results.table["l2"]).max()))
    canvas.legend(
        panel,
        [
            *entries,
            (f"c = {number(c['c'])}", ours),
            (f"paper: {number(PAPER_C)}", paper),
        ],
        loc="best",
    )


def c_by_l2(results: Results) -> str:
    """Return in words how t*·λ differs between the λ of the runs of :func:`of_setup`; empty at a single λ."""
    per_run = pd.DataFrame(results.passport["c"]["per_run"])
    means = np.exp(np.log(per_run["c"]).groupby(per_run["l2"]).mean())
    if len(means) < 2:
        return ""
    said = [f"{number(c)} at λ = {number(l2)}" for l2, c in means.items()]
    return f"Taken apart, c is {', '.join(said[:-1])} and {said[-1]}."


def cost_of_c(results: Results) -> str:
    """Return in words what the runs of :func:`of_setup` cost, and at which λ they end before their peak."""
    lengths = results.table.groupby(["l2", "run"])["epoch"].max()
    said = f"It is the geometric mean of {len(lengths)} runs, {number(lengths.sum(), digits=4)} epochs in all"
    rising = []
    for l2, some in each(lengths.reset_index(), "l2"):
        longest = some["epoch"].max()
        stars = [one["t_star"] for one in results.passport["c"]["per_run"] if one["l2"] == l2]
        late = sum(star > thresholds.PEAKED_WITHIN * longest for star in stars)
        if late:
            rising.append(f"at λ = {number(l2)} {late} of {len(stars)}")
    if rising:
        share = f"{100 * thresholds.PEAKED_WITHIN:.0f} %"
        said += f"; {' and '.join(rising)} had not peaked at {share} of their run, where c is a lower bound"
    return f"{said}."


def fixed_and_scaled(canvas: Canvas, panel: str, results: Results, title: str) -> tuple[float, float]:
    """Draw final test accuracy against λ for fixed T and for T = a/λ; return T and a, in epochs."""
    canvas.setup(panel, title, panels.L2, panels.TEST_ACCURACY, log="x")
    fixed, scaled = selection.runs(results, "fixed"), selection.runs(results, "scaled")
    positive = fixed[fixed["l2"] > 0]
    epochs, product = selection.common_budget(fixed), selection.inverse_budget(scaled)
    for name, rows, color in (("fixed T", positive, FIXED), ("T = a/lambda", scaled, SCALED)):
        canvas.curve(
            panel, name, points(rows.drop(columns="bound"), "l2", "final_test_accuracy"), color=color
        )
    entries = [
        (f"T = {number(epochs)} epochs", {"color": FIXED, "marker": "o"}),
        (f"T = {number(product, digits=4)}/λ", {"color": SCALED, "marker": "o"}),
    ]
    zero = fixed.loc[fixed["l2"] == 0, "final_test_accuracy"]
    if zero.notna().any():
        canvas.level(panel, "lambda=0", float(zero.mean()))
        entries.append(("λ = 0, fixed T", dict(ZERO_LINE)))
    canvas.focus(panel, SPAN)
    canvas.legend(panel, entries, loc="best")
    return epochs, product


def _point(x: float, within: pd.DataFrame) -> pd.DataFrame:
    used = within.dropna(subset=["accuracy"])
    spread = interval(used, "accuracy") if len(used) else (np.nan,) * 3
    return pd.DataFrame([(x, *spread, len(used), "")], columns=list(POINT_COLUMNS))
