"""What every task of stage ``theory`` gives and tells, and the fits that several make.

Times are t = step · η.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

Part = dict[str, Any]
"""``rows`` of the results table (:data:`l2dynamics.results.tables.POINTS`) and ``numbers`` for the report."""
Tell = Callable[[float], None]
"""Told the finished fraction; raises :class:`l2dynamics.running.interruption.Interrupted` to stop a task."""


def power_law(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Fit y ∝ x^slope; ``low`` and ``high`` are the 95 % interval of the slope."""
    fit = stats.linregress(np.log(x), np.log(y))
    reach = float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr) if len(x) > 2 else float("nan")
    return {"slope": float(fit.slope), "low": float(fit.slope) - reach, "high": float(fit.slope) + reach}
