"""Running median, t*, t₉₅ and the early maximum against plain loops."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2dynamics import peaks

CURVES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


@given(CURVES, st.integers(0, 4))
def test_running_median_is_the_median_of_the_neighbours(counts, half):
    padded = [counts[0]] * half + counts + [counts[-1]] * half
    expected = [statistics.median(padded[i : i + 2 * half + 1]) for i in range(len(counts))]
    np.testing.assert_array_equal(peaks.running_median(counts, half), expected)


@given(CURVES)
def test_star_is_the_first_near_the_maximum_of_the_medians(counts):
    smooth = peaks.running_median(np.array(counts))
    expected = next(2.0 * i + 1 for i, n in enumerate(smooth) if n >= smooth.max() - 5)
    times = 2.0 * np.arange(len(counts)) + 1
    assert peaks.star(times, np.array(counts) / 1000) == expected


@given(CURVES)
def test_reach_is_the_first_at_95_percent_of_the_way(counts):
    smooth = peaks.running_median(np.array(counts))
    times = np.arange(len(counts)) + 1.0
    found = peaks.reach(times, np.array(counts) / 1000, chance=0.1)
    if smooth.max() <= 100:
        assert np.isnan(found)
    else:
        # In twentieths, so that whole numbers decide.
        expected = next(
            t for t, n in zip(times, smooth, strict=True) if 20 * (n - 100) >= 19 * (smooth.max() - 100)
        )
        assert found == expected


def test_many_curves_at_once_are_as_one_after_the_other():
    rng = np.random.default_rng(0)
    curves, times = rng.uniform(size=(3, 5, 17)), np.arange(17.0)
    for function in (
        lambda c: peaks.star(times, c),
        lambda c: peaks.first_within(times, c),
        lambda c: peaks.reach(times, c, 0.1),
        peaks.early_maximum,
    ):
        together = function(curves)
        assert together.shape == (3, 5)
        assert together.tolist() == [[float(function(curve)) for curve in row] for row in curves]


def test_one_lucky_evaluation_does_not_make_the_maximum():
    times, curve = np.arange(1.0, 8), np.array([0.1, 0.5, 0.7, 0.7, 0.7, 0.75, 0.7])
    assert peaks.first_within(times, curve) == 6
    assert peaks.star(times, curve) == 3


def test_the_last_evaluation_of_a_rising_curve_is_its_maximum():
    assert peaks.star([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]) == 4


@pytest.mark.parametrize(
    ("curve", "expected"),
    [([0.1, 0.1, 0.1], 0), ([0.1, 0.09, 0.09, 0.104, 0.104], 3), ([0.3, 0.2, 0.1], 0)],
)
def test_time_zero_counts_only_if_nothing_is_better(curve, expected):
    assert peaks.star(np.arange(len(curve)), curve) == expected


@pytest.mark.parametrize(
    ("end", "early"), [(0.8, True), (0.79, True), (0.789, False), (0.81, True), (np.nan, False)]
)
def test_early_maximum(end, early):
    assert peaks.early_maximum([0.1, 0.8, 0.8, end, end]) == early


def test_a_curve_with_nan_has_no_time_and_others_keep_theirs():
    curves = np.array([[0.1, np.nan, 0.5], [0.1, 0.5, 0.5]])
    np.testing.assert_array_equal(peaks.star([1, 2, 3], curves), [np.nan, 2])
    np.testing.assert_array_equal(peaks.reach([1, 2, 3], curves, 0.1), [np.nan, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: peaks.running_median([]), "evaluations"),
        (lambda: peaks.running_median([0.1], -1), "half >= 0"),
        (lambda: peaks.star([1, 2], [0.1, 0.2, 0.3]), "the last axis is time"),
        (lambda: peaks.reach([], [0.1], 0.1), "the last axis is time"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
