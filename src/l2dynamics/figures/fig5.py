"""Figure 5: theory of wide networks. Mode evolution for k = 2 (a) and k = 1 (b), and an experiment against it (c).

Panel d is not in the paper: t* of the theory's own test curve (claim c7).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.figures import captions
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, GUIDE_LINE, Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("theory",)

# The order of the paper: k = 1 blue, k = 2 orange, experiment green.
_CURVES = (
    ("theory k=1", "theory, k = 1", CATEGORIES[0]),
    ("theory k=2", "theory, k = 2", CATEGORIES[1]),
    ("experiment", "experiment", CATEGORIES[2]),
)


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw both modes for either k against time, the training loss of theory and experiment, and t*λ against λ."""
    theory = results["theory"]
    table, passport = theory.table, theory.passport
    modes, part = passport["config"]["modes"], passport["config"]["panel_c"]
    drawn, star = passport["numbers"]["panel_c"], passport["numbers"]["test_star"]
    canvas = Canvas.grid(style, 1, 4)
    for panel, title in (("a", "2-layer, k = 2"), ("b", "linear, k = 1")):
        canvas.setup(panel, title, "time t", "f / y", log="x")
        rows = table[table["panel"] == panel]
        entries = []
        for ratio, color in zip(modes["ratios"], CATEGORIES, strict=False):
            some = rows[np.isclose(rows["gamma"], ratio * modes["l2"])]
            label = f"γ/λ = {number(ratio)}"
            canvas.band(panel, label, _points(some), color=color)
            entries.append((label, {"color": color}))
        canvas.mark(panel, "1/λ", 1 / modes["l2"], **GUIDE_LINE)
        canvas.legend(panel, [*entries, ("t = 1/λ", dict(GUIDE_LINE))], loc="center")
    canvas.setup("c", "training loss", "time t", "loss per sample", log="xy")
    rows = table[table["panel"] == "c"]
    for curve, label, color in _CURVES:
        canvas.band("c", label, _points(rows[rows["curve"] == curve]), color=color)
    canvas.mark("c", "loss minimum, k = 2", drawn["t_min_theory"], **GUIDE_LINE)
    entries = [(label, {"color": color}) for _, label, color in _CURVES]
    canvas.legend("c", [*entries, ("minimum, k = 2", dict(GUIDE_LINE))], loc="lower left")
    canvas.setup("d", "theory's own t*", "λ", "t* λ", log="xy")
    some = table[table["panel"] == "test_star"]
    canvas.curve("d", "theory, k = 2", _points(some), color=CATEGORIES[1])
    whole = _points(some).assign(y=some["x"] * star["without_l2"]["t_star"])
    canvas.band("d", "t* of λ = 0", whole, color=CATEGORIES[0], linestyle="--")
    canvas.legend(
        "d",
        [("infinite width, k = 2", {"color": CATEGORIES[1]}),
         ("t* of λ = 0, times λ", {"color": CATEGORIES[0], "linestyle": "--"})],
        loc="upper left",
    )  # fmt: skip
    return canvas.drawing(
        " ".join(
            [
                "Figure 5.",
                "(a) Evolution of two kernel modes under eq. (3) for a 2-layer network (k = 2), λ = "
                f"{number(modes['l2'])},",
                "with γ/λ above and below 1; dotted: t = 1/λ. (b) The same for a linear model (k = 1).",
                f"(c) Training loss Σ ½(f − y)²/N against t = step · η, λ = {number(part['l2'])}: theory for k "
                "= 1 and k = 2",
                f"with the kernel of a 2-layer ReLU network of width {passport['config']['kernel_width']:,}, "
                "and gradient",
                f"descent (η = {number(part['eta'])}, {drawn['steps']:,} steps) on one of width "
                f"{part['width']:,} (the paper: 100,000),",
                "both from the trained network's initial function; dotted: the minimum predicted for k = 2 with "
                "the kernel",
                "of the trained network.",
                "(d) Not in the paper: first time within 0.005 of the best test accuracy of the infinitely wide",
                f"network under eq. (1) from f = 0, times λ; t* ∝ 1/λ would be level. Exponent of t* on λ: "
                f"{number(star['exponent']['slope'])}.",
                f"Even/odd labels ±1 on {captions.data(passport)}; NTK parametrisation; scale "
                f"{passport['scale']}; 1 seed.",
            ]
        )
    )


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {"x": rows["x"], "y": rows["y"], "low": rows["y"], "high": rows["y"], "n": 1, "flag": ""}
    )
