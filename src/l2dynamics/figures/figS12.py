"""Figure S12: Figure 1a for several initialisation scales σw: in the paper they end at the same accuracy."""  # noqa: N999

from collections.abc import Mapping
from typing import Any

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, panels, prediction_panels
from l2dynamics.figures.canvas import Canvas, each, number, points
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, GUIDE, Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("wrn_sigma",)
MARKERS = "osDvP*"
HOLLOW: Mapping[str, Any] = {"markerfacecolor": "white", "linestyle": "none"}
"""Looks of the runs of a fixed T."""


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw final test accuracy against λ (a) and test accuracy against time at the smallest λ (b), one curve per σw."""
    canvas = Canvas.grid(style, 1, 2)
    canvas.setup("a", "WRN", panels.L2, panels.TEST_ACCURACY, log="x")
    table = selection.rows(results["wrn_sigma"], "scaled")
    summary = selection.summarize(results["wrn_sigma"], table)
    smallest = float(summary["l2"].min())
    canvas.setup("b", f"λ = {number(smallest)}", panels.EPOCHS, panels.TEST_ACCURACY, log="x")
    product = selection.inverse_budget(summary)
    fixed = results["wrn_sigma"].table["group"].eq("fixed").any()
    short = selection.runs(results["wrn_sigma"], "fixed") if fixed else summary[:0]
    looks: dict[float, dict[str, Any]] = {
        sigma: {"color": CATEGORIES[i % len(CATEGORIES)], "marker": MARKERS[i % len(MARKERS)]}
        for i, (sigma, _) in enumerate(each(summary, "sigma_w"))
    }
    for sigma, rows in each(summary, "sigma_w"):
        some = points(rows.drop(columns="bound"), "l2", "final_test_accuracy")
        canvas.curve("a", f"sigma_w={sigma:g}", some, **looks[sigma])
        some = table[(table["sigma_w"] == sigma) & (table["l2"] == smallest)]
        curve = panels.mean_curve(some, "test_accuracy", selection.images(results["wrn_sigma"]), log="x")
        canvas.band("b", f"sigma_w={sigma:g}, lambda={smallest:g}", curve, color=looks[sigma]["color"])
    entries, said = [(rf"$\sigma_w$ = {number(sigma)}", look) for sigma, look in looks.items()], "."
    if len(short):
        for sigma, rows in each(short, "sigma_w"):
            some = points(rows.drop(columns="bound"), "l2", "final_test_accuracy")
            canvas.curve("a", f"sigma_w={sigma:g}, fixed T", some, **looks[sigma], **HOLLOW)
        epochs = number(selection.common_budget(short))
        entries.append((f"T = {epochs}", {"color": GUIDE, "marker": "o", **HOLLOW}))
        said = f"; open: for T = {epochs} epochs."
    canvas.focus("a", prediction_panels.SPAN)
    canvas.legend("a", entries, loc="best")
    return canvas.drawing(
        captions.caption(
            "Figure S12",
            [
                f"(a) Final test accuracy against λ for T = {number(product, digits=4)}/λ epochs, as in Figure 1a, for "
                f"several scales σw of the initial weights{said}",
                f"(b) Test accuracy against epochs at λ = {number(smallest)}; in the paper the curves differ early and "
                "meet late.",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {"Runs": results["wrn_sigma"]},
        )
    )
