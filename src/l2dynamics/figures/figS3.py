"""Figure S3: accuracy against λ for several budgets, with the predicted λ of each."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, prediction_panels
from l2dynamics.figures.canvas import Canvas
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("wrn_aug",)

LANDSCAPE = (
    "Maximum test accuracy within a budget T against λ, one curve per T; vertical dashed lines of the "
    "same colour: predicted λ; ticks at the left edge: λ = 0. The legend names the smallest, middle and "
    "largest T."
)


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw one curve per budget."""
    canvas = Canvas.grid(style, 1, 1)
    canvas.figure.set_size_inches(1.6 * style.panel[0], 1.4 * style.panel[1])
    found = selection.contests(results["wrn_aug"])
    title = "WRN momentum, λ = c/T"
    prediction_panels.accuracy_landscape(canvas, "a", found, title)
    return canvas.drawing(
        captions.caption("Figure S3", [LANDSCAPE, captions.SEEDS], {"Runs": results["wrn_aug"]})
    )
