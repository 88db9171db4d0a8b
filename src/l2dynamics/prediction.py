"""Predict the optimal L2 coefficient of a training budget from one short run (section 3, "Optimal L2").

At a fixed learning rate the time of the best test accuracy is ``t* ≈ c/λ``. Measure c where λ is large and t*
early; the coefficient for a budget T is then ``λ = c/T``: the smallest one whose accuracy peaks within the
budget.
"""

import math

import numpy as np
import numpy.typing as npt

from l2dynamics import peaks
from l2dynamics.arguments import real

_ROUNDING_SLACK = 1e-7


def t_star(steps: npt.ArrayLike, test_accuracy: npt.ArrayLike, *, tolerance: float = 0.005) -> float:
    """Return t*, the first evaluation at which the test accuracy is within ``tolerance`` of its maximum.

    This is the paper's definition (supplement A: "within .5 %", read as 0.005 absolute). Evaluations with NaN
    accuracy (a run that diverged) are left out. The evaluation at step 0 belongs to no training at all: it is
    t* only if no later one is better (the run never learned, and t* = 0 says so); otherwise a chance-level
    plateau at the start of a run whose maximum is near chance would give t* = 0 for a run that did peak
    later.

    Args:
        steps: times of the evaluations in any unit (steps, epochs), strictly increasing, ≥ 0, shape ``[n]``.
        test_accuracy: test accuracies as fractions between 0 and 1, shape ``[n]``.
        tolerance: distance from the maximum that counts as reached, ≥ 0.

    Returns:
        t* in the unit of ``steps``.

    Raises:
        ValueError: the lengths differ, there is no finite accuracy, the steps do not increase, or an accuracy
            is not a fraction.

    Examples:
        >>> t_star([0, 10, 20, 40, 80], [0.1, 0.5, 0.797, 0.8, 0.7])
        20.0
    """
    times, accuracies = _curve(steps, test_accuracy)
    tolerance = real(
        "tolerance",
        tolerance,
        lambda value: value >= 0,
        "it must be zero or a positive number, such as 0.005",
    )
    return float(peaks.first_within(times, accuracies, tolerance))


def measure_c(
    steps: npt.ArrayLike, test_accuracy: npt.ArrayLike, l2: float, *, stretch: float = 1.5
) -> float:
    """Return the coefficient ``c = t*·λ`` of one training run (section 3).

    The paper finds 0.0066 epochs for its Wide ResNet; c depends on the network, the data and the learning
    rate.

    The run must have peaked: its last finite evaluation must lie at ``stretch`` times t* or later. A curve that ends
    sooner may still be rising, and its t* is then that of its end. At the default an accuracy that approaches its
    maximum exponentially has its t* right within 4 %. (:func:`l2dynamics.suggest_l2` follows its runs to 3 t*.)

    Args:
        steps: times of the evaluations, shape ``[n]``; c has their unit, and the budget of :func:`predict_l2`
            must have it too.
        test_accuracy: test accuracies as fractions between 0 and 1, shape ``[n]``.
        l2: the run's coefficient λ, > 0.
        stretch: multiple of t* to which the run must have been followed, ≥ 1; 1 takes t* as it is.

    Returns:
        c in the unit of ``steps``.

    Raises:
        ValueError: bad curve (see :func:`t_star`), an argument is out of its range, the run was best before it
            started, or it ended before it had peaked.

    Examples:
        >>> round(measure_c([0, 10, 20, 40, 80], [0.1, 0.5, 0.797, 0.8, 0.7], l2=0.01), 3)
        0.2
    """
    l2 = real(
        "l2", l2, lambda value: value > 0, "measure c on a run with a positive L2 coefficient, such as 0.01"
    )
    stretch = real("stretch", stretch, lambda value: value >= 1, "it must be at least 1, such as 1.5")
    peak = t_star(steps, test_accuracy)
    if peak == 0:
        raise ValueError(
            "test_accuracy never rises above its value at step 0: the run did not learn, try a smaller l2 or "
            "another learning rate"
        )
    end = _curve(steps, test_accuracy)[0][-1]
    if end < stretch * peak * (1 - _ROUNDING_SLACK):
        raise ValueError(
            f"test_accuracy may still be rising: t* is {peak:g} and the run ends at {end:g}, so it has not peaked; "
            f"follow it to {stretch * peak:g} or further, or use a larger l2"
        )
    return peak * l2


def predict_l2(c: float, budget: float, *, first_decay: float | None = None) -> float:
    """Return the predicted optimal coefficient ``λ = c/T`` for a training budget T (section 3).

    With a piecewise-constant learning-rate schedule the accuracy should peak when the rate is first lowered,
    so ``λ = c/T₁``, T₁ being the time of the first decay.

    Args:
        c: coefficient from :func:`measure_c`, > 0, in the unit of ``budget`` (steps or epochs).
        budget: length T of the planned training, > 0.
        first_decay: T₁ as a fraction of the budget, between 0 (exclusive) and 1; None for a constant rate.

    Returns:
        λ of ``L + λ/2 · ‖θ‖²``. In the paper's measurements the tuned λ lies within a factor of ten of it.

    Raises:
        ValueError: an argument is out of its range.

    Examples:
        >>> predict_l2(0.0066, 50)
        0.000132
        >>> round(predict_l2(0.0066, 200, first_decay=0.3), 6)
        0.00011
    """
    c = real("c", c, lambda value: value > 0, "it must be a positive number, measure it with measure_c")
    time = budget = real(
        "budget", budget, lambda value: value > 0, "it must be a positive number of steps or epochs"
    )
    if first_decay is not None:
        time *= real(
            "first_decay",
            first_decay,
            lambda value: 0 < value <= 1,
            "give a fraction of the budget between 0 and 1, such as 0.3",
        )
    l2 = c / time if time > 0 else math.inf
    if not (math.isfinite(l2) and l2 > 0):
        raise ValueError(
            f"budget is {budget} and c {c}: their ratio is no number; give both in one unit, steps or epochs"
        )
    return l2


def _curve(steps: npt.ArrayLike, test_accuracy: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the finite part of a curve as two float64 arrays of one length, at least 1."""
    times = np.asarray(steps, dtype=np.float64)
    accuracies = np.asarray(test_accuracy, dtype=np.float64)
    if times.ndim != 1 or times.shape != accuracies.shape:
        raise ValueError(
            f"steps has shape {times.shape}, test_accuracy {accuracies.shape}: give two lists of one length"
        )
    if not np.all(np.isfinite(times)) or np.any(times < 0) or np.any(np.diff(times) <= 0):
        raise ValueError(
            "steps must be finite, not negative and strictly increasing: pass one run at a time, in order"
        )
    kept = ~np.isnan(accuracies)
    if not kept.any():
        raise ValueError(
            "test_accuracy has no finite value: the run diverged at once, lower the learning rate or l2"
        )
    times, accuracies = times[kept], accuracies[kept]
    if accuracies.min() < 0 or accuracies.max() > 1:
        raise ValueError("test_accuracy must be fractions between 0 and 1: divide percentages by 100")
    return times, accuracies
