"""Our claims x1, x2 and x4 on what the paper leaves open (Figures X1, X2, X4); docs/beyond.md has the sources."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from l2dynamics.analysis import beyond, blocks, choice, resampling, selection, slopes
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.optimum import exponents
from l2dynamics.analysis.resampling import View
from l2dynamics.analysis.slopes import Sweep
from l2dynamics.claims import checks, judging, regimes, runs, times
from l2dynamics.claims.accuracies import CROSSED
from l2dynamics.claims.base import OURS, Claim, number
from l2dynamics.claims.checks import SAME
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

ADAMW, ADAM = "cnn_bn_adamw", "cnn_bn_adam"
SCHEDULED = ("wrn_schedule", "wrn_cosine", "cnn_bn_schedule", "cnn_bn_cosine")
NOISE = {"fc": ("fc", "fc_minibatch"), "cnn_bn": ("cnn_bn_full", "cnn_bn")}
"""Setup → results in full batches, in minibatches."""
RESULTS = (
    ADAMW,
    ADAM,
    *(f"autol2_{setup}" for setup in SCHEDULED),
    *(name for pair in NOISE.values() for name in pair),
)

MARGIN = times.MARGIN
POINTS, DECADES = 4, 1.0

ON_BUDGET = Spec(
    "x1",
    "With AdamW the optimal λ within a budget T is ∝ 1/(ηT).",
    "True if the 90 % intervals of the exponents of the optimal λ, on T at fixed η and on η at fixed T, lie within "
    f"−1 ± {MARGIN:g}, over at least {POINTS} pairs of η and T whose grid of λ brackets the optimum, and a decade of "
    "ηT. Where few pairs are bracketed this draws the exponents towards 0. The optimum is the summit of a parabola "
    f"in log λ through maximum accuracies within T. {CROSSED}",
    lambda numbers: [
        checks.within(f"exponent of the optimal λ on {what}", one, -1 - MARGIN, -1 + MARGIN)
        for what, one in zip(("T", "η"), numbers, strict=True)
    ],
    paper=-1.0,
    kind=OURS,
    figure="figX1",
)
COUPLED = replace(
    ON_BUDGET, id="x1-coupled", text="With Adam and L2 in the gradient the optimal λ is ∝ 1/(ηT) too."
)
ON_TIME = Spec(
    "x1-time",
    "With AdamW t* ∝ 1/(ηλ).",
    f"True if the 90 % interval of the exponent on ηλ over all η lies within −1 ± {MARGIN:g}, over at least {POINTS} "
    "points and a decade, and the standard deviation over η of the mean of log(t* η λ) is at most log 2 (upper 90 % "
    f"bound). {times.TIME} {times.PLACEBO}",
    lambda numbers: [
        times.law(numbers, "exponent of t* on ηλ"),
        checks.at_most("spread of log(t* η λ) over η", numbers[3], math.log(2)),
    ],
    paper=-1.0,
    kind=OURS,
    figure="figX1",
)
UNITS = Spec(
    "x2",
    "With a schedule of η, AutoL2 in its own units ends level with the tuned constant λ, and above AutoL2 as printed.",
    f"True if at the end of the runs it is at most {SAME:g} below the tuned λ (lower 90 % bound) and above AutoL2 from "
    "λ0 = 0.1 with pauses in steps (95 %). Its own units: λ0 is where t* is early in the run, and pauses are "
    "counted in ∫η dt; which of the two acts is not asked. λ = 0 counts among the constant λ. Steps and a cosine of η, "
    f"WRN and CNN+BN; until 2026-11-29 by their mean, which says nothing with a network that died. {CROSSED}",
    lambda numbers: [
        checks.better("AutoL2 in its own units minus tuned λ at the end", numbers[0], -SAME, level=0.9),
        checks.better("AutoL2 in its own units minus as printed at the end", numbers[1]),
    ],
    kind=OURS,
    pool=False,
    figure="figX2",
    level=0.9,
)
GAIN = Spec(
    "x4",
    "The gain of λ > 0 does not need the noise of minibatches.",
    "True if in full batches the best λ > 0 reaches more than λ = 0 (95 %), and gains at most "
    f"{SAME:g} less than in minibatches (lower 90 % bound): same η, λ, seeds, steps and images that share batch norm. "
    f"{CROSSED}",
    lambda numbers: [
        checks.better("gain of λ > 0 in full batches", numbers[0]),
        checks.better("gain in full batches minus that in minibatches", numbers[1], -SAME, level=0.9),
    ],
    kind=OURS,
    pool=False,
    figure="figX4",
)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return our claims on AdamW (x1), AutoL2 with a schedule (x2) and noise (x4)."""
    return [
        judging.single(ON_BUDGET, on_budget(results, ADAMW)),
        judging.single(COUPLED, on_budget(results, ADAM)),
        judging.single(ON_TIME, on_time(results)),
        *judging.over_setups(UNITS, [own_units(results, setup) for setup in SCHEDULED]),
        *judging.over_setups(GAIN, [gain(results, setup) for setup in NOISE]),
    ]


def on_budget(results: Mapping[str, Results], name: str) -> Part:
    """Claims x1 and x1-coupled: the exponent of the optimal λ on ηT."""
    own = results[name]
    part = Part(name, (own,), "", outside=regimes.outside(results, name))

    def measure() -> Part:
        tried = beyond.budgets(own)
        optima = [(one, one.optimum()) for one in tried]
        kept = [(one, found) for one, found in optima if found.bracketed]
        products = [one.eta * one.steps for one, _ in kept]
        decades = math.log10(max(products) / min(products)) if products else 0.0
        words = f"{len(kept)} of {len(tried)} pairs of η and T over {decades:.1f} decades of ηT"
        if len(kept) < POINTS or decades < DECADES * (1 - 1e-9):
            raise Lacking(f"the grid brackets the optimum of {words}; it takes {POINTS} over {DECADES:g}")
        times_l2 = [one.eta * one.steps * 10**found.log10_l2.value for one, found in kept]
        facts = f"{words}; λ·ηT at the optimum {number(min(times_l2))} … {number(max(times_l2))}."
        return replace(part, numbers=exponents([one for one, _ in kept]), facts=facts)

    return judging.attempt(part, measure)


def on_time(results: Mapping[str, Results]) -> Part:
    """Claim x1-time: the exponent of t* on ηλ."""
    own = results[ADAMW]
    part = Part(ADAMW, (own,), "", outside=regimes.outside(results, ADAMW))

    def measure() -> Part:
        sweep, note = runs.sweep(own, runs.of_group(own))
        products = sweep.eta * sweep.l2
        decades = math.log10(products.max() / products.min())
        if len(products) < POINTS or decades < DECADES * (1 - 1e-9):
            raise Lacking(
                f"{len(products)} points over {decades:.1f} decades of ηλ enter the fit. {note}".rstrip(" .")
            )
        found = slopes.exponent(sweep, over_eta=True)
        assert found.placebo is not None
        assert found.difference is not None
        spread = slopes.prefactor_spread(Sweep(sweep.curves, sweep.eta, sweep.l2, {}))
        facts = (
            f"{len(products)} points over {decades:.1f} decades of ηλ; placebo {number(found.placebo.value)}; the "
            f"prefactor varies by a factor {math.exp(spread.value):.2f} over η. {note}"
        )
        return replace(
            part, numbers=(found.slope, found.placebo, found.difference, spread), facts=facts.strip()
        )

    return judging.attempt(part, measure)


def own_units(results: Mapping[str, Results], setup: str) -> Part:
    """Claim x2 in one setup: AutoL2 in its own units at the end of runs with a schedule."""
    own = results[f"autol2_{setup}"]
    text = f"{title(own.name)}: AutoL2 in its own units ends level with the tuned λ."
    part = Part(setup, (own,), text, outside=regimes.outside(results, own.name))

    def measure() -> Part:
        starts = {rule: beyond.largest_start(own, rule) for rule in ("own", "minibatch")}
        found: dict[str | float, Curves] = {
            "own": _from_start(own, "own", starts["own"]),
            "printed": _from_start(own, "minibatch", starts["minibatch"]),
        }
        found |= {l2: one for (_, l2), one in runs.of_group(own, "constant").items()}
        ends = {key: runs.last_only(one) for key, one in blocks.several(found).items()}
        if not {"own", "printed"} <= set(ends) or len(ends) < 3:
            raise Lacking("AutoL2 and constant λ share no two seeds")
        fixed = {key: one for key, one in ends.items() if isinstance(key, float)}
        constant = list(fixed.values())

        def differences(view: View) -> np.ndarray:
            mine = choice.best(view, [ends["own"]])
            others = [choice.best(view, constant), choice.best(view, [ends["printed"]])]
            return np.stack([mine - other for other in others], axis=-1)

        numbers = tuple(resampling.estimates(differences, len(ends["own"].seeds)))
        tuned = max(fixed, key=lambda l2: float(fixed[l2].accuracy().mean()))
        facts = (
            f"Tuned λ = {number(tuned)}; λ0 = {starts['own']:.3g} in its own units, {starts['minibatch']:.3g} as "
            f"printed; minus as printed {number(numbers[1].value)}."
        )
        lacks = (
            f"the best constant λ = {number(tuned)} is the largest of its grid" if tuned == max(fixed) else ""
        )
        return replace(part, numbers=() if lacks else numbers, facts=facts, lacks=lacks, shown=numbers[0])

    return judging.attempt(part, measure)


def _from_start(results: Results, rule: str, start: float) -> Curves:
    return blocks.from_survivors(selection.starts(results, rule)[start], runs.sizes(results))


def gain(results: Mapping[str, Results], setup: str) -> Part:
    """Claim x4 in one setup."""
    whole, small = (results[name] for name in NOISE[setup])
    outside = tuple(
        dict.fromkeys((*regimes.outside(results, whole.name), *regimes.outside(results, small.name)))
    )
    part = Part(setup, (whole, small), f"{title(setup)}: λ > 0 gains without noise too.", outside=outside)

    def measure() -> Part:
        eta, shared = beyond.alike(whole, small)
        l2s = sorted({l2 for _, l2 in shared if l2 > 0})

        def gains(view: View) -> np.ndarray:
            each = []
            for size in ("full", "mini"):
                best = choice.best(view, [shared[size, l2] for l2 in l2s])
                each.append(best - choice.best(view, [shared[size, 0.0]]))
            return np.stack([each[0], each[0] - each[1]], axis=-1)

        numbers = tuple(resampling.estimates(gains, len(shared["full", 0.0].seeds)))
        facts = (
            f"η = {eta:g}, λ = {number(l2s[0])} … {number(l2s[-1])}; gain {number(numbers[0].value)} in full batches, "
            f"{number(numbers[0].value - numbers[1].value)} in minibatches."
        )
        return replace(part, numbers=numbers, facts=facts)

    return judging.attempt(part, measure)
