"""Short training runs that measure c: when one has shown its peak, and what kept it from it."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from l2dynamics import peaks
from l2dynamics.prediction import t_star

Metric = Literal["accuracy", "loss"]

# A run is followed to the first multiple of its t* if what comes after the maximum is clearly below it, and to the
# second one otherwise. The paper's own measurement (figure 4a) is followed to 3.0: 2 epochs, t* = 0.66.
STRETCH, LONG_STRETCH = 1.5, 2.5
# Evaluations (step 0 apart) needed up to t*, and after it while the run could go on.
RESOLUTION, PATIENCE = 4, 6
# Accuracy above chance, or change of the accuracy where chance is unknown, below which a run counts as not having
# learned. An output that does not depend on the input still moves between the frequencies of the classes.
LEARNED = 0.05
# A clear difference, in units of the noise of one evaluation.
_CLEAR = 2.0


@dataclass(frozen=True)
class Probe:
    """One short training run.

    Attributes:
        l2: coefficient λ of the run.
        seed: seed of the run.
        status: ``peaked`` (t* is known), ``not_peaked`` (stopped before that), ``coarse`` (best so early that
            t* falls between the first evaluations), ``chance`` (never learned), ``diverged``, ``empty`` (nothing was
            yielded), ``reference`` (learned without L2) or ``running``.
        steps: times of the evaluations, in the unit of the budget.
        values: test accuracies as fractions, or test losses.
        t_star: t* of the curve without its noise; of a run that has not peaked, of what was seen of it.
        c: t*·λ; NaN unless ``status`` is ``peaked``.
        c_low: time of the evaluation before t*, times λ: t* is not known more finely than that.
        noise: standard deviation of one evaluation, estimated from the curve; NaN below three of them.
        metric: ``accuracy`` or ``loss``.
    """

    l2: float
    seed: int
    status: str = "running"
    steps: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    t_star: float = math.nan
    c: float = math.nan
    c_low: float = math.nan
    noise: float = math.nan
    metric: Metric = "accuracy"

    @property
    def length(self) -> float:
        """Time of the last evaluation."""
        return self.steps[-1] if self.steps else 0.0

    @property
    def spacing(self) -> float:
        """Median distance of two evaluations; NaN without any."""
        return float(np.median(np.diff(self.steps, prepend=0.0))) if self.steps else math.nan

    @property
    def best(self) -> float:
        """Best accuracy or loss; NaN without any."""
        finite = [value for value in self.values if math.isfinite(value)]
        if not finite:
            return math.nan
        return max(finite) if self.metric == "accuracy" else min(finite)

    def __str__(self) -> str:
        found = {
            "peaked": f"peaked at {self.t_star:g}, c = {self.c:.3g}",
            "not_peaked": "had not peaked yet",
            "coarse": f"peaked before evaluation {RESOLUTION}",
            "chance": "had not learned",
            "diverged": "diverged",
            "empty": "yielded nothing",
            "reference": "learned without L2",
            "running": "running",
        }[self.status]
        value = f", {self.metric} {self.values[-1]:.3f}" if self.steps else ""
        return f"l2 {self.l2:.3g}, seed {self.seed}: {found} (at {self.length:g}{value})"


def judge(
    probe: Probe,
    *,
    tolerance: float = 0.005,
    chance: float | None = None,
    floor: float = math.inf,
    ended: bool = True,
) -> Probe:
    """Return the run with its status, t* and c, as far as its evaluations show them.

    t* is that of :func:`l2dynamics.t_star` on the curve without its noise (:func:`smoothed`). The tolerance is at least
    the noise of one evaluation, so that a lucky one on a plateau does not become the maximum.

    Args:
        probe: the run, finite values only.
        tolerance: see :func:`l2dynamics.t_star`; of a loss, see :func:`scores`.
        chance: accuracy of guessing; None: unknown, and a run has learned if it is clearly above what it, or another
            run, has had at its worst: guessing is not better than that.
        floor: accuracy that another run has had at its worst.
        ended: whether nothing follows; if something does, a peak among the first evaluations is not yet believed.
    """
    steps, values = np.array(probe.steps), np.array(probe.values)
    if steps.size == 0:
        return replace(probe, status="empty")
    scored, tolerance = scores(values, probe.metric, tolerance)
    noise = noise_of(scored)
    probe = replace(probe, noise=noise)
    if steps.size < 3:
        return replace(probe, status="not_peaked", t_star=float(steps[-1]))
    smooth = smoothed(scored)
    if not _learned(smooth, noise, tolerance, chance, floor, probe.metric):
        return replace(probe, status="chance")
    peak = _first_near_best(steps, smooth, max(tolerance, noise))
    before, later = int(np.sum((steps > 0) & (steps <= peak))), smooth[steps > peak]
    falls = later.size > 0 and np.median(later[-3:]) < smooth.max() - max(2 * tolerance, _CLEAR * noise)
    needed = STRETCH if falls else LONG_STRETCH
    # Compared with rounding in mind: times are often multiples of a fraction such as 0.1.
    followed = steps[-1] >= needed * peak * (1 - 1e-9) and later.size > 0
    if not followed or (later.size < (PATIENCE // 2 if falls else PATIENCE) and not ended):
        return replace(probe, status="not_peaked", t_star=peak)
    if before < RESOLUTION:
        return replace(probe, status="coarse", t_star=peak)
    previous = float(steps[steps < peak][-1])
    return replace(probe, status="peaked", t_star=peak, c=peak * probe.l2, c_low=previous * probe.l2)


def scores(values: np.ndarray, metric: Metric, tolerance: float) -> tuple[np.ndarray, float]:
    """Return the values such that the largest is best, and the tolerance in their unit.

    A loss has no scale of its own: the tolerance counts in units of twice what the run has gained, or of the best loss
    if that is smaller, which makes it 1 % at the default of 0.005.
    """
    if metric == "accuracy":
        return values, tolerance
    best = float(values.min())
    return -values, 2 * tolerance * min(float(values.max()) - best, abs(best))


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return the running median over a tenth of the evaluations, over 3 to 41 of them."""
    return peaks.running_median(values, half=min(max(1, values.size // 20), 20))


def noise_of(values: np.ndarray) -> float:
    """Return the standard deviation of one evaluation, from second differences, which know no slope; else NaN."""
    if values.size < 3:
        return math.nan
    return 1.4826 * float(np.median(np.abs(np.diff(values, n=2)))) / math.sqrt(6)


def _learned(
    smooth: np.ndarray, noise: float, tolerance: float, chance: float | None, floor: float, metric: Metric
) -> bool:
    clear = 2 * noise
    best, worst = float(smooth.max()), float(smooth.min())
    if metric == "loss":
        return best - worst > max(tolerance, clear)
    if chance is None:
        return best - min(worst, floor) >= max(LEARNED, clear)
    # With a thousand classes a large coefficient allows little more than chance.
    return best >= chance + min(LEARNED, max(2 * tolerance, chance))


def _first_near_best(steps: np.ndarray, scored: np.ndarray, tolerance: float) -> float:
    """t* of any score, by that of an accuracy with the same differences."""
    span = float(scored.max() - scored.min())
    if span == 0:
        return t_star(steps, np.zeros_like(scored))
    scale = max(span, tolerance)
    return t_star(steps, np.clip(1 + (scored - scored.max()) / scale, 0, 1), tolerance=tolerance / scale)
