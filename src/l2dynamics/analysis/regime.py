"""Whether a setup may judge the paper's claims: they are about networks that reach training accuracy 1 by SGD.

A setup outside the regime is drawn and marked and judges nothing (but the claim that such setups are exceptions).
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2dynamics import peaks
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.thresholds import PEAKED_WITHIN
from l2dynamics.results import tables

FITS = 0.99
"""Training accuracy that λ = 0 must reach, on clean training images."""
STEPS = 30
"""t* is resolved if it is at least this many steps: the law is one of continuous time."""
PLATEAU = 0.01
"""λ on the plateau side: their maximum accuracy and that of all smaller λ is within this of the best, absolute.

λ whose runs end before their peak are left out.
"""


@dataclass(frozen=True)
class Regime:
    """What the criteria ask of a setup, measured.

    Attributes:
        train_accuracy: of λ = 0, the highest, mean over seeds; NaN without such runs.
        early: whether the λ = 0 test curve stays within 0.01 of its maximum; if it falls, the data set is too small
            or too noisy and early stopping hides the law. False without such runs.
        fall: how far that curve lies below its maximum at the end; NaN without such runs.
        decades: of λ on the plateau side with t* ≥ 30 steps; 0 for a single one, NaN for none.
        plateau: those λ, ascending.
        t_star: steps, the smallest over the plateau side, resolved or not; NaN without one.
        resolved: whether some λ > 0 within 0.01 of the best accuracy has t* ≥ 30 steps. Runs that end before their peak
            count: their t* is later still.
    """

    train_accuracy: float
    early: bool
    fall: float
    decades: float
    plateau: tuple[float, ...]
    t_star: float
    resolved: bool

    @property
    def fits(self) -> bool:
        """Whether the network reaches training accuracy 0.99 without L2."""
        return self.train_accuracy >= FITS

    @property
    def inside(self) -> bool:
        """Whether the setup may judge."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not, each a phrase; empty inside the regime."""
        found = []
        if math.isnan(self.train_accuracy):
            found.append("no run with λ = 0")
        elif not self.fits:
            found.append(f"training accuracy {self.train_accuracy:.3f} at λ = 0, less than {FITS}")
        if not self.early and not math.isnan(self.train_accuracy):
            found.append("at λ = 0 the test accuracy falls after its maximum")
        if not self.resolved:
            found.append(f"no λ near the best accuracy has t* ≥ {STEPS} steps")
        return tuple(found)


def regime(rows: pd.DataFrame) -> Regime:
    """Measure one setup at one η.

    Args:
        rows: evaluations of the runs of a grid at one η and σw, λ = 0 included; ``train_accuracy`` is on clean
            images. Runs of one λ are evaluated at the same steps; runs that diverged are left out.

    Raises:
        Lacking: a column is missing, there are several η, or runs of one λ are evaluated at different steps.
    """
    tables.require(rows, ("run", "eta", "l2", "seed", "sigma_w", "step", "train_accuracy", "test_accuracy"))
    for column in ("eta", "sigma_w"):
        if rows[column].nunique() > 1:
            raise Lacking(f"the regime is judged at one {column}, the rows have {rows[column].nunique()}")
    broken = rows[["train_accuracy", "test_accuracy"]].isna().any(axis=1)
    kept = rows[~rows["run"].isin(rows.loc[broken, "run"])]
    curves = {float(l2): _mean_curve(runs) for l2, runs in kept.groupby("l2")}  # type: ignore[arg-type]
    zero = curves.pop(0.0, None)
    train, early, fall = math.nan, False, math.nan
    if zero is not None:
        train, early = float(zero["train_accuracy"].max()), bool(peaks.early_maximum(zero["test_accuracy"]))
        course = peaks.running_median(zero["test_accuracy"])
        fall = float(course.max() - course[-1])
    smooth = {l2: peaks.running_median(curve["test_accuracy"]).max() for l2, curve in sorted(curves.items())}
    stars = {l2: float(peaks.star(curve.index, curve["test_accuracy"])) for l2, curve in curves.items()}
    enough = max(smooth.values(), default=math.nan) - PLATEAU - 1e-9
    resolved = any(highest >= enough and stars[l2] >= STEPS for l2, highest in smooth.items())
    # A run that was cut before its peak says nothing of the plateau: at fixed T those of small λ are.
    smooth = {
        l2: highest for l2, highest in smooth.items() if stars[l2] <= PEAKED_WITHIN * curves[l2].index[-1]
    }
    best, side = max(smooth.values(), default=math.nan), []
    for l2, highest in smooth.items():
        if highest < best - PLATEAU - 1e-9:
            break
        side.append(l2)
    plateau = tuple(l2 for l2 in side if stars[l2] >= STEPS)
    decades = float(np.log10(plateau[-1] / plateau[0])) if plateau else math.nan
    fastest = min((stars[l2] for l2 in side), default=math.nan)
    return Regime(train, early, fall, decades, plateau, fastest, resolved)


def _mean_curve(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds at every step."""
    at = runs.groupby("step")
    if (at.size() != runs["run"].nunique()).any():
        raise Lacking(f"runs with l2 = {runs['l2'].iloc[0]:g} are evaluated at different steps")
    return at[["train_accuracy", "test_accuracy"]].mean()
