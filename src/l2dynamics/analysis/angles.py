"""Angular updates of scale-invariant weights against √(2ηλ), their size where L2 and gradients balance.

A step of SGD lengthens a weight vector whose scale the network does not see by its gradient, which is orthogonal to it,
and shortens it by L2: d ln ‖w‖ = θ²/2 − ηλ, θ the angle of the step. So the lengths at two evaluations give the mean of
θ² over all steps between them, θ²/(2ηλ) = 1 + Δ ln ‖w‖ / (ηλ Δt), and where the length settles, θ = √(2ηλ) (Kosson et
al. 2023). Where the weights are so short that batch norm's ε counts, their scale is seen, and this no longer holds.
"""

import math

import numpy as np
import pandas as pd

from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.resampling import Estimate
from l2dynamics.results.columns import LOG_NORM

LATE = 0.5
"""An angular update counts as settled from this part of the run on."""


def courses(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over layers of θ²/(2ηλ) between neighbouring evaluations of the runs with λ > 0 that did not diverge.

    Args:
        table: rows of a sweep of vanilla SGD at constant η and λ, L2 acting on the scale-invariant weights.

    Returns:
        Columns ``run, eta, l2, seed, step, time`` and ``square``: step and t·ηλ at the end of each interval.

    Raises:
        Lacking: the lengths of the weights were not measured, or every run diverged.
    """
    kept, layers = _measured(table)
    product = kept["eta"] * kept["l2"]
    runs = kept.groupby("run", sort=False)
    length = kept[layers].mean(axis=1).groupby(kept["run"], sort=False).diff()
    square = 1 + length / (product * runs["step"].diff())
    found = kept[["run", "eta", "l2", "seed", "step"]].assign(time=product * kept["step"], square=square)
    return found[found["step"] > runs["step"].transform("min")]


def mean_square(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of θ²/(2ηλ) over the second half of each run, a column for every seed and a row for every (η, λ).

    Raises:
        Lacking: see :func:`courses`; or the runs share no seed.
    """
    kept, layers = _measured(table)
    found: dict[tuple[float, float], dict[int, float]] = {}
    for _, run in kept.groupby("run", sort=False):
        late = run[run["step"] >= LATE * run["step"].max()]
        first, last = late.iloc[0], late.iloc[-1]
        change = float((last[layers] - first[layers]).astype(float).mean())
        steps = float(last["step"] - first["step"])
        point = float(first["eta"]), float(first["l2"])
        if steps > 0:
            found.setdefault(point, {})[int(first["seed"])] = 1 + change / (point[0] * point[1] * steps)
    squares = pd.DataFrame.from_dict(found, orient="index").dropna(axis=1)
    if squares.empty:
        raise Lacking("the runs share no seed")
    return squares


def settled(table: pd.DataFrame) -> Estimate:
    """Logarithm of the root mean square of the settled θ over √(2ηλ), over η and λ, with its error over seeds.

    Raises:
        Lacking: see :func:`mean_square`; or the weights only shrink.
    """
    squares = mean_square(table).mean(axis=0).to_numpy(float)
    if (squares <= 0).any():
        raise Lacking("the weights are shortened faster than by L2: their scale is not invariant")
    each = 0.5 * np.log(squares)
    se = float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else math.nan
    return Estimate(float(each.mean()), se, max(1.0, len(each) - 1.0), n_seeds=len(each))


def _measured(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    layers = [name for name in table.columns if name.startswith(LOG_NORM)]
    if not layers:
        raise Lacking("the lengths of the weights were not measured: set weight_norms in the setup")
    broken = table.loc[table[layers].isna().any(axis=1), "run"]
    kept = table[(table["l2"] > 0) & ~table["run"].isin(broken)]
    if kept.empty:
        raise Lacking("every run diverged")
    return kept, layers
