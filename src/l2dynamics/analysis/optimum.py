"""The optimal λ of a budget: the summit of a parabola through the accuracy over log λ, with an interval.

The best λ of a grid is one of a few values and has no interval worth the name. A parabola through the λ next to the
best has a summit between them, and each draw of seeds and images moves it. Over several budgets T and η its exponents
tell whether λ_opt ∝ 1/(ηT).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from l2dynamics.analysis import choice, resampling
from l2dynamics.analysis.blocks import Curves, Lacking, first_best
from l2dynamics.analysis.resampling import Estimate, View
from l2dynamics.analysis.slopes import quadratic, slope

WIDTH = 0.7
"""The parabola goes through the λ within so many decades of the best one, and through its two neighbours in any case.

Accuracy falls slowly towards small λ and steeply towards large ones: the wider the parabola, the farther its summit
lies on the slow side. Where it falls three times as steeply, half a decade shifts the summit by an eighth of a
decade, one decade by almost a quarter.
"""


@dataclass(frozen=True)
class Optimum:
    """Where the accuracy within a budget is highest.

    Attributes:
        log10_l2: decimal logarithm of the optimal λ.
        bracketed: whether the grid brackets it: the best λ of the grid is not at its end, and the 90 % interval of the
            optimum lies inside the grid. If not, the grid says on which side it lies, not where.
        grid: smallest and largest λ > 0 of the grid.
    """

    log10_l2: Estimate
    bracketed: bool
    grid: tuple[float, float]


def optimum(
    candidates: Sequence[Curves],
    l2: np.ndarray,
    step: float,
    *,
    draws: int = resampling.DRAWS,
) -> Optimum:
    """Find the optimal λ within a budget.

    The accuracy of each λ is the maximum within the budget, its epoch chosen on one half of the images and scored on
    the other.

    Args:
        candidates: curves of the λ > 0 of a grid at one η, with the same seeds.
        l2: of each, > 0, shape ``[candidates]``.
        step: the budget.
        draws: of the resampling.

    Raises:
        Lacking: there are fewer than three λ, or two equal ones.
    """
    order = np.argsort(l2)
    u = np.log10(np.asarray(l2, dtype=float)[order])
    if len(u) < 3 or len(u) != len(candidates) or (np.diff(u) <= 0).any():
        raise Lacking("a parabola needs three different l2, and one curve for each")
    curves = [candidates[k] for k in order]

    def accuracies(view: View) -> np.ndarray:
        return np.stack([choice.best(view, [one], step) for one in curves], axis=-1)

    seeds = len(curves[0].seeds)
    found = resampling.estimate(lambda view: summit(u, accuracies(view)), seeds, draws=draws)
    observed = int(first_best(accuracies(resampling.as_measured(seeds)))[0])
    inside = 0 < observed < len(u) - 1
    held = u[0] < found.low(0.9) and found.high(0.9) < u[-1]
    return Optimum(found, inside and held, (float(10 ** u[0]), float(10 ** u[-1])))


@dataclass(frozen=True)
class Budget:
    """The runs of one η within one budget.

    Attributes:
        eta: learning rate.
        steps: the budget.
        curves: by λ > 0 ascending, with the same seeds in all budgets that are compared.
    """

    eta: float
    steps: float
    curves: Mapping[float, Curves]

    def optimum(self, *, draws: int = resampling.DRAWS) -> Optimum:
        """See :func:`optimum`."""
        return optimum(list(self.curves.values()), np.array(list(self.curves)), self.steps, draws=draws)


def exponents(budgets: Sequence[Budget], *, draws: int = resampling.DRAWS) -> tuple[Estimate, Estimate]:
    """Fit λ_opt ∝ T^a with one prefactor for every η, and λ_opt ∝ η^b with one for every T.

    Seeds and images are drawn, and the pairs of η and T.

    Returns:
        a and b.

    Raises:
        Lacking: there are fewer than four budgets, or no η has two, or no T.
    """
    if len(budgets) < 4:
        raise Lacking(f"{len(budgets)} budgets whose grid brackets the optimum, fewer than 4")
    eta, steps = (np.array([getattr(one, name) for one in budgets]) for name in ("eta", "steps"))
    groups = [np.unique(values, return_inverse=True)[1] for values in (eta, steps)]
    if min(np.bincount(members).max() for members in groups) < 2:
        raise Lacking("no η with two budgets, or no budget with two η, whose grid brackets the optimum")

    def statistic(view: View) -> np.ndarray:
        tops = []
        for one in budgets:
            accuracies = [choice.best(view, [curves], one.steps) for curves in one.curves.values()]
            tops.append(summit(np.log10(list(one.curves)), np.stack(accuracies, axis=-1)))
        found = np.stack(tops, axis=-1)
        on_steps = slope(np.log10(steps), found, view.units, groups[0])
        return np.stack([on_steps, slope(np.log10(eta), found, view.units, groups[1])], axis=-1)

    seeds = len(next(iter(budgets[0].curves.values())).seeds)
    first, second = resampling.estimates(statistic, seeds, units=len(budgets), draws=draws)
    return first, second


def summit(u: np.ndarray, y: np.ndarray, width: float = WIDTH) -> np.ndarray:
    """Summit of the parabola through the points around the best one.

    If the best point is the first or last, that is where it lies: nothing brackets it.

    Args:
        u: log10 λ, increasing, shape ``[points]``, at least 3.
        y: shape ``[draws, points]``.
        width: how far from the best point the parabola goes, in the unit of u.

    Returns:
        Shape ``[draws]``, inside the grid.
    """
    best = first_best(y)
    near = np.abs(u - u[best][:, None]) <= width * (1 + 1e-9)
    near |= np.abs(np.arange(len(u)) - best[:, None]) <= 1
    linear, square = quadratic(u, y, near.astype(float), np.zeros(len(u), dtype=int))
    inner = (best > 0) & (best < len(u) - 1) & (square < 0)
    top = np.where(inner, -linear / np.where(inner, 2 * square, 1.0), u[best])
    return np.clip(top, u[0], u[-1])
