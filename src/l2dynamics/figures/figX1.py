"""Figure X1 (ours): AdamW and Adam, the optimal λ against ηT (a), accuracy (b) and t* (c) of AdamW against λ."""  # noqa: N999

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import beyond, blocks, selection
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import POINT_COLUMNS, Canvas
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, GUIDE_LINE, Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("cnn_bn_adamw", "cnn_bn_adam")
NAMES = {"cnn_bn_adamw": "AdamW", "cnn_bn_adam": "Adam, coupled L2"}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw the optimal λ of every η and budget, and the format of Figure 2 for AdamW."""
    canvas = Canvas.grid(style, 1, 3)
    canvas.setup("a", "optimal λ within T", "ηT (steps)", "optimal λ", log="xy")
    entries = []
    for name, color in zip(RESULTS, CATEGORIES, strict=False):
        found = optima(results[name])
        canvas.curve("a", NAMES[name], found, color=color, linestyle="none")
        entries.append((NAMES[name], {"color": color, "marker": "o", "linestyle": "none"}))
        if name == RESULTS[0] and canvas.guide("a", found, factor=1.0):
            entries.append(("∝ 1/(ηT)", dict(GUIDE_LINE)))
    if not any(len(record) for record in canvas.records):
        canvas.empty("a", "no optimum")
    canvas.legend("a", entries, loc="center")
    summary, *others = (selection.runs(results[name]) for name in RESULTS)
    panels.max_accuracy(canvas, "b", summary, "AdamW")
    panels.epochs_to_max(canvas, "c", summary, "AdamW", collapse=True)
    return canvas.drawing(
        captions.caption(
            "Figure X1",
            [
                "Ours, not in the paper.",
                "(a) The λ with the highest accuracy within T steps, for every η and for T = a tenth, about a third "
                "and the whole of the runs, summit of a parabola in log λ, with its 90 % interval; squares: the "
                "grid does not bracket it. Dotted: ∝ 1/(ηT).",
                "(b) Maximum test accuracy of AdamW against λ, one curve per η. (c) Epochs to it (within 0.005); "
                "inset: against ηλ.",
                captions.SEEDS,
                captions.BOUND,
                captions.FAILED,
                panels.counts(summary, *others),
            ],
            {NAMES[name]: results[name] for name in RESULTS},
        )
    )


def optima(results: Results) -> pd.DataFrame:
    """Points of the optimal λ by ηT, as :func:`l2dynamics.figures.canvas.points`; ``edge`` where not bracketed."""
    rows = []
    try:
        for one in beyond.budgets(results):
            found = one.optimum()
            ends = (found.log10_l2.value, found.log10_l2.low(0.9), found.log10_l2.high(0.9))
            middle, low, high = (10**end for end in (ends if np.isfinite(ends).all() else ends[:1] * 3))
            count = len(next(iter(one.curves.values())).seeds)
            rows.append((one.eta * one.steps, middle, low, high, count, "" if found.bracketed else "edge"))
    except blocks.Lacking:
        rows = []
    return pd.DataFrame(sorted(rows), columns=list(POINT_COLUMNS))
