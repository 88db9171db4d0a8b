"""The optimal λ of a budget: the summit of a parabola through the accuracy over log λ, with an interval.

The best λ of a grid is one of a few values and has no interval worth the name. A parabola through the λ next to the
best has a summit between them, and each draw of seeds and images moves it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2dynamics.analysis import resampling
from l2dynamics.analysis.blocks import Curves
from l2dynamics.analysis.resampling import Estimate, View
from l2dynamics.analysis.slopes import best_within

WINDOW = 5
"""λ that the parabola goes through: the best of the draw and two on either side. Beyond, accuracy is no parabola."""


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
        ValueError: there are fewer than three λ, or two equal ones.
    """
    order = np.argsort(l2)
    u = np.log10(np.asarray(l2, dtype=float)[order])
    if len(u) < 3 or len(u) != len(candidates) or (np.diff(u) <= 0).any():
        raise ValueError("a parabola needs three different l2, and one curve for each")
    curves = [candidates[k] for k in order]

    def accuracies(view: View) -> np.ndarray:
        return np.stack([best_within(view, one, step) for one in curves], axis=-1)

    found = resampling.estimate(lambda view: summit(u, accuracies(view)), len(curves[0].seeds), draws=draws)
    seeds = len(curves[0].seeds)
    observed = accuracies(View(np.full((1, seeds), 1 / seeds), np.ones((1, 20)), np.ones((1, 0))))[0]
    inside = 0 < int(observed.argmax()) < len(u) - 1
    held = u[0] < found.low(0.9) and found.high(0.9) < u[-1]
    return Optimum(found, bool(inside and held), (float(10 ** u[0]), float(10 ** u[-1])))


def summit(u: np.ndarray, y: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Summit of the parabola through the best point and its neighbours, held inside the grid.

    Where the points do not bend downwards it is the end of the grid that the parabola rises to.

    Args:
        u: increasing, shape ``[points]``, at least 3.
        y: shape ``[draws, points]``.
        window: points that the parabola goes through; fewer if there are no more.

    Returns:
        Shape ``[draws]``.
    """
    width = min(window, len(u))
    first = np.clip(y.argmax(axis=-1) - width // 2, 0, len(u) - width)
    index = first[:, None] + np.arange(width)
    x, values = u[index], np.take_along_axis(y, index, axis=-1)
    middle = x.mean(axis=-1, keepdims=True)
    design = np.stack([np.ones_like(x), x - middle, (x - middle) ** 2], axis=-1)
    _, b, q = np.moveaxis((np.linalg.pinv(design) @ values[..., None])[..., 0], -1, 0)
    bends = q < -1e-12
    top = middle[:, 0] + np.where(bends, -b / np.where(bends, 2 * q, 1.0), np.copysign(math.inf, b))
    return np.clip(top, u[0], u[-1])
