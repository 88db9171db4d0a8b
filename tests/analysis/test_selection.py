"""Which runs are looked at, and that a claim looks at those that its figure shows."""

import re
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic
import worlds
from places import ROOT

from l2dynamics.analysis import selection
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.claims import budgets, evaluation, runs, times
from l2dynamics.figures import gallery, panels, style
from l2dynamics.figures.canvas import number
from l2dynamics.results import tables

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


@pytest.mark.parametrize(
    ("fits_at", "peaks_at", "predicted", "budget"),
    [
        (5, 10, [], 20.0),  # four times as long as λ = 0 needs to fit
        (6, 10, [], 30.0),  # the first evaluation from 24 on
        (5, 100, [], 100.0),  # the middle λ has its maximum only then
        (300, 10, [], 300.0),  # 1,200 is too long for any λ > 0: the length of the runs with the middle one
        (None, 10, [], 300.0),
        (5, 10, [5.0, 50.0, 500.0], 50.0),
    ],
)
def test_the_fixed_budget_lets_no_l2_fit_and_the_middle_one_peak(fits_at, peaks_at, predicted, budget):
    steps = [0, 5, 6, 10, 20, 30, 100, 300, 1000, 2000]

    def rows(l2, length):
        kept = [step for step in steps if step <= length]
        trained = [float(l2 == 0 and fits_at is not None and step >= fits_at) for step in kept]
        return pd.DataFrame(
            {
                "run": f"{l2}",
                "group": "grid",
                "eta": 0.1,
                "l2": l2,
                "seed": 0,
                "step": kept,
                "epoch": [float(step) for step in kept],
                "budget": float(length),
                "train_accuracy": trained,
                "test_accuracy": [0.1 + 0.5 * (step >= peaks_at) for step in kept],
            }
        )

    table = pd.concat([rows(0.0, 2000), rows(0.1, 30), rows(0.01, 300), rows(0.001, 1000)])
    given = pd.DataFrame({"group": "predicted", "budget": predicted})
    results = tables.Results("wrn_aug", pd.concat([table, given]) if predicted else table, {})
    assert selection.fixed_budget(results, table) == budget
    alike = pd.concat([rows(l2, 1000) for l2 in (0.0, 0.1, 0.01, 0.001)])
    assert selection.fixed_budget(tables.Results("wrn_schedule", alike, {}), alike) == 1000


def test_a_run_that_diverged_has_not_learned_and_has_no_time():
    frames = [
        synthetic.run_rows(eta=1.0, l2=0.1, seed=seed, budget=100, diverge_at=stop)
        for seed, stop in ((0, None), (1, 50))
    ]
    found = selection.runs(synthetic.results("fc", pd.concat(frames, ignore_index=True)))
    assert found["learned"].tolist() == [True, False]
    assert found["t_star"].isna().tolist() == [False, True]
    assert found["max_test_accuracy"].notna().all()


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
        self.claims = evaluation.evaluate(results)
        names = {"fig1", "fig4", "figS7", *ADAPTIVE.values()} | {figure for figure, _ in SWEEPS.values()}
        self.drawings = {name: gallery.draw(name, results, style.STYLES["paper"]) for name in names}

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


@pytest.fixture(scope="module", params=["committed", "synthetic"])
def shown(request):
    if request.param == "synthetic":
        return Shown(worlds.everything())
    return Shown({name: tables.load(name, ROOT) for name in evaluation.RESULTS})


def said(text, pattern):
    """The number that a text says, e.g. after ``η = ``; skips where a claim says none."""
    found = re.search(pattern.replace("#", r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)"), text)
    if found is None:
        pytest.skip(f"no {pattern!r} in: {text}")
    return float(found[1])


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_budget_of_a_claim_is_that_of_its_figure(shown, sweep):
    """Or a longer one, where λ = 0 needs that to fit."""
    figure, (*_, panel) = SWEEPS[sweep]
    claim = shown.claims[f"04-{sweep}"]["claim"]
    ((eta, _),) = shown.by_eta(figure, panel).items()
    assert said(claim, "η = #") == pytest.approx(eta, rel=1e-3)
    drawn = said(shown.drawings[figure].caption, rf"\({panel}\) η = {number(eta)}, T = # epochs")
    assert said(claim, "T = #") >= drawn * (1 - 5e-3)  # captions have three digits


@contextmanager
def if_there_is_enough():
    """Committed results may hold too little for a claim: then there is nothing that a figure could contradict."""
    try:
        yield
    except Lacking as lack:
        pytest.skip(str(lack))


@pytest.mark.parametrize("sweep", SWEEPS)
def test_times_are_judged_at_the_rates_and_coefficients_that_are_drawn(shown, sweep):
    figure, (panel, *_) = SWEEPS[sweep]
    drawn = {(eta, l2) for eta, some in shown.by_eta(figure, panel).items() for l2 in some["x"]}
    found = runs.of_group(shown.results[sweep])
    with if_there_is_enough():
        used, _ = runs.sweep(shown.results[sweep], found)
    assert set(zip(used.eta.tolist(), used.l2.tolist(), strict=True)) <= drawn


def test_predicted_coefficients_are_those_of_figure_4(shown):
    predicted = shown.curve("fig4", "b", "predicted")
    with if_there_is_enough():
        found = budgets.contests(shown.results["wrn_aug"])
    for contest in found:
        assert contest.l2 == pytest.approx(predicted[contest.epochs])
        assert f"07-T{contest.epochs:.6g}" in shown.claims


@pytest.mark.parametrize("setup", ["fc", "cnn"])
def test_prediction_elsewhere_is_at_the_eta_of_the_figure(shown, setup):
    figure, (*_, panel) = SWEEPS[setup]
    assert said(shown.claims[f"c4-{setup}"]["claim"], "η = #") == next(iter(shown.by_eta(figure, panel)))


@pytest.mark.parametrize("id", ADAPTIVE)
def test_the_tuned_coefficient_is_drawn(shown, id):
    if id in PANELS:
        best = said(shown.claims[id]["claim"], "tuned λ = #")
        names = set(shown.panel(ADAPTIVE[id], PANELS[id])["curve"])
        assert f"constant lambda={best:g}" in names


def test_the_small_network_is_judged_at_the_best_coefficient_of_figure_s7(shown):
    mark = shown.panel("figS7", "b").query("curve == 'best lambda'")["x"].item()
    assert said(shown.claims["14-fc_small-time"]["claim"], "Best λ #") == pytest.approx(mark, rel=1e-5)


def test_every_claim_on_a_sweep_names_a_figure_that_shows_it(shown):
    for id, record in shown.claims.items():
        sweep = id.partition("-")[2]
        if sweep in SWEEPS and id[:2] in ("01", "02", "03", "04", "05", "06", "12"):
            shows = {name for name in gallery.NAMES if sweep in gallery.module(name).RESULTS}
            assert set(record["figure"].split()) <= shows, id
    assert set(times.RESULTS) == set(SWEEPS)


def test_figures_and_claims_take_the_same_t_star():
    """t* of the mean curve over seeds, and around it those of single seeds."""
    results = worlds.everything()["fc"]
    drawn = panels.star_points(selection.runs(results)[lambda s: s["eta"] == 0.15], "l2").set_index("x")
    per_epoch = results.passport["steps_per_epoch"]
    compared = 0
    for (eta, l2), curves in runs.of_group(results).items():
        if eta == 0.15 and l2 > 0:
            assert drawn.loc[l2, "y"] * per_epoch == pytest.approx(runs.star(curves))
            single = [
                runs.star(Curves(curves.steps, curves.correct[k : k + 1], curves.sizes, (seed,)))
                for k, seed in enumerate(curves.seeds)
            ]
            assert drawn.loc[l2, "low"] * per_epoch <= min(single) * (1 + 1e-9)
            assert drawn.loc[l2, "high"] * per_epoch >= max(single) * (1 - 1e-9)
            compared += 1
    assert compared > 3


def test_the_initial_coefficient_of_autol2_comes_back_as_a_float32():
    results = worlds.everything()["autol2_fc"]
    auto = results.table["group"] == "auto_minibatch"
    single = results.table["l2"].where(~auto, results.table["l2"].astype(np.float32).astype(float))
    found = selection.starts(replace(results, table=results.table.assign(l2=single)), "minibatch")
    assert 0.1 in found
    assert list(found) == list(selection.starts(results, "minibatch"))
