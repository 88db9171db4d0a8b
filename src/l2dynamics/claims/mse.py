"""Claim 13: mean squared error, whose accuracy depends on η where training accuracy reaches 1 (Figure S5)."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import blocks, choice, fitting, resampling
from l2dynamics.analysis.blocks import Curves, Lacking
from l2dynamics.analysis.resampling import Estimate, View
from l2dynamics.claims import checks, judging, parts, regimes, runs
from l2dynamics.claims.base import Claim, number
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.claims.parts import Found
from l2dynamics.experiments.registry import title
from l2dynamics.results import tables
from l2dynamics.results.tables import Results

RESULTS = ("fc_mse",)
TIMES = 2.0
"""The range over η at training accuracy 1 is at least so many times that at convergence."""
LONG = 3.0
"""Runs that last at least this t·η·λ must show the minimum of the training loss."""

RANGE = Spec(
    "13",
    "test accuracy depends on η when training accuracy reaches 1 but not at convergence.",
    f"Measured: range over η at training accuracy 1 minus {TIMES:g} times the range of the maximum accuracy, λ > "
    "0, mean over λ; true if above 0, 95 %. The η with the highest and the lowest accuracy are chosen on one half "
    "of the test images and scored on the other.",
    lambda numbers: [
        checks.better(f"range at training accuracy 1 minus {TIMES:g} × at convergence", numbers[0])
    ],
)
MINIMUM = Spec(
    "13",
    "the training loss (without the L2 term) has an interior minimum and rises afterwards.",
    f"Measured: share of the points with T ≥ {LONG:g}/(ηλ) where that is so with every seed; true if it is for all "
    "of them, contradicted if at one of them it is with no seed.",
    lambda numbers: [checks.within("share of points with a minimum", numbers[0], 1 - 1e-9, math.inf)],
    paper=1.0,
)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claim 13 with its two parts."""
    own = results["fc_mse"]
    outside = regimes.outside(results, "fc_mse")
    found = [
        (
            spec,
            parts.filled(
                Part(tail, (own,), f"{title(own.name)}: {spec.text}", outside=outside, figure="figS5"),
                measure,
            ),
        )
        for spec, tail, measure in (
            (RANGE, "eta", lambda: eta_dependence(own)),
            (MINIMUM, "loss", lambda: loss_rises(own)),
        )
    ]
    text = "MSE: strong η-dependence when training accuracy reaches 1, none at convergence with λ > 0."
    return parts.together("13", text, "True if both parts are.", found)


def eta_dependence(results: Results) -> Found:
    """The range over η at training accuracy 1 against that at convergence."""
    table = blocks.longest(runs.rows(results))
    first = fitting.first_steps(table)
    counts = table.merge(first[["eta", "l2", "seed", "step"]], on=["eta", "l2", "seed", "step"])
    reached = {key: one for key, one in _at_one(results, counts).items() if key[1] > 0}
    whole = runs.points(results, table)
    pairs: dict[tuple[float, float, str], Curves] = {}
    for key, one in reached.items():
        if key in whole and one.seeds == whole[key].seeds:
            pairs[(*key, "one")], pairs[(*key, "end")] = one, whole[key]
    pairs = blocks.several(pairs)
    by_l2: dict[float, list[float]] = {}
    for eta, l2, when in pairs:
        if when == "one":
            by_l2.setdefault(l2, []).append(eta)
    kept = {l2: etas for l2, etas in by_l2.items() if len(etas) >= 2}
    if not kept:
        raise Lacking("no λ > 0 reaches training accuracy 1 at two η with all its seeds")

    def ranges(view: View, when: str) -> np.ndarray:
        return np.mean(
            [choice.spread(view, [pairs[eta, l2, when] for eta in etas]) for l2, etas in kept.items()], axis=0
        )

    def statistic(view: View) -> np.ndarray:
        return np.asarray(ranges(view, "one") - TIMES * ranges(view, "end"))

    seeds = len(next(iter(pairs.values())).seeds)
    plain = resampling.as_measured(seeds)
    both = [number(float(ranges(plain, when)[0])) for when in ("one", "end")]
    return ((resampling.estimate(statistic, seeds),), f"Ranges {both[0]} and {both[1]} over {len(kept)} λ.")


def loss_rises(results: Results) -> Found:
    """Whether the training loss has an interior minimum, for every long run with λ > 0."""
    table = blocks.longest(runs.rows(results))
    table = table[table["l2"] > 0]
    momentum = float(results.passport["setup"]["momentum"] or 0.0)
    steps = table.groupby("run")["step"].transform("max")
    long = table[steps * table["eta"] * table["l2"] / (1 - momentum) >= LONG * (1 - 1e-3)]
    if long.empty:
        raise Lacking(f"no run with λ > 0 lasts {LONG:g}/(ηλ)")
    minima: dict[tuple[float, float], list[bool]] = {}
    for _, run in long.groupby("run", sort=False):
        point = (float(run["eta"].iloc[0]), float(run["l2"].iloc[0]))
        minima.setdefault(point, []).append(_interior(run.sort_values("step")))
    several = {key: found for key, found in minima.items() if len(found) > 1}
    if not several:
        raise Lacking(judging.ONE_SEED)
    every, never = (
        sum(rule(found) for found in several.values()) for rule in (all, lambda found: not any(found))
    )
    # A count is what it is: the verdict follows from it without an error.
    known = every == len(several) or never > 0
    seeds = min(len(found) for found in several.values())
    share = Estimate(every / len(several), 0.0 if known else math.nan, 1.0, n_seeds=seeds)
    return (share,), f"{every} of {len(several)} points with every seed, {never} with none."


def _interior(run: pd.DataFrame) -> bool:
    """Whether the loss of a run has its minimum between its ends and then rises."""
    loss = run["train_loss"].to_numpy(dtype=float)
    if not np.isfinite(loss).all():
        return False
    place = int(loss.argmin())
    return 0 < place < len(loss) - 1


def _at_one(results: Results, counts: pd.DataFrame) -> dict[tuple[float, float], Curves]:
    """Correct images at training accuracy 1 by (η, λ), as runs of a single evaluation."""
    sizes = runs.sizes(results)
    found = {}
    for _, some in counts.groupby(["eta", "l2"]):
        seeds = some.sort_values("seed")
        values = seeds[list(tables.BLOCKS)].to_numpy(dtype=float)
        if np.isfinite(values).all():
            labels = tuple(int(seed) for seed in seeds["seed"])
            found[float(some["eta"].iloc[0]), float(some["l2"].iloc[0])] = Curves(
                np.array([1]), values[:, None], sizes, labels
            )
    return found
