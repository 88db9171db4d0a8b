"""Claims 13–15: MSE, under-parametrised networks, initial scale (Figures S5, S7, S8, S12)."""

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
    by_seed,
    decided,
    make,
    over_setups,
    resolved,
    seed_bootstrap,
)
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

RESULTS = ("fc_mse", "fc_small", "resnet", "wrn_sigma")
SIGMA_SPREAD = 0.02
"""Largest spread of the final accuracy over σw that counts as no dependence (claim 15)."""


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 13–15, the first two with their parts."""
    mse = [eta_dependence(results["fc_mse"]), loss_rises(results["fc_mse"])]
    small = [
        small_l2_is_worse(results["fc_small"]),
        time_saturates(results["fc_small"]),
        product_decides(results["resnet"]),
        never_catches_up(results["resnet"]),
    ]
    return [
        _all(
            "13",
            "MSE: strong η-dependence when training accuracy reaches 1, none at convergence with λ > 0.",
            mse,
        ),
        *mse,
        _all("14", "Under-parametrised networks break claims 1 and 3.", small),
        *small,
        initial_scale(results["wrn_sigma"]),
    ]


def eta_dependence(results: Results) -> Claim:
    """Claim 13: spread of accuracy over η at convergence relative to that at training accuracy 1, same λ."""
    text = (
        f"{title(results.name)}: test accuracy depends on η when training accuracy reaches 1 but not at "
        "its maximum. Measured: spread (largest minus smallest over η, mean over λ > 0) at the maximum "
        "divided by that at training accuracy 1; true if no more than 0.5."
    )
    kept = selection.peaked(selection.runs(results)).dropna(subset=["test_accuracy_at_train1"])
    kept = kept[kept.groupby("l2")["eta"].transform("nunique") >= 2]
    if kept.empty:
        return make(
            "13-eta",
            f"{text} Not judged: no λ reached training accuracy 1 at two η at this scale.",
            "figS5",
            results,
        )

    def ratio(some: pd.DataFrame) -> float:
        at_one, at_end = (
            _spread(some, column) for column in ("test_accuracy_at_train1", "max_test_accuracy")
        )
        return at_end / at_one if at_one > 0 else np.inf

    interval = seed_bootstrap(kept, ratio, point=("eta", "l2"))
    text += (
        f" Spreads {_spread(kept, 'max_test_accuracy'):.4f} and "
        f"{_spread(kept, 'test_accuracy_at_train1'):.4f}, η = {kept['eta'].min():g} … "
        f"{kept['eta'].max():g}. Interval over seeds."
    )
    ok = at_most(interval, 0.5)
    return make("13-eta", decided(text, ok), "figS5", results, interval=interval, ok=ok)


def loss_rises(results: Results) -> Claim:
    """Claim 13: share of runs whose training loss has a minimum and rises by a tenth or more afterwards."""
    kept = selection.trained(selection.runs(results))
    text = (
        f"{title(results.name)}: the training loss (without the L2 term) has a minimum and rises "
        "afterwards. Measured: share of the runs with λ > 0 whose final loss is at least 1.1 times the "
        "minimum; true if ≥ 0.8."
    )
    if kept.empty:
        return make("13-loss", f"{text} Not judged: no run learned.", "figS5", results)
    final = selection.rows(results).groupby("run")["train_loss"].last().reindex(kept["run"]).to_numpy()
    share = kept.assign(rises=(final >= 1.1 * kept["min_train_loss"].to_numpy()).astype(float))
    interval = by_seed(share, "rises")
    measured = float(share["rises"].mean())
    return make(
        "13-loss",
        f"{text} Interval over seeds.",
        "figS5",
        results,
        paper=1.0,
        measured=measured,
        low=interval.low,
        high=interval.high,
        n=len(share),
        ok=measured >= 0.8,
    )


def small_l2_is_worse(results: Results) -> Claim:
    """Claim 14: accuracy at the smallest λ minus that at the best, with T ∝ 1/λ."""
    summary = selection.at_headline_eta(results.name, selection.runs(results))
    points = summary.groupby("l2")["max_test_accuracy"].mean()
    best, least = selection.best_l2(summary), points.index.min()
    both = [summary[summary["l2"] == l2].set_index("seed")["max_test_accuracy"] for l2 in (least, best)]
    paired = (both[0] - both[1]).dropna().rename("difference").reset_index()
    text = f"{title(results.name)} (under-parametrised): accuracy is best at λ ≠ 0 even with T ∝ 1/λ."
    if paired.empty:
        reason = f"no seed has both the smallest λ ({least:g}) and the best ({best:g})"
        return make("14-fc_small-accuracy", f"{text} Not judged: {reason}.", "figS7", results)
    interval = resolved(by_seed(paired, "difference"), results, points.max())
    text += (
        f" Measured: accuracy at the smallest λ ({least:g}) minus that at the best ({best:g}); true if no "
        f"more than −{MARGIN:g}. {OVER_SEEDS}"
    )
    ok = at_most(interval, -MARGIN)
    return make("14-fc_small-accuracy", decided(text, ok), "figS7", results, interval=interval, ok=ok)


def time_saturates(results: Results) -> Claim:
    """Claim 14: the exponent of t* against λ below the best λ."""
    summary = selection.at_headline_eta(results.name, selection.runs(results))
    best = selection.best_l2(summary)
    kept = selection.timed(summary)
    kept = kept[kept["l2"] <= best * (1 + 1e-9)]
    text = (
        f"{title(results.name)} (under-parametrised): t* ∝ 1/λ fails below the best λ ({best:g}). "
        "Measured: log-log slope of t* for λ up to the best one; true if above −1. Interval: bootstrap over λ."
    )
    if kept["l2"].nunique() < 3:
        text += f" Not judged: {kept['l2'].nunique()} λ at or below the best one peaked."
        return make("14-fc_small-time", text, "figS7", results, n=len(kept))
    fit = statistics.fit_exponent(kept["l2"], kept["t_star"])
    interval = statistics.Interval(fit.slope, fit.low, fit.high, fit.n)
    ok = above(interval, -1)
    return make("14-fc_small-time", decided(text, ok), "figS7", results, interval=interval, ok=ok)


def product_decides(results: Results) -> Claim:
    """Claim 14: with fixed T accuracy over η and λ is a function of ηλ (Figure S8a)."""
    # Cells at chance level are data: Figure S8 shows them all.
    summary = selection.runs(results)
    summary = summary[summary["l2"] > 0]
    # Products that differ by a tenth or less count as equal: grids are not exactly geometric.
    summary = summary.assign(product=np.round(np.log10(summary["eta"] * summary["l2"]) * 12))
    text = (
        f"{title(results.name)} (under-parametrised): at fixed T accuracy is constant along ηλ. Measured: "
        "mean spread of accuracy at equal ηλ divided by the spread over the whole grid; true if no more than 1/3."
    )
    if selection.near_chance(results, summary["max_test_accuracy"].max()):
        return make("14-resnet-product", f"{text} Not judged: no run learned.", "figS8", results)
    points = summary.groupby(["product", "eta"])["max_test_accuracy"].mean().reset_index()
    several = points.groupby("product")["eta"].nunique()
    if not (several >= 2).any():
        return make(
            "14-resnet-product", f"{text} Not judged: no ηλ occurs twice.", "figS8", results, n=len(summary)
        )

    def ratio(some: pd.DataFrame) -> float:
        mean = some.groupby(["product", "eta", "l2"])["max_test_accuracy"].mean()
        by_product = mean.groupby("product").agg(["min", "max", "count"])
        by_product = by_product[by_product["count"] >= 2]
        return float((by_product["max"] - by_product["min"]).mean() / (mean.max() - mean.min()))

    interval = seed_bootstrap(summary, ratio, point=("eta", "l2"))
    ok = at_most(interval, 1 / 3)
    text = decided(f"{text} Interval over seeds.", ok)
    return make("14-resnet-product", text, "figS8", results, interval=interval, ok=ok)


def never_catches_up(results: Results) -> Claim:
    """Claim 14: the smallest λ stays below the best accuracy at every budget (Figure S8b)."""
    summary = selection.runs(results, "budget")
    kept = summary[summary["l2"] > 0]
    text = (
        f"{title(results.name)} (under-parametrised): small λ never catches up, however long it is trained "
        "(schedule rescaled). Measured: best accuracy of all λ and T minus the best of the smallest λ "
        f"over T; true if above {MARGIN:g}."
    )
    if selection.trained(summary)["l2"].nunique() < 2:
        return make("14-resnet-budget", f"{text} Not judged: fewer than two λ learned.", "figS8", results)

    def gap(some: pd.DataFrame) -> float:
        points = some.groupby(["l2", "budget"])["max_test_accuracy"].mean()
        return float(points.max() - points.xs(points.index.get_level_values("l2").min(), level="l2").max())

    interval = seed_bootstrap(kept, gap, point=("l2", "budget"))
    interval = resolved(interval, results, kept["max_test_accuracy"].max())
    ok = above(interval, MARGIN)
    text += f" λ = {kept['l2'].min():g}, T up to {kept['budget'].max():.4g} epochs. {OVER_SEEDS}"
    return make("14-resnet-budget", decided(text, ok), "figS8", results, interval=interval, ok=ok)


def initial_scale(results: Results) -> Claim:
    """Claim 15: spread of the final accuracy over σw at the smallest λ, i.e. the longest training."""
    summary = selection.trained(selection.runs(results, "scaled"))
    several = summary.groupby("l2")["sigma_w"].nunique()
    text = (
        "Final performance is independent of σw. Measured: largest minus smallest final accuracy over σw "
        f"at the smallest λ (longest training); true if no more than {SIGMA_SPREAD:g}."
    )
    if not (several >= 2).any():
        return make("15", f"{text} Not judged: no λ learned at two σw.", "figS12", results, n=len(summary))
    least = several[several >= 2].index.min()
    longest = summary[summary["l2"] == least]

    def spread(some: pd.DataFrame) -> float:
        points = some.groupby("sigma_w")["final_test_accuracy"].mean()
        return float(points.max() - points.min())

    interval = seed_bootstrap(longest, spread, point=("sigma_w",))
    interval = resolved(interval, results, longest["final_test_accuracy"].max())
    widest = spread(summary[summary["l2"] == several[several >= 2].index.max()])
    text += (
        f" λ = {least:g}, σw = {longest['sigma_w'].min():g} … {longest['sigma_w'].max():g}; at the largest "
        f"λ the spread is {widest:.4f}. {OVER_SEEDS}"
    )
    ok = at_most(interval, SIGMA_SPREAD)
    return make("15", decided(text, ok), "figS12", results, interval=interval, paper=0.0, ok=ok)


def _spread(some: pd.DataFrame, column: str) -> float:
    """Largest minus smallest seed average over η, mean over λ."""
    points = some.groupby(["l2", "eta"])[column].mean()
    ends = points.groupby("l2").agg(["min", "max"])
    return float((ends["max"] - ends["min"]).mean())


def _all(id: str, text: str, parts: list[Claim]) -> Claim:
    """Verdict over parts that measure different things: the share that holds."""
    verdict = over_setups(id, text, parts)
    judged = [part for part in parts if part.ok is not None]
    share = sum(part.ok is True for part in judged) / len(judged) if judged else np.nan
    listed = ", ".join(part.id for part in parts)
    words = f"{text} Measured: share of the {len(judged)} parts that holds ({listed})."
    return Claim(**{**verdict.__dict__, "claim": words, "measured": share, "low": np.nan, "high": np.nan})
