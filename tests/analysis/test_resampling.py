"""The resampling against closed forms, plain loops, and simulated worlds whose truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from l2dynamics.analysis import resampling
from l2dynamics.analysis.blocks import ALL, HALF_A, HALF_B, Curves
from l2dynamics.analysis.resampling import Estimate, View


def curves_of(accuracy, size=500):
    """Of accuracies of shape [seeds, times, 20]."""
    counts = np.clip(np.rint(np.asarray(accuracy) * size), 0, size)
    return Curves(np.arange(counts.shape[1]) + 1, counts, np.full(20, size), tuple(range(len(counts))))


def two_way(rng, seeds, of_seed, of_block, of_both, size=500):
    """One evaluation of runs whose accuracies have known components, as a difference from 0.5."""
    effects = (
        rng.normal(0, of_seed, (seeds, 1))
        + rng.normal(0, of_block, (1, 20))
        + rng.normal(0, of_both, (seeds, 20))
    )
    return curves_of(0.5 + effects[:, None], size)


def mean(curves):
    return lambda view: view.accuracy(curves)[:, 0]


@pytest.mark.parametrize("half", [ALL, HALF_A, HALF_B])
@pytest.mark.parametrize("drawn", ["seeds", "blocks", "both", "none"])
def test_weights_count_as_a_loop_over_drawn_seeds_and_blocks(half, drawn):
    rng = np.random.default_rng(0)
    seeds, times, draws = 3, 5, 40
    sizes = rng.integers(50, 60, 20)
    curves = Curves(np.arange(times), rng.integers(0, 50, (seeds, times, 20)), sizes, (0, 1, 2))
    some_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    some_blocks = rng.multinomial(20, np.full(20, 1 / 20), draws).astype(float)
    view = View(
        some_seeds if drawn in ("seeds", "both") else np.full((1, seeds), 1 / seeds),
        some_blocks if drawn in ("blocks", "both") else np.ones((1, 20)),
        np.ones((1, 0)),
    )
    found = view.accuracy(curves, half)
    assert found.shape == (1 if drawn == "none" else draws, times)
    inside = range(20)[half]
    for draw, row in enumerate(found):
        of_seeds = view.seeds[min(draw, len(view.seeds) - 1)]
        of_blocks = view.blocks[min(draw, len(view.blocks) - 1)]
        for time in range(times):
            by_seed = [
                sum(of_blocks[b] * curves.correct[s, time, b] for b in inside)
                / sum(of_blocks[b] * sizes[b] for b in inside)
                for s in range(seeds)
            ]
            assert row[time] == pytest.approx(float(of_seeds @ by_seed))


def test_one_seed_shows_the_binomial_spread_of_its_images():
    """20 blocks of 500 independent images, right with probability 0.7: √(p(1−p)/N)."""
    rng = np.random.default_rng(0)
    found = [
        resampling.estimate(mean(curves_of(rng.binomial(500, 0.7, (1, 1, 20)) / 500)), 1, draws=500)
        for _ in range(100)
    ]
    expected = math.sqrt(0.7 * 0.3 / 10_000)
    assert np.sqrt(np.mean([one.se**2 for one in found])) == pytest.approx(expected, rel=0.1)
    assert [one.df for one in found] == pytest.approx([19.0] * 100)
    assert not any(one.over_seeds for one in found)


def test_a_difference_of_two_runs_is_paired_in_images():
    """Both are right on the same images but for a share of 0.1: √(d/N), not √(2p(1−p)/N)."""
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(60):
        shared = rng.uniform(size=(20, 500)) < 0.7
        runs = [
            shared ^ (rng.uniform(size=(20, 500)) < 0.025) for _ in range(2)
        ]  # they differ on 2 · 0.025 · 0.975 of the images
        one, other = (curves_of(run.mean(axis=1)[None, None]) for run in runs)
        difference = resampling.estimate(
            lambda view, one=one, other=other: (view.accuracy(one) - view.accuracy(other))[:, 0],
            1,
            draws=400,
        )
        squares.append(difference.se**2)
    assert np.sqrt(np.mean(squares)) == pytest.approx(math.sqrt(2 * 0.025 * 0.975 / 10_000), rel=0.1)


@pytest.mark.parametrize(
    ("of_seed", "of_block", "of_both"), [(0.02, 0, 0.001), (0.001, 0.05, 0.001), (0.01, 0.03, 0.02)]
)
@pytest.mark.parametrize("seeds", [3, 5])
def test_variance_is_that_of_the_two_way_table(seeds, of_seed, of_block, of_both):
    rng = np.random.default_rng(0)
    truth = of_seed**2 / seeds + of_block**2 / 20 + of_both**2 / (20 * seeds)
    found = [
        resampling.estimate(mean(two_way(rng, seeds, of_seed, of_block, of_both)), seeds, draws=300)
        for _ in range(300)
    ]
    variances = np.array([one.se**2 for one in found])
    assert variances.mean() == pytest.approx(
        truth, rel=0.05, abs=4 * variances.std() / np.sqrt(len(variances))
    )


def test_what_differs_between_seeds_on_the_same_images_is_not_counted_twice():
    """All noise belongs to a seed and a block: seeds and blocks both show all of it, and the sum would be double."""
    rng = np.random.default_rng(0)
    found = [
        resampling.estimate(mean(two_way(rng, 8, 0, 0, 0.05, 5000)), 8, draws=500).parts for _ in range(100)
    ]
    truth = 0.05**2 / 160
    for part in ("seeds", "blocks"):
        assert np.mean([getattr(one, part) for one in found]) == pytest.approx(truth, rel=0.2), part
    # Noise of the parts leaves some of it: what is common is held below each of them.
    assert truth < np.mean([one.total for one in found]) < 1.5 * truth


def test_parts_agree_with_the_analysis_of_variance():
    """For one table the bootstrap variances have a closed form: those of row, column and rest effects."""
    rng = np.random.default_rng(1)
    curves = two_way(rng, 5, 0.02, 0.03, 0.04, 100_000)
    x = curves.correct[:, 0] / 100_000
    rows, columns = x.mean(1) - x.mean(), x.mean(0) - x.mean()
    rest = x - x.mean() - rows[:, None] - columns
    found = resampling.estimate(mean(curves), 5, draws=20_000).parts
    assert found.seeds == pytest.approx((rows**2).sum() / (5 * 4), rel=0.04)
    assert found.blocks == pytest.approx((columns**2).sum() / (20 * 19), rel=0.04)
    assert found.interaction == pytest.approx((rest**2).sum() / (5 * 20 * 4 * 19), rel=0.3)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("of_seed", "of_block", "of_both"), [(0.02, 0, 0.001), (0.001, 0.05, 0.001), (0.01, 0.03, 0.02)]
)
def test_intervals_cover_the_truth(seeds, of_seed, of_block, of_both):
    rng = np.random.default_rng(2)
    repeats, covered = 400, {0.9: 0, 0.95: 0}
    for _ in range(repeats):
        found = resampling.estimate(mean(two_way(rng, seeds, of_seed, of_block, of_both)), seeds, draws=300)
        for level in covered:
            covered[level] += found.low(level) <= 0.5 <= found.high(level)
    for level, count in covered.items():
        # Three standard errors of the simulation; too wide is allowed, within reason.
        slack = 3 * math.sqrt(level * (1 - level) / repeats)
        assert level - slack <= count / repeats, (level, count)
    assert covered[0.9] < repeats


def test_the_plain_bootstrap_of_three_seeds_would_not_cover():
    """What the corrections are for: Gaussian intervals from the uncorrected spread miss far too often."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(300):
        found = resampling.estimate(mean(two_way(rng, 3, 0.02, 0, 0.001)), 3, draws=300)
        missed += abs(found.value - 0.5) > 1.645 * math.sqrt(found.parts.seeds * 2 / 3)
    assert missed / 300 > 0.2


def test_scatter_over_units_gives_a_slope_its_error():
    """Six λ on a line with independent scatter: the error of least squares, within a third and not below."""
    rng = np.random.default_rng(0)
    u = np.arange(6.0)
    constant = curves_of(np.full((2, 1, 20), 0.5))
    squares = []
    for _ in range(200):
        v = 2 * u + rng.normal(size=6)

        def slope(view, v=v):
            w = view.units
            a = u - (w @ u / w.sum(1))[:, None]
            return (w * a * v).sum(1) / (w * a * a).sum(1) + 0 * view.accuracy(constant)[:, 0].mean()

        found = resampling.estimate(slope, 2, units=6, draws=300)
        assert found.df == pytest.approx(4)
        squares.append(found.se**2)
    truth = 1 / ((u - u.mean()) ** 2).sum()
    assert truth * 0.9 < np.mean(squares) < truth * 1.6


@pytest.mark.parametrize("units", [3, 4])
def test_scatter_over_few_units_widens_a_slope(units):
    """As few λ as a line can be fitted to with an error: three differ in every draw only if nothing is drawn."""
    rng = np.random.default_rng(0)
    u = np.arange(float(units))
    constant = curves_of(np.full((2, 1, 20), 0.5))
    covered = 0
    for _ in range(400):
        v = 2 * u + rng.normal(size=units)

        def slope(view, v=v):
            w = view.units
            a = u - (w @ u / w.sum(1))[:, None]
            return (w * a * v).sum(1) / (w * a * a).sum(1) + 0 * view.accuracy(constant)[:, 0].mean()

        found = resampling.estimate(slope, 2, units=units, draws=300)
        assert found.df == pytest.approx(units - 2)
        covered += found.low(0.9) <= 2 <= found.high(0.9)
    assert 0.85 < covered / 400 < 0.99


def test_three_units_of_which_one_is_needed_have_no_error():
    """Without one of them the statistic has no value: how it scatters cannot be told."""
    curves = curves_of(np.full((2, 1, 20), 0.5))

    def statistic(view):
        return np.where(view.units[:, 0] > 0, view.accuracy(curves)[:, 0], np.nan)

    assert math.isnan(resampling.estimate(statistic, 2, units=3, draws=50).se)


@pytest.mark.parametrize(("units", "distinct"), [(5, 3), (5, 4), (4, 3)])
def test_draws_of_units_have_as_many_different_ones_as_the_fit_needs(units, distinct):
    seen = []
    curves = curves_of(np.full((2, 1, 20), 0.5))

    def statistic(view):
        seen.append((view.units > 0).sum(1).min())
        return view.accuracy(curves)[:, 0]

    resampling.estimate(statistic, 2, units=units, distinct=distinct, draws=200)
    assert min(seen) == distinct


def test_both_halves_have_images_in_every_draw():
    curves = curves_of(np.full((2, 1, 20), 0.5))
    for half in (HALF_A, HALF_B):
        found = resampling.estimate(lambda view, half=half: view.accuracy(curves, half)[:, 0], 2)
        assert (found.value, found.se, found.lost) == pytest.approx((0.5, 0.0, 0.0), abs=1e-12)


def test_the_same_data_give_the_same_interval_and_all_statistics_the_same_draws():
    rng = np.random.default_rng(0)
    one, other = two_way(rng, 3, 0.02, 0.02, 0.02), two_way(rng, 3, 0.02, 0.02, 0.02)
    first = resampling.estimate(mean(one), 3)
    assert first == resampling.estimate(mean(one), 3)
    together = resampling.estimates(
        lambda view: np.stack([view.accuracy(one)[:, 0], view.accuracy(other)[:, 0]], axis=-1), 3
    )
    # Sums in another order: equal but for rounding.
    for found, alone in zip(together, [first, resampling.estimate(mean(other), 3)], strict=True):
        assert (found.value, found.se, found.df) == pytest.approx((alone.value, alone.se, alone.df))


@pytest.mark.parametrize(("share", "known"), [(0.0, True), (0.05, True), (0.3, False)])
def test_draws_without_a_value_are_counted_and_not_too_many_are_allowed(share, known):
    curves = two_way(np.random.default_rng(0), 3, 0.02, 0.02, 0.02)

    def statistic(view):
        found = view.accuracy(curves)[:, 0].copy()
        found[: int(share * len(found))] = np.nan
        return found

    found = resampling.estimate(statistic, 3, draws=200)
    assert found.lost == pytest.approx(share)
    assert math.isfinite(found.se) == known
    assert (found.p_at_most(0.0) < 0.05) == known


def test_quantiles_and_p_values_are_those_of_student():
    found = Estimate(value=1.0, se=0.5, df=3.7, n_seeds=4)
    low, high = stats.t.interval(0.9, 3.7, loc=1.0, scale=0.5)
    assert (found.low(0.9), found.high(0.9)) == pytest.approx((low, high))
    assert found.p_at_most(0.2) == pytest.approx(stats.t.sf(1.6, 3.7))
    assert found.p_at_least(0.2) == pytest.approx(stats.t.cdf(1.6, 3.7))
    assert found.no_finer_than(0.7).se == 0.7
    assert found.no_finer_than(0.1) == found
    assert found.shifted(-1.0).value == 0.0


@pytest.mark.parametrize(("seeds", "units", "distinct"), [(0, 0, 3), (3, 2, 3), (3, 3, 4)])
def test_too_few_are_refused(seeds, units, distinct):
    with pytest.raises(ValueError, match="give seeds, and at least"):
        resampling.estimate(lambda view: np.zeros(1), seeds, units=units, distinct=distinct)
