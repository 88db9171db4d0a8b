"""Claims 16, 17 and 18 of the paper, and c7 and x5: what stage ``theory`` says about them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from l2dynamics.analysis import widths
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import absent, checks, judging, times
from l2dynamics.claims.base import OURS, PAPER, Claim, number
from l2dynamics.claims.checks import Check
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.results.tables import Results

RESULTS = ("theory",)
EXPONENT_MARGIN = 0.15
BULK = 5.0
"""The exponent is judged for λ of at least the kernel's median eigenvalue divided by this."""
FEWEST_L2 = 3
"""The theory is computed without noise: three λ show whether its exponent bends."""
SEEDS, WIDTHS, WIDEST = 3, 4, 4096
EULER, EULER_WIDTH = 0.35, 2048
"""η γ_max up to which the error of the steps is below that of the width, for networks up to this width. At 0.35 Euler's
method alone is off by up to 0.03 of ‖y‖ (docs/scales.md), and what a width is off by falls as width^−½."""
LAW = times.MARGIN
SUGGESTED_BY = "laptop"
"""Scale whose first runs suggested claim x5-theory."""
TIME_MARGIN, RATE, RATE_MARGIN, DECAY_MARGIN = 0.1, -0.5, 0.2, 0.05
MINIMUM = "With k = 2 the loss has a minimum, at t ∝ 1/λ for λ not small against the kernel; with k = 1 it has none."
OWN = "From f = 0 the theory alone does not give t* ∝ 1/λ by the paper's definition."

FOLLOWS = Spec(
    "17",
    "A finite network follows the k = 2 theory of its initial kernel until after the loss minimum.",
    f"True if, with η·γ_max ≤ {EULER:g} (from 2026-11-29: times √({EULER_WIDTH:,}/width) for wider networks, whose "
    "error that of the steps would hide), the time of the loss minimum at the largest width is within "
    f"{TIME_MARGIN:.0%} of theory and the error of the function falls as width^a, a = {RATE:g} ± {RATE_MARGIN:g} "
    f"(both 90 % intervals over seeds; at least {WIDTHS} widths and {SEEDS} seeds). Measured: a. The time is compared "
    "with the theory of the network's own initial kernel, the function with that of the infinitely wide one, from "
    f"which an initial kernel differs as width^{RATE:g} (from 2026-11-28; from its own kernel a network departs as "
    "1/width, SM B, which is another exponent).",
    lambda numbers: [
        checks.within("exponent of the error on width", numbers[0], RATE - RATE_MARGIN, RATE + RATE_MARGIN),
        checks.equivalent("relative error of the time of the minimum", numbers[1], TIME_MARGIN),
    ],
    paper=RATE,
    figure="fig5",
)


def decays(numbers: Sequence[Estimate]) -> list[Check]:
    """Every extrapolated exponent within 1 ± 0.05."""
    return [
        checks.within("decay exponent at infinite width", one, 1 - DECAY_MARGIN, 1 + DECAY_MARGIN)
        for one in numbers
    ]


DECAYS = Spec(
    "18",
    "The kernel of a wide network decays as exp(−2(k−1)λt) while it trains.",
    "True if the exponent of ‖Θ_t‖ divided by 2(k−1)λ, extrapolated to infinite width by a line and by a parabola "
    f"in 1/width, lies within 1 ± {DECAY_MARGIN:g} at every depth (90 % intervals over seeds; at least {WIDTHS} "
    f"widths up to {WIDEST:,} and {SEEDS} seeds). Measured: the farthest of these.",
    decays,
    paper=1.0,
    figure="fig5",
)

_OVER_SEEDS = (
    f"interval over seeds, that is over initial weights on the same images; at least {SEEDS} seeds and "
    f"{widths.FEWEST_L2} λ"
)
_LATE = (
    "t* is that of the test accuracy, as in claim c7; a λ at which one of these lies in the second half of the "
    "training is left out."
)
WIDE = Spec(
    "x5",
    "t* of a wide network has the exponent on λ of the infinite-width theory.",
    "True if the exponent of t* on λ of networks of the largest width, minus that of the infinitely wide network from "
    f"the same initial function (eq. 1, k = 2), lies within ± {EXPONENT_MARGIN:g} (90 % {_OVER_SEEDS}). {_LATE}",
    lambda numbers: [checks.equivalent("exponent minus that of the theory", numbers[0], EXPONENT_MARGIN)],
    paper=0.0,
    kind=OURS,
    figure="figX5",
    level=0.9,
)
FROM_NETWORKS = Spec(
    "x5-theory",
    "From the random function of a network the infinite-width theory gives t* ∝ 1/λ.",
    "True if the exponent of the theory's t* on λ, from the initial functions of networks of the largest width, lies "
    f"within −1 ± {LAW:g}, the margin of claim 01 (90 % {_OVER_SEEDS}). From f = 0 it does not (c7). A first look at "
    f"runs of scale {SUGGESTED_BY} suggested this, so that it is not judged there. {_LATE}",
    lambda numbers: [checks.within("exponent of t* on λ", numbers[0], -1 - LAW, -1 + LAW)],
    paper=-1.0,
    kind=OURS,
    figure="figX5",
    level=0.9,
)
NARROW = Spec(
    "x5-narrow",
    "Narrow networks are nearer to t* ∝ 1/λ than wide ones.",
    "True if the distance of the exponent of t* on λ from −1 is larger at the largest width than at the smallest "
    f"(95 % {_OVER_SEEDS}). Measured: how much larger. {_LATE}",
    lambda numbers: [
        checks.better("distance of the exponent from −1, largest minus smallest width", numbers[0])
    ],
    kind=OURS,
    figure="figX5",
)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Judge the claims on theory.

    Args:
        results: with the entry ``theory``.
    """
    theory = results["theory"]
    if absent.is_absent(theory):
        known = {"16": (MINIMUM, "fig5")}
        known |= {one.id: (one.text, one.figure) for one in (FOLLOWS, DECAYS)}
        known |= {"c7": (OWN, "fig5")}
        known |= {one.id: (one.text, one.figure) for one in (WIDE, FROM_NETWORKS, NARROW)}
        return [_unknown(theory, id, *shown) for id, shown in known.items()]
    base = Part("theory", (theory,), "")
    return [
        minimum(theory),
        judging.single(FOLLOWS, judging.attempt(base, lambda: _finite_width(base, theory))),
        judging.single(DECAYS, judging.attempt(base, lambda: _kernel(base, theory))),
        own_t_star(theory),
        judging.single(WIDE, judging.attempt(base, lambda: _wide(base, theory))),
        judging.single(FROM_NETWORKS, judging.attempt(base, lambda: _from_networks(base, theory))),
        judging.single(NARROW, judging.attempt(base, lambda: _narrow(base, theory))),
    ]


def _unknown(theory: Results, id: str, text: str, figure: str) -> Claim:
    """A claim whose numbers have not been computed."""
    kind = PAPER if id.isdigit() else OURS
    scale = str(theory.passport["scale"])
    return Claim(id, text, figure, Verdict.UNDECIDED, absent.reason(theory), scale, "", kind=kind)


def minimum(theory: Results) -> Claim:
    """Claim 16. The theory is computed, so its exponent has no error: the interval is that between neighbouring λ."""
    found, median = theory.passport["numbers"]["minimum"], _eigenvalue(theory, "median")
    table, minima_k1 = found["table"], int(found["minima_k1"])
    missing = [row["l2"] for row in table if row["t_k2"] is None]
    kept = [row for row in table if row["t_k2"] is not None and row["l2"] >= median / BULK]
    below = [row for row in table if row["t_k2"] is not None and row["l2"] <= median]
    text = (
        f"{MINIMUM} True if it has one at every λ, the exponent of its time is −1 ± {EXPONENT_MARGIN:g} for λ of at "
        f"least a fifth of the kernel's median eigenvalue ({median:.3g}; below it the theory itself does not predict "
        "−1: the minimum waits for the slowest modes), and k = 1 has none. Interval: smallest and largest exponent "
        f"between neighbouring λ. {len(table)} λ, {len(kept)} of them in that range; k = 1 has {minima_k1} minima."
    )
    if len(below) > 1:
        text += f" Over the λ up to the median eigenvalue the exponent is {number(_slope(below))}."
    claim = Claim(
        "16", text, "fig5", Verdict.UNDECIDED, "", str(theory.passport["scale"]), _data(theory), paper=-1.0
    )
    if missing or minima_k1:
        reason = f"k = 1 has {minima_k1} minima" if minima_k1 else f"no minimum at λ = {missing[0]:g}"
        return replace(claim, verdict=Verdict.CONTRADICTED, reason=reason, n=len(table))
    if len(kept) < FEWEST_L2:
        return replace(
            claim, reason=f"{len(kept)} λ from {median / BULK:.3g} on, fewer than {FEWEST_L2}", n=len(table)
        )
    local = [_slope(pair) for pair in pairwise(kept)]
    slope = _slope(kept)
    near = abs(slope + 1) <= EXPONENT_MARGIN
    return replace(
        claim,
        verdict=Verdict.CONFIRMED if near else Verdict.CONTRADICTED,
        reason=f"exponent {number(slope)}, {'within' if near else 'outside'} −1 ± {EXPONENT_MARGIN:g}",
        measured=slope,
        low=min(local),
        high=max(local),
        n=len(kept),
    )


def own_t_star(theory: Results) -> Claim:
    """Claim c7: t* of the theory's own test curve against λ."""
    text = (
        f"{OWN} Measured: exponent on λ of the first time within 0.005 of the best accuracy of the theory's own test "
        f"curve, infinite-width kernel; true if it lies outside −1 ± {LAW:g}, the margin of claim 01."
    )
    claim = Claim(
        "c7",
        text,
        "fig5",
        Verdict.UNDECIDED,
        "",
        str(theory.passport["scale"]),
        _data(theory),
        kind=OURS,
        paper=-1.0,
    )
    found = theory.passport["numbers"].get("test_star")
    if not found:
        return replace(
            claim, reason="stage theory does not compute the test curve of the infinite-width kernel"
        )
    slope = float(found["exponent"]["slope"])
    off = abs(slope + 1) > LAW
    return replace(
        claim,
        verdict=Verdict.CONFIRMED if off else Verdict.CONTRADICTED,
        reason=f"exponent {number(slope)}",
        measured=slope,
        n=len(found["table"]),
    )


def _finite_width(base: Part, theory: Results) -> Part:
    runs = theory.passport["numbers"]["training"]
    by_width = deviations(runs, "deviation_infinite", "function")
    facts = "Mean error of the function by width: " + ", ".join(
        f"{width}: {value:.2g}" for width, value in by_width
    )
    largest = _eigenvalue(theory, "max")
    allowed = {one["width"]: EULER / math.sqrt(max(1.0, one["width"] / EULER_WIDTH)) for one in runs}
    coarse = [one for one in runs if one["eta"] * largest > allowed[one["width"]] * (1 + 1e-9)]
    seeds = sorted(
        set.intersection(*({one["seed"] for one in runs if one["width"] == w} for w, _ in by_width))
    )
    widths = [width for width, _ in by_width]
    lacks = ""
    if coarse:
        worst = max(coarse, key=lambda one: one["eta"] / allowed[one["width"]])
        lacks = (
            f"η·γ_max = {worst['eta'] * largest:.2f} at width {worst['width']:,}, more than "
            f"{allowed[worst['width']]:.2g}: the error is that of the steps, not of the width"
        )
    elif len(widths) < WIDTHS or len(seeds) < SEEDS:
        lacks = f"{len(widths)} widths with {len(seeds)} seeds in common, not {WIDTHS} with {SEEDS}"
    elif not all(one["t_min"]["inside"] for one in runs if one["width"] == widths[-1]):
        lacks = "a run of the largest width ends before its loss minimum"
    if lacks:
        return replace(base, lacks=lacks, facts=facts)
    error = {(one["width"], one["seed"]): one for one in runs}
    rate = [
        float(
            np.polyfit(
                np.log(widths), [math.log(error[w, s]["deviation_infinite"]["function"]) for w in widths], 1
            )[0]
        )
        for s in seeds
    ]
    time = [error[widths[-1], s]["t_min"]["t"] / error[widths[-1], s]["t_min_theory"] - 1 for s in seeds]
    return replace(base, numbers=(_over_seeds(rate), _over_seeds(time)), facts=facts)


def _kernel(base: Part, theory: Results) -> Part:
    runs = theory.passport["numbers"]["decay"]
    widths = sorted({one["width"] for one in runs})
    seeds, depths = (sorted({one[key] for one in runs}) for key in ("seed", "depth"))
    shown = [f"{depth}: {infinite_width(runs, depth):.3f}" for depth in depths]
    facts = f"By a line, by hidden layers: {', '.join(shown)}."
    ratio = {(one["depth"], one["seed"], one["width"]): float(one["ratio"]) for one in runs}
    complete = len(ratio) == len(widths) * len(seeds) * len(depths)
    if len(widths) < WIDTHS or widths[-1] < WIDEST or len(seeds) < SEEDS or not complete:
        some = "" if complete else ", not all of each"
        lacks = f"{len(widths)} widths up to {widths[-1]:,} with {len(seeds)} seeds{some}; it takes {WIDTHS} up to "
        return replace(base, lacks=f"{lacks}{WIDEST:,} with {SEEDS}", facts=facts)
    inverse = 1 / np.array(widths)
    numbers = tuple(
        _over_seeds([float(np.polyfit(inverse, [ratio[d, s, w] for w in widths], degree)[-1]) for s in seeds])
        for d in depths
        for degree in (1, 2)
    )
    return replace(base, numbers=numbers, facts=facts, shown=max(numbers, key=lambda one: abs(one.value - 1)))


def _wide(base: Part, theory: Results) -> Part:
    network, flow = (_by_width(theory, kind)[-1] for kind in widths.KINDS)
    own, other = widths.exponents(network, flow)
    return _of_widths(base, theory, network, own - other, f"{own.mean():.2f} against {other.mean():.2f}")


def _from_networks(base: Part, theory: Results) -> Part:
    flow = _by_width(theory, "theory")[-1]
    (found,) = widths.exponents(flow)
    part = _of_widths(base, theory, flow, found, f"{found.mean():.2f}")
    if theory.passport["scale"] == SUGGESTED_BY:
        return replace(part, numbers=(), lacks="suggested by runs of this scale, which are no test of it")
    return part


def _narrow(base: Part, theory: Results) -> Part:
    smallest, *_, largest = _by_width(theory, "network")
    narrow, wide = widths.exponents(smallest, largest)
    shown = f"{narrow.mean():.2f} at width {smallest.width}, {wide.mean():.2f} at {largest.width}"
    return _of_widths(base, theory, largest, np.abs(wide + 1) - np.abs(narrow + 1), shown)


def _by_width(theory: Results, kind: str) -> list[widths.AtWidth]:
    return widths.by_width(theory.passport["numbers"].get("finite_star"), kind)


def _of_widths(base: Part, theory: Results, widest: widths.AtWidth, values: np.ndarray, shown: str) -> Part:
    number, test = _over_seeds(values), theory.passport["config"]["finite_star"]["test"]
    facts = f"Largest width {widest.width}, {test:,} test images. Exponents: {shown}."
    lacks = f"{len(values)} seeds, fewer than {SEEDS}" if len(values) < SEEDS else ""
    return replace(base, numbers=() if lacks else (number,), lacks=lacks, facts=facts, shown=number)


def _over_seeds(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean over seeds with Student's interval."""
    if len(values) < 2:
        raise Lacking(judging.ONE_SEED)
    se = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return Estimate(float(np.mean(values)), se, float(len(values) - 1), n_seeds=len(values))


def _slope(rows: Sequence[Mapping[str, Any]]) -> float:
    logs = np.log([[row["l2"], row["t_k2"]] for row in rows])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def _eigenvalue(theory: Results, which: str) -> float:
    return float(theory.passport["numbers"]["kernels"]["eigenvalues"][which])


def _data(theory: Results) -> str:
    data = theory.passport["data"]
    return f"{data['name']} even/odd {data['train']} + {data['test']}"


def infinite_width(runs: Sequence[Mapping[str, Any]], depth: int) -> float:
    """Extrapolate the ratio of decay exponents of one depth linearly in 1/width: corrections are O(1/n) (SM B)."""
    own = [one for one in runs if one["depth"] == depth]
    return float(np.polyfit([1 / one["width"] for one in own], [one["ratio"] for one in own], 1)[1])


def deviations(
    runs: Sequence[Mapping[str, Any]], kind: str = "deviation_own", what: str = "loss"
) -> list[tuple[int, float]]:
    """Return (width, mean deviation over seeds), by ascending width."""
    widths = sorted({one["width"] for one in runs})
    return [(w, float(np.mean([one[kind][what] for one in runs if one["width"] == w]))) for w in widths]
