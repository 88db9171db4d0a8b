"""c from curves whose t* is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from l2dynamics.analysis import coefficient
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.results import tables
from l2dynamics.results.tables import COLUMNS, Results

EPOCHS = np.arange(0.0, 101.0)


def run(l2, seed, t_star, best=0.9):
    """A run whose test accuracy first reaches its maximum at ``t_star`` epochs."""
    accuracy = np.where(t_star <= EPOCHS, best, 0.1 + (best - 0.2) * EPOCHS / t_star)
    frame = pd.DataFrame({"epoch": EPOCHS, "test_accuracy": accuracy, "l2": l2, "seed": seed, "eta": 0.2})
    frame["run"], frame["group"], frame["step"] = f"l2_{l2}-s{seed}", "grid", range(len(EPOCHS))
    return frame.assign(**{column: 0.0 for column in COLUMNS if column not in frame})[list(COLUMNS)]


def results(*runs, name="measure_c_wrn"):
    passport = {
        "name": name,
        "classes": 10,
        "steps_per_epoch": 8,
        "setup": {"momentum": 0.9},
        "data": {"name": "cifar10"},
        "config": {"eta": 0.2},
        "seeds": [0, 1],
        "runs": len(runs),
        "diverged": 0,
        "run_steps": 10,
        "pure_step_seconds": 1.5,
        "worker_seconds": 2.0,
        "wall_seconds": 3.0,
    }
    return Results(name, pd.concat(runs, ignore_index=True), passport)


def test_one_run():
    found = coefficient.measure(results(run(0.01, 0, 40)))
    assert found["c"] == found["low"] == found["high"] == pytest.approx(0.4)
    assert found["per_run"] == [{"l2": 0.01, "seed": 0, "t_star": pytest.approx(40), "c": pytest.approx(0.4)}]
    assert (found["eta"], found["unit"], found["steps_per_epoch"], found["momentum"]) == (
        0.2,
        "epochs",
        8,
        0.9,
    )


def test_c_is_the_geometric_mean_with_its_interval():
    found = coefficient.measure(
        results(run(0.01, 0, 40), run(0.01, 1, 50), run(0.02, 0, 10), run(0.02, 1, 80))
    )
    values = np.array([0.4, 0.5, 0.2, 1.6])
    assert found["c"] == pytest.approx(stats.gmean(values))
    low, high = stats.t.interval(0.95, 3, np.log(values).mean(), stats.sem(np.log(values)))
    assert (found["low"], found["high"]) == (pytest.approx(np.exp(low)), pytest.approx(np.exp(high)))


def test_runs_that_never_learn_or_diverge_are_left_out():
    lost = run(0.5, 0, 10)
    lost["test_accuracy"] = np.nan
    partly = run(0.01, 1, 40)
    partly.loc[partly["epoch"] > 60, "test_accuracy"] = np.nan
    lucky = run(0.1, 2, 10, best=0.12)
    lucky.loc[lucky["epoch"] == 0, "test_accuracy"] = 0.17
    found = coefficient.measure(results(run(0.1, 0, 10, best=0.12), lost, partly, lucky))
    assert [entry["seed"] for entry in found["per_run"]] == [1]
    assert found["c"] == pytest.approx(0.4)


def test_without_any_run_above_chance_there_is_no_c():
    with pytest.raises(
        ConfigError,
        match=r"^measure_c_wrn: no run rose above chance and above its start: use smaller λ or longer runs",
    ):
        coefficient.measure(results(run(0.1, 0, 10, best=0.12)))


def test_combined_results_keep_every_setup():
    measured = {
        "fc": results(run(0.01, 0, 20), name="measure_c_fc"),
        "wrn": results(run(0.02, 0, 40), name="measure_c_wrn"),
    }
    found = coefficient.combine(measured)
    assert found.name == found.passport["name"] == "measure_c"
    assert list(found.table.columns) == [*COLUMNS, "setup"]
    assert dict(zip(found.table["run"], found.table["setup"], strict=True)) == {
        "l2_0.01-s0": "fc",
        "l2_0.02-s0": "wrn",
    }
    pd.testing.assert_frame_equal(tables.parse(tables.table_bytes(found.table)), found.table)
    assert found.passport["c"]["fc"]["c"] == pytest.approx(0.2)
    assert found.passport["c"]["wrn"]["c"] == pytest.approx(0.8)
    assert found.passport["runs"] == 2
    assert found.passport["wall_seconds"] == 6.0
    assert set(found.passport["setup"]) == {"fc", "wrn"}
