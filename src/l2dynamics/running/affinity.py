"""Which cores a job computes on: as many as it asks for, so that the order of its sums is the same everywhere."""

import fcntl
import importlib.util
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> list[int]:
    """The cores this process may use: no more than the quota of its container pays for, one at least."""
    allowed = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))
    return allowed[: max(1, math.floor(_quota()))] if _quota() < len(allowed) else allowed


def _quota() -> float:
    """Cores' worth of time that the control group grants, infinite without a limit (version 2, then version 1)."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            folder = _CGROUP / "cpu"
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    limit = float("inf" if quota.strip() == "max" else quota) / float(period)
    return limit if limit > 0 else math.inf


def accelerated() -> bool:
    """Whether jax of this environment computes on an accelerator; does not import it."""
    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin", "libtpu")
    found = any(importlib.util.find_spec(name) for name in plugins)
    return found and os.environ.get("JAX_PLATFORMS", "") != "cpu"


def _claim(count: int, folder: Path) -> tuple[list[int], list[int]]:
    """Cores that no other process of this user has claimed, as long as there are, and the locks that say so."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    available = cores()
    taken: list[int] = []
    locks: list[int] = []
    for core in available:
        if len(taken) == count:
            break
        lock = os.open(folder / str(core), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        taken.append(core)
        locks.append(lock)
    # More jobs than cores: share some, not always the first.
    others = [core for core in available if core not in taken]
    shift = os.getpid() % max(len(others), 1)
    return taken + (others[shift:] + others[:shift])[: count - len(taken)], locks


@contextmanager
def pinned(count: int) -> Iterator[None]:
    """Compute on ``count`` cores, free ones if there are any.

    XLA sizes its thread pool by the affinity it finds when its backend starts: enter before jax computes. The kernel
    frees the cores of a killed process.
    """
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    locks = pin(count)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        for lock in locks:
            os.close(lock)


def pin(count: int) -> list[int]:
    """Compute on ``count`` cores from now on, free ones if there are any; return the locks that claim them."""
    chosen, locks = _claim(count, Path(tempfile.gettempdir()) / f"l2dynamics-cores-{os.getuid()}")
    os.sched_setaffinity(0, chosen)
    return locks
