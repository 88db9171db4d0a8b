"""Claim c2 and the measured c: the coefficient in units in which learning rate, momentum and batch size drop out."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from l2dynamics.analysis import thresholds
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.claims import checks, judging, regimes
from l2dynamics.claims.base import OURS, Claim
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.experiments.registry import title
from l2dynamics.results.tables import Results

RESULTS = ("measure_c", "fc", "cnn", "wrn_aug")
SETUPS = ("fc", "cnn", "wrn")
"""Setups of stage ``measure_c``."""
PAPER_C_STEPS = 0.64
"""The paper's c in units of t·η_eff·λ: 0.0066 epochs · 48.8 steps · 0.2 / (1 − 0.9)."""

TRAINED: Mapping[str, str] = {"wrn": "wrn_aug"}
"""The sweep whose setup the runs of ``measure_c`` have, where it is not that of the same name."""

ORDER_ONE = Spec(
    "c2",
    "c in units of t·η_eff·λ is of order one everywhere.",
    "Measured: t*·η_eff·λ, t* in steps and η_eff = η/(1 − momentum), geometric mean over λ and seeds of the t* of "
    "every run's own curve, without the running median of claim 01 (a lower bound where the accuracy still rises); "
    "true if the 90 % interval, over seeds at these λ (how far c differs between λ is in the caption), lies between "
    "0.1 and 10.",
    lambda numbers: [checks.within("log of c", numbers[0], math.log(0.1), math.log(10))],
    paper=PAPER_C_STEPS,
    figure="fig4",
    kind=OURS,
    shown=math.exp,
)


def evaluate(results: Mapping[str, Results]) -> list[Claim]:
    """Return claim c2, over setups and per setup."""
    measured = results["measure_c"]
    setups = measured.passport.get("c", SETUPS)
    return judging.over_setups(ORDER_ONE, [effective_c(results, setup) for setup in setups])


def c_at(measured: Results, setup: str, eta: float) -> float:
    """Return the measured c in epochs, carried over to another η by ``c ∝ 1/η``.

    Raises:
        Lacking: the setup was not measured.
    """
    found = measured.passport["c"].get(setup)
    if not found:
        raise Lacking(f"no c of {setup}: stage measure_c does not measure it")
    return float(found["c"]) * float(found["eta"]) / float(eta)


def effective_c(results: Mapping[str, Results], setup: str) -> Part:
    """Claim c2 in one setup; the runs of a seed at several λ are one, since they share it."""
    measured = results["measure_c"]
    text = f"{title(setup)}: c is of order one in units of t·η_eff·λ."
    outside = regimes.outside(results, TRAINED.get(setup, setup))
    part = Part(setup, (measured,), text, outside=outside, figure="fig4")

    def measure() -> Part:
        found = measured.passport["c"][setup]
        c = c_at(measured, setup, float(found["eta"]))
        table = measured.table[(measured.table["setup"] == setup) & (measured.table["epoch"] > 0)]
        per_epoch = float((table["step"] / table["epoch"]).median())
        unit = per_epoch * float(found["eta"]) / (1 - _momentum(measured, setup))
        by_seed: dict[int, list[float]] = {}
        for run in found["per_run"]:
            by_seed.setdefault(int(run["seed"]), []).append(math.log(float(run["c"]) * unit))
        logs = np.array([np.mean(some) for some in by_seed.values()])
        count = len(logs)
        se = float(logs.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan
        estimate = Estimate(math.log(c * unit), se, float(max(count - 1, 1)), n_seeds=count)
        lengths = table.groupby("l2")["epoch"].max()
        late = sum(
            run["t_star"] > thresholds.PEAKED_WITHIN * lengths[run["l2"]] * (1 + 1e-9)
            for run in found["per_run"]
        )
        facts = f"c = {c:.4g} epochs at η = {float(found['eta']):g}, {len(found['per_run'])} runs"
        facts += f", {late} of which still rose in the last fifth." if late else "."
        return replace(part, numbers=(estimate,), facts=facts)

    return judging.attempt(part, measure)


def _momentum(measured: Results, setup: str) -> float:
    passport = measured.passport
    for place in (
        passport.get("setup", {}).get(setup),
        passport.get("config", {}).get(setup, {}).get("setup"),
    ):
        if isinstance(place, Mapping) and "momentum" in place:
            return float(place["momentum"] or 0.0)
    raise Lacking(f"results of measure_c: no momentum of {setup!r}: run `dvc repro measure_c`")
