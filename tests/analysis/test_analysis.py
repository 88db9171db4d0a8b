import numpy as np
import pandas as pd
import pytest

from l2dynamics.analysis import per_run, tuning


def table_of(*runs, **shared):
    """One row per evaluation from (name, l2, accuracies) with steps 0, 1, 2, 4, 8, … of half an epoch."""
    frames = []
    for name, l2, accuracies in runs:
        accuracies = np.asarray(accuracies, float)
        steps = np.concatenate([[0], 2 ** np.arange(len(accuracies) - 1)])
        frames.append(
            pd.DataFrame(
                {
                    "run": name,
                    "group": "grid",
                    "eta": 0.1,
                    "l2": l2,
                    "seed": 0,
                    "sigma_w": 1.0,
                    "budget": steps[-1] / 2,
                    "step": steps,
                    "epoch": steps / 2,
                    "train_loss": 1.0 - accuracies,
                    "train_accuracy": accuracies,
                    "test_loss": 1.0 - accuracies,
                    "test_accuracy": accuracies,
                    "l2_norm": 1.0,
                }
            ).assign(**shared)
        )
    return pd.concat(frames, ignore_index=True)


def test_summary_of_a_run_by_hand():
    table = table_of(("a", 0.01, [0.1, 0.3, 0.596, 0.6, 0.5, 0.4]))
    row = per_run.summarize(table).iloc[0]
    # Maximum 0.6 at step 4; 0.596 at step 2 is within 0.005 of it.
    assert (row["t_star_step"], row["t_star"]) == (2, 1.0)
    assert (row["max_test_accuracy"], row["final_test_accuracy"]) == (0.6, 0.4)
    assert (row["argmin_train_loss_epoch"], row["min_train_loss"]) == (2.0, 0.4)
    assert np.isnan(row["train1_epoch"])
    assert row["learned"]
    assert row["peaked"]
    assert not row["diverged"]
    assert row["steps"] == 16


def test_train1_is_the_first_evaluation_with_every_sample_right():
    table = table_of(("a", 0.0, [0.1, 0.4, 0.5, 0.5, 0.5]))
    table["train_accuracy"] = [0.1, 0.9, 1.0, 1.0, 0.99]
    row = per_run.summarize(table).iloc[0]
    assert (row["train1_epoch"], row["test_accuracy_at_train1"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.1, 0.5, 0.1], True),
        ([0.1, 0.5, 0.2], False),
        ([0.1, 0.15, 0.1], False),
        ([0.1, 0.5, np.nan], False),
    ],
)
def test_a_run_that_learned_and_fell_back_to_chance_has_collapsed(accuracies, expected):
    assert per_run.summarize(table_of(("a", 0.1, accuracies))).iloc[0]["collapsed"] == expected


@pytest.mark.parametrize(
    ("accuracies", "learned", "peaked", "diverged"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], True, False, False),  # still rising at the end
        ([0.1, 0.3, 0.5, 0.3, 0.2], True, True, False),
        ([0.1, 0.11, 0.12, 0.1, 0.1], False, True, False),  # never leaves chance
        ([0.1, 0.3, np.nan, np.nan, np.nan], True, True, True),
    ],
)
def test_flags(accuracies, learned, peaked, diverged):
    row = per_run.summarize(table_of(("a", 0.1, accuracies))).iloc[0]
    assert (row["learned"], row["peaked"], row["diverged"]) == (learned, peaked, diverged)
    if diverged:
        assert np.isnan(row["final_test_accuracy"])
        assert row["max_test_accuracy"] == 0.3


def test_a_run_without_any_finite_accuracy_is_one_row_of_nan():
    table = table_of(("a", 0.1, [np.nan, np.nan]), ("b", 0.1, [0.1, 0.5]))
    summary = per_run.summarize(table)
    assert list(summary["run"]) == ["a", "b"]
    assert np.isnan(summary["t_star"].iloc[0])
    assert not summary["learned"].iloc[0]


def test_row_order_of_the_table_does_not_matter():
    table = table_of(("b", 0.1, [0.1, 0.3, 0.5, 0.3]), ("a", 0.2, [0.1, 0.2, 0.4, 0.6]))
    shuffled = table.sample(frac=1.0, random_state=1)
    left = per_run.summarize(table).sort_values("run").reset_index(drop=True)
    right = per_run.summarize(shuffled).sort_values("run").reset_index(drop=True)
    pd.testing.assert_frame_equal(left, right)


@pytest.mark.parametrize(
    ("epochs", "expected"), [(0.5, 0.3), (1.0, 0.4), (1.9, 0.4), (2.0, 0.7), (100.0, 0.7)]
)
def test_accuracy_within_a_budget(epochs, expected):
    rows = per_run.accuracy_within(table_of(("a", 0.1, [0.1, 0.3, 0.4, 0.7, 0.2])), epochs)
    assert rows["accuracy"].item() == expected


def test_a_run_that_diverged_has_no_accuracy_within_a_budget():
    table = table_of(("a", 0.1, [0.1, 0.3, np.nan]), ("b", 0.1, [0.1, 0.3, 0.4]))
    assert per_run.accuracy_within(table, 1.0)["accuracy"].isna().tolist() == [True, False]


def test_tuned_is_the_best_positive_l2_and_its_neighbours():
    table = table_of(
        ("zero", 0.0, [0.1, 0.9]),
        ("a", 1e-4, [0.1, 0.5]),
        ("b", 1e-3, [0.1, 0.7995]),
        ("c", 1e-2, [0.1, 0.8]),
        ("d", 1e-1, [0.1, 0.6]),
    )
    best = tuning.tuned(table, budget=1.0, images=10_000)
    assert (best.l2, best.low, best.high, best.near, best.edge) == (1e-2, 1e-3, 1e-2, (1e-3, 1e-2), False)
    assert best.accuracy == 0.8


@pytest.mark.parametrize(
    ("images", "near"), [(10_000, (1e-3, 1e-2)), (500, (1e-4, 1e-3, 1e-2)), (10**7, (1e-2,))]
)
def test_what_is_as_good_as_tuned_follows_from_the_test_images(images, near):
    """Half a standard error of 0.8: 0.002 on 10,000 images, 0.009 on 500."""
    table = table_of(("a", 1e-4, [0.1, 0.792]), ("b", 1e-3, [0.1, 0.7985]), ("c", 1e-2, [0.1, 0.8]))
    assert tuning.tuned(table, budget=1.0, images=images).near == near


def test_tuned_averages_over_seeds_and_flags_the_edge():
    first = table_of(("a0", 1e-3, [0.1, 0.9]), ("b0", 1e-2, [0.1, 0.8]))
    second = table_of(("a1", 1e-3, [0.1, 0.5]), ("b1", 1e-2, [0.1, 0.8]), seed=1)
    best = tuning.tuned(pd.concat([first, second]), budget=1.0, images=10_000)
    assert (best.l2, best.edge, best.n) == (1e-2, True, 2)


def test_tuned_refuses_a_mixture_of_learning_rates():
    table = pd.concat([table_of(("a", 0.1, [0.1, 0.5])), table_of(("b", 0.1, [0.1, 0.5]), eta=1.0)])
    with pytest.raises(ValueError, match="one eta"):
        tuning.tuned(table, budget=1.0, images=10_000)


@pytest.mark.parametrize("function", [per_run.summarize, lambda table: per_run.accuracy_within(table, 1.0)])
def test_a_table_without_a_column_is_refused_by_name(function):
    with pytest.raises(ValueError, match="'budget'"):
        function(table_of(("a", 0.1, [0.1, 0.5])).drop(columns="budget"))
