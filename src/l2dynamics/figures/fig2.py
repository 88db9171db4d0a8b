"""Figure 2: smaller λ needs longer, t* ∝ 1/(ηλ), to reach the same accuracy; FC (a–c) and WRN (d–f)."""

from collections.abc import Mapping, Sequence

from l2dynamics.analysis import selection
from l2dynamics.experiments import registry
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("fc", "wrn")
LETTERS = (("a", "b", "c"), ("d", "e", "f"))


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t*, maximum accuracy and accuracy within a budget against λ, per η."""
    return draw_rows(results, RESULTS, style, "Figure 2", collapse=True)


def draw_rows(
    results: Mapping[str, Results], shown: Sequence[str], style: Style, name: str, *, collapse: bool = False
) -> Drawing:
    """Draw the three panels of this format for each of the results ``shown``, one setup per row."""
    titles = registry.labels(shown)
    canvas = Canvas.grid(style, len(titles), 3)
    summaries, budgets = [], []
    for (setup, title), (first, second, third) in zip(titles.items(), LETTERS, strict=False):
        summary = selection.runs(results[setup])
        eta = selection.headline_eta(setup, summary)
        panels.epochs_to_max(canvas, first, summary, title, collapse=collapse, etas=False)
        panels.max_accuracy(canvas, second, summary, title, etas=True)
        budget = panels.budget_accuracy(canvas, third, results[setup], summary, title, eta=eta)
        summaries.append(summary)
        budgets.append(f"({third}) η = {number(eta)}, T = {number(budget)} epochs")
    return canvas.drawing(
        captions.caption(
            name,
            [
                "Left: epochs to maximum test accuracy (within 0.005, of the mean curve over seeds) against λ, dotted "
                "line ∝ 1/λ" + ("; inset: the same against ηλ." if collapse else "."),
                "Middle: maximum test accuracy; dashed: the best λ = 0 run among all η.",
                f"Right: maximum test accuracy in a fixed budget: {'; '.join(budgets)}; dashed: λ = 0.",
                "The legend names the smallest, middle and largest η." if collapse else "",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
                panels.counts(*summaries),
            ],
            {title: results[setup] for setup, title in titles.items()},
        )
    )
