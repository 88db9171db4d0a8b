"""One resampling for every number: seeds and blocks of test images, and λ where a slope is fitted over it.

Seeds and blocks are drawn with replacement. A draw is a set of weights that all runs share, so differences between runs
stay paired, in images and in seeds. A statistic is a function of a :class:`View`, which holds all draws at once.

The spread of the draws is not the standard error yet. (1) Drawing n seeds with replacement shrinks their variance by
(n − 1)/n. (2) Drawing seeds and blocks together counts noise that belongs to a seed *and* a block (two networks differ
on different images) three times, drawing each alone and adding counts it twice. So the statistic is computed with seeds
drawn alone, blocks drawn alone and both drawn; the variances combine as those of a two-way table,

    V = V_seeds + V_blocks − V_interaction,    V_interaction = V_both − V_seeds − V_blocks of the draws,

every part corrected for its n. That is unbiased for whatever is linear in the counts. The quantiles are Student's with
Satterthwaite's degrees of freedom. λ enters as a third factor in the same way; where there are no more of them than a
draw must have, every draw is the data as they are, and each λ is left out once instead (the jackknife).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from l2dynamics.analysis.blocks import ALL, BLOCKS, HALF_A, Curves, Lacking

DRAWS = 2000
LOST = 0.1
"""If more than this part of the draws has no value (no optimum, say), the estimate has no standard error."""
DISTINCT = 3
"""A draw of λ has at least so many different ones, one more than a straight line has parameters.

With this rule the spread of the slopes is that of the truth within a third at 4 to 8 λ, and never clearly below it.
"""


@dataclass(frozen=True)
class View:
    """Draws of seeds, blocks and units as weights. Each array has one row per draw, or one for all.

    Attributes:
        seeds: weights of the seeds, rows sum to one, shape ``[draws or 1, seeds]``.
        blocks: how often each block is drawn, shape ``[draws or 1, 20]``.
        units: how often each λ is drawn, shape ``[draws or 1, units]``.
    """

    seeds: np.ndarray
    blocks: np.ndarray
    units: np.ndarray

    def by_seed(self, curves: Curves, half: slice = ALL) -> np.ndarray:
        """Accuracy of each seed on the images of each draw, shape ``[draws or 1, seeds, times]``.

        Args:
            curves: with as many seeds as the view.
            half: of the images, see :mod:`l2dynamics.analysis.blocks`.
        """
        seeds, times = curves.correct.shape[:2]
        counts = curves.correct[..., half].reshape(seeds * times, -1)
        weights = self.blocks[:, half]
        per_image = weights / (weights @ curves.sizes[half])[:, None]
        return np.asarray((per_image @ counts.T).reshape(-1, seeds, times))

    def accuracy(self, curves: Curves, half: slice = ALL) -> np.ndarray:
        """Mean accuracy over the seeds in each draw, shape ``[draws or 1, times]``.

        Args:
            curves: with as many seeds as the view.
            half: of the images.
        """
        if len(self.seeds) == 1:  # the mean over seeds first: the smaller product
            mean = np.tensordot(self.seeds[0], curves.correct[..., half], 1)
            weights = self.blocks[:, half]
            return np.asarray(weights @ mean.T / (weights @ curves.sizes[half])[:, None])
        return np.asarray((self.seeds[:, None, :] @ self.by_seed(curves, half))[:, 0])


Statistic = Callable[[View], np.ndarray]
"""From draws to values of shape ``[draws or 1]`` or ``[draws or 1, k]``; NaN where a draw has none."""


@dataclass(frozen=True)
class Parts:
    """Variance of an estimate by where it comes from, each corrected for its number.

    Attributes:
        seeds: of seeds, on these images.
        blocks: of images, with these seeds.
        interaction: of what differs between seeds on the same images; contained in both.
        units: of the scatter over λ.
        units_interaction: of what seeds and images add to that scatter; contained in it.
    """

    seeds: float = 0.0
    blocks: float = 0.0
    interaction: float = 0.0
    units: float = 0.0
    units_interaction: float = 0.0

    @property
    def total(self) -> float:
        """Variance of the estimate."""
        return self.seeds + self.blocks - self.interaction + self.units - self.units_interaction


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: of the data as they are.
        se: standard error; NaN if it cannot be told.
        df: degrees of freedom of its Student interval.
        n_seeds: seeds it rests on. With one, ``se`` is of the images alone and the estimate enters no verdict over
            seeds.
        n_units: λ drawn; 0 if none were.
        parts: variances by source.
        lost: part of the draws without a value.
    """

    value: float
    se: float
    df: float
    n_seeds: int
    n_units: int = 0
    parts: Parts = Parts()
    lost: float = 0.0

    @property
    def over_seeds(self) -> bool:
        """Whether the interval speaks of other seeds too; with one seed it is of the images alone."""
        return self.n_seeds > 1

    def half_width(self, level: float = 0.95) -> float:
        """Half of the two-sided interval."""
        return float(stdtrit(self.df, 0.5 + level / 2)) * self.se

    def low(self, level: float = 0.95) -> float:
        """Lower end of the two-sided interval."""
        return self.value - self.half_width(level)

    def high(self, level: float = 0.95) -> float:
        """Upper end of the two-sided interval."""
        return self.value + self.half_width(level)

    def p_at_most(self, bound: float) -> float:
        """One-sided p-value of "the true value is at most ``bound``": small if the estimate is clearly above.

        1 if there is no standard error: nothing is shown then.
        """
        return _p_value(self.value - bound, self.se, self.df)

    def p_at_least(self, bound: float) -> float:
        """One-sided p-value of "the true value is at least ``bound``": small if the estimate is clearly below."""
        return _p_value(bound - self.value, self.se, self.df)

    def no_finer_than(self, se: float) -> "Estimate":
        """The estimate with a standard error of at least ``se``: what the evaluations cannot resolve."""
        return replace(self, se=max(self.se, se)) if math.isfinite(self.se) else self

    def shifted(self, by: float) -> "Estimate":
        """The estimate of the value plus a known number."""
        return replace(self, value=self.value + by)


def _p_value(above: float, se: float, df: float) -> float:
    if not (math.isfinite(above) and math.isfinite(se)):
        return 1.0
    if se == 0:
        return 0.0 if above > 0 else 1.0
    return float(stdtr(df, -above / se))


def estimate(
    statistic: Statistic,
    seeds: int,
    *,
    units: int = 0,
    distinct: int = DISTINCT,
    parameters: int = 0,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Compute a statistic and its standard error.

    Args:
        statistic: values of shape ``[draws or 1]``.
        seeds: how many the curves have that it looks at.
        units: λ to draw, 0 for a statistic that fits nothing over λ.
        distinct: different λ that a draw must have: one more than a fitted curve without groups has parameters.
        parameters: of the fitted curve, for the degrees of freedom of the scatter over λ; 0: ``distinct`` − 1.
        draws: how many.
        seed: of the draws; statistics with the same one see the same draws.

    Raises:
        Lacking: there is no seed, or there are fewer than ``distinct`` λ.
    """
    (found,) = estimates(
        lambda view: np.asarray(statistic(view))[:, None],
        seeds,
        units=units,
        distinct=distinct,
        parameters=parameters,
        draws=draws,
        seed=seed,
    )
    return found


def estimates(
    statistic: Statistic,
    seeds: int,
    *,
    units: int = 0,
    distinct: int = DISTINCT,
    parameters: int = 0,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Estimate]:
    """Compute several statistics at once, for instance the accuracy at every evaluation for a band of a figure.

    Args:
        statistic: values of shape ``[draws or 1, k]``.
        seeds: see :func:`estimate`.
        units: see :func:`estimate`.
        distinct: see :func:`estimate`.
        parameters: see :func:`estimate`.
        draws: see :func:`estimate`.
        seed: see :func:`estimate`.

    Returns:
        k estimates.

    Raises:
        Lacking: see :func:`estimate`.
    """
    if seeds < 1 or 0 < units < distinct:
        raise Lacking(f"{seeds} seeds and {units} λ: give seeds, and at least {distinct} λ for this fit")
    drawn, plain = _views(seeds, units, distinct, draws, seed)
    observed = np.asarray(statistic(plain), dtype=np.float64)[0]
    whole = {"blocks": View(plain.seeds, drawn.blocks, plain.units)}
    if seeds > 1:
        whole["seeds"] = View(drawn.seeds, plain.blocks, plain.units)
        whole["measurement"] = View(drawn.seeds, drawn.blocks, plain.units)
    if few := 0 < units <= distinct:
        whole["units"] = View(plain.seeds, plain.blocks, 1 - np.eye(units))
    elif units:
        whole["units"] = View(plain.seeds, plain.blocks, drawn.units)
        whole["all"] = View(drawn.seeds if seeds > 1 else plain.seeds, drawn.blocks, drawn.units)
    variance, lost = {}, np.zeros(observed.shape)
    for name, view in whole.items():
        values = np.asarray(statistic(view), dtype=np.float64)
        variance[name], missing = _variance(values)
        lost = np.maximum(lost, missing)
    if few:
        variance["units"] = variance["units"] * (units - 1) ** 2 / units
    return [
        _combine(
            float(value),
            {name: float(of[k]) for name, of in variance.items()},
            seeds,
            units,
            max(1, units - (parameters or distinct - 1)),
            float(lost[k]),
        )
        for k, value in enumerate(observed)
    ]


def as_measured(seeds: int, units: int = 0) -> View:
    """The data as they are: one row of equal weights."""
    return View(np.full((1, seeds), 1 / seeds), np.ones((1, BLOCKS)), np.ones((1, units)))


def _views(seeds: int, units: int, distinct: int, draws: int, seed: int) -> tuple[View, View]:
    """All draws, and the data as they are."""
    rng = np.random.default_rng(seed)
    plain = as_measured(seeds, units)
    of_seeds = rng.multinomial(seeds, plain.seeds[0], size=draws) / seeds
    of_blocks = _redrawn(rng, BLOCKS, draws, lambda w: (w[:, HALF_A].sum(1) % BLOCKS) > 0)
    of_units = np.ones((1, 0))
    if units > distinct:
        of_units = _redrawn(rng, units, draws, lambda w: (w > 0).sum(1) >= distinct)
    return View(of_seeds, of_blocks, of_units), plain


def _redrawn(
    rng: np.random.Generator, count: int, draws: int, good: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Multinomial draws, those that are not good replaced."""
    uniform = np.full(count, 1 / count)
    weights = rng.multinomial(count, uniform, size=draws)
    while (bad := ~good(weights)).any():
        weights[bad] = rng.multinomial(count, uniform, size=int(bad.sum()))
    return weights.astype(np.float64)


def _variance(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance over the draws that have a value, and the part that has none, each of shape ``[k]``."""
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    filled = np.where(finite, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    square = (np.where(finite, values - mean, 0.0) ** 2).sum(axis=0)
    # A statistic that does not look at what is drawn here has one row.
    return square / np.maximum(count - 1, 1), 1 - count / len(values)


def _combine(
    value: float, variance: dict[str, float], seeds: int, units: int, units_df: int, lost: float
) -> Estimate:
    """Correct every part for its number, take off what is counted twice, and find the degrees of freedom."""
    of_blocks = BLOCKS / (BLOCKS - 1)
    blocks, from_seeds, interaction, terms = variance["blocks"] * of_blocks, 0.0, 0.0, []
    measured = variance["blocks"]
    if seeds > 1:
        of_seeds = seeds / (seeds - 1)
        measured = variance["measurement"]
        from_seeds = variance["seeds"] * of_seeds
        interaction = of_seeds * of_blocks * (measured - variance["seeds"] - variance["blocks"])
        interaction = _inside(interaction, from_seeds, blocks)
        terms += [(from_seeds, seeds - 1), (interaction, (seeds - 1) * (BLOCKS - 1))]
    terms.append((blocks, BLOCKS - 1))
    total = from_seeds + blocks - interaction
    scatter = shared = 0.0
    if units:
        scatter = variance["units"]
        terms.append((scatter, units_df))
        if "all" in variance:
            factor = total / measured if measured > 0 else 1.0
            shared = _inside(factor * (variance["all"] - measured - scatter), total, scatter)
            terms.append((shared, max(seeds - 1, 1) * units_df))
    parts = Parts(from_seeds, blocks, interaction, scatter, shared)
    squares = sum(part**2 / df for part, df in terms)
    df = parts.total**2 / squares if squares > 0 else float(BLOCKS - 1)
    known = math.isfinite(value) and lost <= LOST
    return Estimate(
        value=value,
        se=math.sqrt(max(parts.total, 0.0)) if known else math.nan,
        df=max(df, 1.0),
        n_seeds=seeds,
        n_units=units,
        parts=parts,
        lost=lost,
    )


def _inside(interaction: float, *wholes: float) -> float:
    """What is common to several parts is neither negative nor more than any of them."""
    return min(max(interaction, 0.0), *wholes)
