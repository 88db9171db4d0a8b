"""The runs that a claim looks at, as counts in blocks of test images: by η, λ, budget and initial scale.

Runs that diverged are left out. A grid point with one seed never enters a verdict over seeds: it is left out where
others have several, and all runs of a comparison are cut to the seeds that they share.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from l2dynamics import peaks
from l2dynamics.analysis import blocks, selection, thresholds
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.regime import STEPS
from l2dynamics.analysis.slopes import Sweep
from l2dynamics.claims import absent
from l2dynamics.results import tables
from l2dynamics.results.tables import Results

Point = tuple[float, float]
"""η and λ."""

INVERSE = 0.9
"""A run belongs to T ∝ 1/λ if T·λ is at least this part of the median over λ."""


def rows(results: Results, group: str = "grid") -> pd.DataFrame:
    """The rows of one group of runs.

    Raises:
        Lacking: there are none.
    """
    absent.require(results)
    table = results.table[results.table["group"] == group]
    if table.empty:
        raise Lacking(
            f"{results.file} has no runs of group {group}: run `dvc repro {tables.stage(results.name)}`"
        )
    return table


def points(results: Results, table: pd.DataFrame) -> dict[Point, Curves]:
    """Curves by (η, λ) ascending.

    Args:
        results: tells the number of test images.
        table: some rows, at one σw.

    Raises:
        Lacking: every run diverged, or runs of one point are evaluated at different steps.
    """
    found = blocks.grid(blocks.longest(table), sizes(results)) if len(table) else {}
    if not found:
        raise Lacking("every run diverged")
    return found


def sizes(results: Results) -> np.ndarray:
    """Test images in each block.

    Raises:
        Lacking: some block has none.
    """
    return blocks.sizes(int(results.passport["data"]["test"]))


def of_group(results: Results, group: str = "grid") -> dict[Point, Curves]:
    """:func:`points` of one group of runs."""
    return points(results, rows(results, group))


def headline(results: Results, group: str = "grid") -> tuple[float, dict[float, Curves]]:
    """The η of the panels that show a single one, and the curves at it by λ ascending."""
    table = rows(results, group)
    eta = selection.headline_eta(results.name, table)
    return eta, {l2: curves for (_, l2), curves in points(results, table[table["eta"] == eta]).items()}


def chance(results: Results) -> float:
    """Accuracy of guessing."""
    return 1 / float(results.passport["classes"])


def learned(results: Results, curves: Curves) -> bool:
    """Whether the mean curve reaches twice the accuracy of guessing."""
    return bool(curves.accuracy().mean(axis=0).max() >= thresholds.LEARNED * chance(results))


def star(curves: Curves) -> float:
    """t* of the mean curve in steps."""
    return float(peaks.star(curves.steps, curves.accuracy().mean(axis=0)))


def last_only(curves: Curves) -> Curves:
    """The runs with their last evaluation only."""
    return Curves(curves.steps[-1:], curves.correct[:, -1:], curves.sizes, curves.seeds)


def length(curves: Curves) -> float:
    """Steps of the runs."""
    return float(curves.steps[-1])


def inverse_length(found: Mapping[float, Curves]) -> dict[float, Curves]:
    """The λ > 0 whose runs last T ∝ 1/λ, ascending; those that were cut at a largest length are left out.

    Raises:
        Lacking: the length of the runs does not fall with λ.
    """
    positive = {l2: curves for l2, curves in found.items() if l2 > 0}
    if len(positive) < 2:
        raise Lacking(f"{len(positive)} λ > 0")
    product = {l2: l2 * length(curves) for l2, curves in positive.items()}
    middle = float(np.median(list(product.values())))
    # Short runs are whole numbers of steps.
    kept = {
        l2: curves
        for l2, curves in positive.items()
        if INVERSE * middle <= product[l2] <= middle / INVERSE + l2
    }
    if len(kept) < 2:
        raise Lacking("the runs do not last T ∝ 1/λ")
    return kept


def same_times(first: Curves, second: Curves) -> None:
    """Check that two runs are evaluated at the same steps before the end of the shorter.

    Raises:
        Lacking: they are not: the one that is looked at more often has more chances to be at its best.
    """
    end = min(length(first), length(second)) * (1 - 1e-9)
    if not np.array_equal(first.steps[first.steps < end], second.steps[second.steps < end]):
        raise Lacking("runs to be compared within one budget are evaluated at different steps")


def require_same_times(compared: Sequence[Curves], budget: float = math.inf) -> None:
    """Check :func:`same_times` of every run against the longest, up to a budget."""
    cut = [curves.until(budget) for curves in compared]
    most = max(cut, key=length)
    for curves in cut:
        same_times(curves, most)


def sweep(results: Results, found: Mapping[Point, Curves]) -> tuple[Sweep, str]:
    """The runs whose t* enter an exponent, with the λ = 0 runs of the placebo, and a note on what was left out.

    A time enters if the network learned, t* is at least 30 steps and lies in the first half of the run, and the
    λ = 0 run at that η lasts as long: a later one may be the end of a run that still rises, and without λ = 0 there is
    no placebo.

    Args:
        results: tells the accuracy of guessing.
        found: curves by (η, λ), λ = 0 included.

    Raises:
        Lacking: no time is left.
    """
    zero = {eta: curves for (eta, l2), curves in found.items() if l2 == 0}
    kept, left = (
        {},
        dict.fromkeys(("one seed", "no or too late a peak", "t* below 30 steps", "no λ = 0 as long"), 0),
    )
    many = any(len(curves.seeds) > 1 for curves in found.values())
    for (eta, l2), curves in found.items():
        if l2 <= 0:
            continue
        at = star(curves)
        reference = zero.get(eta)
        if many and (len(curves.seeds) < 2 or (reference is not None and len(reference.seeds) < 2)):
            left["one seed"] += 1
        elif not learned(results, curves) or at > thresholds.FIT_WITHIN * length(curves) * (1 + 1e-9):
            left["no or too late a peak"] += 1
        elif at < STEPS:
            left["t* below 30 steps"] += 1
        elif reference is None or length(reference) < length(curves) * (1 - 1e-9):
            left["no λ = 0 as long"] += 1
        else:
            kept[eta, l2] = curves
    note = ", ".join(f"{count} ({why})" for why, count in left.items() if count)
    note = f"Points left out: {note}." if note else ""
    if not kept:
        raise Lacking(f"no time enters the fit. {note}".strip().rstrip("."))
    used = {eta for eta, _ in kept}
    cut = blocks.several(kept | {(eta, 0.0): curves for eta, curves in zero.items() if eta in used})
    kept = {key: curves for key, curves in cut.items() if key[1] > 0}
    etas, l2s = (np.array([key[k] for key in kept]) for k in (0, 1))
    return Sweep(tuple(kept.values()), etas, l2s, {eta: cut[eta, 0.0] for eta in used}), note
