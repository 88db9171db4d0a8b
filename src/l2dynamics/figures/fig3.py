"""Figure 3: the format of Figure 2 for CNNs without (a–c) and with batch norm (d–f), one learning rate."""

from collections.abc import Mapping

from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.fig2 import draw_rows
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("cnn", "cnn_bn")


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t*, maximum accuracy and accuracy within a budget against λ."""
    return draw_rows(results, RESULTS, style, "Figure 3")
