"""Figure S2: the format of Figure 2 for WRN with momentum at a fixed learning rate."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.fig2 import draw_rows
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("wrn_aug",)


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t*, maximum accuracy and accuracy within a budget against λ."""
    return draw_rows(results, RESULTS, style, "Figure S2")
