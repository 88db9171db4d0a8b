"""Who executes the jobs of a sweep: this process, one process per core, or a Ray cluster.

On CPU two single-threaded processes, each pinned to a core, finish more small runs per hour than one process with two
threads; accelerators take one process; beyond one machine it is Ray. Either way a job is the same pure function of
its specification, on the same number of cores: the order of sums, and with it the last bits, are the same.
"""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.scales import Executor
from l2dynamics.running import hosts, interruption, pool, ray_cluster, workload
from l2dynamics.running.events import Report, Stop
from l2dynamics.running.pool import JobsFailed
from l2dynamics.running.processes import workers
from l2dynamics.running.workload import Job, Tracker


def _execute(job: Job, tracker: Tracker | None, report: Report, stop: Stop) -> None:
    # Not at the top: a process that only hands jobs to others needs no jax.
    from l2dynamics.running import train_job

    train_job.execute(job, report, stop, tracker)


def _compile_part(job: Job, part: int, parts: int) -> None:
    from l2dynamics.running import train_job

    train_job.compile_part(job, part, parts)


def _compilations(job: Job, size: int) -> list[Callable[[], None]]:
    """Have every worker compile a part of the programs; it loads the others from the persistent cache.

    Alone each would compile all of them at the same time. What fails here fails again in the job, where it is reported.
    """
    if len(job.specs) > 1 or "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        return []
    return [partial(_compile_part, job, part, size) for part in range(size)]


def check(recipe: Recipe, executor: Executor) -> int:
    """:func:`l2dynamics.running.workload.check` where the recipe will be trained; return the steps per epoch.

    This process then needs no jax, whose import takes seconds; the driver of a Ray cluster must not have it: it starts
    threads, and Ray forks. The worker processes are kept for the jobs of the recipe.

    Raises:
        ValueError: the data cannot be used, or the setup does not fit them.
    """
    apart = executor.kind == "ray" and hosts.crew().size == 1
    size = 1 if apart else workers(executor, sys.maxsize, recipe.resources.cpus)
    if not size:
        return workload.check(recipe)
    taken = pool.take(size, recipe.resources.cpus)
    try:
        checked = taken.submit(workload.check, recipe)
        workload.dataset(recipe)  # this process needs the data as well, for the keys: meanwhile
        per_epoch: int = checked.result()
    except BrokenProcessPool:
        taken.executor.shutdown()
        return workload.check(recipe)
    except BaseException:
        taken.executor.shutdown(wait=False, cancel_futures=True)
        raise
    if apart:
        taken.executor.shutdown(wait=False)
    else:
        pool.kept.append(taken)
    return per_epoch


def run(jobs: Sequence[Job], executor: Executor, report: Report, tracker: Tracker | None = None) -> None:
    """Execute the jobs that have not finished yet, longest first.

    Args:
        jobs: all jobs of the sweep; finished ones are skipped.
        executor: kind and number of workers.
        report: called in this process with the progress of every job.
        tracker: shown the runs as they proceed.

    Raises:
        Interrupted: SIGTERM or Ctrl-C; checkpoints are saved.
        JobsFailed: jobs raised; all others are finished.
        OSError: the disk is full or broken; whatever was stored before is intact.
    """
    pending = [job for job in jobs if workload.load(job) is None]
    hosts.crew().same(len(pending), "number of unfinished job")
    if not pending:
        return
    if executor.kind == "ray" and hosts.crew().size == 1:
        with interruption.stop_on_signal() as stop:
            if failures := ray_cluster.run(pending, executor, report, stop, tracker):
                raise JobsFailed("; ".join(failures))
        return
    tasks = [task(job, tracker) for job in pending]
    compile_first = partial(_compilations, pending[0])
    pool.run(tasks, executor, report, of=len(jobs), cpus=jobs[0].recipe.resources.cpus, prepare=compile_first)


def task(job: Job, tracker: Tracker | None = None) -> pool.Task:
    """A job as a task of a pool."""
    return pool.Task(job.name, partial(_execute, job, tracker), len(job.specs), partial(workload.halve, job))
