"""Which setups may judge, on curves written by hand and on synthetic sweeps."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from l2dynamics.analysis.regime import regime


def rows_of(runs, seeds=(0, 1)):
    """From λ to (steps, training accuracies, test accuracies)."""
    frames = [
        pd.DataFrame(
            {
                "run": f"{l2}-{seed}",
                "eta": 0.1,
                "l2": l2,
                "seed": seed,
                "sigma_w": 1.0,
                "step": steps,
                "train_accuracy": train,
                "test_accuracy": np.asarray(test) + 0.002 * (seed - 0.5),
            }
        )
        for l2, (steps, train, test) in runs.items()
        for seed in seeds
    ]
    return pd.concat(frames, ignore_index=True)


STEPS = [0, 10, 20, 40, 80, 160]
FLAT = [0.1, 0.5, 0.7, 0.7, 0.7, 0.7]
LATE = [0.1, 0.3, 0.5, 0.7, 0.7, 0.7]
FITTED = [0.1, 0.9, 1.0, 1.0, 1.0, 1.0]


def rows_with(**change):
    runs = {
        0.0: (STEPS, FITTED, FLAT),
        0.001: (STEPS, FITTED, LATE),
        0.01: (STEPS, FITTED, LATE),
        0.1: (STEPS, FITTED, np.array(LATE) - 0.05),
    }
    return rows_of({**runs, **{float(l2): run for l2, run in change.items()}})


def test_a_setup_inside_the_regime():
    found = regime(rows_with())
    assert found.train_accuracy == 1.0
    assert found.early
    assert found.plateau == (0.001, 0.01)
    assert found.decades == pytest.approx(1.0)
    assert found.t_star == 40
    assert found.inside
    assert found.reasons == ()


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ((STEPS, np.array(FITTED) - 0.02, FLAT), "training accuracy 0.980 at λ = 0"),
        ((STEPS, FITTED, [0.1, 0.5, 0.7, 0.7, 0.68, 0.68]), "falls after its maximum"),
    ],
)
def test_what_puts_a_setup_outside(run, reason):
    found = regime(rows_with(**{"0": run}))
    assert not found.inside
    assert len(found.reasons) == 1
    assert reason in found.reasons[0]


def test_without_l2_zero_that_is_the_only_reason_beside_the_times():
    rows = rows_with()
    assert regime(rows[rows["l2"] > 0]).reasons == ("no run with λ = 0",)


def test_times_of_less_than_thirty_steps_are_not_resolved():
    found = regime(rows_with(**{"0.01": (STEPS, FITTED, FLAT)}))
    assert found.plateau == (0.001,)
    assert found.t_star == 20
    assert found.decades == 0.0
    assert found.inside, "one λ near the best accuracy is resolved"
    none = regime(rows_with(**{"0.01": (STEPS, FITTED, FLAT), "0.001": (STEPS, FITTED, FLAT)}))
    assert none.reasons == ("no λ near the best accuracy has t* ≥ 30 steps",)


def test_a_time_beyond_the_end_of_the_run_is_long_enough():
    """At fixed T the best λ may still rise at the end of its run."""
    rising = (STEPS, FITTED, [0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
    found = regime(rows_with(**{"0.001": rising}))
    assert found.plateau == (0.01,)
    assert found.inside


def test_a_run_that_ends_before_its_peak_says_nothing_of_the_plateau():
    """At fixed T the runs of small λ do."""
    found = regime(rows_with(**{"0.0001": (STEPS, FITTED, [0.1, 0.1, 0.2, 0.3, 0.4, 0.5])}))
    assert found.plateau == (0.001, 0.01)
    assert found.inside


def test_a_fall_of_a_hundredth_is_still_an_early_maximum():
    assert regime(rows_with(**{"0": (STEPS, FITTED, [0.1, 0.5, 0.7, 0.7, 0.69, 0.69])})).inside


def test_one_lucky_evaluation_does_not_put_a_setup_outside():
    assert regime(rows_with(**{"0": (STEPS, FITTED, [0.1, 0.5, 0.7, 0.75, 0.7, 0.7])})).inside


def test_the_plateau_ends_at_the_first_lambda_that_loses_accuracy():
    """Beyond it a larger λ that is by luck as good again does not count."""
    low = np.array(LATE) - 0.05
    found = regime(rows_with(**{"0.01": (STEPS, FITTED, low), "0.1": (STEPS, FITTED, LATE)}))
    assert found.plateau == (0.001,)


def test_without_zero_or_without_lambda_nothing_is_inside():
    rows = rows_with()
    without = regime(rows[rows["l2"] > 0])
    assert np.isnan(without.train_accuracy)
    assert not without.inside
    alone = regime(rows[rows["l2"] == 0])
    assert (alone.plateau, np.isnan(alone.decades), np.isnan(alone.t_star)) == ((), True, True)


def test_runs_that_diverged_are_left_out():
    rows = rows_with()
    rows.loc[(rows["l2"] == 0.1) & (rows["step"] > 10), "test_accuracy"] = np.nan
    assert regime(rows).plateau == (0.001, 0.01)
    rows.loc[(rows["l2"] == 0.01) & (rows["seed"] == 1), "train_accuracy"] = np.nan
    assert regime(rows).plateau == (0.001, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.assign(eta=np.arange(len(rows))), "at one eta"),
        (lambda rows: rows.iloc[1:], "different steps"),
        (lambda rows: rows.drop(columns="train_accuracy"), "train_accuracy"),
    ],
)
def test_rows_of_several_setups_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        regime(change(rows_with()))


def test_a_lawful_sweep_is_inside():
    rows = synthetic.grid(
        (0.5,), (0.0, 1e-4, 1e-3, 5e-3, 0.01), (0, 1), horizon=2.0, penalty=2.0, zero=1000.0
    )
    found = regime(rows)
    assert found.inside
    # A(λ) = 0.8 − 2λ: 5e-3 loses just a hundredth.
    assert found.plateau == (1e-4, 1e-3, 5e-3)
