"""Runs as jobs that can be interrupted at any moment, and the files they leave.

A job is one run, or a bucket of runs of equal length trained in lockstep. It leaves one file under
``work/<stage>/<key>/``, where the key hashes setup, data and code, so that a finished job is never repeated and an
edited trainer never continues an old checkpoint.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from l2dynamics import paths
from l2dynamics.data import decoded
from l2dynamics.data.datasets import Dataset
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec, buckets
from l2dynamics.experiments.setup import FcModel, Setup
from l2dynamics.results import keys, machine
from l2dynamics.results.tables import Results
from l2dynamics.running import affinity, run_checkpoints
from l2dynamics.storage import archives
from l2dynamics.training.curves import Curves, table


class Tracker(Protocol):
    """Shown the runs of a sweep as they proceed; a copy of it goes to every worker."""

    def progress(self, rows: pd.DataFrame) -> None:
        """Take the evaluations of a run so far, rows of a results table."""

    def finished(self, rows: pd.DataFrame) -> None:
        """Take all evaluations of a run."""


@dataclass(frozen=True)
class Job:
    """Runs of equal length that train together, and the file they leave."""

    recipe: Recipe
    specs: tuple[RunSpec, ...]
    folder: Path

    @property
    def name(self) -> str:
        """Name of the first run and the number of others."""
        return self.specs[0].slug + (f"+{len(self.specs) - 1}" if len(self.specs) > 1 else "")

    @property
    def file(self) -> Path:
        """Where the finished runs are stored."""
        return self.folder / f"{keys.digest([spec.record() for spec in self.specs])[:16]}.npz"

    @property
    def run_steps(self) -> int:
        """Steps of the job, summed over its runs."""
        return self.specs[0].steps * len(self.specs)


class Finished(NamedTuple):
    """What a finished job left: its metrics, its seconds in training steps and altogether, its device."""

    specs: tuple[RunSpec, ...]
    curves: Curves
    pure_seconds: float
    seconds: float
    device: str


@lru_cache(maxsize=2)
def _dataset(
    name: str, train: int | None, test: int | None, size: int | None, source: str, root: Path
) -> Dataset:
    return decoded.load(name, train=train, test=test, image_size=size, source=source, root=root)


def dataset(recipe: Recipe) -> Dataset:
    """The data of a recipe, loaded once per process."""
    wanted = recipe.setup.data
    return _dataset(wanted.name, wanted.train, wanted.test, wanted.image_size, recipe.source, recipe.root)


def check(recipe: Recipe) -> int:
    """Check a setup against its data by tracing the network once, without training; return the steps per epoch.

    Raises:
        ValueError: the device or the data cannot be used, or the setup does not fit them.
    """
    import jax
    import jax.numpy as jnp

    from l2dynamics.models import networks

    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms not in ("", "cpu"):
        try:
            jax.devices()
        except Exception as error:  # an assertion of jax's, where it was built without the device
            reason = " ".join(str(error).split())[:200] or "jax finds no such device"
            raise ValueError(
                f"JAX_PLATFORMS={platforms}: {reason}: unset it, or install jax for this device"
            ) from error
    setup, data = recipe.setup, dataset(recipe)
    examples, shape = len(data.train_labels), data.train_images.shape[1:]
    if setup.batch > examples:
        raise ValueError(
            f"setup.batch: {setup.batch} is larger than the training set of {examples}: lower it"
        )
    module = networks.build(**setup.model.model_dump(), classes=data.classes, bn_group=setup.bn_group)
    x = jax.ShapeDtypeStruct((setup.bn_group or 2, *shape), jnp.float32)
    try:
        params = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), x)
        out = jax.eval_shape(lambda params, x: module.apply(params, x, train=True), params, x)
        if 0 in out.shape or any(0 in leaf.shape for leaf in jax.tree.leaves(params)):
            raise ValueError("a layer has no outputs")
    except Exception as error:
        size = " × ".join(map(str, shape))
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"setup.model: {setup.model.kind} cannot be built on images of {size} ({reason}): "
            "take larger images, smaller windows or fewer units"
        ) from error
    return setup.steps_per_epoch(examples)


def key(recipe: Recipe) -> str:
    """Hash of everything a run's numbers depend on besides its specification: setup, data, code, versions, flags."""
    parts = {
        "setup": recipe.setup.model_dump(mode="json"),
        "evaluations_per_decade": recipe.evaluations_per_decade,
        "first_evaluation": recipe.first_evaluation,
        "controller": recipe.controller.model_dump(mode="json") if recipe.controller else None,
        "data": dataset(recipe).digest,
        "accelerated": affinity.accelerated(),
    }
    if recipe.budgets:
        parts["budgets"] = recipe.budgets
    return keys.key(parts, "l2dynamics.training.sharded", "l2dynamics.training.curves")


def run_bytes(setup: Setup, inputs: int, classes: int) -> int:
    """Memory that one fully connected run of a bucket takes on the device, counted generously.

    Args:
        setup: the setup, with an ``fc`` model.
        inputs: numbers per example.
        classes: logits per example.
    """
    assert isinstance(setup.model, FcModel)
    sizes = [inputs, *[setup.model.width] * setup.model.depth, classes]
    weights = sum((a + 1) * b for a, b in pairwise(sizes))
    # Weights before and after the update, gradients, velocity or two moments; activations, their gradients, the batch.
    copies = 5 if setup.optimizer != "sgd" else 4 if setup.momentum else 3
    return 4 * (copies * weights + 2 * max(setup.batch, setup.eval_batch) * sum(sizes))


def jobs(recipe: Recipe, specs: Sequence[RunSpec]) -> list[Job]:
    """Group the runs of a recipe into jobs, longest first; a bucket is no larger than its memory allows."""
    folder = paths.work(recipe.root) / recipe.stage / key(recipe)[:16]
    size = recipe.bucket
    if size > 1:
        if not isinstance(recipe.setup.model, FcModel):
            raise ConfigError(f"{recipe.stage}: bucket: {size}: only fc nets train side by side; use 1")
        data = dataset(recipe)
        inputs = int(np.prod(data.train_images.shape[1:]))
        size = min(
            size, max(1, int(recipe.resources.memory * 1e9) // run_bytes(recipe.setup, inputs, data.classes))
        )
    return [Job(recipe, bucket, folder) for bucket in buckets(specs, size)]


def store(file: Path, curves: Curves, meta: Mapping[str, Any]) -> None:
    """Write what a finished job leaves: its curves, and ``pure_seconds``, ``seconds`` and ``device``."""
    archives.save(file, {"steps": curves.steps, **curves.values}, meta)


def load(job: Job) -> Finished | None:
    """Read a finished job; None if it has not finished or its file is damaged."""
    found = archives.load(job.file)
    if found is None:
        return None
    values, meta = found
    curves = Curves(values.pop("steps"), values)
    return Finished(job.specs, curves, meta["pure_seconds"], meta["seconds"], meta["device"])


def halves(job: Job) -> tuple[Job, Job]:
    """The two jobs that a job too large for the memory is split into."""
    middle = len(job.specs) // 2
    return replace(job, specs=job.specs[:middle]), replace(job, specs=job.specs[middle:])


def halve(job: Job) -> bool:
    """Have a job that ran out of memory trained in halves from now on; False if a single run was too much."""
    if len(job.specs) == 1:
        return False
    if not halved(job).exists():
        archives.save(halved(job), {}, {})
        run_checkpoints.forget(job.file.with_suffix(".checkpoint"))
        return True
    return next((halve(part) for part in halves(job) if load(part) is None), False)


def halved(job: Job) -> Path:
    """What says that a job is trained in halves."""
    return job.file.with_suffix(".halved")


def header(name: str, scale: str, recipe: Recipe, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a passport that is known before training."""
    data = dataset(recipe)
    return {
        "name": name,
        "scale": scale,
        "data": data.record(),
        "setup": recipe.setup.model_dump(mode="json"),
        "config": dict(config),
        "steps_per_epoch": recipe.setup.steps_per_epoch(len(data.train_labels)),
        "classes": data.classes,
        "key": key(recipe),
        **machine.describe(recipe.root),
    }


def results(
    head: Mapping[str, Any],
    finished: Sequence[Finished],
    order: Sequence[RunSpec],
    wall_seconds: float,
) -> Results:
    """Table and passport of a sweep from its header (see :func:`header`) and its finished jobs."""
    rows = table([(job.specs, job.curves) for job in finished], order, head["steps_per_epoch"])
    last = rows.groupby("run", sort=False).tail(1)
    passport = {
        **head,
        "status": "done",
        "seeds": sorted({spec.seed for spec in order}),
        "runs": len(order),
        "diverged": int(last["train_loss"].isna().sum()),
        "run_steps": sum(spec.steps for spec in order),
        "device": ", ".join(sorted({job.device for job in finished})),
        "pure_step_seconds": sum(job.pure_seconds for job in finished),
        "worker_seconds": sum(job.seconds for job in finished),
        "wall_seconds": wall_seconds,
    }
    return Results(head["name"], rows, passport)
