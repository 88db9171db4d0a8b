"""What the training stages share: checks, lock, progress, live tracking, one line for every expected failure.

The stages themselves only say which section they read and which results they write.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from l2dynamics import checkpoints, distributed, executors, history, interruption, locks, stage, sweeps
from l2dynamics.config import FIRST_EVALUATION, AutoL2Sweep, ConfigError, MeasureC, Params, Resources, Sweep
from l2dynamics.history import Results
from l2dynamics.progress import SweepProgress
from l2dynamics.runs import RunSpec
from l2dynamics.sweeps import Plan
from l2dynamics.tracking.live import Tracker

log = logging.getLogger(__name__)


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Hold the lock of a stage, see :func:`l2dynamics.locks.locked`; on several hosts the leader does."""
    with locks.locked(root, name) if distributed.crew().leader else nullcontext():
        yield


def plan(name: str, section: Sweep | AutoL2Sweep | MeasureC, params: Params, root: Path) -> Plan:
    """The plan of a section of ``scales/<scale>.yaml``; ``name`` stands in ``work/`` and on the terminal."""
    predicted = getattr(section, "predicted", None)
    return Plan(
        name,
        section.setup,
        section.evaluations,
        params.data["source"],
        root,
        getattr(section, "controller", None),
        bucket=section.bucket,
        resources=section.resources or Resources(),
        budgets=predicted.budgets if predicted else (),
        first_evaluation=getattr(section, "first_evaluation", FIRST_EVALUATION),
    )


def measured_c(root: Path, setup: str) -> float:
    """The coefficient c that stage ``measure_c`` found for a setup.

    Raises:
        ValueError: the stage has not run, or its results are damaged.
    """
    passport = history.load("measure_c", root).passport
    try:
        return float(passport["c"][setup]["c"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"results/measure_c.json has no c of {setup}: run `dvc repro measure_c`") from None


def list_runs(
    plan: Plan, params: Params, section: str, list_of: Callable[[int], list[RunSpec]]
) -> list[RunSpec]:
    """Load the data of a plan, check that its setup fits them, and list its runs.

    Args:
        plan: the setup.
        params: scale and executor.
        section: where the plan stands in ``scales/<scale>.yaml``, for messages.
        list_of: from the number of steps per epoch to the runs.

    Raises:
        ConfigError: data, setup or runs are impossible; one line that names file, field, value and remedy.
    """
    where = f"scales/{params.scale}.yaml: {section}"
    try:
        return list_of(executors.check(plan, params.executor))
    except ValueError as error:
        message = str(error)
        if message.startswith("data.source"):
            raise ConfigError(f"params.yaml: {message}") from error
        if message.startswith("data."):
            raise ConfigError(f"{where}.setup.{message}") from error
        raise ConfigError(f"{where}: {message.removeprefix(f'{section}: ')}") from error


def train(
    name: str, plan: Plan, specs: Sequence[RunSpec], params: Params, config: Mapping[str, Any]
) -> Results:
    """Train the runs of a sweep, going on from whatever an earlier call left, and return its results.

    Args:
        name: name of the results.
        plan: the setup.
        specs: the runs.
        params: scale and executor.
        config: the resolved section, for the passport.

    Raises:
        interruption.Interrupted: SIGTERM or Ctrl-C; the state is saved.
        executors.JobsFailed: jobs raised; the others are finished.
        OSError: a file cannot be written, e.g. the disk is full; whatever was stored before is intact.
    """
    began = time.perf_counter()
    interruption.checkpoint_seconds(sweeps.CHECKPOINT_SECONDS)
    jobs = sweeps.jobs(plan, specs)
    waiting = [job for job in jobs if sweeps.load(job) is None]
    header = sweeps.header(name, params.scale, plan, config)
    total = sum(job.run_steps for job in waiting)
    left = sum(len(job.specs) for job in waiting)
    if distributed.crew().leader:
        with (
            checkpoints.stopwatch(jobs[0].folder / "wall.npz") as watch,
            Tracker(name, header, plan.root) as tracker,
            SweepProgress(plan.stage, len(specs), total, len(specs) - left) as progress,
        ):
            executors.run(jobs, params.executor, progress, tracker)
        wall = watch.seconds
    else:
        executors.run(jobs, params.executor, lambda event: None)
        wall = time.perf_counter() - began
    finished = [found for job in jobs if (found := sweeps.load(job)) is not None]
    results = sweeps.results(header, plan, finished, specs, wall)
    if distributed.crew().leader:
        for line in summary(plan.stage, results):
            print(line)
            log.debug(line)
    return results


def summary(name: str, results: Results) -> list[str]:
    """Return the three lines of a stage at its end: what was done, the best run, where to look."""
    passport, table = results.passport, results.table
    done = (
        f"{name}: {passport['runs']} runs, {passport['run_steps']:,} steps, "
        f"{passport['wall_seconds']:.0f} s, {passport['diverged']} diverged"
    )
    accuracy = table["test_accuracy"]
    best = "best: none, every run diverged before its first evaluation"
    if accuracy.notna().any():
        row: Any = table.iloc[int(accuracy.argmax())]
        best = f"best: test accuracy {row['test_accuracy']:.4f} after {row['epoch']:.4g} epochs, {row['run']}"
    return [done, best, f"look: results/{results.name}.csv and .json; figures: `dvc repro`; runs: `make ui`"]


def write(results: Results, root: Path) -> None:
    """Write the results of a stage, once for all hosts."""
    if distributed.crew().leader:
        history.write(results, root)


def main(work: Callable[[Path], None]) -> None:
    """Do the work of a training stage, see :func:`l2dynamics.stage.main`; on several hosts the leader speaks."""

    def together(root: Path) -> None:
        distributed.initialize()
        work(root)

    stage.main(together, speaks=lambda: distributed.crew().leader)
