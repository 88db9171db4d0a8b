"""Panels that remember every curve drawn in them, so that a figure and the table behind it cannot differ."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from l2dynamics.analysis import bands
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import GUIDE_LINE, ZERO_LINE, Style

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

POINT_COLUMNS = ("x", "y", "low", "high", "n", "flag")


def each(rows: pd.DataFrame, column: str) -> Iterator[tuple[float, pd.DataFrame]]:
    """Yield every value of a numeric column, ascending, with its rows."""
    for value, some in rows.groupby(column, sort=True):
        yield float(cast(float, value)), some


def points(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Reduce runs to one point per value of ``x``: mean over the seeds and its 90 % interval.

    Args:
        rows: one row per run; columns ``x``, ``y``, optionally the ends of the interval, ``{y}_low`` and ``{y}_high``
            (without them it is that of the scatter over seeds), and the booleans ``learned``, ``bound``.
        x: name of the abscissa.
        y: name of the ordinate; NaN entries are left out.

    Returns:
        Columns ``x, y, low, high, n, flag``, sorted by x. A point without any value stays, as NaN with
        ``n`` 0, so that the curve has a hole there. ``flag`` is ``failed`` where most seeds never learned,
        ``bound`` where the runs' t* is only bounded from below, else empty.
    """
    if rows.empty:
        return pd.DataFrame({c: pd.Series(dtype=object if c == "flag" else float) for c in POINT_COLUMNS})
    found = []
    for at, runs in each(rows, x):
        values = runs[y].to_numpy(float)
        valid = np.isfinite(values)
        used = values[valid]
        spread = interval(runs[valid], y) if used.size else (np.nan,) * 3
        flag = ""
        if "learned" in runs and runs["learned"].mean() < 0.5:
            flag = "failed"
        elif "bound" in runs and runs["bound"][valid].any():
            flag = "bound"
        found.append((at, *spread, int(used.size), flag))
    return pd.DataFrame(found, columns=list(POINT_COLUMNS))


def interval(runs: pd.DataFrame, y: str) -> tuple[float, float, float]:
    """Mean over the runs of one point and the ends of its interval; both the mean if that is not known."""
    values = runs[y].to_numpy(float)
    mean = float(values.mean())
    if f"{y}_low" in runs:
        low, high = (float(runs[f"{y}_{end}"].iloc[0]) for end in ("low", "high"))
    else:
        half = bands.half_width(values)
        low, high = mean - half, mean + half
    return (mean, low, high) if np.isfinite(low) and np.isfinite(high) else (mean, mean, mean)


def number(value: float, *, digits: int = 3) -> str:
    """Return a number as text for labels, with so many digits at most: 0.05, 200, 5×10⁻⁴."""
    if value == 0:
        return "0"
    exponent = int(np.floor(np.log10(abs(value)) + 1e-12))
    if -4 < exponent < 4:
        return f"{value:.{digits}g}" if abs(value) < 999.5 else f"{value:.0f}"
    factor = f"{value / 10.0**exponent:.{digits}g}"
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return power if factor == "1" else f"{factor}×{power}"


def extremes(values: Iterable[float], *, most: int = 3) -> list[float]:
    """Return the smallest, the middle and the largest value (the paper's legends), or all up to ``most``."""
    ordered = sorted({float(v) for v in values})
    if len(ordered) <= most:
        return ordered
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


def tick(axes: Axes) -> None:
    """Label the logarithmic axes: at powers of ten, and between them where only one or none is in sight.

    An inset, which is no subplot, has room for half as many.
    """
    most = 6 if axes.get_subplotspec() else 3
    for axis, scale, limits in (
        (axes.xaxis, axes.get_xscale(), axes.get_xlim()),
        (axes.yaxis, axes.get_yscale(), axes.get_ylim()),
    ):
        if scale != "log":
            continue
        low, high = np.log10(limits)
        many = np.floor(high) - np.ceil(low) >= 1
        between: tuple[float, ...] = (1.0, 3.0) if high - low > 1.1 else (1.0, 2.0, 5.0)
        if high - low < 0.5:
            between = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        axis.set_major_locator(LogLocator(10.0, subs=(1.0,) if many else between, numticks=most))
        # Text instead of mathtext, which takes longer than the rest of a figure.
        axis.set_major_formatter(
            FuncFormatter((lambda v, _: _power(v)) if many else (lambda v, _: number(v, digits=4)))
        )
        axis.set_minor_locator(LogLocator(10.0, subs=range(2, 10)) if high - low < 2 else NullLocator())
        axis.set_minor_formatter(NullFormatter())


def _power(value: float) -> str:
    return f"10{str(round(np.log10(value))).translate(_SUPERSCRIPT)}"


@dataclass
class Canvas:
    """Panels of one figure and the curves drawn in them.

    Attributes:
        style: sizes.
        figure: the matplotlib figure.
        axes: panel letter → axes.
        records: the curves drawn so far.
        cut: letters of the panels whose y axis leaves points out below, see :meth:`focus`.
    """

    style: Style
    figure: Figure
    axes: dict[str, Axes]
    records: list[pd.DataFrame] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)

    @classmethod
    def grid(
        cls, style: Style, rows: int, columns: int, *, letters: Sequence[str] = "", **subplots: Any
    ) -> "Canvas":
        """Make a canvas of ``rows`` × ``columns`` panels, by default lettered a, b, … along the rows."""
        figure = Figure(figsize=(columns * style.panel[0], rows * style.panel[1]), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, **subplots)
        names = letters or "abcdefghijklmnopqrstuvwxyz"[: rows * columns]
        return cls(style, figure, dict(zip(names, grid.ravel(), strict=True)))

    def setup(
        self, panel: str, title: str, xlabel: str, ylabel: str, *, log: str = "", lettered: bool = True
    ) -> Axes:
        """Label a panel and set its scales; ``log`` holds the names of the logarithmic axes, e.g. ``xy``."""
        axes = self.axes[panel]
        axes.set_title(f"({panel}) {title}".strip() if lettered else title)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set(**{f"{name}scale": "log" for name in log})
        return axes

    def curve(
        self, panel: str, name: str, data: pd.DataFrame, *, color: str, axes: Axes | None = None, **line: Any
    ) -> None:
        """Draw points joined by a line, with bars from ``low`` to ``high``; see :func:`points` for ``data``.

        Open upward triangles are t* that is bounded from below, crosses are runs that never learned. A
        ``markerfacecolor`` is that of the other points.
        """
        axes = axes or self.axes[panel]
        self.record(panel, name, data)
        plain = {"marker": line.pop("marker", "o"), "markerfacecolor": line.pop("markerfacecolor", color)}
        axes.plot(data["x"], data["y"], color=color, **{"linestyle": "-", "zorder": 2.5, **line})
        finite = data[np.isfinite(data["y"])]
        wide = finite[finite["high"] > finite["low"]]
        # One line with gaps: unlike bars that are a collection, the legend keeps clear of it.
        ends = wide.assign(gap=np.nan)[["low", "high", "gap"]].to_numpy(float).ravel()
        axes.plot(
            np.repeat(wide["x"].to_numpy(float), 3),
            ends,
            color=color,
            linestyle="-",
            linewidth=0.8 * self.style.line,
            zorder=2.4,
        )
        looks: dict[str, dict[str, Any]] = {
            "": plain,
            "bound": {"marker": "^", "markerfacecolor": "white"},
            "edge": {"marker": "s", "markerfacecolor": "white"},
            "failed": {"marker": "x"},
        }
        for flag, look in looks.items():
            some = finite[finite["flag"] == flag]
            if len(some):
                axes.plot(some["x"], some["y"], color=color, linestyle="none", zorder=2.6, **look)

    def band(
        self, panel: str, name: str, data: pd.DataFrame, *, color: str, axes: Axes | None = None, **line: Any
    ) -> None:
        """Draw a line without markers with a band from ``low`` to ``high``."""
        axes = axes or self.axes[panel]
        self.record(panel, name, data)
        axes.plot(data["x"], data["y"], color=color, **line)
        if (data["high"] > data["low"]).any():
            axes.fill_between(data["x"], data["low"], data["high"], color=color, alpha=0.2, linewidth=0)

    def focus(self, panel: str, span: float) -> None:
        """Cut the y axis ``span`` below the highest point if anything lies further down, and remember it."""
        own = [data["y"] for data in self.records if (data["panel"] == panel).any()]
        drawn = [float(y) for values in own for y in values if np.isfinite(y)]
        if drawn and min(drawn) < (bottom := max(drawn) - span):
            self.axes[panel].set_ylim(bottom=bottom)
            self.cut.add(panel)

    def level(self, panel: str, name: str, y: float, **line: Any) -> None:
        """Draw a horizontal reference line, dashed black unless told otherwise; NaN draws nothing."""
        if np.isfinite(y):
            self.record(panel, name, pd.DataFrame({"y": [y]}))
            self.axes[panel].axhline(y, zorder=2.2, **{**ZERO_LINE, **line})

    def mark(self, panel: str, name: str, x: float, **line: Any) -> None:
        """Draw a vertical reference line; NaN draws nothing."""
        if np.isfinite(x):
            self.record(panel, name, pd.DataFrame({"x": [x]}))
            self.axes[panel].axvline(x, zorder=2.2, **line)

    def guide(
        self,
        panel: str,
        data: pd.DataFrame,
        *,
        factor: float = 2.0,
        name: str = "guide 1/x",
        axes: Axes | None = None,
    ) -> bool:
        """Draw the guide line y ∝ 1/x, ``factor`` times above most of the highest points; False without points.

        Points that only bound t* from below do not place it unless there are no others.
        """
        positive = data[(data["x"] > 0) & (data["y"] > 0)]
        sure = positive[positive["flag"] == ""]
        highest = (sure if len(sure) else positive).groupby("x")["y"].max()
        if highest.empty:
            return False
        x = np.array([highest.index.min(), highest.index.max()])
        constant = factor * float(np.quantile(highest.index * highest, 0.75))
        axes = axes or self.axes[panel]
        self.record(panel, name, pd.DataFrame({"x": x, "y": constant / x}))
        axes.plot(x, constant / x, **GUIDE_LINE)
        return True

    def legend(self, panel: str, entries: Sequence[tuple[str, dict[str, Any]]], **options: Any) -> None:
        """Put a legend of lines into a panel: pairs of label and line properties."""
        if entries:
            handles = [Line2D([], [], label=label, **look) for label, look in entries]
            self.axes[panel].legend(handles=handles, **options)

    def legend_above(self, panel: str, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Put a legend of two columns into a panel, above all curves."""
        axes = self.axes[panel]
        transform = axes.yaxis.get_transform()
        low, high = transform.transform(axes.get_ylim())
        top = high + 0.17 * math.ceil(len(entries) / 2) * (high - low)
        ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
        axes.set_ylim(*transform.inverted().transform([low, top]))
        if axes.get_yscale() == "linear":  # no accuracies above 1 beside the legend
            axes.set_yticks(ticks)
        narrow = {"columnspacing": 0.6, "handlelength": 1.1, "handletextpad": 0.4, "borderaxespad": 0.1}
        self.legend(panel, entries, loc="upper right", ncols=2, **narrow)

    def shared_legend(self, entries: Sequence[tuple[str, dict[str, Any]]], *, columns: int) -> None:
        """Put one legend for all panels below them, where it hides no curve."""
        handles = [Line2D([], [], label=label, **look) for label, look in entries]
        self.figure.legend(handles=handles, loc="outside lower center", ncols=columns)

    def empty(self, panel: str, reason: str) -> None:
        """Say in the panel why nothing is drawn in it."""
        # Matplotlib's own wrapping is at the edge of the figure, not of the panel.
        lines = textwrap.fill(reason, 30)
        self.axes[panel].text(0.5, 0.5, lines, transform=self.axes[panel].transAxes, ha="center", va="center")

    def record(self, panel: str, curve: str, data: pd.DataFrame) -> None:
        """Remember a curve for the table behind the figure."""
        self.records.append(data.reindex(columns=list(POINT_COLUMNS)).assign(panel=panel, curve=curve))

    @property
    def flags(self) -> frozenset[str]:
        """The marks that were drawn: ``bound``, ``edge`` and ``failed``, see :func:`points`."""
        return frozenset(flag for data in self.records for flag in data["flag"].dropna() if flag)

    def drawing(self, caption: str) -> Drawing:
        """Return the finished figure."""
        for axes in self.figure.axes:
            tick(axes)
            for inset in axes.child_axes:
                tick(cast(Axes, inset))
        columns = ["panel", "curve", *POINT_COLUMNS]
        drawn = [r.astype({"flag": object}) for r in self.records if len(r)]
        table = pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame(columns=columns)
        return Drawing(self.figure, caption, table[columns])
