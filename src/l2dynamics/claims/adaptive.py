"""Claims 10, 11, c1, c5 and c6: AutoL2 against the tuned constant λ (Figures 1c, S9, S10, S11)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import selection, statistics
from l2dynamics.claims.base import (
    MARGIN,
    OVER_SEEDS,
    Claim,
    above,
    at_most,
    decided,
    figures_of,
    make,
    over_setups,
    resolved,
    standard_error,
)
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

CONSTANT_RATE = ("autol2_wrn", "autol2_fc", "autol2_cnn", "autol2_cnn_bn")
SCHEDULE = "autol2_wrn_schedule"
RESULTS = (*CONSTANT_RATE, SCHEDULE)
MEASURES = ("minibatch", "subset")


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 10 and 11 and our claims c1 (dependence on ηλ0), c5 (minibatch or subset) and c6 (smaller λ0)."""
    beats = {(name, how): compare(results[name], how) for name in CONSTANT_RATE for how in MEASURES}
    loses = {how: compare(results[SCHEDULE], how) for how in MEASURES}
    first = [beats[name, "minibatch"] for name in CONSTANT_RATE]
    return [
        over_setups("10", "AutoL2 beats the tuned constant λ in accuracy and speed at constant η.", first),
        *beats.values(),
        *loses.values(),
        *(initial_l2(results[name]) for name in CONSTANT_RATE),
        conclusion(results, beats, loses),
        *(
            compare(results[name], how, smallest=True)
            for name in CONSTANT_RATE
            for how in MEASURES
            if len(selection.starts(results[name], how)) > 1
        ),
    ]


def compare(results: Results, how: str, *, smallest: bool = False) -> Claim:
    """Claims 10 and 11: accuracy and speed of AutoL2 against the best constant λ, same seeds and budget.

    AutoL2 starts from the largest λ0 of the results, which is the paper's; ``smallest`` makes it claim c6.
    """
    setup = results.name.removeprefix("autol2_")
    scheduled = results.name == SCHEDULE
    constant, tuning = selection.constant(results)
    best = tuning.l2
    tuned = selection.summarize(results, constant[constant["l2"] == best]).set_index("seed")
    starts = selection.starts(results, how)
    start = min(starts) if smallest else max(starts)
    auto = selection.summarize(results, starts[start]).set_index("seed")
    difference = (auto["max_test_accuracy"] - tuned["max_test_accuracy"]).dropna()
    accuracy = tuned["max_test_accuracy"].mean()
    interval = resolved(statistics.mean_interval(difference.to_numpy()), results, accuracy)
    better = above(interval, 0)
    target = tuned["max_test_accuracy"] - MARGIN
    times = [_time_to(table, target) for table in (starts[start], constant)]
    reached = times[0][auto["run"]].set_axis(auto.index).reindex(tuned.index)
    own = times[1][tuned["run"]].set_axis(tuned.index)
    speed = float((reached.fillna(np.inf) / own).median())
    goal = f"the tuned accuracy less {MARGIN:g}"
    pace = (
        f"in {speed:.2f} times the epochs (median)"
        if np.isfinite(speed)
        else "in no more than half of the runs"
    )
    final = starts[start].groupby("run")["l2"].last().min()
    facts = (
        f"λ from {auto['l2'].iloc[0]:g} to {final:.3g}, η = {auto['eta'].iloc[0]:g}; tuned λ = {best:g} "
        f"({accuracy:.4f}). AutoL2 gets to {goal} {pace}. {OVER_SEEDS}"
    )
    measured = f"AutoL2 measuring on the {how}"
    if scheduled:
        id = "11" if how == "minibatch" else f"11-{how}"
        text = (
            f"With a learning-rate schedule AutoL2 does not beat the tuned constant λ. {measured}. "
            f"Measured: difference of maximum test accuracies, same seeds; true unless above 0. {facts}"
        )
        ok: bool | None = better is not True
    else:
        number = "c6" if smallest else "10"
        id = f"{number}-{setup}" if how == "minibatch" else f"{number}-{setup}-{how}"
        head = f"{title(setup)}: AutoL2 from λ0 = {start:.3g}" if smallest else f"{title(setup)}: AutoL2"
        text = (
            f"{head} beats the tuned constant λ. {measured}. Measured: difference of "
            f"maximum test accuracies, same seeds; true if above 0 and AutoL2 gets to the tuned accuracy "
            f"less {MARGIN:g} in fewer epochs. {facts}"
        )
        ok = better if speed < 1 else False
        if ok is False and better is None:
            text += " In accuracy the two are level within the interval; in speed AutoL2 loses."
        text = decided(text, ok)
        if not ok:
            text += standard_error(results, accuracy)
    if selection.near_chance(results, accuracy):
        text, ok = f"{text} Not judged: constant λ did not learn.", None
    return make(
        id,
        text,
        figures_of(results.name),
        results,
        interval=interval,
        ok=ok,
    )


def initial_l2(results: Results) -> Claim:
    """Claim c1: AutoL2 at several ηλ0; its refractory time 0.1/λ steps ignores η."""
    setup = results.name.removeprefix("autol2_")
    text = (
        f"{title(setup)}: AutoL2 depends on η·λ0: where it is large, weights shrink to zero before the first decay. "
        "Measured: accuracy of AutoL2 at the largest ηλ0 minus that at the smallest; true if below 0."
    )
    found = []
    for how in MEASURES:
        auto = selection.runs(results, f"auto_{how}")
        found.append(auto.assign(product=auto["eta"] * auto["l2"]))
    auto = pd.concat(found, ignore_index=True)
    products = sorted(auto["product"].unique())
    if len(products) < 2:
        text += f" Not judged: the results hold a single ηλ0 = {products[0]:.3g}."
        return make(f"c1-{setup}", text, figures_of(results.name), results, n=len(auto))
    ends = [
        auto[auto["product"] == product].groupby("seed")["max_test_accuracy"].mean() for product in products
    ]
    interval = statistics.mean_interval((ends[-1] - ends[0]).dropna().to_numpy())
    interval = resolved(interval, results, auto["max_test_accuracy"].max())
    listed = "; ".join(f"{p:.3g} ({e.mean():.3f})" for p, e in zip(products, ends, strict=True))
    text += f" ηλ0 (accuracy): {listed}. {OVER_SEEDS}"
    ok = at_most(interval, 0)
    figure = figures_of(results.name)
    return make(f"c1-{setup}", decided(text, ok), figure, results, interval=interval, ok=ok)


def conclusion(
    results: Mapping[str, Results], beats: Mapping[tuple[str, str], Claim], loses: Mapping[str, Claim]
) -> Claim:
    """Claim c5: claims 10 and 11 come out the same for AutoL2 on the minibatch and on a fixed subset."""
    pairs = {name.removeprefix("autol2_"): [beats[name, how] for how in MEASURES] for name in CONSTANT_RATE}
    pairs["wrn_schedule"] = [loses[how] for how in MEASURES]
    # One that is not judged contradicts nothing.
    same = [setup for setup, (one, other) in pairs.items() if {one.ok, other.ok} != {True, False}]
    shifts = {setup: one.measured - other.measured for setup, (one, other) in pairs.items()}
    listed = "; ".join(f"{setup} {shift:+.4f}" for setup, shift in shifts.items())
    text = (
        "The verdict on AutoL2 does not depend on whether it measures on the minibatch or on a fixed "
        "training subset. Measured: largest difference of accuracy between the two; true if all verdicts "
        f"agree ({len(same)} of {len(pairs)} do). Minibatch minus subset: {listed}."
    )
    return make(
        "c5",
        text,
        "fig1 figS10 figS11",
        *(results[name] for name in RESULTS),
        measured=max(abs(shift) for shift in shifts.values()),
        n=len(pairs),
        ok=len(same) == len(pairs),
    )


def _time_to(table: pd.DataFrame, target: pd.Series) -> pd.Series:
    """First epoch at which each run of a table has its seed's target accuracy; NaN where it never has."""
    enough = table[table["test_accuracy"] >= table["seed"].map(target) - 1e-9]
    first = enough.groupby("run")["epoch"].min()
    return first.reindex(table["run"].unique())
