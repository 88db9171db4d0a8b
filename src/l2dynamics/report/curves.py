"""The training curves of all results as data for the report's interactive charts: small, the same bytes every time."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics.analysis import per_run
from l2dynamics.figures import style
from l2dynamics.results import tables
from l2dynamics.results.tables import Results
from l2dynamics.tracking import catalog, records

METRICS = ("test_accuracy", "train_loss", "l2_norm")
MOST_POINTS = 60
"""Evaluations of a run that the page holds; of more, so many are taken evenly (they are log-spaced already)."""

SERVER = "http://127.0.0.1:5000"
"""Where `make ui` listens."""

_AUTO = {"auto_minibatch": style.AUTO, "auto_subset": style.AUTO_SUBSET, "auto_own": style.AUTO_OWN}


def collect(root: Path) -> dict[str, Any]:
    """Return the curves of every results table of the checkout, sweep by sweep.

    Args:
        root: the checkout.

    Raises:
        ResultsError: a results file is damaged; the message names the stage that makes it.
    """
    return {
        "server": SERVER,
        "sweeps": {name: sweep(tables.load(name, root)) for name in tables.names(root)},
    }


def sweep(results: Results) -> dict[str, Any]:
    """Return one sweep: its MLflow experiment and one entry per run, with name, colour of λ, t* and curves."""
    name, passport = results.name, results.passport
    summary = per_run.summarize(results.table, chance=1 / int(passport.get("classes") or 10)).set_index("run")
    experiment = catalog.experiment(name)
    return {
        "title": " — ".join(filter(None, (name, experiment.title.partition(" — ")[2].partition(" (")[0]))),
        "file": results.file,
        "experiment": catalog.number(experiment),
        "runs": [
            _run(name, rows, summary.loc[str(run)]) for run, rows in results.table.groupby("run", sort=False)
        ],
    }


def dumps(curves: Mapping[str, Any]) -> str:
    """Return the data as JSON that may stand inside a script element."""
    text = json.dumps(curves, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _run(name: str, rows: pd.DataFrame, found: Any) -> dict[str, Any]:
    first: Any = rows.iloc[0]
    group, l2 = str(first["group"]), float(first["l2"])
    if len(rows) > MOST_POINTS:
        rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(int))]
    run = {
        "setup": str(first["setup"]) if "setup" in rows else "",
        "name": records.title(name, first),
        "eta": _short(first["eta"]),
        "l2": None if group in _AUTO else _short(l2),
        "color": _AUTO.get(group) or style.l2_color(l2),
        "t_star": _short(found["t_star"]) if found["learned"] else None,
        "peaked": bool(found["peaked"]),
        "best": _short(found["max_test_accuracy"]),
        "epoch": [_short(v) for v in rows["epoch"]],
    }
    run |= {metric: [_short(v) for v in rows[metric]] for metric in METRICS}
    if group in _AUTO:
        run["coefficient"] = [_short(v) for v in rows["l2"]]
    return run


def _short(value: Any) -> float | int | None:
    """Four significant digits; None for what is not finite."""
    number = float(value)
    if not math.isfinite(number):
        return None
    rounded = float(f"{number:.4g}")
    return int(rounded) if rounded.is_integer() else rounded
