"""One look for all figures: sizes, colours, and files that are the same to the last byte when drawn again.

Colours are safe for colour-blind readers. λ, η and the training budget each have a sequential scale of their
own. That of λ has a fixed logarithmic range, so that a colour means the same λ in every figure.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Colormap, ListedColormap, LogNorm

from l2dynamics.figures.drawing import Drawing


@dataclass(frozen=True)
class Style:
    """Sizes for one use.

    Attributes:
        name: key in :data:`STYLES`.
        panel: width and height of one panel in inches.
        font: size of the text in points.
        line: width of the curves in points.
        marker: size of the markers in points.
        dpi: resolution of the PNG.
    """

    name: str
    panel: tuple[float, float]
    font: float
    line: float
    marker: float
    dpi: int

    def context(self) -> AbstractContextManager[None]:
        """Return a context in which matplotlib draws in this style, whatever the user's matplotlibrc says."""
        small = 0.85 * self.font
        settings: dict[Any, Any] = {
            **_defaults(),
            "axes.grid": True,
            "axes.labelsize": self.font,
            "axes.linewidth": 0.35 * self.line + 0.2,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": self.font,
            "figure.dpi": self.dpi,
            "font.size": self.font,
            "grid.color": "#e6e6e6",
            "grid.linewidth": 0.5,
            "legend.borderpad": 0.3,
            "legend.fontsize": small,
            "legend.framealpha": 0.8,
            "legend.handlelength": 1.6,
            "legend.labelspacing": 0.25,
            "lines.linewidth": self.line,
            "lines.markersize": self.marker,
            "savefig.dpi": self.dpi,
            "svg.fonttype": "path",
            "svg.hashsalt": "l2dynamics",
            "xtick.labelsize": small,
            "ytick.labelsize": small,
        }
        return mpl.rc_context(settings)


STYLES: Mapping[str, Style] = {
    "paper": Style("paper", panel=(2.4, 2.0), font=8.0, line=1.2, marker=3.5, dpi=200),
    "slides": Style("slides", panel=(4.2, 3.5), font=15.0, line=2.4, marker=7.0, dpi=130),
}


def get_style(name: str) -> Style:
    """Return the style ``name``.

    Raises:
        ValueError: there is no such style.
    """
    if name not in STYLES:
        raise ValueError(f"figures.style: {name!r} is not a style, choose one of {', '.join(STYLES)}")
    return STYLES[name]


def styled(draw: Callable[..., Drawing]) -> Callable[..., Drawing]:
    """Decorate a figure's ``draw(results, style)`` so that it runs in the style's context."""

    @wraps(draw)
    def inside(results: Mapping[str, Any], style: Style) -> Drawing:
        with style.context():
            return draw(results, style)

    return inside


# Okabe and Ito's palette, by what a curve stands for; the same thing has the same colour in every figure.
TUNED = "#0072B2"
PREDICTED = "#D55E00"
AUTO = "#D55E00"
AUTO_SUBSET = "#CC79A7"
AUTO_OWN = "#009E73"
FIXED = "#0072B2"
SCALED = "#009E73"
SINGLE = "#0072B2"
PAPER = "#7f7f7f"
GUIDE = "#404040"
ZERO = "#000000"
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")

ZERO_LINE: Mapping[str, Any] = {"color": ZERO, "linestyle": (0, (4, 2))}
BEST_LINE: Mapping[str, Any] = {"color": GUIDE, "linestyle": "-.", "linewidth": 0.8}
GUIDE_LINE: Mapping[str, Any] = {"color": GUIDE, "linestyle": ":"}

L2_RANGE = (3e-5, 0.03)
"""λ at the two ends of its colour scale; it saturates beyond, where few sweeps have theirs."""


def l2_color(l2: float) -> str:
    """Return the colour of λ, the same in every figure; λ=0 is black."""
    return ZERO if l2 == 0 else mpl.colors.to_hex(_L2_MAP(float(_L2_NORM(l2))))


def eta_colors(etas: Iterable[float]) -> dict[float, str]:
    """Return a colour for each learning rate of a sweep, light for small and dark for large ones."""
    return _ranked(_ETA_MAP, etas)


def budget_colors(budgets: Iterable[float]) -> dict[float, str]:
    """Return a colour for each training budget of a sweep, light for short and dark for long ones."""
    return _ranked(_BUDGET_MAP, budgets)


def save(drawing: Drawing, folder: Path, name: str, style: Style) -> list[Path]:
    """Write ``name.png``, ``name.svg`` and ``data/name.csv`` below ``folder``, the same bytes every time.

    The caption is embedded as ``Description`` in the PNG and in the SVG.

    Returns:
        The three paths.

    Raises:
        OSError: a file cannot be written.
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)
    png, svg, csv = folder / f"{name}.png", folder / f"{name}.svg", folder / "data" / f"{name}.csv"
    described = {"Title": name, "Description": drawing.caption}
    with style.context():
        # Figure.savefig draws everything twice, and the layout is as expensive as drawing: here it is made once.
        FigureCanvasAgg(drawing.figure).print_png(png, metadata={**described, "Software": None})
        drawing.figure.set_layout_engine("none")
        FigureCanvasSVG(drawing.figure).print_svg(svg, metadata={**described, "Date": None, "Creator": None})
    # matplotlib leaves blanks at line ends of an SVG, which git complains of.
    svg.write_text(
        "\n".join(line.rstrip() for line in svg.read_text(encoding="utf-8").splitlines()) + "\n", "utf-8"
    )
    drawing.data.to_csv(csv, index=False, float_format="%.10g", lineterminator="\n")
    return [png, svg, csv]


def _defaults() -> dict[str, Any]:
    return {key: value for key, value in mpl.rcParamsDefault.items() if key not in _KEPT}


def _part(name: str, low: float, high: float) -> ListedColormap:
    """The part of a colour map between two fractions; the ends that vanish on white are left out."""
    return ListedColormap(mpl.colormaps[name](np.linspace(low, high, 256)))


def _ranked(colors: Colormap, values: Iterable[float]) -> dict[float, str]:
    ordered = sorted({float(v) for v in values})
    shades = np.linspace(0.0, 1.0, len(ordered)) if len(ordered) > 1 else np.array([0.6])
    return {v: mpl.colors.to_hex(colors(float(s))) for v, s in zip(ordered, shades, strict=True)}


_KEPT = {key for key in mpl.rcParamsDefault if key.startswith("backend")} | {
    "interactive",
    "toolbar",
    "timezone",
}
_L2_MAP, _L2_NORM = _part("viridis", 0.0, 0.95), LogNorm(*L2_RANGE, clip=True)
_ETA_MAP = _part("YlOrBr", 0.4, 1.0)
_BUDGET_MAP = _part("PuBu", 0.35, 1.0)
