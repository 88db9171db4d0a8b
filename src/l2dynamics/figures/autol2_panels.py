"""Panels on AutoL2 against constant coefficients: same budget, same seeds."""

from typing import Any

import pandas as pd

from l2dynamics.analysis import per_run, selection
from l2dynamics.figures import panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.style import AUTO, AUTO_SUBSET, TUNED
from l2dynamics.results.tables import Results

COARSE = (
    "λ is that at the evaluations: a level that lasted less than the distance of two is not seen, so that two "
    "divisions by 10 can look like one by 100."
)
SPAN = 0.3
"""Height of the panels of test accuracy against epochs: what is early lies below."""
#: Label and line properties.
Entry = tuple[str, dict[str, Any]]
#: Where loss and error are measured → curve name, colour and line style.
VARIANTS = {
    "minibatch": ("AutoL2", AUTO, "-"),
    "subset": ("AutoL2 (subset)", AUTO_SUBSET, (0, (4, 1.5))),
}


def against_tuned(
    canvas: Canvas, panel: str, results: Results, title: str, *, log: str = "", lettered: bool = True
) -> tuple[float, list[Entry]]:
    """Draw test accuracy against epochs for AutoL2 and for the best constant λ; return that λ and legend entries.

    Runs of AutoL2 that start at a smaller λ0 than the paper's are dotted.
    """
    canvas.setup(panel, title, panels.EPOCHS, panels.TEST_ACCURACY, log=log, lettered=lettered)
    constant, best = selection.constant(results)
    count = selection.images(results)
    curve = panels.mean_curve(constant[constant["l2"] == best.l2], "test_accuracy", count, log=log)
    canvas.band(panel, f"constant lambda={best.l2:g}", curve, color=TUNED)
    entries = _variants(canvas, panel, results, "test_accuracy", log=log)
    entries += _from_smaller(canvas, panel, results, "test_accuracy", log=log)
    return best.l2, [*entries, ("tuned λ", {"color": TUNED})]


def against_all(
    canvas: Canvas,
    panel: str,
    results: Results,
    metric: str,
    title: str,
    *,
    log: str = "",
    smaller: bool = False,
) -> list[Entry]:
    """Draw a metric against epochs for AutoL2 and for every constant λ; return the entries of the legend.

    Runs of AutoL2 that start at a smaller λ0 than the paper's are dotted, if ``smaller`` asks for them.
    """
    constant = selection.rows(results, "constant")
    panels.training_curves(canvas, panel, constant, metric, title, images=selection.images(results), log=log)
    entries = _variants(canvas, panel, results, metric, log=log)
    if smaller:
        entries += _from_smaller(canvas, panel, results, metric, log=log)
    return [*entries, *panels.l2_entries(constant["l2"], most=5)]


def schedule(canvas: Canvas, panel: str, results: Results) -> None:
    """Add the coefficient of every AutoL2 run (measured on the minibatch) on a second, logarithmic axis."""
    axes = canvas.axes[panel].twinx()
    axes.grid(visible=False)
    axes.spines["right"].set_visible(True)
    axes.set_ylabel("λ of AutoL2 (dash-dotted)")
    axes.set_yscale("log")
    rows = selection.adaptive(results, "minibatch")
    for seed, some in rows.groupby("seed", sort=True):
        steps = pd.DataFrame({"x": some["epoch"].to_numpy(), "y": some["l2"].to_numpy()})
        canvas.record(panel, f"lambda of AutoL2, seed {seed}", steps)
        axes.plot(steps["x"], steps["y"], color=AUTO, linestyle="-.", drawstyle="steps-post")
    values = rows["l2"][rows["l2"] > 0]
    if len(values):
        axes.set_ylim(values.min() / 3, values.max() * 30)


def _variants(canvas: Canvas, panel: str, results: Results, metric: str, *, log: str) -> list[Entry]:
    entries: list[Entry] = []
    for measures, (name, color, line) in VARIANTS.items():
        rows = selection.adaptive(results, measures)
        if len(rows):
            curve = panels.mean_curve(rows, metric, selection.images(results), log=log)
            canvas.band(panel, name, curve, color=color, linestyle=line, zorder=2.8)
            entries.append((name, {"color": color, "linestyle": line}))
    if not entries:
        raise ValueError(f"{results.file} has no runs of AutoL2: re-run the stage")
    return entries


def _from_smaller(canvas: Canvas, panel: str, results: Results, metric: str, *, log: str) -> list[Entry]:
    found = selection.starts(results, "minibatch")
    entries: list[Entry] = []
    for start in list(found)[:-1]:
        curve = panels.mean_curve(found[start], metric, selection.images(results), log=log)
        canvas.band(panel, f"AutoL2, λ₀ = {number(start)}", curve, color=AUTO, linestyle=":", zorder=2.8)
        entries.append((f"from λ₀ = {number(start)}", {"color": AUTO, "linestyle": ":"}))
    return entries


def dashed(results: Results) -> str:
    """Return what the dashed curves are, for the caption; empty if there are none."""
    there = len(selection.adaptive(results, "subset"))
    return "; dashed: AutoL2 with loss and error measured on a fixed training subset" if there else ""


def dotted(results: Results) -> str:
    """Return what the dotted curves are, for the caption; empty if there are none."""
    several = len(selection.starts(results, "minibatch")) > 1
    return "; dotted: AutoL2 from a smaller λ₀ than the paper's 0.1" if several else ""


def gain(results: Results) -> str:
    """Return in words how AutoL2's maximum test accuracy compares with that of the best constant λ."""
    budget = float(results.table["budget"].max())
    best = selection.constant(results)[1].accuracy
    rows = selection.adaptive(results, "minibatch")
    own = float(per_run.accuracy_within(rows, budget)["accuracy"].mean()) if len(rows) else float("nan")
    return f"maximum accuracy of AutoL2 {own:.4f}, of constant λ {best:.4f}"
