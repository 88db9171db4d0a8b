"""Kernels of finite networks: how far from the infinitely wide one, and how they decay in training (claim 18)."""

import time

import jax.numpy as jnp
import numpy as np
from scipy import stats

from l2dynamics.theory import ntk, wide
from l2dynamics.theory.parts import Part, Tell, power_law
from l2dynamics.theory.problem import Problem
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import Array, kernel_decay


def reference_kernel(config: TheoryConfig, task: Problem, seed: int) -> tuple[Array, float]:
    """Return the empirical kernel of a network of width ``kernel_width``, and the seconds it took."""
    began = time.perf_counter()
    width = config.kernel_width
    params, _ = wide.enter(wide.init((seed, width), inputs=task.x.shape[1], width=width), task.inputs)
    return wide.kernel(params, task.inputs.train), time.perf_counter() - began


def convergence(config: TheoryConfig, task: Problem, reference: Array, seconds: float, seed: int) -> Part:
    """Distance of empirical kernels from the analytic one against width; it falls as width^(−1/2)."""
    few = config.convergence.samples
    exact, inputs = task.kernel[:few, :few], task.inputs.train[:few]
    errors: list[tuple[int, int, float]] = []
    for width in config.convergence.widths:
        for index in range(config.convergence.seeds):
            params = wide.init((seed + 1 + index, width), inputs=inputs.shape[1], width=width)
            kernel = ntk.empirical_ntk(wide.apply, params, inputs)
            errors.append((width, index, float(np.linalg.norm(kernel - exact) / np.linalg.norm(exact))))
    values = np.linalg.eigvalsh(reference)
    rows = [
        {"panel": "kernel", "curve": "error", "x": w, "y": e, "width": w, "seed": s} for w, s, e in errors
    ]
    numbers = {
        "width": config.kernel_width,
        "seconds": seconds,
        "error": float(np.linalg.norm(reference - task.kernel) / np.linalg.norm(task.kernel)),
        "eigenvalues": {"min": values[0], "median": float(np.median(values)), "max": values[-1]},
        "exponent": power_law([w for w, _, _ in errors], [e for _, _, e in errors]),
        "table": [
            {
                "width": w,
                "error": float(np.mean([e for v, _, e in errors if v == w])),
                "seeds": config.convergence.seeds,
            }
            for w in config.convergence.widths
        ],
    }
    return {"rows": rows, "numbers": numbers}


def decay(config: TheoryConfig, task: Problem, depth: int, width: int, seed: int, tell: Tell) -> Part:
    """Claim 18: slope of log ‖Θ_t‖ of one network while it trains, against −2(k−1)λ of eq. (2) with k = depth + 1."""
    part, few = config.decay, config.decay.samples
    inputs = wide.project(task.x[:few], task.x_test[:1])
    start = wide.init((seed, width, depth), inputs=task.x.shape[1], width=width, depth=depth)
    params, _ = wide.enter(start, inputs)
    steps = [round(s) for s in np.linspace(0, part.horizon / (part.l2 * part.eta), part.points)]
    times, sizes = np.array(steps) * part.eta, []
    labels = jnp.asarray(task.y[:few], jnp.float32)
    for step, now in wide.descend(params, inputs.train, labels, eta=part.eta, l2=part.l2, steps=steps):
        sizes.append(float(np.linalg.norm(wide.kernel(now, inputs.train))))
        tell(step / steps[-1])
    relative = np.array(sizes) / sizes[0]
    expected = 2 * depth * part.l2
    slope = -float(stats.linregress(times, np.log(relative)).slope)
    rows = [
        {"panel": "decay", "curve": f"depth {depth}", "x": t * part.l2, "y": v, "k": depth + 1, "l2": part.l2,
         "width": width, "depth": depth, "seed": seed}
        for t, v in zip(times, relative, strict=True)
    ]  # fmt: skip
    return {
        "rows": rows,
        "numbers": {"depth": depth, "width": width, "seed": seed, "ratio": slope / expected, "final": relative[-1],
                    "final_theory": float(kernel_decay(times[-1], l2=part.l2, k=depth + 1))},
    }  # fmt: skip
