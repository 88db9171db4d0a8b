"""Cuts long segments into pieces of about two seconds, so that a run can be watched, saved and stopped."""

import time
from collections.abc import Iterator

import jax

from l2dynamics.running.hosts import Crew
from l2dynamics.training.trainer import Run, Trainer
from l2dynamics.training.update import Hyper


class Clock:
    """Sizes the pieces of a segment; with several hosts they end at the same steps in every process.

    Args:
        crew: the processes that train the run together.
    """

    target_seconds = 2.0

    def __init__(self, crew: Crew) -> None:
        self.pure_seconds = 0.0
        self._crew = crew
        self._piece = 1

    def pieces(
        self, trainer: Trainer, run: Run, hyper: Hyper, start: int, stop: int
    ) -> Iterator[tuple[int, Run]]:
        """Yield (step, run) after every piece of the segment from ``start`` to ``stop``."""
        step = start
        while step < stop:
            end = min(stop, step + self._piece)
            began = time.perf_counter()
            run = jax.block_until_ready(trainer.advance(run, hyper, step, end))
            seconds = time.perf_counter() - began
            self.pure_seconds += seconds
            if end - step == self._piece and seconds < self.target_seconds / 2:
                self._piece *= 2
            elif seconds > 2 * self.target_seconds and self._piece > 1:
                self._piece //= 2
            # The slowest process decides.
            self._piece = min(self._crew.gather(self._piece))
            step = end
            yield step, run
