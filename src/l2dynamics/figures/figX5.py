"""Figure X5 (ours): t* of networks of finite width, against the infinite-width theory."""  # noqa: N999

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
    canvas.setup("a", "t* by width", panels.L2, "t* λ", log="xy")
    canvas.setup("b", "exponent of t* on λ", "width", "exponent", log="x")
    try:
        found = widths.by_width(theory.passport["numbers"]["finite_star"])
    except Lacking as lack:
        for panel in "ab":
            canvas.empty(panel, str(lack))
        return canvas.drawing(_caption(theory, [f"No exponents: {lack}."]))
    entries = []
    for one, color in zip(found, CATEGORIES, strict=False):
        canvas.curve("a", f"width {one.width}", _times(one, "network"), color=color)
        entries.append((f"width {one.width:,}", {"color": color, "marker": "o"}))
    canvas.curve("a", "theory", _times(found[-1], "theory"), color="black", linestyle="--", marker="")
    canvas.legend("a", [*entries, ("infinite width", _THEORY)], loc="best")
    canvas.curve("b", "networks", _exponents(found, "network"), color=CATEGORIES[0])
    canvas.curve("b", "theory", _exponents(found, "theory"), color="black", linestyle="--", marker="")
    canvas.level("b", "t* proportional to 1/lambda", -1.0, **GUIDE_LINE)
    canvas.legend(
        "b",
        [
            ("networks", {"color": CATEGORIES[0], "marker": "o"}),
            ("infinite width, same f₀", _THEORY),
            ("t* ∝ 1/λ", dict(GUIDE_LINE)),
        ],
        loc="best",
    )
    kept = f"λ = {number(found[0].l2[0])} to {number(found[0].l2[-1])}"
    return canvas.drawing(
        _caption(
            theory,
            [
                "(a) First time within 0.005 of the best test accuracy, times λ; t* ∝ 1/λ would be level. Dashed: "
                f"infinite width, eq. (1) with k = 2, from the initial functions of width {found[-1].width:,}.",
                f"(b) Exponent of t* on λ, {kept}, against the width; dashed: that theory from the initial functions "
                "of each width. Points are means over seeds, bars 90 % intervals over seeds.",
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


def _times(one: AtWidth, kind: str) -> pd.DataFrame:
    """Mean of t* λ over seeds at each λ."""
    return _points(one.l2, one.stars[kind] * one.l2[:, None])


def _exponents(found: list[AtWidth], kind: str) -> pd.DataFrame:
    """Mean of the exponents over seeds at each width."""
    return _points([one.width for one in found], [one.exponents(kind) for one in found])


def _points(x: np.ndarray | list[int], values: np.ndarray | list[np.ndarray]) -> pd.DataFrame:
    rows = []
    for at, each in zip(x, values, strict=True):
        mean, half = float(np.mean(each)), bands.half_width(np.asarray(each))
        low, high = (mean - half, mean + half) if np.isfinite(half) else (mean, mean)
        rows.append((at, mean, low, high, len(each), ""))
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS))
