"""Figure 1: WRN with momentum: λ independence, optimal λ prediction, AutoL2."""

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.figures import autol2_panels, captions, prediction_panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("wrn_schedule", "wrn_aug", "autol2_wrn")


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw final accuracy against λ (a), accuracy against budget (b) and AutoL2's training curve (c)."""
    canvas = Canvas.grid(style, 1, 3)
    epochs, product = prediction_panels.fixed_and_scaled(
        canvas, "a", results["wrn_schedule"], "λ independence"
    )
    found = selection.contests(results["wrn_aug"])
    prediction_panels.accuracy_per_budget(canvas, "b", found, "optimal λ prediction")
    best, entries = autol2_panels.against_tuned(canvas, "c", results["autol2_wrn"], "AutoL2 schedule")
    canvas.focus("c", autol2_panels.SPAN)
    canvas.legend("c", entries, loc="lower right")
    return canvas.drawing(
        captions.caption(
            "Figure 1",
            [
                f"(a) Final test accuracy against λ, trained for a fixed T = {number(epochs)} epochs or "
                f"for T = {number(product, digits=4)}/λ, with a learning-rate schedule scaled to T.",
                "(b) Test accuracy against the training budget, for the best λ of the grid and for the "
                "predicted λ = c/T with our measured c.",
                f"(c) Training curves of AutoL2 and of the best constant λ = {number(best)}"
                f"{autol2_panels.dashed(results['autol2_wrn'])}"
                f"{autol2_panels.dotted(results['autol2_wrn'])}; {autol2_panels.gain(results['autol2_wrn'])}.",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {"a": results["wrn_schedule"], "b": results["wrn_aug"], "c": results["autol2_wrn"]},
        )
    )
