"""Progress of a long stage: a bar on a terminal, one line a minute elsewhere; every finished job in the log file."""

import logging
import math
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from l2dynamics.running.events import Event

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0


class StageProgress:
    """Shows what is done, running and failed, rate and time remaining; of a sweep also the best test accuracy and λ.

    Args:
        title: name of the stage.
        count: number of runs, or of tasks.
        work: steps to do, summed over runs, or number of tasks to do.
        done: how many of ``count`` an earlier call finished.
        units: of ``count`` and of ``work``.
    """

    def __init__(
        self, title: str, count: int, work: float, done: int = 0, units: tuple[str, str] = ("runs", "steps")
    ) -> None:
        self.title, self.count, self.work, self.done, self.units = title, count, work, done, units
        self.failed = 0
        self._running: dict[str, int] = {}
        self.steps, self.best, self.l2 = 0.0, -math.inf, math.nan
        self._console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=work, status="")
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> "StageProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _status(self) -> str:
        rate = self.steps / max(time.monotonic() - self._began, 1e-9)
        best = f", best {self.best:.3f}" if math.isfinite(self.best) else ""
        l2 = f", λ {self.l2:.2g}" if math.isfinite(self.l2) else ""
        running = sum(self._running.values())
        failed = f", {self.failed} failed" if self.failed else ""
        speed = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
        counted = f"{self.done}/{self.count} {self.units[0]}, {running} running{failed}"
        return f"{counted}, {speed} {self.units[1]}/s{best}{l2}"

    def __call__(self, event: Event) -> None:
        """Take an event into account."""
        self.steps += event.run_steps
        self._running[event.job] = event.runs
        if event.finished or event.failed:
            del self._running[event.job]
        self.done += event.runs * event.finished
        self.failed += event.runs * event.failed
        if math.isfinite(event.best):
            self.best = max(self.best, event.best)
        if math.isfinite(event.l2):
            self.l2 = event.l2
        self._bar.update(self._task, completed=self.steps, status=self._status())
        if event.finished or event.failed:
            state = "finished" if event.finished else "failed"
            log.info("%s: %s %s (%s)", self.title, event.job, state, self._status())
        if not self._console.is_terminal and time.monotonic() - self._spoke > QUIET_SECONDS:
            self._spoke = time.monotonic()
            share = self.steps / max(self.work, 1)
            left = (self._spoke - self._began) * (1 - share) / max(share, 1e-9)
            line = f"{self.title}: {share:.0%}, {self._status()}, {left:.0f} s left"
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)
