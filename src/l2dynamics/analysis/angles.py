"""Angular updates of scale-invariant weights against √(2ηλ), their size where L2 and gradients balance.

Kosson et al. (2023): a weight vector whose scale the network does not see is lengthened by gradients, which are
orthogonal to it, and shortened by L2. Under SGD its length settles where every step turns it by √(2ηλ).
"""

import math

import numpy as np
import pandas as pd

from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.resampling import Estimate

PREFIX = "angle_"
LATE = 0.5
"""An angular update counts as settled from this part of the run on."""


def relative(table: pd.DataFrame) -> pd.DataFrame:
    """Root mean square over layers of the angular update over √(2ηλ), a row for each evaluation of a run with λ > 0.

    Returns:
        Columns ``run, eta, l2, seed, step, time`` (t·ηλ, t in steps) and ``ratio``. Evaluations of diverged runs are
        left out.

    Raises:
        Lacking: the runs have no angular updates, or all diverged.
    """
    layers = [name for name in table.columns if name.startswith(PREFIX)]
    if not layers:
        raise Lacking("the runs have no angular updates: set angular_update in their setup")
    kept = table[table["l2"] > 0].dropna(subset=layers)
    if kept.empty:
        raise Lacking("every run diverged")
    product = (kept["eta"] * kept["l2"]).to_numpy(float)
    ratio = np.sqrt(np.square(kept[layers].to_numpy(float)).mean(axis=1) / (2 * product))
    return kept[["run", "eta", "l2", "seed", "step"]].assign(time=kept["step"] * product, ratio=ratio)


def mean_square(rows: pd.DataFrame, by: list[str]) -> pd.Series:
    """Root of the mean of the squares of ``ratio``: what balances is the square of the angle."""
    return np.sqrt(rows["ratio"].pow(2).groupby([rows[name] for name in by]).mean())


def settled(table: pd.DataFrame) -> Estimate:
    """Mean over η and λ of the logarithm of the settled angular update over √(2ηλ), with its error over seeds.

    Raises:
        Lacking: see :func:`relative`.
    """
    rows = relative(table)
    last = rows.groupby("run")["step"].transform("max")
    late = rows[(rows["step"] >= LATE * last) & (rows["step"] > 0)]
    points = np.log(mean_square(late, ["seed", "eta", "l2"])).unstack("seed").dropna(axis=1)
    if points.empty:
        raise Lacking("the runs share no seed")
    each = points.mean(axis=0).to_numpy(float)
    se = float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else math.nan
    return Estimate(float(each.mean()), se, max(1.0, len(each) - 1.0), n_seeds=len(each))
