"""What all claims share: the record, intervals over seeds, the verdict over setups."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics.analysis import statistics
from l2dynamics.experiments import registry
from l2dynamics.results.tables import Results
from l2dynamics.storage import atomic

FIELDS = ("ok", "measured", "low", "high", "paper", "n", "scale", "figure", "claim", "data")
"""Keys of a record, numbers first: in this order they are the columns of ``dvc metrics show``."""

MARGIN = 0.005
"""Absolute accuracy that counts as a difference: the paper's own tolerance in the definition of t*."""

PLATEAU = 0.01
"""Absolute accuracy within which a plateau is flat: test sets of some thousand samples resolve no less."""

OVER_SEEDS = "Interval over seeds; of a single seed from the size of the test set."
UNDECIDED = "Not judged: the threshold lies within the interval."


@dataclass(frozen=True)
class Claim:
    """One claim, its criterion in words and the numbers that decide it.

    Attributes:
        id: file name; ``01`` … ``18`` over setups, ``01-fc`` for one setup, ``c1-…`` for our own.
        claim: what is claimed, when it counts as true, and how the numbers are to be read.
        figure: figures that show it, e.g. ``fig2 fig3``.
        paper: the paper's number; NaN where it gives none.
        measured: ours.
        low: lower end of the 95 % interval; NaN where there is none.
        high: upper end.
        n: number of points (runs, seeds, budgets) behind ``measured``.
        ok: whether the criterion holds; None if it cannot be judged at this scale (the text says why).
        scale: scale profile of the results.
        data: data sets, with the numbers of training and test examples.
    """

    id: str
    claim: str
    figure: str
    paper: float
    measured: float
    low: float
    high: float
    n: int
    ok: bool | None
    scale: str
    data: str

    def record(self) -> dict[str, Any]:
        """Return the flat JSON record: numbers as numbers, NaN as None, without the id."""
        fields: dict[str, Any] = atomic.plain(asdict(self))
        return {key: fields[key] for key in FIELDS}


def main_figure(name: str) -> str:
    """Return the name of the figure that draws the accuracy of a sweep against λ; empty if the paper has none."""
    experiment = registry.find(name)
    return experiment.main_figure if experiment else ""


def figures_of(name: str) -> str:
    """Return the names of all figures that show some results, e.g. ``fig1 figS9``."""
    experiment = registry.find(name)
    return " ".join(experiment.figures) if experiment else ""


def describe(*results: Results) -> str:
    """Say what the runs were measured on: data set, training and test examples."""
    parts = []
    for one in results:
        # measure_c has one data set per setup.
        for data in one.passport.get("datasets", {"": one.passport["data"]}).values():
            parts.append(f"{data['name']} {data['train']} + {data['test']}")
    return ", ".join(dict.fromkeys(parts))


def make(
    id: str,
    claim: str,
    figure: str,
    *results: Results,
    interval: statistics.Interval | None = None,
    **numbers: Any,
) -> Claim:
    """Build a claim on the given results; what is neither in ``interval`` nor in ``numbers`` is NaN, 0 or None."""
    filled = {
        "paper": np.nan,
        "measured": np.nan,
        "low": np.nan,
        "high": np.nan,
        "n": 0,
        "ok": None,
        **(numbers if interval is None else _numbers(interval) | numbers),
    }
    floats = {key: float(filled[key]) for key in ("paper", "measured", "low", "high")}
    ok = None if filled["ok"] is None else bool(filled["ok"])
    return Claim(
        id=id,
        claim=claim,
        figure=figure,
        **floats,
        n=int(filled["n"]),
        ok=ok,
        scale=str(results[0].passport["scale"]),
        data=describe(*results),
    )


def _numbers(interval: statistics.Interval) -> dict[str, float]:
    return {"measured": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}


def over_setups(id: str, claim: str, parts: Sequence[Claim]) -> Claim:
    """Return the verdict over setups: false if it fails in one, true if it holds in more than half and fails in none.

    What fails in one and is then no longer judged there must not turn into a claim that holds. ``measured`` is
    the mean over the setups that are judged, ``low`` and ``high`` are the smallest and the largest of them; of a single
    one they are its own interval. Where setups are left out, the first sentence says how many.
    """
    judged = [part for part in parts if part.ok is not None]
    values = [part.measured for part in judged if np.isfinite(part.measured)]
    low, high = min(values, default=np.nan), max(values, default=np.nan)
    meaning = "Measured: mean over setups; interval: smallest and largest setup."
    if len(judged) == 1:
        low, high = judged[0].low, judged[0].high
        meaning = f"Measured and interval: those of {judged[0].id}."
    held = sum(part.ok is True for part in judged)
    ok = False if held < len(judged) else True if held > len(parts) / 2 else None
    skipped = [part.id for part in parts if part.ok is None]
    text = claim.rstrip(".")
    if skipped:
        text += f" (judged in {len(judged)} of {len(parts)} setups)"
    text += f". Holds in {held} of {len(judged)} setups ({', '.join(part.id for part in parts)})."
    if skipped:
        text += f" Not judged: {', '.join(skipped)}."
    if judged and ok is None:
        text += " The whole is not judged either: that takes more than half of them."
    text += f" {meaning}"
    papers = {part.paper for part in parts if np.isfinite(part.paper)}
    return Claim(
        id=id,
        claim=text,
        figure=" ".join(dict.fromkeys(figure for part in parts for figure in part.figure.split())),
        paper=papers.pop() if len(papers) == 1 else np.nan,
        measured=float(np.mean(values)) if values else np.nan,
        low=low,
        high=high,
        n=len(judged),
        ok=ok,
        scale=parts[0].scale,
        data=", ".join(dict.fromkeys(data for part in parts for data in part.data.split(", "))),
    )


def by_seed(values: pd.DataFrame, column: str) -> statistics.Interval:
    """Average within each seed first, then take the Student interval over seeds."""
    return statistics.mean_interval(values.groupby("seed")[column].mean().to_numpy())


def resolved(interval: statistics.Interval, results: Results, accuracy: float) -> statistics.Interval:
    """Give the difference of two accuracies that has no interval over seeds the one of its test set.

    The set's error does not average out over pairs of runs: they share its images. That it is the same for both
    networks makes their difference more certain than this, by how much is unknown.

    Args:
        interval: the mean, and where there are several seeds its interval.
        results: tells the size of the test set.
        accuracy: about the accuracy of both.
    """
    if np.isfinite(interval.low):
        return interval
    half = 1.96 * np.sqrt(2) * error_of(results, accuracy)
    return statistics.Interval(interval.mean, interval.mean - half, interval.mean + half, interval.n)


def above(interval: statistics.Interval, threshold: float) -> bool | None:
    """Say whether a number lies above a threshold: True or False if its whole interval agrees, None otherwise.

    A number without an interval is compared itself.
    """
    low, high = interval.low, interval.high
    if np.isnan(low):
        low = high = interval.mean
    return True if low > threshold else False if high <= threshold else None


def at_most(interval: statistics.Interval, threshold: float) -> bool | None:
    """Say whether a number is no larger than a threshold, see :func:`above`."""
    larger = above(interval, threshold)
    return None if larger is None else not larger


def decided(text: str, ok: bool | None) -> str:
    """Add to a claim's text why it is not judged, where its interval is the reason."""
    return f"{text} {UNDECIDED}" if ok is None else text


def error_of(results: Results, accuracy: float) -> float:
    """Return the standard error of an accuracy on the test set."""
    return float(np.sqrt(max(accuracy * (1 - accuracy), 0.0) / int(results.passport["data"]["test"])))


def standard_error(results: Results, accuracy: float) -> str:
    """Say how well the test set resolves an accuracy: the likely reason where small differences fail."""
    size, error = int(results.passport["data"]["test"]), error_of(results, accuracy)
    return f" An accuracy on {size} test images has a standard error of {error:.3f}."


def seed_bootstrap(
    summary: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    *,
    point: Sequence[str],
    samples: int = 200,
) -> statistics.Interval:
    """Return a statistic of run summaries with its 95 % interval, resampling seeds.

    Seeds are drawn with replacement, the same ones at every grid point; grid points with a single seed stay
    as they are. The ends are NaN if no point has two seeds; ``n`` is the number of rows.

    Args:
        summary: one row per run.
        statistic: its number, from rows in which a seed may occur several times.
        point: columns that identify a grid point.
        samples: number of resamples; repeated draws are computed once.
    """
    measured = statistic(summary)
    several = summary.groupby(list(point))["seed"].transform("nunique") > 1
    fixed, varied = summary[~several], summary[several]
    seeds = sorted(varied["seed"].unique())
    if len(seeds) < 2:
        return statistics.Interval(measured, np.nan, np.nan, len(summary))
    rng = np.random.default_rng(0)
    known: dict[tuple[int, ...], float] = {}
    values = []
    for _ in range(samples):
        draw = tuple(sorted(int(seed) for seed in rng.choice(seeds, size=len(seeds))))
        if draw not in known:
            parts = [fixed, *(varied[varied["seed"] == seed] for seed in draw)]
            known[draw] = statistic(pd.concat([part for part in parts if len(part)], ignore_index=True))
        values.append(known[draw])
    finite = np.asarray(values)[np.isfinite(values)]
    low, high = np.quantile(finite, [0.025, 0.975]) if finite.size else (np.nan, np.nan)
    return statistics.Interval(measured, float(low), float(high), len(summary))
