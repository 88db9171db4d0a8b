"""The computations of stage ``theory``: each returns rows of the long table and numbers for the report.

Labels are y = +1 for even digits and −1 for odd ones; images are standardised as in training. Losses in the table are
per sample, Σ ½ (f − y)² / N, although gradient flow runs on the sum (section 4). Times are t = step · η.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from l2dynamics.data import datasets
from l2dynamics.running.interruption import checkpoint_seconds
from l2dynamics.storage import archives
from l2dynamics.theory import deep_linear, ntk, wide
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import Evolution, evolve, loss_minimum_time, mode_evolution

Array = NDArray[np.float64]
Part = dict[str, Any]
Tell = Callable[[float], None]


@dataclass(frozen=True)
class Problem:
    """MNIST, even against odd.

    Attributes:
        x: training images ``[samples, d]``, standardised; ``x_test`` the test images.
        y: ±1, ``[samples]``; ``y_test`` for the test set.
        inputs: both in the basis of the training images, for :mod:`l2dynamics.theory.wide`.
        kernel: Θ of the infinitely wide two-layer ReLU network, ``[samples, samples]``.
        kernel_test: the same, ``[test, samples]``.
        source: what was loaded.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    inputs: wide.Inputs
    kernel: Array
    kernel_test: Array
    source: datasets.Dataset


def problem(config: TheoryConfig, source: str, root: Path) -> Problem:
    """Load and standardise the images.

    Raises:
        ValueError: the data are missing or too few; the message names the remedy.
    """
    loaded = datasets.load("mnist", train=config.samples, test=config.test, source=source, root=root)

    def standardise(images: Any) -> Array:
        scaled = (np.asarray(images, np.float64) / 255 - loaded.mean) / loaded.std
        return np.asarray(scaled.reshape(len(images), -1), np.float64)

    def sign(labels: Any) -> Array:
        return np.where(np.asarray(labels) % 2 == 0, 1.0, -1.0)

    x, x_test = standardise(loaded.train_images), standardise(loaded.test_images)
    return Problem(
        x,
        sign(loaded.train_labels),
        x_test,
        sign(loaded.test_labels),
        wide.project(x, x_test),
        ntk.relu_ntk(x),
        ntk.relu_ntk(x_test, x),
        loaded,
    )


def require_stable(eta: float, eigenvalue: float) -> None:
    """Refuse a learning rate at which gradient descent on a mode with this kernel eigenvalue diverges.

    Raises:
        ValueError: η · eigenvalue ≥ 2.
    """
    if eta * eigenvalue >= 2:
        raise ValueError(
            f"theory.training.eta: {eta:g} is unstable, the largest kernel eigenvalue is {eigenvalue:.3g}: "
            f"take less than {2 / eigenvalue:.2g}"
        )


def power_law(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Fit y ∝ x^slope; ``low`` and ``high`` are the 95 % interval of the slope."""
    fit = stats.linregress(np.log(x), np.log(y))
    reach = float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr) if len(x) > 2 else float("nan")
    return {"slope": float(fit.slope), "low": float(fit.slope) - reach, "high": float(fit.slope) + reach}


def modes(config: TheoryConfig) -> Part:
    """Panels a and b of Figure 5."""
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


def reference_kernel(config: TheoryConfig, task: Problem, seed: int) -> tuple[Array, float]:
    """Return the empirical kernel of a network of width ``kernel_width``, and the seconds it took."""
    began = time.perf_counter()
    width = config.kernel_width
    params, _ = wide.enter(wide.init((seed, width), inputs=task.x.shape[1], width=width), task.inputs)
    kernel = ntk.empirical_ntk(wide.apply, params, task.inputs.train).astype(np.float64)
    return (kernel + kernel.T) / 2, time.perf_counter() - began


def kernels(config: TheoryConfig, task: Problem, reference: Array, seconds: float, seed: int) -> Part:
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
                "loss": float(0.5 * ((f - y) ** 2).sum() / len(y)),
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


@dataclass(frozen=True)
class Descent:
    """One network of panel c: λt = ``horizon`` ends it; without, a little after the predicted loss minimum."""

    width: int
    seed: int
    l2: float
    horizon: float | None = None


def _descent(
    params: wide.Params,
    offset: jax.Array,
    task: Problem,
    eta: float,
    l2: float,
    steps: list[int],
    file: Path,
    tell: Tell,
) -> tuple[Array, Array]:
    """Train and return f on the training and the test set at ``steps``; goes on from ``file`` if there is one."""
    labels = jnp.asarray(task.y, jnp.float32)
    train, test, start = [], [], 0
    if (saved := archives.load(file)) is not None:
        arrays, meta = saved
        params = tuple(jnp.asarray(arrays[f"w{i}"]) for i in range(len(params)))
        train, test, start = list(arrays["train"]), list(arrays["test"]), meta["step"]
    last = time.monotonic()

    def save(step: int, now: wide.Params) -> None:
        nonlocal last
        tell(step / steps[-1])
        if time.monotonic() - last > checkpoint_seconds():
            weights = {f"w{i}": np.asarray(w) for i, w in enumerate(now)}
            known = {"train": np.array(train), "test": np.array(test)}
            archives.save(file, {**weights, **known}, {"step": step}, keep=True)
            last = time.monotonic()

    rest = steps[len(train) :]
    for step, now in wide.descend(
        params, task.inputs.train, labels, eta=eta, l2=l2, steps=rest, start=start, on_chunk=save
    ):
        train.append(np.asarray(wide.apply(now, task.inputs.train), np.float64))
        outside = offset * jnp.float32((1 - eta * l2) ** step)
        test.append(np.asarray(wide.apply(now, task.inputs.test, outside), np.float64))
    return np.array(train), np.array(test)


def training(
    config: TheoryConfig,
    task: Problem,
    run: Descent,
    file: Path,
    tell: Tell,
    *,
    drawn: Array | None = None,
) -> Part:
    """Claim 17, Figure 5c and the test-loss minimum: one network against the theory of its own initial kernel.

    Args:
        config: all numbers.
        task: the data.
        run: the network and how long it trains.
        file: checkpoint.
        tell: told the finished fraction.
        drawn: kernel for the theory of Figure 5c; with it the curves are returned as rows.
    """
    part, l2, width, seed = config.training, run.l2, run.width, run.seed
    params, offset = wide.enter(wide.init((seed, width), inputs=task.x.shape[1], width=width), task.inputs)
    f0 = np.asarray(wide.apply(params, task.inputs.train), np.float64)
    f0_test = np.asarray(wide.apply(params, task.inputs.test, offset), np.float64)
    own = ntk.empirical_ntk(wide.apply, params, task.inputs.train).astype(np.float64)
    own_test = ntk.empirical_ntk(wide.apply, params, task.inputs.test, task.inputs.train).astype(np.float64)
    values, vectors = np.linalg.eigh((own + own.T) / 2)
    require_stable(part.eta, values[-1])
    t_min = loss_minimum_time(gamma=values.clip(0), l2=l2, k=2, y=vectors.T @ task.y, f0=vectors.T @ f0)
    end = run.horizon / l2 if run.horizon else 1.3 * min(t_min, part.horizon / l2)
    grid = np.geomspace(5 * part.eta, end, part.evaluations) / part.eta
    steps = [int(s) for s in np.unique(np.round(grid))]
    times = np.array(steps) * part.eta
    began = time.perf_counter()
    train, test = _descent(params, offset, task, part.eta, l2, steps, file, tell)
    seconds = time.perf_counter() - began

    def loss(f: Array, y: Array) -> Array:
        return 0.5 * ((f - y) ** 2).mean(axis=-1)

    own_theory = evolve((own + own.T) / 2, f0, task.y, l2, 2, times, kernel_test=own_test, f0_test=f0_test)
    infinite = evolve(task.kernel, f0, task.y, l2, 2, times, kernel_test=task.kernel_test, f0_test=f0_test)
    measured, measured_test = loss(train, task.y), loss(test, task.y_test)
    until = times <= max(t_min, times[0])
    norm = np.linalg.norm(task.y)

    def against(theory: Evolution) -> dict[str, float]:
        predicted = loss(theory.train, task.y)
        return {
            "loss": float(np.max(np.abs(measured / predicted - 1)[until])),
            "function": float(np.max(np.linalg.norm(train - theory.train, axis=1)[until]) / norm),
        }

    def lowest(curve: Array) -> dict[str, float]:
        at = int(curve.argmin())
        return {"t": float(times[at]), "loss": float(curve[at]), "inside": bool(0 < at < len(times) - 1)}

    def test_minimum(f: Array) -> dict[str, float]:
        return {**lowest(loss(f, task.y_test)), "error": float((np.sign(f[-1]) != task.y_test).mean())}

    numbers: dict[str, Any] = {
        "width": width,
        "seed": seed,
        "steps": steps[-1],
        "seconds": seconds,
        "l2": l2,
        "eta": part.eta,
        "t_min_theory": t_min,
        "t_min": lowest(measured),
        "loss_min_theory": lowest(loss(own_theory.train, task.y))["loss"],
        "deviation_own": against(own_theory),
        "deviation_infinite": against(infinite),
        "test": test_minimum(test),
        "test_own": test_minimum(_tested(own_theory)),
        "test_infinite": test_minimum(_tested(infinite)),
    }
    rows: list[dict[str, Any]] = []
    if drawn is not None:
        k1 = evolve(drawn, f0, task.y, l2, 1, times)
        k2 = evolve(drawn, f0, task.y, l2, 2, times)
        curves = {
            ("c", "theory k=1"): loss(k1.train, task.y),
            ("c", "theory k=2"): loss(k2.train, task.y),
            ("c", "experiment"): measured,
            ("test", "theory k=2"): loss(_tested(infinite), task.y_test),
            ("test", "theory k=2, own kernel"): loss(_tested(own_theory), task.y_test),
            ("test", "experiment"): measured_test,
            ("own", "theory k=2, own kernel"): loss(own_theory.train, task.y),
        }
        rows = [
            {"panel": panel, "curve": curve, "x": t, "y": v, "l2": l2, "width": width, "seed": seed}
            for (panel, curve), values_ in curves.items()
            for t, v in zip(times, values_, strict=True)
        ]
        tail = times > t_min
        numbers["deviation_after"] = float(
            np.max(np.abs(np.log10(measured / loss(k2.train, task.y)))[tail], initial=0.0)
        )
        numbers["last_l2_time"] = float(times[-1] * l2)
    return {"rows": rows, "numbers": numbers}


def _tested(evolution: Evolution) -> Array:
    assert evolution.test is not None
    return evolution.test


def decay(config: TheoryConfig, task: Problem, depth: int, width: int, seed: int, tell: Tell) -> Part:
    """Claim 18: slope of log ‖Θ_t‖ of one network while it trains, against −2(k−1)λ with k = depth + 1."""
    part, few = config.decay, config.decay.samples
    inputs = wide.project(task.x[:few], task.x_test[:1])
    start = wide.init((seed, width, depth), inputs=task.x.shape[1], width=width, depth=depth)
    params, _ = wide.enter(start, inputs)
    steps = [round(s) for s in np.linspace(0, part.horizon / (part.l2 * part.eta), part.points)]
    times, sizes = np.array(steps) * part.eta, []
    labels = jnp.asarray(task.y[:few], jnp.float32)
    for step, now in wide.descend(params, inputs.train, labels, eta=part.eta, l2=part.l2, steps=steps):
        sizes.append(float(np.linalg.norm(ntk.empirical_ntk(wide.apply, now, inputs.train))))
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
                    "final_theory": float(np.exp(-expected * times[-1]))},
    }  # fmt: skip


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
