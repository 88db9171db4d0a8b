"""From the numbers of setups to records: the tests of a setup, the pooled ones, verdicts with the reason for each."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from l2dynamics.analysis import pooling, power, verdicts
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.pooling import holm
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.analysis.verdicts import Judgement, Test, Verdict
from l2dynamics.claims import absent, regimes
from l2dynamics.claims.base import PAPER, Claim, describe
from l2dynamics.claims.checks import Check
from l2dynamics.results.tables import Results

ONE_SEED = "one seed: the interval speaks of the images alone, so this enters no verdict"
POWER = 0.8
ALONE = " alone, "
"""Between the only network that judges a claim over several, and the reason."""
CLOSER = "evaluations closer in time"
BY_COUNTING = (
    "Over setups: confirmed or contradicted as most of those do that decide by themselves, after Holm's "
    "correction, if they are at least half of those in the regime."
)
OVER_SETUPS = (
    "Over setups: by the random-effects mean (Hartung–Knapp); contradicted too if most of the setups that decide "
    "by themselves, after Holm's correction, contradict it and they are at least half of those in the regime."
)

Limit = Callable[[Check], Check]
"""What a check of a setup may not say, see :func:`blocked`."""

Rule = Callable[[Sequence[Estimate]], Sequence[Check]]
"""From the numbers of a setup, or their means over setups, to the checks that must all be met."""


@dataclass(frozen=True)
class Part:
    """What one setup says.

    Attributes:
        name: of the setup, the tail of its id.
        results: what it was measured on, first the one that counts for the power.
        numbers: for the rule; empty if there are none.
        text: the setup's first sentence.
        facts: what a reader should know besides.
        lacks: why the setup judges nothing although it is in the regime; empty if it does.
        outside: why it is outside the regime; empty if it is inside.
        shown: what is shown as measured if there are no numbers for the rule.
        figure: figures that show it.
        limits: what its checks may not say, by their number: see :func:`blocked`.
    """

    name: str
    results: tuple[Results, ...]
    text: str
    numbers: tuple[Estimate, ...] = ()
    facts: str = ""
    lacks: str = ""
    outside: tuple[str, ...] = ()
    shown: Estimate | None = None
    figure: str = ""
    limits: Mapping[int, Limit] = field(default_factory=dict)

    @property
    def judges(self) -> bool:
        """Whether the setup has been run and is in the regime."""
        return not self.outside and not any(absent.is_absent(one) for one in self.results)


@dataclass(frozen=True)
class Spec:
    """A claim, before it is judged.

    Attributes:
        id: ``01`` … ``18`` or ``c1`` ….
        text: the claim in a sentence.
        criterion: what confirms it, and how ambiguities are read.
        rule: its checks.
        paper: the paper's number.
        figure: figures, if not those of its parts.
        kind: the paper's or ours.
        pool: whether the mean over setups is judged; if not, setups are counted.
        shown: from a number to what is shown as measured, increasing.
        level: of the interval that is shown where a setup has no numbers for the rule.
        guards: the numbers, by their place, that only have to exclude noise: over setups see :func:`pooling.guarded`.
    """

    id: str
    text: str
    criterion: str
    rule: Rule
    paper: float = math.nan
    figure: str = ""
    kind: str = PAPER
    pool: bool = True
    shown: Callable[[float], float] = float
    level: float = 0.95
    guards: frozenset[int] = frozenset()


def attempt(part: Part, measure: Callable[[], Part]) -> Part:
    """Measure a setup; what its runs do not hold becomes the reason why it judges nothing.

    Args:
        part: the setup before it is measured.
        measure: returns it with its numbers.
    """
    try:
        for one in part.results:
            absent.require(one)
        found = measure()
    except Lacking as lack:
        return replace(part, lacks=str(lack))
    if found.numbers and not all(one.over_seeds for one in found.numbers):
        return replace(found, numbers=(), lacks=ONE_SEED, shown=found.shown or found.numbers[0])
    return found


def checks(spec: Spec, part: Part) -> list[Check]:
    """The checks of one setup."""
    found = list(spec.rule(part.numbers))
    return [part.limits.get(k, lambda check: check)(check) for k, check in enumerate(found)]


def joined(found: Sequence[Check]) -> Test:
    """The test that all checks are met, each at its own level; contradicted by one after Holm's correction.

    Its estimate is that of the check that is farthest from being met. Checks of different levels are brought to that
    of this one by their p-values.
    """
    weakest = max(found, key=lambda one: one.test.p_for / one.test.alpha).test
    against = holm([one.test.p_against * weakest.alpha / one.test.alpha for one in found])
    return replace(weakest, p_against=min(1.0, *against))


def decisive(found: Sequence[Check]) -> Check:
    """The check that a verdict rests on: that which contradicts, else the one that is farthest from being met."""
    against = [one for one in found if one.test.verdict is Verdict.CONTRADICTED]
    return (
        min(against, key=lambda one: one.test.p_against)
        if against
        else max(found, key=lambda one: one.test.p_for / one.test.alpha)
    )


def over_setups(spec: Spec, parts: Sequence[Part]) -> list[Claim]:
    """Judge a claim over setups: its own record, then one for every setup."""
    inside = [part for part in parts if part.judges]
    measured = {part.name: checks(spec, part) for part in inside if part.numbers}
    tests = {name: joined(found) for name, found in measured.items()}
    pooled = _pooled(spec, [part for part in inside if part.numbers]) if spec.pool else []
    judgement = (
        verdicts.over_setups(
            tests, joined(pooled) if pooled else None, unmeasured=len(inside) - len(measured)
        )
        if tests
        else None
    )
    own = judgement.setups if judgement else {}
    rows = [row(spec, part, own.get(part.name, Verdict.UNDECIDED), len(tests)) for part in parts]
    return [_whole(spec, parts, rows, measured, pooled, judgement), *rows]


def single(spec: Spec, part: Part) -> Claim:
    """Judge a claim of one setup: one record, that of the claim."""
    verdict = joined(checks(spec, part)).verdict if part.judges and part.numbers else Verdict.UNDECIDED
    return row(spec, replace(part, text=part.text or spec.text), verdict, 1, id=spec.id)


def _pooled(spec: Spec, parts: Sequence[Part]) -> list[Check]:
    """Checks of the random-effects means of each number over setups."""
    parts = [part for part in parts if all(math.isfinite(one.se) for one in part.numbers)]
    if not parts:
        return []
    means = [
        pooling.guarded(column) if place in spec.guards else pooling.pooled(column).mean
        for place, column in enumerate(zip(*(part.numbers for part in parts), strict=True))
    ]
    found = list(spec.rule(means))
    for part in parts:  # what a setup may not say, its mean with others may not say either
        found = [part.limits.get(k, lambda check: check)(check) for k, check in enumerate(found)]
    return found


def row(spec: Spec, part: Part, verdict: Verdict, tested: int = 1, id: str = "") -> Claim:
    """The record of one setup."""
    estimate, level, missing = part.shown, math.nan, ""
    if part.outside:
        known = not all(why.startswith(regimes.UNKNOWN) for why in part.outside)
        reason = ("outside the regime: " if known else "") + "; ".join(part.outside)
    elif part.lacks:
        reason = part.lacks
    else:
        reason = ""
    if part.numbers:
        found = checks(spec, part)
        key, estimate = decisive(found), part.shown or part.numbers[0]
        level = found[0].test.level
        reason = reason or _why(found, verdict, tested)
        if verdict is Verdict.UNDECIDED and part.judges:
            missing = needs(key, part.results[0])
    elif estimate is not None:
        level = spec.level
    text = f"{part.text} {spec.criterion}"
    return _claim(
        spec,
        id or f"{spec.id}-{part.name}",
        f"{text} {part.facts}".strip(),
        part.results,
        verdict=verdict,
        reason=reason,
        figure=part.figure or spec.figure,
        estimate=estimate,
        level=level,
        n=estimate.n_seeds if estimate else 0,
        power=missing,
        regime="; ".join(part.outside),
    )


def _why(found: Sequence[Check], verdict: Verdict, tested: int = 1) -> str:
    """The reason of the decisive check, and which of Holm's corrections took its verdict away, if one did."""
    key, alone = decisive(found), joined(found).verdict
    if verdict is not alone:
        return f"{key.reason}; not after Holm's correction over {tested} setups"
    if alone is Verdict.UNDECIDED and key.test.verdict is Verdict.CONTRADICTED:
        return f"{key.reason}; not after Holm's correction over its {len(found)} tests"
    return key.reason


def _whole(
    spec: Spec,
    parts: Sequence[Part],
    rows: Sequence[Claim],
    measured: Mapping[str, Sequence[Check]],
    pooled: Sequence[Check],
    judgement: Judgement | None,
) -> Claim:
    """The record over setups."""
    verdict = judgement.verdict if judgement else Verdict.UNDECIDED
    counts = {one: sum(row.verdict is one for row in rows) for one in Verdict}
    tally = (
        f"{counts[Verdict.CONFIRMED]} of {len(parts)} setups confirm it, {counts[Verdict.CONTRADICTED]} contradict "
        "it"
    )
    if all(part.lacks and not part.judges for part in parts):
        reason = "; ".join(dict.fromkeys(part.lacks for part in parts))
    elif not any(part.judges for part in parts):
        lacking = dict.fromkeys(part.lacks for part in parts if part.lacks and not part.outside)
        which = "every setup that has runs" if lacking else "every setup"
        reason = "; ".join([f"{which} is outside the regime", *lacking])
    elif not measured:
        reason = "; ".join(f"{part.name}: {part.lacks}" for part in parts if part.judges)
    elif pooled and joined(pooled).verdict is verdict:
        mean = "mean over setups of " if len(measured) > 1 else f"{next(iter(measured))}{ALONE}"
        reason = mean + _why(pooled, verdict)
    elif len(measured) == 1:
        ((name, found),) = measured.items()
        reason = f"{name}{ALONE}{_why(found, verdict)}"
    else:
        reason = tally
    shown = pooled[0] if pooled else None
    words = f"{spec.text} {spec.criterion} {OVER_SETUPS if spec.pool else BY_COUNTING} {tally}."
    return _claim(
        spec,
        spec.id,
        words,
        tuple(result for part in parts for result in part.results),
        verdict=verdict,
        reason=reason,
        figure=spec.figure or " ".join(dict.fromkeys(" ".join(row.figure for row in rows).split())),
        estimate=shown.test.estimate if shown else None,
        level=shown.test.level if shown else math.nan,
        n=len(measured),
        power="; ".join(f"{row.id}: {row.power}" for row in rows if row.power)
        if verdict is Verdict.UNDECIDED
        else "",
        exceptions=" ".join(judgement.exceptions) if judgement else "",
        regime="; ".join(f"{part.name}: {', '.join(part.outside)}" for part in parts if part.outside),
    )


def _claim(
    spec: Spec,
    id: str,
    text: str,
    results: Sequence[Results],
    *,
    estimate: Estimate | None,
    level: float,
    **rest: Any,
) -> Claim:
    numbers: dict[str, float] = {}
    if estimate is not None:
        known = math.isfinite(level) and estimate.se > 0  # without scatter there is no interval
        ends = (estimate.low(level), estimate.high(level)) if known else (math.nan, math.nan)
        shown = [spec.shown(value) if math.isfinite(value) else math.nan for value in (estimate.value, *ends)]
        numbers = dict(zip(("measured", "low", "high"), shown, strict=True))
    fields: dict[str, Any] = {"level": level if math.isfinite(numbers.get("low", math.nan)) else math.nan}
    return Claim(
        id=id,
        claim=text,
        scale=str(results[0].passport["scale"]),
        data=describe(results),
        kind=spec.kind,
        paper=spec.paper,
        **{**fields, **numbers, **rest},
    )


def needs(check: Check, results: Results) -> str:
    """What would decide a check, from the variances measured: seeds, images or points, one of them changed at a time.

    Empty where the parts of the variance are not known.
    """
    estimate = check.test.estimate
    images = int(results.passport["data"]["test"])
    if not (estimate.over_seeds and math.isfinite(estimate.se) and estimate.parts.total > 0) or check.blocked:
        return ""
    coarse = (
        estimate.se**2 > 1.01 * estimate.parts.total
    )  # no_finer_than: what the evaluations cannot resolve
    found = power.needs(estimate, images, check.distance, level=check.test.level, power=POWER)
    if found.decides:  # not here, by bad luck or Holm's correction
        return CLOSER if coarse else "the same runs with other seeds"
    options = [
        f"{count:,} {unit}"
        for count, unit in (
            (found.seeds, "seeds"),
            (found.images, "test images"),
            (found.units, "points of the fit"),
        )
        if count is not None
    ]
    said = " or ".join(options) if options else "no number of seeds, test images or points alone"
    return f"{said}, with {CLOSER}" if coarse and options else said
