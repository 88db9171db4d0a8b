"""The coefficient c = t* λ of a setup from short runs at large λ, with its spread (Section 3, Fig. 4a)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from l2dynamics.analysis.thresholds import MEASURABLE
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.prediction import measure_c, t_star
from l2dynamics.results.tables import Results


def measure(results: Results) -> dict[str, Any]:
    """Measure c in epochs at the learning rate of the runs.

    Args:
        results: runs at large λ of one setup; every run must last beyond its first peak.

    Returns:
        ``c`` (geometric mean over λ and seeds), ``low`` and ``high`` (95 % interval of that mean, from the spread of
        log c), ``eta``, ``unit`` and ``per_run``.

    Raises:
        ConfigError: no run rose above chance and above its start.
    """
    chance = 1 / results.passport["classes"]
    per_run = []
    for _, rows in results.table.groupby("run", sort=False):
        accuracy = rows["test_accuracy"].to_numpy()
        if not np.isfinite(accuracy).any() or np.nanmax(accuracy) < MEASURABLE * chance:
            continue
        epochs, l2 = rows["epoch"].to_numpy(), float(rows["l2"].iloc[0])
        if t_star(epochs, accuracy) == 0:  # it began above chance, by luck, and never was better
            continue
        c = measure_c(epochs, accuracy, l2, stretch=1)
        per_run.append({"l2": l2, "seed": int(rows["seed"].iloc[0]), "t_star": c / l2, "c": c})
    if not per_run:
        raise ConfigError(
            f"{results.name}: no run rose above chance and above its start: use smaller λ or longer runs to "
            "measure c"
        )
    logs = np.log([run["c"] for run in per_run])
    half = 0.0
    if len(logs) > 1:
        half = float(stdtrit(len(logs) - 1, 0.975) * logs.std(ddof=1) / np.sqrt(len(logs)))
    mean = float(logs.mean())
    return {
        "c": float(np.exp(mean)),
        "low": float(np.exp(mean - half)),
        "high": float(np.exp(mean + half)),
        "eta": float(results.table["eta"].iloc[0]),
        "unit": "epochs",
        "steps_per_epoch": results.passport["steps_per_epoch"],
        "momentum": results.passport["setup"]["momentum"],
        "per_run": per_run,
    }


def combine(measured: Mapping[str, Results]) -> Results:
    """One table (with column ``setup``) and one passport (with ``c`` per setup) from the setups' results."""
    frames = [found.table.assign(setup=setup) for setup, found in measured.items()]
    passports = {setup: found.passport for setup, found in measured.items()}
    passport = {
        **passports["wrn"],
        "name": "measure_c",
        "setup": {setup: passport["setup"] for setup, passport in passports.items()},
        "datasets": {setup: passport["data"] for setup, passport in passports.items()},
        "config": {setup: passport["config"] for setup, passport in passports.items()},
        "c": {setup: measure(found) for setup, found in measured.items()},
        "seeds": sorted({seed for passport in passports.values() for seed in passport["seeds"]}),
        **{
            total: sum(passport[total] for passport in passports.values())
            for total in (
                "runs",
                "diverged",
                "run_steps",
                "pure_step_seconds",
                "worker_seconds",
                "wall_seconds",
            )
        },
    }
    return Results("measure_c", pd.concat(frames, ignore_index=True), passport)
