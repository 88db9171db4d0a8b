"""Claims 1, 2, 12 and c8: how t* and the time to training accuracy 1 scale with λ and η (Figures 2, 3, S1)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from l2dynamics.analysis import blocks, fitting, slopes, verdicts
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.analysis.slopes import Exponent, Sweep
from l2dynamics.claims import checks, judging, parts, runs
from l2dynamics.claims.base import OURS, Claim, number
from l2dynamics.claims.checks import Check
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

RESULTS = ("fc", "cnn", "cnn_bn", "wrn", "wrn_aug")
VANILLA = ("fc", "wrn")
"""Setups with several η and without momentum."""

MARGIN = 0.25
"""How far the exponent of t* may be from −1: the paper's c at small λ is twice that at large λ, a slope of −1.1."""
DECADES, COEFFICIENTS = 1.5, 5
PRODUCT_DECADES = {"fc": 3.0, "wrn": 2.0}
WORKSTATION_FC = 4.0
"""Decades of ηλ that FC needs at scale workstation."""
FIT_MARGIN = 0.15
SLOWEST = 3.0
"""η enters claim 12 up to the largest that trains divided by this."""

PLACEBO = (
    "An exponent counts only if it lies below its placebo, that of the λ = 0 curves cut at the length of each run: "
    "the 95 % interval of their difference is below 0. It contradicts only if it counts, or if the placebo itself "
    f"lies within {MARGIN:g} of 0."
)
GUARD = (
    "Over setups that interval is the mean's; of two setups, whose mean has one degree of freedom, each has to be "
    "below 0 (from 2026-11-29, when the mean of two could hardly ever be, see docs/calibration.md)."
)
_DIFFERENCE = frozenset({2})
TIME = "t* is the first evaluation within 0.005 of the maximum of the running median of the mean curve over seeds."

ON_L2 = Spec(
    "01",
    "t* ∝ 1/λ at fixed η.",
    f"True if the 90 % interval of the exponent lies within −1 ± {MARGIN:g}, with at least {COEFFICIENTS} λ over "
    f"{DECADES:g} decades. {TIME} {PLACEBO} {GUARD}",
    lambda numbers: [law(numbers, "exponent of t* on λ")],
    paper=-1.0,
    guards=_DIFFERENCE,
    level=0.9,
)
ON_PRODUCT = Spec(
    "02",
    "t* ∝ 1/(ηλ) with vanilla SGD.",
    f"True if the 90 % interval of the exponent on ηλ over all η lies within −1 ± {MARGIN:g} (at least "
    f"{COEFFICIENTS} λ, FC over {PRODUCT_DECADES['fc']:g} decades of ηλ, {WORKSTATION_FC:g} at scale workstation; WRN "
    f"over {PRODUCT_DECADES['wrn']:g}), and the standard deviation over η of the mean of log(t* η λ) is at "
    f"most log 2 (upper 90 % bound): one prefactor serves all η. {TIME} {PLACEBO} {GUARD}",
    lambda numbers: [
        law(numbers, "exponent of t* on ηλ"),
        checks.at_most("spread of log(t* η λ) over η", numbers[3], math.log(2)),
    ],
    paper=-1.0,
    guards=_DIFFERENCE,
    level=0.9,
)
TO_FIT = Spec(
    "12",
    "The time to training accuracy 1 scales as 1/η and depends only mildly on λ.",
    f"True if the 90 % interval of its exponent on η lies within −1 ± {FIT_MARGIN:g} (λ = 0 included, η up to a "
    f"third of the largest at which some run gets there) and that of its exponent on λ within ± {FIT_MARGIN:g}. "
    "Points enter that all their seeds reach.",
    lambda numbers: [
        checks.within("exponent on η", numbers[0], -1 - FIT_MARGIN, -1 + FIT_MARGIN),
        checks.equivalent("exponent on λ", numbers[1], FIT_MARGIN),
    ],
    paper=-1.0,
    figure="figS1",
)
CURVATURE = Spec(
    "c8",
    "The exponent of t* on λ is steeper at small λ than at large.",
    "Measured: q in log t* = a + b log λ + q (log λ)²; true if above 0, 95 %. The paper's doubling of c = t*·λ over "
    "three decades is a slope of −1.1 on average, of which this asks only whether it is steepest at small λ (until "
    "2026-11-29 it was named after c, which q alone does not tell).",
    lambda numbers: [checks.better("curvature q", numbers[0])],
    kind=OURS,
)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 1, 2, 12 and c8, each over setups and per setup."""
    at_eta = [against_l2(results, name) for name in RESULTS]
    return [
        *judging.over_setups(ON_L2, at_eta),
        *judging.over_setups(ON_PRODUCT, [against_product(results, name) for name in VANILLA]),
        *judging.over_setups(TO_FIT, [time_to_fit(results, name) for name in VANILLA]),
        *judging.over_setups(CURVATURE, [curvature(results, name) for name in RESULTS]),
    ]


def law(numbers: Sequence[Estimate], what: str) -> Check:
    """Check an exponent against −1 and its placebo; numbers are slope, placebo and their difference."""
    slope, placebo, difference = numbers[:3]
    exponent = Exponent(slope, placebo, difference)
    test = verdicts.inverse(exponent, margin=MARGIN)
    why = "" if exponent.counts else f"its placebo of {number(placebo.value)} is not excluded"
    return Check(what, test, -1 - MARGIN, -1 + MARGIN, why)


def against_l2(results: Mapping[str, Results], name: str) -> Part:
    """Claim 1 in one setup: the exponent of t* on λ, one prefactor per η."""
    own = results[name]
    part = parts.of_setup(results, name, f"{title(name)}: t* ∝ λ^a at fixed η with a = −1.")

    def measure() -> Part:
        sweep, note = runs.sweep(own, runs.of_group(own))
        found, count, decades = _exponent(sweep, over_eta=False)
        few = count < COEFFICIENTS or decades < DECADES * (1 - 1e-9)
        lacks = f"{count} λ over {decades:.1f} decades enter the fit, not {COEFFICIENTS} over {DECADES:g}"
        facts = f"{decades:.1f} decades of λ"
        return _with_exponent(own, part, sweep, found, lacks if few else "", facts, note, over_eta=False)

    return judging.attempt(part, measure)


def against_product(results: Mapping[str, Results], name: str) -> Part:
    """Claim 2 in one setup: the exponent of t* on ηλ, all η together, and the spread of its prefactor."""
    own = results[name]
    part = parts.of_setup(results, name, f"{title(name)}: t* ∝ (ηλ)^a with a = −1, all η together.")

    def measure() -> Part:
        sweep, note = runs.sweep(own, runs.of_group(own))
        needed = (
            WORKSTATION_FC
            if name == "fc" and own.passport["scale"] == "workstation"
            else PRODUCT_DECADES[name]
        )
        found, count, decades = _exponent(sweep, over_eta=True)
        spread = slopes.prefactor_spread(sweep)
        few = count < COEFFICIENTS or decades < needed * (1 - 1e-9)
        lacks = (
            f"{count} λ over {decades:.1f} decades of ηλ enter the fit, not {COEFFICIENTS} over {needed:g}"
        )
        facts = f"{decades:.1f} decades of ηλ (paper: 6); the prefactor varies by a factor {math.exp(spread.value):.2f}"
        shown = _with_exponent(own, part, sweep, found, lacks if few else "", facts, note, over_eta=True)
        return replace(shown, numbers=(*shown.numbers, spread) if shown.numbers else ())

    return judging.attempt(part, measure)


def time_to_fit(results: Mapping[str, Results], name: str) -> Part:
    """Claim 12 in one setup: exponents of the time to training accuracy 1."""
    own = results[name]
    text = f"{title(name)}: steps to training accuracy 1 ∝ η^a with a = −1, whatever λ."
    part = replace(parts.of_setup(results, name, text), figure="figS1")

    def measure() -> Part:
        table = blocks.longest(runs.rows(own))
        reached = fitting.first_steps(table)
        if reached.empty:
            raise Lacking("no run reaches training accuracy 1")
        largest = float(reached["eta"].max()) / SLOWEST
        slow = fitting.times(table[table["eta"] <= largest * (1 + 1e-9)])
        if len(np.unique(slow.eta)) < 3:
            raise Lacking(
                f"{len(np.unique(slow.eta))} η ≤ {largest:.3g}, a third of the largest that trains, reach training "
                "accuracy 1 with two seeds; an exponent needs 3"
            )
        positive = slow.where(slow.l2 > 0)
        if len(np.unique(positive.l2)) < 3:
            raise Lacking("fewer than 3 λ > 0 reach training accuracy 1 with two seeds")
        numbers = (
            fitting.exponent(slow, slow.eta, slow.l2),
            fitting.exponent(positive, positive.l2, positive.eta),
        )
        facts = (
            f"{len(slow.eta)} points, η = {slow.eta.min():g} … {slow.eta.max():g}; exponent on λ "
            f"{number(numbers[1].value)}."
        )
        return replace(part, numbers=numbers, facts=facts)

    return judging.attempt(part, measure)


def curvature(results: Mapping[str, Results], name: str) -> Part:
    """Claim c8 in one setup."""
    own = results[name]
    part = parts.of_setup(results, name, f"{title(name)}: c = t*·λ grows towards small λ.")

    def measure() -> Part:
        sweep, _ = runs.sweep(own, runs.of_group(own))
        if len(np.unique(sweep.l2)) < COEFFICIENTS:
            raise Lacking(f"{len(np.unique(sweep.l2))} λ, fewer than {COEFFICIENTS}")
        bare = Sweep(sweep.curves, sweep.eta, sweep.l2, {})
        return replace(part, numbers=(slopes.curvature(bare),))

    return judging.attempt(part, measure)


def _exponent(sweep: Sweep, *, over_eta: bool) -> tuple[Exponent | None, int, float]:
    """The exponent (None with fewer than three λ), the number of λ and the decades.

    At fixed η only those at which there are several λ count, and the decades are those of one of them.
    """
    at = (
        [np.arange(len(sweep.l2))]
        if over_eta
        else [np.flatnonzero(sweep.eta == eta) for eta in set(sweep.eta)]
    )
    several = [points for points in at if len(points) > 1]
    x = sweep.eta * sweep.l2 if over_eta else sweep.l2
    decades = max((float(np.log10(x[points].max() / x[points].min())) for points in several), default=0.0)
    count = len(np.unique(sweep.l2[np.concatenate(several)])) if several else 0
    return (slopes.exponent(sweep, over_eta=over_eta) if count >= 3 else None), count, decades


def _with_exponent(
    results: Results,
    part: Part,
    sweep: Sweep,
    found: Exponent | None,
    lacks: str,
    facts: str,
    note: str,
    *,
    over_eta: bool,
) -> Part:
    """The part with its exponent, and beside it that of t₉₅, which noise moves less."""
    if found is None or found.placebo is None or found.difference is None:
        return replace(part, lacks=f"{lacks or 'no placebo'}. {note}".rstrip(" ."), facts=note)
    try:
        bare = Sweep(sweep.curves, sweep.eta, sweep.l2, {})
        control = slopes.exponent(bare, over_eta=over_eta, find=slopes.t95(runs.chance(results))).slope
        beside = f"{number(control.value)} ({number(control.low(0.9))} … {number(control.high(0.9))})"
    except Lacking as lack:
        beside = str(lack)
    lacks = f"{lacks}. {note}".rstrip(" .") if lacks else ""
    words = (
        f"{len(sweep.l2)} points over {facts}, {sweep.seeds} seeds; placebo {number(found.placebo.value)}; exponent "
        f"of t₉₅: {beside}. {note}"
    )
    numbers = () if lacks else (found.slope, found.placebo, found.difference)
    return replace(part, numbers=numbers, facts=words.strip(), lacks=lacks, shown=found.slope)
