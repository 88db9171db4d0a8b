"""Figure S8: a counter-example, ResNet. Accuracy over η × λ (a), and over λ × T at fixed η (b)."""  # noqa: N999

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("resnet",)
COLORS = "cividis"


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw the two maps of maximum test accuracy."""
    canvas = Canvas.grid(style, 1, 2)
    canvas.figure.set_size_inches(2.9 * style.panel[0], 1.35 * style.panel[1])
    runs = results["resnet"]
    grid, budget = selection.runs(runs), selection.runs(runs, "budget")
    epochs = selection.common_budget(grid)
    eta = selection.headline_eta("resnet", budget)
    _map(canvas, "a", grid, "eta", f"T = {number(epochs)} epochs", "η")
    _map(canvas, "b", budget[budget["eta"] == eta], "budget", f"η = {number(eta)}", "T (epochs)")
    return canvas.drawing(
        captions.caption(
            "Figure S8",
            [
                f"Maximum test accuracy, mean over seeds. (a) After T = {number(epochs)} epochs for "
                "different η and λ: compare along the diagonals, where ηλ is constant.",
                f"(b) At η = {number(eta)} for different λ and T, schedule rescaled to T. Empty cells: no run.",
                panels.counts(grid, budget, peaks=False),
            ],
            {"Runs": runs},
        )
    )


def _map(canvas: Canvas, panel: str, summary: pd.DataFrame, rows: str, title: str, label: str) -> None:
    """Draw the accuracy over ``rows`` × λ as a grid of coloured cells with the number in each."""
    axes = canvas.setup(panel, title, panels.L2, label)
    axes.grid(visible=False)
    cells = summary.pivot_table(index=rows, columns="l2", values="max_test_accuracy", aggfunc="mean")
    values = cells.to_numpy(float)
    for value, line in cells.iterrows():
        canvas.record(panel, f"{rows}={value:g}", pd.DataFrame({"x": line.index, "y": line.to_numpy()}))
    axes.set_facecolor("#dddddd")
    image = axes.imshow(values, cmap=COLORS, origin="lower", aspect="auto")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "black" if value > middle else "white"
            axes.text(
                j, i, f"{value:.3f}", ha="center", va="center", color=color, fontsize=0.75 * canvas.style.font
            )
    axes.set_xticks(
        range(values.shape[1]), [number(v) for v in cells.columns.astype(float)], rotation=45, ha="right"
    )
    axes.set_yticks(range(values.shape[0]), [number(v) for v in cells.index.astype(float)])
    canvas.figure.colorbar(image, ax=axes, label=panels.MAX_ACCURACY)
