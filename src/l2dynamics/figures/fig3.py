"""Figure 3: the format of Figure 2 for CNNs without (a–c) and with batch norm (d–f), one learning rate."""

from collections.abc import Mapping

from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.fig2 import LETTERS, draw_rows
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("cnn", "cnn_bn")
TITLES = {"cnn": "CNN No BN", "cnn_bn": "CNN BN"}
HEADLINE_ETA = {"cnn": 0.01, "cnn_bn": 0.01}


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw t*, maximum accuracy and accuracy within a budget against λ."""
    return draw_rows(results, style, "Figure 3", letters=LETTERS, titles=TITLES, etas=HEADLINE_ETA)
