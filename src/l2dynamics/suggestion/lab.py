"""Makes the short training runs, one after the other, stops each as soon as it has said enough, and counts the cost."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from l2dynamics.suggestion.probes import LONG_STRETCH, PATIENCE, STRETCH, Metric, Probe, judge, smoothed
from l2dynamics.suggestion.runs import MakeRun

_MANY = 8


class Lab:
    """Makes the runs, one after the other, and keeps account of what they cost.

    Args:
        make_run: see :func:`l2dynamics.suggest_l2`.
        limit: time that all runs may take together.
        tolerance: see :func:`judge`.
        chance: see :func:`judge`.
        report: called with the run now and then (in its first 20 evaluations after each) and at its end.
        metric: what the runs yield.
        believed: time, times λ, before which no peak is believed.

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
        metric: Metric = "accuracy",
        believed: float = 0.0,
    ):
        try:
            inspect.signature(make_run).bind(0.01, 0)
        except TypeError as error:
            raise ValueError(f"make_run must be callable as make_run(l2, seed): {error}") from error
        self.make_run, self.limit, self.metric = make_run, limit, metric
        self.tolerance, self.chance, self.report = tolerance, chance, report
        self.believed = believed
        self._floor = math.inf  # worst accuracy of all runs: where chance is unknown, it is at most this
        self.probes: list[Probe] = []

    @property
    def spent(self) -> float:
        """Time that the runs took so far."""
        return sum(probe.length for probe in self.probes)

    @property
    def left(self) -> float:
        """Time that is left."""
        return max(self.limit - self.spent, 0.0)

    @property
    def spacing(self) -> float:
        """Distance of two evaluations; 0 as long as none was seen."""
        return max((probe.spacing for probe in self.probes if probe.steps), default=0.0)

    def reference(self, seed: int, shortest: float, longest: float, evaluations: int) -> Probe:
        """Train without L2 until something was learned; the status is ``reference`` if it was.

        Args:
            seed: seed of the run.
            shortest: time to train for at least, unless there were very many evaluations.
            longest: time after which the run is given up.
            evaluations: evaluations to make at least.
        """

        def enough(judged: Probe) -> bool:
            long = judged.length >= shortest or len(judged.steps) >= _MANY * evaluations
            long &= len(judged.steps) >= evaluations
            return judged.length >= longest or (long and judged.status != "chance")

        probe = self._run(0.0, seed, enough)
        if probe.status not in ("empty", "diverged", "chance"):
            probe = replace(probe, status="reference", c=math.nan, c_low=math.nan)
        return self._keep(probe)

    def follow(self, l2: float, seed: int, end: float, enough: Callable[[Probe], bool]) -> Probe:
        """Train with one coefficient till a time, or until it is enough."""
        return self._keep(
            self._run(l2, seed, lambda probe: probe.length >= end or enough(probe), lambda: end)
        )

    def judge_again(self) -> None:
        """Judge all runs by what all of them have shown."""
        for index, probe in enumerate(self.probes):
            if probe.status in ("peaked", "coarse", "chance", "not_peaked"):
                self.probes[index] = self._judge(probe, ended=True)

    def probe(self, l2: float, seed: int, cap: float) -> Probe:
        """Train with one coefficient until the accuracy has peaked.

        At the time ``cap`` the run is given up, unless its best accuracy so far lies in the first two thirds of that
        time: then it is followed as long as it takes to believe it. A run ends with an evaluation, so it may exceed
        its time by less than the distance of two.

        Raises:
            ValueError: ``make_run`` yields something else than it should.
        """
        end = min(cap, self.left)

        def enough(judged: Probe) -> bool:
            nonlocal end
            over = judged.length >= end
            if over:
                end = self._extension(judged, cap)
            clear = judged.status in ("peaked", "coarse") and judged.length * l2 >= self.believed
            return judged.length >= end or clear

        return self._keep(self._run(l2, seed, enough, lambda: end))

    def _run(
        self,
        l2: float,
        seed: int,
        enough: Callable[[Probe], bool],
        end: Callable[[], float] = lambda: math.inf,
    ) -> Probe:
        """Train until it is enough; between looks, at most till the time ``end()``."""
        steps: list[float] = []
        values: list[float] = []
        look_at = 0.0
        run: Any = None

        def seen(status: str = "running") -> Probe:
            return Probe(l2, seed, status, tuple(steps), tuple(values), metric=self.metric)

        try:
            run = self.make_run(l2, seed)
            for step, value in _evaluations(run, self.metric):
                steps.append(step)
                values.append(value)
                if not math.isfinite(value):
                    return seen("diverged")
                # Looking costs time in proportion to the evaluations made: do it at a geometric sequence of them.
                if step < end() and len(steps) < look_at:
                    continue
                look_at = 1.05 * len(steps)
                judged = self._judge(seen(), ended=step >= end())
                if enough(judged):
                    return judged
                self.report(seen())
            return self._judge(seen(), ended=True)
        except FloatingPointError:
            return seen("diverged")
        finally:
            if hasattr(run, "close"):
                run.close()

    def _keep(self, probe: Probe) -> Probe:
        finite = np.array([value for value in probe.values if math.isfinite(value)])
        if finite.size >= PATIENCE:
            self._floor = min(self._floor, float(smoothed(finite).min()))
        self.probes.append(probe)
        self.report(probe)
        return probe

    def _extension(self, judged: Probe, cap: float) -> float:
        hopeful = judged.status == "not_peaked" and judged.t_star <= cap / STRETCH
        return min(LONG_STRETCH * judged.t_star, self.left) if hopeful else 0.0

    def _judge(self, probe: Probe, *, ended: bool) -> Probe:
        return judge(probe, tolerance=self.tolerance, chance=self.chance, floor=self._floor, ended=ended)


def _evaluations(run: Any, metric: Metric) -> Iterator[tuple[float, float]]:
    if not isinstance(run, Iterable):
        raise ValueError(
            f"make_run returns {type(run).__name__}: it must yield (step, test {metric}) in a loop"
        )
    last = -math.inf
    for item in run:
        try:
            step, value = (float(entry) for entry in item)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"make_run yields {item!r}: it must yield pairs (step, test {metric})"
            ) from error
        if not (math.isfinite(step) and step >= 0 and step > last):
            raise ValueError(
                f"make_run yields step {step:g} after {last:g}: steps start at 0 or later and increase"
            )
        if metric == "accuracy" and -math.inf < value < 0:
            raise ValueError(
                f"make_run yields accuracy {value:g}: of a regression yield the test loss, or 1 − R², and say "
                'metric="loss"'
            )
        if metric == "accuracy" and 1 < value < math.inf:
            raise ValueError(
                f"make_run yields accuracy {value:g}: give a fraction, divide percentages by 100; a loss needs "
                'metric="loss"'
            )
        last = step
        yield step, value
