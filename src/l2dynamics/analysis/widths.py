"""Exponents of t* on λ by the width of a network (Figure X5), from what stage ``theory`` says of each network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from l2dynamics.analysis import thresholds
from l2dynamics.analysis.blocks import Lacking

FEWEST_L2 = 4
KINDS = ("network", "theory")
"""The trained network, and the infinitely wide one that starts from the same function."""


@dataclass(frozen=True)
class AtWidth:
    """Networks of one width.

    Attributes:
        width: of the hidden layer.
        seeds: labels of the last axis below.
        l2: λ of the networks, ascending.
        stars: ``network`` and ``theory`` → t*, gradient-flow times, ``[l2, seeds]``.
    """

    width: int
    seeds: tuple[int, ...]
    l2: np.ndarray
    stars: Mapping[str, np.ndarray]

    def exponents(self, kind: str) -> np.ndarray:
        """Return a of t* ∝ λ^a for each seed, ``[seeds]``."""
        return np.asarray(np.polyfit(np.log(self.l2), np.log(self.stars[kind]), 1)[0])


def by_width(runs: Sequence[Mapping[str, Any]]) -> list[AtWidth]:
    """Sort networks by width, ascending, each with the same seeds and λ.

    A λ at which some t* lies in the second half of the training is left out at every width: it only bounds t*.

    Args:
        runs: of :func:`l2dynamics.theory.widths.compare`.

    Raises:
        Lacking: fewer than four λ are left.
    """
    late = {
        float(one["l2"])
        for one in runs
        if any(one[kind]["t_star"] > thresholds.FIT_WITHIN * one["end"] for kind in KINDS)
    }
    kept = [one for one in runs if float(one["l2"]) not in late]
    l2 = np.array(sorted({float(one["l2"]) for one in kept}))
    if len(l2) < FEWEST_L2:
        raise Lacking(f"t* lies in the first half of the training at {len(l2)} λ, fewer than {FEWEST_L2}")
    seeds = tuple(sorted({int(one["seed"]) for one in kept}))
    found = {(int(one["width"]), float(one["l2"]), int(one["seed"])): one for one in kept}
    return [
        AtWidth(
            width,
            seeds,
            l2,
            {
                kind: np.array(
                    [[found[width, value, seed][kind]["t_star"] for seed in seeds] for value in l2]
                )
                for kind in KINDS
            },
        )
        for width in sorted({int(one["width"]) for one in kept})
    ]
