"""What the training stages share: checks, lock, progress, live tracking, one line for every expected failure.

The stages themselves only say which section they read and which results they write.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from l2dynamics import paths
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.experiments.scales import Params
from l2dynamics.pipeline import stage
from l2dynamics.results import source_code, tables
from l2dynamics.results.tables import Results
from l2dynamics.running import executors, hosts, interruption, locks, stopwatch, workload
from l2dynamics.running.progress import StageProgress
from l2dynamics.tracking.live import Tracker

# Seconds of training before its runs are shown in MLflow while they train.
_LIVE_AFTER = 15.0


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Hold the lock of a stage, see :func:`l2dynamics.running.locks.locked`; on several hosts the leader does."""
    with locks.locked(root, name) if hosts.crew().leader else nullcontext():
        yield


def measured_c(root: Path, setup: str) -> float:
    """The coefficient c that stage ``measure_c`` found for a setup.

    Raises:
        ValueError: the stage has not run, or its results are damaged.
    """
    passport = tables.load("measure_c", root).passport
    try:
        return float(passport["c"][setup]["c"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"results of measure_c: no c of {setup}: run `dvc repro measure_c`") from None


@contextmanager
def complaints_about(params: Params, section: str) -> Iterator[None]:
    """Name the file and the section in what is wrong with data, setup or runs.

    Raises:
        ConfigError: in place of a ValueError of the block; one line that names file, field, value and remedy.
    """
    where = f"scales/{params.scale}.yaml: {section}"
    try:
        yield
    except ValueError as error:
        message = str(error)
        if message.startswith("JAX_PLATFORMS"):
            raise ConfigError(message) from error
        if message.startswith("data.source"):
            raise ConfigError(f"params.yaml: {message}") from error
        if message.startswith("data."):
            raise ConfigError(f"{where}.setup.{message}") from error
        raise ConfigError(f"{where}: {message.removeprefix(f'{section}: ')}") from error


def train(
    name: str, recipe: Recipe, specs: Sequence[RunSpec], params: Params, config: Mapping[str, Any]
) -> Results:
    """Train the runs of a sweep, going on from whatever an earlier call left, and return its results.

    Args:
        name: name of the results.
        recipe: the setup.
        specs: the runs.
        params: scale and executor.
        config: the resolved section, for the passport.

    Raises:
        interruption.Interrupted: SIGTERM or Ctrl-C; the state is saved.
        executors.JobsFailed: jobs raised; the others are finished.
        OSError: a file cannot be written, e.g. the disk is full; whatever was stored before is intact.
    """
    began = time.perf_counter()
    interruption.checkpoint_seconds()
    jobs = workload.jobs(recipe, specs)
    waiting = [job for job in jobs if workload.load(job) is None]
    header = workload.header(name, params.scale, recipe, config)
    total = sum(job.run_steps for job in waiting)
    left = sum(len(job.specs) for job in waiting)
    if hosts.crew().leader:
        with (
            stopwatch.measured(jobs[0].folder / "wall.npz") as watch,
            Tracker(name, header, recipe.root, delay=_LIVE_AFTER) as tracker,
            StageProgress(recipe.stage, len(specs), total, len(specs) - left) as progress,
        ):
            executors.run(jobs, params.executor, progress, tracker)
        wall = watch.seconds
    else:
        executors.run(jobs, params.executor, lambda event: None)
        wall = time.perf_counter() - began
    finished = [found for job in jobs if (found := workload.load(job)) is not None]
    return workload.results(header, finished, specs, wall)


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
    return [done, best, f"look: {results.file} and .json; figures: `dvc repro`; runs: `make ui`"]


def write(results: Results, root: Path, stage_name: str) -> None:
    """Write the results of a stage, once for all hosts, and only then say what was done."""
    if hosts.crew().leader:
        tables.write(results, root)
        stage.conclude(summary(stage_name, results))


def _compare_code(root: Path) -> None:
    """Refuse to train with other code than ``data/code/<stage>.txt`` lists: the results would be recorded under it.

    A copy of the stages without the package has nothing to compare.

    Raises:
        ConfigError: it is other code.
    """
    script = Path(sys.argv[0]).resolve()
    listed = paths.code(root) / f"{script.stem}.txt"
    if not (root / "src").is_dir() or not listed.is_file():
        return
    if source_code.listing(root, script) != listed.read_text(encoding="utf-8"):
        raise ConfigError(
            f"the code has changed since {listed.relative_to(root)} was written, which the results would be recorded "
            f"under: run `dvc repro code` first, or the stage by `dvc repro`"
        )


def main(work: Callable[[Path], None]) -> None:
    """As :func:`l2dynamics.pipeline.stage.main` for a training stage; on several hosts the leader speaks."""

    def together(root: Path) -> None:
        hosts.initialize()
        _compare_code(root)
        work(root)

    stage.main(together, speaks=lambda: hosts.crew().leader)
