"""Why no run showed its peak, and the one thing to change, computed from the runs."""

import math
from collections.abc import Sequence

from l2dynamics.suggestion.finder import USUAL
from l2dynamics.suggestion.probes import RESOLUTION, Probe

# Evaluations up to t* that are asked for, and the share of the time limit at which t* can lie.
_GOOD = 2 * RESOLUTION
_PEAK_SHARE = 1 / 4


def diagnose(
    probes: Sequence[Probe],
    *,
    budget: float,
    limit: float,
    rate: float | None,
    chance: float | None,
    given: bool = True,
) -> str:
    """Return one line: what happened, and one remedy.

    Args:
        probes: the runs, none of which peaked.
        budget: length of the planned training.
        limit: time that all runs might take.
        rate: weight updates in a unit of time times η/(1 − momentum); None if unknown.
        chance: accuracy of guessing, if it is known.
        given: whether the rate was given, and not estimated from the runs.
    """
    if not probes or all(probe.status == "empty" for probe in probes):
        return "make_run yielded nothing: it must yield pairs (step, test accuracy), and go on until it is stopped"
    metric = probes[0].metric
    still = f"the {metric} was still {'falling' if metric == 'loss' else 'rising'}"
    alone = [probe for probe in probes if probe.l2 == 0]
    if alone and alone[0].status == "diverged":
        return f"training diverged at {alone[0].length:g} without L2: lower the learning rate"
    if alone and alone[0].status == "chance":
        return _learns_too_slowly(alone[0], budget, limit, chance)
    learning = [probe for probe in probes if probe.status in ("coarse", "not_peaked")]
    if not learning:
        return _nothing_learned(probes, budget, limit, chance)
    spacing = max(probe.spacing for probe in learning)
    needed = limit * _PEAK_SHARE / _GOOD
    coarse = [probe for probe in learning if probe.status == "coarse"]
    if spacing > needed:
        share = min(1.0, spacing * _GOOD / _PEAK_SHARE / budget)
        return (
            f"evaluations are too far apart for a budget of {budget:g}, of which the runs may take {limit:g}: evaluate "
            f"every ≤ {_rounded(needed)} instead of every {spacing:g}"
            + (f" (or give max_share={share:.2g})" if share < 1 else "")
        )
    rising = [probe for probe in learning if probe.status == "not_peaked"]
    if not rising:
        nearest = min(coarse, key=lambda probe: probe.l2)
        smaller = nearest.l2 * max(nearest.t_star, nearest.spacing) / (2 * _GOOD * nearest.spacing)
        return (
            f"{_at(coarse)} the {metric} {'had its minimum' if metric == 'loss' else 'peaked'} before evaluation "
            f"{RESOLUTION}: give a smaller coefficient, l2={smaller:.2g}"
        )
    largest = max(rising, key=lambda probe: (probe.l2, probe.length))
    ended = all(probe.length < limit / 100 for probe in rising)
    if ended:
        return f"{_at(rising)} make_run ended at {largest.length:g}: let it go on until it is stopped from outside"
    if rate is None and alone:
        return (
            f"the runs up to {largest.length:g} do not tell the scale on which L2 acts: give learning_rate= (and "
            "momentum=, steps_per_unit=), from which it follows"
        )
    failed = [probe.l2 for probe in probes if probe.status in ("chance", "coarse", "diverged")]
    if not any(l2 > largest.l2 for l2 in failed):
        return (
            f"{_at(rising)} {still} at {largest.length:g}: start from a larger coefficient, "
            f"l2={10 * largest.l2:.2g}"
        )
    expected = math.inf if rate is None else 2.5 * USUAL / (rate * largest.l2)
    share = min(2 * limit, 8 * expected) / budget
    if share > 1:
        return (
            f"{_at(rising)} {still} at {largest.length:g}: the budget of {budget:g} is too short "
            "to measure in a part of it; tune on a few values"
        )
    return (
        f"{_at(rising)} {still} at {largest.length:g}: a share of {_up(share):g} is needed for "
        f"this budget, max_share={_up(share):g}"
    )


def _learns_too_slowly(alone: Probe, budget: float, limit: float, chance: float | None) -> str:
    if chance is None and alone.best > 0.15 and alone.metric == "accuracy":
        return (
            f"without L2 the accuracy did not change clearly up to {alone.length:g} (at most {alone.best:.2g}): say "
            "what guessing gives, classes= or chance="
        )
    share = 2 * limit / budget
    if share > 1:
        return (
            f"without L2 nothing was learned up to {alone.length:g}: raise the learning rate, or the budget of "
            f"{budget:g}"
        )
    return f"without L2 nothing was learned up to {alone.length:g}: give max_share={_up(share):g}"


def _nothing_learned(probes: Sequence[Probe], budget: float, limit: float, chance: float | None) -> str:
    with_l2 = [probe for probe in probes if probe.l2 > 0]
    diverged = [probe for probe in with_l2 if probe.status == "diverged"]
    if len(diverged) == len(with_l2):
        remedy = "lower the learning rate"
        if len(with_l2) < len(probes):
            smallest = min(probe.l2 for probe in diverged)
            remedy = f"without L2 the network learned: give a smaller coefficient, l2={smallest / 10:.2g}"
        return f"{_at(diverged)} training diverged: {remedy}"
    flat = [probe for probe in with_l2 if probe.status == "chance"] or diverged
    metric = flat[0].metric
    longest = max(probe.length for probe in flat)
    best = max(probe.best for probe in flat)
    level = "did not change" if chance is None else f"stayed at the level of guessing ({chance:.2g})"
    if chance is None and best > 0.15:
        return (
            f"{_at(flat)} the {metric} (at most {best:.2g}) {level} up to {longest:g}: say what guessing gives, "
            "classes= or chance="
        )
    share = min(1.0, 2 * limit / budget)
    return (
        f"{_at(flat)} the {metric} {level} up to {longest:g}: check that the model learns without L2 in "
        f"{share * budget / 4:.3g}, and if it does give max_share={_up(share):g}"
    )


def _at(probes: Sequence[Probe]) -> str:
    values = sorted({probe.l2 for probe in probes})
    return f"at l2 {values[0]:.2g}" + (f" to {values[-1]:.2g}" if len(values) > 1 else "")


def _rounded(value: float) -> str:
    """The number rounded down to one digit."""
    power = 10.0 ** math.floor(math.log10(value))
    return f"{math.floor(value / power * (1 + 1e-9)) * power:g}"


def _up(share: float) -> float:
    return min(1.0, math.ceil(share * 20 - 1e-9) / 20)
