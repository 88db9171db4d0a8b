"""What drawing a figure gives."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A drawn figure.

    Attributes:
        figure: the matplotlib figure, every panel of the paper's figure in it.
        caption: what is shown, with scale, data, model and number of seeds; computed from the passports.
        data: every plotted curve in long form, columns ``panel, curve, x, y, low, high, n, flag``; see
            :func:`l2dynamics.figures.canvas.points` for the flags.
    """

    figure: "Figure"
    caption: str
    data: "pd.DataFrame"
