"""Figure S12: Figure 1a for several initialisation scales σw: final accuracy does not depend on them."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, each, number, points
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("wrn_sigma",)
MARKERS = "osDvP*"


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw final test accuracy against λ, one curve per σw."""
    canvas = Canvas.grid(style, 1, 1)
    canvas.figure.set_size_inches(1.6 * style.panel[0], 1.4 * style.panel[1])
    canvas.setup("a", "WRN", panels.L2, panels.TEST_ACCURACY, log="x")
    summary = selection.runs(results["wrn_sigma"], "scaled")
    product = selection.inverse_budget(summary)
    entries = []
    for i, (sigma, rows) in enumerate(each(summary, "sigma_w")):
        color = CATEGORIES[i % len(CATEGORIES)]
        some = points(rows.drop(columns="peaked"), "l2", "final_test_accuracy")
        marker = MARKERS[i % len(MARKERS)]
        canvas.curve("a", f"sigma_w={sigma:g}", some, color=color, marker=marker)
        entries.append((rf"$\sigma_w$ = {number(sigma)}", {"color": color, "marker": marker}))
    canvas.legend("a", entries, loc="best")
    return canvas.drawing(
        captions.caption(
            "Figure S12",
            [
                f"Final test accuracy against λ for T = {number(product)}/λ epochs, as in Figure 1a, for "
                "several scales σw of the initial weights.",
                captions.SEEDS,
                captions.FAILED,
            ],
            {"Runs": results["wrn_sigma"]},
        )
    )
