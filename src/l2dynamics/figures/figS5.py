"""Figure S5: with MSE loss, accuracy depends on η when training stops at training accuracy 1, not later."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("fc_mse",)


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw accuracy against η at training accuracy 1 (a) and at convergence (b); training curves (c, d)."""
    canvas = Canvas.grid(style, 2, 2)
    runs = results["fc_mse"]
    summary = selection.runs(runs)
    first = canvas.setup("a", "at training accuracy 1", panels.ETA, panels.TEST_ACCURACY, log="x")
    stopped = panels.against_eta(
        canvas, "a", summary.drop(columns=["learned", "bound"]), "test_accuracy_at_train1"
    )
    if stopped["y"].isna().all():
        canvas.empty("a", "no run reached\ntraining accuracy 1")
    second = canvas.setup("b", "at convergence", panels.ETA, panels.MAX_ACCURACY, log="x")
    panels.against_eta(canvas, "b", summary, "max_test_accuracy")
    if stopped["y"].isna().all():
        first.set_ylim(second.get_ylim())
    low, high = (limits(axes.get_ylim()[i] for axes in (first, second)) for i, limits in ((0, min), (1, max)))
    for axes in (first, second):
        axes.set(xlim=second.get_xlim(), ylim=(low, high))
    only_zero = set(summary.loc[summary["train1_epoch"].notna(), "l2"]) == {0.0}
    eta = selection.headline_eta("fc_mse", summary)
    rows = selection.rows(runs)
    rows = rows[rows["eta"] == eta]
    panels.training_curves(canvas, "c", rows, "train_loss", f"η = {number(eta)}", log="xy")
    canvas.axes["c"].set_ylabel("training MSE loss")
    panels.training_curves(
        canvas, "d", rows, "test_accuracy", f"η = {number(eta)}", images=selection.images(runs)
    )
    canvas.shared_legend(panels.l2_entries(summary["l2"], most=5), columns=5)
    return canvas.drawing(
        captions.caption(
            "Figure S5",
            [
                "MSE loss. Test accuracy against η, one curve per λ, (a) at the time when the training "
                "accuracy first is 1 and (b) at its maximum over the run; dashed black: λ = 0.",
                "(c) Training loss (without the L2 term) and (d) test accuracy against epochs at η = "
                f"{number(eta)}, one curve per λ; in the paper the training loss has a minimum with λ > 0, then rises.",
                "(a) No λ > 0 reached training accuracy 1." if only_zero else "",
                "Of many λ the legend names the smallest, middle and largest.",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
                panels.counts(summary),
            ],
            {"Runs": runs},
        )
    )
