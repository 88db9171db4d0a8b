"""Figure X3 (ours): t* (a) and accuracy (b) with L2 on some of the weights, angular updates (c, d)."""  # noqa: N999

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import angles, bands, blocks, selection
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas, each, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, GUIDE_LINE, Style, l2_color, styled
from l2dynamics.results.tables import Results

NAMES = {
    "cnn_bn_l2_all": "all weights",
    "cnn_bn_l2_invariant": "scale-invariant weights",
    "cnn_bn_l2_others": "other weights",
}
RESULTS = tuple(NAMES)
ZERO_LINES, MARKERS = ("--", "-.", ":"), ("o", "D", "v")
"""By η, the largest first."""
TURNED = {"c": "cnn_bn_l2_all", "d": "cnn_bn_l2_invariant"}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t* and maximum accuracy against ηλ, and the angular update over √(2ηλ) against t·ηλ."""
    canvas = Canvas.grid(style, 2, 2)
    canvas.setup("a", "t*", "ηλ", "steps to max test accuracy", log="xy")
    canvas.setup("b", "maximum accuracy", "ηλ", panels.MAX_ACCURACY, log="x")
    every = []
    for (name, label), color in zip(NAMES.items(), CATEGORIES, strict=False):
        for (eta, runs), marker in zip(_by_eta(results[name]).items(), MARKERS, strict=False):
            every.append(panels.stars_of(runs))
            for panel, points in (("a", every[-1]), ("b", panels.points_of(runs, bands.maximum))):
                canvas.curve(panel, f"{label}, eta={eta:g}", points, color=color, marker=marker)
    if every and canvas.guide("a", pd.concat(every, ignore_index=True)):
        canvas.legend("a", [("∝ 1/(ηλ)", dict(GUIDE_LINE))], loc="upper right")
    without = _without(results["cnn_bn_l2_all"])
    for eta, line in zip(without, ZERO_LINES, strict=False):
        canvas.level("b", f"lambda=0, eta={eta:g}", without[eta], linestyle=line)
    for panel, name in TURNED.items():
        _turns(canvas, panel, results[name], f"L2 on {NAMES[name]}")
    etas = ", ".join(f"{eta:g}" for eta in without) or "none"
    looks = zip(NAMES.values(), CATEGORIES, strict=False)
    canvas.shared_legend([(label, {"color": color, "marker": "o"}) for label, color in looks], columns=3)
    return canvas.drawing(
        captions.caption(
            "Figure X3",
            [
                "Ours, not in the paper.",
                "(a) Steps to the maximum test accuracy (within 0.005, of the mean curve over seeds) against ηλ, L2 on "
                "all weights, on those whose scale batch norm removes, and on the others; a line joins the λ of one "
                f"η; circles, diamonds and triangles downwards: η = {etas}.",
                f"(b) Maximum test accuracy; dashed, dash-dotted and dotted: λ = 0 at η = {etas}.",
                "(c, d) Angle by which a step turns the scale-invariant weights over √(2ηλ), root mean square over the "
                "steps between two evaluations, channels, layers and seeds, from the lengths of the weights, against "
                "steps times ηλ; one line for every η and λ, lighter for larger λ, with gaps where the weights are "
                "shortened faster than by L2; dashed: 1, where L2 and gradients balance.",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {f"L2 on {label}": results[name] for name, label in NAMES.items()},
        )
    )


def _by_eta(results: Results) -> dict[float, dict[float, Curves]]:
    """The runs with λ > 0 by η, the largest first, and ηλ."""
    found: dict[float, dict[float, Curves]] = {}
    for (eta, l2), curves in sorted(_grid(results, lambda l2: l2 > 0).items(), reverse=True):
        found.setdefault(eta, {})[eta * l2] = curves
    return found


def _without(results: Results) -> dict[float, float]:
    """The maximum accuracy at λ = 0 by η, the largest first."""
    found = _grid(results, lambda l2: l2 == 0)
    return {eta: bands.interval(found[eta, l2], bands.maximum)[0] for eta, l2 in sorted(found, reverse=True)}


def _grid(results: Results, wanted: Callable[[pd.Series], pd.Series]) -> dict[tuple[float, float], Curves]:
    table = selection.rows(results)
    some = table[wanted(table["l2"])]
    return blocks.grid(blocks.longest(some), blocks.sizes(selection.images(results))) if len(some) else {}


def _turns(canvas: Canvas, panel: str, results: Results, title: str) -> None:
    canvas.setup(panel, title, "steps times ηλ", "angular update / √(2ηλ)", log="xy")
    try:
        rows = angles.courses(selection.rows(results))
    except Lacking as lack:
        canvas.empty(panel, str(lack))
        return
    for eta, some in each(rows, "eta"):
        for l2, own in each(some, "l2"):
            squares = own.groupby("time")["square"].mean()
            # Below 0 where the weights are so short that batch norm does see their scale: a hole.
            ratio = np.sqrt(squares.where(squares > 0))
            curve = pd.DataFrame({"x": ratio.index, "y": ratio.to_numpy()})
            canvas.record(panel, f"eta={eta:g}, lambda={number(l2)}", curve)
            canvas.axes[panel].plot(curve["x"], curve["y"], color=l2_color(l2))
    canvas.level(panel, "balance", 1.0)
