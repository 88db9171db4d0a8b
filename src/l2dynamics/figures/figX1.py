"""Figure X1 (ours): AdamW and Adam, the optimal λ against ηT (a), accuracy (b) and t* (c) of AdamW against λ."""  # noqa: N999

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import beyond, blocks, selection
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import POINT_COLUMNS, Canvas
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import GUIDE, GUIDE_LINE, Style, eta_colors, styled
from l2dynamics.results.tables import Results

RESULTS = ("cnn_bn_adamw", "cnn_bn_adam")
NAMES = {"cnn_bn_adamw": "AdamW", "cnn_bn_adam": "Adam, coupled L2"}
LINES = {"cnn_bn_adamw": "-", "cnn_bn_adam": "--"}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw the optimal λ of every η and budget, and the format of Figure 2 for AdamW."""
    canvas = Canvas.grid(style, 1, 3)
    canvas.setup("a", "optimal λ within T", "ηT (steps)", "optimal λ", log="xy")
    entries = []
    for name, line in LINES.items():
        found = optima(results[name])
        colors = eta_colors(found)
        for eta, some in found.items():
            canvas.curve("a", f"{NAMES[name]}, eta={eta:g}", some, color=colors[eta], linestyle=line)
        entries.append((NAMES[name], {"color": GUIDE, "linestyle": line}))
        if name == RESULTS[0] and found and canvas.guide("a", pd.concat(found.values()), factor=1.0):
            entries.append(("∝ 1/(ηT)", dict(GUIDE_LINE)))
    if not any(len(record) for record in canvas.records):
        canvas.empty("a", "no optimum")
    canvas.legend_above("a", entries)
    summary, *others = (selection.runs(results[name]) for name in RESULTS)
    panels.max_accuracy(canvas, "b", summary, "AdamW", etas=True)
    panels.epochs_to_max(canvas, "c", summary, "AdamW", collapse=True, etas=False)
    return canvas.drawing(
        captions.caption(
            "Figure X1",
            [
                "Ours, not in the paper.",
                "(a) The λ with the highest accuracy within T steps, for every η and for T = a tenth, about a third "
                "and the whole of the runs, summit of a parabola in log λ, with its 90 % interval; a line joins the T "
                "of an η, darker for larger η. Dotted: ∝ 1/(ηT), on which all lines of AdamW would lie.",
                "(b) Maximum test accuracy of AdamW against λ, one curve per η; dashed: the best λ = 0 among all η.",
                "(c) Epochs to it (within 0.005); inset: against ηλ.",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
                panels.counts(summary, *others),
            ],
            {NAMES[name]: results[name] for name in RESULTS},
        )
    )


def optima(results: Results) -> dict[float, pd.DataFrame]:
    """By η points of the optimal λ against ηT, see :func:`l2dynamics.figures.canvas.points`.

    Their flag is ``edge`` where the grid does not bracket the optimum.
    """
    rows: dict[float, list[tuple[float | str, ...]]] = {}
    try:
        for one in beyond.budgets(results):
            found = one.optimum()
            ends = (found.log10_l2.value, found.log10_l2.low(0.9), found.log10_l2.high(0.9))
            middle, low, high = (10**end for end in (ends if np.isfinite(ends).all() else ends[:1] * 3))
            count = len(next(iter(one.curves.values())).seeds)
            point = (one.eta * one.steps, middle, low, high, count, "" if found.bracketed else "edge")
            rows.setdefault(one.eta, []).append(point)
    except blocks.Lacking:
        return {}
    return {eta: pd.DataFrame(sorted(some), columns=list(POINT_COLUMNS)) for eta, some in rows.items()}
