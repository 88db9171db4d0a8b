"""Exponents of t* on λ by the width of a network (Figure X5), from what stage ``theory`` says of each network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from l2dynamics.analysis import thresholds
from l2dynamics.analysis.blocks import Lacking

FEWEST_L2 = 4
KINDS = ("network", "theory")
"""The trained network, and the infinitely wide one that starts from the same function."""


@dataclass(frozen=True)
class AtWidth:
    """Networks of one width, or the theory from their initial functions.

    Attributes:
        width: of the hidden layer.
        seeds: labels of the last axis of ``stars``.
        l2: λ, ascending.
        stars: t*, gradient-flow times, ``[l2, seeds]``.
        late: λ at which some t* lies in the second half of the training, which only bounds it, ``[l2]``.
    """

    width: int
    seeds: tuple[int, ...]
    l2: np.ndarray
    stars: np.ndarray
    late: np.ndarray


def by_width(runs: Sequence[Mapping[str, Any]] | None, kind: str) -> list[AtWidth]:
    """Sort networks by width, ascending, each with the same seeds and λ.

    Args:
        runs: of :func:`l2dynamics.theory.widths.compare`; None if the results have none.
        kind: one of :data:`KINDS`.

    Raises:
        Lacking: there are no runs, or some λ or seed is missing at a width.
    """
    if not runs:
        raise Lacking("the results of stage theory have no networks for it: run `dvc repro theory`")
    widths = sorted({int(one["width"]) for one in runs})
    seeds = sorted({int(one["seed"]) for one in runs})
    l2 = sorted({float(one["l2"]) for one in runs})
    found = {(int(one["width"]), float(one["l2"]), int(one["seed"])): one for one in runs}
    for width, one, seed in product(widths, l2, seeds):
        if (width, one, seed) not in found:
            raise Lacking(
                f"the results of stage theory have no network of width {width}, λ {one:g}, seed {seed}"
            )

    def array(width: int, value: Any) -> np.ndarray:
        return np.array([[value(found[width, one, seed]) for seed in seeds] for one in l2])

    return [
        AtWidth(
            width,
            tuple(seeds),
            np.array(l2),
            array(width, lambda run: run[kind]["t_star"]),
            np.any(
                array(width, lambda run: run[kind]["t_star"] > thresholds.FIT_WITHIN * run["end"]), axis=1
            ),
        )
        for width in widths
    ]


def exponents(*compared: AtWidth) -> list[np.ndarray]:
    """Fit t* ∝ λ^a for every seed of each of the compared, over the λ that are late for none of them.

    Returns:
        One array ``[seeds]`` for each.

    Raises:
        Lacking: fewer than four λ are left.
    """
    kept = ~np.any([one.late for one in compared], axis=0)
    if kept.sum() < FEWEST_L2:
        raise Lacking(
            f"t* lies in the first half of the training at {kept.sum()} of {len(kept)} λ, fewer than {FEWEST_L2}"
        )
    return [np.polyfit(np.log(one.l2[kept]), np.log(one.stars[kept]), 1)[0] for one in compared]
