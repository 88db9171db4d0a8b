"""Claims 14 and 15: under-parametrised networks, and the initial scale (Figures S7, S8, S12)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from l2dynamics.analysis import blocks, choice, resampling, slopes, thresholds, verdicts
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.resampling import Estimate, View
from l2dynamics.analysis.slopes import Sweep
from l2dynamics.claims import checks, judging, parts, regimes, runs
from l2dynamics.claims.base import Claim, number
from l2dynamics.claims.checks import SAME, Check
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.claims.parts import Found
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

RESULTS = ("fc_small", "resnet", "wrn_sigma", "wrn_aug")
SATURATES = -0.5
SCALE_MARGIN = 0.02
ALIKE = 12
"""Products ηλ within a twelfth of a decade count as equal: grids are not exactly geometric."""

STRAIGHT = 0.999
"""Rank correlation up to which Fisher's z is taken: that of 1 is infinite."""


def worse(numbers: Sequence[Estimate]) -> list[Check]:
    """The smallest λ is worse than the best one; contradicted by a plateau as in claim 3.

    Where the smallest λ is the best by more than such a plateau nothing is decided: the optimum may lie below it.
    """
    check = checks.better("best λ minus smallest λ > 0", numbers[0])
    flat = verdicts.equivalent(numbers[0], SAME)
    rises = "the smallest λ is the best, so the optimum may lie below it" if numbers[0].value < 0 else ""
    test = replace(check.test, p_against=flat.p_for * check.test.alpha / flat.alpha)
    return [replace(check, test=test, blocked=rises, against=f"a plateau within ± {SAME:g}")]


WORSE = Spec(
    "14",
    "accuracy is best at λ ≠ 0 even with T ∝ 1/λ.",
    "Measured: best accuracy of the larger λ minus that of the smallest λ > 0 with T ∝ 1/λ; true if above 0, 95 "
    f"%; contradicted by a plateau within ± {SAME:g}, 90 %. λ and evaluation are chosen on one half of the test "
    "images and scored on the other.",
    worse,
)
SLOPE = Spec(
    "14",
    "t* ∝ 1/λ fails below the best λ.",
    f"Measured: exponent of t* on λ for λ up to the best one whose t* is in the first half of their runs; true if the "
    f"90 % interval lies above {SATURATES:g} (until 2026-11-29 in the first four fifths: what enters no other fit is "
    "not to enter this one).",
    lambda numbers: [checks.better("exponent of t* on λ", numbers[0], SATURATES, level=0.9)],
)
PRODUCT = Spec(
    "14",
    "at fixed T accuracy is constant along ηλ.",
    "Measured: rank correlation of the accuracy of a cell with the mean of the other cells of equal ηλ; true if "
    "above 0, 95 %, by Fisher's z.",
    lambda numbers: [checks.better("Fisher's z of the rank correlation along ηλ", numbers[0])],
    shown=math.tanh,
)
ALL = (
    "14",
    "Under-parametrised networks break claims 1 and 3.",
    "True if some smaller λ is worse than the best even at T ∝ 1/λ (FC and ResNet), t* stops growing below the "
    "best λ, and accuracy at fixed T is constant along ηλ.",
)
INITIAL = Spec(
    "15",
    "Final performance is independent of σw.",
    f"True if the final accuracies of any two σw differ by no more than ± {SCALE_MARGIN:g} at the smallest λ (90 "
    "%), and the range over σw is larger in a shorter training (95 %; the σw with the highest and the lowest accuracy "
    "are chosen on one half of the test images and scored on the other). Shorter is the same λ at the fixed T of "
    "Figure 1a; where there is none, the largest λ, as everywhere until 2026-11-30, after a look (docs/scales.md): "
    "with T ∝ 1/λ the start decays by the same factor at any λ. Measured: the two σw that differ most.",
    lambda numbers: [
        *(checks.equivalent("difference between two σw", one, SCALE_MARGIN) for one in numbers[:-1]),
        checks.better("range over σw in a shorter training minus at the end of the longest", numbers[-1]),
    ],
    paper=0.0,
    figure="figS12",
)

_WHY = {"fc_small": "under-parametrised", "resnet": "does not fit its images, taken as under-parametrised"}


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 14, with its parts, and 15."""
    small, resnet = results["fc_small"], results["resnet"]
    found = [
        (WORSE, "fc_small-accuracy", small, "figS7", lambda: small_l2_is_worse(small)),
        (SLOPE, "fc_small-time", small, "figS7", lambda: time_saturates(small)),
        (PRODUCT, "resnet-product", resnet, "figS8", lambda: product_decides(resnet)),
        (WORSE, "resnet-budget", resnet, "figS8", lambda: never_catches_up(resnet)),
    ]
    measured = []
    for spec, tail, own, figure, measure in found:
        part = Part(tail, (own,), f"{title(own.name)} ({_WHY[own.name]}): {spec.text}", figure=figure)
        fits = small_fits(results) if own is small else ""
        measured.append((spec, replace(part, lacks=fits) if fits else parts.filled(part, measure)))
    return [*parts.together(*ALL, measured), judging.single(INITIAL, initial_scale(results))]


def small_fits(results: Mapping[str, Results]) -> str:
    """Why the small network is not under-parametrised; empty if it is."""
    try:
        found = regimes.of(results, "fc_small")
    except Lacking as lack:
        return f"whether it is under-parametrised is not known: {lack}"
    if math.isnan(found.train_accuracy):
        return "whether it is under-parametrised is not known: no run with λ = 0"
    return (
        f"not under-parametrised: training accuracy {found.train_accuracy:.3f} at λ = 0" if found.fits else ""
    )


def small_l2_is_worse(results: Results) -> Found:
    """Claim 14 on FC: the smallest λ > 0 against the best of the larger ones, T ∝ 1/λ."""
    _, found = runs.headline(results)
    found = blocks.several(runs.inverse_length({l2: one for l2, one in found.items() if l2 > 0}))
    if len(found) < 3:
        raise Lacking(f"{len(found)} λ with T ∝ 1/λ and several seeds; it takes three")
    _, *larger = found
    return _gap([found[min(found)]], [found[l2] for l2 in larger], f"λ = {min(found):g} … {max(found):g}.")


def never_catches_up(results: Results) -> Found:
    """Claim 14 on ResNet: the smallest λ at its best budget against the larger ones at T ∝ 1/λ or less."""
    table = runs.rows(results, "budget")
    found: dict[tuple[float, float], Curves] = {}
    for budget in sorted(table["budget"].unique()):
        for (_, l2), one in runs.points(results, table[table["budget"] == budget]).items():
            found[float(budget), l2] = one
    found = blocks.several({key: one for key, one in found.items() if key[1] > 0})
    l2s = sorted({l2 for _, l2 in found})
    if len(l2s) < 2 or not any(runs.learned(results, one) for one in found.values()):
        raise Lacking("fewer than two λ with several seeds learned")
    smallest = [one for (_, l2), one in found.items() if l2 == l2s[0]]
    longest = max(budget for budget, l2 in found if l2 == l2s[0])
    larger = [
        one
        for (budget, l2), one in found.items()
        if l2 > l2s[0] and budget * l2 * runs.INVERSE <= longest * l2s[0]
    ]
    if not larger:
        raise Lacking(f"λ = {l2s[0]:g} was not trained for T ∝ 1/λ, that is so much longer than a larger λ")
    return _gap(smallest, larger, f"λ = {l2s[0]:g} … {l2s[-1]:g}, T up to {longest:.4g} epochs.")


def time_saturates(results: Results) -> Found:
    """Claim 14: the exponent of t* on λ up to the best λ."""
    eta, found = runs.headline(results)
    found = blocks.several({l2: one for l2, one in found.items() if l2 > 0})
    best = max(found, key=lambda l2: _top(found[l2]))
    kept = {
        l2: one
        for l2, one in found.items()
        if l2 <= best
        and runs.learned(results, one)
        and 0 < runs.star(one) <= thresholds.FIT_WITHIN * runs.length(one) * (1 + 1e-9)
    }
    if len(kept) < 3:
        raise Lacking(
            f"{len(kept)} λ at or below the best one ({best:g}) have their t* in the first half of their runs; an "
            "exponent needs three"
        )
    sweep = Sweep(tuple(kept.values()), np.full(len(kept), eta), np.array(list(kept)), {})
    return (slopes.exponent(sweep).slope,), f"Best λ {best:g}, {len(kept)} λ up to it."


def product_decides(results: Results) -> Found:
    """Claim 14: with fixed T accuracy over η and λ is a function of ηλ (Figure S8a)."""
    # Cells at chance level are data: Figure S8 shows them all.
    found = blocks.several({key: one for key, one in runs.of_group(results).items() if key[1] > 0})
    if not any(runs.learned(results, one) for one in found.values()):
        raise Lacking("no run learned")
    product = np.array([round(math.log10(eta * l2) * ALIKE) for eta, l2 in found])
    alike = product[:, None] == product
    np.fill_diagonal(alike, False)
    cells = np.flatnonzero(alike.any(axis=1))
    if len(np.unique(product[cells])) < 3:
        raise Lacking("fewer than three products ηλ occur twice")
    weights = (alike / np.maximum(alike.sum(axis=1, keepdims=True), 1))[cells]
    curves = list(found.values())

    def correlation(view: View) -> np.ndarray:
        top = np.stack([choice.best(view, [one]) for one in curves], axis=-1)
        own, others = (rankdata(np.round(x, 9), axis=-1) for x in (top[:, cells], top @ weights.T))
        own, others = (x - x.mean(axis=-1, keepdims=True) for x in (own, others))
        size = np.sqrt((own**2).sum(axis=-1) * (others**2).sum(axis=-1))
        found = (own * others).sum(axis=-1) / np.where(size > 0, size, 1.0)
        return np.where(size > 0, np.arctanh(np.clip(found, -STRAIGHT, STRAIGHT)), np.nan)

    estimate = resampling.estimate(correlation, len(curves[0].seeds))
    return (estimate,), f"{len(cells)} cells."


def initial_scale(results: Mapping[str, Results]) -> Part:
    """Claim 15: final accuracies over σw at the smallest λ, and their range in a shorter training."""
    own = results["wrn_sigma"]
    part = Part("wrn_sigma", (own,), "", outside=regimes.outside(results, "wrn_sigma"))

    def measure() -> Part:
        tables = {"scaled": runs.rows(own, "scaled"), "fixed": own.table[own.table["group"] == "fixed"]}
        ends: dict[tuple[str, float, float], Curves] = {}
        for group, table in tables.items():
            for sigma, some in table.groupby("sigma_w"):
                for (_, l2), one in runs.points(own, some).items():
                    if l2 > 0 and runs.learned(own, one):
                        ends[group, float(sigma), l2] = runs.last_only(one)  # type: ignore[arg-type]
        ends = blocks.several(ends)
        sigmas = sorted({sigma for group, sigma, _ in ends if group == "scaled"})

        def of_every_sigma(group: str, l2: float) -> list[Curves]:
            return [ends[group, sigma, l2] for sigma in sigmas if (group, sigma, l2) in ends]

        whole = len(sigmas)
        l2s = sorted(
            {l2 for group, _, l2 in ends if group == "scaled" and len(of_every_sigma(group, l2)) == whole}
        )
        if whole < 3 or len(l2s) < 2:
            raise Lacking(f"{whole} σw at {len(l2s)} λ learned with several seeds; it takes three at two λ")
        longest, fixed = of_every_sigma("scaled", l2s[0]), of_every_sigma("fixed", l2s[0])
        l2, shorter = (l2s[0], fixed) if len(fixed) == whole else (l2s[-1], of_every_sigma("scaled", l2s[-1]))
        if runs.length(shorter[0]) >= runs.length(longest[0]):
            raise Lacking("no runs are shorter than those of the smallest λ")

        def numbers(view: View) -> np.ndarray:
            final = np.stack([choice.best(view, [one]) for one in longest], axis=-1)
            pairs = [final[:, j] - final[:, i] for i, j in combinations(range(whole), 2)]
            return np.stack([*pairs, choice.spread(view, shorter) - choice.spread(view, longest)], axis=-1)

        measured = tuple(resampling.estimates(numbers, len(longest[0].seeds)))
        steps = [
            f"{runs.length(one[0]):,.0f} steps with λ = {at:g}"
            for one, at in ((longest, l2s[0]), (shorter, l2))
        ]
        facts = (
            f"σw = {', '.join(f'{sigma:g}' for sigma in sigmas)}; {' and '.join(steps)}, whose range is "
            f"{number(measured[-1].value)} larger."
        )
        shown = max(measured[:-1], key=lambda one: abs(one.value))
        return replace(part, numbers=measured, facts=facts, shown=shown)

    return judging.attempt(part, measure)


def _top(curves: Curves) -> float:
    """Maximum accuracy of the mean curve, by both halves."""
    return float(choice.best(resampling.as_measured(len(curves.seeds)), [curves])[0])


def _gap(smallest: list[Curves], larger: list[Curves], facts: str) -> Found:
    """Best accuracy of the larger λ minus that of the smallest."""

    def statistic(view: View) -> np.ndarray:
        return np.asarray(choice.best(view, larger) - choice.best(view, smallest))

    return (resampling.estimate(statistic, len(smallest[0].seeds)),), facts
