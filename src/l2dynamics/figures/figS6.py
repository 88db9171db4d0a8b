"""Figure S6: training curves of the runs of Figures 2 and 3, one column per setup."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import per_run, selection
from l2dynamics.experiments import registry
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("fc", "wrn", "cnn")
#: Rows of the figure: metric and its logarithmic axes.
ROWS = {"train_loss": "xy", "train_accuracy": "x", "test_loss": "xy", "test_accuracy": "x"}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw training loss, training accuracy, test loss and test accuracy against epochs, one curve per λ."""
    canvas = Canvas.grid(style, len(ROWS), len(RESULTS))
    # The supplement spells it with a small letter.
    titles = registry.labels(RESULTS) | {"cnn": "CNN no BN"}
    letters = iter(canvas.axes)
    tables, etas = {}, []
    for name, title in titles.items():
        grid = selection.rows(results[name])
        eta = selection.headline_eta(name, grid)
        tables[name] = grid[grid["eta"] == eta]
        etas.append(f"{title} {number(eta)}")
    for metric, log in ROWS.items():
        for name, title in titles.items():
            panel = next(letters)
            panels.training_curves(
                canvas, panel, tables[name], metric, title, images=selection.images(results[name]), log=log
            )
            if metric == "train_loss":
                canvas.legend(panel, panels.l2_entries(tables[name]["l2"]), loc="best")
    summaries = [
        per_run.summarize(table, chance=1 / results[name].passport["classes"])
        for name, table in tables.items()
    ]
    return canvas.drawing(
        captions.caption(
            "Figure S6",
            [
                "Training loss (without the L2 term), training accuracy, test loss and test accuracy "
                f"against epochs, one curve per λ, at η: {', '.join(etas)}.",
                "The legend names the smallest, middle and largest λ.",
                captions.ZERO,
                captions.SEEDS,
                "A curve ends with its run, whose length is ∝ 1/λ.",
                panels.counts(*summaries, peaks=False),
            ],
            {title: results[name] for name, title in titles.items()},
        )
    )
