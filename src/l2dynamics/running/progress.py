"""Progress of a long stage: a bar on a terminal, one line a minute elsewhere; every finished job in the log file."""

import logging
import math
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from l2dynamics.running.workload import Event

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0


class SweepProgress:
    """Shows runs done, running and failed, steps/s, time remaining, best test accuracy and, for AutoL2, the current λ.

    Args:
        title: name of the stage.
        runs: number of runs.
        run_steps: steps to do, summed over runs.
        done: runs already finished by an earlier call.
    """

    def __init__(self, title: str, runs: int, run_steps: int, done: int = 0) -> None:
        self.title, self.runs, self.total, self.done = title, runs, run_steps, done
        self.failed = 0
        self._running: dict[str, int] = {}
        self.steps, self.best, self.l2 = 0, -math.inf, math.nan
        self._console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(title, total=run_steps, status="")
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> "SweepProgress":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def _status(self) -> str:
        rate = self.steps / max(time.monotonic() - self._began, 1e-9)
        best = f", best {self.best:.3f}" if math.isfinite(self.best) else ""
        l2 = f", λ {self.l2:.2g}" if math.isfinite(self.l2) else ""
        running = sum(self._running.values())
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done}/{self.runs} runs, {running} running{failed}, {rate:.0f} steps/s{best}{l2}"

    def __call__(self, event: Event) -> None:
        """Take an event of a job into account."""
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
            share = self.steps / max(self.total, 1)
            left = (self._spoke - self._began) * (1 - share) / max(share, 1e-9)
            line = f"{self.title}: {share:.0%}, {self._status()}, {left:.0f} s left"
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)
