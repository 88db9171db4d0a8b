"""How a stage of the DAG begins and ends: its argument, its log, one line and an exit code for an expected failure."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

from l2dynamics import paths
from l2dynamics.running import interruption, logs

log = logging.getLogger(__name__)


def say(line: str) -> None:
    """Print a line as far as somebody can read it: a closed pipe or a narrow encoding fails no stage."""
    try:
        print(line, flush=True)
    except OSError:
        # As Python's documentation advises: else the interpreter fails when it flushes at its end.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def argument(choices: Sequence[str] = ()) -> str:
    """The one argument of a stage's command line.

    Args:
        choices: what it may be; empty where a section of the scale decides.

    Raises:
        ValueError: it is missing, unknown, or there are more.
    """
    if len(sys.argv) != 2 or (choices and sys.argv[1] not in choices):
        given = " ".join(sys.argv[1:]) or "nothing"
        known = f", NAME one of {', '.join(choices)}" if choices else ""
        raise ValueError(f"usage: python {sys.argv[0]} NAME{known} (got {given})")
    return sys.argv[1]


def conclude(lines: Sequence[str]) -> None:
    """Say what a stage ends with, also in its log."""
    for line in lines:
        say(line)
        log.debug(line)


def main(work: Callable[[Path], None], *, speaks: Callable[[], bool] = lambda: True) -> None:
    """Do the work of a stage that can take long; an expected failure is one line on stderr, never a traceback.

    Exit codes: 2 bad input or data, 1 failed runs or a file that cannot be written, 75 stopped with its state saved.

    Args:
        work: the stage, called with the checkout.
        speaks: asked at the end; of several hosts one says where the log is.
    """
    interruption.stop_at_once()  # until and after the training, which stops when its state is saved

    def logged(root: Path) -> None:
        file = logs.configure(root, sys.argv)
        log.debug("begins: %s", " ".join(sys.argv))
        work(root)
        if speaks():
            say(f"log: {file.relative_to(root)}")

    try:
        short(logged)
    except interruption.Interrupted as error:
        log.debug("stopped: %s", error)
        print(f"stopped: {error}", file=sys.stderr)
        sys.exit(interruption.EXIT_CODE)


def short(work: Callable[[Path], None]) -> None:
    """The same for a stage of seconds, which needs neither log nor a way to be stopped."""
    # What the imports made stays: the collector need not look at it, least of all once more at the end.
    gc.freeze()
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="backslashreplace")
    try:
        work(paths.find_root())
    except (ValueError, OSError, interruption.Failed) as error:
        log.debug("failed: %s", error)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError) else 1)
