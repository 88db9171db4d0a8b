"""Gradient descent on one wide two-layer network, with its own kernel at the start (section 4, Fig. 5c)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from l2dynamics.running.interruption import Interrupted, checkpoint_seconds
from l2dynamics.storage import archives
from l2dynamics.theory import wide
from l2dynamics.theory.parts import Tell
from l2dynamics.theory.problem import Problem, require_stable
from l2dynamics.theory.solution import Array, Evolution, loss_minimum_time

_FIRST_STEP = 5
_BEYOND = 1.5
"""A network without a horizon of its own is trained for so many times the predicted time of the loss minimum: one whose
minimum is late by more than claim 17 allows still shows when it comes."""
_LATEST = 1.0
"""λt at which such a network stops if the theory has no minimum before it."""


@dataclass(frozen=True)
class Descent:
    """One network, a member of section ``part``: λt = ``horizon`` ends it, or else soon after the loss minimum.

    ``evaluations`` of its function are log-spaced in time.
    """

    part: str
    width: int
    seed: int
    l2: float
    eta: float
    evaluations: int
    horizon: float | None = None


@dataclass(frozen=True)
class Course:
    """A trained network.

    Attributes:
        t_min: time of the minimum of the training loss by eq. (3) with the network's own kernel, k = 2.
        f: its function at ``times`` = step · η on both sets; ``steps`` is the number of the last step.
        f0: f at the start on the training set, ``[samples]``; ``f0_test`` on the test set.
        kernel: Θ_0 of the network, ``[samples, samples]``; ``kernel_test`` is ``[test, samples]``.
        seconds: spent in training by the last call.
    """

    t_min: float
    f: Evolution
    steps: int
    f0: Array
    f0_test: Array
    kernel: Array
    kernel_test: Array
    seconds: float


def descend(task: Problem, run: Descent, file: Path, tell: Tell) -> Course:
    """Train one network.

    Args:
        task: the data.
        run: the network and how long it trains.
        file: checkpoint; training goes on from it if it is there.
        tell: told the finished fraction.

    Raises:
        Interrupted: ``tell`` said so; the checkpoint holds the state.
        ValueError: η is too large for the network's kernel.
    """
    drawn = wide.init((run.seed, run.width), inputs=task.x.shape[1], width=run.width)
    params, offset = wide.enter(drawn, task.inputs)

    def functions(now: wide.Params, step: int) -> tuple[Array, Array]:
        outside = offset * jnp.float32((1 - run.eta * run.l2) ** step)
        found = wide.apply(now, task.inputs.train), wide.apply(now, task.inputs.test, outside)
        return np.asarray(found[0], np.float64), np.asarray(found[1], np.float64)

    f0, f0_test = functions(params, 0)
    kernel = wide.kernel(params, task.inputs.train)
    kernel_test = wide.kernel(params, task.inputs.test, task.inputs.train, offset)
    gamma, vectors = np.linalg.eigh(kernel)
    require_stable(f"{run.part}.eta", run.eta, gamma[-1])
    t_min = loss_minimum_time(gamma=gamma.clip(0), l2=run.l2, k=2, y=vectors.T @ task.y, f0=vectors.T @ f0)
    end = run.horizon / run.l2 if run.horizon else min(_BEYOND * t_min, _LATEST / run.l2)
    grid = np.geomspace(_FIRST_STEP * run.eta, end, run.evaluations) / run.eta
    steps = [int(s) for s in np.unique(np.round(grid))]
    began = time.monotonic()
    train, test = _train(params, task, run, steps, functions, file, tell)
    seconds = time.monotonic() - began
    f = Evolution(np.array(steps) * run.eta, train, test)
    return Course(t_min, f, steps[-1], f0, f0_test, kernel, kernel_test, seconds)


def _train(
    params: wide.Params,
    task: Problem,
    run: Descent,
    steps: list[int],
    functions: Callable[[wide.Params, int], tuple[Array, Array]],
    file: Path,
    tell: Tell,
) -> tuple[Array, Array]:
    """Train, going on from ``file``, and return what ``functions`` says at ``steps``."""
    train, test, start = [], [], 0
    if (saved := archives.load(file)) is not None:
        arrays, meta = saved
        params = tuple(jnp.asarray(arrays[f"w{i}"]) for i in range(len(params)))
        train, test, start = list(arrays["train"]), list(arrays["test"]), meta["step"]
    last = time.monotonic()

    def save(step: int, now: wide.Params) -> None:
        weights = {f"w{i}": np.asarray(w) for i, w in enumerate(now)}
        known = {"train": np.array(train), "test": np.array(test)}
        archives.save(file, {**weights, **known}, {"step": step}, keep=True)

    def watch(step: int, now: wide.Params) -> None:
        nonlocal last
        try:
            tell(step / steps[-1])
        except Interrupted:
            save(step, now)
            raise
        if time.monotonic() - last > checkpoint_seconds():
            save(step, now)
            last = time.monotonic()

    labels, rest = jnp.asarray(task.y, jnp.float32), steps[len(train) :]
    for step, now in wide.descend(
        params, task.inputs.train, labels, eta=run.eta, l2=run.l2, steps=rest, start=start, on_chunk=watch
    ):
        inside, outside = functions(now, step)
        train.append(inside)
        test.append(outside)
    return np.array(train), np.array(test)
