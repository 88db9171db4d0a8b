"""The tasks of stage ``theory``: each is computed alone, on one core, and leaves one file."""

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2dynamics.storage import archives, atomic
from l2dynamics.theory import experiments as experiments
from l2dynamics.theory import lemma1
from l2dynamics.theory.schema import TheoryConfig

Part = dict[str, Any]
REFERENCE = "reference"
"""The kernel that several tasks need; no part of the results by itself."""


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


def descents(config: TheoryConfig, seed: int) -> dict[str, experiments.Descent]:
    """The networks that are trained, by the name of their task."""
    part, probe = config.training, config.test_minimum
    found = {"training@drawn": experiments.Descent(part.width, seed, part.l2, part.horizon)}
    for width in part.widths:
        for own_seed in range(seed, seed + part.seeds):
            found[f"training@{width}-{own_seed}"] = experiments.Descent(width, own_seed, part.l2)
    for l2 in probe.l2:
        found[f"test_loss@{l2:g}"] = experiments.Descent(probe.width, seed, l2, probe.horizon)
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
    single = ["modes", "kernels", "minimum", "fixed_points", "lemma1"]
    return [*single, *descents(config, seed), *decays(config, seed)]


def longest_first(tasks: list[str], config: TheoryConfig, seed: int) -> list[str]:
    """The order in which to begin: lemma1 compiles for a minute, training takes longer the wider the network."""
    widths = {name: descent.width for name, descent in descents(config, seed).items()}
    return sorted(tasks, key=lambda name: (name != "lemma1", -widths.get(name, 0)))


def execute(name: str, work: Work, tell: Callable[[float], None]) -> None:
    """Compute a task, from its checkpoint if there is one, and store it.

    Args:
        name: one of :func:`names`, or :data:`REFERENCE`.
        work: what it needs.
        tell: told the finished fraction.

    Raises:
        OSError: a file cannot be written.
    """
    began = time.perf_counter()
    if name == REFERENCE:
        _reference(work)
        return
    part = atomic.plain(_compute(name, work, tell))
    archives.save(work.file(name), {}, {**part, "seconds": time.perf_counter() - began})
    archives.remove(work.folder / f"{name}.checkpoint")


def _compute(name: str, work: Work, tell: Callable[[float], None]) -> Part:
    config, seed = work.config, work.seed
    if name == "modes":
        return experiments.modes(config)
    if name == "fixed_points":
        return experiments.fixed_points(config, seed)
    if name == "lemma1":
        return {"rows": [], "numbers": lemma1.table(seed, convolutional=config.convolutional)}
    task = _problem(config, work.source, work.root)
    if name in (own := decays(config, seed)):
        return experiments.decay(config, task, *own[name], tell)
    if name == "kernels":
        return experiments.kernels(config, task, *_reference(work), seed)
    if name == "minimum":
        return experiments.minimum(config, task, _reference(work)[0])
    drawn = _reference(work)[0] if name == "training@drawn" else None
    file = work.folder / f"{name}.checkpoint"
    return experiments.training(config, task, descents(config, seed)[name], file, tell, drawn=drawn)


@lru_cache(maxsize=1)
def _problem(config: TheoryConfig, source: str, root: Path) -> experiments.Problem:
    return experiments.problem(config, source, root)


def _reference(work: Work) -> tuple[experiments.Array, float]:
    """The empirical kernel that stands for the infinite width, and the seconds it took."""
    file = work.file(REFERENCE)
    if (saved := archives.load(file)) is not None:
        return saved[0]["kernel"], float(saved[1]["seconds"])
    task = _problem(work.config, work.source, work.root)
    kernel, seconds = experiments.reference_kernel(work.config, task, work.seed)
    archives.save(file, {"kernel": np.asarray(kernel)}, {"seconds": seconds})
    return kernel, seconds
