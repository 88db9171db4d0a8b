"""What theory says by itself: modes (Fig. 5a, b), the loss minimum (claim 16), deep linear fixed points (SM B.1)."""

import numpy as np
from scipy.optimize import brentq

from l2dynamics.theory import deep_linear
from l2dynamics.theory.parts import Part, power_law
from l2dynamics.theory.problem import Problem, loss
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import Array, loss_minimum_time, mode_evolution


def modes(config: TheoryConfig) -> Part:
    """Panels a and b of Figure 5, eq. (3) for k = 2 and k = 1."""
    l2, rows = config.modes.l2, []
    times = np.geomspace(0.1 / (config.modes.ratios[0] * l2), 10 / l2, 200)
    for panel, k in (("a", 2), ("b", 1)):
        for ratio in config.modes.ratios:
            f = mode_evolution(times, gamma=ratio * l2, l2=l2, k=k)
            rows += [
                {"panel": panel, "curve": "mode", "x": t, "y": v, "k": k, "gamma": ratio * l2, "l2": l2}
                for t, v in zip(times, f, strict=True)
            ]
    return {"rows": rows, "numbers": {"l2": l2, "ratios": list(config.modes.ratios)}}


def minimum(config: TheoryConfig, task: Problem, reference: Array) -> Part:
    """Claim 16: time of the minimum of the empirical loss over λ, for k = 2 and k = 1, from f0 = 0."""
    gamma, vectors = np.linalg.eigh(reference)
    gamma, y = gamma.clip(0), vectors.T @ task.y
    table = []
    for l2 in config.minimum_l2:

        def size(t: float, l2: float = l2) -> float:
            f = mode_evolution(t, gamma=gamma, l2=l2, k=2, y=y)
            return float((f**2).sum() / (y**2).sum() - 0.25)

        t2 = loss_minimum_time(gamma=gamma, l2=l2, k=2, y=y)
        f = mode_evolution(t2, gamma=gamma, l2=l2, k=2, y=y)
        table.append(
            {
                "l2": l2,
                "t_k2": t2,
                "t_k2_l2": t2 * l2,
                "t_k1": loss_minimum_time(gamma=gamma, l2=l2, k=1, y=y),
                "loss": float(loss(f, y)),
                # ‖f‖ has fallen to half of ‖y‖; NaN where it never was above.
                "t_half_l2": l2 * brentq(size, t2, 50 / l2) if size(t2) > 0 else float("nan"),
            }
        )
    times, l2s = [row["t_k2"] for row in table], list(config.minimum_l2)
    local = np.diff(np.log(times)) / np.diff(np.log(l2s))
    halves = [(row["l2"], row["t_half_l2"] / row["l2"]) for row in table if np.isfinite(row["t_half_l2"])]
    rows = [
        {"panel": "minimum", "curve": name, "x": row["l2"], "y": row[name], "k": 2, "l2": row["l2"]}
        for name in ("t_k2_l2", "t_half_l2")
        for row in table
        if np.isfinite(row[name])
    ]
    numbers = {
        "table": table,
        "exponent": power_law(l2s, times),
        "local_slopes": local.tolist(),
        "half_exponent": power_law(*zip(*halves, strict=True)) if len(halves) > 2 else None,
        "minima_k1": int(sum(np.isfinite(row["t_k1"]) for row in table)),
    }
    return {"rows": rows, "numbers": numbers}


def fixed_points(config: TheoryConfig, seed: int) -> Part:
    """Deep linear nets run to convergence, against S25 and, for L = 1, S26 with either sign."""
    part, table = config.deep_linear, []
    for depth in part.depths:
        for width in part.widths:
            for strength in part.strengths:
                l2 = strength * width ** (-depth / (depth + 1))
                found = deep_linear.converge(l2, width, depth, eta=part.eta, seed=seed)
                row = {"depth": depth, "width": width, "l2": l2, "f": found}
                row["predicted"] = deep_linear.fixed_point(l2, width, depth)
                row["printed"] = 1 + l2 * width**0.5 if depth == 1 else None
                table.append(row)
    error = max(abs(row["f"] - row["predicted"]) for row in table)
    return {"rows": [], "numbers": {"table": table, "largest_error": error}}
