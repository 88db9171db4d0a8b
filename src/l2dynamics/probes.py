"""Short training runs that measure c: when they have shown their peak, and what kept them from it."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from l2dynamics.prediction import t_star
from l2dynamics.runs import MakeRun



# A run is followed to this multiple of its t* before the maximum is believed. The paper's own measurement
# (figure 4a) is followed to 3.0: 2 epochs, t* = 0.66.
STRETCH = 3.0
# Evaluations (step 0 apart) needed up to t*, and after it while the run could go on.
RESOLUTION, PATIENCE = 4, 8
# Accuracy above chance below which a run counts as not having learned. An output that does not depend on the
# input still moves between the frequencies of the classes.
LEARNED = 0.05


@dataclass(frozen=True)
class Probe:
    """One short training run.

    Attributes:
        l2: coefficient λ of the run.
        seed: seed of the run.
        status: ``peaked`` (t* is known), ``not_peaked`` (stopped before that), ``coarse`` (best so early that
            t* falls between the first evaluations), ``chance`` (never learned), ``diverged``, or ``running``.
        steps: times of the evaluations, in the unit of the budget.
        test_accuracy: their accuracies, fractions.
        t_star: t* of the curve without its noise; of a run that has not peaked, of what was seen of it.
        c: t*·λ; NaN unless ``status`` is ``peaked``.
        c_low: time of the evaluation before t*, times λ: t* is not known more finely than that.
    """

    l2: float
    seed: int
    status: str = "running"
    steps: tuple[float, ...] = ()
    test_accuracy: tuple[float, ...] = ()
    t_star: float = math.nan
    c: float = math.nan
    c_low: float = math.nan

    @property
    def length(self) -> float:
        """Time of the last evaluation."""
        return self.steps[-1] if self.steps else 0.0

    def __str__(self) -> str:
        found = {
            "peaked": f"peaked at {self.t_star:g}, c = {self.c:.3g}",
            "not_peaked": "had not peaked yet",
            "coarse": f"peaked before evaluation {RESOLUTION}",
            "chance": "stayed at chance level",
            "diverged": "diverged",
            "running": "running",
        }[self.status]
        accuracy = f", accuracy {self.test_accuracy[-1]:.3f}" if self.steps else ""
        return f"l2 {self.l2:.3g}, seed {self.seed}: {found} (at {self.length:g}{accuracy})"


def judge(
    probe: Probe, *, tolerance: float = 0.005, chance: float | None = None, ended: bool = True
) -> Probe:
    """Return the run with its status, t* and c, as far as its evaluations show them.

    t* is taken on the running median over a tenth of the evaluations (at least three), and the tolerance is
    raised to the scatter about it, so that a lucky evaluation on a plateau does not become the maximum.

    Args:
        probe: the run, finite accuracies only.
        tolerance: see :func:`l2dynamics.t_star`.
        chance: accuracy of guessing; None: the lowest accuracy of the run.
        ended: whether nothing follows; if something does, a peak among the first evaluations is not yet believed.
    """
    steps, accuracies = np.array(probe.steps), np.array(probe.test_accuracy)
    if steps.size == 0:
        return replace(probe, status="not_peaked")
    smooth = _running_median(accuracies)
    # With a thousand classes a large coefficient allows little more than chance.
    margin = LEARNED if chance is None else min(LEARNED, max(2 * tolerance, chance))
    if smooth.max() < margin + (accuracies.min() if chance is None else chance):
        return replace(probe, status="chance")
    scatter = 1.4826 * float(np.median(np.abs(accuracies - smooth)))
    peak = t_star(steps, smooth, tolerance=max(tolerance, scatter))
    before, after = int(np.sum((steps > 0) & (steps <= peak))), int(np.sum(steps > peak))
    if steps[-1] < STRETCH * peak or (after < PATIENCE and not ended):
        return replace(probe, status="not_peaked", t_star=peak)
    if before < RESOLUTION:
        return replace(probe, status="coarse")
    previous = float(steps[steps < peak][-1])
    return replace(probe, status="peaked", t_star=peak, c=peak * probe.l2, c_low=previous * probe.l2)


class Lab:
    """Makes the runs, one after the other, and keeps account of what they cost.

    Args:
        make_run: see :func:`l2dynamics.suggest_l2`.
        limit: time that all runs may take together.
        tolerance: see :func:`judge`.
        chance: see :func:`judge`.
        report: called with the run now and then (in its first 20 evaluations after each) and at its end.

    Raises:
        ValueError: ``make_run`` does not take ``(l2, seed)``.
    """

    def __init__(
        self,
        make_run: MakeRun,
        limit: float,
        *,
        tolerance: float,
        chance: float | None,
        report: Callable[[Probe], None],
    ):
        try:
            inspect.signature(make_run).bind(0.01, 0)
        except TypeError as error:
            raise ValueError(f"make_run must be callable as make_run(l2, seed): {error}") from error
        self.make_run, self.limit = make_run, limit
        self.tolerance, self.chance, self.report = tolerance, chance, report
        self.probes: list[Probe] = []

    @property
    def spent(self) -> float:
        """Time that the runs took so far."""
        return sum(probe.length for probe in self.probes)

    @property
    def left(self) -> float:
        """Time that is left."""
        return max(self.limit - self.spent, 0.0)

    def probe(self, l2: float, seed: int, cap: float) -> Probe:
        """Train with one coefficient until the accuracy has peaked.

        At the time ``cap`` the run is given up, unless its best accuracy so far lies in the first half of
        that
        time: then it is followed as long as it takes to believe it. A run ends with an evaluation, so it may
            exceed
        its time by less than the distance of two.

        Raises:
            ValueError: ``make_run`` yields something else than it should.
        """
        steps: list[float] = []
        accuracies: list[float] = []

        def seen(status: str) -> Probe:
            return Probe(l2, seed, status, tuple(steps), tuple(accuracies))

        end, look_at = min(cap, self.left), 0.0
        run: Any = None
        try:
            run = self.make_run(l2, seed)
            for step, accuracy in _evaluations(run):
                steps.append(step)
                accuracies.append(accuracy)
                if math.isnan(accuracy):
                    probe = seen("diverged")
                    break
                # Looking costs time in proportion to the evaluations made: do it at a geometric sequence of
                # them.
                if step < end and len(steps) < look_at:
                    continue
                look_at = 1.05 * len(steps)
                probe = self._judge(seen("running"), ended=step >= end)
                if step >= end:
                    end = self._extension(probe, cap)
                if probe.status in ("peaked", "coarse") or step >= end:
                    break
                self.report(seen("running"))
            else:
                probe = self._judge(seen("running"), ended=True)
        except FloatingPointError:
            probe = seen("diverged")
        finally:
            if hasattr(run, "close"):
                run.close()
        self.probes.append(probe)
        self.report(probe)
        return probe

    def _extension(self, judged: Probe, cap: float) -> float:
        hopeful = judged.status == "not_peaked" and judged.t_star <= cap / 2
        return min(STRETCH * judged.t_star, self.left) if hopeful else 0.0

    def _judge(self, probe: Probe, *, ended: bool) -> Probe:
        return judge(probe, tolerance=self.tolerance, chance=self.chance, ended=ended)


def _running_median(values: np.ndarray) -> np.ndarray:
    half = max(1, values.size // 20)
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)


def _evaluations(run: Any) -> Iterator[tuple[float, float]]:
    if not isinstance(run, Iterable):
        raise ValueError(
            f"make_run returns {type(run).__name__}: it must yield (step, test accuracy) in a loop"
        )
    last = -math.inf
    for item in run:
        try:
            step, accuracy = (float(value) for value in item)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"make_run yields {item!r}: it must yield pairs (step, test accuracy)"
            ) from error
        if not (math.isfinite(step) and step >= 0 and step > last):
            raise ValueError(
                f"make_run yields step {step:g} after {last:g}: steps start at 0 or later and increase"
            )
        if not (math.isnan(accuracy) or 0 <= accuracy <= 1):
            raise ValueError(
                f"make_run yields accuracy {accuracy:g}: give a fraction, divide percentages by 100"
            )
        last = step
        yield step, accuracy
