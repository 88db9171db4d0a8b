"""Exponents: the slope of log t* on log λ, its placebo, and its curvature.

t* and t₉₅ are taken on the mean curve of the seeds (:mod:`l2dynamics.peaks`), in every draw of seeds and images anew,
and λ are drawn too. Runs with T ∝ 1/λ whose accuracy did not depend on λ at all would also show t* falling with λ, by
noise alone. So each exponent comes with its *placebo*, the exponent of the λ = 0 curves cut at the length of each
run; an exponent counts only if it lies clearly below that.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from l2dynamics import peaks
from l2dynamics.analysis import resampling
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.resampling import Estimate, View

Finder = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From times ``[times]`` and curves ``[..., times]`` to one time for each curve."""


def t95(chance: float) -> Finder:
    """The finder of t₉₅, given the accuracy of guessing; that of t* is :func:`l2dynamics.peaks.star`."""
    return lambda times, values: peaks.reach(times, values, chance)


@dataclass(frozen=True)
class Sweep:
    """The runs with λ > 0 of one setup whose times are compared, and the λ = 0 runs at the same η.

    Attributes:
        curves: one for every grid point (η, λ), all with the same seeds.
        eta: of each, shape ``[points]``.
        l2: λ of each, > 0, shape ``[points]``.
        zero: by η, the λ = 0 runs, at least as long as the others; empty if there are none (then no placebo).
    """

    curves: tuple[Curves, ...]
    eta: np.ndarray
    l2: np.ndarray
    zero: Mapping[float, Curves]

    def __post_init__(self) -> None:
        if not len(self.curves) == len(self.eta) == len(self.l2) > 0 or (np.asarray(self.l2) <= 0).any():
            raise Lacking("a sweep needs one curve, one eta and one positive l2 for every grid point")
        if len({curves.seeds for curves in (*self.curves, *self.zero.values())}) > 1:
            raise Lacking("the runs of a sweep need the same seeds: see blocks.common")
        for curves, eta in zip(self.curves, self.eta, strict=True):
            zero = self.zero.get(float(eta))
            if self.zero and (zero is None or zero.steps[-1] < curves.steps[-1] * (1 - 1e-9)):
                raise Lacking(
                    f"at eta {eta:g} the run with l2 = 0 is missing or shorter than {curves.steps[-1]:g} steps: the "
                    "placebo needs it as long as the others"
                )

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.curves[0].seeds)

    def times(self, find: Finder) -> np.ndarray:
        """Time of every grid point in the data as they are, steps, shape ``[points]``.

        Raises:
            Lacking: a grid point has none: its mean curve is never better than at step 0.
        """
        found = np.array(
            [float(find(curves.steps, curves.accuracy().mean(axis=0))) for curves in self.curves]
        )
        for time, eta, l2 in zip(found, self.eta, self.l2, strict=True):
            if not time > 0:
                raise Lacking(f"the runs with eta {eta:g} and l2 {l2:g} did not learn: leave them out")
        return found

    def log_times(self, view: View, find: Finder) -> np.ndarray:
        """Log of the time of every grid point in each draw, shape ``[draws or 1, points]``; NaN for time 0."""
        return _stack([find(curves.steps, view.accuracy(curves)) for curves in self.curves])

    def log_placebo(self, view: View, find: Finder) -> np.ndarray:
        """The same of the λ = 0 curve at the η of each grid point, cut at the length of its run."""
        accuracy = {eta: view.accuracy(zero) for eta, zero in self.zero.items()}
        times = []
        for curves, eta in zip(self.curves, self.eta, strict=True):
            cut = len(self.zero[float(eta)].until(curves.steps[-1]).steps)
            times.append(find(self.zero[float(eta)].steps[:cut], accuracy[float(eta)][:, :cut]))
        return _stack(times)


@dataclass(frozen=True)
class Exponent:
    """A slope in log-log coordinates.

    Attributes:
        slope: the exponent.
        placebo: of the λ = 0 curves; None without them.
        difference: exponent minus placebo, formed inside each draw; None without placebo.
    """

    slope: Estimate
    placebo: Estimate | None
    difference: Estimate | None

    @property
    def counts(self) -> bool:
        """Whether noise alone is excluded: the 95 % interval of exponent − placebo lies below 0."""
        return self.difference is not None and self.difference.high(0.95) < 0


def exponent(
    sweep: Sweep,
    *,
    over_eta: bool = False,
    find: Finder = peaks.star,
    draws: int = resampling.DRAWS,
) -> Exponent:
    """Fit t ∝ λ^slope with one prefactor for every η, or t ∝ (ηλ)^slope with one prefactor for all.

    Args:
        sweep: the runs.
        over_eta: fit over ηλ with one prefactor.
        find: ``peaks.star`` for t*, :func:`t95` for t₉₅.
        draws: of the resampling.

    Returns:
        Slope and placebo. Their standard errors are at least what the distance of the evaluations leaves open.

    Raises:
        Lacking: there are fewer than three λ, or runs did not learn.
    """
    u, groups = _coordinates(sweep, over_eta)
    floor = _unresolved(sweep, u, groups, find)
    values, unit = np.unique(sweep.l2, return_inverse=True)

    def statistic(view: View) -> np.ndarray:
        weights = view.units[:, unit]
        found = slope(u, sweep.log_times(view, find), weights, groups)
        if not sweep.zero:
            return found[:, None]
        placebo = slope(u, sweep.log_placebo(view, find), weights, groups)
        return np.stack([found, placebo, found - placebo], axis=-1)

    found = resampling.estimates(
        statistic, sweep.seeds, units=len(values), parameters=1 + levels(unit, groups), draws=draws
    )
    found = [one.no_finer_than(floor) for one in found]
    placebo, difference = found[1:] if sweep.zero else (None, None)
    return Exponent(found[0], placebo, difference)


def curvature(
    sweep: Sweep,
    *,
    over_eta: bool = False,
    find: Finder = peaks.star,
    draws: int = resampling.DRAWS,
) -> Estimate:
    """Fit log t = a + b u + q u², u = log λ, and return q.

    By a law with q > 0 the slope b + 2 q u is less steep at large λ. Twice the coefficient c = t*λ at a λ that is
    smaller by D decades is, on its own, a slope of −1 − log₁₀(2)/D.

    Args:
        sweep: see :func:`exponent`.
        over_eta: see :func:`exponent`.
        find: see :func:`exponent`.
        draws: see :func:`exponent`.

    Raises:
        Lacking: there are fewer than four λ, or runs did not learn.
    """
    sweep.times(find)
    u, groups = _coordinates(sweep, over_eta)
    values, unit = np.unique(sweep.l2, return_inverse=True)

    def statistic(view: View) -> np.ndarray:
        v, weights = np.broadcast_arrays(sweep.log_times(view, find), view.units[:, unit])
        return quadratic(u, v, weights, groups)[1]

    return resampling.estimate(statistic, sweep.seeds, units=len(values), distinct=4, draws=draws)


def prefactor_spread(sweep: Sweep, *, find: Finder = peaks.star, draws: int = resampling.DRAWS) -> Estimate:
    """Return the standard deviation over η of the mean of log(t η λ): whether one prefactor serves all η.

    Args:
        sweep: of at least two η; t is in steps.
        find: see :func:`exponent`.
        draws: see :func:`exponent`.

    Raises:
        Lacking: there is one η, or runs did not learn.
    """
    sweep.times(find)
    etas, groups = np.unique(sweep.eta, return_inverse=True)
    if len(etas) < 2:
        raise Lacking("a spread over eta needs two of them")
    member = np.eye(len(etas))[groups] / np.bincount(groups)[groups][:, None]
    u = np.log(sweep.eta * sweep.l2)

    def statistic(view: View) -> np.ndarray:
        return np.asarray(((sweep.log_times(view, find) + u) @ member).std(axis=-1, ddof=1))

    return resampling.estimate(statistic, sweep.seeds, draws=draws)


def slope(u: np.ndarray, v: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Weighted least-squares slopes of v on u with one intercept for each group.

    Args:
        u: shape ``[points]``.
        v: shape ``[draws or 1, points]``.
        weights: ≥ 0, shape ``[draws or 1, points]``.
        groups: 0, 1, …, shape ``[points]``.

    Returns:
        Shape ``[draws]``; NaN where no group has two different u.
    """
    v, weights = np.broadcast_arrays(v, weights)
    a, b = (_centred(x, weights, groups) for x in (u[None, :], v))
    square, product = (weights * a * a).sum(axis=-1), (weights * a * b).sum(axis=-1)
    flat = square <= 1e-12 * weights.sum(axis=-1)
    return np.where(flat, np.nan, product / np.where(flat, 1.0, square))


def levels(unit: np.ndarray, groups: np.ndarray) -> int:
    """Number of prefactors that the scatter over units has to give for: one for all groups that share units.

    Groups that have all units take nothing from their scatter but one mean; groups that share none take one each. A
    group with one unit, whose prefactor is that of its only point, takes nothing.

    Args:
        unit: of each point, 0, 1, ….
        groups: of each point, 0, 1, ….
    """
    count = int(unit.max()) + 1
    links = coo_array(
        (np.ones(len(unit)), (unit, groups + count)), shape=(count + int(groups.max()) + 1,) * 2
    )
    component = connected_components(links, directed=False)[1][:count]
    return max(1, int((np.bincount(component) > 1).sum()))


def quadratic(
    u: np.ndarray, v: np.ndarray, weights: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least-squares coefficients b and q of v = a + b u + q u², with one a for each group.

    Args:
        u: shape ``[points]``.
        v: shape ``[draws, points]``.
        weights: ≥ 0, same shape.
        groups: 0, 1, …, shape ``[points]``.

    Returns:
        b and q, each of shape ``[draws]``; NaN where the points do not fix them.
    """
    middle = u - u.mean()
    a, s, b = (_centred(x, weights, groups) for x in (middle[None, :], middle[None, :] ** 2, v))
    aa, ass, ss = ((weights * x * y).sum(axis=-1) for x, y in ((a, a), (a, s), (s, s)))
    ab, sb = ((weights * x * b).sum(axis=-1) for x in (a, s))
    determinant = aa * ss - ass * ass
    flat = determinant <= 1e-9 * aa * ss
    filled = np.where(flat, 1.0, determinant)
    linear = np.where(flat, np.nan, (ab * ss - sb * ass) / filled)
    square = np.where(flat, np.nan, (sb * aa - ab * ass) / filled)
    return linear - 2 * square * u.mean(), square


def _coordinates(sweep: Sweep, over_eta: bool) -> tuple[np.ndarray, np.ndarray]:
    """Log x, and the group of each point."""
    if over_eta:
        return np.log(sweep.eta * sweep.l2), np.zeros(len(sweep.l2), dtype=int)
    return np.log(np.asarray(sweep.l2, dtype=float)), np.unique(sweep.eta, return_inverse=True)[1]


def _stack(times: list[np.ndarray]) -> np.ndarray:
    found = np.stack(times, axis=-1)
    return np.log(np.where(found > 0, found, np.nan))


def _centred(x: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Take off the weighted mean of each group, shape ``[draws, points]``."""
    member = np.eye(int(groups.max()) + 1)[groups]
    total = weights @ member
    mean = ((weights * x) @ member) / np.where(total > 0, total, 1.0)
    return x - mean @ member.T


def spacing(curves: Curves, time: float) -> float:
    """Log of the distance of the evaluation at ``time`` from the one before: log t is uncertain by it, uniformly."""
    earlier = curves.steps[(curves.steps < time) & (curves.steps > 0)]
    return math.log(time / earlier[-1]) if earlier.size else math.log(2)


def _unresolved(sweep: Sweep, u: np.ndarray, groups: np.ndarray, find: Finder) -> float:
    """Standard error of a slope from the distance of evaluations alone.

    The time lies somewhere between the evaluation that is found and the one before: a uniform error of log t.
    """
    errors = [spacing(curves, time) for curves, time in zip(sweep.curves, sweep.times(find), strict=True)]
    a = _centred(u[None, :], np.ones((1, len(u))), groups)[0]
    square = float((a * a).sum())
    return float(np.sqrt((a * a * np.square(errors)).sum() / 12)) / square if square > 0 else 0.0
