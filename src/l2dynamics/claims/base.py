"""The record of a claim: its verdict, the number and interval that it rests on, and the one reason for it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import absent
from l2dynamics.experiments import registry
from l2dynamics.results.tables import Results
from l2dynamics.storage import atomic

FIELDS = (
    "verdict",
    "measured",
    "low",
    "high",
    "level",
    "paper",
    "n",
    "kind",
    "reason",
    "power",
    "exceptions",
    "regime",
    "scale",
    "figure",
    "claim",
    "data",
)
"""Keys of a record, all of them flat: in this order they are the columns of ``dvc metrics show``."""

PAPER, OURS = "paper", "ours"
"""Kinds of claims: those of the paper confirm or contradict it, ours are exploratory."""


@dataclass(frozen=True)
class Claim:
    """One claim, its criterion in words and the numbers that decide it.

    Attributes:
        id: file name; ``01`` … ``18`` over setups, ``01-fc`` for one setup, ``c1-…`` and ``x1-…`` for our own.
        claim: what is claimed, the criterion, and how the numbers are to be read; the first sentence stands alone.
        figure: figures that show it, e.g. ``fig2 fig3``.
        verdict: confirmed, contradicted or not decided.
        reason: the one reason for the verdict.
        scale: scale profile of the results.
        data: data sets, with the numbers of training and test examples.
        kind: :data:`PAPER` or :data:`OURS`.
        paper: the paper's number; NaN where it gives none.
        measured: ours.
        low: lower end of the interval; NaN where there is none.
        high: upper end.
        level: of the interval, 0.9 for equivalences and 0.95 for differences; NaN without one.
        n: setups with a number for a claim over setups, seeds for a setup.
        power: what would decide it with a probability of 80 %; empty if it is decided or that cannot be told.
        exceptions: setups that contradict the claim although it is not contradicted, separated by spaces.
        regime: why setups that are outside the regime judge nothing; empty if there are none.
    """

    id: str
    claim: str
    figure: str
    verdict: Verdict
    reason: str
    scale: str
    data: str
    kind: str = PAPER
    paper: float = math.nan
    measured: float = math.nan
    low: float = math.nan
    high: float = math.nan
    level: float = math.nan
    n: int = 0
    power: str = ""
    exceptions: str = ""
    regime: str = ""

    def record(self) -> dict[str, Any]:
        """Return the flat JSON record: numbers as numbers, NaN as None, without the id."""
        fields: dict[str, Any] = atomic.plain(asdict(self) | {"verdict": str(self.verdict)})
        return {key: fields[key] for key in FIELDS}


def main_figure(name: str) -> str:
    """Return the name of the figure that draws the accuracy of a sweep against λ; empty if the paper has none."""
    experiment = registry.find(name)
    return experiment.main_figure if experiment else ""


def figures_of(name: str) -> str:
    """Return the names of the paper's figures that show some results, e.g. ``fig1 figS9``."""
    experiment = registry.find(name)
    return " ".join(one for one in experiment.figures if not registry.ours(one)) if experiment else ""


def describe(results: Sequence[Results]) -> str:
    """Say what the runs were measured on: data set, training and test examples."""
    parts = []
    for one in results:
        if absent.is_absent(one):
            continue
        # measure_c has one data set per setup.
        for data in one.passport.get("datasets", {"": one.passport["data"]}).values():
            parts.append(f"{data['name']} {data['train']} + {data['test']}")
    return ", ".join(dict.fromkeys(parts))


def number(value: float) -> str:
    """A number in a sentence: three significant digits and a true minus sign."""
    shown = 0.0 if abs(value) < 1e-12 else value  # what rounding leaves of zero
    return f"{shown:.3g}".replace("-", "−")
