"""The jobs of a sweep as tasks of a Ray cluster.

Ray places the tasks, repeats those of a lost worker or node and takes nodes in as they come. The jobs are idempotent
by their file on the shared file system, so that a task may run twice and is stored once. jax computes in the tasks
alone, each in a process of its own; the driver takes no device, and what comes back is a small summary.
"""

import logging
import math
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.scales import Executor
from l2dynamics.experiments.schema import Resources
from l2dynamics.running import affinity, workload
from l2dynamics.running.events import Event, Report, Stop, reason
from l2dynamics.running.interruption import Interrupted
from l2dynamics.running.workload import Job, Tracker

log = logging.getLogger(__name__)
#: How often a job may lose its worker or node. More is a job that kills its worker.
MAX_LOSSES = 10
#: Seconds between two reports of a task, and between two looks of the driver.
REPORT_SECONDS = 0.5
#: Seconds without an answer after which a task takes its driver for lost.
_PATIENCE = 60.0
#: What a worker takes over from the environment of the driver.
_VARIABLES = ("XLA_FLAGS", "JAX_", "L2DYNAMICS_", "TFDS_", "TF_CPP_MIN_LOG_LEVEL")
_PRIVATE = ("JAX_PLATFORMS", "JAX_COORDINATOR_ADDRESS", "L2DYNAMICS_DISTRIBUTED")


class Summary(NamedTuple):
    """What a task says at its end."""

    state: str  # finished, interrupted or failed
    error: str = ""
    node: str = ""


class Board:
    """Actor beside the driver: tasks report to it and learn from it that they should stop."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._started: set[str] = set()
        self._stopping = False

    def tell(self, events: list[Event]) -> bool:
        """Take reports; return whether to stop."""
        self._events += events
        self._started |= {event.job for event in events}
        return self._stopping

    def read(self) -> list[Event]:
        """The reports since the last call."""
        events, self._events = self._events, []
        return events

    def halt(self) -> set[str]:
        """Have all tasks save their state and stop; return the names of those that have begun."""
        self._stopping = True
        return self._started


class _Line:
    """The line from a task to the board; several events travel together."""

    def __init__(self, board: Any) -> None:
        self._board, self._waiting, self._stopping, self._spoke = board, list[Event](), False, -math.inf

    def report(self, event: Event) -> None:
        self._waiting.append(event)

    def flush(self) -> None:
        import ray

        self._stopping = ray.get(self._board.tell.remote(self._waiting), timeout=_PATIENCE)
        self._waiting, self._spoke = [], time.monotonic()

    def stop(self) -> bool:
        if time.monotonic() - self._spoke > REPORT_SECONDS:
            self.flush()
        return self._stopping


def train(job: Job, board: Any, tracker: Tracker | None, environment: dict[str, str]) -> Summary:
    """Train a job in this worker process, unless its file is there; the body of every task."""
    import ray

    from l2dynamics.running import train_job

    os.environ.update(environment)
    resources = job.recipe.resources
    node = ray.util.get_node_ip_address()
    line = _Line(board)
    try:
        line.report(Event(job.name, 0, runs=len(job.specs)))
        line.flush()
        if line.stop():
            return Summary("interrupted")
        if workload.load(job) is not None:
            return Summary("finished", node=node)
        with affinity.pinned(resources.cpus if not resources.gpus else len(affinity.cores())):
            _check(job)
            train_job.execute(job, line.report, line.stop, tracker)
        line.flush()
    except Interrupted:
        return Summary("interrupted")
    except ray.exceptions.RayError:
        raise  # the driver is lost: nobody is there to read a summary
    except Exception as error:
        log.exception("%s failed", job.name)
        return Summary("failed", reason(error), node)
    return Summary("finished", node=node)


def _check(job: Job) -> None:
    """Refuse a worker that does not see what the driver sees: its numbers would carry a wrong key."""
    if not job.folder.is_dir():
        raise ConfigError(f"{job.folder}: not seen on this node: put the checkout on a shared file system")
    if workload.key(job.recipe)[:16] != job.folder.name:
        raise ConfigError(
            "this node has other code, data or versions than the driver: give all nodes the same checkout and .venv"
        )


def _environment(resources: Resources) -> dict[str, str]:
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_VARIABLES) and name not in _PRIVATE
    }
    if not resources.gpus:
        found["JAX_PLATFORMS"] = "cpu"
    elif resources.gpus < 1:
        # jax takes three quarters of a GPU unless told otherwise.
        found["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * resources.gpus:.3f}"
    return found


@contextmanager
def _cluster() -> Iterator[Any]:
    """Connect to the cluster of ``$RAY_ADDRESS`` (``auto``: of ``ray start``), or start one on this machine.

    Raises:
        ConfigError: Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError(
            "executor.kind: ray needs Ray: pip install -c constraints.txt -e '.[cluster]'"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would answer SIGTERM itself, without saving anything.
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            _probe(address)
            ray.init(address=address, **options)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"RAY_ADDRESS={address}: no Ray cluster answers there: start it or unset the variable"
            ) from error
    else:
        log.warning("RAY_ADDRESS is not set: Ray runs on this machine alone")
        ray.init(
            num_cpus=len(affinity.cores()),
            include_dashboard=False,
            object_store_memory=100 * 2**20,  # nothing but small messages goes through it
            _node_ip_address="127.0.0.1",
            **options,
        )
    if handler is not None:
        signal.signal(signal.SIGTERM, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _probe(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would try for minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


def _warn_if_it_must_wait(ray: Any, resources: Resources) -> None:
    needed = {"CPU": resources.cpus, "GPU": resources.gpus}
    for node in ray.nodes():
        if node["Alive"] and all(node["Resources"].get(name, 0) >= needed[name] for name in needed):
            return
    log.warning(
        "no node of the Ray cluster has %d cores and %g GPUs (`resources` in the sweep's section): waiting for one",
        resources.cpus,
        resources.gpus,
    )


class _Ledger:
    """Progress of a job counts once, however often a lost worker had it repeated."""

    def __init__(self, jobs: Sequence[Job], report: Report) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._counted = dict.fromkeys(self._jobs, 0.0)
        self._report = report

    def progress(self, event: Event) -> None:
        left = self._jobs[event.job].run_steps - self._counted[event.job]
        steps = min(event.run_steps, left)
        self._counted[event.job] += steps
        self._report(event._replace(run_steps=steps, finished=False))

    def end(self, job: Job, *, failed: bool = False) -> None:
        left = 0 if failed else job.run_steps - self._counted[job.name]
        self._report(Event(job.name, left, finished=not failed, runs=len(job.specs), failed=failed))


def run(
    jobs: Sequence[Job],
    executor: Executor,
    report: Report,
    stop: Stop,
    tracker: Tracker | None,
) -> list[str]:
    """Execute jobs, longest first as they come, and return a line for each that failed.

    Args:
        jobs: jobs of one recipe that have not finished.
        executor: its ``workers`` bounds how many jobs are in the hands of Ray at once; 0 does not.
        report: called in this process with the progress of every job.
        stop: True saves the state of all jobs.
        tracker: shown the runs as they proceed, through the shared file system.

    Raises:
        Interrupted: ``stop`` said so.
        ConfigError: there is no cluster.
    """
    resources = jobs[0].recipe.resources
    environment = _environment(resources)
    jobs[0].folder.mkdir(parents=True, exist_ok=True)
    with _cluster() as ray:
        _warn_if_it_must_wait(ray, resources)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()
        # max_calls: the process ends with its task and gives memory and GPUs back.
        options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_retries": MAX_LOSSES}
        task = ray.remote(max_calls=1, **options)(train)
        ledger = _Ledger(jobs, report)
        waiting, running = deque(jobs), dict[Any, Job]()
        failures: list[str] = []
        interrupted = halted = False
        while running or (waiting and not halted):
            while waiting and not halted and len(running) < (executor.workers or len(jobs)):
                job = waiting.popleft()
                running[task.remote(job, board, tracker, environment)] = job
            done, _ = ray.wait(list(running), num_returns=len(running), timeout=REPORT_SECONDS)
            for event in ray.get(board.read.remote()):
                ledger.progress(event)
            if stop() and not halted:
                halted = True
                begun = ray.get(board.halt.remote())
                for reference, job in running.items():
                    if job.name not in begun:
                        ray.cancel(reference)
            for reference in done:
                job = running.pop(reference)
                summary = _summary(ray, reference)
                interrupted |= summary.state == "interrupted"
                if summary.state == "failed":
                    where = f" (on {summary.node})" if summary.node else ""
                    failures.append(f"{job.name}: {summary.error}{where}")
                    log.error("%s failed: %s%s", job.name, summary.error, where)
                if summary.state != "interrupted":
                    ledger.end(job, failed=summary.state == "failed")
    if interrupted or waiting:
        raise Interrupted("the state is saved; the same command goes on from it")
    return failures


def _summary(ray: Any, reference: Any) -> Summary:
    try:
        summary: Summary = ray.get(reference)
        return summary
    except ray.exceptions.TaskCancelledError:
        return Summary("interrupted")
    except ray.exceptions.RayError as error:
        said = " ".join(str(error).split())[:200]
        return Summary("failed", f"lost its worker {MAX_LOSSES + 1} times: {type(error).__name__}: {said}")
