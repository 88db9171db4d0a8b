"""Locks between processes, which end with the process that holds them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from l2dynamics import paths


@contextmanager
def locked(root: Path, stage: str) -> Iterator[None]:
    """Hold the lock of a stage, so that two processes never train the same runs.

    Raises:
        ValueError: another process holds it.
    """
    file = paths.work(root) / stage / ".lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{stage}: another process trains it in this checkout; wait for it or stop it"
            ) from None
        for remnant in file.parent.rglob(".*.tmp"):  # of a write that was killed: nobody else writes here
            remnant.unlink(missing_ok=True)
        yield


@contextmanager
def waiting(file: Path) -> Iterator[None]:
    """Hold the lock ``file``, as soon as no other process does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
