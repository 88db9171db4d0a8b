"""Figure S4: Figures 1b, 4b and S3 again with c doubled."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, prediction_panels
from l2dynamics.figures.canvas import Canvas
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.figS3 import LANDSCAPE
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("wrn_aug",)


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw accuracy (a) and λ (b) against the budget and accuracy against λ (c), for λ = 2c/T."""
    canvas = Canvas.grid(style, 1, 3)
    runs = results["wrn_aug"]
    found = selection.contests(runs, "predicted_double")
    prediction_panels.accuracy_per_budget(canvas, "a", found, "λ = 2c/T")
    prediction_panels.l2_per_budget(canvas, "b", found, "λ = 2c/T")
    prediction_panels.accuracy_landscape(canvas, "c", found, "λ = 2c/T")
    return canvas.drawing(
        captions.caption(
            "Figure S4",
            [
                "Figures 1b, 4b and S3 with c doubled.",
                "(a) Test accuracy against the training budget for the best λ of the grid and for λ = 2c/T.",
                "(b) Best λ of the grid, bars: all λ within half a standard error of the best accuracy; dashed: 2c/T.",
                f"(c) {LANDSCAPE}",
                captions.ELSEWHERE,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {"Runs": runs},
        )
    )
