"""The scale of λ where the learning rate is not known: from which coefficient on do curves part from that without L2?

A curve parts from the one of λ = 0 at about ``τ = t · η_eff · λ = 1``, whatever the network. Comparing the two needs
neither a peak nor the accuracy of guessing, so that short and noisy runs do.
"""

import math
from dataclasses import replace

import numpy as np

from l2dynamics.suggestion.finder import BELIEVED
from l2dynamics.suggestion.lab import Lab
from l2dynamics.suggestion.probes import Probe, scores

FIRST_L2 = 0.1
"""Coefficient that a search begins with if nothing is known."""
_STEP = 10.0
_RUNS = 7
# Shortest and longest reference as a share of the time that all runs may take, and its evaluations.
_SHORTEST, _LONGEST, _EVALUATIONS = 1 / 12, 1 / 5, 6
_ABOVE_GUESSING = 0.15
# Share of what the reference has gained by which a curve must be below it, and the same in standard errors.
_LOSS, _ERRORS = 0.1, 3.0


def rate_by_separation(lab: Lab, seed: int, start: float | None = None) -> float | None:
    """Return η_eff per unit of time, right within a factor of three or so, or None if the time does not suffice.

    One run without L2 is followed until it has learned; then coefficients in steps of ten are followed as long, until
    one parts from it and one does not.

    Args:
        lab: makes the runs; they stay in it.
        seed: seed of all of them.
        start: coefficient to begin with; None: 0.1.
    """
    reference = lab.reference(seed, _SHORTEST * lab.limit, _LONGEST * lab.limit, _EVALUATIONS)
    # Where guessing is not known, a network may have learned before its first evaluation.
    early = reference.status == "chance" and lab.chance is None and reference.best > _ABOVE_GUESSING
    if reference.status != "reference" and not early:
        return None
    l2, slow, bad = FIRST_L2 if start is None else start, 0.0, math.inf
    for _ in range(_RUNS):
        if lab.left < reference.length:
            break
        probe = lab.follow(
            l2,
            seed,
            reference.length,
            lambda seen: len(seen.steps) >= _EVALUATIONS and parts(seen, reference, lab.tolerance),
        )
        if probe.status == "empty":
            return None
        if parts(probe, reference, lab.tolerance):
            bad = l2
        else:
            slow = l2
        if slow and bad < math.inf:
            break
        l2 = slow * _STEP if slow else bad / _STEP
    if not slow or bad == math.inf:
        return None
    rate = 1 / (math.sqrt(slow * bad) * reference.length)
    lab.judge_again()
    for index, probe in enumerate(lab.probes):
        # Bumps of a curve that L2 has hardly touched are no peaks.
        if probe.status in ("peaked", "coarse") and probe.length * probe.l2 * rate < BELIEVED:
            lab.probes[index] = replace(probe, status="not_peaked", c=math.nan, c_low=math.nan)
    return rate


def parts(probe: Probe, reference: Probe, tolerance: float) -> bool:
    """Whether a run is clearly below the one without L2 in the second half of their common time, or diverged."""
    if probe.status == "diverged":
        return True
    n = min(len(probe.values), len(reference.values))
    scored, allowed = scores(np.array(reference.values), reference.metric, tolerance)
    other, _ = scores(np.array(probe.values), probe.metric, tolerance)
    difference = scored[:n][n // 2 :] - other[:n][n // 2 :]
    noise = 0.0 if math.isnan(reference.noise) else reference.noise
    gain = float(np.median(scored[n // 2 : n]) - scored[0])
    error = noise * math.sqrt(2 / max(difference.size, 1))
    return float(np.mean(difference)) > max(2 * allowed, _LOSS * gain, _ERRORS * error)
