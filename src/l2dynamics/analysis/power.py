"""How many seeds, images and λ a test needs, from the variances measured so far.

The variance of an estimate has parts that shrink with different numbers: seeds, test images, what is between the two,
the scatter over λ. Each is measured by the resampling (:class:`l2dynamics.analysis.resampling.Parts`); here it is
scaled to other numbers. A test decides with the wanted power if the distance of the expected value from the bound is
at least (t(level) + t(power)) standard errors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import stdtrit

from l2dynamics.analysis.blocks import BLOCKS
from l2dynamics.analysis.resampling import Estimate

MOST = 1_000_000
"""A number beyond this is reported as none: no number of this kind decides."""


@dataclass(frozen=True)
class Size:
    """What an estimate is made from.

    Attributes:
        seeds: at least 2.
        images: test images.
        units: λ of a fitted slope; 0 without one.
    """

    seeds: int
    images: int
    units: int = 0


@dataclass(frozen=True)
class Variances:
    """Variance of a statistic per seed, image and λ.

    Attributes:
        seed: variance between seeds beyond their images, of one seed.
        image: what is common to all seeds, of one image.
        both: what differs between seeds on an image, of one seed and one image.
        unit: scatter of λ beyond seeds and images, of one λ.
    """

    seed: float
    image: float
    both: float
    unit: float = 0.0

    def of(self, size: Size) -> float:
        """Variance of the estimate at a size."""
        scatter = self.unit / size.units if size.units else 0.0
        return (
            self.seed / size.seeds
            + self.image / size.images
            + self.both / (size.seeds * size.images)
            + scatter
        )

    def df(self, size: Size) -> float:
        """Satterthwaite degrees of freedom at a size."""
        both = self.both / (size.seeds * size.images)
        seeds, blocks = self.seed / size.seeds + both, self.image / size.images + both
        scatter = self.unit / size.units if size.units else 0.0
        squares = (
            seeds**2 / (size.seeds - 1)
            + blocks**2 / (BLOCKS - 1)
            + both**2 / ((size.seeds - 1) * (BLOCKS - 1))
            + (scatter**2 / max(size.units - 2, 1))
        )
        return max(self.of(size) ** 2 / squares, 1.0) if squares > 0 else float(BLOCKS - 1)


def variances(estimate: Estimate, images: int) -> Variances:
    """Undo the sizes of a measured estimate.

    Slopes over λ are assumed to span the same decades: with more λ their scatter shrinks as 1/λ.

    Args:
        estimate: with its parts, of at least two seeds.
        images: test images it was measured on.

    Raises:
        ValueError: one seed tells nothing of others.
    """
    if not estimate.over_seeds:
        raise ValueError("one seed tells nothing of the variance between seeds")
    parts, n = estimate.parts, estimate.n_seeds
    return Variances(
        seed=(parts.seeds - parts.interaction) * n,
        image=(parts.blocks - parts.interaction) * images,
        both=parts.interaction * n * images,
        unit=(parts.units - parts.units_interaction) * estimate.n_units,
    )


def decides(found: Variances, size: Size, distance: float, *, level: float, power: float = 0.8) -> bool:
    """Say whether a test at a size decides with the wanted power.

    Args:
        found: variances of its statistic.
        size: to be tried.
        distance: of the expected value from the nearest bound of the test, > 0: the effect itself for "better", margin
            minus the expected difference for an equivalence.
        level: of the two-sided interval of the test, 0.9 or 0.95.
        power: probability that the interval stays on its side of the bound.
    """
    df = found.df(size)
    needed = (stdtrit(df, 0.5 + level / 2) + stdtrit(df, power)) * math.sqrt(found.of(size))
    return bool(distance >= needed)


def seeds_needed(
    found: Variances, size: Size, distance: float, *, level: float, power: float = 0.8
) -> int | None:
    """Return the fewest seeds that decide, images and λ as in ``size``; None if no number does."""
    return _fewest(
        2, lambda n: decides(found, Size(n, size.images, size.units), distance, level=level, power=power)
    )


def images_needed(
    found: Variances, size: Size, distance: float, *, level: float, power: float = 0.8
) -> int | None:
    """Return the fewest test images (at least one a block) that decide; None if no number does."""
    return _fewest(
        BLOCKS, lambda n: decides(found, Size(size.seeds, n, size.units), distance, level=level, power=power)
    )


def units_needed(
    found: Variances, size: Size, distance: float, *, level: float, power: float = 0.8
) -> int | None:
    """Return the fewest λ over the same decades that decide; None if no number does."""
    return _fewest(
        3, lambda n: decides(found, Size(size.seeds, size.images, n), distance, level=level, power=power)
    )


@dataclass(frozen=True)
class Needs:
    """What would decide a test, one number changed at a time; None: no number of that kind does.

    Attributes:
        decides: whether the measured size does.
        seeds: seeds needed.
        images: test images needed.
        units: λ needed; None for a statistic without slope.
    """

    decides: bool
    seeds: int | None
    images: int | None
    units: int | None


def needs(estimate: Estimate, images: int, distance: float, *, level: float, power: float = 0.8) -> Needs:
    """Size a test from what was measured.

    Args:
        estimate: of at least two seeds.
        images: test images it was measured on.
        distance: see :func:`decides`; at most 0, as where the expected value lies on the wrong side, nothing helps.
        level: see :func:`decides`.
        power: see :func:`decides`.

    Raises:
        ValueError: one seed tells nothing of others.
    """
    found, size = variances(estimate, images), Size(estimate.n_seeds, images, estimate.n_units)
    if distance <= 0:
        return Needs(False, None, None, None)
    return Needs(
        decides(found, size, distance, level=level, power=power),
        seeds_needed(found, size, distance, level=level, power=power),
        images_needed(found, size, distance, level=level, power=power),
        units_needed(found, size, distance, level=level, power=power) if size.units else None,
    )


def evaluations_needed(scatter: float, share: float = 0.1) -> int:
    """Return evaluations per decade of time at which their distance adds little to the scatter of log t*.

    A time is known to the distance h of two evaluations (natural log), a uniform error of variance h²/12.

    Args:
        scatter: standard deviation of log t* at one λ from seeds and images.
        share: of the variance that the evaluations may add.

    Raises:
        ValueError: an argument is not positive.
    """
    if not (scatter > 0 and share > 0):
        raise ValueError("scatter and share must be positive")
    return math.ceil(math.log(10) / (scatter * math.sqrt(12 * share)))


def accuracy_se(accuracy: float, images: int) -> float:
    """Standard error of one accuracy from the choice of the test images alone, √(p (1 − p) / N)."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def paired_se(disagreement: float, images: int) -> float:
    """Standard error of the difference of two networks that differ on a share d of the images, √(d / N)."""
    return math.sqrt(disagreement / images)


def slope_se(scatter: float, decades: float, points: int) -> float:
    """Standard error of a slope over evenly spaced log λ: σ / (2.303 D √(n / 12)) up to terms of order 1/n."""
    return scatter / (math.log(10) * decades * math.sqrt(points * (points + 1) / (12 * (points - 1))))


def _fewest(least: int, good: Callable[[int], bool]) -> int | None:
    """The smallest number that is good, by doubling and halving; more of a kind never decides less."""
    high = least
    while not good(high):
        if high >= MOST:
            return None
        high *= 2
    low = max(high // 2, least - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high
