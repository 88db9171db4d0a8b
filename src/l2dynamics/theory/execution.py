"""Stage ``theory``: its tasks side by side, one core each, each kept when done: it can be interrupted anywhere."""

from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2dynamics import paths
from l2dynamics.experiments.scales import Executor, Params
from l2dynamics.results import keys, machine, tables
from l2dynamics.results.tables import Results
from l2dynamics.running import affinity, interruption, pool, stopwatch
from l2dynamics.running.progress import StageProgress
from l2dynamics.storage import archives
from l2dynamics.theory import problem, tasks
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.tasks import Work


def run(config: TheoryConfig, params: Params, root: Path) -> Results:
    """Compute everything that is not there yet.

    Args:
        config: section ``theory``.
        params: scale, first seed, source of the data and executor.
        root: the checkout.

    Raises:
        ValueError: the data or the configuration cannot be used.
        Interrupted: SIGTERM or Ctrl-C; what is trained is saved.
        JobsFailed: tasks raised; all others are finished.
        OSError: a file cannot be written.
    """
    interruption.checkpoint_seconds()
    seed, source = params.seed, params.data["source"]
    task = problem.load(config, source, root)
    largest = float(np.linalg.eigvalsh(task.kernel)[-1])
    for run in tasks.descents(config, seed).values():
        problem.require_stable(f"{run.part}.eta", run.eta, largest)
    resolved = config.model_dump(mode="json")
    depends = {"config": resolved, "seed": seed, "data": task.source.digest}
    depends["accelerated"] = affinity.accelerated()
    key = keys.key(depends, *tasks.MODULES, packages=("scipy",))
    work = Work(config, seed, source, root, paths.work(root) / "theory" / key[:16])
    with stopwatch.measured(work.folder / "wall.npz") as wall:
        _compute(work, params.executor)
    rows: list[dict[str, Any]] = []
    numbers: defaultdict[str, Any] = defaultdict(list)
    worker_seconds = 0.0
    for name in tasks.names(config, seed):
        found = archives.load(work.file(name))
        assert found is not None
        part = found[1]
        group, _, member = name.partition("@")
        if member:
            numbers[group].append(part["numbers"])
        else:
            numbers[group] = part["numbers"]
        rows += part["rows"]
        worker_seconds += part["seconds"]
    parts = (config.training, config.finite_star, config.decay, config.convergence)
    seeds = max(part.seeds for part in parts)
    passport = {
        "name": "theory",
        "scale": params.scale,
        "data": task.source.record(),
        "setup": {
            "model": "ReLU networks without biases in NTK parametrisation",
            "loss": "sum of ½ (f − y)²",
        },
        "config": resolved,
        "seeds": list(range(seed, seed + seeds)),
        "runs": 1 + sum(len(numbers[group]) for group in ("training", "test_loss", "finite_star", "decay")),
        "diverged": 0,
        "steps_per_epoch": 1,
        "classes": 2,
        "status": "done",
        "key": key,
        "pure_step_seconds": sum(
            one["seconds"]
            for one in [
                numbers["panel_c"],
                *numbers["training"],
                *numbers["test_loss"],
                *numbers["finite_star"],
            ]
        ),
        "worker_seconds": worker_seconds,
        "wall_seconds": wall.seconds,
        **machine.describe(root, "scipy"),
        "device": machine.device(),
        "numbers": numbers,
    }
    return Results("theory", pd.DataFrame(rows, columns=list(tables.POINTS.columns)), passport)


def summary(passport: Mapping[str, Any]) -> list[str]:
    """Return the three lines of the stage at its end: what was done, the main number, where to look."""
    numbers = passport["numbers"]
    fit = numbers["minimum"]["exponent"]
    return [
        f"theory: {passport['runs']} networks trained, {passport['wall_seconds']:.0f} s",
        f"time of the loss minimum ∝ λ^{fit['slope']:.3f} [{fit['low']:.3f}, {fit['high']:.3f}]; the paper: −1",
        f"look: results/{passport['scale']}/theory.csv and .json; `dvc repro fig@5`; the report has a section on it",
    ]


def _compute(work: Work, executor: Executor) -> None:
    """Compute the tasks that have left no file."""
    everything = tasks.names(work.config, work.seed)
    missing = [name for name in everything if archives.load(work.file(name)) is None]
    if not missing:
        return
    done = len(everything) - len(missing)
    order = tasks.longest_first(missing, work.config, work.seed)
    todo = [pool.Task(name, partial(tasks.execute, name, work)) for name in order]
    with StageProgress("theory", len(everything), len(missing), done, ("tasks", "tasks")) as progress:
        pool.run(todo, executor, progress, of=len(everything))
