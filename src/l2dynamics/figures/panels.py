"""Panels that several figures share: one quantity of a sweep against λ, η or time, with the paper's axes."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from l2dynamics.analysis import bands, selection, thresholds
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.resampling import Statistic
from l2dynamics.figures.canvas import POINT_COLUMNS, Canvas, each, extremes, number, points
from l2dynamics.figures.style import BEST_LINE, GUIDE_LINE, SINGLE, ZERO_LINE, eta_colors, l2_color
from l2dynamics.results.tables import Results

T_STAR = "epochs to max test accuracy"
MAX_ACCURACY = "max test accuracy"
TEST_ACCURACY = "test accuracy"
EPOCHS = "epochs"
L2 = "λ"
ETA = "η"

SPAN = 0.25
"""Height of the panels of maximum accuracy: what hardly learns lies below."""

#: Left, bottom, width and height of the inset, as fractions of its panel.
INSET = (0.02, 0.09, 0.36, 0.34)

METRIC_LABELS = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "test_loss": "test loss",
    "test_accuracy": TEST_ACCURACY,
}


def epochs_to_max(
    canvas: Canvas,
    panel: str,
    summary: pd.DataFrame,
    title: str,
    *,
    collapse: bool = False,
    zero: bool = False,
    best: float | None = None,
    etas: bool = True,
) -> None:
    """Draw t* against λ, one curve per η, with the guide line 1/λ.

    Args:
        canvas: the figure.
        panel: letter of the panel.
        summary: one row per run, see :func:`l2dynamics.analysis.selection.runs`.
        title: of the panel.
        collapse: add an inset with t* against ηλ, where with vanilla SGD all curves fall on one line.
        zero: add t* of λ = 0 as a horizontal line.
        best: mark this λ.
        etas: name η in the legend.
    """
    axes = canvas.setup(panel, title, L2, T_STAR, log="xy")
    positive = summary[summary["l2"] > 0]
    drawn = _curves_per_eta(canvas, panel, positive, lambda rows: star_points(rows, "l2"))
    entries = _eta_entries(positive) if etas else []
    if canvas.guide(panel, drawn):
        entries.append(("∝ 1/λ", dict(GUIDE_LINE)))
    if zero:
        canvas.level(panel, "lambda=0", float(summary.loc[summary["l2"] == 0, "t_star_mean"].mean()))
        entries.append(("λ = 0", dict(ZERO_LINE)))
    learned = bool(drawn["y"].notna().any())
    if learned:
        entries += _mark_best(canvas, panel, best)
    else:  # a mark alone would leave the axis without a width
        canvas.empty(panel, "no run has learned")
    canvas.legend(panel, entries, loc="upper right")
    inset = collapse and learned
    if inset:
        _collapse(canvas, panel, positive)
    _make_room(axes, drawn, entries=len(entries), inset=inset)


def max_accuracy(
    canvas: Canvas,
    panel: str,
    summary: pd.DataFrame,
    title: str,
    *,
    best: float | None = None,
    etas: bool = False,
) -> None:
    """Draw the maximum test accuracy against λ per η, and the best λ = 0 run among all η as a line.

    Args:
        canvas: the figure.
        panel: letter of the panel.
        summary: see :func:`epochs_to_max`.
        title: of the panel.
        best: mark this λ.
        etas: name η in the legend.
    """
    canvas.setup(panel, title, L2, MAX_ACCURACY, log="x")
    positive = summary[summary["l2"] > 0]
    _curves_per_eta(canvas, panel, positive, lambda rows: points(rows, "l2", "max_test_accuracy"))
    zero = summary[summary["l2"] == 0].groupby("eta")["max_test_accuracy"].mean()
    canvas.level(panel, "lambda=0", float(zero.max()))
    entries = _eta_entries(positive) if etas else []
    if zero.notna().any():
        entries.append(("λ = 0", dict(ZERO_LINE)))
    canvas.focus(panel, SPAN)
    canvas.legend(panel, [*entries, *_mark_best(canvas, panel, best)], loc="best")


def budget_accuracy(
    canvas: Canvas, panel: str, results: Results, summary: pd.DataFrame, title: str, *, eta: float
) -> float:
    """Draw the maximum test accuracy within a fixed budget against λ at one η; return the budget.

    λ = 0 is a line.
    """
    rows = selection.rows(results)
    rows = rows[rows["eta"] == eta]
    budget = selection.fixed_budget(results, rows)
    canvas.setup(panel, f"{title}, η = {number(eta)}", L2, MAX_ACCURACY, log="x")
    within = selection.within(results, rows, budget)
    learned = summary.set_index("run")["learned"]
    within = within.assign(learned=within["run"].map(learned).to_numpy(bool))
    color = _color(summary, eta)
    canvas.curve(panel, f"eta={eta:g}", points(within[within["l2"] > 0], "l2", "accuracy"), color=color)
    entries = [(f"T = {number(budget)}", {"color": color, "marker": "o"})]
    zero = within.loc[within["l2"] == 0, "accuracy"]
    if zero.notna().any():
        canvas.level(panel, "lambda=0", float(zero.mean()))
        entries.append(("λ = 0", dict(ZERO_LINE)))
    canvas.focus(panel, SPAN)
    canvas.legend(panel, entries, loc="best")
    return budget


def against_eta(canvas: Canvas, panel: str, summary: pd.DataFrame, column: str) -> pd.DataFrame:
    """Draw a column of the summary against η, one curve per λ (λ = 0 dashed black); return all points."""
    found = []
    for l2, rows in each(summary, "l2"):
        some = points(rows, "eta", column)
        look = {"linestyle": ZERO_LINE["linestyle"], "zorder": 2.7} if l2 == 0 else {}
        canvas.curve(panel, f"lambda={l2:g}", some, color=l2_color(l2), **look)
        found.append(some)
    return pd.concat(found, ignore_index=True)


def training_curves(
    canvas: Canvas,
    panel: str,
    rows: pd.DataFrame,
    metric: str,
    title: str,
    *,
    images: int = 0,
    log: str = "x",
) -> None:
    """Draw a metric against epochs, one curve per λ: mean over seeds and its 90 % interval, see :func:`mean_curve`.

    Args:
        canvas: the figure.
        panel: letter of the panel.
        rows: long table of one η and constant λ.
        metric: column of the table.
        title: of the panel.
        images: test images.
        log: logarithmic axes.
    """
    canvas.setup(panel, title, EPOCHS, METRIC_LABELS[metric], log=log)
    for l2, some in each(rows, "l2"):
        look = {**ZERO_LINE, "zorder": 2.7} if l2 == 0 else {}
        color = look.pop("color", l2_color(l2))
        canvas.band(panel, f"lambda={l2:g}", mean_curve(some, metric, images, log=log), color=color, **look)


def mean_curve(rows: pd.DataFrame, metric: str, images: int = 0, *, log: str = "") -> pd.DataFrame:
    """Return a training curve averaged over seeds: columns ``x`` (epoch), ``y, low, high, n``.

    The interval of the test accuracy is that of the resampling of seeds and test images, that of any other metric is
    of the scatter over seeds. Evaluations that a logarithmic axis cannot show (epoch 0, values ≤ 0) are left out.

    Args:
        rows: evaluations of runs that differ in their seed.
        metric: column of the table.
        images: test images; 0 for an interval over seeds alone.
        log: logarithmic axes.
    """
    shown = rows[rows["epoch"] > 0] if "x" in log else rows
    # Plain numpy: Figure S6 has dozens of these curves, and the group-by of pandas is slow.
    _, first, at = np.unique(shown["step"].to_numpy(), return_index=True, return_inverse=True)
    values = shown[metric].to_numpy(float)
    valid = values > 0 if "y" in log else ~np.isnan(values)
    at, values = at[valid], values[valid]
    n = np.bincount(at, minlength=len(first))
    mean = np.where(n > 0, np.bincount(at, values, len(first)) / np.maximum(n, 1), np.nan)
    steps = shown["step"].to_numpy()[first]
    half = _half_widths(shown, steps, n, at, values - mean[at], images if metric == "test_accuracy" else 0)
    low, high = mean - half, mean + half
    if metric.endswith("accuracy"):
        low, high = np.maximum(low, 0.0), np.minimum(high, 1.0)
    if "y" in log:  # a band that a logarithmic axis cannot show ends at the line
        low = np.where(low > 0, low, mean)
    return pd.DataFrame(
        {"x": shown["epoch"].to_numpy()[first], "y": mean, "low": low, "high": high, "n": n, "flag": ""}
    )


def _half_widths(
    rows: pd.DataFrame, steps: np.ndarray, n: np.ndarray, at: np.ndarray, off: np.ndarray, images: int
) -> np.ndarray:
    """Half of the interval at each of some steps; 0 where it is not known."""
    if images:
        with suppress(Lacking):
            return bands.accuracy_curve(rows, images).reindex(steps).fillna(0.0).to_numpy()
    df = np.maximum(n - 1, 1)
    scatter = np.sqrt(np.bincount(at, off**2, len(n)) / df / np.maximum(n, 1))
    return np.where(n > 1, bands.quantile(df.astype(float)) * scatter, 0.0)


def l2_entries(
    l2s: Iterable[float], *, marker: str = "", most: int = 3
) -> list[tuple[str, dict[str, object]]]:
    """Return legend entries for λ: smallest, middle and largest positive value, and λ = 0 where present."""
    values = {float(v) for v in l2s}
    entries: list[tuple[str, dict[str, object]]] = [
        (f"λ = {number(v)}", {"color": l2_color(v), "marker": marker})
        for v in extremes((v for v in values if v > 0), most=most)
    ]
    return entries + ([("λ = 0", dict(ZERO_LINE))] if 0.0 in values else [])


def counts(*summaries: pd.DataFrame, peaks: bool = True) -> str:
    """Return a sentence on runs that never learned, fell back, diverged or had not peaked; empty if there are none."""
    every = pd.concat(summaries, ignore_index=True)
    positive = every[every["l2"] > 0]
    found = {
        "never learned": int((~every["learned"] & ~every["diverged"]).sum()),
        "learned and fell back to chance": int((every["collapsed"] & ~every["diverged"]).sum()),
        "diverged": int(every["diverged"].sum()),
        "with λ > 0 had not peaked at 80 % of their length": peaks
        * int((~positive["peaked"] & positive["learned"]).sum()),
    }
    said = [f"{count} {what}" for what, count in found.items() if count]
    return f"Of the {len(every)} runs drawn {', '.join(said)}." if said else ""


def points_of(runs: Mapping[float, Curves], statistic: Callable[[Curves], Statistic]) -> pd.DataFrame:
    """One point for the runs at every x, with its interval; see :func:`l2dynamics.figures.canvas.points`."""
    rows = [(x, *bands.interval(one, statistic), len(one.seeds), "") for x, one in sorted(runs.items())]
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS))


def stars_of(runs: Mapping[float, Curves]) -> pd.DataFrame:
    """The same of t* of the mean curve; in the second half of the run it only bounds t* from below."""
    rows = []
    for x, one in sorted(runs.items()):
        found = bands.interval(one, bands.log_star, log=True)
        late = found[0] > thresholds.FIT_WITHIN * one.steps[-1]
        rows.append((x, *found, len(one.seeds), "bound" if late else ""))
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS))


def star_points(rows: pd.DataFrame, x: str) -> pd.DataFrame:
    """Points of t* of the mean curve over the seeds, with its interval."""
    return points(rows, x, "t_star_mean")


def _curves_per_eta(
    canvas: Canvas, panel: str, summary: pd.DataFrame, place: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    found = [place(summary.iloc[:0])]
    for eta, rows in each(summary, "eta"):
        found.append(place(rows))
        canvas.curve(panel, f"eta={eta:g}", found[-1], color=_color(summary, eta))
    return pd.concat([f for f in found if len(f)] or found, ignore_index=True)


def _collapse(canvas: Canvas, panel: str, summary: pd.DataFrame) -> None:
    inset = canvas.axes[panel].inset_axes(INSET)
    inset.set(xscale="log", yscale="log")
    small = 0.65 * canvas.style.font
    inset.yaxis.tick_right()
    inset.tick_params(length=1.5, which="both", labelsize=small, pad=1)
    inset.text(0.95, 0.82, "against ηλ", fontsize=small, ha="right", transform=inset.transAxes)
    found = []
    product = summary.assign(product=summary["eta"] * summary["l2"])
    for eta, rows in each(product, "eta"):
        some = star_points(rows, "product")
        found.append(some)
        canvas.record(panel, f"against eta*lambda, eta={eta:g}", some)
        inset.plot(some["x"], some["y"], color=_color(summary, eta), linewidth=0.7 * canvas.style.line)
    name = "against eta*lambda, guide 1/x"
    canvas.guide(panel, pd.concat(found, ignore_index=True), name=name, axes=inset)


def _eta_entries(summary: pd.DataFrame) -> list[tuple[str, dict[str, object]]]:
    return [
        (f"η = {number(eta)}", {"color": _color(summary, eta), "marker": "o"})
        for eta in extremes(summary["eta"])
    ]


def _color(summary: pd.DataFrame, eta: float) -> str:
    etas = summary["eta"].unique()
    return eta_colors(etas)[eta] if len(etas) > 1 else SINGLE


def _mark_best(canvas: Canvas, panel: str, best: float | None) -> list[tuple[str, dict[str, object]]]:
    if best is None:
        return []
    canvas.mark(panel, "best lambda", best, **BEST_LINE)
    return [("best λ", dict(BEST_LINE))]


def _make_room(axes: Axes, drawn: pd.DataFrame, *, entries: int, inset: bool) -> None:
    """Widen the logarithmic y axis, so that the legend (top right) and the inset (bottom left) hide no curve."""
    low, high = np.log10(axes.get_ylim())
    start, stop = np.log10(axes.get_xlim())
    shown = drawn.dropna(subset=["y"])
    along = (np.log10(shown["x"]) - start) / (stop - start)
    tops, bottoms = np.log10(shown["high"]), np.log10(shown["low"])
    right, left = tops[along > 0.5], bottoms[along < INSET[0] + INSET[2] + 0.05]
    below, above = INSET[1] + INSET[3] + 0.05, 0.95 - 0.11 * entries
    # Each widening moves the other end's limit a little; the second round settles it.
    for _ in range(2):
        if len(right):
            high = max(high, low + (right.max() - low) / above)
        if inset and len(left):
            low = min(low, (left.min() - below * high) / (1 - below))
    axes.set_ylim(10**low, 10**high)
