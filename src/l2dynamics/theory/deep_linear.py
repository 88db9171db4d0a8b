"""Fixed points of deep linear networks with L2 regularization (SM B.1), predicted and found by gradient descent.

``f(x) = β W^L … W^0 x`` has L + 1 layers; β = n^{−L/2} is NTK normalisation. One sample with x = y = 1 and the loss
½ (f − y)². S25 then reads λ^{L+1} / β² = [(1 − f) f]^{L−1} (1 − f)², and for L = 1 f = 1 − λ√n: at a fixed point
the L2 term pulls f below the label, so that the sign printed in S26 (λ√n = f − 1) is an erratum.
"""

import math

import numpy as np
from scipy.optimize import brentq


def fixed_point(l2: float, width: int, depth: int) -> float:
    """Solve S25 for the stable non-zero fixed point of one sample x = y = 1 in NTK normalisation.

    Args:
        l2: coefficient λ > 0.
        width: n.
        depth: L ≥ 1, the number of hidden layers.

    Returns:
        f in (0, 1), the larger root; 0 if λ is so large that there is none and everything decays.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """
    if not (math.isfinite(l2) and l2 > 0):
        raise ValueError(f"l2 must be positive, got {l2}")
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be at least 1, got width={width}, depth={depth}")
    target = l2 ** (depth + 1) * float(width) ** depth

    def excess(f: float) -> float:
        return f ** (depth - 1) * (1 - f) ** (depth + 1) - target

    peak = (depth - 1) / (2 * depth)
    return float(brentq(excess, peak, 1.0, xtol=1e-14)) if excess(peak) > 0 else 0.0


def converge(
    l2: float,
    width: int,
    depth: int,
    *,
    eta: float,
    seed: int,
    tolerance: float = 1e-11,
    max_steps: int = 200_000,
) -> float:
    """Run gradient descent from W ~ N(0, 1) until f stands still, and return f.

    Args:
        l2: coefficient λ.
        width: n.
        depth: L.
        eta: learning rate.
        seed: of the initial weights.
        tolerance: largest |Δf| / η over 100 steps that counts as standing still.
        max_steps: give up after so many steps.

    Raises:
        RuntimeError: f still moves after ``max_steps`` or has diverged.
    """
    rng = np.random.default_rng(seed)
    shapes = [(width, 1), *[(width, width)] * (depth - 1), (1, width)]
    weights = [rng.standard_normal(shape) for shape in shapes]
    beta = float(width) ** (-depth / 2)
    previous = math.inf
    for step in range(max_steps + 1):
        below = [np.ones((1, 1))]  # W^{l−1} … W^0 x for every layer l
        for w in weights:
            below.append(w @ below[-1])
        f = beta * float(below[-1][0, 0])
        if step % 100 == 0:
            if not math.isfinite(f):
                break
            if abs(f - previous) < tolerance * eta and step > 1 / (eta * l2):
                return f
            previous = f
        above = np.ones((1, 1))  # W^L … W^{l+1}
        for layer in range(depth, -1, -1):
            gradient = beta * (f - 1) * above.T @ below[layer].T
            above = above @ weights[layer]
            weights[layer] = (1 - eta * l2) * weights[layer] - eta * gradient
    raise RuntimeError(
        f"the deep linear net (l2={l2:g}, width={width}, depth={depth}) has not settled: lower eta"
    )
