"""Eq. (1) for any differentiable loss, by an ODE solver (diffrax)."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MAX_STEPS = 1 << 20


def solve(
    kernel: Array,
    f0: Array,
    y: Array,
    l2: float,
    k: float,
    times: Array,
    loss: Callable[..., Any],
    kernel_test: Array | None,
    f0_test: Array | None,
    *,
    rtol: float = 1e-8,
    atol: float = 1e-10,
) -> tuple[Array, Array | None]:
    """Integrate df_t(x)/dt = −e^{−2(k−1)λt} Σ_{x'} Θ_0(x, x') ∂L/∂f_t(x') − λk f_t(x).

    The test set rides along: its right-hand side uses the residuals of the training set only. Arguments are
    those of :func:`l2dynamics.theory.solution.evolve`, checked there; ``rtol`` and
    ``atol`` are the tolerances of one step.

    Returns:
        f_t on the training set, ``[times, samples(, outputs)]``, and on the test set or None.

    Raises:
        RuntimeError: no solution within 2^20 steps: the loss is too stiff or f diverges.
    """
    samples = len(y)
    rows = kernel if kernel_test is None else np.concatenate([kernel, kernel_test])
    start = np.array(f0) if f0_test is None else np.concatenate([f0, f0_test])
    # 64 bits inside this block only: the network code that shares the process stays at 32.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        theta, labels = jnp.asarray(rows), jnp.asarray(y)
        gradient = jax.grad(loss)

        def speed(t: Any, f: Any, _: Any) -> Any:
            decay = jnp.exp(-2 * (k - 1) * l2 * t)
            return -decay * (theta @ gradient(f[:samples], labels)) - k * l2 * f

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(speed),
            diffrax.Tsit5(),
            t0=0.0,
            t1=float(max(times[-1], np.finfo(float).tiny)),
            dt0=None,
            y0=jnp.asarray(start),
            saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=_MAX_STEPS,
            throw=False,
        )
        if solution.result != diffrax.RESULTS.successful:
            raise RuntimeError(
                f"eq. (1) could not be integrated up to t = {times[-1]:g} with this loss: take smaller times"
            )
        f = np.asarray(solution.ys)
    return f[:, :samples], None if kernel_test is None else f[:, samples:]
