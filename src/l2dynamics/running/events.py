"""What whoever does a piece of work says about it, to whoever shows or stops it."""

import math
from collections.abc import Callable
from typing import NamedTuple


class Event(NamedTuple):
    """Progress of a job or task since its last event.

    Attributes:
        job: its name.
        run_steps: steps done since, summed over its runs; of a task of stage ``theory`` the share done since.
        best: best test accuracy so far; NaN if there is none.
        l2: λ in force; NaN if there is none.
        finished: it is done and stored.
        runs: number of runs that it consists of.
        failed: it raised or its worker died.
    """

    job: str
    run_steps: float
    best: float = math.nan
    l2: float = math.nan
    finished: bool = False
    runs: int = 1
    failed: bool = False


Report = Callable[[Event], None]
Stop = Callable[[], bool]
"""Whether to save the state and end by raising :class:`l2dynamics.running.interruption.Interrupted`."""


def reason(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
