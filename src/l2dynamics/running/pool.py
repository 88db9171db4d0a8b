"""Tasks side by side in worker processes, or one after another in this one: stopped, repeated and named alike.

A task leaves a file when it is done and, if it can, a checkpoint when it is stopped, so that it may be cut off,
repeated and moved to another process at any moment.
"""

import errno
import logging
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from typing import Any, NamedTuple

from l2dynamics.experiments.scales import Executor
from l2dynamics.running import affinity, hosts, interruption, processes
from l2dynamics.running.events import Event, Report, Stop, reason
from l2dynamics.running.interruption import Interrupted

log = logging.getLogger(__name__)
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
"""After one of these no task can store what it computes: the stage ends."""

kept: list[processes.Pool] = []
"""The pool of a stage that has checked its setup, as long as nothing went wrong: its workers have imported jax."""

Call = Callable[[Report, Stop], None]
Preparations = Callable[[int], Sequence[Callable[[], None]]]


class JobsFailed(interruption.Failed):
    """Some tasks raised; the others are finished and stored. The message names each with its error."""


class Task(NamedTuple):
    """A piece of work.

    Attributes:
        name: how it is called in events and complaints.
        call: does it; can be pickled.
        runs: number of training runs that it consists of.
        halve: has it need half the memory from the next call on; False if it cannot.
    """

    name: str
    call: Call
    runs: int = 1
    halve: Callable[[], bool] = lambda: False


def take(size: int, cpus: int) -> processes.Pool:
    """A pool of at least ``size`` workers of ``cpus`` cores: the kept one if it fits, else a new one."""
    while kept:
        pool = kept.pop()
        if pool.size >= size and pool.cpus == cpus:
            return pool
        pool.executor.shutdown(wait=False)
    return processes.start(size, cpus)


def run(
    tasks: Sequence[Task],
    executor: Executor,
    report: Report,
    *,
    of: int,
    cpus: int = 1,
    prepare: Preparations = lambda size: (),
) -> None:
    """Do tasks, beginning with the first; SIGTERM and Ctrl-C stop them.

    Args:
        tasks: longest first.
        executor: kind and number of workers.
        report: called in this process with what the tasks say.
        of: number of tasks of the whole stage, finished ones included: the last one left runs where all others did.
        cpus: cores of a task.
        prepare: for a number of workers above 1 a call for each of them that goes before its first task. What fails
            in it fails again in the task.

    Raises:
        Interrupted: SIGTERM or Ctrl-C; checkpoints are saved.
        JobsFailed: tasks raised; all others are finished.
        OSError: the disk is full or broken; whatever was stored before is intact.
    """
    with interruption.stop_on_signal() as stop:
        driver = _Driver(report, stop, cpus, prepare)
        if count := processes.workers(executor, of, cpus):
            driver.in_workers(tasks, min(count, len(tasks)))
        else:
            # As many threads as a worker process has: they sum in the same order.
            with nullcontext() if affinity.accelerated() else affinity.pinned(cpus):
                driver.here(tasks)
    if driver.failures:
        raise JobsFailed("; ".join(driver.failures))


class _Driver:
    """Has tasks done and keeps a line for each that failed."""

    def __init__(
        self, report: Report, stop: Stop, cpus: int = 1, prepare: Preparations = lambda size: ()
    ) -> None:
        self.failures: list[str] = []
        self._report, self._stop, self._cpus, self._prepare = report, stop, cpus, prepare

    def here(self, tasks: Sequence[Task]) -> None:
        """Do tasks in this process."""
        for task in tasks:
            if self._stop():
                raise Interrupted(task.name)
            try:
                task.call(self._report, self._stop)
            except Interrupted:
                raise
            except Exception as error:
                if _is_of_the_disk(error):
                    raise
                log.exception("%s failed", task.name)
                self._failed(task, reason(error))
                if hosts.crew().size > 1:
                    break  # a lost process ends the run of all

    def in_workers(self, tasks: Sequence[Task], count: int) -> None:
        """Do tasks in worker processes, also when a worker dies: the system's answer to memory that is full."""
        left = self.round(tasks, count)
        while left:
            # Which task the dead worker had is unknown. The pool starts them in order: one of the first ``count``.
            log.warning("a worker process died, killed or out of memory: its jobs are repeated one at a time")
            for task in left[:count]:
                while self.round([task], 1):
                    if not task.halve():
                        self._failed(
                            task, "its worker process died again: killed, or one run alone needs more memory"
                        )
                        break
                    log.warning(
                        "%s: its worker process died again: going on with half as many runs at once",
                        task.name,
                    )
            left = self.round(left[count:], count)

    def round(self, tasks: Sequence[Task], count: int) -> list[Task]:
        """Do tasks in one pool; return those that a dead worker left, in order."""
        if not tasks:
            return []
        lasting = bool(kept)
        pool, pending = self._submit(tasks, min(count, len(tasks)))
        stopping = pool.stopping
        interrupted, full, lost = False, None, set[Task]()
        try:
            while pending:
                done, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                for event in pool.heard():
                    self._report(event)
                for future in done:
                    task = pending.pop(future)
                    error = future.exception()
                    if isinstance(error, Interrupted):
                        interrupted = True
                    elif isinstance(error, BrokenProcessPool):
                        lost.add(task)
                    elif error is not None and _is_of_the_disk(error):
                        full = error
                    elif error is not None:
                        log.error("%s failed: %s", task.name, error)
                        self._failed(task, reason(error))
                # Of a broken pool, too, the living workers must save and end: it waits for them.
                if (self._stop() or full or lost) and not stopping.is_set():
                    stopping.set()
                    for future in list(pending):
                        if future.cancel():
                            interrupted = True
                            del pending[future]
            if lasting and not stopping.is_set():
                kept.append(pool)
        finally:
            if pool not in kept:
                pool.executor.shutdown()
            time.sleep(0.05)
            for event in pool.heard():
                self._report(event)
        if full is not None:
            raise full
        if interrupted or (lost and self._stop()):
            raise Interrupted("the state is saved; the same command goes on from it")
        return [task for task in tasks if task in lost]

    def _submit(self, tasks: Sequence[Task], size: int) -> tuple[processes.Pool, dict[Future[None], Task]]:
        while True:
            pool = take(size, self._cpus)
            try:
                first = [pool.submit(call) for call in self._prepare(size)] if size > 1 else []
                while wait(first, timeout=0.2).not_done and not self._stop():
                    pass
                for future in first:
                    future.cancel()
                return pool, {pool.submit(_in_worker, task.call): task for task in tasks}
            except BrokenProcessPool:  # a kept worker was killed since: the next pool is a new one
                pool.executor.shutdown()

    def _failed(self, task: Task, why: str) -> None:
        self._report(Event(task.name, 0, runs=task.runs, failed=True))
        self.failures.append(f"{task.name}: {why}")


def _in_worker(call: Call) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        call(processes.send, processes.stopping)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _is_of_the_disk(error: Any) -> bool:
    return isinstance(error, OSError) and error.errno in DISK_ERRORS
