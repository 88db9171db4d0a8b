"""What the runs of a job measured: metrics by name over the evaluation steps, and the table they become."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from l2dynamics.experiments.runs import RunSpec
from l2dynamics.results.columns import COLUMNS

_SIGNS_OF_LIFE = ("train_loss", "test_loss", "l2_norm")


class Curves:
    """Metrics of runs of equal length by name, ``[runs, evaluations]`` each; NaN where nothing is known.

    Args:
        steps: increasing evaluation steps, int64 ``[evaluations]``.
        values: metrics measured so far.
    """

    def __init__(self, steps: np.ndarray, values: Mapping[str, np.ndarray] | None = None) -> None:
        self.steps = steps
        self.values = dict(values or {})

    def record(self, index: int, measured: Mapping[str, np.ndarray]) -> bool:
        """Store evaluation number ``index``; say whether all runs have diverged, so that none need go on.

        A diverged run is data: NaN from there on in everything but λ.

        Args:
            index: of the evaluation.
            measured: metrics by name, scalars or ``[runs]``.
        """
        now = {name: np.atleast_1d(value) for name, value in measured.items()}
        lost = ~np.isfinite([now[name] for name in _SIGNS_OF_LIFE]).all(axis=0)
        for name, value in now.items():
            column = self.values.setdefault(name, np.full((len(value), len(self.steps)), np.nan))
            column[:, index] = value if name == "l2" else np.where(lost, np.nan, value)
        if lost.all():
            self.values["l2"][:, index:] = self.values["l2"][:, index : index + 1]
        return bool(lost.all())

    def until(self, count: int) -> "Curves":
        """The first ``count`` evaluations."""
        return Curves(self.steps[:count], {name: value[:, :count] for name, value in self.values.items()})

    def best(self) -> float:
        """Highest test accuracy of any run so far; NaN if none is known."""
        tested = self.values.get("test_accuracy", np.array([]))
        return float(np.nanmax(tested)) if np.isfinite(tested).any() else float("nan")


def join(parts: Sequence[Curves]) -> Curves:
    """The curves of runs that were trained apart, at the same steps."""
    names = parts[0].values
    return Curves(
        parts[0].steps, {name: np.concatenate([part.values[name] for part in parts]) for name in names}
    )


def table(
    measured: Sequence[tuple[Sequence[RunSpec], Curves]], order: Sequence[RunSpec], per_epoch: int
) -> pd.DataFrame:
    """Long table, one row per evaluation, columns as in :mod:`l2dynamics.results.tables`, further metrics after them.

    Args:
        measured: runs and curves of every job.
        order: the runs, in the order of the table.
        per_epoch: steps per epoch.
    """
    frames = {}
    for specs, curves in measured:
        for row, spec in enumerate(specs):
            metrics = {name: value[row] for name, value in curves.values.items()}
            # Constant λ as it was given: in float32, in which it is trained, it has other digits.
            l2 = metrics.pop("l2")
            frames[spec] = pd.DataFrame(
                {
                    "run": spec.slug,
                    "group": spec.group,
                    "eta": spec.eta,
                    "l2": l2 if spec.measure else spec.first_l2,
                    "seed": spec.seed,
                    "sigma_w": spec.sigma_w,
                    "budget": spec.epochs,
                    "step": curves.steps,
                    "epoch": curves.steps / per_epoch,
                    **metrics,
                }
            )
    whole = pd.concat([frames[spec] for spec in order], ignore_index=True)
    return whole[[*COLUMNS, *(name for name in whole.columns if name not in COLUMNS)]]
