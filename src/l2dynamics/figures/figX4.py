"""Figure X4 (ours): the gain of λ > 0 and t* in full batches and in minibatches."""  # noqa: N999

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics import peaks
from l2dynamics.analysis import bands, beyond, thresholds
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import POINT_COLUMNS, Canvas, number
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
            zero = _top(best.pop(0.0))
            canvas.level(left, f"lambda=0, {name}", zero[0], color=color)
            tops = [(l2, *_top(one), len(one.seeds), "") for l2, one in sorted(best.items())]
            canvas.curve(left, name, pd.DataFrame(tops, columns=list(POINT_COLUMNS)), color=color)
            times = [(l2, *[_star(one)] * 3, len(one.seeds), _flag(one)) for l2, one in sorted(best.items())]
            stars.append(pd.DataFrame(times, columns=list(POINT_COLUMNS)))
            canvas.curve(right, name, stars[-1], color=color)
            said.append(
                f"{title}, {name}: λ = 0 {zero[0]:.3f}, λ > 0 up to {max(top[1] for top in tops):.3f}"
            )
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
                "and numbers of steps, its mean over seeds and the 90 % interval of their scatter; dashed: λ = 0 of "
                "the same colour, within the length of the longest λ > 0. Right: steps to it (within 0.005, of the "
                "mean curve over seeds); open triangles: in the second half of the run.",
                f"{'; '.join(said)}.",
                captions.SEEDS,
            ],
            {
                f"{title}, {size}": results[name]
                for title, full, mini, _ in ROWS
                for size, name in zip(SIZES.values(), (full, mini), strict=True)
            },
        )
    )


def _top(curves: Curves) -> tuple[float, float, float]:
    """Maximum accuracy, mean over seeds, and its interval."""
    tops = curves.accuracy().max(axis=-1)
    half = bands.half_width(tops)
    mean, half = float(tops.mean()), half if np.isfinite(half) else 0.0
    return mean, mean - half, mean + half


def _star(curves: Curves) -> float:
    """t* of the mean curve over seeds, at least one step: the axis is logarithmic."""
    return max(1.0, float(peaks.star(curves.steps, curves.accuracy().mean(axis=0))))


def _flag(curves: Curves) -> str:
    return "bound" if _star(curves) > thresholds.FIT_WITHIN * curves.steps[-1] else ""
