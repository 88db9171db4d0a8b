"""Worker processes of one stage on this machine: each pinned to its cores, deaf to Ctrl-C, dead with its parent."""

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, NamedTuple

from l2dynamics.experiments.scales import Executor
from l2dynamics.running import affinity, hosts, interruption, memory, runtime

_line: dict[str, Any] = {}
"""In a worker: the queue to the parent and the parent's wish to stop."""


class Pool(NamedTuple):
    """Worker processes, started one by one as work comes in, and the lines to them."""

    executor: ProcessPoolExecutor
    events: Any
    stopping: Any
    size: int
    cpus: int

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Have a worker call a function; stops are the parent's business."""
        with interruption.signals_blocked():
            return self.executor.submit(function, *arguments)

    def heard(self) -> Iterator[Any]:
        """What the workers have sent and nobody has taken yet."""
        while True:
            try:
                yield self.events.get_nowait()
            except queue.Empty:
                return


def workers(executor: Executor, count: int, cpus: int = 1) -> int:
    """Number of worker processes for ``count`` jobs of ``cpus`` cores; 0 means that this process does the work."""
    here = hosts.crew().size > 1 or (affinity.accelerated() and executor.kind == "auto")
    if executor.kind == "in_process" or here:
        return 0
    wanted = executor.workers or len(affinity.cores()) // cpus
    return min(wanted, count) if min(wanted, count) > 1 else 0


def start(size: int, cpus: int = 1) -> Pool:
    """A pool of at most ``size`` workers with ``cpus`` cores each."""
    context = multiprocessing.get_context(runtime.start_method)
    events, stopping = context.Queue(), context.Event()
    setting = (events, stopping, cpus)
    return Pool(ProcessPoolExecutor(size, context, _begin, setting), events, stopping, size, cpus)


def send(event: Any) -> None:
    """From a worker to ``events`` of its pool."""
    _line["events"].put(event)


def stopping() -> bool:
    """In a worker: whether the parent wants it to stop."""
    return bool(_line["stopping"].is_set())


def _begin(events: Any, stopping: Any, cpus: int) -> None:
    if sys.platform == "linux":
        # XLA sizes its thread pool by the affinity it finds when the backend starts. Other stages may be running.
        affinity.pin(cpus)
    memory.keep_freed()
    _line.update(events=events, stopping=stopping)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # SIGTERM ends a worker, but only between jobs: so a broken pool ends the workers that have saved their state.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _end_with_parent() -> None:
    """End this process when its parent was killed: the lock is free, and another stage may train the same runs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(interruption.EXIT_CODE)
