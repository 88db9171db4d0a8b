"""Claims 1, 2 and 12: how t* and the time to training accuracy 1 scale with λ and η (Figures 2, 3, S1)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2dynamics.analysis import selection, statistics
from l2dynamics.claims.base import Claim, decided, main_figure, make, over_setups
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

RESULTS = ("fc", "cnn", "cnn_bn", "wrn", "wrn_aug")
EXPONENT_SLACK = 0.15
"""How far the exponents of claim 12 may be from −1 and 0: the paper says "like 1/η" and "very mildly"."""

PRECISION = 0.6
"""An interval wider than this does not confirm an exponent that lies in it."""


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claims 1, 2 and 12, each over setups and per setup."""
    claims: list[Claim] = []
    for id, text, parts in (
        ("01", "t* ∝ 1/λ at fixed η.", [time_against_l2(results[name]) for name in RESULTS]),
        (
            "02",
            "t* ∝ 1/(ηλ) with vanilla SGD.",
            [time_against_product(results[name]) for name in ("fc", "wrn")],
        ),
        (
            "12",
            "The time to training accuracy 1 scales as 1/η and depends only mildly on λ.",
            [time_to_fit(results[name]) for name in ("fc", "wrn")],
        ),
    ):
        claims += [over_setups(id, text, parts), *parts]
    return claims


def time_against_l2(results: Results) -> Claim:
    """Claim 1: the log-log slope of t* against λ, one prefactor per η."""
    id, text = f"01-{results.name}", f"{title(results.name)}: t* ∝ λ^a at fixed η with a = −1."
    kept = selection.timed(selection.runs(results))
    if not _two_l2_at_some_eta(kept):
        return _no_fit(id, text, results, paper=-1.0)
    fit = statistics.fit_exponent(kept["l2"], kept["t_star"], clusters=kept["l2"], groups=kept["eta"])
    text += (
        f" {fit.n} runs that learned and peaked, {_decades(kept['l2']):.1f} decades of λ; interval: "
        "bootstrap over λ"
    )
    return _exponent(id, text, results, fit, resolution(kept, kept["l2"], kept["eta"]))


def time_against_product(results: Results) -> Claim:
    """Claim 2: the log-log slope of t* against ηλ over all η."""
    id, text = f"02-{results.name}", f"{title(results.name)}: t* ∝ (ηλ)^a with a = −1, all η together."
    kept = selection.timed(selection.runs(results))
    product = kept["eta"] * kept["l2"]
    if product.nunique() < 2:
        return _no_fit(id, text, results, paper=-1.0)
    # Rounding makes equal products of different η and λ one cluster.
    fit = statistics.fit_exponent(product, kept["t_star"], clusters=[f"{value:.6g}" for value in product])
    text += (
        f" {fit.n} runs that learned and peaked, {_decades(product):.1f} decades of ηλ (paper: 6); "
        "interval: bootstrap over ηλ"
    )
    return _exponent(id, text, results, fit, resolution(kept, product, pd.Series(0, kept.index)))


def time_to_fit(results: Results) -> Claim:
    """Claim 12: exponents of the time to training accuracy 1 against η and against λ."""
    id = f"12-{results.name}"
    text = f"{title(results.name)}: epochs to training accuracy 1 ∝ η^a with a = −1, nearly independent of λ."
    summary = selection.runs(results)
    kept = summary[(summary["train1_epoch"] > 0) & (summary["l2"] > 0)]
    if kept.groupby("l2")["eta"].nunique().max() < 2 if len(kept) else True:
        return make(
            id,
            f"{text} Not judged: too few runs reached training accuracy 1 at this scale.",
            "figS1",
            results,
            paper=-1.0,
        )
    fit = statistics.fit_exponent(kept["eta"], kept["train1_epoch"], clusters=kept["eta"], groups=kept["l2"])
    verdicts, mild = [_near(fit, -1.0)], "unknown"
    if _two_l2_at_some_eta(kept):
        on_l2 = statistics.fit_exponent(kept["l2"], kept["train1_epoch"], groups=kept["eta"])
        verdicts.append(_near(on_l2, 0.0))
        mild = f"{on_l2.slope:.3f}"
    text += (
        f" True if a is within {EXPONENT_SLACK:g} of −1 and the exponent against λ within "
        f"{EXPONENT_SLACK:g} of 0 (it is {mild}). {fit.n} runs, {kept['eta'].nunique()} η. Interval by "
        "bootstrap over η."
    )
    ok = False if False in verdicts else None if None in verdicts else True
    numbers = statistics.Interval(fit.slope, fit.low, fit.high, fit.n)
    return make(id, decided(text, ok), "figS1", results, paper=-1.0, interval=numbers, ok=ok)


def _near(fit: statistics.Fit, exponent: float) -> bool | None:
    """Say whether a fitted exponent is the given one within ``EXPONENT_SLACK``; None if its interval allows both."""
    near = abs(fit.slope - exponent) <= EXPONENT_SLACK
    if np.isnan(fit.low):
        return near
    if near:
        return True if fit.high - fit.low <= PRECISION else None
    return None if fit.low <= exponent + EXPONENT_SLACK and fit.high >= exponent - EXPONENT_SLACK else False


def resolution(kept: pd.DataFrame, x: pd.Series, groups: pd.Series) -> float:
    """Return the largest error of a fitted exponent of t* that the spacing of the evaluations can cause.

    The accuracy of t* is reached somewhere after the evaluation before it, so ``log t*`` is too large by
    something between 0 and ``log(t_star / t_before)``. A least-squares slope is a weighted sum of ``log t*``;
    this is the sum of the absolute weights times half that width.

    Args:
        kept: one row per run.
        x: what t* is fitted against, > 0.
        groups: label of the group of each run; every group has a prefactor of its own.
    """
    log_x = np.log(x)
    centred = log_x - log_x.groupby(groups).transform("mean")
    width = np.log(kept["t_star"] / kept["t_before"])
    return float((centred.abs() * width / 2).sum() / (centred**2).sum())


def _exponent(id: str, text: str, results: Results, fit: statistics.Fit, slack: float) -> Claim:
    """Claim that an exponent is −1 within the bootstrap interval widened by the evaluations' resolution."""
    low, high = fit.low - slack, fit.high + slack
    ok: bool | None = bool(low <= -1.0 <= high)
    text += f", widened by {slack:.3f} for the spacing of the evaluations. True if it contains −1"
    text += f" and is no wider than {PRECISION:g}."
    if np.isnan(low):
        ok, text = None, f"{text} Not judged: an interval needs three different values."
    elif ok and high - low > PRECISION:
        ok, text = None, f"{text} Not judged: the interval is too wide."
    elif not ok:
        text += f" The deviation is a factor {10 ** abs(fit.slope + 1):.2f} per decade"
        text += "; the paper too sees small λ take about twice as long." if fit.slope < -1 else "."
    figure = main_figure(results.name)
    return make(id, text, figure, results, paper=-1.0, measured=fit.slope, low=low, high=high, n=fit.n, ok=ok)


def _no_fit(id: str, text: str, results: Results, *, paper: float) -> Claim:
    text += " Not judged: fewer than two λ > 0 learned and peaked within their runs."
    return make(id, text, main_figure(results.name), results, paper=paper)


def _two_l2_at_some_eta(kept: pd.DataFrame) -> bool:
    return bool((kept.groupby("eta")["l2"].nunique() >= 2).any())


def _decades(values: pd.Series) -> float:
    return float(np.log10(values.max() / values.min()))
