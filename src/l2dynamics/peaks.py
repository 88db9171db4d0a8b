"""When a test accuracy has reached its best: the one definition of t*, for the library, claims and figures.

Curves are arrays whose last axis is time, ``[..., times]``; the axes before it (draws of a resampling, say) are treated
each on its own. A curve with a NaN has no time: NaN.
"""

import numpy as np
import numpy.typing as npt

TOLERANCE = 0.005
"""t* is the first evaluation within this accuracy of the maximum (Section 2: "within .5%"), absolute."""

REACHED = 0.95
"""t₉₅ is the first evaluation at this part of the way from chance to the maximum."""

EARLY = 0.01
"""A maximum is early if the accuracy at the end is not lower than it by more than this, absolute."""

# Accuracies are multiples of 1/N_test and often come as float32, so "exactly 0.005 below the maximum" is a
# common case that rounding must not decide.
_ROUNDING_SLACK = 1e-7


def running_median(values: npt.ArrayLike, half: int = 1) -> np.ndarray:
    """Return the running median over ``2 * half + 1`` neighbouring evaluations.

    Beyond the ends the first and the last evaluation are repeated. With three neighbours the ends so keep their own
    value: of a curve that still rises the last evaluation is its maximum, which a shorter window or a mirrored
    end would take away.

    Args:
        values: curves, shape ``[..., times]``.
        half: neighbours on either side, ≥ 0; the criteria take 1.

    Returns:
        Smoothed curves of the same shape, float64.

    Raises:
        ValueError: ``half`` is negative or there is no evaluation.
    """
    curves = np.asarray(values, dtype=np.float64)
    if half < 0 or curves.ndim == 0 or curves.shape[-1] == 0:
        raise ValueError(
            f"a running median needs half >= 0 and evaluations, not {half} and shape {curves.shape}"
        )
    if half == 0:
        return curves.copy()
    if half > 1:
        padded = np.pad(curves, [(0, 0)] * (curves.ndim - 1) + [(half, half)], mode="edge")
        return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=-1), axis=-1)
    smooth = curves.copy()
    before, here, after = curves[..., :-2], curves[..., 1:-1], curves[..., 2:]
    low, high = np.minimum(before, after), np.maximum(before, after)
    smooth[..., 1:-1] = np.maximum(low, np.minimum(high, here))
    return smooth


def first_within(times: npt.ArrayLike, values: npt.ArrayLike, tolerance: float = TOLERANCE) -> np.ndarray:
    """Return the first evaluation within ``tolerance`` of each curve's maximum, without smoothing.

    An evaluation at time 0 belongs to no training: it counts only if no later one is better, and the time is then 0.
    Otherwise the chance-level start of a run whose maximum is near chance would be its t*.

    Args:
        times: of the evaluations, increasing, ≥ 0, shape ``[times]``; any unit.
        values: accuracies as fractions, shape ``[..., times]``.
        tolerance: distance from the maximum that counts as reached, ≥ 0.

    Returns:
        Times in the unit of ``times``, shape ``[...]``.

    Raises:
        ValueError: the number of times is not that of the evaluations.
    """
    at, curves = _checked(times, values)
    return _first(at, curves, curves.max(axis=-1) - tolerance)


def star(times: npt.ArrayLike, values: npt.ArrayLike, tolerance: float = TOLERANCE) -> np.ndarray:
    """Return t*: :func:`first_within` of the running median over three neighbouring evaluations.

    Args:
        times: as there, shape ``[times]``.
        values: mean curves of the seeds, fractions, shape ``[..., times]``.
        tolerance: as there.

    Returns:
        Times in the unit of ``times``, shape ``[...]``.

    Raises:
        ValueError: the number of times is not that of the evaluations.
    """
    return first_within(times, running_median(values), tolerance)


def reach(times: npt.ArrayLike, values: npt.ArrayLike, chance: float, part: float = REACHED) -> np.ndarray:
    """Return t₉₅, the first time at chance + 0.95 (maximum − chance) of the running median over three neighbours.

    It crosses the curve where that is steep, so noise moves it less than t*.

    Args:
        times: of the evaluations, increasing, ≥ 0, shape ``[times]``; any unit.
        values: mean curves of the seeds, fractions, shape ``[..., times]``.
        chance: accuracy of guessing.
        part: of the way from chance to the maximum, 0 … 1.

    Returns:
        Times in the unit of ``times``, shape ``[...]``; NaN where the maximum is not above chance.

    Raises:
        ValueError: the number of times is not that of the evaluations.
    """
    at, curves = _checked(times, running_median(values))
    best = curves.max(axis=-1)
    return np.where(best > chance, _first(at, curves, chance + part * (best - chance)), np.nan)


def first_at(times: npt.ArrayLike, values: npt.ArrayLike, level: npt.ArrayLike) -> np.ndarray:
    """Return the first time at which the running median over three neighbours is at a level.

    Args:
        times: of the evaluations, increasing, ≥ 0, shape ``[times]``; any unit.
        values: mean curves of the seeds, fractions, shape ``[..., times]``.
        level: of each curve, shape ``[...]``.

    Returns:
        Times in the unit of ``times``, shape ``[...]``; NaN where the curve stays below.

    Raises:
        ValueError: the number of times is not that of the evaluations.
    """
    at, curves = _checked(times, running_median(values))
    reached = curves >= np.asarray(level, dtype=np.float64)[..., None] - _ROUNDING_SLACK
    return np.where(reached.any(axis=-1), at[np.argmax(reached, axis=-1)], np.nan)


def early_maximum(values: npt.ArrayLike, margin: float = EARLY) -> np.ndarray:
    """Say whether the accuracy stays at its maximum: at the end ≥ maximum − 0.01, of the running median.

    At λ = 0 it does where the law can be seen; if the accuracy falls, early stopping hides the law.

    Args:
        values: mean curves of the seeds, fractions, shape ``[..., times]``.
        margin: how far it may have fallen, absolute.

    Returns:
        Booleans, shape ``[...]``; False for a curve with a NaN.
    """
    smooth = running_median(values)
    return np.asarray(smooth[..., -1] >= smooth.max(axis=-1) - margin - _ROUNDING_SLACK)


def _checked(times: npt.ArrayLike, values: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    at, curves = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if at.ndim != 1 or at.size == 0 or curves.shape[-1:] != at.shape:
        raise ValueError(f"{at.shape} times do not fit curves of shape {curves.shape}: the last axis is time")
    return at, curves


def _first(at: np.ndarray, curves: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The first time at which each curve is at its level."""
    reached = curves >= level[..., None] - _ROUNDING_SLACK
    if at[0] == 0:
        # Maximum below: at a curve of one evaluation there is no later one, and it counts.
        reached[..., 0] &= curves[..., 0] >= curves.max(axis=-1)
    found = at[np.argmax(reached, axis=-1)]
    return np.where(np.isnan(curves).any(axis=-1), np.nan, found)
