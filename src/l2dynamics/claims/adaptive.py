"""Claims 10, 11, c1, c5 and c6: AutoL2 against the tuned constant λ (Figures 1c, S9, S10, S11)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from l2dynamics import peaks
from l2dynamics.analysis import blocks, choice, resampling, selection
from l2dynamics.analysis.blocks import HALF_A, HALF_B, Curves, Lacking, at, first_best
from l2dynamics.analysis.resampling import View
from l2dynamics.claims import checks, judging, regimes, runs
from l2dynamics.claims.base import OURS, Claim, figures_of, number
from l2dynamics.claims.checks import SAME
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

CONSTANT_RATE = ("autol2_wrn", "autol2_fc", "autol2_cnn", "autol2_cnn_bn")
SCHEDULE = "autol2_wrn_schedule"
RESULTS = (*CONSTANT_RATE, SCHEDULE)
PRINTED = 0.1
"""λ₀ of Algorithm 1."""
EVERY = 10
"""Steps between two measurements."""
STEPS = 9760
"""Steps of the paper's runs, 200 epochs: shorter ones end before AutoL2 has lowered λ three times."""

BOTH = (
    "higher maximum accuracy (95 %) and a shorter time to the tuned maximum less 0.005 (95 %). The tuned λ is that "
    "of a grid which brackets it, λ = 0 being its lower end, chosen on one half of the test images and scored on "
    "the other; same seeds and steps. A run that does not get there takes its whole length."
)
BEATS = Spec(
    "10",
    "AutoL2 beats the tuned constant λ in accuracy and speed at constant η.",
    f"True if AutoL2 as printed (λ₀ = {PRINTED:g}, measured every {EVERY} steps on the minibatch) has, within at least "
    f"{STEPS:,} steps, {BOTH}",
    lambda numbers: [
        checks.better("accuracy of AutoL2 minus tuned λ", numbers[0]),
        checks.better("log of the time of tuned λ over AutoL2", numbers[1]),
    ],
)
SMALLER = replace(
    BEATS,
    id="c6",
    text="AutoL2 from a smaller λ₀ beats the tuned constant λ in accuracy and speed.",
    criterion=f"True if AutoL2 from the smallest λ₀ of the runs has {BOTH}",
    kind=OURS,
)
SCHEDULED = Spec(
    "11",
    "With a learning-rate schedule AutoL2 is ahead early and loses at the end.",
    "True if AutoL2 is more accurate than the tuned constant λ before the first decay and less at the end (both "
    "95 %). The tuned λ is that of the best final accuracy, chosen on one half of the test images and scored on "
    "the other. Measured: AutoL2 minus tuned before the first decay.",
    lambda numbers: [
        checks.better("AutoL2 minus tuned λ before the first decay", numbers[0]),
        checks.better("tuned λ minus AutoL2 at the end", numbers[1]),
    ],
)
START = Spec(
    "c1",
    "AutoL2 depends on η·λ0: where it is large, weights shrink to zero before the first decay.",
    "Measured: maximum accuracy from the largest λ0 minus that from the smallest; true if below 0, 95 %.",
    lambda numbers: [
        checks.within("accuracy of largest minus smallest λ0", numbers[0], -math.inf, 0.0, level=0.95)
    ],
    kind=OURS,
)
SUBSET = Spec(
    "c5",
    "AutoL2 does as well whether it measures on the minibatch or on a fixed training subset.",
    f"Measured: maximum accuracy on the minibatch minus on the subset; true if within ± {SAME:g}, 90 %.",
    lambda numbers: [checks.equivalent("accuracy on minibatch minus subset", numbers[0], SAME)],
    kind=OURS,
)


@dataclass(frozen=True)
class Duel:
    """AutoL2 and the constant λ, with the same seeds and the same evaluations.

    Attributes:
        auto: runs of AutoL2 by a name of each variant.
        constant: runs by λ, 0 included, ascending.
        eta: the learning rate.
    """

    auto: Mapping[str, Curves]
    constant: Mapping[float, Curves]
    eta: float

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(next(iter(self.constant.values())).seeds)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 10 and 11 and our claims c1 (dependence on ηλ0), c5 (minibatch or subset) and c6 (smaller λ0)."""

    def each(spec: Spec, judge: Callable[[Mapping[str, Results], str], Part], *more: str) -> list[Claim]:
        return judging.over_setups(spec, [judge(results, name) for name in (*CONSTANT_RATE, *more)])

    return [
        *each(BEATS, as_printed),
        judging.single(SCHEDULED, with_schedule(results)),
        *each(START, initial_l2),
        *each(SUBSET, minibatch_or_subset, SCHEDULE),
        *each(SMALLER, smaller_start),
    ]


def as_printed(results: Mapping[str, Results], name: str) -> Part:
    """Claim 10 in one setup."""
    part = _part(results, name, "AutoL2 beats the tuned constant λ.")

    def measure() -> Part:
        every = results[name].passport["config"].get("controller", {}).get("every", EVERY)
        if every != EVERY:
            raise Lacking(f"AutoL2 measured every {every} steps, not every {EVERY}")
        return _compare(results[name], part, PRINTED, STEPS)

    return judging.attempt(part, measure)


def smaller_start(results: Mapping[str, Results], name: str) -> Part:
    """Claim c6 in one setup."""
    part = _part(results, name, "AutoL2 from a smaller λ0 beats the tuned constant λ.")

    def measure() -> Part:
        starts = selection.starts(results[name], "minibatch")
        if len(starts) < 2:
            raise Lacking("the runs have a single λ0")
        return _compare(results[name], part, min(starts), 0)

    return judging.attempt(part, measure)


def duel(results: Results, variants: Mapping[str, tuple[str, float]]) -> Duel:
    """The runs to be compared.

    Args:
        results: of AutoL2.
        variants: by name where AutoL2 measures (``minibatch`` or ``subset``) and λ₀.

    Raises:
        Lacking: there are no such runs, they share no two seeds, or they are evaluated at different steps.
    """
    sizes = runs.sizes(results)
    constant = runs.of_group(results, "constant")
    etas = {eta for eta, _ in constant}
    if len(etas) != 1:
        raise Lacking(f"constant λ at {len(etas)} η")
    found: dict[str | float, Curves] = {l2: curves for (_, l2), curves in constant.items()}
    for name, (how, start) in variants.items():
        table = selection.starts(results, how).get(start)
        if table is None:
            raise Lacking(f"no AutoL2 run on the {how} with λ0 = {start:g}")
        found[name] = blocks.from_survivors(table, sizes)
    shared = blocks.several(found)
    missing = [name for name in variants if name not in shared]
    fixed = {l2: curves for l2, curves in shared.items() if isinstance(l2, float)}
    if missing or not fixed:
        raise Lacking("AutoL2 and constant λ share no two seeds")
    ends = {runs.length(curves) for curves in shared.values()}
    if len(ends) > 1:
        raise Lacking("AutoL2 and constant λ run for different numbers of steps")
    runs.require_same_times(list(shared.values()))
    if not any(runs.learned(results, curves) for curves in fixed.values()):
        raise Lacking("constant λ did not learn")
    return Duel({name: shared[name] for name in variants}, fixed, etas.pop())


def _compare(results: Results, part: Part, start: float, least: int) -> Part:
    both = duel(results, {"auto": ("minibatch", start)})
    auto, constant = both.auto["auto"], list(both.constant.values())
    steps = runs.length(auto)
    plain = resampling.as_measured(both.seeds)
    tops = np.array([float(choice.best(plain, [one])[0]) for one in constant])
    place = int(first_best(tops))
    tuned = list(both.constant)[place]

    def numbers(view: View) -> np.ndarray:
        top = choice.best(view, constant)

        def log_time(one: Curves, half: slice) -> np.ndarray:
            time = peaks.first_at(one.steps, view.accuracy(one, half), top - peaks.TOLERANCE)
            return np.log(np.where(np.isnan(time), steps, np.maximum(time, 1.0)))

        halves = (HALF_A, HALF_B)
        by_a, by_b = (
            first_best(np.stack([view.accuracy(one, half).max(axis=-1) for one in constant], axis=-1))
            for half in halves
        )
        on_a, on_b = (np.stack([log_time(one, half) for one in constant], axis=-1) for half in halves)
        tuned_time = 0.5 * (at(on_b, by_a) + at(on_a, by_b))
        own_time = 0.5 * sum(log_time(auto, half) for half in halves)
        ahead, sooner = np.broadcast_arrays(choice.best(view, [auto]) - top, tuned_time - own_time)
        return np.stack([ahead, sooner], axis=-1)

    found = tuple(resampling.estimates(numbers, both.seeds))
    facts = (
        f"λ0 = {start:g}, η = {both.eta:g}, {steps:.4g} steps; tuned λ = {tuned:g} ({tops[place]:.4f}); AutoL2 gets "
        f"to the tuned accuracy less {peaks.TOLERANCE:g} in {math.exp(-found[1].value):.2f} times its time."
    )
    lacks = ""
    if steps < least:
        lacks = f"{steps:.4g} steps, fewer than the paper's {least:,}"
    elif tuned > 0 and place in (0, len(constant) - 1):
        lacks = f"the best constant λ = {tuned:g} is at an end of its grid"
    return replace(part, numbers=() if lacks else found, facts=facts, lacks=lacks, shown=found[0])


def with_schedule(results: Mapping[str, Results]) -> Part:
    """Claim 11: before the first decay and at the end."""
    own = results[SCHEDULE]
    part = replace(_part(results, SCHEDULE, ""), text="")

    def measure() -> Part:
        both = duel(own, {"auto": ("minibatch", PRINTED)})
        auto, constant = both.auto["auto"], list(both.constant.values())
        first = float(own.passport["setup"]["schedule"]["at"][0]) * runs.length(auto)

        def numbers(view: View) -> np.ndarray:
            ends = [_of_half(view, constant, half, half) for half in (HALF_A, HALF_B)]
            cut = [one.until(first) for one in constant]
            early = [_of_half(view, cut, half, by) for half, by in ((HALF_A, HALF_B), (HALF_B, HALF_A))]
            by_a, by_b = (first_best(end) for end in ends)
            tuned_end = 0.5 * (at(ends[1], by_a) + at(ends[0], by_b))
            tuned_early = 0.5 * (at(early[1], by_a) + at(early[0], by_b))
            ahead = choice.best(view, [auto], first) - tuned_early
            return np.stack([ahead, tuned_end - choice.best(view, [runs.last_only(auto)])], axis=-1)

        found = tuple(resampling.estimates(numbers, both.seeds))
        facts = (
            f"λ0 = {PRINTED:g}, η = {both.eta:g}; tuned λ minus AutoL2 at the end {number(found[1].value)}."
        )
        return replace(part, numbers=found, facts=facts)

    return judging.attempt(part, measure)


def _of_half(view: View, options: list[Curves], half: slice, by: slice) -> np.ndarray:
    """Accuracy of each option on a half, ``[draws or 1, options]``: at its end, or at its best by the other half."""
    found = []
    for one in options:
        values = view.accuracy(one, half)
        found.append(values[:, -1] if half == by else at(values, first_best(view.accuracy(one, by))))
    return np.stack(found, axis=-1)


def initial_l2(results: Mapping[str, Results], name: str) -> Part:
    """Claim c1 in one setup: AutoL2 at several ηλ0; its refractory time 0.1/λ steps ignores η."""
    part = _part(results, name, "AutoL2 depends on η·λ0.")

    def measure() -> Part:
        starts = selection.starts(results[name], "minibatch")
        if len(starts) < 2:
            raise Lacking("the runs have a single λ0")
        ends = {"large": ("minibatch", max(starts)), "small": ("minibatch", min(starts))}
        return _difference(results[name], part, ends, f"λ0 = {min(starts):g} and {max(starts):g}")

    return judging.attempt(part, measure)


def minibatch_or_subset(results: Mapping[str, Results], name: str) -> Part:
    """Claim c5 in one setup."""
    part = _part(results, name, "AutoL2 does as well on the minibatch as on a fixed subset.")
    how = {"minibatch": ("minibatch", PRINTED), "subset": ("subset", PRINTED)}
    return judging.attempt(part, lambda: _difference(results[name], part, how, f"λ0 = {PRINTED:g}"))


def _difference(results: Results, part: Part, variants: Mapping[str, tuple[str, float]], facts: str) -> Part:
    """Maximum accuracy of the first variant minus that of the second."""
    both = duel(results, variants)
    first, second = both.auto.values()

    def statistic(view: View) -> np.ndarray:
        return np.asarray(choice.best(view, [first]) - choice.best(view, [second]))

    numbers = (resampling.estimate(statistic, both.seeds),)
    return replace(part, numbers=numbers, facts=f"η = {both.eta:g}, {facts}.")


def _part(results: Mapping[str, Results], name: str, text: str) -> Part:
    setup = name.removeprefix("autol2_")
    outside = regimes.outside(results, name)
    return Part(setup, (results[name],), f"{title(setup)}: {text}", outside=outside, figure=figures_of(name))
