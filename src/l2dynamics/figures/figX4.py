"""Figure X4 (ours): the gain of λ > 0 and t* in full batches and in minibatches."""  # noqa: N999

from collections.abc import Mapping

import pandas as pd

from l2dynamics.analysis import bands, beyond
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, GUIDE_LINE, Style, styled
from l2dynamics.results.tables import Results

ROWS = (("FC", "fc", "fc_minibatch", ("a", "b")), ("CNN BN", "cnn_bn_full", "cnn_bn", ("c", "d")))
RESULTS = ("fc", "fc_minibatch", "cnn_bn_full", "cnn_bn")
SIZES = {"full": "full batches", "mini": "minibatches"}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw maximum accuracy and t* against λ of the runs that are alike, one row per network."""
    canvas = Canvas.grid(style, 2, 2)
    said = []
    for title, full, mini, (left, right) in ROWS:
        canvas.setup(left, title, panels.L2, panels.MAX_ACCURACY, log="x")
        canvas.setup(right, title, panels.L2, "steps to max test accuracy", log="xy")
        try:
            eta, runs = beyond.alike(results[full], results[mini])
        except Lacking as lack:
            canvas.empty(left, str(lack))
            canvas.empty(right, str(lack))
            said.append(f"{title}: {lack}")
            continue
        canvas.axes[left].set_title(f"({left}) {title}, η = {number(eta)}")
        stars = []
        for (size, name), color in zip(SIZES.items(), CATEGORIES, strict=False):
            best = {l2: one for (own, l2), one in runs.items() if own == size}
            zero, *_ = bands.interval(best.pop(0.0), bands.maximum)
            canvas.level(left, f"lambda=0, {name}", zero, color=color)
            tops = panels.points_of(best, bands.maximum)
            canvas.curve(left, name, tops, color=color)
            stars.append(panels.stars_of(best))
            canvas.curve(right, name, stars[-1], color=color)
            said.append(f"{title}, {name}: λ = 0 {zero:.3f}, λ > 0 up to {tops['y'].max():.3f}")
        canvas.legend(
            left,
            [
                (name, {"color": color, "marker": "o"})
                for name, color in zip(SIZES.values(), CATEGORIES, strict=False)
            ],
        )
        if canvas.guide(right, pd.concat(stars, ignore_index=True)):
            canvas.legend(right, [("∝ 1/λ", dict(GUIDE_LINE))], loc="upper right")
    return canvas.drawing(
        captions.caption(
            "Figure X4",
            [
                "Ours, not in the paper.",
                "Left: maximum test accuracy against λ in full batches and in minibatches with the same η, λ, seeds "
                "and numbers of steps; dashed: λ = 0 of the same colour, within the length of the longest λ > 0. "
                "Right: steps to it (within 0.005, of the mean curve over seeds).",
                f"{'; '.join(said)}.",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {
                f"{title}, {size}": results[name]
                for title, full, mini, _ in ROWS
                for size, name in zip(SIZES.values(), (full, mini), strict=True)
            },
        )
    )
