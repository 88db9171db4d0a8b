"""The tasks of stage ``theory``: each is computed alone, on one core, and leaves one file."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2dynamics.running import locks
from l2dynamics.running.events import Event, Report, Stop
from l2dynamics.running.interruption import Interrupted
from l2dynamics.storage import archives, atomic
from l2dynamics.theory import comparison, descent, kernels, lemma1, predictions, problem, star, widths
from l2dynamics.theory.descent import Descent
from l2dynamics.theory.parts import Part, Tell
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import Array

MODULES = tuple(module.__name__ for module in (comparison, kernels, lemma1, predictions, star, widths))
"""Whose code, with all that it imports, makes the numbers."""
_DRAWN = "panel_c"
_TO_MINIMUM = 0.5
"""About the λt at which a network without a horizon stops."""


class Work(NamedTuple):
    """What all tasks share."""

    config: TheoryConfig
    seed: int
    source: str
    root: Path
    folder: Path

    def file(self, name: str) -> Path:
        """What a finished task leaves."""
        return self.folder / f"{name}.npz"


def descents(config: TheoryConfig, seed: int) -> dict[str, Descent]:
    """The networks that are trained, by the name of their task."""
    drawn, part, probe = config.panel_c, config.training, config.test_minimum
    found = {
        _DRAWN: Descent("panel_c", drawn.width, seed, drawn.l2, drawn.eta, drawn.evaluations, drawn.horizon)
    }
    for width in part.widths:
        for own_seed in range(seed, seed + part.seeds):
            found[f"training@{width}-{own_seed}"] = Descent(
                "training", width, own_seed, part.l2, part.eta, part.evaluations
            )
    for l2 in probe.l2:
        found[f"test_loss@{l2:g}"] = Descent(
            "test_minimum", probe.width, seed, l2, probe.eta, probe.evaluations, probe.horizon
        )
    finite = config.finite_star
    for width in finite.widths:
        for l2 in finite.l2:
            for own_seed in range(seed, seed + finite.seeds):
                found[f"{widths.TASK}@{width}-{l2:g}-{own_seed}"] = Descent(
                    "finite_star", width, own_seed, l2, finite.eta, finite.evaluations, finite.horizon
                )
    return found


def decays(config: TheoryConfig, seed: int) -> dict[str, tuple[int, int, int]]:
    """Depth, width and seed of the networks whose kernel decays, by the name of their task."""
    part = config.decay
    return {
        f"decay@{depth}-{width}-{own_seed}": (depth, width, own_seed)
        for depth in part.depths
        for width in part.widths
        for own_seed in range(seed, seed + part.seeds)
    }


def names(config: TheoryConfig, seed: int) -> list[str]:
    """All tasks, in the order of the results."""
    single = ["modes", "kernels", "minimum", "test_star", "fixed_points", "lemma1"]
    return [*single, *descents(config, seed), *decays(config, seed)]


def longest_first(tasks: list[str], config: TheoryConfig, seed: int) -> list[str]:
    """The order in which to begin: lemma1 compiles for a minute, training goes by steps and size of the network."""
    # A step of a descent is products with samples × width, one of a deep network reads and writes width² weights.
    work = {
        name: run.width * (run.horizon or _TO_MINIMUM) / run.l2 / run.eta
        for name, run in descents(config, seed).items()
    }
    part = config.decay
    work |= {
        name: (depth - 1) * width**2 / config.samples * part.horizon / part.l2 / part.eta
        for name, (depth, width, _) in decays(config, seed).items()
    }
    return sorted(tasks, key=lambda name: (name != "lemma1", -work.get(name, 0.0)))


def execute(name: str, work: Work, report: Report, stop: Stop) -> None:
    """Compute a task, from its checkpoint if there is one, and store it, unless that is done.

    Args:
        name: one of :func:`names`.
        work: what it needs.
        report: told the progress.
        stop: asked whenever there is some.

    Raises:
        Interrupted: ``stop`` said so; the checkpoint, if the task has one, holds the state.
        OSError: a file cannot be written.
    """
    began, told = time.perf_counter(), 0.0

    def tell(share: float) -> None:
        nonlocal told
        report(Event(name, share - told))
        told = share
        if stop():
            raise Interrupted(name)

    tell(0.0)
    if archives.load(work.file(name)) is None:
        part = atomic.plain(_compute(name, work, tell))
        archives.save(work.file(name), {}, {**part, "seconds": time.perf_counter() - began})
    archives.remove(work.folder / f"{name}.checkpoint")
    report(Event(name, 1 - told, finished=True))


def _compute(name: str, work: Work, tell: Tell) -> Part:
    config, seed = work.config, work.seed
    if name == "modes":
        return predictions.modes(config)
    if name == "fixed_points":
        return predictions.fixed_points(config, seed)
    if name == "lemma1":
        return {"rows": [], "numbers": lemma1.table(seed, convolutional=config.convolutional)}
    task = problem.load(config, work.source, work.root)
    if name in (own := decays(config, seed)):
        return kernels.decay(config, task, *own[name], tell)
    if name == "kernels":
        return kernels.convergence(config, task, *_reference(work), seed)
    if name == "minimum":
        return predictions.minimum(config, task, _reference(work)[0])
    if name == "test_star":
        return star.compute(config, task)
    run, file = descents(config, seed)[name], work.folder / f"{name}.checkpoint"
    if name.startswith(f"{widths.TASK}@"):
        task = widths.with_test(task, config.finite_star.test)
        return widths.compare(task, run, descent.descend(task, run, file, tell))
    course = descent.descend(task, run, file, tell)
    drawn = _reference(work)[0] if name == _DRAWN else None
    return comparison.compare(task, run, course, drawn)


def _reference(work: Work) -> tuple[Array, float]:
    """The empirical kernel that stands for the infinite width, and the seconds it took; computed by who asks first."""
    file = work.file("reference")
    with locks.waiting(file.with_suffix(".lock")):
        if (saved := archives.load(file)) is None:
            task = problem.load(work.config, work.source, work.root)
            kernel, seconds = kernels.reference_kernel(work.config, task, work.seed)
            saved = {"kernel": np.asarray(kernel)}, {"seconds": seconds}
            archives.save(file, *saved)
    return saved[0]["kernel"], float(saved[1]["seconds"])
