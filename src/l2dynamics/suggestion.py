"""One call from a training loop to a coefficient: measure c in short runs, predict λ."""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from l2dynamics.arguments import real, whole
from l2dynamics.prediction import predict_l2
from l2dynamics.probes import RESOLUTION, Lab, MakeRun, Probe

_FIRST_L2 = 0.01
_SEARCH_STEP = 10.0
_SEARCH_RUNS = 8


@dataclass(frozen=True)
class Suggestion:
    """What :func:`suggest_l2` found.

    Attributes:
        l2: predicted coefficient λ = c/T.
        low: lowest λ that the measured runs give, see ``c_low``.
        high: highest λ that the measured runs give.
        c: geometric mean of c over the runs that peaked, in the unit of the budget.
        c_low: smallest c of these runs, each taken at the evaluation before its t*.
        c_high: largest c of these runs.
        budget: the budget T.
        first_decay: the first decay of the learning rate as a fraction of T, or None.
        spent: length of all runs together, in the unit of the budget.
        share: ``spent`` as a fraction of the budget.
        probes: all runs, in the order in which they were made.
    """

    l2: float
    low: float
    high: float
    c: float
    c_low: float
    c_high: float
    budget: float
    first_decay: float | None
    spent: float
    share: float
    probes: tuple[Probe, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types; NaN becomes None."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(entry) for key, entry in value.items()}
            if isinstance(value, list | tuple):
                return [plain(entry) for entry in value]
            return None if isinstance(value, float) and math.isnan(value) else value

        return {key: plain(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        peaked = sum(probe.status == "peaked" for probe in self.probes)
        return (
            f"l2 = {self.l2:.2g} ({self.low:.2g} to {self.high:.2g}) for a budget of {self.budget:g}: "
            f"c = {self.c:.3g}, {peaked} of {len(self.probes)} runs peaked, at {self.share:.1%} of the budget"
        )


class NoPeakError(ValueError):
    """No run showed a peak of the test accuracy.

    Attributes:
        probes: the runs that were made.
    """

    def __init__(self, message: str, probes: tuple[Probe, ...]):
        super().__init__(message)
        self.probes = probes


def suggest_l2(
    make_run: MakeRun,
    budget: float,
    *,
    first_decay: float | None = None,
    l2: float | Iterable[float] | None = None,
    seeds: Iterable[int] = (0, 1),
    max_share: float = 0.2,
    tolerance: float = 0.005,
    chance: float | None = None,
    progress: bool | Callable[[Probe], None] = True,
) -> Suggestion:
    """Train briefly with large L2 coefficients and predict the best one for the whole budget (section 3).

    Each run is stopped as soon as its accuracy has peaked. Without a list of coefficients a suitable one is
    searched for, from 0.01 upwards while the accuracy takes too long to peak, downwards if the run diverges,
    does not learn, or peaks before it was evaluated a few times. Then the measurement is repeated with the
    other seeds and with half the coefficient. :func:`l2dynamics.probes.judge` says how evaluation noise is
    handled.

    Args:
        make_run: ``make_run(l2, seed)`` starts a fresh training with the loss ``L + l2/2 · ‖θ‖²`` at the
            learning rate that the planned training starts with, held *constant*, and returns an iterable of
            ``(step, test_accuracy)``, usually as a generator. ``step`` is the training time so far in the
            unit of ``budget`` (fractions of an epoch are fine), the accuracy a fraction. It is stopped from
            outside, so it may go on for ever. Evaluate often: four evaluations up to the peak are needed,
            ten are good. NaN or a ``FloatingPointError`` mean that the run diverged.
        budget: length T of the planned training, in steps or epochs.
        first_decay: when the learning rate of the planned training is first lowered, as a fraction of the
            budget.
        l2: coefficient to start the search from, or a list of coefficients to measure at, without a search.
        seeds: seeds to measure with, whole numbers.
        max_share: most that all runs may cost together, as a fraction of the budget.
        tolerance: distance from the maximum that counts as reached, see :func:`l2dynamics.t_star`.
        chance: accuracy of guessing; default: the lowest accuracy of each run.
        progress: True for a line per run on stderr, or a function that gets the :class:`Probe` as it goes on.

    Returns:
        The suggestion. ``low`` to ``high`` is the spread of the measured runs, not a confidence interval of
        the optimum; the paper finds the tuned coefficient within a factor of ten of the prediction.

    Raises:
        ValueError: an argument is out of its range, or ``make_run`` yields something else than described.
        NoPeakError: (a ValueError) no run peaked; the message says whether the accuracy had not peaked yet,
            stayed at chance level or the run diverged, and what to do.

    Examples:
        A stand-in for a training; its accuracy is within 0.005 of its maximum from 0.53/λ on:

        >>> import math
        >>> def make_run(l2, seed):
        ...     for step in range(0, 1000, 2):
        ...         x = step * l2 / 0.6
        ...         yield step, 0.1 + 0.7 * x * math.exp(1 - x)
        >>> suggestion = suggest_l2(make_run, budget=10_000, progress=False)
        >>> round(suggestion.l2, 6)
        5.4e-05
    """
    predict_l2(1.0, budget, first_decay=first_decay)
    budget, first_decay = float(budget), None if first_decay is None else float(first_decay)
    measure_at = None if l2 is None else _listed("l2", l2)
    coefficients = [
        real("l2", value, lambda value: value > 0, "the runs need a positive coefficient, such as 0.01")
        for value in ([_FIRST_L2 if l2 is None else l2] if measure_at is None else measure_at)
    ]
    listed = _listed("seeds", seeds)
    if listed is None:
        raise ValueError(f"seeds is {seeds}: give a list of seeds, such as (0, 1)")
    numbers = [whole("seed", seed, lambda _: True, "give whole numbers, such as 0") for seed in listed]
    max_share = real(
        "max_share", max_share, lambda value: 0 < value <= 1, "give a fraction of the budget, such as 0.2"
    )
    tolerance = real(
        "tolerance", tolerance, lambda value: value >= 0, "give a distance of accuracies, such as 0.005"
    )
    if chance is not None:
        chance = real(
            "chance", chance, lambda value: 0 <= value <= 1, "give a fraction, such as 0.1 for ten classes"
        )
    lab = Lab(make_run, max_share * budget, tolerance=tolerance, chance=chance, report=_reporter(progress))
    if measure_at is not None:
        plan = [(value, seed) for value in coefficients for seed in numbers]
        for done, (value, seed) in enumerate(plan):
            lab.probe(value, seed, lab.left / (len(plan) - done))
    elif (first := _search(lab, coefficients[0], numbers[0])) is not None:
        for value, seed in [*((first.l2, seed) for seed in numbers[1:]), (first.l2 / 2, numbers[0])]:
            # Not worth starting what cannot be followed past its peak.
            if first.length * first.l2 / value <= lab.left:
                lab.probe(value, seed, lab.left)
    return _suggestion(lab, budget, first_decay)


def _listed(name: str, values: Any) -> list[Any] | None:
    """Return the values of any iterable, at least one, or None if it is a single value."""
    try:
        found = None if isinstance(values, str | bytes) else list(values)
    except TypeError:
        found = None
    if found == []:
        raise ValueError(f"{name} is empty: give at least one value or leave the argument out")
    return found


def _search(lab: Lab, l2: float, seed: int) -> Probe | None:
    """Return the first run that peaked, or None when the time is used up."""
    slow, bad = 0.0, math.inf  # bounds found: too small to peak in time, too large to measure
    shortest = cap = lab.limit / _SEARCH_RUNS
    for _ in range(_SEARCH_RUNS):
        if lab.left < shortest:  # so short a run would say nothing
            break
        probe = lab.probe(l2, seed, cap)
        if probe.status == "peaked":
            return probe
        if probe.status == "not_peaked":
            slow = max(slow, l2)
        else:
            bad = min(bad, l2)
        if not slow:
            l2 /= _SEARCH_STEP
        elif bad == math.inf:
            l2 *= _SEARCH_STEP
        else:  # c is measured best at a small coefficient: follow that one for longer, and only then a larger one
            followed = l2 == slow and cap > shortest
            l2, cap = (math.sqrt(slow * bad) if followed else slow), lab.left / 2
    return None


def _reporter(progress: bool | Callable[[Probe], None]) -> Callable[[Probe], None]:
    if callable(progress):
        return progress

    def write(probe: Probe) -> None:
        if progress and probe.status != "running":
            print(probe, file=sys.stderr, flush=True)

    return write


def _suggestion(lab: Lab, budget: float, first_decay: float | None) -> Suggestion:
    peaked = [probe for probe in lab.probes if probe.status == "peaked"]
    if not peaked:
        raise NoPeakError(_advice(lab.probes), tuple(lab.probes))
    c_low, c_high = min(probe.c_low for probe in peaked), max(probe.c for probe in peaked)
    # Rounding may lift the mean of equal numbers above them.
    c = min(math.exp(sum(math.log(probe.c) for probe in peaked) / len(peaked)), c_high)
    l2, low, high = (predict_l2(value, budget, first_decay=first_decay) for value in (c, c_low, c_high))
    return Suggestion(
        l2=l2,
        low=low,
        high=high,
        c=c,
        c_low=c_low,
        c_high=c_high,
        budget=budget,
        first_decay=first_decay,
        spent=lab.spent,
        share=lab.spent / budget,
        probes=tuple(lab.probes),
    )


def _advice(probes: Sequence[Probe]) -> str:
    remedies = {
        "not_peaked": "the accuracy had not peaked yet: raise max_share or start from a larger l2",
        "coarse": f"it peaked before evaluation {RESOLUTION}: evaluate more often",
        "chance": "it stayed at chance level: give a smaller l2 or a larger max_share, and check that the "
        "model learns without L2",
        "diverged": "training diverged: lower the learning rate or give a smaller l2",
    }
    parts = []
    for status, remedy in remedies.items():
        values = sorted({probe.l2 for probe in probes if probe.status == status})
        if values:
            span = f"l2 {values[0]:.2g}" + (f" to {values[-1]:.2g}" if len(values) > 1 else "")
            longest = max(probe.length for probe in probes if probe.status == status)
            parts.append(f"at {span} (followed to {longest:g}) {remedy}")
    return "no run showed a peak of the test accuracy; " + "; ".join(parts)
