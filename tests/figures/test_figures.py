import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.axes import Axes
from PIL import Image
from places import ROOT
from scipy import stats

from l2dynamics.experiments import registry
from l2dynamics.figures import canvas, captions, gallery, panels, style
from l2dynamics.figures.drawing import Drawing
from l2dynamics.results import tables

NAMES = [name for name in gallery.NAMES if name not in ("fig5", "figX5")]
T_STAR, MAX, TEST = "epochs to max test accuracy", "max test accuracy", "test accuracy"
FORMAT = [("λ", T_STAR, "log", "log"), ("λ", MAX, "log", "linear"), ("λ", MAX, "log", "linear")]
CURVES = [
    ("epochs", metric, "log", scale)
    for metric, scale in (
        ("training loss", "log"),
        ("training accuracy", "linear"),
        ("test loss", "log"),
        ("test accuracy", "linear"),
    )
    for _ in range(3)
]
AUTO = [("epochs", TEST, "linear", "linear"), ("epochs", "training loss", "linear", "log")]
PANELS = {
    "fig1": [
        ("λ", TEST, "log", "linear"),
        ("epochs", TEST, "log", "linear"),
        ("epochs", TEST, "linear", "linear"),
    ],
    "fig2": FORMAT * 2,
    "fig3": FORMAT * 2,
    "fig4": [("t · λ (epochs)", TEST, "linear", "linear"), ("epochs", "λ", "log", "log")],
    "figS1": [("η", "steps to training accuracy 1", "log", "log")] * 2,
    "figS2": FORMAT,
    "figS3": [("λ", MAX, "log", "linear")],
    "figS4": [
        ("epochs", TEST, "log", "linear"),
        ("epochs", "λ", "log", "log"),
        ("λ", MAX, "log", "linear"),
    ],
    "figS5": [
        ("η", TEST, "log", "linear"),
        ("η", MAX, "log", "linear"),
        ("epochs", "training MSE loss", "log", "log"),
        ("epochs", TEST, "log", "linear"),
    ],
    "figS6": CURVES,
    "figS7": FORMAT,
    "figS8": [("λ", "η", "linear", "linear"), ("λ", "T (epochs)", "linear", "linear")],
    "figS9": AUTO,
    "figS10": AUTO,
    "figS11": [("epochs", TEST, "log", "linear")] * 3,
    "figS12": [("λ", TEST, "log", "linear"), ("epochs", TEST, "log", "linear")],
    "figX1": [
        ("ηT (steps)", "optimal λ", "log", "log"),
        ("λ", MAX, "log", "linear"),
        ("λ", T_STAR, "log", "log"),
    ],
    "figX2": [("epochs", TEST, "linear", "linear")] * 4 + [("epochs", "λ", "linear", "log")] * 4,
    "figX3": [
        ("ηλ", "steps to max test accuracy", "log", "log"),
        ("ηλ", MAX, "log", "linear"),
        *[("steps times ηλ", "angular update / √(2ηλ)", "log", "log")] * 2,
    ],
    "figX4": [("λ", MAX, "log", "linear"), ("λ", "steps to max test accuracy", "log", "log")] * 2,
}


@pytest.fixture(scope="module")
def everything():
    return synthetic.everything()


@pytest.fixture(scope="module")
def drawings(everything):
    return {name: gallery.draw(name, everything, style.STYLES["paper"]) for name in NAMES}


def panel_axes(drawing: Drawing) -> list[Axes]:
    return [axes for axes in drawing.figure.axes if axes.get_title(loc="left")]


def curve(drawing: Drawing, panel: str, name: str) -> pd.DataFrame:
    some = drawing.data[(drawing.data["panel"] == panel) & (drawing.data["curve"] == name)]
    assert len(some), f"no curve {name!r} in panel {panel}"
    return some


def y_at(drawing: Drawing, panel: str, name: str, x: float) -> float:
    some = curve(drawing, panel, name)
    return float(some.loc[np.isclose(some["x"], x), "y"].iloc[0])


def star(run: pd.DataFrame) -> float:
    """t* in epochs, written out: first within 0.005 of the maximum, of the running median over three evaluations."""
    raw = run["test_accuracy"].to_numpy()
    accuracy = np.array([raw[0], *(np.median(raw[k : k + 3]) for k in range(len(raw) - 2)), raw[-1]])
    return float(run["epoch"].to_numpy()[np.flatnonzero(accuracy >= accuracy.max() - 0.005 - 1e-9)[0]])


def of(table: pd.DataFrame, **where: object) -> list[pd.DataFrame]:
    """The runs with these values, one frame each."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table)
    return [run for _, run in table.groupby("run")]


def best_within(runs: list[pd.DataFrame], epochs: float) -> float:
    return float(np.mean([run.loc[run["epoch"] <= epochs + 1e-9, "test_accuracy"].max() for run in runs]))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_the_panels_of_the_paper(drawings, name):
    found = [
        (a.get_xlabel(), a.get_ylabel(), a.get_xscale(), a.get_yscale()) for a in panel_axes(drawings[name])
    ]
    assert found == PANELS[name]


def test_all_panels_of_the_paper_are_there(drawings):
    # 56 in the paper; Figure 5 has three, S11's one panel is drawn in three parts, S12 has the curves besides.
    assert (
        sum(len(panel_axes(d)) for name, d in drawings.items() if not registry.ours(name)) - 2 + 3 - 1 == 56
    )


@pytest.mark.parametrize("name", NAMES)
def test_captions_say_scale_data_model_and_n(drawings, everything, name):
    caption = drawings[name].caption
    assert caption.startswith(f"Figure {name.removeprefix('fig')}. ")
    first = everything[gallery.module(name).RESULTS[-1]]
    n = f"n = {first.table['seed'].nunique()} per point"
    for word in ("scale laptop", "512 training and 2,000 test images", n, "width 256"):
        assert word in caption
    setups = [everything[r].passport["setup"] for r in gallery.module(name).RESULTS if r != "measure_c"]
    for kind in {setup["model"]["kind"] for setup in setups}:
        assert {"fc": "FC (", "cnn": "CNN (", "wrn": "WRN (", "resnet": "ResNet ("}[kind] in caption
    assert ".." not in caption
    assert "nan" not in caption


@pytest.mark.parametrize("name", NAMES)
def test_the_table_holds_exactly_what_is_drawn(drawings, name):
    drawing = drawings[name]
    assert list(drawing.data.columns) == ["panel", "curve", "x", "y", "low", "high", "n", "flag"]
    every = [a for axes in drawing.figure.axes for a in (axes, *axes.child_axes)]
    if name == "figS8":
        cells = np.concatenate([a.images[0].get_array().ravel() for a in panel_axes(drawing)])
        np.testing.assert_array_equal(np.sort(cells), np.sort(drawing.data["y"]))
        return
    drawn = [(line.get_xdata(), line.get_ydata()) for axes in every for line in axes.lines]
    for (_, _), some in drawing.data.dropna(subset=["x", "y"]).groupby(["panel", "curve"]):
        assert any(
            len(x) == len(some) and np.array_equal(x, some["x"]) and np.array_equal(y, some["y"])
            for x, y in drawn
        )
    inside = drawing.data.dropna(subset=["low", "y", "high"])
    slack = 1e-12 * inside["y"].abs()
    assert ((inside["low"] <= inside["y"] + slack) & (inside["y"] <= inside["high"] + slack)).all()


def first(run: pd.DataFrame, column: str) -> float:
    """A column when the training accuracy reaches 1."""
    return float(run.loc[run["train_accuracy"] == 1.0, column].iloc[0])


AT_END, BEST = (lambda run: run["test_accuracy"].iloc[-1]), (lambda run: run["test_accuracy"].max())
POINTS = [
    # figure, panel, curve, x, results, which runs, what is averaged over them
    ("fig1", "a", "fixed T", 5e-3, "wrn_schedule", {"group": "fixed", "l2": 5e-3}, AT_END),
    ("fig1", "a", "T = a/lambda", 5e-3, "wrn_schedule", {"group": "scaled", "l2": 5e-3}, AT_END),
    ("fig1", "c", "AutoL2", None, "autol2_wrn", {"group": "auto_minibatch"}, AT_END),
    ("fig1", "c", "AutoL2 (subset)", None, "autol2_wrn", {"group": "auto_subset"}, AT_END),
    ("fig2", "a", "eta=0.15", 1e-3, "fc", {"group": "grid", "eta": 0.15, "l2": 1e-3}, star),
    ("fig2", "b", "eta=0.15", 1e-3, "fc", {"group": "grid", "eta": 0.15, "l2": 1e-3}, BEST),
    ("fig2", "a", "eta=1.5", 0.01, "fc", {"group": "grid", "eta": 1.5, "l2": 0.01}, star),
    ("fig2", "b", "eta=1.5", 0.01, "fc", {"group": "grid", "eta": 1.5, "l2": 0.01}, BEST),
    ("fig2", "d", "eta=0.2", 2e-3, "wrn", {"group": "grid", "eta": 0.2, "l2": 2e-3}, star),
    ("fig2", "e", "eta=0.2", 2e-3, "wrn", {"group": "grid", "eta": 0.2, "l2": 2e-3}, BEST),
    ("fig3", "a", "eta=0.01", 0.05, "cnn", {"group": "grid", "eta": 0.01, "l2": 0.05}, star),
    ("fig3", "b", "eta=0.01", 0.05, "cnn", {"group": "grid", "eta": 0.01, "l2": 0.05}, BEST),
    ("fig3", "d", "eta=0.01", 1e-3, "cnn_bn", {"group": "grid", "eta": 0.01, "l2": 1e-3}, star),
    ("fig3", "e", "eta=0.01", 1e-3, "cnn_bn", {"group": "grid", "eta": 0.01, "l2": 1e-3}, BEST),
    ("figS1", "a", "lambda=0.01", 0.5, "fc", {"eta": 0.5, "l2": 0.01}, lambda run: first(run, "step")),
    (
        "figS1",
        "b",
        "lambda=0.001",
        0.2,
        "wrn",
        {"eta": 0.2, "l2": 1e-3},
        lambda run: 20 * first(run, "epoch"),
    ),
    ("figS2", "a", "eta=0.2", 0.01, "wrn_aug", {"group": "grid", "eta": 0.2, "l2": 0.01}, star),
    ("figS2", "b", "eta=0.2", 0.01, "wrn_aug", {"group": "grid", "eta": 0.2, "l2": 0.01}, BEST),
    (
        "figS5",
        "a",
        "lambda=0.001",
        0.5,
        "fc_mse",
        {"eta": 0.5, "l2": 1e-3},
        lambda run: first(run, "test_accuracy"),
    ),
    ("figS5", "b", "lambda=0.001", 0.5, "fc_mse", {"eta": 0.5, "l2": 1e-3}, BEST),
    ("figS7", "a", "eta=0.1", 0.03, "fc_small", {"group": "grid", "eta": 0.1, "l2": 0.03}, star),
    ("figS7", "b", "eta=0.1", 0.03, "fc_small", {"group": "grid", "eta": 0.1, "l2": 0.03}, BEST),
    ("figS8", "a", "eta=0.2", 4e-4, "resnet", {"group": "grid", "eta": 0.2, "l2": 4e-4}, BEST),
    ("figS8", "b", "budget=50", 1e-5, "resnet", {"group": "budget", "budget": 50.0, "l2": 1e-5}, BEST),
    ("figS9", "a", "AutoL2", None, "autol2_wrn", {"group": "auto_minibatch"}, AT_END),
    ("figS9", "a", "AutoL2 (subset)", None, "autol2_wrn", {"group": "auto_subset"}, AT_END),
    ("figS10", "a", "AutoL2", None, "autol2_wrn_schedule", {"group": "auto_minibatch"}, AT_END),
    ("figS10", "a", "AutoL2 (subset)", None, "autol2_wrn_schedule", {"group": "auto_subset"}, AT_END),
    ("figS11", "CNN BN", "AutoL2", None, "autol2_cnn_bn", {"group": "auto_minibatch"}, AT_END),
    ("figS11", "CNN BN", "AutoL2 (subset)", None, "autol2_cnn_bn", {"group": "auto_subset"}, AT_END),
    ("figS12", "a", "sigma_w=2", 1e-3, "wrn_sigma", {"sigma_w": 2.0, "l2": 1e-3}, AT_END),
]
"""Drawn points and the runs they average; x None is the last point of a curve."""


@pytest.mark.parametrize(("name", "panel", "label", "x", "sweep", "where", "measure"), POINTS)
def test_points_are_means_over_the_runs_of_the_table(
    drawings, everything, name, panel, label, x, sweep, where, measure
):
    some = curve(drawings[name], panel, label)
    point = some.iloc[-1] if x is None else some[np.isclose(some["x"], x)].iloc[0]
    found = of(everything[sweep].table, **where)
    values = [measure(run) for run in found]
    if measure is star:  # of the mean curve, as the claims take it
        mean = found[0].assign(test_accuracy=np.mean([run["test_accuracy"] for run in found], axis=0))
        values = [star(mean)] * len(found)
    assert point["y"] == pytest.approx(np.mean(values))
    if name not in ("figS5", "figS8"):
        assert point["low"] <= point["y"] <= point["high"]
        assert point["n"] == len(values)


def test_lambda_zero_line_is_the_best_over_learning_rates(drawings, everything):
    table = everything["fc"].table
    best = max(
        np.mean([run["test_accuracy"].max() for run in of(table, l2=0.0, eta=eta)])
        for eta in (0.15, 0.5, 1.5)
    )
    assert curve(drawings["fig2"], "b", "lambda=0")["y"].tolist() == pytest.approx([best])
    line = next(line for line in panel_axes(drawings["fig2"])[1].lines if line.get_ydata()[0] == best)
    assert (line.get_color(), line.get_linestyle()) == (style.ZERO, "--")


def test_budget_panel_counts_only_the_budget(drawings, everything):
    # The middle λ > 0 at η = 0.15 is 5e-3, trained for 2/(0.15 · 5e-3) epochs.
    budget = 2.0 / (0.15 * 5e-3)
    for l2 in (1e-4, 5e-3, 0.05):
        expected = best_within(of(everything["fc"].table, eta=0.15, l2=l2), budget)
        assert y_at(drawings["fig2"], "c", "eta=0.15", l2) == pytest.approx(expected)
    zero = best_within(of(everything["fc"].table, eta=0.15, l2=0.0), budget)
    assert curve(drawings["fig2"], "c", "lambda=0")["y"].iloc[0] == pytest.approx(zero)
    assert "η = 0.15, T = 2667 epochs" in drawings["fig2"].caption


def test_guide_line_has_slope_minus_one(drawings):
    for name, panel in (("fig2", "a"), ("fig3", "d"), ("figS1", "a"), ("figS7", "a")):
        guide = curve(drawings[name], panel, "guide 1/x")
        np.testing.assert_allclose(guide["x"] * guide["y"], guide["x"].iloc[0] * guide["y"].iloc[0])


def test_inset_shows_the_same_times_against_the_product(drawings):
    whole = curve(drawings["fig2"], "a", "eta=0.5")
    inset = curve(drawings["fig2"], "a", "against eta*lambda, eta=0.5")
    np.testing.assert_allclose(inset["x"], 0.5 * whole["x"])
    np.testing.assert_array_equal(inset["y"], whole["y"])


def test_figure_1a_names_the_two_lengths(drawings):
    labels = [text.get_text() for text in panel_axes(drawings["fig1"])[0].get_legend().get_texts()]
    assert labels == ["T = 20 epochs", "T = 0.02/λ"]


@pytest.mark.parametrize(
    ("name", "accuracy", "value", "landscape", "group", "factor"),
    [
        ("fig1", "b", None, None, "predicted", 1),
        ("fig4", None, "b", None, "predicted", 1),
        ("figS3", None, None, "a", "predicted", 1),
        ("figS4", "a", "b", "c", "predicted_double", 2),
    ],
)
def test_predicted_against_tuned(drawings, everything, name, accuracy, value, landscape, group, factor):
    table, drawing = everything["wrn_aug"].table, drawings[name]
    l2s = sorted(set(table.loc[table["group"] == "grid", "l2"]) - {0.0})
    for budget in (5.0, 20.0):
        found = {l2: best_within(of(table, group="grid", l2=l2), budget) for l2 in l2s}
        best = max(found, key=found.get)
        error = np.sqrt(found[best] * (1 - found[best]) / 2000)
        near = [l2 for l2 in l2s if found[l2] >= found[best] - 0.5 * error]
        if accuracy:
            assert y_at(drawing, accuracy, "tuned", budget) == pytest.approx(found[best])
            own = best_within(of(table, group=group, budget=budget), budget)
            assert y_at(drawing, accuracy, "predicted", budget) == pytest.approx(own)
        if value:
            point = curve(drawing, value, "tuned").query("x == @budget").iloc[0]
            assert (point["y"], point["low"], point["high"]) == (best, min(near), max(near))
            assert y_at(drawing, value, "predicted", budget) == pytest.approx(factor * 0.01 / budget)
        if landscape:
            assert y_at(drawing, landscape, f"T={budget:g}", 2e-3) == pytest.approx(found[2e-3])
            mark = curve(drawing, landscape, f"predicted T={budget:g}")
            assert mark["x"].iloc[0] == pytest.approx(factor * 0.01 / budget)


def test_best_lambda_at_the_end_of_the_grid_is_an_open_square(everything):
    table = everything["wrn_aug"].table
    table = table[(table["group"] != "grid") | (table["l2"] >= 5e-4)]
    odd = {**everything, "wrn_aug": synthetic.results("wrn_aug", table)}
    longest = curve(gallery.draw("fig4", odd, style.STYLES["paper"]), "b", "tuned").iloc[-1]
    assert (longest["y"], longest["flag"]) == (5e-4, "edge")


def test_figure_4a_measures_c_beside_the_papers(drawings, everything):
    drawing = drawings["fig4"]
    table = everything["measure_c"].table
    runs = of(table, setup="wrn", l2=0.02)
    some = curve(drawing, "a", "lambda=0.02")
    np.testing.assert_allclose(some["x"], runs[0]["epoch"] * 0.02)
    np.testing.assert_allclose(some["y"], np.mean([run["test_accuracy"] for run in runs], axis=0))
    assert curve(drawing, "a", "c")["x"].tolist() == [0.01]
    assert curve(drawing, "a", "c of the paper")["x"].tolist() == [0.0066]


def test_figure_s1_has_a_hole_where_a_run_is_too_short_to_interpolate(drawings):
    assert curve(drawings["figS1"], "b", "lambda=0.05")["y"].isna().all()


def test_figure_s5_compares_on_one_axis_and_shows_the_loss_rise(drawings):
    first, second, *_ = panel_axes(drawings["figS5"])
    assert first.get_ylim() == second.get_ylim()
    loss = curve(drawings["figS5"], "c", "lambda=0.01").reset_index()
    assert 0 < loss["y"].idxmin() < len(loss) - 1


def test_figure_s6_shows_the_training_curves(drawings, everything):
    letters = iter("abcdefghijkl")
    for metric in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        for sweep, eta in (("fc", 0.15), ("wrn", 0.2), ("cnn", 0.01)):
            runs = of(everything[sweep].table, eta=eta, l2=0.01)
            some = curve(drawings["figS6"], next(letters), "lambda=0.01")
            np.testing.assert_array_equal(some["x"], runs[0]["epoch"].iloc[1:])
            np.testing.assert_allclose(some["y"], np.mean([run[metric].iloc[1:] for run in runs], axis=0))


def test_figure_s12_draws_runs_of_a_fixed_length_apart(everything):
    own = everything["wrn_sigma"]
    table = own.table[own.table["l2"] == own.table["l2"].min()]
    cut = table[table["epoch"] <= 20]
    last = float(cut["epoch"].max())
    brief = cut.assign(run=cut["run"] + "-short", group="fixed", budget=last)
    both = synthetic.results("wrn_sigma", pd.concat([own.table, brief], ignore_index=True))
    drawing = gallery.draw("figS12", {**everything, "wrn_sigma": both}, style.STYLES["paper"])
    expected = cut[(cut["epoch"] == last) & (cut["sigma_w"] == 2.0)]["test_accuracy"].mean()
    (point,) = curve(drawing, "a", "sigma_w=2, fixed T").itertuples()
    assert (point.x, point.y) == (table["l2"].min(), pytest.approx(expected))
    assert f"open: for T = {canvas.number(last)} epochs" in drawing.caption


def test_figure_s7_marks_the_best_lambda(drawings):
    for panel in "ab":
        assert curve(drawings["figS7"], panel, "best lambda")["x"].tolist() == [3e-3]


def test_autol2_from_a_smaller_start_has_a_curve_of_its_own(everything):
    table = everything["autol2_fc"].table
    late = table[(table["group"] == "auto_minibatch") & (table["l2"] < 0.1)]
    late = late.assign(run=late["run"] + "-late", test_accuracy=0.5)
    odd = {**everything, "autol2_fc": synthetic.results("autol2_fc", pd.concat([table, late]))}
    drawing = gallery.draw("figS11", odd, style.STYLES["paper"])
    assert (curve(drawing, "FC", "AutoL2, λ₀ = 0.01")["y"] == 0.5).all()
    expected = np.mean([run["test_accuracy"].iloc[-1] for run in of(table, group="auto_minibatch")])
    assert curve(drawing, "FC", "AutoL2")["y"].iloc[-1] == pytest.approx(expected)
    assert "; dotted: AutoL2 from a smaller λ₀" in drawing.caption


def test_autol2_schedule_is_drawn_per_seed(drawings, everything):
    run = of(everything["autol2_wrn"].table, group="auto_minibatch", seed=1)[0]
    some = curve(drawings["figS9"], "b", "lambda of AutoL2, seed 1")
    np.testing.assert_array_equal(some["x"], run["epoch"])
    np.testing.assert_array_equal(some["y"], run["l2"])


def test_figure_s12_has_a_curve_per_sigma(drawings):
    data = drawings["figS12"].data
    assert data.groupby("panel")["curve"].nunique().to_dict() == {"a": 3, "b": 3}


def test_legends_name_smallest_middle_and_largest(drawings):
    legend = panel_axes(drawings["figS6"])[0].get_legend()
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["λ = 10⁻⁴", "λ = 0.005", "λ = 0.05", "λ = 0"]


def test_a_colour_means_the_same_lambda_in_every_figure(drawings):
    for name in ("figS1", "figS5", "figS6", "figS9", "figS10"):
        data = drawings[name].data
        some = data[(data["curve"] == "lambda=0.001") & data["y"].notna()]
        panel, x = some["panel"].iloc[0], some.loc[some["panel"] == some["panel"].iloc[0], "x"]
        axes = next(a for a in panel_axes(drawings[name]) if a.get_title(loc="left").startswith(f"({panel})"))
        y = some.loc[some["panel"] == panel, "y"]
        alike = [
            line for line in axes.lines if len(line.get_ydata()) == len(x) and (line.get_ydata() == y).all()
        ]
        assert style.l2_color(0.001) in {line.get_color() for line in alike}


def test_lambda_colours_are_distinct_ordered_and_fixed():
    l2s = np.geomspace(*style.L2_RANGE, 6)
    rgb = np.array([[int(style.l2_color(v)[i : i + 2], 16) for i in (1, 3, 5)] for v in l2s])
    # A sequential scale stays readable without colour vision because its luminance is monotonic.
    assert (np.diff(rgb @ [0.2126, 0.7152, 0.0722]) > 10).all()
    assert style.l2_color(0.0) == "#000000"
    assert style.l2_color(1e-9) == style.l2_color(style.L2_RANGE[0])


# --- damaged, short and odd results ---------------------------------------------------------------------


def crippled(results: dict[str, tables.Results], how: str) -> dict[str, tables.Results]:
    """All results with holes and one seed, with diverged runs, or without any run that learned."""
    measured = list(tables.METRICS)

    def change(table: pd.DataFrame) -> pd.DataFrame:
        runs = table["run"].drop_duplicates()
        if how == "one seed, holes, no zero":
            return table[(table["seed"] == 0) & (table["l2"] > 0) & ~table["run"].isin(runs.iloc[3::7])]
        table = table.copy()
        if how == "diverged early, late, or not":
            table.loc[table["run"].isin(runs.iloc[::3]) & (table["step"] > 5), measured] = np.nan
            table.loc[table["run"].isin(runs.iloc[1::5]), measured] = np.nan
            table.loc[table["run"].isin(runs.iloc[:3]), measured] = np.nan
            return table[(table["seed"] < 1) | (table["l2"] > 1e-3)]
        table[["test_accuracy", "train_accuracy"]] = 0.1
        return table[table["seed"] == 1]

    return {name: tables.Results(name, change(r.table), r.passport) for name, r in results.items()}


@pytest.mark.parametrize("how", ["one seed, holes, no zero", "diverged early, late, or not", "never learned"])
def test_odd_tables_draw_without_warnings(everything, how):
    odd = crippled(everything, how)
    for name in NAMES:
        drawing = gallery.draw(name, odd, style.STYLES["paper"])
        if name in {"fig2", "fig4", "figS8", "figS9"}:
            drawing.figure.draw_without_rendering()
        assert len(panel_axes(drawing)) == len(PANELS[name])


def test_runs_that_never_learned_are_shown_at_chance_without_t_star(everything):
    sweep = everything["fc"].table.copy()
    failed = (sweep["eta"] == 0.5) & (sweep["l2"] == 0.05)
    sweep.loc[failed, "test_accuracy"] = 0.1
    odd = {**everything, "fc": synthetic.results("fc", sweep)}
    drawing = gallery.draw("fig2", odd, style.STYLES["paper"])
    hole = curve(drawing, "a", "eta=0.5").query("x == 0.05").iloc[0]
    assert np.isnan(hole["y"])
    assert (hole["n"], hole["flag"]) == (0, "failed")
    shown = curve(drawing, "b", "eta=0.5").query("x == 0.05").iloc[0]
    assert (shown["y"], shown["flag"]) == (pytest.approx(0.1), "failed")
    assert any(line.get_marker() == "x" and 0.05 in line.get_xdata() for line in panel_axes(drawing)[1].lines)
    assert f"{sweep.loc[failed, 'run'].nunique()} never learned" in drawing.caption


def test_runs_that_had_not_peaked_are_open_triangles(everything):
    sweep = everything["fc"].table
    unpeaked = (sweep["eta"] == 0.5) & (sweep["l2"] == 1e-3) & (sweep["epoch"] * 0.5 * 1e-3 > 0.6)
    odd = {**everything, "fc": synthetic.results("fc", sweep[~unpeaked])}
    drawing = gallery.draw("fig2", odd, style.STYLES["paper"])
    assert curve(drawing, "a", "eta=0.5").query("x == 0.001")["flag"].tolist() == ["bound"]
    triangles = [line for line in panel_axes(drawing)[0].lines if line.get_marker() == "^"]
    assert [line.get_xdata().tolist() for line in triangles] == [[1e-3]]
    assert triangles[0].get_markerfacecolor() == "white"
    assert f"{sweep['seed'].nunique()} with λ > 0 had not peaked" in drawing.caption


def test_missing_groups_are_named(everything):
    table = everything["wrn_aug"].table
    odd = {**everything, "wrn_aug": synthetic.results("wrn_aug", table[table["group"] == "grid"])}
    with pytest.raises(
        ValueError, match=r"results/laptop/wrn_aug\.csv has no runs of group 'predicted_double'"
    ):
        gallery.draw("figS4", odd, style.STYLES["paper"])


@pytest.mark.parametrize(
    ("low", "said"), [(0.2, ["Lower values lie below the axis of (a)."]), (0.802, []), (0.85, [])]
)
def test_an_axis_that_is_cut_is_said_in_the_caption(low, said):
    drawn = canvas.Canvas.grid(style.STYLES["paper"], 1, 2)
    for panel in "ab":
        drawn.curve(
            panel,
            "one",
            pd.DataFrame({"x": [1, 2], "y": [low, 0.9]}).assign(low=0, high=0, flag=""),
            color="C0",
        )
    drawn.focus("a", 0.1)
    assert captions.marks(drawn.flags, drawn.cut) == said
    assert (drawn.axes["a"].get_ylim()[0] > low) == bool(said)


def test_points_reduce_seeds_and_keep_holes():
    rows = pd.DataFrame(
        {
            "x": [1.0, 1.0, 2.0, 3.0, 3.0],
            "y": [0.2, 0.4, np.nan, 0.5, np.nan],
            "learned": [True, True, False, True, True],
            "bound": [False, False, True, True, True],
        }
    )
    found = canvas.points(rows, "x", "y")
    np.testing.assert_allclose(found["y"], [0.3, np.nan, 0.5])
    low, _ = stats.t.interval(0.9, 1, loc=0.3, scale=stats.sem([0.2, 0.4]))
    np.testing.assert_allclose(found["low"], [low, np.nan, 0.5])
    known = canvas.points(rows.assign(y_low=0.1, y_high=0.6), "x", "y")
    np.testing.assert_allclose(known[["low", "high"]], [[0.1, 0.6], [np.nan] * 2, [0.1, 0.6]])
    assert found["n"].tolist() == [2, 0, 1]
    assert found["flag"].tolist() == ["", "failed", "bound"]
    assert canvas.points(rows.iloc[:0], "x", "y").empty


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.15, "0.15"),
        (0.0066, "0.0066"),
        (1e-3, "0.001"),
        (1e-5, "10⁻⁵"),
        (1.5625e-5, "1.56×10⁻⁵"),
        (2666.7, "2667"),
        (2e4, "2×10⁴"),
        (999.9, "1000"),
    ],
)
def test_numbers_in_labels(value, text):
    assert canvas.number(value) == text


def test_extremes_are_smallest_middle_largest():
    assert canvas.extremes([5, 1, 3, 2, 4, 4]) == [1, 3, 5]
    assert canvas.extremes([2, 1]) == [1, 2]
    assert canvas.extremes([]) == []


def test_captions_follow_the_passport(everything):
    results = everything["wrn"]
    passport = {
        **results.passport,
        "scale": "smoke",
        "diverged": 2,
        "setup": {
            "model": {"kind": "wrn", "depth": 10, "widen": 2},
            "batch": 128,
            "momentum": 0.9,
            "augment": True,
            "schedule": {"factor": 0.2, "at": [0.3]},
        },
    }
    said = captions.describe(tables.Results("wrn", results.table, passport))
    for part in (
        "WRN (depth 10, widen 2) on CIFAR-10",
        "SGD with momentum 0.9, batch 128, augmentation, learning-rate schedule",
        "scale smoke",
        f"{passport['runs']} runs, 2 of them diverged",
    ):
        assert part in said


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fig2", "figS8", "figS9"])
def test_files_are_the_same_to_the_last_byte(everything, tmp_path, name):
    written = []
    for folder in ("one", "two"):
        drawing = gallery.draw(name, everything, style.STYLES["paper"])
        files = style.save(drawing, tmp_path / folder, name, style.STYLES["paper"])
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    png, svg, csv = files
    assert (png.name, svg.name, csv.name) == (f"{name}.png", f"{name}.svg", f"{name}.csv")
    with Image.open(png) as image:
        assert image.info["Description"] == drawing.caption
    assert "scale laptop" in svg.read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(
        pd.read_csv(csv, keep_default_na=False, na_values={"x": "", "y": ""})[["x", "y"]].astype(float),
        drawing.data[["x", "y"]].astype(float),
        rtol=1e-9,
    )


def test_slides_are_larger(everything):
    small, large = (gallery.draw("figS3", everything, style.STYLES[s]).figure for s in ("paper", "slides"))
    assert large.get_size_inches()[0] > small.get_size_inches()[0]
    assert large.axes[0].xaxis.label.get_size() > 1.5 * small.axes[0].xaxis.label.get_size()


def test_unknown_figure_and_style_are_refused():
    with pytest.raises(ValueError, match=r"no figure 'fig6': choose one of fig1, .*figS12"):
        gallery.module("fig6")
    with pytest.raises(
        ValueError, match=r"figures\.style: 'poster' is not a style, choose one of paper, slides"
    ):
        style.get_style("poster")


PARAMS = "scale: laptop\ndata: {source: sample}\n"


def run_stage(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    probe = (
        "import os, runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, os.path.dirname(sys.argv[0])); "
        "code = 0\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: code = stop.code\n"
        "print(sorted({'jax', 'mlflow', 'flax', 'dvc'} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", probe, str(ROOT / "stages" / "figure.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "L2DYNAMICS_ROOT": str(root), **environment},
    )


def test_stage_draws_from_files_whatever_the_users_settings(everything, tmp_path):
    root = tmp_path / "checkout"
    for name in ("wrn_aug", "measure_c"):
        tables.write(everything[name], root)
    (root / "params.yaml").write_text(PARAMS + "figures: {style: paper}\n")
    done = run_stage(root, "fig4")
    assert done.returncode == 0, done.stderr
    assert "[]" in done.stderr
    png, svg = (root / "reports" / "laptop" / "figures" / f"fig4.{end}" for end in ("png", "svg"))
    first = png.read_bytes(), svg.read_bytes()
    assert (root / "reports" / "laptop" / "figures" / "data" / "fig4.csv").is_file()
    settings = tmp_path / "matplotlibrc"
    settings.write_text("lines.linewidth: 9\naxes.facecolor: red\nfont.size: 30\nsavefig.bbox: tight\n")
    done = run_stage(root, "fig4", MATPLOTLIBRC=str(settings), PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    assert (png.read_bytes(), svg.read_bytes()) == first


@pytest.mark.parametrize(
    ("arguments", "params", "message"),
    [
        (["fig6"], PARAMS, "error: usage: python"),
        ([], PARAMS, "error: usage: python"),
        (["fig4"], PARAMS + "figures: {style: poster}", "error: params.yaml: figures.style: "),
        (["fig4"], PARAMS + "figures: 3", "error: params.yaml: figures: "),
        (["fig4"], "- a list", "/params.yaml: must be a mapping of sections"),
        (["fig4"], PARAMS, "error: results/laptop/measure_c.json is missing: run `dvc repro measure_c`"),
    ],
)
def test_stage_says_in_one_line_what_is_wrong(tmp_path, arguments, params, message):
    (tmp_path / "params.yaml").write_text(params)
    done = run_stage(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


@pytest.mark.parametrize("log", ["", "x", "xy"])
def test_mean_curves_are_those_of_a_group_by(log: str) -> None:
    rows = synthetic.grid((0.1,), (0.01,), (0, 1, 2), horizon=2.0, points=12)
    rows.loc[rows.index[[3, 4, 20]], "train_loss"] = [np.nan, 0.0, -1.0]
    rows.loc[(rows["seed"] == 2) & (rows["step"] > 5), "train_loss"] = np.nan
    rows.loc[rows["step"] == rows["step"].max(), "train_loss"] = np.nan
    found = panels.mean_curve(rows, "train_loss", log=log).set_index("x")
    kept = rows[rows["epoch"] > 0] if "x" in log else rows
    wanted = kept.assign(train_loss=kept["train_loss"].where((kept["train_loss"] > 0) | ("y" not in log)))
    each = wanted.groupby("epoch")["train_loss"].agg(["mean", "sem", "count"])
    assert list(found.index) == list(each.index)
    half = (each["sem"] * stats.t.ppf(0.95, np.maximum(each["count"] - 1, 1))).fillna(0.0)
    low, high = each["mean"] - half, each["mean"] + half
    if "y" in log:
        low = low.where(low > 0, each["mean"])
    for ours, theirs in (("y", each["mean"]), ("low", low), ("high", high), ("n", each["count"])):
        np.testing.assert_allclose(found[ours].to_numpy(), theirs.to_numpy(), rtol=1e-12)
