"""Which runs are looked at, and that a claim looks at those that its figure shows."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from l2dynamics import claims, figures
from l2dynamics.analysis import selection
from l2dynamics.claims import times
from l2dynamics.figures import style
from l2dynamics.figures.canvas import number
from l2dynamics.results import tables

ROOT = Path(__file__).parents[2]
# Where the figures show a sweep: figure, panel of t*, of the maximum accuracy and of the fixed budget.
SWEEPS = {
    "fc": ("fig2", "abc"),
    "wrn": ("fig2", "def"),
    "cnn": ("fig3", "abc"),
    "cnn_bn": ("fig3", "def"),
    "wrn_aug": ("figS2", "abc"),
}
ADAPTIVE = {"10-wrn": "fig1", "10-fc": "figS11", "10-cnn": "figS11", "10-cnn_bn": "figS11", "11": "figS10"}
PANELS = {"10-wrn": "c", "10-fc": "FC", "10-cnn": "CNN No BN", "10-cnn_bn": "CNN BN"}


# ------------------------------------------------------------------------------------------ the choice itself


def summary(**columns):
    """Runs that learned and peaked at 10 of 100 epochs, except for what the columns say."""
    count = max(len(values) for values in columns.values())
    plain = {
        "eta": 1.0,
        "l2": 0.1,
        "seed": 0,
        "budget": 100.0,
        "t_star": 10.0,
        "t_star_step": 20.0,
        "t_before": 8.0,
        "max_test_accuracy": 0.5,
        "diverged": False,
        "learned": True,
        "peaked": True,
    }
    return pd.DataFrame({"run": [f"r{i}" for i in range(count)], **plain, **columns})


def test_nearest_is_on_a_logarithmic_scale():
    assert selection.nearest([0.01, 0.1, 1.0], 0.05) == 0.1
    assert selection.nearest([0.05, 0.5], 0.15) == 0.05


@pytest.mark.parametrize(
    ("name", "eta"),
    [("fc", 0.2), ("fc_small", 0.1), ("wrn", 0.2), ("resnet", 0.1), ("mine", 0.2)],
)
def test_the_headline_eta_is_the_nearest_to_the_papers_that_is_well_covered(name, eta):
    table = summary(
        eta=[0.05, 0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.4], l2=[0.0, 0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.3]
    )
    assert selection.headline_eta(name, table) == eta
    assert set(selection.at_headline_eta(name, table)["eta"]) == {eta}


def test_a_learning_rate_with_few_runs_is_no_headline():
    table = summary(eta=[0.1, 0.2, 0.2, 0.4, 0.4, 0.4], l2=[0.1, 0.0, 0.1, 0.1, 0.15, 0.2])
    assert selection.headline_eta("fc_small", table) == 0.4
    assert selection.headline_eta("fc_small", table.iloc[:2]) == 0.1
    assert selection.headline_eta("wrn", table[table["l2"] == 0]) == 0.2


def test_the_fixed_budget_is_that_of_the_middle_coefficient_or_of_the_middle_prediction():
    table = summary(l2=[0.0, 0.1, 0.1, 0.01, 0.001], budget=[9000.0, 10.0, 20.0, 100.0, 1000.0])
    results = tables.Results("fc", table.assign(group="grid"), {})
    assert selection.fixed_budget(results, table) == 100.0
    given = [pd.DataFrame({"group": "predicted", "budget": [5.0, 50.0, 500.0]}), results.table]
    assert selection.fixed_budget(tables.Results("wrn_aug", pd.concat(given), {}), table) == 50.0


def test_filters_keep_what_they_say():
    table = summary(
        l2=[0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1],
        learned=[True, True, False, True, True, True, True],
        peaked=[True, True, True, False, True, True, True],
        t_star=[50.0, 10.0, 10.0, 90.0, 51.0, 10.0, 10.0],
        t_star_step=[50.0, 20.0, 20.0, 90.0, 51.0, 9.0, 20.0],
        t_before=[8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 0.0],
    )
    assert list(selection.trained(table).index) == [0, 3, 4, 5, 6]
    assert list(selection.peaked(table).index) == [0, 4, 5, 6]
    assert list(selection.timed(table).index) == [0]


def test_a_run_that_diverged_has_not_learned_and_has_no_time():
    frames = [
        synthetic.run_rows(eta=1.0, l2=0.1, seed=seed, budget=100, diverge_at=stop)
        for seed, stop in ((0, None), (1, 50))
    ]
    found = selection.runs(synthetic.results("fc", pd.concat(frames, ignore_index=True)))
    assert found["learned"].tolist() == [True, False]
    assert found["t_star"].isna().tolist() == [False, True]
    assert found["max_test_accuracy"].notna().all()


@pytest.mark.parametrize(("best", "reached"), [(0.1, True), (0.2, True), (0.19, False), (np.nan, False)])
def test_near_chance_is_less_than_twice_a_guess(best, reached):
    results = tables.Results("fc", pd.DataFrame(), {"classes": 20 if best == 0.1 else 10})
    assert selection.near_chance(results, best) is not reached


def test_the_best_coefficient_is_positive_and_of_runs_that_did_not_diverge():
    table = summary(
        l2=[0.0, 0.1, 0.1, 0.01, 0.01, 0.001],
        max_test_accuracy=[0.9, 0.5, 0.6, 0.5, 0.58, 0.8],
        diverged=[False] * 5 + [True],
    )
    assert selection.best_l2(table) == 0.1
    assert selection.best_l2(table[table["diverged"]]) == 0.001
    assert selection.highest(pd.Series({0.1: 0.5, 0.2: np.nan, 0.3: 0.7, 0.4: 0.7})) == 0.3


def test_adaptive_runs_are_told_apart_by_their_first_coefficient():
    results = synthetic.autol2("autol2_fc", wins=True, seeds=(0, 1))
    auto = results.table[results.table["group"] == "auto_minibatch"]
    later = auto[auto["epoch"] > 5].assign(run=auto["run"] + "-late")
    results = synthetic.results("autol2_fc", pd.concat([results.table, later], ignore_index=True))
    assert {l2: rows["run"].nunique() for l2, rows in selection.starts(results, "minibatch").items()} == {
        0.01: 2,
        0.1: 2,
    }
    assert set(selection.adaptive(results, "minibatch")["run"]) == set(auto["run"])
    none = synthetic.results("autol2_fc", results.table[results.table["group"] == "constant"])
    assert selection.starts(none, "minibatch") == {}
    assert selection.adaptive(none, "minibatch").empty


# ------------------------------------------------------------------------------------------ claim and figure


class Shown:
    """Claims and figures of the same results."""

    def __init__(self, results):
        self.results = results
        self.claims = claims.evaluate(results)
        names = {"fig4", "figS1", "figS4", "figS5", "figS7", "figS8", "figS12", *ADAPTIVE.values()}
        names |= {figure for figure, _ in SWEEPS.values()}
        self.drawings = {name: figures.draw(name, results, style.STYLES["paper"]) for name in names}

    def panel(self, figure, panel):
        data = self.drawings[figure].data
        found = data[data["panel"] == panel]
        assert len(found), (figure, panel)
        return found

    def curve(self, figure, panel, name):
        """y of one curve by x."""
        data = self.panel(figure, panel)
        return data[data["curve"] == name].set_index("x")["y"]

    def by_eta(self, figure, panel):
        data = self.panel(figure, panel)
        return {
            float(name.removeprefix("eta=")): some
            for name, some in data.groupby("curve")
            if name.startswith("eta=")
        }

    def measured(self, id):
        """The number of a claim; skips where it is not judged at the scale of the results."""
        value = self.claims[id]["measured"]
        if value is None:
            pytest.skip(f"{id}: {self.claims[id]['claim']}")
        return value


@pytest.fixture(scope="module", params=["committed", "synthetic"])
def shown(request):
    if request.param == "synthetic":
        return Shown(synthetic.everything())
    return Shown({name: tables.load(name, ROOT) for name in tables.names(ROOT)})


def said(text, pattern):
    """The number that a text says, e.g. after ``η = ``."""
    found = re.search(pattern.replace("#", r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)"), text)
    assert found, (pattern, text)
    return float(found[1])


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_best_coefficient_of_a_budget_is_that_of_the_curve(shown, sweep):
    figure, (*_, panel) = SWEEPS[sweep]
    claim = shown.claims[f"04-{sweep}"]
    ((eta, curve),) = shown.by_eta(figure, panel).items()
    assert said(claim["claim"], "η = #") == eta
    budget = number(said(claim["claim"], "T = #"))
    assert f"({panel}) η = {number(eta)}, T = {budget} epochs" in shown.drawings[figure].caption
    values = curve.dropna(subset=["y"]).set_index("x")["y"].sort_index()
    zero = shown.curve(figure, panel, "lambda=0")
    ends = [zero.iloc[0] if len(zero) else values.iloc[0], values.iloc[-1]]
    assert shown.measured(f"04-{sweep}") == pytest.approx(max(values.max(), *ends) - max(ends))


def test_with_a_schedule_too(shown):
    values = shown.curve("fig1", "a", "fixed T").dropna().sort_index()
    zero = shown.curve("fig1", "a", "lambda=0")
    ends = [zero.iloc[0] if len(zero) else values.iloc[0], values.iloc[-1]]
    assert shown.measured("04-wrn_schedule") == pytest.approx(max(values.max(), *ends) - max(ends))
    text = shown.claims["09"]["claim"]
    assert said(text, "tuned #") == pytest.approx(float(values.idxmax()), rel=5e-3)
    assert said(text, "final accuracy #") == pytest.approx(values.max(), abs=5e-5)
    assert f"fixed T = {number(said(text, 'T = #'))} epochs" in shown.drawings["fig1"].caption


@pytest.mark.parametrize("sweep", SWEEPS)
def test_times_that_enter_a_fit_are_drawn(shown, sweep):
    figure, (panel, *_) = SWEEPS[sweep]
    drawn = shown.by_eta(figure, panel)
    fitted = selection.timed(selection.runs(shown.results[sweep]))
    for run in fitted.itertuples():
        (point,) = drawn[run.eta][drawn[run.eta]["x"] == run.l2].itertuples()
        assert point.low <= run.t_star <= point.high
    assert shown.claims[f"01-{sweep}"]["n"] == (
        len(fitted) if fitted.groupby("eta")["l2"].nunique().max() >= 2 else 0
    )


@pytest.mark.parametrize("sweep", ["fc", "cnn", "cnn_bn", "wrn"])
def test_the_plateau_is_that_of_the_curves(shown, sweep):
    figure, (_, panel, _) = SWEEPS[sweep]
    points = pd.concat(shown.by_eta(figure, panel).values())
    if set(points["flag"]) != {""} or points["n"].nunique() > 1:
        pytest.skip("the claim pairs seeds and keeps those that peaked: the means of points do not show that")
    curves = shown.by_eta(figure, panel).values()
    below = [some.loc[some["x"].idxmin(), "y"] - some["y"].max() for some in curves]
    assert shown.measured(f"03-{sweep}") == pytest.approx(np.mean(below), abs=1e-12)


def test_predicted_and_tuned_coefficients_are_those_of_figure_4(shown):
    predicted, tuned = (shown.curve("fig4", "b", name) for name in ("predicted", "tuned"))
    factors = np.exp(np.abs(np.log(predicted / tuned)))
    assert shown.measured("07") == pytest.approx(factors.max())
    flags = shown.panel("fig4", "b").set_index(["curve", "x"]).loc["tuned", "flag"]
    for budget, factor in factors.items():
        claim = shown.claims[f"07-T{budget:.6g}"]
        assert claim["measured"] == pytest.approx(factor)
        assert not (flags[budget] == "edge" and claim["ok"]), budget


def test_what_prediction_costs_is_the_gap_in_figures_1_and_s4(shown):
    gaps = shown.curve("fig1", "b", "tuned") - shown.curve("fig1", "b", "predicted")
    assert shown.measured("08") == pytest.approx(gaps.max())
    for budget, gap in gaps.items():
        assert shown.claims[f"08-T{budget:.6g}"]["measured"] == pytest.approx(gap)
    doubled = shown.curve("figS4", "a", "predicted") - shown.curve("fig1", "b", "predicted")
    assert shown.measured("c3") == pytest.approx(doubled.mean())


@pytest.mark.parametrize("setup", ["fc", "cnn"])
def test_prediction_elsewhere_is_at_the_eta_of_the_figure(shown, setup):
    figure, (*_, panel) = SWEEPS[setup]
    assert said(shown.claims[f"c4-{setup}"]["claim"], "η = #") == next(iter(shown.by_eta(figure, panel)))


@pytest.mark.parametrize("id", ADAPTIVE)
def test_adaptive_and_tuned_accuracies_are_those_of_the_caption(shown, id):
    caption = shown.drawings[ADAPTIVE[id]].caption
    if ADAPTIVE[id] == "figS11":
        caption = caption[caption.index(f" {PANELS[id]}: best") :]
    own, tuned = said(caption, "max accuracy #"), said(caption, "max accuracy [^ ]+ against #")
    assert shown.measured(id) == pytest.approx(own - tuned, abs=1.01e-4)
    best = said(shown.claims[id]["claim"], "tuned λ = #")
    if id in PANELS:
        names = set(shown.panel(ADAPTIVE[id], PANELS[id])["curve"])
        assert f"constant lambda={best:g}" in names
    for other in (f"{id}-subset", id.replace("10-", "c6-")):
        if other in shown.claims:
            assert said(shown.claims[other]["claim"], "tuned λ = #") == best


@pytest.mark.parametrize(("sweep", "panel"), [("fc", "a"), ("wrn", "b")])
def test_the_time_to_fit_is_judged_on_all_that_figure_s1_shows(shown, sweep, panel):
    data = shown.panel("figS1", panel)
    positive = data[data["curve"].str.startswith("lambda=") & (data["curve"] != "lambda=0")]
    shown.measured(f"12-{sweep}")
    assert shown.claims[f"12-{sweep}"]["n"] == positive["n"].sum()


def test_the_eta_dependence_of_mse_is_that_of_figure_s5(shown):
    both = shown.panel("figS5", "a").merge(shown.panel("figS5", "b"), on=["curve", "x"])
    both = both[(both["curve"] != "lambda=0") & (both["flag_y"] == "") & (both["n_x"] > 0)]
    both = both[both.groupby("curve")["x"].transform("nunique") >= 2]
    first, last = (
        both.groupby("curve")[y].agg(lambda values: values.max() - values.min()).mean()
        for y in ("y_x", "y_y")
    )
    assert shown.measured("13-eta") == pytest.approx(last / first)


def test_the_small_network_is_judged_at_the_best_coefficient_of_figure_s7(shown):
    ((_, curve),) = shown.by_eta("figS7", "b").items()
    mark = shown.panel("figS7", "b").query("curve == 'best lambda'")["x"].item()
    assert said(shown.claims["14-fc_small-accuracy"]["claim"], r"at the best \(#\)") == mark
    assert said(shown.claims["14-fc_small-time"]["claim"], r"below the best λ \(#\)") == mark
    values = curve.set_index("x")["y"]
    zero = shown.curve("figS7", "b", "lambda=0")
    least = zero.iloc[0] if len(zero) else values.iloc[0]
    assert shown.measured("14-fc_small-accuracy") == pytest.approx(least - values[mark])


def test_the_resnet_is_judged_on_the_cells_of_figure_s8(shown):
    cells = shown.panel("figS8", "a").dropna(subset=["y"])
    product = cells["x"] * cells["curve"].str.removeprefix("eta=").astype(float)
    alike = cells.groupby(np.round(np.log10(product) * 12))["y"].agg(["min", "max", "count"])
    alike = alike[alike["count"] >= 2]
    spread = (alike["max"] - alike["min"]).mean() / (cells["y"].max() - cells["y"].min())
    assert shown.measured("14-resnet-product") == pytest.approx(spread, abs=1e-12)
    best = shown.panel("figS8", "b").groupby("x")["y"].max()
    assert shown.measured("14-resnet-budget") == pytest.approx(best.max() - best.iloc[0], abs=1e-12)


def test_the_initial_scale_is_judged_at_the_smallest_coefficient_of_figure_s12(shown):
    data = shown.panel("figS12", "a").query("flag != 'failed'")
    several = data.groupby("x")["curve"].nunique()
    longest = data.loc[data["x"] == several[several >= 2].index.min(), "y"]
    assert shown.measured("15") == pytest.approx(longest.max() - longest.min(), abs=1e-12)


def test_every_claim_on_a_sweep_names_a_figure_that_shows_it(shown):
    for id, record in shown.claims.items():
        sweep = id.partition("-")[2]
        if sweep in SWEEPS and id[:2] in ("01", "02", "03", "04", "05", "06", "12"):
            shows = {name for name in figures.NAMES if sweep in figures.module(name).RESULTS}
            assert set(record["figure"].split()) <= shows, id
    assert set(times.RESULTS) == set(SWEEPS)
