"""Correct test images counted per block: what is chosen on one half of the images is scored on the other.

The test images of a setup are split into 20 equal blocks by image index modulo 20. Blocks 0 to 9 are half A, 10 to 19
half B. Whatever is chosen by looking at accuracy (the best λ, the best η, the epoch of the maximum) is chosen on one
half and scored on the other, both ways round, and averaged: the maximum of noisy numbers is too high, the score of
the chosen one on other images is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from l2dynamics.results import tables

Key = TypeVar("Key")

BLOCKS = len(tables.BLOCKS)
ALL, HALF_A, HALF_B = slice(0, BLOCKS), slice(0, BLOCKS // 2), slice(BLOCKS // 2, BLOCKS)


class Lacking(ValueError):
    """The runs do not hold what a statistic needs: a reason to judge nothing, not an error of whoever asks."""


@dataclass(frozen=True)
class Curves:
    """The runs of one grid point: one curve for every seed, evaluated at the same steps.

    Attributes:
        steps: of the evaluations, increasing, shape ``[times]``.
        correct: correct test images, shape ``[seeds, times, 20]``.
        sizes: images in each block, shape ``[20]``.
        seeds: labels of the first axis; runs are paired by them.
    """

    steps: np.ndarray
    correct: np.ndarray
    sizes: np.ndarray
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.steps), BLOCKS)
        if self.correct.shape != shape or self.sizes.shape != (BLOCKS,) or 0 in shape:
            raise ValueError(
                f"counts of shape {self.correct.shape} and {self.sizes.shape} sizes, but {len(self.seeds)} seeds, "
                f"{len(self.steps)} evaluations and {BLOCKS} blocks"
            )
        if (np.diff(self.steps) <= 0).any():
            raise ValueError("the steps of the evaluations must increase")
        if (self.sizes <= 0).any() or not ((self.correct >= 0) & (self.correct <= self.sizes)).all():
            raise ValueError(
                "a block has no image, or its count is none of its number of images: leave out runs that diverged"
            )

    def accuracy(self, half: slice = ALL) -> np.ndarray:
        """Accuracies on all images or on one half, shape ``[seeds, times]``."""
        return np.asarray(self.correct[..., half].sum(axis=-1) / self.sizes[half].sum())

    def until(self, step: float) -> "Curves":
        """The evaluations up to a step, itself included.

        Raises:
            Lacking: there is none.
        """
        # Budgets come from epochs times steps per epoch.
        kept = self.steps <= step * (1 + 1e-9)
        if not kept.any():
            raise Lacking(f"a run has no evaluation up to step {step:g}")
        return Curves(self.steps[kept], self.correct[:, kept], self.sizes, self.seeds)

    def of_seeds(self, seeds: Sequence[int]) -> "Curves":
        """The same runs with these seeds only, in this order.

        Raises:
            ValueError: one is missing.
        """
        if missing := set(seeds) - set(self.seeds):
            raise Lacking(f"no run with seed {min(missing)}: compare runs of common seeds")
        kept = [self.seeds.index(seed) for seed in seeds]
        return Curves(self.steps, self.correct[kept], self.sizes, tuple(seeds))


def from_table(rows: pd.DataFrame, sizes: npt.ArrayLike) -> Curves:
    """Read the runs of one grid point from a results table.

    Args:
        rows: evaluations of runs that differ in their seed only, with the columns ``run, seed, step`` and
            ``correct_00`` … ``correct_19``.
        sizes: images in each block, shape ``[20]``.

    Returns:
        Curves, seeds ascending.

    Raises:
        Lacking: a column is missing, a seed has two runs, the runs are evaluated at different steps, or a run
            diverged (it has no curve; leave it out).
    """
    tables.require(rows, ("run", "seed", "step", *tables.BLOCKS))
    return _joined(_runs(rows), np.asarray(sizes))


def from_survivors(rows: pd.DataFrame, sizes: npt.ArrayLike) -> Curves:
    """Read the runs of one grid point that did not diverge, see :func:`from_table`.

    Raises:
        Lacking: every run diverged, or as there.
    """
    broken = rows.loc[rows[list(tables.BLOCKS)].isna().any(axis=1), "run"]
    kept = rows[~rows["run"].isin(broken)]
    if kept.empty:
        raise Lacking("every run diverged")
    return from_table(kept, sizes)


def sizes(images: int) -> np.ndarray:
    """Test images in each block, shape ``[20]``.

    Raises:
        Lacking: some block has none.
    """
    if images < BLOCKS:
        raise Lacking(f"{images} test images do not fill {BLOCKS} blocks")
    return tables.block_sizes(images)


def longest(table: pd.DataFrame) -> pd.DataFrame:
    """Of several runs with one η, λ, σw and seed the longest."""
    last = table.groupby("run", sort=False).tail(1).sort_values("step", kind="stable")
    return table[
        table["run"].isin(last.drop_duplicates(["eta", "l2", "sigma_w", "seed"], keep="last")["run"])
    ]


def grid(rows: pd.DataFrame, sizes: npt.ArrayLike) -> dict[tuple[float, float], Curves]:
    """Read all grid points of a results table, by (η, λ) ascending.

    Args:
        rows: evaluations of runs that differ in η, λ and seed only, with the columns of :func:`from_table`, ``eta`` and
            ``l2``. Runs that diverged (some count is missing) are left out, and grid points without any other.
        sizes: images in each block, shape ``[20]``.

    Raises:
        Lacking: see :func:`from_table`.
    """
    tables.require(rows, ("run", "eta", "l2", "seed", "step", *tables.BLOCKS))
    points: dict[tuple[float, float], list[_Run]] = {}
    for run in _runs(rows):
        if np.isfinite(run.counts).all():
            points.setdefault(run.point, []).append(run)
    return {point: _joined(points[point], np.asarray(sizes)) for point in sorted(points)}


@dataclass(frozen=True)
class _Run:
    """One run: its grid point, seed, steps and counts."""

    point: tuple[float, float]
    seed: int
    steps: np.ndarray
    counts: np.ndarray


def _runs(rows: pd.DataFrame) -> list[_Run]:
    """All runs of a table, whatever the order of its rows."""
    codes = pd.factorize(rows["run"])[0]
    steps = rows["step"].to_numpy()
    order = np.lexsort((steps, codes))
    counts = rows[list(tables.BLOCKS)].to_numpy(dtype=float)
    etas, l2s = (
        rows[name].to_numpy(dtype=float) if name in rows else np.zeros(len(rows)) for name in ("eta", "l2")
    )
    seeds = rows["seed"].to_numpy()
    starts = np.flatnonzero(np.diff(codes[order])) + 1
    return [
        _Run((float(etas[run[0]]), float(l2s[run[0]])), int(seeds[run[0]]), steps[run], counts[run])
        for run in np.split(order, starts)
    ]


def _joined(runs: Sequence[_Run], sizes: np.ndarray) -> Curves:
    """The runs of one grid point, seeds ascending."""
    ordered = sorted(runs, key=lambda run: run.seed)
    seeds = tuple(run.seed for run in ordered)
    if len(set(seeds)) < len(seeds):
        raise Lacking(
            "two runs have one seed: pass the runs of one grid point, which differ in the seed only"
        )
    for run in ordered[1:]:
        if not np.array_equal(run.steps, ordered[0].steps):
            raise Lacking(f"the runs with seeds {seeds[0]} and {run.seed} are evaluated at different steps")
    return Curves(ordered[0].steps, np.stack([run.counts for run in ordered]), sizes, seeds)


def common(points: Sequence[Curves]) -> list[Curves]:
    """Keep the seeds that all grid points have, so that their differences are paired.

    Raises:
        Lacking: there is none, or no point.
    """
    if not points:
        raise Lacking("no run is left")
    shared = sorted(set.intersection(*(set(point.seeds) for point in points)))
    if not shared:
        raise Lacking("the runs have no seed in common")
    return [point.of_seeds(shared) for point in points]


def several(found: Mapping[Key, Curves]) -> dict[Key, Curves]:
    """The points with at least two seeds, cut to the seeds that all of these share.

    If no point has two, all of them: they can be shown, and decide nothing.

    Raises:
        Lacking: those with several seeds share fewer than two.
    """
    if not found:
        return {}
    kept = {key: curves for key, curves in found.items() if len(curves.seeds) > 1}
    if not kept:
        return dict(zip(found, common(list(found.values())), strict=True))
    shared = common(list(kept.values()))
    if len(shared[0].seeds) < 2:
        raise Lacking("the runs to be compared share one seed only")
    return dict(zip(kept, shared, strict=True))


def crossed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Choose the best option on one half, score it on the other; mean of both ways round.

    Args:
        first: accuracies of the options on half A, shape ``[..., options]``.
        second: on half B, same shape.

    Returns:
        Scores, shape ``[...]``. Their expectation is that of an option, never above that of the best one.
    """
    return 0.5 * (at(second, first_best(first)) + at(first, first_best(second)))


def first_best(values: np.ndarray) -> np.ndarray:
    """Index of the best option, the first of several, shape ``[...]`` from ``[..., options]``.

    Accuracies are ratios of whole numbers, so equals are common, and rounding must not choose between them.
    """
    return np.asarray((values >= values.max(axis=-1, keepdims=True) - 1e-9).argmax(axis=-1))


def at(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Take one option of each row.

    Args:
        values: shape ``[..., options]``; one row serves many indices.
        index: shape ``[...]``.

    Returns:
        Shape ``[...]``.
    """
    options = values.shape[-1]
    rows = np.broadcast_to(values, (*index.shape, options))
    return np.take_along_axis(rows, index[..., None], axis=-1)[..., 0]
