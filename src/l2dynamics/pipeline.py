"""What the training stages share: lock, progress, live tracking, one line for every expected failure.

The stages themselves only say which section they read and which results they write.
"""

import fcntl
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l2dynamics import checkpoints, distributed, executors, history, logs, paths, sweeps
from l2dynamics.config import Params
from l2dynamics.history import Results
from l2dynamics.progress import SweepProgress
from l2dynamics.runs import RunSpec
from l2dynamics.sweeps import Plan
from l2dynamics.tracking.live import Tracker

log = logging.getLogger(__name__)


@contextmanager
def locked(root: Path, stage: str) -> Iterator[None]:
    """Hold the lock of a stage, so that two processes never train the same runs.

    Raises:
        ValueError: another process holds it.
    """
    if not distributed.crew().leader:
        yield
        return
    file = paths.work(root) / stage / ".lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{stage}: another process trains it in this checkout; wait for it or stop it"
            ) from None
        yield


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
        sweeps.Interrupted: SIGTERM or Ctrl-C; the state is saved.
        executors.JobsFailed: jobs raised; the others are finished.
    """
    began = time.perf_counter()
    jobs = sweeps.jobs(plan, specs)
    waiting = [job for job in jobs if sweeps.load(job) is None]
    clock = jobs[0].folder / "wall.npz"
    spent = (checkpoints.load(clock) or ({}, {"seconds": 0.0}))[1]["seconds"]
    header = sweeps.header(name, params.scale, plan, config)
    total = sum(job.run_steps for job in waiting)
    left = sum(len(job.specs) for job in waiting)
    if distributed.crew().leader:
        try:
            with (
                Tracker(name, header, plan.root) as tracker,
                SweepProgress(plan.stage, len(specs), total, len(specs) - left) as progress,
            ):
                executors.run(jobs, params.executor, progress, tracker)
        finally:
            wall = spent + time.perf_counter() - began
            checkpoints.save(clock, {}, {"seconds": wall})
    else:
        executors.run(jobs, params.executor, lambda event: None)
        wall = spent + time.perf_counter() - began
    finished = [found for job in jobs if (found := sweeps.load(job)) is not None]
    results = sweeps.results(header, plan, finished, specs, wall)
    if distributed.crew().leader:
        for line in summary(plan.stage, results):
            print(line)
            log.debug(line)
    return results


def summary(stage: str, results: Results) -> list[str]:
    """Return the three lines of a stage at its end: what was done, the best run, where to look."""
    passport, table = results.passport, results.table
    done = (
        f"{stage}: {passport['runs']} runs, {passport['run_steps']:,} steps, "
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


def main(stage: Callable[[Path], None]) -> None:
    """Run a stage; an expected failure is one line on stderr and an exit code, never a traceback.

    Exit codes: 2 bad input or data, 1 failed runs or a file that cannot be written, 75 stopped with its state saved.
    """
    try:
        distributed.initialize()
        root = paths.find_root()
        file = logs.configure(root, sys.argv)
        log.debug("begins: %s", " ".join(sys.argv))
        stage(root)
        if distributed.crew().leader:
            print(f"log: {file.relative_to(root)}")
    except (ValueError, executors.JobsFailed, OSError) as error:
        log.debug("failed: %s", error)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError) else 1)
    except sweeps.Interrupted as error:
        log.debug("stopped: %s", error)
        print(f"stopped: {error}", file=sys.stderr)
        sys.exit(executors.INTERRUPTED)
