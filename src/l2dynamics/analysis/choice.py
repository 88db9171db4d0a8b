"""Accuracy of the best of several: chosen by looking at accuracy, scored on images that were not looked at.

What is chosen on one half of the test images and scored on the other has no luck of images in its score. The luck of
seeds remains: a seed that came out well at one λ, or at one evaluation, did so on both halves. The best of six equal
λ is so found better than one of them by up to the scatter of runs. ``across_seeds``, which chooses on the other seeds
too and which no claim uses, is there to tell by how much (docs/calibration.md has the numbers).
"""

import math
from collections.abc import Sequence

import numpy as np

from l2dynamics.analysis.blocks import HALF_A, HALF_B, Curves, at, crossed, first_best
from l2dynamics.analysis.resampling import View


def best(
    view: View, candidates: Sequence[Curves], step: float = math.inf, *, across_seeds: bool = False
) -> np.ndarray:
    """Accuracy of the best candidate (λ, or η) at its best evaluation within a budget, both chosen together.

    Args:
        view: draws.
        candidates: grid points with the same seeds; their evaluations may differ. One: its maximum accuracy.
        step: the budget.
        across_seeds: choose for each seed by the mean of the other ones, and score on that seed. In a draw that holds
            one seed only there is no other, and it is chosen by itself.

    Returns:
        Mean of both ways round and over seeds, shape ``[draws or 1]``.

    Raises:
        ValueError: a candidate has no evaluation within the budget.
    """
    kept = [one.until(step) for one in candidates]
    if not across_seeds or len(kept[0].seeds) == 1:
        first, second = (
            np.concatenate([view.accuracy(one, half) for one in kept], axis=-1) for half in (HALF_A, HALF_B)
        )
        return crossed(first, second)
    first, second = (
        np.concatenate([view.by_seed(one, half) for one in kept], axis=-1) for half in (HALF_A, HALF_B)
    )
    score = np.zeros(max(len(view.seeds), len(first)))
    for seed in range(len(kept[0].seeds)):
        others = view.seeds.copy()
        others[:, seed] = 0
        alone = others.sum(axis=1) == 0
        others[alone] = view.seeds[alone]
        by_first, by_second = (first_best((others[:, None, :] @ half)[:, 0]) for half in (first, second))
        ways = at(second[:, seed], by_first) + at(first[:, seed], by_second)
        score += view.seeds[:, seed] * 0.5 * ways
    return score


def spread(view: View, options: Sequence[Curves]) -> np.ndarray:
    """Range of the maximum accuracy over options: the best and the worst chosen on one half, scored on the other.

    The range of equal options, which is never negative as it is seen, is so 0 on average.

    Args:
        view: draws.
        options: grid points with the same seeds.

    Returns:
        Mean of both ways round, shape ``[draws or 1]``.
    """
    scores = []
    for half, other in ((HALF_A, HALF_B), (HALF_B, HALF_A)):
        seen, scored = [], []
        for one in options:
            by, on = view.accuracy(one, half), view.accuracy(one, other)
            place = first_best(by)
            seen.append(at(by, place))
            scored.append(at(on, place))
        by, on = np.stack(seen, axis=-1), np.stack(scored, axis=-1)
        scores.append(at(on, first_best(by)) - at(on, first_best(-by)))
    return np.asarray(0.5 * (scores[0] + scores[1]))
