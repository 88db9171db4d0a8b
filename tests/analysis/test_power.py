"""Sizes that decide, against the textbook and against simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from l2dynamics.analysis import power, resampling
from l2dynamics.analysis.blocks import Curves
from l2dynamics.analysis.power import Size, Variances
from l2dynamics.analysis.resampling import Estimate, Parts


def test_variances_give_the_measured_error_back_at_the_measured_size():
    parts = Parts(seeds=4e-6, blocks=3e-6, interaction=1e-6, units=2e-6, units_interaction=5e-7)
    measured = Estimate(0.0, math.sqrt(parts.total), 5.0, n_seeds=3, n_units=6, parts=parts)
    found = power.variances(measured, 2000)
    assert found.of(Size(3, 2000, 6)) == pytest.approx(parts.total)
    # Twice of everything: half the variance, and a quarter of what belongs to a seed and an image.
    expected = 3e-6 / 2 + 2e-6 / 2 + 1e-6 / 4 + 1.5e-6 / 2
    assert found.of(Size(6, 4000, 12)) == pytest.approx(expected)


def test_degrees_of_freedom_are_those_of_the_resampling():
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 0.01, (4, 1, 1)) + rng.normal(0, 0.03, (4, 1, 20))
    counts = np.clip(np.rint(500 * (0.5 + effects)), 0, 500)
    curves = Curves(np.array([1]), counts, np.full(20, 500), (0, 1, 2, 3))
    measured = resampling.estimate(lambda view: view.accuracy(curves)[:, 0], 4)
    found = power.variances(measured, 10_000)
    assert found.df(Size(4, 10_000)) == pytest.approx(measured.df)
    assert math.sqrt(found.of(Size(4, 10_000))) == pytest.approx(measured.se)


def test_one_seed_tells_nothing_of_others():
    with pytest.raises(ValueError, match="one seed"):
        power.variances(Estimate(0.0, 0.1, 19.0, n_seeds=1), 2000)


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.0])
def test_seeds_needed_are_those_of_students_test(effect):
    """Noise of seeds alone: the exact power of the t-test at that number, and at one seed less."""
    found = power.seeds_needed(Variances(1.0, 0.0, 0.0), Size(2, 10_000), effect, level=0.95)

    def exact(n):
        return stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, effect * math.sqrt(n))

    assert exact(found) > 0.78
    assert exact(found - 1) < 0.82


def test_what_seeds_cannot_mend_images_can():
    found = Variances(seed=1e-6, image=0.1, both=0.0)
    assert power.seeds_needed(found, Size(3, 2000), 0.005, level=0.95) is None
    images = power.images_needed(found, Size(5, 2000), 0.005, level=0.95)
    assert power.decides(found, Size(5, images), 0.005, level=0.95)
    assert not power.decides(found, Size(5, images - 1), 0.005, level=0.95)


def test_lambda_needed_for_a_slope():
    found = Variances(seed=0.0, image=0.0, both=0.0, unit=0.04)
    units = power.units_needed(found, Size(3, 2000, 3), 0.15, level=0.9)
    expected = next(
        n
        for n in range(3, 100)
        if (stats.t.ppf(0.95, max(n - 2, 1)) + stats.t.ppf(0.8, max(n - 2, 1))) * math.sqrt(0.04 / n) <= 0.15
    )
    assert units == expected


@pytest.mark.parametrize("distance", [0.002, 0.004, 0.02])
def test_needs_are_the_smallest_of_each_kind(distance):
    parts = Parts(seeds=6e-6, blocks=2e-6, interaction=1e-6)
    measured = Estimate(0.0, math.sqrt(parts.total), 4.0, n_seeds=3, parts=parts)
    found = power.needs(measured, 2000, distance, level=0.95)
    variances = power.variances(measured, 2000)
    assert found.decides == power.decides(variances, Size(3, 2000), distance, level=0.95)
    assert found.units is None
    assert found.seeds is None or found.seeds <= 3 or not found.decides
    for number, size in ((found.seeds, lambda n: Size(n, 2000)), (found.images, lambda n: Size(3, n))):
        if number is None:
            assert not power.decides(variances, size(1_000_000), distance, level=0.95)
        else:
            assert power.decides(variances, size(number), distance, level=0.95)


def test_nothing_helps_where_the_expected_value_is_on_the_wrong_side():
    measured = Estimate(0.0, 0.01, 4.0, n_seeds=3)
    assert power.needs(measured, 2000, -0.1, level=0.9) == power.Needs(False, None, None, None)


def test_numbers_of_the_criteria():
    """√(p(1−p)/N): 0.005 at 10,000 and 0.011 at 2,000; √(d/N): 0.0039 at d = 0.15."""
    assert power.accuracy_se(0.5, 10_000) == pytest.approx(0.005)
    assert power.accuracy_se(0.5, 2000) == pytest.approx(0.011, abs=3e-4)
    assert power.paired_se(0.15, 10_000) == pytest.approx(0.0039, abs=5e-5)


@pytest.mark.parametrize("points", [5, 9, 30])
def test_slope_error_is_that_of_least_squares(points):
    u = np.linspace(0, 1.5 * math.log(10), points)
    expected = 0.2 / math.sqrt(((u - u.mean()) ** 2).sum())
    assert power.slope_se(0.2, 1.5, points) == pytest.approx(expected)
    asymptotic = 0.2 / (2.303 * 1.5 * math.sqrt(points / 12))
    assert power.slope_se(0.2, 1.5, points) == pytest.approx(asymptotic, rel=1 / points)


def test_evaluations_needed_add_the_share_that_is_asked():
    assert power.evaluations_needed(0.2, 0.1) == 11
    per_decade = power.evaluations_needed(0.1, 0.05)
    step = math.log(10) / per_decade
    assert step**2 / 12 <= 0.05 * 0.1**2 < (math.log(10) / (per_decade - 1)) ** 2 / 12
    with pytest.raises(ValueError, match="positive"):
        power.evaluations_needed(0.0)
