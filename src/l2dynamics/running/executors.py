"""Who executes the jobs of a sweep: this process, one process per core, or a Ray cluster.

On CPU two single-threaded processes, each pinned to a core, finish more small runs per hour than one process with two
threads; accelerators take one process; beyond one machine it is Ray. Either way a job is the same pure function of
its specification, on the same number of cores: the order of sums, and with it the last bits, are the same.
"""

import errno
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext

from l2dynamics.experiments.recipe import Recipe
from l2dynamics.experiments.scales import Executor
from l2dynamics.running import affinity, hosts, interruption, processes, ray_cluster, workload
from l2dynamics.running.interruption import Interrupted
from l2dynamics.running.processes import workers
from l2dynamics.running.workload import Event, Job, Tracker

log = logging.getLogger(__name__)
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
"""After one of these no job can store what it trains: the sweep ends."""

_kept: list[processes.Pool] = []
"""The pool of a stage that has checked its setup, as long as nothing went wrong: its workers have imported jax."""


class JobsFailed(interruption.Failed):
    """Some jobs raised; the others are finished and stored. The message names each with its error."""


def _in_worker(job: Job, tracker: Tracker | None) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        _execute(job, processes.send, processes.stopping, tracker)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _in_process(
    jobs: Sequence[Job], report: Callable[[Event], None], stop: Callable[[], bool], tracker: Tracker | None
) -> list[str]:
    failures = []
    for job in jobs:
        if stop():
            raise Interrupted(job.name)
        try:
            _execute(job, report, stop, tracker)
        except Interrupted:
            raise
        except Exception as error:
            if _is_of_the_disk(error):
                raise
            log.exception("%s failed", job.name)
            report(Event(job.name, 0, math.nan, math.nan, False, len(job.specs), True))
            failures.append(_line(job, error))
            if hosts.crew().size > 1:
                break  # a lost process ends the run of all
    return failures


def _is_of_the_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def _line(job: Job, error: BaseException) -> str:
    return f"{job.name}: {type(error).__name__}: {' '.join(str(error).split())}"


def _in_processes(
    jobs: Sequence[Job],
    count: int,
    report: Callable[[Event], None],
    stop: Callable[[], bool],
    tracker: Tracker | None,
) -> list[str]:
    """Run jobs in worker processes, also when a worker dies: the system's answer to memory that is full."""
    failures: list[str] = []
    left = _in_pool(jobs, count, report, stop, tracker, failures)
    while left:
        # Which job the dead worker had is unknown. The pool starts jobs in order: it is one of the first ``count``.
        log.warning("a worker process died, killed or out of memory: its jobs are repeated one at a time")
        for job in left[:count]:
            while _in_pool([job], 1, report, stop, tracker, failures):
                if not workload.halve(job):
                    report(Event(job.name, 0, math.nan, math.nan, False, len(job.specs), True))
                    failures.append(
                        f"{job.name}: its worker process died again: killed, or one run alone needs more memory"
                    )
                    break
                log.warning(
                    "%s: its worker process died again: going on with half as many runs at once", job.name
                )
        left = _in_pool(left[count:], count, report, stop, tracker, failures)
    return failures


def _execute(
    job: Job, report: Callable[[Event], None], stop: Callable[[], bool], tracker: Tracker | None
) -> None:
    # Not at the top: a process that only hands jobs to others needs no jax.
    from l2dynamics.running import train_job

    train_job.execute(job, report, stop, tracker)


def _compile_part(job: Job, part: int, parts: int) -> None:
    from l2dynamics.running import train_job

    train_job.compile_part(job, part, parts)


def _prepare(recipe: Recipe) -> None:
    """What a worker needs before its first job."""
    from l2dynamics.running import train_job  # noqa: F401

    workload.dataset(recipe)


def _in_pool(
    jobs: Sequence[Job],
    count: int,
    report: Callable[[Event], None],
    stop: Callable[[], bool],
    tracker: Tracker | None,
    failures: list[str],
) -> list[Job]:
    """Run jobs in a pool, add what failed to ``failures``, and return the jobs that a dead worker left, in order."""
    if not jobs:
        return []
    lasting = bool(_kept)
    pool, pending = _submit(jobs, min(count, len(jobs)), tracker, stop)
    stopping = pool.stopping
    interrupted, full, lost = False, None, set()
    try:
        while pending:
            done, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for event in pool.heard():
                report(event)
            for future in done:
                job = pending.pop(future)
                error = future.exception()
                if isinstance(error, Interrupted):
                    interrupted = True
                elif isinstance(error, BrokenProcessPool):
                    lost.add(job)
                elif error is not None and _is_of_the_disk(error):
                    full = error
                elif error is not None:
                    log.error("%s failed: %s", job.name, error)
                    report(Event(job.name, 0, math.nan, math.nan, False, len(job.specs), True))
                    failures.append(_line(job, error))
            # Of a broken pool, too, the living workers must save and end: it waits for them.
            if (stop() or full or lost) and not stopping.is_set():
                stopping.set()
                for future in list(pending):
                    if future.cancel():
                        interrupted = True
                        del pending[future]
        if lasting and not stopping.is_set():
            _kept.append(pool)
    finally:
        if pool not in _kept:
            pool.executor.shutdown()
        time.sleep(0.05)
        for event in pool.heard():
            report(event)
    if full is not None:
        raise full
    if interrupted or (lost and stop()):
        raise Interrupted("the state is saved; the same command goes on from it")
    return [job for job in jobs if job in lost]


def _take(size: int, cpus: int) -> processes.Pool:
    """The kept pool if it fits, else a new one."""
    while _kept:
        pool = _kept.pop()
        if pool.size >= size and pool.cpus == cpus:
            return pool
        pool.executor.shutdown(wait=False)
    return processes.start(size, cpus)


def _submit(
    jobs: Sequence[Job], size: int, tracker: Tracker | None, stop: Callable[[], bool]
) -> tuple[processes.Pool, dict[Future[None], Job]]:
    while True:
        pool = _take(size, jobs[0].recipe.resources.cpus)
        try:
            _compile(jobs[0], pool, size, stop)
            return pool, {pool.submit(_in_worker, job, tracker): job for job in jobs}
        except BrokenProcessPool:  # a kept worker was killed since: the next pool is a new one
            pool.executor.shutdown()


def _compile(job: Job, pool: processes.Pool, size: int, stop: Callable[[], bool]) -> None:
    """Have every worker compile a part of the programs; it loads the others from the persistent cache.

    Alone each would compile all of them at the same time. What fails here fails again in the job, where it is reported.
    """
    if size == 1 or len(job.specs) > 1 or "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        return
    parts = [pool.submit(_compile_part, job, part, size) for part in range(size)]
    while wait(parts, timeout=0.2).not_done and not stop():
        pass
    for part in parts:
        part.cancel()


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
    pool = _kept.pop() if _kept else processes.start(size, recipe.resources.cpus)
    try:
        checked = pool.submit(workload.check, recipe)
        for _ in range(pool.size - 1):
            pool.submit(_prepare, recipe)
        workload.dataset(recipe)  # this process needs the data as well, for the keys: meanwhile
        per_epoch: int = checked.result()
    except BrokenProcessPool:
        pool.executor.shutdown()
        return workload.check(recipe)
    except BaseException:
        pool.executor.shutdown(wait=False, cancel_futures=True)
        raise
    if apart:
        pool.executor.shutdown(wait=False)
    else:
        _kept.append(pool)
    return per_epoch


def run(
    jobs: Sequence[Job],
    executor: Executor,
    report: Callable[[Event], None],
    tracker: Tracker | None = None,
) -> None:
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
    cpus = jobs[0].recipe.resources.cpus
    with interruption.stop_on_signal() as stop:
        if executor.kind == "ray" and hosts.crew().size == 1:
            failures = ray_cluster.run(pending, executor, report, stop, tracker)
        elif count := workers(executor, len(jobs), cpus):
            failures = _in_processes(pending, min(count, len(pending)), report, stop, tracker)
        else:
            # As many threads as a worker process has: they sum in the same order.
            with nullcontext() if affinity.accelerated() else affinity.pinned(cpus):
                failures = _in_process(pending, report, stop, tracker)
    if failures:
        raise JobsFailed("; ".join(failures))
