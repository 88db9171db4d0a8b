"""Figure 4: the coefficient c from a run at large λ (a), and tuned against predicted λ (b)."""

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, prediction_panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("measure_c", "wrn_aug")


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw accuracy against t·λ with the measured c, and the best and predicted λ against the budget."""
    canvas = Canvas.grid(style, 1, 2)
    short = prediction_panels.of_setup(results["measure_c"], "wrn")
    prediction_panels.measured_c(canvas, "a", short, "measuring c")
    found = selection.contests(results["wrn_aug"])
    prediction_panels.l2_per_budget(canvas, "b", found, "tuned and predicted λ")
    c = short.passport["c"]
    return canvas.drawing(
        captions.caption(
            "Figure 4",
            [
                f"(a) Test accuracy of runs at large λ against t·λ; our c = {number(c['c'])} epochs "
                f"(shaded: its 95 % interval, {number(c['low'])} to {number(c['high'])}, η = {number(c['eta'])}), and "
                f"the paper's {number(prediction_panels.PAPER_C)} (WRN 28-10, batch 1024) beside it only.",
                prediction_panels.c_by_l2(short),
                prediction_panels.cost_of_c(short),
                "(b) Best λ of the grid for each budget; bars: all λ within half a standard error of the best "
                "accuracy; dashed: predicted λ = c/T.",
                captions.ELSEWHERE,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {"a": short, "b": results["wrn_aug"]},
        )
    )
