"""Claims whose parts measure different things: all of them must hold, each at its own level."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from l2dynamics.analysis import verdicts
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import judging, regimes
from l2dynamics.claims.base import Claim, describe, main_figure
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.results.tables import Results

Found = tuple[tuple[Estimate, ...], str]
"""What a part has measured: the numbers of its rule and a sentence."""


def of_setup(results: Mapping[str, Results], name: str, text: str) -> Part:
    """The part of a claim in one setup, nothing measured yet."""
    outside = regimes.outside(results, name)
    return Part(name, (results[name],), text, outside=outside, figure=main_figure(name))


def filled(part: Part, measure: Callable[[], Found]) -> Part:
    """The part with what was measured, or with the reason why nothing was."""

    def measured() -> Part:
        numbers, facts = measure()
        return replace(part, numbers=numbers, facts=facts)

    return judging.attempt(part, measured)


def together(id: str, text: str, criterion: str, found: Sequence[tuple[Spec, Part]]) -> list[Claim]:
    """Judge a claim that is true if all of its parts are: its own record, then one for every part.

    It is confirmed if every part is, each at its own level, and contradicted if one is after Holm's correction.
    """
    tests, rows = {}, []
    for spec, part in found:
        if part.judges and part.numbers:
            tests[part.name] = judging.joined(judging.checks(spec, part))
        own = tests[part.name].verdict if part.name in tests else Verdict.UNDECIDED
        rows.append(judging.row(spec, part, own))
    corrected = verdicts.corrected(tests)
    against = [name for name, one in corrected.items() if one is Verdict.CONTRADICTED]
    held = [row for row in rows if row.verdict is Verdict.CONFIRMED]
    if against:
        verdict = Verdict.CONTRADICTED
        reason = "; ".join(
            f"{row.id}: {row.reason}" for row in rows if row.id.removeprefix(f"{id}-") in against
        )
    elif len(held) == len(rows):
        verdict, reason = Verdict.CONFIRMED, "all parts are confirmed"
    else:
        verdict = Verdict.UNDECIDED
        reason = "; ".join(f"{row.id}: {row.reason}" for row in rows if row not in held)
    listed = ", ".join(row.id for row in rows)
    results = [one for _, part in found for one in part.results]
    whole = Claim(
        id=id,
        claim=f"{text} {criterion} Measured: share of the parts that are confirmed ({listed}); confirmed if all are, "
        "contradicted if one is after Holm's correction.",
        figure=" ".join(dict.fromkeys(" ".join(row.figure for row in rows).split())),
        verdict=verdict,
        reason=reason,
        scale=rows[0].scale,
        data=describe(results),
        measured=len(held) / len(rows) if tests else math.nan,
        n=len(tests),
        power="; ".join(f"{row.id}: {row.power}" for row in rows if row.power)
        if verdict is Verdict.UNDECIDED
        else "",
        regime="; ".join(f"{id}-{part.name}: {', '.join(part.outside)}" for _, part in found if part.outside),
    )
    return [whole, *rows]
