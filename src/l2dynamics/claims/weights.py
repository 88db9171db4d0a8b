"""Our claims x3: which weights set t*, those whose scale batch norm removes or the others (Figure X3)."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from l2dynamics.analysis import angles, bands, blocks, choice, resampling, slopes, thresholds
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.regime import STEPS
from l2dynamics.analysis.resampling import View
from l2dynamics.analysis.slopes import Sweep
from l2dynamics.claims import checks, judging, regimes, runs, times
from l2dynamics.claims.base import OURS, Claim, number
from l2dynamics.claims.checks import SAME
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.claims.runs import Point
from l2dynamics.results.tables import Results

ALL, INVARIANT, OTHERS = "cnn_bn_l2_all", "cnn_bn_l2_invariant", "cnn_bn_l2_others"
RESULTS = (ALL, INVARIANT, OTHERS)

POINTS = 3
FACTOR = 16.0
"""Over which η is varied at one ηλ."""
TURNS = math.log(1.25)

ALONE = Spec(
    "x3",
    "L2 on the scale-invariant weights alone gives t* and accuracy of L2 on all weights.",
    "Measured: the mean over η and λ of t* over t* of L2 on all. True if its logarithm lies within ± log 2 (90 %), and "
    f"the maximum accuracy is on average at most {SAME:g} below (lower 90 % bound); at least {POINTS} points whose t* "
    f"is in the first half of both runs. {times.TIME}",
    lambda numbers: [
        checks.equivalent("log of t* over that of L2 on all", numbers[0], math.log(2)),
        checks.better("maximum accuracy minus that of L2 on all", numbers[1], -SAME, level=0.9),
    ],
    kind=OURS,
    figure="figX3",
    shown=math.exp,
)
WITHOUT = replace(
    ALONE, id="x3-others", text="L2 on the other weights alone gives t* and accuracy of L2 on all weights."
)
INTRINSIC = Spec(
    "x3-eta",
    "At one ηλ t* does not depend on η.",
    f"True if the exponent of t* on η, over a factor {FACTOR:g} at one ηλ and with L2 on all weights, lies within "
    f"± {times.MARGIN:g} (90 %). {times.TIME}",
    lambda numbers: [checks.equivalent("exponent of t* on η", numbers[0], times.MARGIN)],
    kind=OURS,
    figure="figX3",
)
BALANCED = Spec(
    "x3-angle",
    "The angular update of the scale-invariant weights settles at √(2ηλ).",
    "Measured: the root mean square of the angle of a step over √(2ηλ), over all steps in the second half of the runs "
    "with L2 on all weights, η, λ, layers and channels. True if its logarithm lies within ± log 1.25 (90 %, over "
    "seeds). It follows from the lengths of the weights: θ² = 2ηλ + 2 Δ ln ‖w‖ / Δt.",
    lambda numbers: [checks.equivalent("log of the angular update over √(2ηλ)", numbers[0], TURNS)],
    kind=OURS,
    figure="figX3",
    shown=math.exp,
)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return our claims on which weights set t* (x3)."""
    return [
        judging.single(ALONE, against_all(results, INVARIANT)),
        judging.single(WITHOUT, against_all(results, OTHERS)),
        judging.single(INTRINSIC, at_one_product(results)),
        judging.single(BALANCED, balanced(results)),
    ]


def against_all(results: Mapping[str, Results], name: str) -> Part:
    """Claims x3 and x3-others: t* and accuracy with L2 on some weights against those with L2 on all."""
    some, whole = results[name], results[ALL]
    part = Part(name, (some, whole), "", outside=regimes.outside(results, ALL))

    def measure() -> Part:
        found = [_positive(runs.of_group(one)) for one in (some, whole)]
        shared = sorted(set(found[0]) & set(found[1]))
        peaked = [
            {point for point in shared if _peaked(one, each[point])}
            for one, each in zip((some, whole), found, strict=True)
        ]
        both = peaked[0] & peaked[1]
        cut = blocks.several({(side, point): found[side][point] for point in both for side in (0, 1)})
        pairs = [
            (cut[0, point], cut[1, point])
            for point in sorted(both)
            if (0, point) in cut and (1, point) in cut
        ]
        if len(pairs) < POINTS <= len(both):
            raise Lacking(f"{len(both) - len(pairs)} of {len(both)} η and λ have one seed")
        if len(pairs) < POINTS:
            raise Lacking(
                f"t* is in the first half of both runs at {len(pairs)} of {len(shared)} η and λ, with L2 on these "
                f"weights at {len(peaked[0])}, on all at {len(peaked[1])}; it takes {POINTS}"
            )

        def differences(view: View) -> np.ndarray:
            times_of = [[bands.log_star(curves)(view) for curves in pair] for pair in pairs]
            tops = [[choice.best(view, [curves]) for curves in pair] for pair in pairs]
            means = [np.mean([own - other for own, other in each], axis=0) for each in (times_of, tops)]
            return np.stack(means, axis=-1)

        time, accuracy = resampling.estimates(differences, len(pairs[0][0].seeds))
        floor = math.sqrt(
            sum(slopes.spacing(curves, runs.star(curves)) ** 2 for pair in pairs for curves in pair) / 12
        ) / len(pairs)
        facts = (
            f"{len(pairs)} of {len(shared)} η and λ; t* over that of L2 on all {math.exp(time.value):.2f}, accuracy "
            f"minus that of L2 on all {number(accuracy.value)}."
        )
        return replace(part, numbers=(time.no_finer_than(floor), accuracy), facts=facts)

    return judging.attempt(part, measure)


def at_one_product(results: Mapping[str, Results]) -> Part:
    """Claim x3-eta: the exponent of t* on η at one ηλ."""
    own = results[ALL]
    part = Part(ALL, (own,), "", outside=regimes.outside(results, ALL))

    def measure() -> Part:
        found = _positive(runs.of_group(own))
        groups: dict[float, dict[Point, Curves]] = {}
        for (eta, l2), curves in found.items():
            groups.setdefault(float(f"{eta * l2:.6g}"), {})[eta, l2] = curves
        product, most = max(groups.items(), key=lambda item: len(item[1]))
        kept = {point: curves for point, curves in most.items() if _peaked(own, curves)}
        etas = sorted(eta for eta, _ in kept)
        if len(etas) < POINTS or etas[-1] < FACTOR * etas[0] * (1 - 1e-9):
            raise Lacking(
                f"at ηλ = {number(product)} t* is in the first half of the run at {len(etas)} of {len(most)} η; it "
                f"takes {POINTS} over a factor {FACTOR:g}"
            )
        cut = blocks.several(kept)
        inverse = np.array([1 / eta for eta, _ in cut])
        # A law in 1/η: the exponent changes its sign, which the criterion does not see.
        law = slopes.exponent(Sweep(tuple(cut.values()), np.ones(len(cut)), inverse, {}))
        facts = f"ηλ = {number(product)}, η = {', '.join(f'{eta:g}' for eta in etas)}."
        return replace(part, numbers=(replace(law.slope, value=0.0 - law.slope.value),), facts=facts)

    return judging.attempt(part, measure)


def balanced(results: Mapping[str, Results]) -> Part:
    """Claim x3-angle: the settled angular update over √(2ηλ)."""
    own = results[ALL]
    part = Part(ALL, (own,), "", outside=regimes.outside(results, ALL))

    def measure() -> Part:
        table = runs.rows(own)
        found = angles.settled(table)
        by_point = np.sqrt(np.maximum(angles.mean_square(table).mean(axis=1), 0))
        facts = f"{by_point.min():.2f} to {by_point.max():.2f} at single η and λ."
        return replace(part, numbers=(found,), facts=facts)

    return judging.attempt(part, measure)


def _positive(found: Mapping[Point, Curves]) -> dict[Point, Curves]:
    return {point: curves for point, curves in found.items() if point[1] > 0}


def _peaked(results: Results, curves: Curves) -> bool:
    at = runs.star(curves)
    return runs.learned(results, curves) and STEPS <= at <= thresholds.FIT_WITHIN * runs.length(curves) * (
        1 + 1e-9
    )
