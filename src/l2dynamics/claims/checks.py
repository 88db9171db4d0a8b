"""One number against what a claim says of it, with the words for the reason."""

import math
from dataclasses import dataclass, replace

from l2dynamics.analysis import verdicts
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.analysis.verdicts import Test, Verdict
from l2dynamics.claims.base import number

SAME = 0.01
"""Absolute difference up to which two accuracies count as equal (claims 3, 6 and our own)."""


@dataclass(frozen=True)
class Check:
    """One test with the words for its reason.

    Attributes:
        what: the number, e.g. ``the exponent of t*``.
        test: of the number.
        low: smallest value that the claim allows.
        high: largest.
        blocked: why the test may not say what its interval says; empty if it may.
        against: what contradicts the claim, where that is not an interval outside the bounds.
    """

    what: str
    test: Test
    low: float = -math.inf
    high: float = math.inf
    blocked: str = ""
    against: str = ""

    @property
    def reason(self) -> str:
        """The interval against the bounds in a phrase, or why that says nothing."""
        estimate, (low, high) = self.test.estimate, self.test.interval
        if not math.isfinite(estimate.value):
            return f"{self.what} cannot be measured"
        if self.blocked and not math.isfinite(estimate.se):
            return f"{self.what} is {number(estimate.value)}, but {self.blocked}"
        if not math.isfinite(estimate.se):
            return f"{self.what} is {number(estimate.value)} and has no standard error"
        exact = f"{self.what} is {number(estimate.value)}, without scatter"
        text = f"{self.what}: {self.test.level:.0%} interval {number(low)} … {number(high)}"
        text = text if estimate.se else exact
        if self.test.verdict is Verdict.UNDECIDED and self.blocked:
            return f"{text}, but {self.blocked}"
        if self.test.verdict is Verdict.CONTRADICTED and self.against:
            return f"{text}: {self.against}"
        side = {Verdict.CONFIRMED: "inside", Verdict.CONTRADICTED: "outside"}.get(
            self.test.verdict, "neither inside nor outside"
        )
        if math.isinf(self.low) or math.isinf(self.high):
            bound = self.high if math.isinf(self.low) else self.low
            side = "below" if high < bound else "above" if low > bound else "on both sides of"
            return f"{text}, {side} {number(bound)}"
        return f"{text}, {side} {number(self.low)} … {number(self.high)}"

    @property
    def distance(self) -> float:
        """Of the measured value from the nearest bound."""
        value = self.test.estimate.value
        return min(abs(value - bound) for bound in (self.low, self.high) if math.isfinite(bound))


def within(what: str, estimate: Estimate, low: float, high: float, *, level: float = 0.9) -> Check:
    """Check that a number lies between two bounds."""
    return Check(what, verdicts.within(estimate, low, high, level=level), low, high)


def equivalent(what: str, estimate: Estimate, margin: float) -> Check:
    """Check that a difference lies within ± margin, 90 %."""
    return within(what, estimate, -margin, margin)


def at_most(what: str, estimate: Estimate, bound: float) -> Check:
    """Check that a number is at most a bound, 90 %."""
    return within(what, estimate, -math.inf, bound)


def better(what: str, estimate: Estimate, bound: float = 0.0, *, level: float = 0.95) -> Check:
    """Check that a number is above a bound, 95 %."""
    return within(what, estimate, bound, math.inf, level=level)


def blocked(check: Check, why: str, *, confirm: bool = False, contradict: bool = False) -> Check:
    """The check without what it may not say; unchanged without a reason."""
    if not why:
        return check
    return replace(check, test=verdicts.only_if(check.test, confirm, contradict=contradict), blocked=why)
