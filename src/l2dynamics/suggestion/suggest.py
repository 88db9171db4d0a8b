"""One call from a training loop to a coefficient: measure c in short runs, predict λ."""

import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from l2dynamics.arguments import real, whole
from l2dynamics.autol2 import effective_rate
from l2dynamics.prediction import predict_l2
from l2dynamics.suggestion import finder
from l2dynamics.suggestion.answer import NoPeakError, Suggestion, answer
from l2dynamics.suggestion.lab import Lab
from l2dynamics.suggestion.probes import RESOLUTION, Metric, Probe
from l2dynamics.suggestion.runs import MakeRun
from l2dynamics.suggestion.separation import FIRST_L2, rate_by_separation

__all__ = ["NoPeakError", "Suggestion", "suggest_l2"]


def suggest_l2(
    make_run: MakeRun,
    budget: float,
    *,
    metric: Metric = "accuracy",
    learning_rate: float | None = None,
    momentum: float | None = None,
    steps_per_unit: float | None = None,
    first_decay: float | None = None,
    l2: float | Iterable[float] | None = None,
    seeds: Iterable[int] = (0, 1, 2),
    max_share: float = 0.5,
    tolerance: float = 0.005,
    chance: float | None = None,
    classes: int | None = None,
    labels: Iterable[int] | None = None,
    decoupled: bool | None = None,
    progress: bool | Callable[[Probe], None] = True,
) -> Suggestion:
    """Train briefly with large L2 coefficients and predict the best one for the whole budget (section 3).

    Where L2 acts follows from the learning rate: ``t* · η/(1 − momentum) · λ``, t* in weight updates, is 0.5 to 5 for
    SGD. Without a learning rate one run is made without L2, and coefficients in steps of ten until a curve parts from
    it. Then a coefficient is searched for whose accuracy peaks early in the budget, and c is measured at up to two
    more, down to a quarter, with other seeds. c is that of all curves together, which collapse on t·λ, drawn towards
    what is usual as far as they are few or disagree, and lowered by its standard error (too large a λ costs more
    accuracy than too small a one). Each run is stopped as soon as its accuracy has peaked;
    :func:`l2dynamics.suggestion.probes.judge` says how noise is handled.

    If no run peaks although they learn, the answer is a guess from what is usual on this scale, with a warning.

    Args:
        make_run: ``make_run(l2, seed)`` starts a fresh training with the loss ``L + l2/2 · ‖θ‖²`` at the
            learning rate that the planned training starts with, held *constant*, and returns an iterable of
            ``(step, test_accuracy)``, usually as a generator. ``step`` is the training time so far in the
            unit of ``budget`` (fractions of an epoch are fine), the accuracy a fraction. It is stopped from
            outside, so it may go on for ever. Evaluate often: four evaluations up to the peak are needed,
            ten are good. NaN or a ``FloatingPointError`` mean that the run diverged.
            :func:`l2dynamics.torch.make_run` and :func:`l2dynamics.flax.make_run` build it.
        budget: length T of the planned training, in steps or epochs.
        metric: ``"accuracy"``, or ``"loss"`` if ``make_run`` yields a test loss to be minimised, such as that of a
            regression or 1 − R². It counts as reached within ``2 · tolerance`` times what the run has gained (or the
            best loss, if smaller).
        learning_rate: η that the planned training starts with (AdamW: its learning rate), > 0; None takes that of
            ``make_run.learning_rate`` if there is one.
        momentum: heavy-ball momentum that goes with it; None takes ``make_run.momentum``, or 0.
        steps_per_unit: weight updates in one unit of the budget, such as those of an epoch; None takes
            ``make_run.steps_per_unit``, or 1.
        first_decay: when the learning rate of the planned training is first lowered, as a fraction of the
            budget.
        l2: coefficient to start from, or a list of coefficients to measure at, without a search.
        seeds: seeds to measure with, whole numbers.
        max_share: most that all runs may cost together, as a fraction of the budget. Long budgets need less.
        tolerance: distance from the maximum that counts as reached, see :func:`l2dynamics.t_star`.
        chance: accuracy of guessing, to tell runs that learn nothing; default: that of ``classes`` or ``labels``.
        classes: number of classes, for ``chance``; None takes ``make_run.classes`` if there is one.
        labels: labels of the test set, integers, for ``chance``: the share of the most frequent one.
        decoupled: whether the coefficient is decoupled weight decay, as in AdamW; None takes ``make_run.decoupled``, or
            False. λ = c/T is the law of a term λ/2 ‖θ‖² of the loss; with AdamW the best λ was found to fall more
            slowly (docs/beyond.md, X1), so that the answer is never a sure one.
        progress: True for a line per run on stderr, or a function that gets the :class:`Probe` as it goes on.

    Returns:
        The suggestion. ``low`` to ``high`` is the spread of the measured runs, not a confidence interval of
        the optimum; the paper finds the tuned coefficient within a factor of ten of the prediction.

    Raises:
        ValueError: an argument is out of its range, or ``make_run`` yields something else than described.
        NoPeakError: (a ValueError) no run peaked, or t* does not depend on λ; the message is one line with what
            happened and the one thing to change.

    Warns:
        UserWarning: the answer is doubtful, see ``Suggestion.warnings``.

    Examples:
        A stand-in for a training; its accuracy is within 0.005 of its maximum from 0.53/λ on:

        >>> import math
        >>> def make_run(l2, seed):
        ...     for step in range(0, 10_000, 2):
        ...         x = step * l2 / 0.6
        ...         yield step, 0.1 + 0.7 * x * math.exp(1 - x)
        >>> suggestion = suggest_l2(make_run, budget=10_000, progress=False)
        >>> round(suggestion.l2, 6)
        5.3e-05
    """
    predict_l2(1.0, budget, first_decay=first_decay)
    budget, first_decay = float(budget), None if first_decay is None else float(first_decay)
    if metric not in ("accuracy", "loss"):
        raise ValueError(
            f'metric is {metric!r}: it must be "accuracy" or "loss"; for R² yield 1 − R² as a loss'
        )
    rate, unit = _rate(make_run, learning_rate, momentum, steps_per_unit)
    given = rate is not None
    measure_at = None if l2 is None else _listed("l2", l2)
    coefficients = [
        real("l2", value, lambda value: value > 0, "the runs need a positive coefficient, such as 0.01")
        for value in ([1.0 if l2 is None else l2] if measure_at is None else measure_at)
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
    chance = _chance(make_run, chance, classes, labels)
    lab = Lab(
        make_run,
        max_share * budget,
        tolerance=tolerance,
        chance=chance,
        report=_reporter(progress),
        metric=metric,
        believed=0.0 if rate is None else finder.BELIEVED / rate,
    )
    if measure_at is not None:
        plan = [(value, seed) for value in coefficients for seed in numbers]
        for done, (value, seed) in enumerate(plan):
            lab.probe(value, seed, lab.left / (len(plan) - done))
        meant = lab.probes
    else:
        start = None if l2 is None else coefficients[0]
        if not given:
            rate = rate_by_separation(lab, numbers[0], start)
            lab.believed = 0.0 if rate is None else finder.BELIEVED / rate
        if lab.left < RESOLUTION * lab.spacing:  # the search for the rate has used the time up
            first = None
        elif rate is None:
            first = finder.search(lab, FIRST_L2 if start is None else start, numbers[0])
        else:
            placed = finder.first_l2(lab, rate, unit) if start is None or not given else start
            first = finder.bracket(lab, placed, numbers[0])
        searched = len(lab.probes)
        if first is not None:
            finder.ladder(lab, first, numbers)
        meant = lab.probes[searched - 1 :]
    adamw = bool(getattr(make_run, "decoupled", False) if decoupled is None else decoupled)
    found = answer(lab, meant, budget, first_decay, rate, given=given, decoupled=adamw)
    for warning in found.warnings:
        warnings.warn(f"suggest_l2: {warning}", stacklevel=2)
    return found


def _rate(
    make_run: Any, learning_rate: Any, momentum: Any, steps_per_unit: Any
) -> tuple[float | None, float]:
    """Return η_eff per unit of time and updates in a unit; what is not given is what ``make_run`` says of itself."""
    given = {"learning_rate": learning_rate, "momentum": momentum, "steps_per_unit": steps_per_unit}
    known = {name: getattr(make_run, name, None) if value is None else value for name, value in given.items()}
    unit = 1.0 if known["steps_per_unit"] is None else known["steps_per_unit"]
    unit = real("steps_per_unit", unit, lambda value: value > 0, "it must be a positive number of updates")
    if known["learning_rate"] is None:
        return None, unit
    return unit * effective_rate(known["learning_rate"], known["momentum"] or 0.0), unit


def _chance(make_run: Any, chance: Any, classes: Any, labels: Any) -> float | None:
    """Return the accuracy of guessing, or None if nothing is said about it."""
    if chance is not None:
        return real(
            "chance", chance, lambda value: 0 <= value <= 1, "give a fraction, such as 0.1 for ten classes"
        )
    if labels is not None:
        numbers = np.asarray(labels if hasattr(labels, "__array__") else list(labels))
        if numbers.size == 0 or numbers.ndim != 1:
            raise ValueError(f"labels has shape {numbers.shape}: give the labels of the test set, one each")
        return float(np.unique(numbers, return_counts=True)[1].max() / numbers.size)
    classes = getattr(make_run, "classes", None) if classes is None else classes
    if classes is None:
        return None
    return 1 / whole("classes", classes, lambda value: value >= 2, "give the number of classes, such as 10")


def _listed(name: str, values: Any) -> list[Any] | None:
    """Return the values of any iterable, at least one, or None if it is a single value."""
    try:
        found = None if isinstance(values, str | bytes) else list(values)
    except TypeError:
        found = None
    if found == []:
        raise ValueError(f"{name} is empty: give at least one value or leave the argument out")
    return found


def _reporter(progress: bool | Callable[[Probe], None]) -> Callable[[Probe], None]:
    if callable(progress):
        return progress

    def write(probe: Probe) -> None:
        if progress and probe.status != "running":
            print(probe, file=sys.stderr, flush=True)

    return write
