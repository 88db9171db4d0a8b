"""Fake results that obey t* = c / (ηλ) exactly, for tests of everything downstream of training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics.history import Results

ETAS = (0.1, 0.5, 2.0)
L2S = (0.0, 1e-3, 1e-2, 1e-1)


def run_table(
    eta: float,
    l2: float,
    seed: int = 0,
    *,
    c: float = 0.7,
    group: str = "grid",
    best: float = 0.82,
    points: int = 60,
    steps_per_epoch: int = 1,
    budget: float | None = None,
    sigma_w: float = 2.0**0.5,
    diverges_at: int | None = None,
) -> pd.DataFrame:
    """One run. With u = t·η·λ/c (t in epochs) test accuracy reaches best − 0.005 at u = 1, and best there.

    A run with λ = 0 saturates 0.02 below ``best`` at t = 10/η. Training accuracy is 1 from t = 3/η on.
    """
    budget = budget if budget is not None else (3 * c / (eta * l2) if l2 else 100 / eta)
    last = max(2, round(budget * steps_per_epoch))
    step = np.unique(np.concatenate([[0], np.geomspace(1, last, points).round()])).astype(int)
    epoch = step / steps_per_epoch
    rng = np.random.default_rng([seed, int(eta * 1e6), int(l2 * 1e9)])
    top = best + 1e-4 * rng.standard_normal() - (0.0 if l2 else 0.02)
    u = epoch * eta * l2 / c if l2 else epoch * eta / 10
    rising = 0.1 + (top - 0.01 - 0.1) * np.minimum(u, 1.0) ** 0.3
    test_accuracy = np.where(u >= 1, top, rising)
    table = pd.DataFrame(
        {
            "run": f"eta{eta:g}_l2{l2:g}_sw{sigma_w:.4g}_{group}_T{budget:.6g}_s{seed}",
            "group": group,
            "eta": float(eta),
            "l2": float(l2),
            "seed": seed,
            "sigma_w": float(sigma_w),
            "budget": float(budget),
            "step": step,
            "epoch": epoch,
            "train_loss": 0.115 * np.exp(-epoch * eta) + 0.002 * np.minimum(u, 3.0),
            "train_accuracy": np.minimum(1.0, 0.1 + 0.3 * epoch * eta),
            "test_loss": 0.115 * np.exp(-epoch * eta / 3) + 0.03,
            "test_accuracy": test_accuracy,
            "l2_norm": 60.0 * np.exp(-epoch * eta * l2 / 3),
        }
    )
    if diverges_at is not None:
        gone = table["step"] >= diverges_at
        table.loc[gone, ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "l2_norm"]] = np.nan
    return table


def passport(name: str, **changes: Any) -> dict[str, Any]:
    """A passport like the ones training writes."""
    return {
        "name": name,
        "scale": "laptop",
        "data": {
            "name": "mnist",
            "source": "sample",
            "version": "3.0.1",
            "train": 512,
            "test": 2000,
            "image_size": 28,
        },
        "setup": {
            "model": {"kind": "fc", "width": 256, "depth": 3},
            "loss": "softmax",
            "batch": 512,
            "momentum": 0.0,
            "augment": False,
            "schedule": None,
        },
        "config": {"eta": list(ETAS), "l2": list(L2S)},
        "seeds": [0],
        "runs": 12,
        "diverged": 0,
        "steps_per_epoch": 1,
        "classes": 10,
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": {"python": "3.11.7", "jax": "0.10.2", "l2dynamics": "0.1.0"},
        "xla_flags": "",
        "device": "cpu",
        "cores": 2,
        "wall_seconds": 12.5,
        "pure_step_seconds": 9.5,
        "status": "done",
        "key": "3f" * 16,
    } | changes


def results(
    name: str = "fc",
    etas: Sequence[float] = ETAS,
    l2s: Sequence[float] = L2S,
    seeds: Sequence[int] = (0,),
    *,
    passport_changes: dict[str, Any] | None = None,
    **run: Any,
) -> Results:
    """A whole sweep over η × λ × seeds; ``run`` goes to :func:`run_table`."""
    tables = [run_table(eta, l2, seed, **run) for eta in etas for l2 in l2s for seed in seeds]
    table = pd.concat(tables, ignore_index=True)
    diverged = int(table[table["test_loss"].isna()]["run"].nunique())
    counts = {"seeds": list(seeds), "runs": len(tables), "diverged": diverged}
    return Results(name, table, passport(name, **counts, **(passport_changes or {})))
