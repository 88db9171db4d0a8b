"""Figure X4 (ours): the gain of λ > 0 and t* in full batches and in minibatches."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, number, points
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, GUIDE_LINE, Style, styled
from l2dynamics.results.tables import Results

ROWS = (("FC", "fc", "fc_minibatch", ("a", "b")), ("CNN BN", "cnn_bn_full", "cnn_bn", ("c", "d")))
RESULTS = ("fc", "fc_minibatch", "cnn_bn_full", "cnn_bn")
SIZES = ("full batches", "minibatches")


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw maximum accuracy and t* against λ at one η, one row per network."""
    canvas = Canvas.grid(style, 2, 2)
    said = []
    for title, full, mini, (left, right) in ROWS:
        eta = selection.headline_eta(mini, selection.rows(results[mini]))
        canvas.setup(left, f"{title}, η = {number(eta)}", panels.L2, panels.MAX_ACCURACY, log="x")
        canvas.setup(right, f"{title}, η = {number(eta)}", panels.L2, "steps to max test accuracy", log="xy")
        drawn = []
        for size, name, color in zip(SIZES, (full, mini), CATEGORIES, strict=False):
            summary = selection.runs(results[name])
            summary = summary[summary["eta"] == eta]
            per_epoch = results[name].passport["steps_per_epoch"]
            ends = [end for end in ("t_star_mean", "t_star_mean_low", "t_star_mean_high") if end in summary]
            summary = summary.assign(**{end: summary[end] * per_epoch for end in ends})
            positive = summary[summary["l2"] > 0]
            best = points(positive, "l2", "max_test_accuracy")
            canvas.curve(left, size, best, color=color)
            drawn.append(panels.star_points(positive, "l2"))
            canvas.curve(right, size, drawn[-1], color=color)
            zero = summary.loc[summary["l2"] == 0, "max_test_accuracy"].mean()
            canvas.level(left, f"lambda=0, {size}", float(zero), color=color)
            said.append(f"{title}, {size}: λ = 0 {zero:.3f}, best λ > 0 {best['y'].max():.3f}")
        canvas.legend(
            left,
            [(size, {"color": color, "marker": "o"}) for size, color in zip(SIZES, CATEGORIES, strict=False)],
        )
        if len(drawn[-1]) and canvas.guide(right, drawn[-1]):
            canvas.legend(right, [("∝ 1/λ", dict(GUIDE_LINE))], loc="upper right")
    return canvas.drawing(
        captions.caption(
            "Figure X4",
            [
                "Ours, not in the paper.",
                "Left: maximum test accuracy against λ in full batches and in minibatches at the same η; dashed: λ = 0 "
                "of the same colour. Right: steps to it (within 0.005, of the mean curve over seeds).",
                f"{'; '.join(said)}.",
                captions.SEEDS,
                captions.BOUND,
                captions.FAILED,
            ],
            {
                f"{title}, {size}": results[name]
                for title, full, mini, _ in ROWS
                for size, name in zip(SIZES, (full, mini), strict=True)
            },
        )
    )
