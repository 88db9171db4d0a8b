"""What the examples share: the embedded data, and the table of tuned, predicted and AutoL2."""

import argparse
import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from l2dynamics import NoPeakError, suggest_l2
from l2dynamics.data import datasets
from l2dynamics.suggestion.answer import Suggestion
from l2dynamics.suggestion.runs import MakeRun

Curve = Iterable[tuple[float, float]]


def steps_option(default: int) -> int:
    """Return the number of training steps given by ``--steps``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=default, help="training budget (default: %(default)s)")
    return parser.parse_args().steps


def sample(
    name: str, train: int, test: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return normalised training images of ``size`` pixels square, their labels, test images and labels."""
    found = datasets.load(name, train=train, test=test, image_size=size, root=Path(__file__).parents[1])
    images, test_images = (
        ((np.asarray(split) / 255 - found.mean) / found.std).astype(np.float32)
        for split in (found.train_images, found.test_images)
    )
    return images, found.train_labels, test_images, found.test_labels


def best_within(run: Curve, steps: int) -> float:
    """Return the best test accuracy that a training shows within its budget."""
    return max(accuracy for _, accuracy in itertools.takewhile(lambda point: point[0] <= steps, run))


def compare(make_run: MakeRun, auto_run: Curve, steps: int, grid: Iterable[float]) -> Suggestion | None:
    """Print the best test accuracy within the budget: tuned on a grid, predicted, AutoL2; return the prediction."""
    tuned, best = max(((l2, best_within(make_run(l2, 0), steps)) for l2 in grid), key=lambda pair: pair[1])
    rows = [("no L2", "0", best_within(make_run(0.0, 0), steps)), ("tuned", f"{tuned:.2g}", best)]
    suggestion = None
    try:
        # A budget of a minute is only a few times what learning takes at all, hence the large share.
        suggestion = suggest_l2(make_run, budget=steps, max_share=0.5)
        print(suggestion)
        rows.append(("predicted", f"{suggestion.l2:.2g}", best_within(make_run(suggestion.l2, 0), steps)))
    except NoPeakError as error:
        print(error)
        rows.append(("predicted", "none", math.nan))
    rows.append(("AutoL2", "schedule", best_within(auto_run, steps)))
    print(f"\n{'':10s} {'l2':>9s}  best test accuracy in {steps} steps")
    for name, l2, accuracy in rows:
        print(f"{name:10s} {l2:>9s}  {accuracy:.3f}")
    return suggestion
