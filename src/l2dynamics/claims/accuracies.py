"""Claims 3–6: how the reached accuracy depends on λ, on the budget and on η (Figures 1a, 2, 3)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from l2dynamics.analysis import blocks, choice, fitting, resampling, selection
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.resampling import Estimate, View
from l2dynamics.claims import checks, judging, parts, regimes, runs
from l2dynamics.claims.base import Claim, number
from l2dynamics.claims.checks import SAME, Check
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

CONSTANT_RATE = ("fc", "cnn", "cnn_bn", "wrn")
RESULTS = (*CONSTANT_RATE, "wrn_aug", "wrn_schedule")
SEVERAL_ETA = ("fc", "wrn")
SPAN = 10.0
"""Claim 3 compares λ over at least a decade."""

CROSSED = (
    "What is chosen by looking at accuracy (λ, the evaluation) is chosen on one half of the test images and scored "
    "on the other, both ways; not across seeds."
)

PLATEAU = Spec(
    "03",
    "With T ∝ 1/λ the accuracy has a plateau at small λ and does not get worse as λ → 0.",
    f"True if the accuracy at the smallest λ is within ± {SAME:g} of that at the next larger one and at the second "
    "larger one, or the first that lies a decade above (90 % intervals, at the η of the figure). An accuracy that "
    f"still rises towards small λ does not contradict it: the grid then ends before the plateau. {CROSSED}",
    lambda numbers: [
        rising(checks.equivalent("smallest λ minus the next larger", numbers[0], SAME)),
        rising(checks.equivalent("smallest λ minus that a decade above", numbers[1], SAME)),
    ],
    paper=0.0,
)
OPTIMUM = Spec(
    "04",
    "With fixed T there is an optimal λ; smaller and larger λ are worse.",
    f"True if within a T of at least {selection.LONG:g} times what λ = 0 needs to fit the best λ between the ends of "
    "the grid reaches more than the largest λ, the smallest λ > 0 and λ = 0 (each 95 %). T is the first evaluation "
    "from there on at which the middle λ has reached its t* (changed on 2026-11-29 from the length of its runs: where "
    "these last several t*, the best λ of so long a T lies at or below the smallest of the grid); where all runs have "
    "one length it is that, and where λ is predicted for given budgets the middle one of these. Judged by counting, "
    "as a yes/no question (until 2026-11-29 by the means over setups: that over the largest λ tells how large the "
    f"largest of a grid is). Measured: over the best of these, in a setup. {CROSSED}",
    lambda numbers: [
        checks.better(f"best λ minus {what}", one)
        for what, one in zip(("largest λ", "smallest λ > 0", "λ = 0"), numbers, strict=False)
    ],
    pool=False,
)
NON_ZERO = Spec(
    "05",
    "Small non-zero λ, trained long enough, is better than λ = 0.",
    "True if the best λ > 0 reaches more than λ = 0, which was trained at least as long (mean over setups, 95 %). "
    f"The paper says 'often': setups that contradict it are exceptions. {CROSSED}",
    lambda numbers: [checks.better("best λ > 0 minus λ = 0", numbers[0])],
)
ANY_ETA = Spec(
    "06",
    "Performance at t* depends only weakly on η.",
    f"True if the maximum accuracies at any two η differ by no more than ± {SAME:g} (90 % intervals), mean over "
    "the plateau λ that both have, η at most half of the largest that trains. Measured: the two η that differ "
    f"most. {CROSSED}",
    lambda numbers: [checks.equivalent("difference between two η", one, SAME) for one in numbers],
    paper=0.0,
    pool=False,
)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 3–6, each over setups and per setup."""
    return [
        *judging.over_setups(PLATEAU, [plateau(results, name) for name in (*CONSTANT_RATE, "wrn_schedule")]),
        *judging.over_setups(OPTIMUM, [optimum(results, name) for name in RESULTS]),
        *judging.over_setups(
            NON_ZERO, [better_than_zero(results, name) for name in (*CONSTANT_RATE, "wrn_aug")]
        ),
        *judging.over_setups(ANY_ETA, [over_eta(results, name) for name in SEVERAL_ETA]),
    ]


def rising(check: Check) -> Check:
    """An accuracy that is clearly higher at the smaller λ says that the plateau lies further down."""
    up = check.test.estimate.value > 0
    why = "accuracy still rises towards small λ, so the grid ends before the plateau"
    return checks.blocked(check, why, confirm=True) if up else check


def plateau(results: Mapping[str, Results], name: str) -> Part:
    """Claim 3 in one setup."""
    own, scheduled = results[name], name == "wrn_schedule"
    what = "final" if scheduled else "maximum"
    part = parts.of_setup(
        results, name, f"{title(name)}: with T ∝ 1/λ the {what} accuracy has a plateau at small λ."
    )

    def measure() -> Part:
        _, found = runs.headline(own, "scaled" if scheduled else "grid")
        long = blocks.several(runs.inverse_length(found))
        l2s = list(long)
        far = next((k for k, l2 in enumerate(l2s) if k >= 2 and l2 >= SPAN * l2s[0] * (1 - 1e-9)), None)
        if far is None:
            raise Lacking(
                f"{len(l2s)} λ with T ∝ 1/λ and several seeds, {number(l2s[0])} … {number(l2s[-1])}; it takes three "
                "over a decade"
            )
        compared = [long[l2s[k]] for k in (0, 1, far)]
        if scheduled:
            compared = [runs.last_only(curves) for curves in compared]
        smallest, *others = compared

        def differences(view: View) -> np.ndarray:
            least = choice.best(view, [smallest])
            return np.stack([least - choice.best(view, [one]) for one in others], axis=-1)

        numbers = tuple(resampling.estimates(differences, len(smallest.seeds)))
        facts = (
            f"λ = {number(l2s[0])}, {number(l2s[1])}, {number(l2s[far])}; difference to the last "
            f"{number(numbers[1].value)}."
        )
        return replace(part, numbers=numbers, facts=facts)

    return judging.attempt(part, measure)


def optimum(results: Mapping[str, Results], name: str) -> Part:
    """Claim 4 in one setup."""
    own, scheduled = results[name], name == "wrn_schedule"
    part = parts.of_setup(results, name, f"{title(name)}: within one budget some λ is best.")

    def measure() -> Part:
        eta, found = runs.headline(own, "fixed" if scheduled else "grid")
        found = blocks.several(found)
        table = selection.at_headline_eta(own.name, runs.rows(own, "fixed" if scheduled else "grid"))
        budget = _budget(own, table, found, _steps_to_fit(results, name))
        positive = [l2 for l2 in found if l2 > 0]
        if len(positive) < 3:
            raise Lacking(f"{len(positive)} λ > 0 with several seeds; an optimum needs three")
        cut = {l2: curves.until(budget) for l2, curves in found.items()}
        runs.require_same_times(list(cut.values()))
        if scheduled:
            cut = {l2: runs.last_only(curves) for l2, curves in cut.items()}
        inner = [cut[l2] for l2 in positive[1:-1]]
        ends = [cut[positive[-1]], cut[positive[0]], *([cut[0.0]] if 0.0 in cut else [])]

        def differences(view: View) -> np.ndarray:
            best = choice.best(view, inner)
            return np.stack([best - choice.best(view, [one]) for one in ends], axis=-1)

        numbers = tuple(resampling.estimates(differences, len(inner[0].seeds)))
        shown = min(numbers, key=lambda one: one.value)
        epochs = budget / float(own.passport["steps_per_epoch"])
        facts = f"T = {epochs:.4g} epochs, η = {eta:g}, λ = {number(positive[0])} … {number(positive[-1])}."
        if 0.0 not in cut:
            facts += " These runs have no λ = 0."
        return replace(part, numbers=numbers, facts=facts, shown=shown)

    return judging.attempt(part, measure)


def better_than_zero(results: Mapping[str, Results], name: str) -> Part:
    """Claim 5 in one setup."""
    own = results[name]
    part = parts.of_setup(results, name, f"{title(name)}: the best λ > 0 reaches more than λ = 0.")

    def measure() -> Part:
        eta, found = runs.headline(own)
        if 0.0 not in found:
            raise Lacking(f"no λ = 0 at η = {eta:g}")
        found = blocks.several(found)
        if 0.0 not in found:
            raise Lacking("λ = 0 has one seed")
        zero = found.pop(0.0)
        long = {l2: one for l2, one in found.items() if runs.length(one) <= runs.length(zero) * (1 + 1e-9)}
        if not long:
            raise Lacking("λ = 0 was trained for less long than every λ > 0")

        def difference(view: View) -> np.ndarray:
            return np.asarray(choice.best(view, list(long.values())) - choice.best(view, [zero]))

        gain = resampling.estimate(difference, len(zero.seeds))
        facts = f"{len(long)} λ, η = {eta:g}; λ = 0 trained {runs.length(zero):.4g} steps."
        limits = {}
        if left := len(found) - len(long):
            facts += f" {left} λ were trained longer than λ = 0 and do not count."
            why = "the smallest λ were trained longer than λ = 0 and do not count"
            limits = {0: lambda check: checks.blocked(check, why, confirm=True)}
        return replace(part, numbers=(gain,), facts=facts, limits=limits)

    return judging.attempt(part, measure)


def over_eta(results: Mapping[str, Results], name: str) -> Part:
    """Claim 6 in one setup."""
    own = results[name]
    part = parts.of_setup(
        results, name, f"{title(name)}: at plateau λ the maximum accuracy hardly depends on η."
    )

    def measure() -> Part:
        found = runs.of_group(own)
        largest = max((eta for (eta, _), one in found.items() if runs.learned(own, one)), default=math.nan)
        flat = regimes.of(results, name).plateau
        kept = {
            (eta, l2): one
            for (eta, l2), one in found.items()
            if l2 in flat and eta <= largest / 2 * (1 + 1e-9)
        }
        if not kept:
            raise Lacking(f"no plateau λ at η ≤ {largest / 2:.3g}, half of the largest that trains")
        kept = blocks.several(kept)
        by_eta: dict[float, dict[float, Curves]] = {}
        for (eta, l2), one in kept.items():
            by_eta.setdefault(eta, {})[l2] = one
        pairs = [
            [(first[l2], second[l2]) for l2 in first if l2 in second]
            for first, second in combinations(by_eta.values(), 2)
        ]
        pairs = [pair for pair in pairs if pair]
        if not pairs:
            raise Lacking("no plateau λ at two η that are at most half of the largest that trains")
        numbers = tuple(differences(pairs))
        facts = f"η = {', '.join(f'{eta:g}' for eta in by_eta)}; λ = {', '.join(f'{l2:g}' for l2 in flat)}."
        return replace(part, numbers=numbers, facts=facts, shown=max(numbers, key=lambda one: abs(one.value)))

    return judging.attempt(part, measure)


def differences(pairs: Sequence[Sequence[tuple[Curves, Curves]]]) -> list[Estimate]:
    """Maximum accuracy of the second minus the first of each pair, mean over pairs."""
    # A run is in several pairs, and each resampling looks at it once.
    members = {id(one): one for pair in pairs for both in pair for one in both}

    def statistic(view: View) -> np.ndarray:
        best = {key: choice.best(view, [one]) for key, one in members.items()}
        return np.stack(
            [
                np.mean([best[id(second)] - best[id(first)] for first, second in pair], axis=0)
                for pair in pairs
            ],
            axis=-1,
        )

    return resampling.estimates(statistic, len(pairs[0][0][0].seeds))


def _steps_to_fit(results: Mapping[str, Results], name: str) -> float:
    """Steps that λ = 0 needs to training accuracy 0.99, mean over seeds; those of the setup that tells the regime."""
    source = results[regimes.source(name)]
    table = selection.at_headline_eta(source.name, runs.rows(source))
    steps = fitting.steps_to_fit(blocks.longest(table))
    if math.isnan(steps):
        raise Lacking("λ = 0 does not fit its training images, or was not trained")
    return steps


def _budget(results: Results, table: pd.DataFrame, found: Mapping[float, Curves], fit: float) -> float:
    """Steps of the budget: that of the figure, or the next length of a run that is long enough for λ = 0 to fit.

    The smallest λ and λ = 0 must last it.
    """
    per_epoch = float(results.passport["steps_per_epoch"])
    figure = round(selection.fixed_budget(results, table) * per_epoch)
    lengths = sorted({figure, *(runs.length(curves) for curves in found.values())})
    smallest = min(l2 for l2 in found if l2 > 0)
    most = min(runs.length(found[l2]) for l2 in (smallest, *([0.0] if 0.0 in found else [])))
    allowed = [
        steps for steps in lengths if figure <= steps <= most * (1 + 1e-9) and steps >= selection.LONG * fit
    ]
    if not allowed:
        raise Lacking(
            f"no budget from {figure} to {most:g} steps is {selection.LONG:g} times the {fit:.4g} that λ = 0 "
            "needs to fit"
        )
    return float(allowed[0])
