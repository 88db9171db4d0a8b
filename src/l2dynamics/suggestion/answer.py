"""What the runs of a search say about λ, how sure it is, and what it cost."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from l2dynamics.prediction import predict_l2
from l2dynamics.suggestion import finder
from l2dynamics.suggestion.diagnosis import diagnose
from l2dynamics.suggestion.lab import Lab
from l2dynamics.suggestion.probes import Probe

# What is known of c before any run: usual(rate), right within this factor (one standard deviation). What one run says
# of it is right within the second one.
_PRIOR, _MEASURED = 1.8, 1.6
_ESTIMATED = 2.5  # as _PRIOR, where the rate itself is estimated
# c that varies by more is doubtful; t* that depends on λ by less than this power does not come from L2.
_SPREAD = 2.0
_POWER = 0.25
DECOUPLED = (
    "with decoupled weight decay (AdamW) the best l2 was found to fall more slowly than 1/budget: tune around"
)


@dataclass(frozen=True)
class Suggestion:
    """What :func:`suggest_l2` found.

    Attributes:
        l2: predicted coefficient λ = c/T.
        low: lowest λ that the measured runs give, see ``c_low``; NaN if one run peaked only.
        high: highest λ that the measured runs give; NaN if one run peaked only.
        c: coefficient of the mean of all curves over t·λ, in the unit of the budget; see :func:`answer`. A guess if no
            run peaked.
        c_low: smallest c of the runs that peaked, each taken at the evaluation before its t*; NaN if there is one only.
        c_high: largest c of these runs; NaN if there is one only.
        budget: the budget T.
        first_decay: the first decay of the learning rate as a fraction of T, or None.
        spent: length of all runs together, in the unit of the budget.
        share: ``spent`` as a fraction of the budget.
        probes: all runs, in the order in which they were made.
        peaked: number of runs that peaked; 0 if ``l2`` is a guess from what is usual for the learning rate.
        spread: largest c of these runs divided by the smallest; NaN with fewer than two.
        warnings: what makes the answer doubtful; empty if nothing does.
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
    peaked: int
    spread: float
    warnings: tuple[str, ...] = ()

    @property
    def sure(self) -> bool:
        """Whether several runs peaked, at least half of those made for it, and their c agree within a factor of two.

        With decoupled weight decay never.
        """
        return not self.warnings

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types; what is not finite becomes None."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(entry) for key, entry in value.items()}
            if isinstance(value, list | tuple):
                return [plain(entry) for entry in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return {key: plain(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        span = "" if math.isnan(self.low) else f" ({self.low:.2g} to {self.high:.2g})"
        doubt = "".join(f"; unsure: {warning}" for warning in self.warnings)
        c = f"c = {self.c:.3g}, " if self.peaked else ""
        return (
            f"l2 = {self.l2:.2g}{span} for a budget of {self.budget:g}: {c}{self.peaked} of "
            f"{len(self.probes)} runs peaked; cost {self.spent:g}, {self.share:.0%} of the budget{doubt}"
        )


class NoPeakError(ValueError):
    """No run showed a peak of the test accuracy, or not one that L2 makes.

    Attributes:
        probes: the runs that were made.
        spent: length of all runs together, in the unit of the budget.
        share: ``spent`` as a fraction of the budget.
    """

    def __init__(self, message: str, probes: tuple[Probe, ...], budget: float = math.nan):
        super().__init__(message)
        self.probes = probes
        self.spent = sum(probe.length for probe in probes)
        self.share = self.spent / budget


def answer(
    lab: Lab,
    meant: Sequence[Probe],
    budget: float,
    first_decay: float | None,
    rate: float | None,
    *,
    given: bool,
    decoupled: bool = False,
) -> Suggestion:
    """Return what the runs of a search say about λ.

    c is that of :func:`l2dynamics.suggestion.finder.collapsed_c`; where the scale on which L2 acts is known it is
    drawn to what is usual, the less the more runs peaked and the better they agree, and lowered by the standard error
    that is left: accuracy falls steeply above the best coefficient and slowly below it. If no run peaked although
    they learned, the usual c, lowered alike, is all there is, and the answer says so.

    Args:
        lab: has the runs.
        meant: those of them that were meant to peak, after the search.
        budget: length of the planned training.
        first_decay: as in :func:`l2dynamics.suggest_l2`.
        rate: η/(1 − momentum) per unit of time; None if unknown.
        given: whether it was given, and not estimated.
        decoupled: whether λ is decoupled weight decay.

    Raises:
        NoPeakError: no run peaked and nothing else is known, none learned, or L2 does not set the time of the peak.
    """
    probes = tuple(lab.probes)
    peaked = [probe for probe in probes if probe.status == "peaked"]
    usual = None if rate is None else finder.USUAL / rate
    wrong = _not_of_l2([probe for probe in meant if probe.status == "peaked"], lab.metric)
    if wrong and (usual is None or lab.metric == "loss"):
        raise NoPeakError(f"{wrong}: tune l2 on a few values", probes, budget)
    learned = [probe for probe in probes if probe.status in ("peaked", "not_peaked", "coarse")]
    if not peaked and (usual is None or not learned):
        says = diagnose(probes, budget=budget, limit=lab.limit, rate=rate, chance=lab.chance, given=given)
        raise NoPeakError(f"no run showed a peak of the test {lab.metric}: {says}", probes, budget)
    doubts = _doubts(peaked, meant)
    if not peaked or wrong:
        assert usual is not None
        # A run that was still rising says that c is at least what was seen of it; noise makes that half true.
        rising = [probe.t_star * probe.l2 for probe in probes if probe.status == "not_peaked"]
        c = math.sqrt(usual * max([usual, *rising])) / (_PRIOR if given else _ESTIMATED)
        says = wrong or diagnose(
            probes, budget=budget, limit=lab.limit, rate=rate, chance=lab.chance, given=given
        )
        source = "the learning rate" if given else "the scale on which L2 acts"
        doubts = [f"no run gave c and this is a guess from what is usual for {source}: {says}"]
        peaked = []
    else:
        c = finder.collapsed_c(peaked, lab.tolerance)
        c = min(max(c, min(probe.c for probe in peaked)), max(probe.c for probe in peaked))
        c = _drawn(c, [probe.c for probe in peaked], usual, _PRIOR if given else _ESTIMATED)
    if decoupled:
        doubts.append(DECOUPLED)
    c_low, c_high, spread = math.nan, math.nan, math.nan
    if len(peaked) > 1:
        c_low = min(c, *(probe.c_low for probe in peaked))
        c_high = max(c, *(probe.c for probe in peaked))
        spread = max(probe.c for probe in peaked) / min(probe.c for probe in peaked)

    def predicted(value: float) -> float:
        return value if math.isnan(value) else predict_l2(value, budget, first_decay=first_decay)

    return Suggestion(
        l2=predicted(c),
        low=predicted(c_low),
        high=predicted(c_high),
        c=c,
        c_low=c_low,
        c_high=c_high,
        budget=budget,
        first_decay=first_decay,
        spent=lab.spent,
        share=lab.spent / budget,
        probes=probes,
        peaked=len(peaked),
        spread=spread,
        warnings=tuple(doubts),
    )


def _drawn(c: float, measured: Sequence[float], usual: float | None, within: float) -> float:
    """Return the mean of log c and of the log of what is usual, weighted by their variances, less its standard error.

    Accuracy falls steeply above the best coefficient and slowly below it, so that a doubtful c is better too small.
    """
    if usual is None:
        return c
    prior = math.log(within) ** 2
    scatter = float(np.std(np.log(measured))) if len(measured) > 1 else 0.0
    variance = max(math.log(_MEASURED), scatter) ** 2 / len(measured)
    weight = variance / (variance + prior)
    error = math.sqrt(weight * prior)
    return float(c ** (1 - weight) * usual**weight * math.exp(-error))


def _doubts(peaked: Sequence[Probe], meant: Sequence[Probe]) -> list[str]:
    """What makes the answer doubtful; ``meant`` are the runs that were to peak."""
    if not peaked:
        return []
    found = []
    if len(peaked) == 1:
        found.append("one run peaked, so that nothing says how far c varies; give a larger max_share")
    elif 2 * sum(probe.status == "peaked" for probe in meant) < len(meant):
        found.append(f"{len(peaked)} of {len(meant)} runs peaked; give a larger max_share")
    spread = max(probe.c for probe in peaked) / min(probe.c for probe in peaked)
    if spread > _SPREAD:
        found.append(f"c varies by a factor of {spread:.1f} between the runs; tune around this value")
    return found


def _not_of_l2(peaked: Sequence[Probe], metric: str) -> str:
    """Say if the time of the peak does not depend on λ: then it does not come from L2, and c/T means nothing."""
    values = sorted({probe.l2 for probe in peaked})
    if len(values) < 2 or values[-1] < 3 * values[0]:
        return ""
    logs = np.log([[probe.l2, probe.t_star] for probe in peaked])
    power = -float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    if power >= _POWER:
        return ""
    return (
        f"the test {metric} is best at about the same time at l2 {values[0]:.2g} and {values[-1]:.2g} "
        f"(t* goes with l2 to the power {-power:.1f} instead of -1), so that L2 does not set it"
    )
