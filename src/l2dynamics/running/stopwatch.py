"""Seconds of work on something, calls that were interrupted included."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from l2dynamics.storage import archives


class Stopwatch:
    """Running since it was made."""

    def __init__(self, before: float) -> None:
        self._before, self._began = before, time.perf_counter()

    @property
    def seconds(self) -> float:
        """All calls together."""
        return self._before + time.perf_counter() - self._began


@contextmanager
def measured(file: Path) -> Iterator[Stopwatch]:
    """Measure the block and add what ``file`` says about earlier calls; the sum is written there at the end."""
    watch = Stopwatch((archives.load(file) or ({}, {"seconds": 0.0}))[1]["seconds"])
    try:
        yield watch
    except BaseException:
        with suppress(OSError):  # what went wrong first is what matters
            archives.save(file, {}, {"seconds": watch.seconds})
        raise
    archives.save(file, {}, {"seconds": watch.seconds})
