"""Figure S7: a counter-example. A small FC net is best at one λ > 0, and below it t* stops growing."""  # noqa: N999

from collections.abc import Mapping

import pandas as pd

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("fc_small",)


def peaks_first(summary: pd.DataFrame) -> str:
    """Say how many runs reach training accuracy 1, and whether their test accuracy peaks before, as in the paper."""
    learned = summary[summary["learned"]]
    reached = learned[learned["train1_epoch"].notna()]
    before = int((reached["t_star"] < reached["train1_epoch"]).sum())
    text = "In the paper the test accuracy peaks before the training accuracy is 1: here "
    if reached.empty:
        return f"{text}none of {len(learned)} runs that learned reach it."
    return f"{text}{len(reached)} of {len(learned)} runs that learned reach it, {before} of these after their peak."


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t* (a), maximum accuracy (b) and accuracy within a budget (c) against λ; mark the best λ."""
    canvas = Canvas.grid(style, 1, 3)
    runs = results["fc_small"]
    summary = selection.runs(runs)
    eta = selection.headline_eta("fc_small", summary)
    summary = summary[summary["eta"] == eta]
    width = runs.passport["setup"]["model"]["width"]
    title = f"FC, width {width}"
    best = selection.best_l2(summary)
    panels.epochs_to_max(canvas, "a", summary, title, zero=True, best=best)
    panels.max_accuracy(canvas, "b", summary, title, best=best)
    budget = panels.budget_accuracy(canvas, "c", runs, summary, title, eta=eta)
    return canvas.drawing(
        captions.caption(
            "Figure S7",
            [
                f"Under-parametrised net, η = {number(eta)}. (a) Epochs to maximum test accuracy (within "
                "0.005) against λ, dotted line ∝ 1/λ; dash-dotted: the λ of the best accuracy, "
                f"{number(best)}.",
                "(b) Maximum test accuracy.",
                f"(c) Maximum test accuracy within T = {number(budget)} epochs.",
                peaks_first(summary),
                captions.ZERO,
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
                panels.counts(summary),
            ],
            {"Runs": runs},
        )
    )
