"""Figure X5 (ours): t* of networks of finite width, against the infinite-width theory."""  # noqa: N999

import contextlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import bands, widths
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.widths import AtWidth
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import POINT_COLUMNS, Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, GUIDE_LINE, Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("theory",)
_THEORY = {"color": "black", "linestyle": "--"}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t* λ against λ for every width (a), and the exponent of t* on λ against the width (b)."""
    theory = results["theory"]
    canvas = Canvas.grid(style, 1, 2)
    canvas.setup("a", "t* by width", panels.L2, "t* λ", log="x")
    canvas.setup("b", "exponent of t* on λ", "width", "exponent", log="x")
    try:
        networks, flows = (
            widths.by_width(theory.passport["numbers"].get("finite_star"), kind) for kind in widths.KINDS
        )
    except Lacking as lack:
        for panel in "ab":
            canvas.empty(panel, str(lack))
        return canvas.drawing(_caption(theory, [f"{lack}."]))
    entries = []
    for position, one in enumerate(networks):
        color = CATEGORIES[position % len(CATEGORIES)]
        canvas.curve("a", f"width {one.width}", _times(one), color=color)
        entries.append((f"width {one.width:,}", {"color": color, "marker": "o"}))
    canvas.curve("a", "theory", _times(flows[-1]), color="black", linestyle="--", marker="")
    canvas.legend_above("a", [*entries, ("infinite width", _THEORY)])
    canvas.curve("b", "networks", _exponents(networks), color=CATEGORIES[0])
    canvas.curve("b", "theory", _exponents(flows), color="black", linestyle="--", marker="")
    canvas.level("b", "t* proportional to 1/lambda", -1.0, **GUIDE_LINE)
    canvas.legend_above(
        "b",
        [
            ("networks", {"color": CATEGORIES[0], "marker": "o"}),
            ("t* ∝ 1/λ", dict(GUIDE_LINE)),
            ("infinite width", _THEORY),
        ],
    )
    return canvas.drawing(
        _caption(
            theory,
            [
                "(a) First time within 0.005 of the best test accuracy, times λ; t* ∝ 1/λ would be level. Dashed: "
                f"infinite width, eq. (1) with k = 2, from the initial functions of width {flows[-1].width:,}.",
                "(b) Exponent of t* on λ against the width; dashed: that theory from the initial functions of each "
                "width. Points are means over seeds, bars 90 % intervals over seeds.",
                "Open triangles: some t* lies in the second half of the training, which bounds it from below; they "
                f"enter no exponent, and of fewer than {widths.FEWEST_L2} other λ none is drawn.",
            ],
        )
    )


def _caption(theory: Results, sentences: list[str]) -> str:
    part, passport = theory.passport["config"]["finite_star"], theory.passport
    shown = dict(passport, data={**passport["data"], "test": part["test"]})
    return " ".join(
        [
            "Figure X5.",
            "Ours, not in the paper.",
            *sentences,
            f"Two-layer ReLU networks in NTK parametrisation, full-batch gradient descent, η = {number(part['eta'])}; "
            f"even/odd labels ±1 on {captions.data(shown)}; scale {passport['scale']}; {part['seeds']} seeds.",
        ]
    )


def _times(one: AtWidth) -> pd.DataFrame:
    """Mean of t* λ over seeds at each λ."""
    return _points(one.l2, one.stars * one.l2[:, None]).assign(flag=np.where(one.late, "bound", ""))


def _exponents(found: list[AtWidth]) -> pd.DataFrame:
    """Mean of the exponents over seeds at each width that has enough λ."""
    known = {}
    for one in found:
        with contextlib.suppress(Lacking):
            (known[one.width],) = widths.exponents(one)
    return _points(list(known), list(known.values()))


def _points(x: np.ndarray | list[int], values: np.ndarray | list[np.ndarray]) -> pd.DataFrame:
    rows = []
    for at, each in zip(x, values, strict=True):
        mean, half = float(np.mean(each)), bands.half_width(np.asarray(each))
        low, high = (mean - half, mean + half) if np.isfinite(half) else (mean, mean)
        rows.append((at, mean, low, high, len(each), ""))
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS)).astype(dict.fromkeys(POINT_COLUMNS[:-1], float))
