"""Exponents, placebo, curvature and optimum against exact laws, polyfit and loops."""

import dataclasses
import math

import numpy as np
import pytest

from l2dynamics import peaks
from l2dynamics.analysis import optimum, resampling, slopes
from l2dynamics.analysis.blocks import Curves
from l2dynamics.analysis.slopes import Sweep

SIZES = np.full(20, 100_000)
CHANCE = 0.1


def curves_of(steps, accuracy, seeds=3, noise=0.0, rng=None):
    """The same true curve for every seed and block, with independent noise on each count."""
    truth = np.broadcast_to(np.asarray(accuracy)[None, :, None], (seeds, len(steps), 20))
    if noise:
        truth = truth + rng.normal(0, noise, (seeds, len(steps), 1)) + rng.normal(0, noise, truth.shape)
    counts = np.clip(np.rint(truth * SIZES), 0, SIZES)
    return Curves(np.asarray(steps, dtype=float), counts, SIZES, tuple(range(seeds)))


def bump(star, length, points=60, top=0.8):
    """Steps and an accuracy with its maximum at ``star``, evaluated there too."""
    steps = np.unique(np.append(np.geomspace(1, length, points), star))
    u = steps / star
    return steps, CHANCE + (top - CHANCE) * np.minimum(u, 1) * np.exp(-0.05 * np.maximum(u - 1, 0))


def sweep_of(law, l2s, etas=(0.1,), *, flat=True, **noise):
    """t* = 1000 · law(η, λ) relative to the largest ηλ, T ∝ 1/(ηλ), and λ = 0 with a maximum at step 50."""
    points = [(eta, l2) for eta in etas for l2 in l2s]
    longest = 4000 * max(etas) * max(l2s)
    curves = [curves_of(*bump(1000 * law(eta, l2), longest / (eta * l2)), **noise) for eta, l2 in points]
    eta, l2 = (np.array(column) for column in zip(*points, strict=True))
    steps, accuracy = bump(50.0, longest / min(eta * l2), 120)
    zero = {one: curves_of(steps, np.maximum.accumulate(accuracy), **noise) for one in etas} if flat else {}
    return Sweep(tuple(curves), eta, l2, zero)


L2S = np.geomspace(1e-3, 1e-1, 6)


@pytest.mark.parametrize("power", [-1.0, -0.5, -1.3])
def test_an_exact_law_gives_its_exponent_and_the_placebo_none(power):
    found = slopes.exponent(sweep_of(lambda eta, l2: (l2 / 0.1) ** power, L2S), draws=100)
    # t* is the first evaluation within 0.005, one before the maximum at most: 60 evaluations over 3.6 to 5.6 decades.
    assert found.slope.value == pytest.approx(power, abs=0.05)
    assert found.placebo.value == pytest.approx(0, abs=0.01)
    assert found.difference.value == pytest.approx(found.slope.value - found.placebo.value)
    assert found.slope.n_units == 6
    assert found.counts


def test_each_eta_has_its_own_prefactor_at_fixed_eta_and_one_serves_all_over_the_product():
    l2s, etas = np.geomspace(1e-3, 1e-1, 5), (0.1, 1.0)
    sweep = sweep_of(lambda eta, l2: 0.1 / l2 * (0.2 if eta == 0.1 else 1.0), l2s, etas)
    fixed = slopes.exponent(sweep, draws=100)
    assert fixed.slope.value == pytest.approx(-1, abs=0.05)
    product = slopes.exponent(sweep, over_eta=True, draws=100)
    # Two parallel lines, one decade apart in x and log(5) higher: between them the slope is less steep.
    assert product.slope.value > fixed.slope.value + 0.1


def test_the_spread_of_prefactors_by_hand():
    l2s, etas = np.geomspace(1e-3, 1e-1, 5), (0.1, 1.0)
    sweep = sweep_of(lambda eta, l2: 0.1 / (eta * l2) * (3 if eta == 0.1 else 1), l2s, etas, flat=False)
    found = slopes.prefactor_spread(sweep, draws=100)
    assert found.value == pytest.approx(math.log(3) / math.sqrt(2), abs=0.05)
    one = Sweep(sweep.curves[:5], sweep.eta[:5], sweep.l2[:5], {})
    with pytest.raises(ValueError, match="needs two"):
        slopes.prefactor_spread(one)


def test_without_zero_there_is_no_placebo_and_the_exponent_does_not_count():
    found = slopes.exponent(sweep_of(lambda eta, l2: 0.1 / l2, L2S, flat=False), draws=100)
    assert (found.placebo, found.difference, found.counts) == (None, None, False)


def test_t95_is_found_by_its_finder():
    sweep = sweep_of(lambda eta, l2: 0.1 / l2, L2S)
    star = slopes.exponent(sweep, draws=100)
    early = slopes.exponent(sweep, find=slopes.t95(CHANCE), draws=100)
    assert early.slope.value == pytest.approx(star.slope.value, abs=0.05)
    view = resampling.as_measured(3, 6)
    ratio = np.exp(sweep.log_times(view, slopes.t95(CHANCE)) - sweep.log_times(view, peaks.star))
    assert (ratio <= 1).all()
    assert ratio.mean() == pytest.approx(0.95, abs=0.05)


def test_the_placebo_is_the_zero_curve_cut_at_each_length():
    sweep = sweep_of(lambda eta, l2: 0.1 / l2, L2S)
    steps = sweep.zero[0.1].steps
    rising = dataclasses.replace(
        sweep, zero={0.1: curves_of(steps, 0.1 + 0.6 * np.log(steps) / np.log(steps[-1]))}
    )
    view = resampling.as_measured(3, 6)
    for point, curves in enumerate(sweep.curves):
        cut = rising.zero[0.1].until(curves.steps[-1])
        expected = peaks.star(cut.steps, cut.accuracy().mean(0))
        assert np.exp(rising.log_placebo(view, peaks.star)[0, point]) == pytest.approx(expected)
    # A curve that rises to its end has its t* there: the slope of the lengths, which are ∝ 1/λ.
    placebo = slopes.exponent(rising, draws=100)
    assert placebo.placebo.value == pytest.approx(-1, abs=0.1)
    assert not placebo.counts


def test_slopes_agree_with_polyfit_draw_by_draw():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=8), rng.normal(size=(30, 8))
    weights = rng.multinomial(8, np.full(8, 1 / 8), 30).astype(float)
    groups = np.zeros(8, dtype=int)
    found = slopes.slope(u, v, weights, groups)
    linear, square = slopes.quadratic(u, v, weights, groups)
    for draw in range(30):
        w = np.sqrt(weights[draw])
        assert found[draw] == pytest.approx(np.polyfit(u, v[draw], 1, w=w)[0])
        if (weights[draw] > 0).sum() > 3:
            expected = np.polyfit(u, v[draw], 2, w=w)
            assert (square[draw], linear[draw]) == pytest.approx(tuple(expected[:2]), rel=1e-5)


def test_groups_have_intercepts_of_their_own_like_dummies_in_least_squares():
    rng = np.random.default_rng(1)
    u, groups = rng.normal(size=12), np.repeat([0, 1, 2], 4)
    v = rng.normal(size=(1, 12)) + 10 * groups
    design = np.column_stack([u, np.eye(3)[groups]])
    expected = np.linalg.lstsq(design, v[0], rcond=None)[0][0]
    assert slopes.slope(u, v, np.ones((1, 12)), groups)[0] == pytest.approx(expected)
    design = np.column_stack([u, u**2, np.eye(3)[groups]])
    expected = np.linalg.lstsq(design, v[0], rcond=None)[0][:2]
    found = slopes.quadratic(u, v, np.ones((1, 12)), groups)
    assert (found[0][0], found[1][0]) == pytest.approx(tuple(expected))


def test_a_draw_without_two_lambda_has_no_slope():
    found = slopes.slope(np.arange(3.0), np.ones((1, 3)), np.array([[3.0, 0, 0]]), np.zeros(3, dtype=int))
    assert np.isnan(found).all()


def test_curvature_of_a_law_that_bends():
    law = lambda eta, l2: (l2 / 0.1) ** (-1 + 0.1 * np.log(l2 / 0.1))  # noqa: E731
    found = slopes.curvature(sweep_of(law, np.geomspace(0.01, 0.1, 6), flat=False), draws=100)
    assert found.value == pytest.approx(0.1, abs=0.05)
    assert found.n_units == 6


def test_the_distance_of_evaluations_bounds_the_error_from_below():
    """Without any noise the interval has the width that the evaluations leave open: √(h²/12) for every λ."""
    sweep = sweep_of(lambda eta, l2: 0.1 / l2, np.array([0.1, 0.01, 0.001]), flat=False)
    found = slopes.exponent(sweep, draws=100)
    gaps = []
    for curves in sweep.curves:
        time = float(peaks.star(curves.steps, curves.accuracy().mean(0)))
        gaps.append(np.log(time / curves.steps[curves.steps < time][-1]))
    u = np.log(sweep.l2) - np.log(sweep.l2).mean()
    floor = np.sqrt((u**2 * np.square(gaps) / 12).sum()) / (u**2).sum()
    assert found.slope.se >= floor * (1 - 1e-9)
    assert found.slope.se > 0


@pytest.mark.parametrize("fit", [slopes.exponent, slopes.curvature, slopes.prefactor_spread])
def test_runs_that_did_not_learn_have_no_time_and_are_named(fit):
    sweep = sweep_of(lambda eta, l2: 0.1 / l2, L2S[:4], (0.1, 1.0), flat=False)
    dead = curves_of([0, 1, 10], [0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"eta 0\.1 and l2 0\.001 did not learn"):
        fit(dataclasses.replace(sweep, curves=(dead, *sweep.curves[1:])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: dataclasses.replace(s, l2=np.zeros(6)), "positive l2"),
        (lambda s: dataclasses.replace(s, eta=s.eta[:2]), "one curve"),
        (lambda s: dataclasses.replace(s, zero={0.1: s.zero[0.1].until(100)}), "shorter than"),
        (lambda s: dataclasses.replace(s, zero={0.7: s.zero[0.1]}), "missing or shorter"),
        (lambda s: dataclasses.replace(s, zero={0.1: s.zero[0.1].of_seeds([0])}), "same seeds"),
    ],
)
def test_sweeps_that_cannot_be_compared_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change(sweep_of(lambda eta, l2: 0.1 / l2, L2S))


@pytest.mark.parametrize("place", [-0.4, 0.0, 0.15, 0.3])
def test_summit_of_a_parabola_is_found_between_the_points(place):
    u = np.arange(-2, 2.25, 0.5)
    assert optimum.summit(u, -0.02 * (u[None, :] - place) ** 2)[0] == pytest.approx(place)


@pytest.mark.parametrize("rises", [1, -1])
def test_a_best_point_at_the_end_is_not_extrapolated(rises):
    u = np.arange(5.0)
    assert optimum.summit(u, rises * u[None, :] ** 1.5)[0] == (4 if rises > 0 else 0)


def test_summit_through_more_points_agrees_with_polyfit():
    rng = np.random.default_rng(0)
    u = np.arange(-2, 2.1, 0.25)
    y = -0.05 * (u - 0.1) ** 2 + 0.001 * rng.normal(size=(20, u.size))
    found = optimum.summit(u, y)
    for draw in range(20):
        near = np.abs(u - u[y[draw].argmax()]) <= 0.7
        square, linear, _ = np.polyfit(u[near], y[draw][near], 2)
        assert found[draw] == pytest.approx(-linear / (2 * square))


def candidates(places, best, rng, noise=0.002):
    return [
        curves_of([1, 10, 100], [0.1, 0.5, 0.7 - 0.03 * (place - best) ** 2], noise=noise, rng=rng)
        for place in places
    ]


def test_the_optimum_has_an_interval_and_is_bracketed_inside_the_grid_only():
    rng, places = np.random.default_rng(0), np.arange(-2, 2.25, 0.5)
    inside = optimum.optimum(candidates(places, 0.2, rng), 10**places, 100, draws=300)
    assert inside.log10_l2.low(0.95) < 0.2 < inside.log10_l2.high(0.95)
    assert inside.bracketed
    assert inside.grid == pytest.approx((1e-2, 1e2))
    outside = optimum.optimum(candidates(places, 4.0, rng), 10**places, 100, draws=300)
    assert (outside.log10_l2.value, outside.bracketed) == (2.0, False)


def test_the_optimum_does_not_depend_on_the_order_of_the_candidates():
    places = np.arange(-1, 1.25, 0.5)
    found = candidates(places, 0.2, np.random.default_rng(0))
    straight = optimum.optimum(found, 10**places, 100, draws=100)
    assert optimum.optimum(found[::-1], 10 ** places[::-1], 100, draws=100) == straight


@pytest.mark.parametrize("l2", [[0.1, 0.2], [0.1, 0.1, 0.2]])
def test_a_parabola_needs_three_lambda(l2):
    some = candidates(np.zeros(len(l2)), 0.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="three different"):
        optimum.optimum(some, np.array(l2), 100)


def test_noise_moves_times_and_the_interval_shows_it():
    """In a world of known noise 90 % of the intervals hold the exponent, or more."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(40):
        sweep = sweep_of(lambda eta, l2: 0.1 / l2, L2S[::2], noise=0.004, rng=rng)
        found = slopes.exponent(sweep, draws=100).slope
        held += found.low(0.9) <= -1 <= found.high(0.9)
    assert held >= 32


@pytest.mark.parametrize(
    ("unit", "groups", "expected"),
    [
        ([0, 1, 2, 3], [0, 0, 0, 0], 1),
        ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1], 1),  # all groups have all units
        ([0, 1, 2, 3], [0, 0, 1, 1], 2),  # each its own
        ([0, 1, 1, 2], [0, 0, 1, 1], 1),
        ([0, 1, 2, 3], [0, 0, 0, 1], 1),  # a point alone
        ([0, 1, 2], [0, 1, 2], 1),
    ],
)
def test_prefactors_that_share_units_take_one_degree_of_freedom(unit, groups, expected):
    assert slopes.levels(np.array(unit), np.array(groups)) == expected
