"""Pooling, Holm and verdicts against published examples, closed forms and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from l2dynamics.analysis import pooling, verdicts
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.analysis.slopes import Exponent
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import checks, judging

YES, NO, OPEN = Verdict.CONFIRMED, Verdict.CONTRADICTED, Verdict.UNDECIDED


def number(value, se=0.1, df=1e6, n_seeds=5):
    return Estimate(value, se, df, n_seeds)


def test_equal_setups_have_the_common_mean():
    found = pooling.pooled([number(y, 0.1) for y in (1.0, 1.1, 0.9, 1.2)])
    y = np.array([1.0, 1.1, 0.9, 1.2])
    assert found.mean.value == pytest.approx(y.mean())
    assert found.weights == pytest.approx((0.25,) * 4)
    # With equal weights Hartung and Knapp's interval is Student's of the values, if these scatter enough.
    assert found.mean.se == pytest.approx(y.std(ddof=1) / 2)
    assert (found.mean.df, found.setups) == (3.0, 4)
    assert found.tau == pytest.approx(math.sqrt(y.var(ddof=1) - 0.01))


def test_random_effects_by_hand():
    """Two setups: τ² of DerSimonian and Laird from Q = Σ w (y − ȳ)², everything with pencil and paper."""
    one, other = number(0.0, 1.0), number(4.0, math.sqrt(2))
    w = np.array([1.0, 0.5])
    mean = 2.0 / 1.5
    q = mean**2 + 0.5 * (4 - mean) ** 2
    tau2 = (q - 1) / (1.5 - 1.25 / 1.5)
    w = 1 / (np.array([1.0, 2.0]) + tau2)
    expected = 4 * w[1] / w.sum()
    ratio = w[0] * expected**2 + w[1] * (4 - expected) ** 2
    found = pooling.pooled([one, other])
    assert found.tau**2 == pytest.approx(tau2)
    assert found.mean.value == pytest.approx(expected)
    assert found.mean.se == pytest.approx(math.sqrt(max(1, ratio) / w.sum()))


def test_setups_that_agree_by_chance_do_not_make_an_interval_of_no_width():
    found = pooling.pooled([number(1.0, 0.1)] * 3)
    assert found.mean.se == pytest.approx(0.1 / math.sqrt(3))
    assert found.tau == 0.0


def test_one_setup_is_its_own_mean():
    only = number(0.3, 0.2, df=3.0)
    assert pooling.pooled([only]).mean == only


def test_setups_without_error_are_pooled_too():
    found = pooling.pooled([number(1.0, 0.0), number(1.0, 0.0)])
    assert (found.mean.value, found.mean.se) == (1.0, 0.0)
    for zero in (0.0, 1e-18):  # up to rounding
        mixed = pooling.pooled([number(1.0, zero), number(1.2, 0.1)])
        assert 1.0 < mixed.mean.value < 1.2


@pytest.mark.parametrize("bad", [number(1.0, n_seeds=1), number(1.0, math.nan)])
def test_one_seed_or_no_error_enters_no_verdict_over_seeds(bad):
    with pytest.raises(ValueError, match="at least two seeds"):
        pooling.pooled([number(1.0), bad])
    with pytest.raises(ValueError, match="at least two seeds"):
        pooling.pooled([])
    with pytest.raises(ValueError, match="at least two seeds"):
        pooling.guarded([number(1.0), bad])
    assert verdicts.better(bad).verdict is OPEN


@pytest.mark.parametrize("tau", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("setups", [3, 5])
def test_pooled_intervals_cover_the_truth(setups, tau):
    """Setups differ by τ, each with an error of its own that is known with 4 degrees of freedom only."""
    rng = np.random.default_rng(0)
    repeats, covered = 1000, 0
    for _ in range(repeats):
        truth = rng.normal(0, tau, setups)
        se = rng.uniform(0.5, 1.5, setups)
        shown = se * np.sqrt(rng.chisquare(4, setups) / 4)
        found = pooling.pooled(
            [number(y, s, 4.0) for y, s in zip(truth + rng.normal(0, se), shown, strict=True)]
        )
        covered += found.mean.low(0.95) <= 0 <= found.mean.high(0.95)
    assert covered / repeats > 0.93


def test_of_two_setups_each_has_to_exclude_noise():
    """A third one makes it a matter of their mean."""
    clear, open_ = number(-0.7, 0.1, 4.0), number(-0.2, 0.1, 4.0)
    assert pooling.pooled([clear, clear]).mean.high(0.95) > 0 > pooling.guarded([clear, clear]).high(0.95)
    assert pooling.guarded([clear, open_]) == pooling.guarded([open_, clear]) == open_
    assert pooling.guarded([clear]) == clear
    assert pooling.guarded([clear, clear, open_]) == pooling.pooled([clear, clear, open_]).mean


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm(p, expected):
    assert pooling.holm(p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "se", "expected"),
    [
        (0.0, 0.005, YES),
        (0.0, 0.007, OPEN),  # 1.645 · 0.007 > 0.01
        (0.004, 0.005, OPEN),
        (0.03, 0.005, NO),
        (-0.03, 0.005, NO),
        (0.016, 0.005, OPEN),
        (0.0, math.nan, OPEN),
        (math.nan, 0.1, OPEN),
    ],
)
def test_equivalence_is_the_90_percent_interval_inside_the_margin(value, se, expected):
    test = verdicts.equivalent(number(value, se), 0.01)
    assert test.verdict is expected
    if expected is not OPEN:
        low, high = test.interval
        assert (expected is YES) == (low > -0.01 and high < 0.01)


@pytest.mark.parametrize("df", [2.0, 7.0, 1e6])
@pytest.mark.parametrize("value", np.linspace(-3, 3, 25))
def test_p_values_say_what_the_intervals_say(value, df):
    estimate = number(value, 0.5, df)
    for test, inside, outside in (
        (
            verdicts.within(estimate, -1, 1),
            lambda lo, hi: lo > -1 and hi < 1,
            lambda lo, hi: hi < -1 or lo > 1,
        ),
        (verdicts.at_most(estimate, 1), lambda lo, hi: hi < 1, lambda lo, hi: lo > 1),
        (verdicts.better(estimate), lambda lo, hi: lo > 0, lambda lo, hi: hi < 0),
    ):
        low, high = test.interval
        expected = YES if inside(low, high) else NO if outside(low, high) else OPEN
        assert test.verdict is expected


def test_levels_are_those_of_the_criteria():
    assert (verdicts.equivalent(number(0), 1).level, verdicts.better(number(0)).level) == (0.9, 0.95)
    assert verdicts.equivalent(number(0), 1).alpha == pytest.approx(0.05)
    assert verdicts.better(number(0)).alpha == pytest.approx(0.025)


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="nothing lies between"):
        verdicts.within(number(0), 1, -1)


def exponent_of(slope, placebo, se=0.05):
    return Exponent(number(slope, se), number(placebo, se), number(slope - placebo, se * 1.4))


@pytest.mark.parametrize(
    ("slope", "placebo", "expected"),
    [
        (-1.0, 0.0, YES),
        (-1.1, -0.3, YES),
        (-1.0, -0.95, OPEN),  # the placebo does it too
        (-0.4, -0.4, OPEN),  # noise makes slopes here: nothing can be told
        (0.0, 0.0, NO),  # noise makes none, and there is none
        (-0.5, 0.0, NO),
        (-1.2, 0.0, OPEN),
    ],
)
def test_an_inverse_law_needs_its_placebo_excluded(slope, placebo, expected):
    assert verdicts.inverse(exponent_of(slope, placebo)).verdict is expected


def test_without_placebo_an_exponent_decides_nothing():
    alone = Exponent(number(-1.0, 0.01), None, None)
    assert verdicts.inverse(alone).verdict is OPEN


def test_what_a_test_presupposes_takes_its_verdict_away():
    test = verdicts.better(number(1.0))
    assert verdicts.only_if(test, True).verdict is YES
    assert verdicts.only_if(test, False).verdict is OPEN
    against = verdicts.better(number(-1.0))
    assert verdicts.only_if(against, False).verdict is OPEN
    assert verdicts.only_if(against, False, contradict=True).verdict is NO


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 3, 3], YES),
        ([3, 3, 1], OPEN),
        ([3, 3, -3], NO),
        ([-2.1], NO),
        ([3, 3, -2.1], OPEN),  # p = 0.018 is nothing special among three
        ([1, 1], OPEN),
    ],
)
def test_a_claim_of_several_parts(values, expected):
    joined = judging.joined([checks.better("", number(value, 1.0)) for value in values])
    assert joined.verdict is expected
    assert joined.estimate.value == min(values)


@pytest.mark.parametrize(
    ("values", "pooled", "expected", "exceptions"),
    [
        ([4, 4, 4], None, YES, ""),
        ([4, 4, -4], None, YES, "c"),
        ([4, -4, -4], None, NO, ""),
        ([4, -4], None, OPEN, "b"),
        ([4, 0, 0], None, OPEN, ""),  # one of three speaks: too few
        ([-4, 0, 0], None, OPEN, "a"),
        ([0, 0, 0], None, OPEN, ""),
        ([4, 4, -4], 0, OPEN, "c"),
        ([0, 0, 0], 4, YES, ""),
        ([4, 4, 4], -4, NO, ""),
        ([-4, -4, 4], 4, NO, ""),
        ([], None, OPEN, ""),
    ],
)
def test_a_claim_over_setups(values, pooled, expected, exceptions):
    tests = {name: verdicts.better(number(y, 1.0)) for name, y in zip("abcdef", values, strict=False)}
    found = verdicts.over_setups(tests, None if pooled is None else verdicts.better(number(pooled, 1.0)))
    assert found.verdict is expected
    assert "".join(found.exceptions) == exceptions


def test_a_setup_without_a_number_tests_nothing_and_counts():
    """Holm's correction is over what was tested; that at least half of the setups speak is asked of all of them."""
    one = {"a": verdicts.better(number(2.1, 1.0))}  # p = 0.018
    assert verdicts.over_setups(one, unmeasured=1).setups == {"a": YES}
    assert verdicts.over_setups(one, unmeasured=1).verdict is YES
    assert verdicts.over_setups(one, unmeasured=2).verdict is OPEN


def test_setups_are_corrected_for_their_number():
    tests = {name: verdicts.better(number(-2.2, 1.0)) for name in "abc"}
    assert set(verdicts.corrected(tests).values()) == {OPEN}
    assert verdicts.corrected({"a": tests["a"]}) == {"a": NO}


@pytest.mark.parametrize("df", [2.0, 4.0, 20.0])
def test_a_false_equivalence_is_confirmed_in_five_percent_at_most(df):
    """At the bound itself, with a standard error that is itself estimated."""
    rng = np.random.default_rng(0)
    se = 0.001 * np.sqrt(rng.chisquare(df, 4000) / df)
    values = 0.01 + 0.001 * rng.normal(size=4000)
    confirmed = [
        verdicts.equivalent(number(y, s, df), 0.01).verdict is YES for y, s in zip(values, se, strict=True)
    ]
    assert np.mean(confirmed) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 4000))


def test_power_of_a_difference_is_that_of_students_test():
    rng = np.random.default_rng(0)
    se = np.sqrt(rng.chisquare(4, 4000) / 4)
    found = [
        verdicts.better(number(y, s, 4.0)).verdict is YES
        for y, s in zip(rng.normal(4, 1, 4000), se, strict=True)
    ]
    expected = stats.nct.sf(stats.t.ppf(0.975, 4), 4, 4)
    assert np.mean(found) == pytest.approx(expected, abs=0.03)
