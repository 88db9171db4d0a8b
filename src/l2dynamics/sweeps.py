"""Runs that can be interrupted at any moment: from run specifications to a results table.

A job is one run, or a bucket of runs of equal length trained in lockstep. It leaves one file under
``work/<stage>/<key>/``, where the key hashes setup, data and code, so that a finished job is never repeated and an
edited trainer never continues an old checkpoint.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from l2dynamics import checkpoints, distributed, machine, paths
from l2dynamics.closure import code_key
from l2dynamics.config import FIRST_EVALUATION, Controller, FcModel, Measure, Resources, Setup
from l2dynamics.history import COLUMNS, Results
from l2dynamics.interruption import Interrupted, checkpoint_seconds
from l2dynamics.runs import RunSpec, buckets
from l2dynamics.tracking.live import Tracker

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 15.0


@dataclass(frozen=True)
class Plan:
    """One setup to train: everything that the runs of a sweep share, small enough to send to a worker."""

    stage: str
    setup: Setup
    evaluations: int
    source: str
    root: Path
    controller: Controller | None = None
    bucket: int = 1
    resources: Resources = field(default_factory=Resources)
    budgets: tuple[
        float, ...
    ] = ()  # epochs at which every run is evaluated besides, for a comparison at equal times
    first_evaluation: float = FIRST_EVALUATION  # as a fraction of a run's length


class Event(NamedTuple):
    """Progress of a job: run-steps done since the last event, best test accuracy so far, λ in force, number of runs."""

    job: str
    run_steps: int
    best: float
    l2: float
    finished: bool
    runs: int = 1
    failed: bool = False


@dataclass(frozen=True)
class Job:
    """Runs of equal length that train together, and the file they leave."""

    plan: Plan
    specs: tuple[RunSpec, ...]
    folder: Path

    @property
    def name(self) -> str:
        """Name of the first run and the number of others."""
        return self.specs[0].slug + (f"+{len(self.specs) - 1}" if len(self.specs) > 1 else "")

    @property
    def file(self) -> Path:
        """Where the finished runs are stored."""
        digest = hashlib.sha256(_json([spec.record() for spec in self.specs])).hexdigest()[:16]
        return self.folder / f"{digest}.npz"

    @property
    def run_steps(self) -> int:
        """Steps of the job, summed over its runs."""
        return self.specs[0].steps * len(self.specs)


class Finished(NamedTuple):
    """What a finished job left: metrics ``[runs, evaluations, 6]`` at ``steps``, its time in training, its device."""

    specs: tuple[RunSpec, ...]
    steps: np.ndarray
    metrics: np.ndarray
    pure_seconds: float
    seconds: float
    device: str = ""


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@lru_cache(maxsize=2)
def _dataset(
    name: str, train: int | None, test: int | None, size: int | None, source: str, root: Path
) -> Any:
    from l2dynamics import decoded

    return decoded.load(name, train=train, test=test, image_size=size, source=source, root=root)


def dataset(plan: Plan) -> Any:
    """The data of a plan, loaded once per process."""
    wanted = plan.setup.data
    return _dataset(wanted.name, wanted.train, wanted.test, wanted.image_size, plan.source, plan.root)


def check(plan: Plan) -> int:
    """Check a setup against its data by tracing the network once, without training; return the steps per epoch.

    Raises:
        ValueError: the data cannot be used, or the setup does not fit them.
    """
    import jax
    import jax.numpy as jnp

    from l2dynamics import models
    from l2dynamics.training import steps_per_epoch

    setup, data = plan.setup, dataset(plan)
    examples, shape = len(data.train_labels), data.train_images.shape[1:]
    if setup.batch > examples:
        raise ValueError(
            f"setup.batch: {setup.batch} is larger than the training set of {examples}: lower it"
        )
    module = models.build(**setup.model.model_dump(), classes=data.classes, bn_group=setup.bn_group)
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
    return steps_per_epoch(setup, examples)


def key(plan: Plan) -> str:
    """Hash of everything a run's numbers depend on besides its specification: setup, data, code, versions, flags."""
    parts = {
        "setup": plan.setup.model_dump(mode="json"),
        "evaluations": plan.evaluations,
        "first_evaluation": plan.first_evaluation,
        "controller": plan.controller.model_dump(mode="json") if plan.controller else None,
        "data": dataset(plan).digest,
        "code": code_key("l2dynamics.training"),
        "versions": machine.versions(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    if plan.budgets:
        parts["budgets"] = plan.budgets
    return hashlib.sha256(_json(parts)).hexdigest()


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
    # Weights before and after the update, gradients, velocity; activations, their gradients, the batch.
    copies = 4 if setup.momentum else 3
    return 4 * (copies * weights + 2 * max(setup.batch, setup.eval_batch) * sum(sizes))


def jobs(plan: Plan, specs: Sequence[RunSpec]) -> list[Job]:
    """Group the runs of a plan into jobs, longest first; a bucket is no larger than its memory allows."""
    folder = paths.work(plan.root) / plan.stage / key(plan)[:16]
    size = plan.bucket
    if size > 1:
        data = dataset(plan)
        inputs = int(np.prod(data.train_images.shape[1:]))
        size = min(
            size, max(1, int(plan.resources.memory * 1e9) // run_bytes(plan.setup, inputs, data.classes))
        )
    return [Job(plan, bucket, folder) for bucket in buckets(specs, size)]


def load(job: Job) -> Finished | None:
    """Read a finished job; None if it has not finished or its file is damaged."""
    found = checkpoints.load(job.file)
    if found is None:
        return None
    arrays, meta = found
    times = meta["pure_seconds"], meta["seconds"]
    return Finished(job.specs, arrays["steps"], arrays["metrics"], *times, meta.get("device", "unknown"))


@lru_cache(maxsize=8)
def _trainer(plan: Plan, measure: Measure | None, bucket: int | None) -> Any:
    if measure is not None:
        from l2dynamics.autol2 import AutoL2

        assert plan.controller is not None
        controller = AutoL2(**plan.controller.model_dump())
        return _trainer(plan, None, bucket).with_controller(controller, measure)
    mesh = None if bucket is not None else distributed.mesh(plan.setup.batch)
    return distributed.trainer_class(mesh)(plan.setup, dataset(plan), bucket=bucket, mesh=mesh)


def execute(
    job: Job,
    report: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    tracker: Tracker | None = None,
) -> None:
    """Train a job to its end, from its checkpoint if there is one, and store the finished runs.

    Diverged runs keep their rows, with NaN from the divergence on. A bucket that does not fit into memory goes on in
    halves; its file is the same.

    Args:
        job: what to train.
        report: called after every piece of training.
        stop: asked after every piece of training; True saves a checkpoint and ends the job.
        tracker: shown the run's evaluations as they come in.

    Raises:
        Interrupted: ``stop`` said so; the checkpoint holds the state.
    """
    told = 0

    def tell(event: Event) -> None:
        nonlocal told
        told += event.run_steps
        report(event)

    if not _halved(job).exists():
        try:
            _train(job, tell, stop, tracker)
            return
        except Exception as error:
            if distributed.crew().size > 1 or not _is_out_of_memory(error) or not halve(job):
                raise
            half, reason = len(job.specs) // 2, " ".join(str(error).split())[:120]
        log.warning("%s: out of memory (%s): going on with %d runs at once", job.name, reason, half)
        _trainer.cache_clear()
        report(Event(job.name, -told, float("nan"), float("nan"), False, len(job.specs)))

    def relay(event: Event) -> None:
        report(event._replace(job=job.name, finished=False, runs=len(job.specs)))

    for part in halves(job):
        if load(part) is None:
            execute(part, relay, stop, tracker)
    best = _join(job)
    report(Event(job.name, 0, best, float("nan"), True, len(job.specs)))


def compile_part(job: Job, part: int, parts: int) -> None:
    """Compile one part of the programs that a single run dispatches, for this process and the persistent cache."""
    from l2dynamics.training import hyper_of

    trainer = _trainer(job.plan, job.specs[0].measure, None)
    if trainer.dispatched and trainer.mesh is None:
        longest, *others = trainer.programs(hyper_of(job.plan.setup, job.specs))
        for program in [longest] if part == 0 else others[part - 1 :: parts - 1]:
            program()


def halves(job: Job) -> tuple[Job, Job]:
    """The two jobs that a job too large for the memory is split into."""
    middle = len(job.specs) // 2
    return replace(job, specs=job.specs[:middle]), replace(job, specs=job.specs[middle:])


def halve(job: Job) -> bool:
    """Have a job that ran out of memory trained in halves from now on; False if a single run was too much."""
    if len(job.specs) == 1:
        return False
    if not _halved(job).exists():
        checkpoints.save(_halved(job), {}, {})
        distributed.forget(job.file.with_suffix(".checkpoint"))
        return True
    return next((halve(part) for part in halves(job) if load(part) is None), False)


def _halved(job: Job) -> Path:
    return job.file.with_suffix(".halved")


def _is_out_of_memory(error: Exception) -> bool:
    # XLA has one exception for everything; its status code is the beginning of the message.
    return isinstance(error, MemoryError) or (
        type(error).__name__ in {"JaxRuntimeError", "XlaRuntimeError"}
        and str(error).startswith("RESOURCE_EXHAUSTED")
    )


def _join(job: Job) -> float:
    """Store the finished halves of a job as its own file; return its best test accuracy."""
    parts = [found for part in halves(job) if (found := load(part)) is not None]
    metrics = np.concatenate([part.metrics for part in parts])
    meta = {
        "pure_seconds": sum(part.pure_seconds for part in parts),
        "seconds": sum(part.seconds for part in parts),
    }
    checkpoints.save(job.file, {"steps": parts[0].steps, "metrics": metrics}, meta)
    for part in halves(job):
        checkpoints.remove(part.file)
    checkpoints.remove(_halved(job))
    tested = metrics[..., 3]
    return float(np.nanmax(tested)) if np.isfinite(tested).any() else float("nan")


def _train(
    job: Job, report: Callable[[Event], None], stop: Callable[[], bool], tracker: Tracker | None
) -> None:
    import jax

    from l2dynamics.training import evaluation_steps, hyper_of

    began = time.perf_counter()
    crew = distributed.crew()
    bucket = len(job.specs) if len(job.specs) > 1 else None
    trainer = _trainer(job.plan, job.specs[0].measure, bucket)
    hyper = hyper_of(job.plan.setup, job.specs)
    steps = evaluation_steps(job.specs[0].steps, job.plan.evaluations, job.plan.first_evaluation)
    budgets = [round(epochs * trainer.steps_per_epoch) for epochs in job.plan.budgets]
    steps = np.union1d(steps, [budget for budget in budgets if budget < steps[-1]]).astype(np.int64)
    metrics = np.full((len(job.specs), len(steps), 6), np.nan)
    checkpoint = job.file.with_suffix(".checkpoint")

    state, step, spent, pure = trainer.init(hyper), 0, 0.0, 0.0
    if (saved := distributed.newest(checkpoint)) is not None:
        arrays, meta = saved
        structure = jax.tree.structure(state)
        leaves = [jax.numpy.asarray(arrays[f"leaf{i}"]) for i in range(structure.num_leaves)]
        state, step = jax.tree.unflatten(structure, leaves), meta["step"]
        metrics, spent, pure = arrays["metrics"], meta["seconds"], meta["pure_seconds"]
        if trainer.mesh is not None:
            state = distributed.replicate(state, trainer.mesh)
    crew.same(step, "checkpoint")

    clock, last_saved, reported = crew.clock(), time.perf_counter(), step
    interval = checkpoint_seconds(CHECKPOINT_SECONDS)

    def save() -> None:
        arrays = {f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}
        seconds = spent + time.perf_counter() - began
        meta = {"step": step, "seconds": seconds, "pure_seconds": pure + clock.pure_seconds}
        distributed.save(checkpoint, {**arrays, "metrics": metrics}, meta, trainer.mesh)

    def tell(finished: bool = False) -> None:
        nonlocal reported
        tested = metrics[..., 3]
        best = float(np.nanmax(tested)) if np.isfinite(tested).any() else float("nan")
        l2 = float(np.min(np.asarray(trainer.l2(state, hyper))))
        done = (step - reported) * len(job.specs)
        report(Event(job.name, done, best, l2, finished, len(job.specs)))
        reported = step

    tell()
    for index, target in enumerate(steps):
        if target < step:
            continue
        for reached, advanced in clock.pieces(trainer, state, hyper, step, int(target)):
            step, state = reached, advanced
            tell()
            if crew.any(stop()):
                save()
                raise Interrupted(job.name)
            if crew.any(time.perf_counter() - last_saved > interval):
                save()
                last_saved = time.perf_counter()
        metrics[:, index] = trainer.evaluate(state, hyper).reshape(len(job.specs), 6)
        # A diverged run is data: NaN from here on in every column but λ.
        lost = ~np.isfinite(metrics[:, index, [0, 2, 4]]).all(axis=1)
        metrics[lost, index, :5] = np.nan
        if lost.all():
            step = int(steps[-1])
            metrics[:, index:, 5] = metrics[:, index : index + 1, 5]
            break
        if tracker is not None and len(job.specs) == 1:
            so_far = Finished(job.specs, steps[: index + 1], metrics[:, : index + 1], 0.0, 0.0)
            tracker.progress(table([so_far], job.specs, trainer.steps_per_epoch))
    arrays = {"steps": steps, "metrics": metrics}
    seconds = spent + time.perf_counter() - began
    device = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"
    times = {"pure_seconds": pure + clock.pure_seconds, "seconds": seconds, "device": device}
    if crew.leader:
        checkpoints.save(job.file, arrays, times)
        distributed.forget(checkpoint)
    crew.see(job.file.exists, job.file)
    tell(finished=True)
    if tracker is not None:
        rows = table([Finished(job.specs, steps, metrics, 0.0, 0.0)], job.specs, trainer.steps_per_epoch)
        for _, run in rows.groupby("run", sort=False):
            tracker.finished(run)


def table(finished: Sequence[Finished], order: Sequence[RunSpec], per_epoch: int) -> pd.DataFrame:
    """Long table of finished jobs, runs in the given order, columns as in :mod:`l2dynamics.history`."""
    frames = {}
    for job in finished:
        for spec, metrics in zip(job.specs, job.metrics, strict=True):
            frame = pd.DataFrame(
                {
                    "run": spec.slug,
                    "group": spec.group,
                    "eta": spec.eta,
                    "l2": metrics[:, 5] if spec.measure else spec.l2,
                    "seed": spec.seed,
                    "sigma_w": spec.sigma_w,
                    "budget": spec.epochs,
                    "step": job.steps,
                    "epoch": job.steps / per_epoch,
                    "train_loss": metrics[:, 0],
                    "train_accuracy": metrics[:, 1],
                    "test_loss": metrics[:, 2],
                    "test_accuracy": metrics[:, 3],
                    "l2_norm": metrics[:, 4],
                }
            )
            frames[spec] = frame[list(COLUMNS)]
    return pd.concat([frames[spec] for spec in order], ignore_index=True)


def header(name: str, scale: str, plan: Plan, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a passport that is known before training."""
    data = dataset(plan)
    return {
        "name": name,
        "scale": scale,
        "data": {
            "name": data.name,
            "source": data.source,
            "version": data.version,
            "train": len(data.train_labels),
            "test": len(data.test_labels),
            "image_size": int(data.train_images.shape[1]),
            "digest": data.digest,
        },
        "setup": plan.setup.model_dump(mode="json"),
        "config": dict(config),
        "steps_per_epoch": plan.setup.steps_per_epoch(len(data.train_labels)),
        "classes": data.classes,
        "key": key(plan),
        **machine.describe(plan.root),
    }


def results(
    head: Mapping[str, Any],
    plan: Plan,
    finished: Sequence[Finished],
    order: Sequence[RunSpec],
    wall_seconds: float,
) -> Results:
    """Table and passport of a sweep from its header (see :func:`header`) and its finished jobs."""
    rows = table(finished, order, head["steps_per_epoch"])
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
