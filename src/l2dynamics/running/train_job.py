"""One job trained from its checkpoint to its file: restore, loop, store; in halves where memory is short."""

import logging
import time
from functools import lru_cache
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from l2dynamics.autol2 import AutoL2
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.setup import Measure, PauseClock
from l2dynamics.results import machine
from l2dynamics.running import hosts, run_checkpoints, workload
from l2dynamics.running.clock import Clock
from l2dynamics.running.events import Event, Report, Stop
from l2dynamics.running.interruption import Interrupted, checkpoint_seconds
from l2dynamics.running.workload import Job, Tracker
from l2dynamics.storage import archives
from l2dynamics.training import sharded
from l2dynamics.training.curves import Curves, join, table
from l2dynamics.training.evaluation import evaluation_steps
from l2dynamics.training.trainer import Trainer
from l2dynamics.training.update import hyper_of

log = logging.getLogger(__name__)


@lru_cache(maxsize=8)
def _trainer(recipe: Recipe, measure: Measure | None, clock: PauseClock, bucket: int | None) -> Trainer:
    if measure is None:
        return sharded.build(recipe.setup, workload.dataset(recipe), bucket)
    assert recipe.controller is not None
    rule = AutoL2(**recipe.controller.model_dump())
    return _trainer(recipe, None, "steps", bucket).with_rule(rule, measure, clock)


def execute(
    job: Job,
    report: Report = lambda event: None,
    stop: Stop = lambda: False,
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
    told = 0.0

    def tell(event: Event) -> None:
        nonlocal told
        told += event.run_steps
        report(event)

    if not workload.halved(job).exists():
        try:
            _Training(job, tell, tracker).run(stop)
            return
        except Exception as error:
            if hosts.crew().size > 1 or not _is_out_of_memory(error) or not workload.halve(job):
                raise
            half, reason = len(job.specs) // 2, " ".join(str(error).split())[:120]
        log.warning("%s: out of memory (%s): going on with %d runs at once", job.name, reason, half)
        _trainer.cache_clear()
        report(Event(job.name, -told, runs=len(job.specs)))

    def relay(event: Event) -> None:
        report(event._replace(job=job.name, finished=False, runs=len(job.specs)))

    for part in workload.halves(job):
        if workload.load(part) is None:
            execute(part, relay, stop, tracker)
    best = _join_halves(job)
    report(Event(job.name, 0, best, finished=True, runs=len(job.specs)))


def compile_part(job: Job, part: int, parts: int) -> None:
    """Compile one part of the programs that a single run needs, for this process and the persistent cache."""
    first = job.specs[0]
    trainer = _trainer(job.recipe, first.measure, first.clock, None)
    if trainer.mesh is None:
        longest, *others = trainer.programs(hyper_of(job.recipe.setup, job.specs))
        for program in [longest] if part == 0 else others[part - 1 :: parts - 1]:
            program()


def _is_out_of_memory(error: Exception) -> bool:
    # XLA has one exception for everything; its status code is the beginning of the message.
    return isinstance(error, MemoryError) or (
        type(error).__name__ in {"JaxRuntimeError", "XlaRuntimeError"}
        and str(error).startswith("RESOURCE_EXHAUSTED")
    )


def _join_halves(job: Job) -> float:
    """Store the finished halves of a job as its own file; return its best test accuracy."""
    parts = [found for part in workload.halves(job) if (found := workload.load(part)) is not None]
    curves = join([part.curves for part in parts])
    meta = {
        "pure_seconds": sum(part.pure_seconds for part in parts),
        "seconds": sum(part.seconds for part in parts),
        "device": parts[0].device,
    }
    workload.store(job.file, curves, meta)
    for part in workload.halves(job):
        archives.remove(part.file)
    archives.remove(workload.halved(job))
    return curves.best()


class _Training:
    """A job in training: what :meth:`run` advances, and what a checkpoint holds of it."""

    def __init__(self, job: Job, report: Report, tracker: Tracker | None) -> None:
        self._began = time.perf_counter()
        self.job, self._report, self._tracker = job, report, tracker
        recipe, first = job.recipe, job.specs[0]
        self.crew = hosts.crew()
        bucket = len(job.specs) if len(job.specs) > 1 else None
        self.trainer = _trainer(recipe, first.measure, first.clock, bucket)
        self.hyper = hyper_of(recipe.setup, job.specs)
        budgets = [round(epochs * self.trainer.steps_per_epoch) for epochs in recipe.budgets]
        self.curves = Curves(
            evaluation_steps(first.steps, recipe.evaluations_per_decade, recipe.first_evaluation, budgets)
        )
        self.state, self.step = self.trainer.init(self.hyper), 0
        self._spent = self._pure = 0.0
        self._clock = Clock(self.crew)
        self._restore()
        self._told = self.step
        self._saved_at = time.perf_counter()

    @property
    def _checkpoint(self) -> Path:
        return self.job.file.with_suffix(".checkpoint")

    def _restore(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        if (saved := run_checkpoints.newest(self._checkpoint)) is not None:
            arrays, meta = saved
            structure = jax.tree.structure(self.state)
            leaves = [jax.numpy.asarray(arrays.pop(f"leaf{i}")) for i in range(structure.num_leaves)]
            self.state, self.step = jax.tree.unflatten(structure, leaves), meta["step"]
            self.curves = Curves(self.curves.steps, arrays)
            self._spent, self._pure = meta["seconds"], meta["pure_seconds"]
            if self.trainer.mesh is not None:
                self.state = sharded.replicate(self.state, self.trainer.mesh)
        self.crew.same(self.step, "checkpoint")

    def run(self, stop: Stop) -> None:
        """Train to the end and store the results.

        Raises:
            Interrupted: ``stop`` said so; the checkpoint holds the state.
        """
        self._tell()
        for index, target in enumerate(self.curves.steps):
            if target < self.step:
                continue
            self._advance(int(target), stop)
            if self.curves.record(index, self.trainer.evaluate(self.state, self.hyper)):
                self.step = int(self.curves.steps[-1])
                break
            if self._tracker is not None and len(self.job.specs) == 1:
                self._tracker.progress(self._rows(self.curves.until(index + 1)))
        self._store()

    def _advance(self, target: int, stop: Stop) -> None:
        interval = checkpoint_seconds()
        pieces = self._clock.pieces(self.trainer, self.state, self.hyper, self.step, target)
        for self.step, self.state in pieces:
            self._tell()
            if self.crew.any(stop()):
                self._save()
                raise Interrupted(self.job.name)
            if self.crew.any(time.perf_counter() - self._saved_at > interval):
                self._save()
                self._saved_at = time.perf_counter()

    def _seconds(self) -> dict[str, float]:
        return {
            "seconds": self._spent + time.perf_counter() - self._began,
            "pure_seconds": self._pure + self._clock.pure_seconds,
        }

    def _save(self) -> None:
        arrays = {f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(self.state))}
        run_checkpoints.save(
            self._checkpoint,
            {**arrays, **self.curves.values},
            {"step": self.step, **self._seconds()},
            sharded=self.trainer.mesh is not None,
        )

    def _store(self) -> None:
        if self.crew.leader:
            meta = {**self._seconds(), "device": machine.device()}
            workload.store(self.job.file, self.curves, meta)
            run_checkpoints.forget(self._checkpoint)
        self.crew.see(self.job.file.exists, self.job.file)
        self._tell(finished=True)
        if self._tracker is not None:
            for _, run in self._rows(self.curves).groupby("run", sort=False):
                self._tracker.finished(run)

    def _rows(self, curves: Curves) -> pd.DataFrame:
        return table([(self.job.specs, curves)], self.job.specs, self.trainer.steps_per_epoch)

    def _tell(self, finished: bool = False) -> None:
        l2 = float(np.min(np.asarray(self.trainer.l2(self.state, self.hyper))))
        done = (self.step - self._told) * len(self.job.specs)
        self._report(Event(self.job.name, done, self.curves.best(), l2, finished, len(self.job.specs)))
        self._told = self.step
