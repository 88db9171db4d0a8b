"""Claim c7, t* of the theory's own test curve: does Theorem 1 give t* ∝ 1/λ by the paper's definition?

The network is infinitely wide, has two layers (k = 2) and starts at f = 0; the test set follows eq. (1) with the kernel
Θ_t(x, X) = Θ_0(x, X) e^{−2λt}, in closed form (:func:`l2dynamics.theory.solution.evolve`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from l2dynamics import peaks
from l2dynamics.theory import ntk
from l2dynamics.theory.parts import Part, power_law
from l2dynamics.theory.problem import Problem, signs, standardised
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import Array, evolve

CHANCE = 0.5
ABOVE = 0.01
"""The exponent is also fitted to the λ above this: below, t* is nearly that of λ = 0."""
_START = 0.1
"""The curve starts at γ_max t equal to this, when not even the fastest mode is learned."""


def accuracy(
    kernel: Array, kernel_test: Array, y: Array, y_test: Array, l2: float, times: Sequence[float] | Array
) -> Array:
    """Return the test accuracy of the infinitely wide network along gradient flow from f = 0, k = 2.

    Args:
        kernel: Θ_0 of the training set, ``[samples, samples]``.
        kernel_test: Θ_0 between test and training set, ``[test, samples]``.
        y: labels ±1, ``[samples]``.
        y_test: labels ±1 of the test set, ``[test]``.
        l2: λ ≥ 0.
        times: gradient-flow times, increasing.

    Returns:
        Fractions of correct signs, ``[times]``.
    """
    f = evolve(kernel, 0.0, y, l2, 2, times, kernel_test=kernel_test).test
    assert f is not None
    return np.asarray((np.sign(f) == y_test).mean(axis=1))


def compute(config: TheoryConfig, task: Problem) -> Part:
    """Claim c7: t* and t₉₅ of the test accuracy for each λ, and their exponents on λ; beside them λ = 0."""
    part, source = config.test_star, task.source
    kernel_test = ntk.relu_ntk(standardised(source, source.test_images[: part.test]), task.x)
    y_test = signs(source.test_labels[: part.test])
    start = _START / float(np.linalg.eigvalsh(task.kernel)[-1])

    def measure(l2: float, until: float) -> dict[str, float]:
        times = np.geomspace(start, until, int(np.ceil(part.per_decade * np.log10(until / start))) + 1)
        curve = accuracy(task.kernel, kernel_test, task.y, y_test, l2, times)
        t_star = float(peaks.star(times, curve))
        return {
            "l2": l2,
            "t_star": t_star,
            "t_star_l2": t_star * l2,
            "t_95": float(peaks.reach(times, curve, CHANCE)),
            "accuracy": float(curve.max()),
        }

    table: list[dict[str, float]] = [measure(l2, part.horizon / l2) for l2 in part.l2]
    l2s, stars = [row["l2"] for row in table], [row["t_star"] for row in table]
    upper = [row for row in table if row["l2"] > ABOVE]
    numbers: dict[str, Any] = {
        "table": table,
        "test": len(y_test),
        "exponent": power_law(l2s, stars),
        "local_slopes": (np.diff(np.log(stars)) / np.diff(np.log(l2s))).tolist(),
        "above": ABOVE,
        "exponent_above": _exponent(upper, "t_star"),
        "exponent_95": _exponent(table, "t_95"),
        # Without L2, as long as with the smallest one: the times above cannot grow beyond this one's for ever.
        "without_l2": measure(0.0, part.horizon / min(l2s)),
    }
    rows = [
        {
            "panel": "test_star",
            "curve": "t_star_l2",
            "x": row["l2"],
            "y": row["t_star_l2"],
            "k": 2,
            "l2": row["l2"],
        }
        for row in table
    ]
    return {"rows": rows, "numbers": numbers}


def _exponent(rows: Sequence[dict[str, float]], time: str) -> dict[str, float] | None:
    return power_law([row["l2"] for row in rows], [row[time] for row in rows]) if len(rows) > 1 else None
