import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import synthetic

from l2dynamics.analysis import statistics
from l2dynamics.claims import accuracies, adaptive, base, budgets, evaluation, exceptions, times


@pytest.fixture(scope="module")
def lawful():
    return synthetic.everything()


@pytest.fixture(scope="module")
def judged(lawful):
    return evaluation.evaluate(lawful)


def with_table(results, table):
    return replace(results, table=table)


def test_results_that_obey_the_laws_confirm_the_claims(judged):
    expected = {f"{number:02d}" for number in range(1, 16)}
    assert expected <= set(judged)
    assert {id: judged[id]["ok"] for id in sorted(expected)} == dict.fromkeys(sorted(expected), True)


def test_every_record_is_flat_json_with_the_agreed_keys(judged):
    for id, record in judged.items():
        assert tuple(record) == base.FIELDS, id
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert record["scale"] == "laptop"
        assert record["ok"] in (True, False, None)
        assert (
            "true" in record["claim"].lower() or "Holds in" in record["claim"] or "share" in record["claim"]
        )
        if record["low"] is not None:
            assert record["low"] <= record["high"]
        assert all(figure.startswith("fig") for figure in record["figure"].split())


@pytest.mark.parametrize(
    ("id", "value", "tolerance"),
    [
        ("01-fc", -1.0, 0.05),  # t* = c/(ηλ)
        ("02-fc", -1.0, 0.05),
        (
            "05-fc",
            0.03,
            0.01,
        ),  # λ=0 saturates 0.03 below the plateau, of which the penalty at the smallest λ takes 2e-4
        ("07-T20", 2.0, 1e-9),  # c = 0.01, T = 20: 5e-4 predicted; 1e-3 is the best of the grid
        ("10-fc", 0.013, 1e-9),  # 0.7 + 0.01 + 0.001·seed against 0.7 − 2·0.001
        ("11", -0.007, 1e-9),
        ("12-fc", -1.0, 0.05),
        ("14-resnet-product", 0.0, 1e-9),
        ("15", 0.0, 1e-9),
        ("c2-fc", 0.7, 1e-9),
        ("c2-wrn", 0.01 * 20 * 0.2 / 0.1, 1e-9),
    ],
)
def test_measured_numbers_are_those_put_in(judged, id, value, tolerance):
    assert judged[id]["measured"] == pytest.approx(value, abs=tolerance)


def test_ids_are_ordered_for_readers():
    ids = ["c2", "10-fc", "07-T10", "02", "c10", "01-fc", "07-T5", "10", "01", "07", "c2-fc"]
    ordered = ["01", "01-fc", "02", "07", "07-T5", "07-T10", "10", "10-fc", "c2", "c2-fc", "c10"]
    assert sorted(ids, key=evaluation.order) == ordered


def stretched(exponent):
    """FC runs with t* ∝ λ^exponent at every η."""
    frames = []
    for eta, l2, seed in product((0.15, 0.5, 1.5), (1e-4, 1e-3, 0.01, 0.1), (0, 1)):
        peak = 10.0 / eta * l2**exponent
        epoch = synthetic.evaluation_steps(round(5 * peak)).astype(float)
        curve = (
            0.1 + 0.6 * np.minimum(epoch / peak, 1.0) ** 0.3 - 0.05 * (1 - 1 / np.maximum(epoch / peak, 1))
        )
        frames.append(synthetic.run_rows(eta=eta, l2=l2, seed=seed, budget=round(5 * peak), accuracy=curve))
    return synthetic.results("fc", pd.concat(frames, ignore_index=True))


@pytest.mark.parametrize(("exponent", "ok"), [(-1.0, True), (-0.7, False), (-1.3, False)])
def test_the_exponent_of_time_is_measured_and_judged(exponent, ok):
    claim = times.time_against_l2(stretched(exponent))
    assert claim.measured == pytest.approx(exponent, abs=0.04)
    assert claim.low <= exponent <= claim.high
    assert claim.ok is ok


def test_an_interval_too_wide_decides_nothing():
    frames = []
    for l2, scatter in ((0.01, 1.0), (0.02, 4.0), (0.03, 0.4), (0.04, 1.5)):
        peak = scatter / l2
        epoch = synthetic.evaluation_steps(round(10 * peak), 400).astype(float)
        curve = 0.1 + 0.6 * np.minimum(epoch / peak, 1.0) ** 0.3
        frames.append(
            synthetic.run_rows(eta=1.0, l2=l2, seed=0, budget=round(10 * peak), accuracy=curve, points=400)
        )
    claim = times.time_against_l2(synthetic.results("fc", pd.concat(frames, ignore_index=True)))
    assert claim.low < -1 < claim.high
    assert claim.ok is None
    assert "too wide" in claim.claim


def test_a_verdict_over_setups_says_what_it_rests_on(judged):
    def part(name, ok, measured):
        return base.Claim(
            **judged["01-fc"] | {"ok": ok, "measured": measured, "low": measured - 1, "high": measured + 1},
            id=f"01-{name}",
        )

    parts = [part("fc", True, 2.0), part("wrn", None, 9.0), part("cnn", None, 9.0)]
    one = base.over_setups("01", "Law.", parts)
    assert one.claim.startswith("Law (judged in 1 of 3 setups). Holds in 1 of 1 setups")
    assert "takes more than half" in one.claim
    assert (one.measured, one.low, one.high, one.n, one.ok) == (2.0, 1.0, 3.0, 1, None)
    most = base.over_setups("01", "Law.", [*parts[:2], part("cnn", True, 4.0)])
    assert (most.n, most.ok) == (2, True)
    refuted = base.over_setups("01", "Law.", [*parts[1:], part("fc", False, 2.0)])
    assert (refuted.n, refuted.ok) == (1, False)
    both = base.over_setups("01", "Law.", [part("fc", True, 2.0), part("wrn", False, 4.0)])
    assert both.claim.startswith("Law. Holds in 1 of 2 setups")
    assert (both.measured, both.low, both.high, both.n, both.ok) == (3.0, 2.0, 4.0, 2, False)
    none = base.over_setups("01", "Law.", [part("fc", None, 2.0)])
    assert (none.n, none.ok) == (0, None)
    assert not np.isfinite([none.measured, none.low, none.high]).any()


def test_resolution_is_the_largest_error_of_the_slope():
    kept = pd.DataFrame({"t_star": [100.0, 20.0, 2.5, 1.0], "t_before": [80.0, 15.0, 2.0, 0.5]})
    x = pd.Series([1e-3, 5e-3, 2e-2, 0.1])
    bound = times.resolution(kept, x, pd.Series(0, kept.index))
    corners = [
        np.polyfit(np.log(x), np.where(choice, np.log(kept["t_star"]), np.log(kept["t_before"])), 1)[0]
        for choice in product((True, False), repeat=4)
    ]
    assert (max(corners) - min(corners)) / 2 == pytest.approx(bound)


def test_runs_that_did_not_learn_peak_or_end_well_stay_out_of_fits(lawful):
    fc = lawful["fc"]
    chance = synthetic.run_rows(
        eta=0.15, l2=5.0, seed=0, budget=100, accuracy=np.full(len(synthetic.evaluation_steps(100)), 0.1)
    )
    rising = synthetic.run_rows(eta=0.15, l2=1e-6, seed=0, budget=1000)
    broken = synthetic.run_rows(eta=0.15, l2=2.0, seed=0, budget=100, c=0.001, diverge_at=50)
    table = pd.concat([fc.table, chance, rising, broken], ignore_index=True)
    assert times.time_against_l2(with_table(fc, table)).record() == times.time_against_l2(fc).record()


def accuracy(change):
    """The change of a table that puts a function of it in the place of the test accuracy."""
    return lambda table: table.assign(test_accuracy=change(table))


def log_l2(table):
    """Decades of λ above 1e-5, 0 for λ = 0."""
    return np.log10(table["l2"].clip(lower=1e-5) / 1e-5)


def without_zero(table):
    return table[table["l2"] > 0]


#: judge, results, what becomes of their table, verdict, what else is true of the claim
CHANGED = {
    "accuracy falls towards small λ": (
        accuracies.plateau,
        "fc",
        accuracy(lambda t: t["test_accuracy"] * (1 - 0.03 * np.log10(0.05 / t["l2"].clip(lower=1e-4)))),
        False,
        lambda claim: claim.measured < -0.02,
    ),
    "accuracy still rises towards small λ": (
        accuracies.plateau,
        "fc",
        accuracy(lambda t: 0.8 - 0.1 * log_l2(t)),
        None,
        lambda claim: claim.measured == 0 and "still rises" in claim.claim,
    ),
    "λ = 0 is best": (
        accuracies.optimum,
        "fc",
        accuracy(lambda t: 0.8 - 0.1 * log_l2(t)),
        False,
        lambda claim: claim.measured == 0,
    ),
    "the smallest λ is best and λ = 0 not tried": (
        accuracies.optimum,
        "fc",
        lambda t: accuracy(lambda t: 0.8 - 0.1 * log_l2(t))(without_zero(t)),
        None,
        lambda claim: claim.measured == 0 and "end of the grid" in claim.claim,
    ),
    "λ = 0 is 0.1 better": (
        accuracies.better_than_zero,
        "fc",
        accuracy(lambda t: t["test_accuracy"] + np.where(t["l2"] == 0, 0.1, 0.0)),
        False,
        lambda claim: claim.high < 0,
    ),
    "the peak depends on η": (
        accuracies.eta_spread,
        "fc",
        accuracy(lambda t: t["test_accuracy"] - 0.05 * t["eta"]),
        False,
        # At λ = 0.05 and η = 1.5 t* is below ten steps, so that there η spans 0.15 to 0.5 only.
        lambda claim: claim.measured == pytest.approx(0.05 * (4 * 1.35 + 0.35) / 5, abs=0.005),
    ),
    "the loss falls to the end": (
        exceptions.loss_rises,
        "fc_mse",
        lambda t: t.assign(train_loss=1.0 / (1.0 + t["epoch"])),
        False,
        lambda claim: claim.measured == 0,
    ),
    "a network large enough": (
        exceptions.small_l2_is_worse,
        "fc_small",
        lambda t: synthetic.grid((0.15,), (1e-4, 1e-3, 0.01), (0, 1), horizon=2.0, c=0.7, penalty=2.0),
        False,
        lambda claim: True,
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_results_that_break_a_law_are_judged_so(lawful, case):
    judge, name, change, ok, measured = CHANGED[case]
    claim = judge(with_table(lawful[name], change(lawful[name].table)))
    assert claim.ok is ok
    assert measured(claim), claim


@pytest.mark.parametrize("judge", [accuracies.plateau, exceptions.small_l2_is_worse])
def test_without_a_seed_that_has_both_l2_nothing_is_judged(lawful, judge):
    """The smallest λ is that of one seed, and the best λ that of the others."""
    results = lawful["fc_small" if judge is exceptions.small_l2_is_worse else "fc"]
    table = results.table[results.table["l2"] > 0]
    table = table[table["eta"] == table["eta"].min()]
    smallest, best, *_ = sorted(table["l2"].unique())
    lifted = table.assign(test_accuracy=table["test_accuracy"] * np.where(table["l2"] == best, 1.0, 0.9))
    seed = table["seed"].min()
    kept = lifted[
        ((lifted["l2"] == smallest) & (lifted["seed"] == seed))
        | ((lifted["l2"] == best) & (lifted["seed"] != seed))
    ]
    claim = judge(with_table(results, kept))
    assert claim.ok is None
    assert "Not judged: no" in claim.claim


@pytest.mark.parametrize(("wins", "ok"), [(True, True), (False, False)])
def test_autol2_is_judged_by_accuracy_and_speed(wins, ok):
    claim = adaptive.compare(synthetic.autol2("autol2_fc", wins=wins), "subset")
    assert (claim.id, claim.ok) == ("10-fc-subset", ok)


def test_autol2_that_is_better_but_slower_does_not_win():
    results = synthetic.autol2("autol2_fc", wins=True)
    table = results.table.copy()
    late = table["group"].str.startswith("auto") & (table["epoch"] < 0.95 * table["budget"])
    table.loc[late, "test_accuracy"] = 0.2
    claim = adaptive.compare(with_table(results, table), "minibatch")
    assert claim.measured > 0
    assert claim.ok is False


def test_different_verdicts_on_minibatch_and_subset_are_reported(lawful):
    changed = dict(lawful)
    table = lawful["autol2_cnn"].table.copy()
    table.loc[table["group"] == "auto_subset", "test_accuracy"] -= 0.05
    changed["autol2_cnn"] = with_table(lawful["autol2_cnn"], table)
    records = {claim.id: claim for claim in adaptive.evaluate(changed)}
    assert records["10-cnn"].ok is True
    assert records["10-cnn-subset"].ok is False
    assert records["c5"].ok is False
    assert records["c5"].measured == pytest.approx(0.05)
    table = lawful["autol2_cnn"].table.copy()
    table.loc[(table["group"] == "auto_subset") & (table["seed"] == 0), "test_accuracy"] -= 0.05
    changed["autol2_cnn"] = with_table(lawful["autol2_cnn"], table)
    records = {claim.id: claim for claim in adaptive.evaluate(changed)}
    assert (records["10-cnn"].ok, records["10-cnn-subset"].ok) == (True, None)
    assert records["c5"].ok is True, "what is not judged contradicts nothing"


def test_dependence_of_autol2_on_its_start_is_measured_over_initial_values():
    results = synthetic.autol2("autol2_fc", wins=True)
    auto = results.table[results.table["group"].str.startswith("auto")]
    large = auto.assign(
        run=auto["run"] + "-large", l2=10 * auto["l2"], test_accuracy=0.5 * auto["test_accuracy"]
    )
    claim = adaptive.initial_l2(with_table(results, pd.concat([results.table, large], ignore_index=True)))
    assert claim.ok is True
    assert claim.measured == pytest.approx(-0.5 * (0.71 + 0.001))


def test_prediction_far_from_the_tuned_value_fails(lawful):
    wrn = lawful["wrn_aug"]
    moved = wrn.table["l2"].where(wrn.table["group"] != "predicted", 50 * wrn.table["l2"])
    contest = budgets.contests(with_table(wrn, wrn.table.assign(l2=moved)), "predicted")
    scores = budgets.score(contest).set_index("contest")
    assert scores.loc[20.0, "factor"] == pytest.approx(50 * 0.01 / 20 / scores.loc[20.0, "tuned"])
    assert (scores["factor"] > 10).all()


def test_a_tuned_l2_at_an_end_of_its_grid_bounds_the_factor_only(lawful):
    wrn, scheduled = lawful["wrn_aug"], lawful["wrn_schedule"]
    tuned = budgets.score(budgets.contests(wrn, "predicted")).set_index("contest").loc[20.0, "tuned"]
    cut = wrn.table[(wrn.table["group"] != "grid") | (wrn.table["l2"] >= tuned)]
    best = scheduled.table.groupby("l2")["test_accuracy"].max().idxmax()
    short = scheduled.table[scheduled.table["l2"] <= best]
    records = {
        claim.id: claim
        for claim in budgets.evaluate(
            {**lawful, "wrn_aug": with_table(wrn, cut), "wrn_schedule": with_table(scheduled, short)}
        )
    }
    whole = {claim.id: claim for claim in budgets.evaluate(lawful)}
    for id in ("07-T20", "07", "09"):
        assert (whole[id].ok, records[id].ok) == (True, None), id
        assert "at an end of the grid" in records[id].claim
    far = cut.assign(l2=cut["l2"].where(cut["group"] != "predicted", 50 * cut["l2"]))
    refuted = {claim.id: claim for claim in budgets.evaluate({**lawful, "wrn_aug": with_table(wrn, far)})}
    assert refuted["07-T20"].ok is False


@pytest.mark.parametrize(
    ("losses", "ok"),
    [
        ((0.0, 0.0), True),
        ((0.02, 0.02), False),  # worse with every seed
        ((0.03, -0.01), None),  # worse on average, but the seeds disagree
    ],
)
def test_loss_of_accuracy_is_judged_by_its_spread_over_seeds(lawful, losses, ok):
    wrn = lawful["wrn_aug"]
    loss = wrn.table["seed"].map(dict(enumerate(losses))) * (wrn.table["group"] == "predicted")
    table = wrn.table.assign(test_accuracy=wrn.table["test_accuracy"] - loss)
    records = {claim.id: claim for claim in budgets.evaluate({**lawful, "wrn_aug": with_table(wrn, table)})}
    assert records["08"].ok is ok
    assert ("standard error" in records["08"].claim) is (ok is not True)


def test_seed_bootstrap_is_the_quantile_over_all_resamples():
    rows = pd.DataFrame({"l2": [1.0, 1.0, 2.0, 2.0], "seed": [0, 1, 0, 1], "value": [0.0, 1.0, 2.0, 5.0]})
    interval = base.seed_bootstrap(rows, lambda some: some["value"].mean(), point=("l2",), samples=400)
    # Draws (0,0), (0,1), (1,1) have means 1, 2, 3 with weights 1/4, 1/2, 1/4.
    assert interval == statistics.Interval(2.0, 1.0, 3.0, 4)


def test_points_with_one_seed_stay_in_every_resample():
    rows = pd.DataFrame({"l2": [1.0, 1.0, 2.0], "seed": [0, 1, 0], "value": [0.0, 1.0, 9.0]})
    seen = []
    base.seed_bootstrap(rows, lambda some: seen.append(some) or 0.0, point=("l2",))
    assert all((some["l2"] == 2.0).sum() == 1 for some in seen)
    single = base.seed_bootstrap(rows[rows["seed"] == 0], lambda some: 0.5, point=("l2",))
    assert (single.mean, single.n) == (0.5, 2)
    assert np.isnan([single.low, single.high]).all()


@pytest.mark.parametrize(
    ("low", "mean", "high", "is_above"),
    [
        (0.001, 0.01, 0.02, True),
        (-0.001, 0.01, 0.02, None),
        (-0.02, -0.01, 0.001, None),
        (-0.02, -0.01, 0.0, False),
        (np.nan, 0.01, np.nan, True),
        (np.nan, 0.0, np.nan, False),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low, mean, high, is_above):
    interval = statistics.Interval(mean, low, high, 3)
    assert base.above(interval, 0) is is_above
    assert base.at_most(interval, 0) is (None if is_above is None else not is_above)


def test_a_single_seed_has_the_interval_of_its_test_set(lawful):
    """Two networks of accuracy 0.8, right on independent sets of 2,000 images: the simulated spread of their gap."""
    draws = np.random.default_rng(0).binomial(2000, 0.8, size=(2, 200_000)) / 2000
    spread = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    single = statistics.Interval(0.05, np.nan, np.nan, 1)
    found = base.resolved(single, lawful["fc"], 0.8)
    assert (found.low, found.high) == pytest.approx(0.05 + spread, abs=5e-4)
    several = statistics.Interval(0.05, 0.04, 0.06, 2)
    assert base.resolved(several, lawful["fc"], 0.8) is several


def test_claims_of_a_single_seed_rest_on_the_test_set(lawful):
    one = {name: with_table(r, r.table[r.table["seed"] == 0]) for name, r in lawful.items()}
    records = evaluation.evaluate(one)
    assert records["05-fc"]["n"] == 1
    half = 1.96 * np.sqrt(2 * 0.8 * 0.2 / 2000)
    assert (records["05-fc"]["high"] - records["05-fc"]["low"]) / 2 == pytest.approx(half, rel=0.02)
    assert records["07"]["measured"] is not None
    for id in ("03-fc", "05-fc", "08", "10-fc", "15"):  # differences of 0.03 and less
        assert records[id]["ok"] is None, id
        assert base.UNDECIDED in records[id]["claim"], id


def seeds_disagree(results, change, loss):
    """The results with a loss of accuracy for the second seed where ``change`` says so."""
    shift = loss * (results.table["seed"] == 1) * change(results.table)
    return with_table(results, results.table.assign(test_accuracy=results.table["test_accuracy"] - shift))


@pytest.mark.parametrize(
    ("judge", "name", "change", "loss"),
    [
        (accuracies.plateau, "fc", lambda table: table["l2"] <= 1e-4, 0.08),
        (accuracies.optimum, "wrn_schedule", lambda table: table["l2"].between(5e-4, 5e-3), 0.03),
        (accuracies.better_than_zero, "fc", lambda table: table["l2"] > 0, 0.08),
        (accuracies.eta_spread, "fc", lambda table: (table["eta"] == 1.5) & (table["l2"] == 1e-4), 0.08),
        (exceptions.small_l2_is_worse, "fc_small", lambda table: table["l2"] > 0, 0.08),
        (exceptions.never_catches_up, "resnet", lambda table: table["l2"] > 1e-5, 0.08),
        (exceptions.initial_scale, "wrn_sigma", lambda table: table["sigma_w"] == 2, 0.08),
        (
            lambda results: adaptive.compare(results, "subset"),
            "autol2_fc",
            lambda table: table["group"] == "auto_subset",
            0.08,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_seeds_that_disagree_leave_a_claim_open(lawful, judge, name, change, loss):
    assert judge(lawful[name]).ok is True
    claim = judge(seeds_disagree(lawful[name], change, loss))
    assert claim.low < claim.high
    assert claim.ok is None
    assert base.UNDECIDED in claim.claim


def test_a_tuned_l2_at_an_end_for_some_seeds_bounds_the_factor_only(lawful):
    scheduled = lawful["wrn_schedule"]
    lifted = (scheduled.table["l2"] == 2e-4) & (scheduled.table["seed"] == 1)
    table = scheduled.table.assign(test_accuracy=scheduled.table["test_accuracy"] + 0.03 * lifted)
    claim = budgets.with_schedule(lawful["measure_c"], with_table(scheduled, table))
    assert claim.ok is None
    assert "is for some seeds at an end" in claim.claim


@pytest.mark.parametrize(
    ("slope", "low", "high", "near"),
    [
        (-1.1, -1.3, -0.9, True),
        (-1.1, -1.6, -0.6, None),  # too wide
        (-0.5, -0.8, -0.2, False),
        (-0.5, -0.9, -0.1, None),  # reaches to within the slack of −1
        (-0.5, np.nan, np.nan, False),
    ],
)
def test_an_exponent_is_near_another(slope, low, high, near):
    assert times._near(statistics.Fit(slope, 0.0, low, high, 9, 3), -1.0) is near


def test_grids_of_a_single_l2_are_no_error(lawful):
    small = {}
    for name, r in lawful.items():
        some = ~r.table["group"].str.startswith(("auto", "predicted"))
        only = r.table.groupby("group")["l2"].transform("max")
        small[name] = with_table(r, r.table[~some | (r.table["l2"] == only) | (r.table["l2"] == 0)])
    records = evaluation.evaluate(small)
    for id in ("01", "03", "04", "14-fc_small-time", "14-resnet-budget"):
        assert records[id]["ok"] is None, id


def test_networks_that_never_learn_leave_the_claims_unjudged(lawful):
    flat = {name: with_table(r, r.table.assign(test_accuracy=0.1)) for name, r in lawful.items()}
    records = evaluation.evaluate(flat)
    for id in (
        "01",
        "01-fc",
        "02-wrn",
        "03-cnn",
        "05-fc",
        "06-wrn",
        "04-cnn",
        "07",
        "08",
        "10",
        "09",
        "14-fc_small-time",
        "15",
    ):
        assert records[id]["ok"] is None, id
    assert records["01-fc"]["measured"] is None
    assert "Not judged" in records["01-fc"]["claim"]


def test_runs_that_diverge_at_once_are_no_error(lawful):
    metrics = ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "l2_norm"]
    broken = {}
    for name, r in lawful.items():
        table = r.table.copy()
        table.loc[
            (table["l2"] > 5e-3) & (table["step"] > 0) & ~table["group"].str.startswith("auto"), metrics
        ] = np.nan
        broken[name] = with_table(r, table)
    records = evaluation.evaluate(broken)
    assert records["01-fc"]["ok"] is True


def test_missing_results_name_the_stage(lawful):
    some = {name: r for name, r in lawful.items() if name != "autol2_cnn"}
    with pytest.raises(ValueError, match="dvc repro autol2@cnn"):
        evaluation.evaluate(some)
    fc = lawful["fc"]
    with pytest.raises(ValueError, match=r"no runs of group 'grid': run `dvc repro sweep@fc`"):
        times.time_against_l2(with_table(fc, fc.table.assign(group="other")))


def test_predicted_runs_without_a_grid_at_their_eta_are_refused(lawful):
    wrn = lawful["wrn_aug"]
    table = wrn.table.assign(eta=np.where(wrn.table["group"] == "grid", 0.1, 0.2))
    with pytest.raises(ValueError, match=r"no grid at η = 0\.2"):
        budgets.contests(with_table(wrn, table), "predicted")


def test_files_are_replaced_and_stale_ones_removed(judged, tmp_path):
    folder = tmp_path / "claims"
    evaluation.write(judged, folder)
    assert evaluation.read(folder) == judged
    assert list(evaluation.read(folder)) == list(judged)
    before = (folder / "01-fc.json").read_bytes()
    evaluation.write({"01-fc": judged["01-fc"]}, folder)
    assert [path.name for path in folder.iterdir()] == ["01-fc.json"]
    assert (folder / "01-fc.json").read_bytes() == before


@pytest.mark.parametrize(
    ("id", "change", "message"),
    [
        ("01", {"extra": 1}, "'extra' is missing or too much"),
        ("../01", {}, "letters, digits"),
    ],
)
def test_odd_records_are_refused_before_anything_is_written(judged, tmp_path, id, change, message):
    with pytest.raises(ValueError, match=message):
        evaluation.write({"00": judged["01"], id: judged["01"] | change}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no claims"), ("{", "is not JSON"), ('{"claim": "x"}', "other keys")]
)
def test_unreadable_claims_name_the_stage(tmp_path, content, message):
    if content is not None:
        (tmp_path / "01.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{message}.*dvc repro claims"):
        evaluation.read(tmp_path)
