"""Figure S7: a counter-example. An under-parametrised FC net has its best accuracy at one λ, and t* stops growing below."""

from collections.abc import Mapping

from l2dynamics.figures import Drawing, captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.style import GUIDE, Style, styled
from l2dynamics.history import Results

RESULTS = ("fc_small",)
OPTIMUM = {"color": GUIDE, "linestyle": "-.", "linewidth": 0.8}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t* (a), maximum accuracy (b) and accuracy within a budget (c) against λ, with the best λ marked."""
    canvas = Canvas.grid(style, 1, 3)
    runs = results["fc_small"]
    summary = panels.runs(runs)
    eta = panels.nearest(summary["eta"], 0.1)
    summary = summary[summary["eta"] == eta]
    panels.epochs_to_max(canvas, "a", summary, "FC, width 64", zero=True)
    panels.max_accuracy(canvas, "b", summary, "FC, width 64")
    budget = panels.budget_accuracy(canvas, "c", runs, summary, "FC, width 64", eta=eta)
    positive = summary[summary["l2"] > 0]
    best = float(positive.groupby("l2")["max_test_accuracy"].mean().idxmax())
    for panel in "ab":
        canvas.mark(panel, "best lambda", best, **OPTIMUM)
    return canvas.drawing(
        captions.caption(
            "Figure S7",
            [
                f"Under-parametrised net, η = {number(eta)}. (a) Epochs to maximum test accuracy (within 0.005) against "
                "λ, dotted line ∝ 1/λ.",
                f"(b) Maximum test accuracy; dash-dotted: the best λ = {number(best)}.",
                f"(c) Maximum test accuracy within T = {number(budget)} epochs.",
                captions.ZERO,
                captions.SEEDS,
                captions.BOUND,
                captions.FAILED,
                panels.counts(summary),
            ],
            {"Runs": runs},
        )
    )
