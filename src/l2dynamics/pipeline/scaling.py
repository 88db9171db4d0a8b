"""How long a scale takes on many accelerators: its jobs, longest first, packed on machines that never idle by choice.

The schedule is that of the Ray executor: whenever accelerators become free, the longest waiting job that asks for
them starts. A job is one run, or a bucket of runs; its length follows from its FLOPs as in ``l2dynamics plan``.
"""

import heapq
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from l2dynamics.experiments import messages, runs
from l2dynamics.experiments.schema import Resources
from l2dynamics.pipeline import cost


class Task(NamedTuple):
    """A job of a stage: seconds on ``width`` accelerators that compute it together."""

    stage: str
    seconds: float
    width: int


class Schedule(NamedTuple):
    """What becomes of the tasks: seconds until the last has ended, and the share of accelerator time in use."""

    makespan: float
    efficiency: float


def makespan(tasks: Sequence[Task], workers: int, overhead: float = 0.0) -> float:
    """Seconds until the last task ends, when ``workers`` accelerators take tasks longest first.

    Args:
        tasks: in any order; a task wider than ``workers`` computes on all of them, for longer.
        workers: number of accelerators.
        overhead: seconds that every task takes to start.
    """
    fitting = []
    for task in tasks:
        width = min(task.width, workers)
        fitting.append((task.seconds * task.width / width + overhead, width))
    fitting.sort(reverse=True)
    free, now = workers, 0.0
    ends: list[tuple[float, int]] = []
    for seconds, width in fitting:
        while free < width:
            now, released = heapq.heappop(ends)
            free += released
        heapq.heappush(ends, (now + seconds, width))
        free -= width
    return max((end for end, _ in ends), default=0.0)


def schedule(
    tasks: Sequence[Task], workers: int, overhead: float = 0.0, *, one_by_one: bool = False
) -> Schedule:
    """Schedule tasks, all at once or one stage after another as ``dvc repro`` does."""
    if one_by_one:
        stages = dict.fromkeys(task.stage for task in tasks)
        total = sum(makespan([t for t in tasks if t.stage == name], workers, overhead) for name in stages)
    else:
        total = makespan(tasks, workers, overhead)
    work = sum(task.seconds * task.width for task in tasks)
    return Schedule(total, work / (workers * total) if total else 1.0)


def tasks_of(root: Path, scale: str, device: str, *, width: int | None = None) -> list[Task]:
    """The jobs of a scale's training stages with their lengths on one kind of accelerator.

    Args:
        root: the checkout.
        scale: name of the scale.
        device: key of :data:`cost.DEVICES`.
        width: accelerators of every job; None takes ``resources`` of the section.

    Raises:
        ConfigError: unknown device, or a section that cannot be used.
    """
    if device not in cost.DEVICES:
        raise messages.ConfigError(f"device: {device!r} is unknown, choose one of {', '.join(cost.DEVICES)}")
    speed = cost.DEVICES[device][1]
    forward_flops = cache(cost.forward_flops)
    tasks = []
    for stage, section, specs in cost.stages(root, scale):
        per_step = 3 * forward_flops(section.setup) * section.setup.batch
        wanted = max(1, int((section.resources or Resources()).gpus)) if width is None else width
        for bucket in runs.buckets(specs, section.bucket):
            seconds = per_step * bucket[0].steps * len(bucket) / speed
            tasks.append(Task(stage, seconds / wanted, wanted))
    return tasks
