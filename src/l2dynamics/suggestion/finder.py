"""Where to measure c: the first coefficient, a bracket around one that peaks in time, then a ladder of three.

All is in units of ``τ = t · η_eff · λ`` (t in weight updates, ``η_eff = η/(1 − momentum)``) where the learning rate is
known: the accuracy of SGD is best at τ = 0.5 to 5 whatever the network, so that the first coefficient is right within a
factor of a few without any run. Where it is not known, the bracket finds it.
"""

import math
from collections.abc import Sequence

import numpy as np

from l2dynamics.suggestion.lab import Lab
from l2dynamics.suggestion.probes import RESOLUTION, Probe, scores, smoothed

USUAL = 0.7
"""τ* of the fully-connected, convolutional and wide residual networks of this reproduction (claim c2)."""
BELIEVED = 0.7
"""τ before which no peak is believed where the learning rate is known: curves are bumpy while networks learn."""
_FIRST_STEPS = 300
_UNKNOWN = 10.0
_BRACKET_RUNS = 10
# Evaluations up to t* that a ladder aims at: more cost time, fewer leave t* coarse.
_WANTED = 2 * RESOLUTION
_ENOUGH = 20
# What a run costs in units of its t*, on average.
_COST = 2.0
_LADDER = 4.0
_BINS = 200


def first_l2(lab: Lab, rate: float, steps_per_unit: float) -> float:
    """Return the coefficient whose accuracy peaks at an eighth of the time that is left, or sooner.

    Args:
        lab: has the limit of time.
        rate: η_eff per unit of time: weight updates in a unit times η/(1 − momentum).
        steps_per_unit: weight updates in a unit: a peak after some hundred of them costs little of a long budget.
    """
    time = min(lab.left / 8, max(lab.limit / 32, _FIRST_STEPS / steps_per_unit))
    return USUAL / (rate * max(time, min(_WANTED * lab.spacing, lab.left / 4)))


def bracket(lab: Lab, l2: float, seed: int, step: float = 4.0) -> Probe | None:
    """Return the first run that peaked, or None when the time is used up.

    A coefficient at which the accuracy takes too long to peak is too small; one that lets nothing be learned, or peak
    before it was evaluated a few times, is too large. Between two of them the search halves the distance, outside it
    takes steps.

    Args:
        lab: makes the runs.
        l2: coefficient to start from.
        seed: seed of all these runs.
        step: factor between two coefficients as long as there is no bound on one side.
    """
    slow, bad = 0.0, math.inf  # bounds found: too small to peak in time, too large to measure
    cap = lab.left / (3 if step < _UNKNOWN else 6)
    shortest = cap / 2
    for _ in range(_BRACKET_RUNS):
        if lab.left < max(shortest, RESOLUTION * lab.spacing):  # so short a run would say nothing
            return None
        probe = lab.probe(l2, seed, cap)
        if probe.status == "peaked":
            return probe
        if probe.status == "empty":
            return None
        if probe.status == "not_peaked":
            slow = max(slow, l2)
        else:
            bad = min(bad, l2)
        if probe.status == "coarse":
            aim = min(_WANTED * probe.spacing, lab.left / _COST)
            if aim < RESOLUTION * probe.spacing:
                return None
            nearer = max(l2 * min(probe.t_star / aim, 0.7), 1.5 * slow)
            if nearer >= l2:
                return None
            l2, cap = nearer, max(cap, 1.5 * _COST * aim)
        elif not slow:
            l2 = bad / step
        elif bad == math.inf:
            l2 = slow * step
        else:
            # c is measured best at a small coefficient: follow that one for longer, and only then a larger one.
            followed = l2 == slow and cap > shortest * 2
            l2, cap = (math.sqrt(slow * bad) if followed else slow), max(cap, lab.left / 2)
            if l2 == slow and min(cap, lab.left) < 1.5 * max(p.length for p in lab.probes if p.l2 == slow):
                return None
    return None


def search(lab: Lab, l2: float, seed: int) -> Probe | None:
    """Return the first run that peaked, from a coefficient of which nothing is known; see :func:`bracket`."""
    return bracket(lab, l2, seed, step=_UNKNOWN)


def ladder(lab: Lab, first: Probe, seeds: Sequence[int]) -> None:
    """Measure at other coefficients and seeds, as far as the time allows: the smaller the better, at most a quarter.

    A run that would not reach its peak, as far as the first one tells, is not started; where no smaller coefficient can
    be afforded, the same one with another seed, then a larger one.
    """
    aim = min(_LADDER * first.t_star, max(_ENOUGH * first.spacing, 2 * first.t_star))
    for number in range(1, max(3, len(seeds))):
        seed = seeds[number % len(seeds)]
        share = 0.6 if number == 1 else 0.9
        affordable = share * lab.left / _COST
        wanted = aim if number == 1 else math.sqrt(aim * first.t_star)
        time = min(wanted, affordable)
        if time < first.t_star and (first.t_star * _COST <= lab.left and seed != first.seed):
            time = first.t_star
        if time < max(RESOLUTION * first.spacing * 1.5, first.t_star / _LADDER):
            return
        probe = lab.probe(first.l2 * first.t_star / time, seed, lab.left)
        if probe.status not in ("peaked", "not_peaked"):
            aim = min(aim, first.t_star)


def collapsed_c(probes: Sequence[Probe], tolerance: float) -> float:
    """Return c of the mean of all curves over t·λ, on which curves of different coefficients collapse.

    Every curve counts by its distance from its own maximum; the mean is taken where at least half of them were
    followed.

    Args:
        probes: runs that peaked, one at least.
        tolerance: see :func:`l2dynamics.suggestion.probes.judge`.
    """
    logs = [np.log(np.array(probe.steps)[np.array(probe.steps) > 0] * probe.l2) for probe in probes]
    grid = np.linspace(min(log[0] for log in logs), max(log[-1] for log in logs), _BINS)
    curves, allowed, noise = [], [], []
    for probe, log in zip(probes, logs, strict=True):
        scored, own = scores(np.array(probe.values), probe.metric, tolerance)
        smooth = smoothed(scored)[-log.size :]
        curves.append(np.interp(grid, log, smooth - smooth.max(), left=np.nan, right=np.nan))
        allowed.append(own)
        noise.append(probe.noise)
    stacked = np.array(curves)
    covered = 2 * np.sum(np.isfinite(stacked), axis=0) >= len(probes)
    mean = np.full(grid.shape, -np.inf)
    mean[covered] = np.nanmean(stacked[:, covered], axis=0)
    near = mean >= mean.max() - max(np.mean(allowed), np.mean(noise))
    return float(np.exp(grid[int(np.argmax(near))]))
