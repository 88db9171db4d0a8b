"""Claims 3–6: how the reached accuracy depends on λ, on the budget and on η (Figures 1a, 2, 3)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import per_run, selection, statistics
from l2dynamics.claims.base import (
    MARGIN,
    OVER_SEEDS,
    PLATEAU,
    Claim,
    above,
    at_most,
    by_seed,
    decided,
    main_figure,
    make,
    over_setups,
    resolved,
    seed_bootstrap,
    standard_error,
)
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

RESULTS = ("fc", "cnn", "cnn_bn", "wrn", "wrn_aug", "wrn_schedule")
ETA_SPREAD = 0.02
"""Largest spread of the accuracy over η that counts as a weak dependence (claim 6)."""


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 3–6, each over setups and per setup."""
    claims: list[Claim] = []
    for id, text, parts in (
        (
            "03",
            "With T ∝ 1/λ the accuracy has a plateau at small λ and does not get worse as λ → 0.",
            [plateau(results[name]) for name in ("fc", "cnn", "cnn_bn", "wrn", "wrn_schedule")],
        ),
        (
            "04",
            "With fixed T there is an optimal λ; smaller and larger λ are worse.",
            [optimum(results[name]) for name in RESULTS],
        ),
        (
            "05",
            "Small non-zero λ, trained long enough, is better than λ = 0.",
            [better_than_zero(results[name]) for name in ("fc", "cnn", "cnn_bn", "wrn")],
        ),
        (
            "06",
            "Performance at t* depends only weakly on η.",
            [eta_spread(results[name]) for name in ("fc", "wrn")],
        ),
    ):
        claims += [over_setups(id, text, parts), *parts]
    return claims


def plateau(results: Results) -> Claim:
    """Claim 3: accuracy at the smallest λ minus the best accuracy of any λ, with T ∝ 1/λ."""
    scheduled = results.name == "wrn_schedule"
    column = "final_test_accuracy" if scheduled else "max_test_accuracy"
    what = "final" if scheduled else "maximum"
    id = f"03-{results.name}"
    text = f"{title(results.name)}: with T ∝ 1/λ the {what} test accuracy has a plateau at small λ."
    summary = selection.runs(results, "scaled" if scheduled else "grid")
    # Under a schedule accuracy rises at the decays: t* says nothing about whether a run was long enough.
    kept = selection.trained(summary) if scheduled else selection.peaked(summary)
    counted = kept.groupby("eta")["l2"].nunique()
    kept = kept[kept["eta"].isin(counted[counted >= 2].index)]
    if kept.empty:
        return make(
            id, f"{text} Not judged: fewer than two λ learned and peaked.", main_figure(results.name), results
        )
    points = kept.groupby(["eta", "l2"])[column].mean()
    best, smallest = points.groupby("eta").idxmax(), kept.groupby("eta")["l2"].min()
    best_at = kept["eta"].map({eta: pair[1] for eta, pair in best.items()})
    least_at = kept["eta"].map(smallest)
    at_least = kept[kept["l2"] == least_at].set_index(["eta", "seed"])[column]
    at_best = kept[kept["l2"] == best_at].set_index(["eta", "seed"])[column]
    paired = (at_least - at_best).dropna().rename("difference").reset_index()
    if paired.empty:
        reason = "no η and seed learned and peaked at both the smallest and the best λ"
        return make(id, f"{text} Not judged: {reason}.", main_figure(results.name), results)
    difference = resolved(by_seed(paired, "difference"), results, points.max())
    mean = points.groupby("l2").mean()
    flat = mean[(mean - mean.iloc[0]).abs() <= PLATEAU].index
    width = np.log10(flat.max() / flat.min())
    text += (
        " Measured: accuracy at the smallest λ minus the best of all λ (same η and seed, averaged). True "
        f"if above −{PLATEAU:g} and at least two λ agree within {PLATEAU:g}; here {len(flat)} λ over "
        f"{width:.1f} decades do. {OVER_SEEDS}"
    )
    ok = above(difference, -PLATEAU)
    if ok and len(flat) < 2:
        ok, text = None, f"{text} Not judged: accuracy still rises towards the smallest λ."
    else:
        text = decided(text, ok)
    return make(
        id,
        text if ok else text + standard_error(results, points.max()),
        main_figure(results.name),
        results,
        interval=difference,
        paper=0.0,
        ok=ok,
    )


def optimum(results: Results) -> Claim:
    """Claim 4: how much worse the smallest and the largest λ are than the best, within one budget.

    The smallest is λ = 0 where the sweep has it at that η.
    """
    scheduled = results.name == "wrn_schedule"
    group = "fixed" if scheduled else "grid"
    table = selection.at_headline_eta(results.name, selection.rows(results, group))
    budget = selection.fixed_budget(results, table)
    if scheduled:
        last = per_run.summarize(table)
        within = last.assign(accuracy=last["final_test_accuracy"])
    else:
        within = per_run.accuracy_within(table, budget)
    id = f"04-{results.name}"
    eta = table["eta"].iloc[0]
    text = f"{title(results.name)}: within T = {budget:.4g} epochs (η = {eta:g}) some λ is best."
    if within["l2"].nunique() < 3:
        return make(id, f"{text} Not judged: fewer than three λ.", main_figure(results.name), results)
    if selection.near_chance(results, within["accuracy"].max()):
        return make(id, f"{text} Not judged: no run learned within T.", main_figure(results.name), results)

    def worst_side(some: pd.DataFrame) -> float:
        mean = some.groupby("l2")["accuracy"].mean().dropna()
        return float(mean.max() - max(mean.iloc[0], mean.iloc[-1]))

    interval = seed_bootstrap(within, worst_side, point=("l2",))
    interval = resolved(interval, results, within["accuracy"].max())
    mean = within.groupby("l2")["accuracy"].mean()
    least, most, best = mean.index.min(), mean.index.max(), selection.highest(mean)
    text += (
        " Measured: best accuracy minus that of the smallest or largest λ, whichever is better. True if "
        f"above {MARGIN:g}. Best λ = {best:.3g} of {least:.3g} … {most:.3g}. {OVER_SEEDS}"
    )
    if best == most or best == least > 0:
        ok, text = None, f"{text} Not judged: the best λ is at an end of the grid and may lie outside."
    else:
        ok = above(interval, MARGIN)
        text = decided(text, ok)
    return make(id, text, main_figure(results.name), results, interval=interval, ok=ok)


def better_than_zero(results: Results) -> Claim:
    """Claim 5: maximum accuracy at the smallest peaked λ minus that of λ = 0, same η and seed."""
    id = f"05-{results.name}"
    text = f"{title(results.name)}: the smallest λ that peaked reaches more than λ = 0."
    summary = selection.runs(results)
    zero = summary[summary["l2"] == 0].set_index(["eta", "seed"])["max_test_accuracy"]
    kept = selection.peaked(summary)
    smallest = kept[kept["l2"] == kept.groupby(["eta", "seed"])["l2"].transform("min")]
    gain = (
        (smallest.set_index(["eta", "seed"])["max_test_accuracy"] - zero)
        .dropna()
        .rename("gain")
        .reset_index()
    )
    if gain.empty:
        return make(id, f"{text} Not judged: no η and seed has both.", main_figure(results.name), results)
    interval = resolved(by_seed(gain, "gain"), results, summary["max_test_accuracy"].max())
    text += (
        f" Measured: difference of maximum test accuracies, same η and seed. True if above 0. {OVER_SEEDS} "
        f"{len(gain)} pairs, λ = {smallest['l2'].min():.3g} … {smallest['l2'].max():.3g}; λ = 0 trained "
        f"{_lengths(summary)}."
    )
    ok = above(interval, 0)
    text = decided(text, ok)
    return make(
        id,
        text if ok else text + standard_error(results, summary["max_test_accuracy"].max()),
        main_figure(results.name),
        results,
        interval=interval,
        ok=ok,
    )


def eta_spread(results: Results) -> Claim:
    """Claim 6: largest minus smallest maximum accuracy over η at one λ, averaged over λ."""
    id = f"06-{results.name}"
    text = f"{title(results.name)}: at one λ the maximum test accuracy hardly depends on η."
    kept = selection.timed(selection.runs(results))
    points = kept.groupby(["l2", "eta"])["max_test_accuracy"].mean().reset_index()
    several = points.groupby("l2")["max_test_accuracy"].agg(["min", "max", "count"])
    several = several[several["count"] >= 2]
    if several.empty:
        return make(
            id, f"{text} Not judged: no λ learned and peaked at two η.", main_figure(results.name), results
        )
    interval = statistics.mean_interval((several["max"] - several["min"]).to_numpy())
    interval = resolved(interval, results, several["max"].max())
    text += (
        f" Measured: largest minus smallest accuracy over η, mean over λ. True if no more than "
        f"{ETA_SPREAD:g}. {points['eta'].nunique()} η from {points['eta'].min():g} to "
        f"{points['eta'].max():g}. Interval over λ; of a single λ from the size of the test set."
    )
    ok = at_most(interval, ETA_SPREAD)
    return make(id, decided(text, ok), main_figure(results.name), results, interval=interval, ok=ok)


def _lengths(summary: pd.DataFrame) -> str:
    """Say for how long λ = 0 was trained, as a multiple of the longest other run at the same η."""
    zero = summary[summary["l2"] == 0].groupby("eta")["budget"].max()
    other = summary[summary["l2"] > 0].groupby("eta")["budget"].max()
    ratio = (zero / other).dropna()
    return f"{ratio.min():.2g}–{ratio.max():.2g} times as long as the longest other run"
