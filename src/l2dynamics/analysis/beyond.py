"""Which runs the figures and claims beyond the paper compare: budgets of long runs, equal runs in two batch sizes."""

from collections.abc import Mapping

import numpy as np

from l2dynamics.analysis import selection
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.optimum import Budget
from l2dynamics.results.tables import Results

Point = tuple[float, float]
"""η and λ."""
SHARES = (0.1, 10**-0.5, 1.0)
"""Budgets as parts of the length of the runs, which at a constant η are the beginning of a longer one."""


def budgets(found: Mapping[Point, Curves]) -> list[Budget]:
    """The runs with λ > 0 of every η within :data:`SHARES` of their length, at the nearest evaluation.

    Args:
        found: curves by (η, λ), with the same seeds.

    Raises:
        Lacking: there are none, or they differ in length.
    """
    positive = {point: curves for point, curves in found.items() if point[1] > 0}
    lengths = {float(curves.steps[-1]) for curves in positive.values()}
    if len(lengths) != 1:
        raise Lacking(f"runs of {len(lengths)} lengths: budgets of long runs need one")
    (length,) = lengths
    steps = next(iter(positive.values())).steps
    cuts = [
        float(steps[np.argmin(np.abs(np.log(np.maximum(steps, 1) / (length * share))))]) for share in SHARES
    ]
    return [
        Budget(eta, cut, {l2: curves for (own, l2), curves in sorted(positive.items()) if own == eta})
        for eta in sorted({eta for eta, _ in positive})
        for cut in cuts
    ]


def alike(full: Mapping[Point, Curves], mini: Mapping[Point, Curves]) -> dict[tuple[str, float], Curves]:
    """Runs in full batches and in minibatches at one η, by ``full`` or ``mini`` and λ: the same λ, 0 among them.

    λ = 0 is cut at the length of the longest λ > 0 of both, and runs of one λ at that of the shorter.

    Raises:
        Lacking: they share no η with λ = 0 and λ > 0.
    """
    common = set(full) & set(mini)
    etas = sorted({eta for eta, l2 in common if l2 > 0 and (eta, 0.0) in common})
    if not etas:
        raise Lacking("full batches and minibatches share no η with λ = 0 and λ > 0")
    most = max(etas, key=lambda eta: sum(1 for own, _ in common if own == eta))
    l2s = sorted(l2 for eta, l2 in common if eta == most)
    ends = {l2: min(full[most, l2].steps[-1], mini[most, l2].steps[-1]) for l2 in l2s}
    ends[0.0] = min(ends[0.0], max(end for l2, end in ends.items() if l2 > 0))
    return {
        (size, l2): runs[most, l2].until(float(ends[l2]))
        for size, runs in (("full", full), ("mini", mini))
        for l2 in l2s
        if l2 == 0 or ends[l2] <= ends[0.0] * (1 + 1e-9)
    }


def largest_start(results: Results) -> float:
    """The largest λ₀ of the AutoL2 runs that measure on the minibatch.

    Raises:
        Lacking: there are none.
    """
    found = selection.starts(results, "minibatch")
    if not found:
        raise Lacking(f"{results.file} has no AutoL2 runs on the minibatch")
    return max(found)
