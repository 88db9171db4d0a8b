"""How good are suggestions? ``python -m bench suggest [NAME …]``, two hours on one core; goes on where it was stopped.

Every training of :mod:`bench.trainings` with three seeds at every coefficient of a grid, without L2, with the two
coefficients that people take by habit, with AutoL2, and with the coefficient that :func:`l2dynamics.suggest_l2`
gives by default. Every finished run is kept in ``bench/suggest.json``.
"""

import json
import math
import statistics
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.trainings import FRESH, TRAININGS, Training
from l2dynamics import AutoL2, NoPeakError, suggest_l2
from l2dynamics.storage import atomic

STORE = Path(__file__).with_suffix(".json")
SEEDS = (0, 1, 2)
HABITS = (5e-4, 1e-2)
PRODUCTS = (0.1, 0.3, 1, 3, 10, 30)
"""Grid of λ in units of t · η/(1 − momentum) · λ at the end of the budget, more than two decades."""
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


def one_run(training: Training, l2: float | AutoL2, seed: int) -> float:
    """Best accuracy of one run."""
    return round(best(training.run(l2, seed)), 4)


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
            self.once(training, f"{name}, seed {seed}", partial(one_run, training, l2, seed))
            for seed in SEEDS
        ]


def suggested(training: Training) -> dict[str, Any]:
    """What suggest_l2 answers by default: the coefficient and its cost, or why there is none."""
    decays = training.decays
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they are in the answer
            found = suggest_l2(
                training.make_run(), training.steps, first_decay=decays[0] if decays else None, progress=False
            )
    except NoPeakError as error:
        return {"l2": None, "share": error.share, "says": str(error)}
    return {"l2": found.l2, "share": found.share, "says": str(found)}


def tune(store: Store, training: Training) -> dict[float, list[float]]:
    """Best accuracies at every coefficient of the grid."""
    return {l2: store.runs(training, f"l2 {l2:g}", l2) for l2 in grid(training)}


def measure(store: Store, training: Training) -> None:
    """All runs of a training that are not in the store yet."""
    tune(store, training)
    found = store.once(training, "suggestion", lambda: suggested(training))
    if found["l2"]:
        store.runs(training, "suggested", found["l2"])
    for name, rule in RULES.items():
        store.runs(training, f"AutoL2 {name}", rule(training))


def complete(store: Store, training: Training) -> bool:
    """Whether a training has all that a line of the table needs; AutoL2 may be missing."""
    about = store.found.get(training.name, {})
    names = [f"l2 {l2:g}" for l2 in grid(training)]
    if about.get("suggestion", {}).get("l2"):
        names.append("suggested")
    return "suggestion" in about and all(f"{name}, seed {seed}" in about for name in names for seed in SEEDS)


def line(store: Store, training: Training) -> dict[str, Any]:
    """What the table says of a training."""
    about = store.found[training.name]

    def runs(name: str) -> np.ndarray:
        return np.array([about.get(f"{name}, seed {seed}", math.nan) for seed in SEEDS])

    tuned = {l2: runs(f"l2 {l2:g}") for l2 in grid(training)}
    best_l2 = max(tuned, key=lambda l2: tuned[l2].mean())
    # Coefficients that three seeds cannot tell from the best: the seeds are the same, so differences are taken.
    level = {
        l2
        for l2, found in tuned.items()
        if (tuned[best_l2] - found).mean() <= (tuned[best_l2] - found).std(ddof=1) / math.sqrt(len(SEEDS))
    }
    l2 = about["suggestion"]["l2"]
    found = {
        "training": training.name,
        "steps": training.steps,
        "answer": l2,
        "share": about["suggestion"]["share"],
        "tuned": best_l2,
        "level": sorted(level),
        "accuracy": tuned[best_l2].mean(),
        "without": tuned[0.0].mean(),
        "habits": {habit: tuned[habit].mean() for habit in HABITS},
        "AutoL2": {name: runs(f"AutoL2 {name}").mean() for name in RULES},
    }
    if l2:
        own = runs("suggested")
        habit = max((tuned[habit] for habit in HABITS), key=lambda found: found.mean())
        found["suggested"] = own.mean()
        found["gap"] = tuned[best_l2].mean() - own.mean()
        error = (habit - own).std(ddof=1) / math.sqrt(len(SEEDS))
        found["worse than habit"] = bool((habit - own).mean() > error)
        found["factor"] = min(ratio(l2, other) for other in level)
    return found


def ratio(a: float, b: float) -> float:
    """Factor between two coefficients, at least 1; infinite for 0."""
    return max(a, b) / min(a, b) if min(a, b) > 0 else math.inf


def table(store: Store, trainings: Sequence[Training]) -> str:
    """The table of those trainings that are complete, in Markdown, and what it comes to."""
    lines = [line(store, training) for training in trainings if complete(store, training)]
    head = (
        "| training | steps | suggested λ | share | tuned λ (level with it) | factor | accuracy: tuned | suggested | "
        "5e-4 | 1e-2 | λ = 0 | AutoL2 as printed | for_training | not smoothed |"
    )
    rows = [head, "| --- " * 14 + "|"]
    for one in lines:
        level = [l2 for l2 in one["level"] if l2 != one["tuned"]]
        cells = [
            one["training"],
            one["steps"],
            f"{one['answer']:.2g}" if one["answer"] else "none",
            f"{one['share']:.0%}",
            f"{one['tuned']:.2g}" + (f" ({', '.join(f'{l2:.2g}' for l2 in level)})" if level else ""),
            f"{one['factor']:.1f}" if one["answer"] else "–",
            f"{one['accuracy']:.3f}",
            f"{one['suggested']:.3f}" if one["answer"] else "–",
            *(f"{value:.3f}" for value in one["habits"].values()),
            f"{one['without']:.3f}",
            *("–" if math.isnan(value) else f"{value:.3f}" for value in one["AutoL2"].values()),
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    answered = [one for one in lines if one["answer"]]
    if answered:
        within = sum(one["factor"] <= 5 for one in answered)
        gap = statistics.median(one["gap"] for one in answered)
        worse = [one["training"] for one in answered if one["worse than habit"]]
        rows += [
            "",
            f"{len(lines)} of {len(trainings)} trainings measured. Answered by default: {len(answered)} of "
            f"{len(lines)}. Within a factor of five of the tuned λ, or of one that is level with it: {within}. Median "
            f"accuracy gap to the tuned λ: {gap:.4f}. Worse than the better habit by more than one standard error: "
            f"{', '.join(worse) if worse else 'none'}. Median and largest gap without L2 and with AutoL2: "
            f"{_gaps(lines)}.",
        ]
    return "\n".join(rows)


def _gaps(lines: Sequence[Mapping[str, Any]]) -> str:
    """Of each rule of AutoL2, and of λ = 0, what it loses against the tuned λ."""
    found = []
    for name in ("λ = 0", *RULES):
        own = [one["without"] if name == "λ = 0" else one["AutoL2"][name] for one in lines]
        gaps = [one["accuracy"] - value for one, value in zip(lines, own, strict=True)]
        if not any(map(math.isnan, gaps)):
            found.append(f"{name} {statistics.median(gaps):.3f} and {max(gaps):.3f}")
    return ", ".join(found)


def main(names: list[str]) -> int:
    """Measure what is missing, of these trainings or of all, and print the tables."""
    known = {training.name: training for training in (*TRAININGS, *FRESH)}
    if unknown := [name for name in names if name not in known and name != "--table"]:
        print(f"error: {unknown[0]} is unknown, choose from {', '.join(known)}", file=sys.stderr)
        return 2
    store = Store()
    if "--table" not in names:
        for name in names or known:
            measure(store, known[name])
    print(table(store, TRAININGS), table(store, FRESH), sep="\n\n")
    return 0
