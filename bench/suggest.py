"""How good are suggestions? ``python -m bench suggest [NAME …]``, an hour on one core; goes on where it was stopped.

Every training of :mod:`bench.trainings` with three seeds at every coefficient of a grid, without L2, with the two
coefficients that people take by habit, with AutoL2, and with the coefficient that :func:`l2dynamics.suggest_l2` gives by
default. Every finished run is kept in ``bench/suggest.json``.
"""

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.trainings import TRAININGS, Training
from l2dynamics import AutoL2, NoPeakError, suggest_l2
from l2dynamics.storage import atomic

STORE = Path(__file__).with_suffix(".json")
SEEDS = (0, 1, 2)
HABITS = (5e-4, 1e-2)
PRODUCTS = (0.1, 0.3, 1, 3, 10, 30)
"""Grid of λ in units of t · η/(1 − momentum) · λ at the end of the budget: more than two decades around what is usual."""
RULES: dict[str, Callable[[Training], AutoL2]] = {
    "as printed": lambda _: AutoL2(),
    "for_training": lambda training: AutoL2.for_training(
        training.learning_rate, training.momentum, training.steps
    ),
    "for_training, not smoothed": lambda training: AutoL2.for_training(
        training.learning_rate, training.momentum, training.steps, smoothing=0.0
    ),
}


def grid(training: Training) -> list[float]:
    """The coefficients that a training is tuned on: 0, a grid, and those of habit."""
    values = {float(f"{product / (training.rate * training.steps):.1g}") for product in PRODUCTS}
    return [0.0, *sorted(values | set(HABITS))]


def best(curve: Iterable[tuple[float, float]]) -> float:
    """Best test accuracy of a training: the maximum of the running median over three evaluations."""
    accuracies = np.array([accuracy for _, accuracy in curve])
    accuracies = np.where(np.isfinite(accuracies), accuracies, 0)
    return float(np.median(np.lib.stride_tricks.sliding_window_view(accuracies, 3), axis=-1).max())


class Store:
    """What was measured so far, by training and by run; written after every one."""

    def __init__(self, path: Path = STORE):
        self.path = path
        self.found: dict[str, dict[str, Any]] = (
            json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        )

    def once(self, training: Training, key: str, measure: Callable[[], Any]) -> Any:
        """Return what was measured under this key, after measuring it if it was not."""
        about = self.found.setdefault(training.name, {})
        if key not in about:
            about[key] = measure()
            atomic.replace(self.path, atomic.json_bytes(self.found))
            print(f"{training.name}: {key}: {about[key]}", file=sys.stderr, flush=True)
        return about[key]

    def runs(self, training: Training, name: str, l2: float | AutoL2) -> list[float]:
        """Best accuracies of a training over the seeds."""
        return [
            self.once(training, f"{name}, seed {seed}", lambda s=seed: round(best(training.run(l2, s)), 4))
            for seed in SEEDS
        ]


def suggested(training: Training) -> dict[str, Any]:
    """What suggest_l2 answers by default: the coefficient and its cost, or why there is none."""
    decays = training.decays
    try:
        found = suggest_l2(
            training.make_run(), training.steps, first_decay=decays[0] if decays else None, progress=False
        )
    except NoPeakError as error:
        return {"l2": None, "share": error.share, "says": str(error)}
    return {"l2": found.l2, "share": found.share, "says": str(found)}


def tune(store: Store, training: Training) -> dict[float, list[float]]:
    """Best accuracies at every coefficient of the grid."""
    return {l2: store.runs(training, f"l2 {l2:g}", l2) for l2 in grid(training)}
