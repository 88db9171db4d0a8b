"""From intervals to verdicts: confirmed, contradicted, or not decided.

Equivalence ("independent of", "does not get worse") is shown, not assumed: two one-sided tests at 5 %, which is the
90 % interval inside the margin. It is contradicted if the 90 % interval lies wholly outside, and not decided
otherwise. A difference ("better", "worse") is shown if the 95 % interval excludes 0. What has no standard error
decides nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from l2dynamics.analysis.pooling import holm
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.analysis.slopes import Exponent


class Verdict(StrEnum):
    """What was found about a claim or a part of it."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Test:
    """One number against what a claim says of it.

    Attributes:
        estimate: the number.
        p_for: p-value of "the claim is false"; small if the number confirms the claim.
        p_against: p-value of "the claim is true"; small if it contradicts it.
        alpha: both are compared with it.
        level: of the interval that says the same.
    """

    __test__ = False  # no test of pytest

    estimate: Estimate
    p_for: float
    p_against: float
    alpha: float
    level: float

    @property
    def verdict(self) -> Verdict:
        """Of this test alone."""
        return _verdict(self.p_for, self.p_against, self.alpha)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval that the rule speaks of."""
        return self.estimate.low(self.level), self.estimate.high(self.level)


def within(estimate: Estimate, low: float, high: float, *, level: float = 0.9) -> Test:
    """Test that a number lies between two bounds, one of which may be infinite.

    Args:
        estimate: of the number.
        low: smallest value that the claim allows.
        high: largest value.
        level: of the two-sided interval that must lie inside; 0.9 are two one-sided tests at 5 %.

    Raises:
        ValueError: ``low`` is not below ``high``.
    """
    if not low < high:
        raise ValueError(f"nothing lies between {low} and {high}")
    above = 0.0 if low == -math.inf else estimate.p_at_most(low)
    below = 0.0 if high == math.inf else estimate.p_at_least(high)
    outside = min(
        1.0 if low == -math.inf else estimate.p_at_least(low),
        1.0 if high == math.inf else estimate.p_at_most(high),
    )
    known = math.isfinite(estimate.value) and math.isfinite(estimate.se) and estimate.over_seeds
    return Test(
        estimate, max(above, below) if known else 1.0, outside if known else 1.0, (1 - level) / 2, level
    )


def equivalent(estimate: Estimate, margin: float, *, level: float = 0.9) -> Test:
    """Test that a difference lies within ± margin."""
    return within(estimate, -margin, margin, level=level)


def at_most(estimate: Estimate, bound: float, *, level: float = 0.9) -> Test:
    """Test that a number is at most a bound: the upper end of its 90 % interval is; if the lower is not, it is more."""
    return within(estimate, -math.inf, bound, level=level)


def better(estimate: Estimate, *, level: float = 0.95) -> Test:
    """Test that a difference is positive: the 95 % interval excludes 0. Below 0 it contradicts the claim.

    A difference that is truly 0 is found undecided except with probability 1 − level; the claim "better" is then
    neither confirmed nor contradicted, however many runs there are.
    """
    return within(estimate, 0.0, math.inf, level=level)


def only_if(test: Test, confirm: bool, *, contradict: bool | None = None) -> Test:
    """Return the test without what it may not say.

    Args:
        test: any.
        confirm: whether it may confirm.
        contradict: whether it may contradict; None: as ``confirm``.
    """
    against = confirm if contradict is None else contradict
    return replace(test, p_for=test.p_for if confirm else 1.0, p_against=test.p_against if against else 1.0)


def inverse(exponent: Exponent, *, margin: float = 0.25) -> Test:
    """Test that a time falls as the inverse: exponent within −1 ± margin, 90 %, and clearly below its placebo.

    An exponent that the placebo reaches too confirms nothing. It contradicts only where the placebo's own interval lies
    within ± margin of 0: noise makes no slope there, so the absence of one is a finding.
    """
    placebo = exponent.placebo
    quiet = placebo is not None and equivalent(placebo, margin).verdict is Verdict.CONFIRMED
    test = within(exponent.slope, -1 - margin, -1 + margin)
    return only_if(test, exponent.counts, contradict=exponent.counts or quiet)


@dataclass(frozen=True)
class Judgement:
    """A claim over several setups.

    Attributes:
        verdict: over all.
        setups: verdict of each setup, after Holm's correction over setups.
    """

    verdict: Verdict
    setups: Mapping[str, Verdict]

    @property
    def exceptions(self) -> tuple[str, ...]:
        """Setups that contradict the claim, although it is not contradicted."""
        if self.verdict is Verdict.CONTRADICTED:
            return ()
        return tuple(setup for setup, found in self.setups.items() if found is Verdict.CONTRADICTED)


def over_setups(setups: Mapping[str, Test], pooled: Test | None = None, *, unmeasured: int = 0) -> Judgement:
    """Judge a claim over setups by the pooled number, or by counting where there is none.

    Judged are the setups that confirm or contradict the claim by themselves. They are counted if they are at least
    half of all, so that one setup does not speak for five that are not decided. The claim is contradicted if the
    pooled number contradicts it or most of the judged setups do; with a pooled number it is confirmed if that
    confirms it, by counting if most of the judged setups do.

    Args:
        setups: test of each setup in the regime that has a number.
        pooled: test of the random-effects mean.
        unmeasured: setups in the regime without a number. They speak neither for nor against, and test nothing.
    """
    found = corrected(setups)
    judged = [one for one in found.values() if one is not Verdict.UNDECIDED]
    against = sum(one is Verdict.CONTRADICTED for one in judged)
    counted = len(judged) > 0 and 2 * len(judged) >= len(found) + unmeasured
    if (counted and 2 * against > len(judged)) or (pooled and pooled.verdict is Verdict.CONTRADICTED):
        verdict = Verdict.CONTRADICTED
    elif pooled:
        verdict = pooled.verdict
    else:
        verdict = Verdict.CONFIRMED if counted and 2 * against < len(judged) else Verdict.UNDECIDED
    return Judgement(verdict, found)


def corrected(tests: Mapping[str, Test]) -> dict[str, Verdict]:
    """Verdict of each test after Holm's correction over all of them, for both directions."""
    p_for = holm([test.p_for for test in tests.values()])
    against = holm([test.p_against for test in tests.values()])
    return {
        name: _verdict(p, q, test.alpha)
        for (name, test), p, q in zip(tests.items(), p_for, against, strict=True)
    }


def _verdict(p_for: float, p_against: float, alpha: float) -> Verdict:
    if p_for <= alpha:
        return Verdict.CONFIRMED
    return Verdict.CONTRADICTED if p_against <= alpha else Verdict.UNDECIDED
