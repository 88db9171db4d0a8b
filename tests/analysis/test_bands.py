"""Bars and bands of figures against closed forms and simulations."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from l2dynamics.analysis import bands
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.resampling import as_measured
from l2dynamics.figures import panels
from l2dynamics.results import tables

STEPS = np.array([1, 10, 100])
IMAGES = 2000


def evaluations(rng, accuracy, *, seeds=4, l2=0.01, between=0.01, images=IMAGES):
    """Runs whose images are right independently, with accuracies that differ from seed to seed."""
    sizes, rows = tables.block_sizes(images), []
    for seed in range(seeds):
        shift = between * rng.standard_normal()
        for step, mean in zip(STEPS, accuracy, strict=True):
            counts = rng.binomial(sizes, np.clip(mean + shift, 0, 1))
            rows.append(
                {
                    "run": f"l2_{l2}-s{seed}",
                    "group": "grid",
                    "eta": 0.1,
                    "l2": l2,
                    "sigma_w": 1.0,
                    "budget": 100.0,
                }
                | {"seed": seed, "step": step, "epoch": float(step), "test_accuracy": counts.sum() / images}
                | dict(zip(tables.BLOCKS, counts, strict=True))
            )
    return pd.DataFrame(rows)


def summary(table):
    one = table.groupby("run", sort=False)
    return table.drop_duplicates("run").assign(
        max_test_accuracy=one["test_accuracy"].max().to_numpy(),
        final_test_accuracy=one["test_accuracy"].last().to_numpy(),
    )


def test_the_interval_of_a_mean_over_seeds_is_students():
    values = np.array([0.2, 0.5, 0.3, 0.9])
    low, high = stats.t.interval(0.9, 3, loc=values.mean(), scale=stats.sem(values))
    assert bands.half_width(values) == pytest.approx((high - low) / 2)
    assert np.isnan(bands.half_width(values[:1]))


def test_the_band_of_a_curve_is_that_of_seeds_and_images():
    """Each image is right by itself: the means of the seeds scatter as the mean of all does."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(60):
        table = evaluations(rng, (0.2, 0.6, 0.8), seeds=6)
        found = bands.accuracy_curve(table, IMAGES)
        assert found.index.tolist() == STEPS.tolist()
        scatter = table.groupby("step")["test_accuracy"].sem().to_numpy()
        ratios.append(found / (scatter * stats.t.ppf(0.95, 5)))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)


def test_the_band_covers_the_truth():
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(150):
        table = evaluations(rng, (0.2, 0.6, 0.8), seeds=3)
        off = table.groupby("step")["test_accuracy"].mean() - [0.2, 0.6, 0.8]
        hits.append((off.abs() <= bands.accuracy_curve(table, IMAGES)).to_numpy())
    assert 0.84 <= np.mean(hits) <= 0.97  # 90 %


@pytest.mark.parametrize(
    ("column", "statistic"), [("max_test_accuracy", bands.maximum), ("final_test_accuracy", bands.final)]
)
def test_points_have_the_interval_of_their_grid_point_around_their_mean(column, statistic):
    rng = np.random.default_rng(2)
    some = [evaluations(rng, (0.2, 0.6, 0.8), l2=l2, between=b) for l2, b in ((0.1, 0.002), (0.2, 0.05))]
    table = pd.concat(some, ignore_index=True)
    found = bands.attach(summary(table), table, IMAGES, column, statistic).groupby("l2").first()
    means = summary(table).groupby("l2")[column].mean()
    middle = (found[f"{column}_low"] + found[f"{column}_high"]) / 2
    np.testing.assert_allclose(middle, means, rtol=1e-9)
    width = found[f"{column}_high"] - found[f"{column}_low"]
    assert width[0.2] > 4 * width[0.1] > 0


def test_t_star_has_an_interval_of_factors():
    rng = np.random.default_rng(3)
    table = evaluations(rng, (0.5, 0.795, 0.8), between=0.001)
    stars = summary(table).assign(t_star_mean=10.0)
    found = bands.attach(stars, table, IMAGES, "t_star_mean", bands.log_star, log=True).iloc[0]
    assert found["t_star_mean_low"] * found["t_star_mean_high"] == pytest.approx(100.0)
    assert found["t_star_mean_low"] < 10.0


def test_without_counts_there_is_no_interval():
    table = evaluations(np.random.default_rng(4), (0.2, 0.6, 0.8))
    diverged = table.assign(**dict.fromkeys(tables.BLOCKS, np.nan))
    for rows, images in ((diverged, IMAGES), (table, 19)):
        found = bands.attach(summary(table), rows, images, "final_test_accuracy", bands.final)
        assert found[["final_test_accuracy_low", "final_test_accuracy_high"]].isna().all(axis=None)
        with pytest.raises(Lacking):
            bands.accuracy_curve(rows, images)


def test_intervals_of_accuracies_end_at_zero_and_one():
    table = evaluations(np.random.default_rng(5), (0.0, 0.98, 0.99), seeds=2, between=0.1)
    found = bands.attach(summary(table), table, IMAGES, "final_test_accuracy", bands.final).iloc[0]
    assert found["final_test_accuracy_high"] == 1.0
    curve = panels.mean_curve(table, "test_accuracy", IMAGES)
    assert (curve["low"].min(), curve["high"].max()) == (0.0, 1.0)


def test_maximum_and_final_of_curves_as_they_are():
    correct = np.zeros((2, 3, 20))
    correct[0], correct[1] = np.array([1, 5, 3])[:, None], np.array([2, 4, 10])[:, None]
    curves = Curves(STEPS, correct, np.full(20, 10), (0, 1))
    view = as_measured(2)
    assert bands.maximum(curves)(view) == pytest.approx([(0.5 + 1.0) / 2])
    assert bands.final(curves)(view) == pytest.approx([(0.3 + 1.0) / 2])
